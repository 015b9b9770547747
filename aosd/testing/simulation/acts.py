"""What the operator does in a story that is drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aosd.model.standing import Membership
from aosd.testing.simulation.paths import joined

if TYPE_CHECKING:
    from aosd.testing.simulation.play import Player

_MOST_MACHINES = 7
_NOTICED_S = 15.0
_KINDS = {
    "drain": 3.0,
    "undrain": 1.5,
    "undo": 2.0,
    "weigh": 1.5,
    "rezone": 0.7,
    "remove": 2.0,
    "grow": 0.7,
    "bring": 1.0,
    "adopt": 2.0,
    "burn": 0.7,
    "pause": 0.7,
}
_FOREIGN_BUCKET = "attic"
_YEAR_S = 365 * 86400.0


class Acts:
    """The operator of a player's story; it draws from its chance."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.chance = player.chance
        self.world = player.world
        self._brought = 0

    def step(self) -> None:
        """One act, or two at once."""
        for _ in range(self.chance.choice((1, 1, 1, 2))):
            kind = self.chance.choices(list(_KINDS), list(_KINDS.values()))[0]
            if self.world.operator.waiting and self.chance.random() < 0.3:
                kind = "adopt"
            if kind == "grow":
                self._grow()
            elif kind == "bring":
                self._bring()
            elif kind == "burn":
                self._burn()
            elif kind == "pause":
                self._pause()
            elif self.world.is_ready:
                self._act(kind)

    # -- acts -------------------------------------------------------------------------------------

    def _act(self, kind: str) -> None:
        chance, world = self.chance, self.world
        name = chance.choice(list(world.machines))
        if kind == "drain":
            if self._may_do_without(name):
                world.acts("drain", name)
        elif kind == "undrain":
            world.acts("undrain", self._one_of(Membership.DRAINED) or name)
        elif kind == "undo":
            world.acts("undo", self._one_that_moves() or name)
        elif kind == "weigh":
            world.acts("weigh", name, weight=chance.choice((0.1, 0.5, 1.0, 1.0, 2.0, 100.0)))
        elif kind == "rezone":
            world.acts("rezone", name, zone=chance.choice(("here", "there", name)))
        elif kind == "adopt":
            waiting = world.operator.waiting
            if waiting and not self._is_late():
                world.acts("adopt", chance.choice(waiting))
            elif fallen_back := world.operator.fallen_back:
                world.acts("adopt", chance.choice(fallen_back))
            elif removed := self._one_of(Membership.REMOVED):
                world.acts("adopt", removed)
        elif kind == "remove":
            down = [each for each, node in world.nodes.items() if not node.running]
            if down and chance.random() < 0.5:
                name = chance.choice(down)
            self._remove(self._one_of(Membership.DRAINED) or name)

    def _remove(self, name: str) -> None:
        """A node that runs, one that is drained, one that is away: as it comes."""
        world, player = self.world, self.player
        node = world.machines[name]
        drained = world.operator.membership(name) is Membership.DRAINED
        if not drained and world.operator.counts(name):
            if not self._may_do_without(name) or not self._all_losses_are_noticed(name):
                return
            if not node.running:
                player.loses(node)
        world.acts("remove", name)

    def _burn(self) -> None:
        node = self.player.who_may_lose()
        # The removal has to be remembered, by as many as there are replicas.
        enough = len(self.world.operator.members()) > self.player.replicas > 1
        if node is not None and enough and self._may_do_without(node.name):
            self.player.befell("a node is lost for ever", node.name)
            self.player.leaves(node)
            self.player.loses(node)
            self.world.lose_for_ever(node.name)
            self.player.notice()

    def _pause(self) -> None:
        gateway = self.world.gateway
        if gateway is not None and self.world.is_ready:
            self.world.pauses(paused=not gateway.assembly.keeper.paused)

    # -- nodes that come --------------------------------------------------------------------------

    def _grow(self) -> None:
        if len(self.world.machines) < _MOST_MACHINES:
            self.world.faulty = True
            self.player.befell("a node is added", self.world.add_node().name)

    def _bring(self) -> None:
        """A node with objects; of two with the same key one is to win."""
        chance, player = self.chance, self.player
        if len(self.world.machines) >= _MOST_MACHINES or player.hiding or self._is_late():
            return
        buckets = ("object", "object", _FOREIGN_BUCKET)
        paths = {
            joined(chance.choice(buckets), chance.choice((*player.keys, "f")))
            for _ in range(chance.choice((1, 2, 4)))
        }
        objects = [(path, *self._a_foreign_one()) for path in sorted(paths)]
        node = self.world.add_foreign_node(objects)
        player.befell("a node with objects comes", f"{node.name}: {sorted(paths)}")

    def _a_foreign_one(self) -> tuple[bytes, float]:
        self._brought += 1
        data = b"f%02d" % self._brought + b"." * self.chance.choice((0, 5, 6, 40))
        at_s = self.world.clock.seconds() - self.chance.choice((5.0, 3600.0, _YEAR_S))
        return data, float(int(at_s) - self._brought)

    # -- inside -----------------------------------------------------------------------------------

    def _one_of(self, membership: Membership) -> str | None:
        operator = self.world.operator
        names = [name for name in self.world.machines if operator.membership(name) is membership]
        return self.chance.choice(names) if names and self.chance.random() < 0.7 else None

    def _one_that_moves(self) -> str | None:
        standings = [self.world.operator.standing(name) for name in self.world.machines]
        names = [each.name for each in standings if each and (each.moves or each.queued)]
        return self.chance.choice(names) if names and self.chance.random() < 0.8 else None

    def _may_do_without(self, name: str) -> bool:
        """Whether enough others are to stay."""
        world = self.world
        staying = [
            each
            for each in world.nodes
            if each != name
            and world.operator.wanted(each).memberships == {Membership.MEMBER}
            and world.operator.membership(each) is not None
        ]
        hide = [each for each in staying if world.nodes[each].kind.hides_beneath]
        if self.player.hiding and not hide:
            return False  # see Player._kinds
        return len(staying) >= self.chance.choice((2, self.player.replicas, 3))

    def _all_losses_are_noticed(self, name: str) -> bool:
        now_s = self.world.clock.seconds()
        others = [node for each, node in self.world.machines.items() if each != name]
        gateway = self.world.gateway
        return gateway is not None and all(
            now_s - each.shifted_s > _NOTICED_S and each.shifted_s > gateway.began_s
            for each in others
            if each.shifted_s > float("-inf") and each.name in self.player.lossy
        )

    def _is_late(self) -> bool:
        """Whether deletes may be forgotten by now that an older object would need."""
        return self.player.long_away or bool(
            self.world.tally["a drain waits for uploads that nobody ends"]
        )
