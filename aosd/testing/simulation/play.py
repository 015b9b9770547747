"""A whole story drawn from a seed: clients, faults, deaths, and quiet now and then.

play(7) raises PromiseBroken when something went wrong; the same seed plays the same story
(in one version of Python and of this code, with PYTHONHASHSEED set).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from aosd.testing.memory_disk import Snapshot
from aosd.testing.simulation.acts import Acts
from aosd.testing.simulation.clients import Clients
from aosd.testing.simulation.leaving import leave
from aosd.testing.simulation.nodes import Kind, SimulatedNode
from aosd.testing.simulation.quiet import check_orphans_go, has_open_uploads
from aosd.testing.simulation.reference import PromiseBroken
from aosd.testing.simulation.weather import Fate
from aosd.testing.simulation.world import World

KEYS = ("a", "b", "a/b", "a0c")
NESTED = ("a", "a/b", "a/b/c", "b")
_DAY_S = 86400.0
_MOST_NODES = 6
_CHANGING_FATES = (
    Fate.SLOW,
    Fate.RESET,
    Fate.RESET_AFTER,
    Fate.RESET_LATE,
    Fate.REFUSED,
    Fate.REFUSED_AFTER,
    Fate.SILENT,
    Fate.SILENT_AFTER,
    Fate.SILENT_LATE,
    Fate.SHORT,
    Fate.STALE,
)


@dataclass
class Story:
    """What a seed's story is made of, and how it ended; `befell` counts what happened."""

    seed: int
    steps: int = 0
    rounds: int = 0
    acknowledged: int = 0
    simulated_s: float = 0.0
    befell: Counter[str] = field(default_factory=Counter)


class Player:
    """Draws steps and takes them.

    At most `replicas - 1` nodes lose data between two quiet times: that is the promise's
    limit; fewer while so few nodes are in the ring that a write is on fewer of them. Of a
    `strict` story no other node is away meanwhile; nor of one in which the gateway that saw it
    dies, or there is none: that no older version is read whatever failed is promised of one and
    the same gateway.
    """

    def __init__(
        self, seed: int, tracing: Callable[[str], object] | None = None, *, faults: bool = True
    ) -> None:
        self.story = Story(seed)
        chance = self.chance = random.Random(seed)  # noqa: S311 - a story's own chance
        self.replicas = chance.choice((2, 2, 2, 2, 2, 3, 1))
        self.keys = KEYS[: chance.choice((1, 1, 2, 4))]
        # Some of the nodes hide what lies beneath an object from their listings, or all.
        self.hiding = chance.random() < 0.25
        self.hiders = chance.choice((0.5, 1.0, 1.0))
        if self.hiding:
            self.keys = NESTED[: chance.choice((2, 3, 4))]
        # Buckets that clients make and delete; most of the story is then about what is in them.
        self.buckets = chance.choice(((), (), ("box",), ("box",), ("box", "crate")))
        self.uploads = chance.random() < 0.5
        self.copies = chance.random() < 0.4
        self.world = World(
            chance,
            nodes=chance.choice((3, 3, 3, 4, 5)),
            replicas=self.replicas,
            tracing=tracing,
            notices_stops=chance.random() < 0.5,
            kinds=self._kinds(),
        )
        self.story.befell = self.world.tally
        self.faults = faults and chance.random() < 0.95
        self.strict = chance.random() < 0.5
        self.lossy: set[str] = set()
        self.away: set[str] = set()
        self.snapshots: dict[str, list[tuple[float, Snapshot]]] = {}
        self.long_away = False
        self.clients = Clients(self)
        self.acts = Acts(self)
        self.operated = chance.random() < 0.6
        if self.faults and chance.random() < 0.2:
            self.befell("a node's clock is off")
            node = self._any_node()
            node.ahead_s = chance.choice((-100.0, -3.0, 3.0, 100.0))

    def play(self) -> Story:
        """The whole story."""
        story, chance, world = self.story, self.chance, self.world
        with world:
            world.start_gateway()
            world.until_ready()
            for node in world.nodes.values():
                node.sync()  # one that forgot all other members would be a cluster of its own
            self.clients.begin()
            for _ in range(chance.choice((1, 1, 2))):
                for _ in range(chance.randrange(8, 30)):
                    story.steps += 1
                    self.step()
                    world.pass_time(self._a_while())
                world.quiet()
                story.rounds += 1
                self.lossy.clear()
                self.away.clear()
            if self.operated and chance.random() < 0.25:
                leave(world, chance)
            elif has_open_uploads(world):
                check_orphans_go(world)
            world.end()
        story.acknowledged = world.reference.acknowledged
        story.simulated_s = world.clock.seconds() - 1_700_000_000.0
        return story

    def step(self) -> None:
        """One step, drawn."""
        chance = self.chance
        kinds: list[tuple[float, Callable[[], None]]] = [(10.0, self.clients.step)]
        if self.operated:
            kinds.append((2.5, self.acts.step))
        if self.faults:
            kinds += [(1.0, self._weather), (0.25, self._calm)]
        if self.faults:
            kinds += [
                (0.8, self._node_goes),
                (1.2, self._node_comes),
                (0.5, self._loses_data),
                (0.3, self._freezes),
                (0.2, self._fills_up),
                (0.5, self._gateway),
                (1.0, self._snapshot),
                (0.15, self._grows),
                (0.15, self._announces),
                (0.05, self._eight_days),
                (0.15, self._clock_is_off),
                (0.6, self._ambush),
            ]
        if self.world.gateway is None:
            kinds.append((3.0, self._gateway))
        (act,) = chance.choices([act for _, act in kinds], [weight for weight, _ in kinds])
        act()

    # -- nodes ------------------------------------------------------------------------------------

    def _kinds(self) -> list[Kind]:
        """Of all nodes; where some hide what lies beneath, one of the first three does.

        And goes on to, as long as no other one does: when the first of them joins others, two
        keys above each other may be there, and nothing of what holds for others is promised.
        """
        kinds = [self._a_kind() for _ in range(_MOST_NODES)]
        if self.hiding and not any(each.hides_beneath for each in kinds[:3]):
            number = self.story.seed % 3
            kinds[number] = replace(kinds[number], hides_beneath=True)
        return kinds

    def _a_kind(self) -> Kind:
        """As MinIO, as SeaweedFS, or anything between; most keep to S3."""
        chance = self.chance
        return Kind(
            tree_order=chance.random() < 0.3,
            hides_beneath=self.hiding and chance.random() < self.hiders,
            tells_stamps=chance.random() < 0.5,
            checks_digests=chance.random() < 0.8,
            keeps_full_buckets=chance.random() < 0.8,
        )

    def _weather(self) -> None:
        chance = self.chance
        fates = chance.sample(_CHANGING_FATES, chance.choice((1, 1, 2, 4)))
        share = chance.choice((0.02, 0.1, 0.3, 1.0)) / len(fates)
        names = [node.name for node in self._some_nodes()]
        self.befell("weather", f"on {names}: {share:g} of {[str(each) for each in fates]}")
        self.world.fates(dict.fromkeys(fates, share), *names)

    def _calm(self) -> None:
        self.trace("calm")
        self.world.fates({})
        for node in self.world.nodes.values():
            node.full = False
            node.thaw()
        self.world.stale_until_s = min(self.world.stale_until_s, self.world.clock.seconds() + 30.0)

    def _node_goes(self) -> None:
        node = self._who_may_go()
        if node is None:
            return
        self.befell("a node is killed", node.name)
        self.leaves(node)
        node.kill()
        self.notice()
        if self.chance.random() < 0.5:
            self.world.pass_time(self.chance.choice((0.0, 0.05, 0.5, 2.0)))
            self._starts(node)

    def _node_comes(self) -> None:
        away = [node for node in self.world.nodes.values() if not node.running]
        if away:
            self._starts(self.chance.choice(away))

    def _loses_data(self) -> None:
        node = self.who_may_lose()
        if node is None:
            return
        chance = self.chance
        self.leaves(node)
        self.loses(node)
        how = chance.choice(("power", "power", "wiped", "restored", "restored"))
        if how == "power":
            lost_s = chance.choice((0.1, 1.0, 5.0, 30.0))
            if node.running:
                lost = node.lose_power(lost_s)
                self.befell("power is lost", f"{node.name}: {lost} changes of {lost_s:g} s")
        else:
            if node.running:
                node.kill()
            now_s = self.world.clock.seconds()
            snapshots = [
                (at_s, snapshot)
                for at_s, snapshot in self.snapshots.get(node.name, [])
                if at_s > now_s - 6 * _DAY_S
            ]
            if how == "restored" and snapshots:
                at_s, snapshot = chance.choice(snapshots)
                self.befell("a disk is restored", f"{node.name}: of {now_s - at_s:.1f} s ago")
                node.restore(snapshot)
            else:
                self.befell("a disk is wiped", node.name)
                node.restore({})
        self.notice()
        if chance.random() < 0.7:
            self.world.pass_time(chance.choice((0.0, 0.05, 0.5, 2.0, 15.0)))
            self._starts(node)

    def _freezes(self) -> None:
        frozen = [node for node in self.world.nodes.values() if node.frozen]
        if frozen and self.chance.random() < 0.6:
            node = self.chance.choice(frozen)
            self.trace(f"{node.name} goes on")
            node.thaw()
            self.away.discard(node.name)
            return
        node_or_none = self._who_may_go()
        if node_or_none is not None:
            self.befell("a node stands still", node_or_none.name)
            self.leaves(node_or_none)
            node_or_none.freeze()

    def _fills_up(self) -> None:
        node = self._any_node()
        node.full = not node.full
        if node.full:
            self.befell("a disk is full", node.name)
        else:
            self.trace(f"{node.name} isn't full any more")
        self.world.faulty = True

    def _snapshot(self) -> None:
        node = self._any_node()
        self.trace(f"a snapshot of {node.name}")
        self.snapshots.setdefault(node.name, []).append(
            (self.world.clock.seconds(), node.snapshot())
        )

    def _grows(self) -> None:
        if len(self.world.machines) < _MOST_NODES:
            self.world.faulty = True
            node = self.world.add_node()
            self.befell("a node is added", node.name)

    def _announces(self) -> None:
        node = self._any_node()
        self.befell("a connection is closed politely", node.name)
        for line in node.lines:
            line.announce_close()

    def _eight_days(self) -> None:
        if self.long_away or self.world.operator.waiting:
            return
        self.long_away = True
        self.befell("eight days pass")
        self._calm()
        self.world.sleep(60.0)
        self.world.sleep(8 * _DAY_S, leap_s=6 * 3600.0)

    # -- the gateway ------------------------------------------------------------------------------

    def _gateway(self) -> None:
        chance, world = self.chance, self.world
        if world.gateway is None:
            self.trace("the gateway starts")
            world.start_gateway()
            if chance.random() < 0.7:
                world.pass_time(chance.choice((0.5, 3.0, 10.0)))
            return
        if not self._gateway_may_die():
            return
        world.faulty = True
        if chance.random() < 0.7:
            self.befell("the gateway is killed")
            world.kill_gateway()
            if chance.random() < 0.5:
                world.start_gateway()
        elif not world.gateway.stopping:
            self.befell("the gateway is stopped")
            world.stop_gateway()

    def _clock_is_off(self) -> None:
        """Its host's clock is set to something else, or right again."""
        ahead_s = self.chance.choice((0.0, 0.0, -400.0, -20.0, -2.0, 2.0, 20.0, 400.0))
        if abs(ahead_s - self.world.gateway_ahead_s) > 4.0:
            self.world.faulty = True
            self.befell("the gateway's clock is set")
        self.world.set_gateway_clock(ahead_s)

    def _ambush(self) -> None:
        """Something happens in the middle of what changes objects, not between two steps."""
        chance = self.chance
        changes = chance.choice((1, 1, 2, 3, 5, 8))
        act, what = chance.choice(
            (
                (self._dies_now, "the gateway is killed"),
                (self._dies_now, "the gateway is killed"),
                (self._node_goes_now, "a node is killed"),
                (self._loses_power_now, "power is lost"),
            )
        )
        self.trace(f"after {changes} changes: {what}")
        self.world.ambush(changes, act)

    def _dies_now(self) -> None:
        if self.world.gateway is not None and self._gateway_may_die():
            self.befell("ambush: the gateway is killed")
            self.world.faulty = True
            self.world.kill_gateway()

    def _node_goes_now(self) -> None:
        if node := self._who_may_go():
            self.befell("ambush: a node is killed", node.name)
            self.leaves(node)
            node.kill()

    def _loses_power_now(self) -> None:
        node = self.who_may_lose()
        if node is not None and node.running:
            self.leaves(node)
            self.loses(node)
            lost = node.lose_power(self.chance.choice((0.05, 1.0, 10.0)))
            self.befell("ambush: power is lost", f"{node.name}: {lost} changes")

    # -- inside -----------------------------------------------------------------------------------

    def trace(self, line: str) -> None:
        """Note a step."""
        self.world.trace(line)

    def befell(self, what: str, detail: str = "") -> None:
        """Count what happened, and note it."""
        self.world.tally[what] += 1
        self.trace(f"{what}: {detail}" if detail else what)

    def _a_while(self) -> float:
        return self.chance.choice(
            (0.0, 0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 1.0, 3.0, 12.0, 35.0)
        )

    def _any_node(self) -> SimulatedNode:
        return self.chance.choice(list(self.world.nodes.values()))

    def _some_nodes(self) -> list[SimulatedNode]:
        nodes = list(self.world.nodes.values())
        return self.chance.sample(nodes, self.chance.choice((1, 1, 2, len(nodes))))

    def _who_may_go(self) -> SimulatedNode | None:
        nodes = [node for node in self.world.nodes.values() if node.running and not node.frozen]
        if self.strict:
            troubled = self.lossy | self.away
            nodes = [
                node for node in nodes if len(troubled | {node.name}) <= max(1, self.replicas - 1)
            ]
        return self.chance.choice(nodes) if nodes else None

    def who_may_lose(self) -> SimulatedNode | None:
        """A node whose loss of data, or of all, is within what is promised."""
        copies = min(self.replicas, self.world.operator.in_ring())
        nodes = [
            node
            for node in self.world.nodes.values()
            if len(self.lossy | {node.name}) < copies
            and not self.world.operator.holds_alone(node.name)
            and ((not self.strict and self._is_watched()) or self.away <= {node.name})
        ]
        return self.chance.choice(nodes) if nodes else None

    def loses(self, node: SimulatedNode) -> None:
        """It loses data, or is believed to have lost all."""
        self.lossy.add(node.name)
        if not self._is_watched():
            self.strict = True

    def _is_watched(self) -> bool:
        return self.world.is_ready

    def _gateway_may_die(self) -> bool:
        if self.lossy and not self.away <= self.lossy:
            return False
        if self.hiding and not self._is_at_rest():
            # Nobody knows what it has sent: of two keys that can't be at once, both may land.
            return False
        self.strict = self.strict or bool(self.lossy)
        return True

    def _is_at_rest(self) -> bool:
        world = self.world
        return world.gateway is None or (
            not world.gateway.operations
            and not len(world.gateway.assembly.to_the_end)
            and not any(line.is_busy for node in world.nodes.values() for line in node.lines)
        )

    def leaves(self, node: SimulatedNode) -> None:
        """It is away."""
        self.world.faulty = True
        self.away.add(node.name)

    def _starts(self, node: SimulatedNode) -> None:
        if not node.running:
            self.trace(f"{node.name} starts")
            node.start()
            self.away.discard(node.name)
            self.notice()

    def notice(self) -> None:
        """Discovery's next round, or not yet."""
        if self.chance.random() < 0.7:
            self.world.look_around()


def play(
    seed: int, tracing: Callable[[str], object] | None = None, *, faults: bool = True
) -> Story:
    """Play the story of a seed. Raises PromiseBroken, or whatever went wrong."""
    return Player(seed, tracing, faults=faults).play()


__all__ = ["KEYS", "Player", "PromiseBroken", "Story", "play"]
