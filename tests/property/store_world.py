"""A store on nodes in memory, the model of it, and the steps that both take."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aosd.gateway.delete import delete
from aosd.gateway.get import get
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.gateway.store import Limits
from aosd.model.conditions import Conditions
from aosd.model.errors import ClientGone, ClusterError, NodeError, NoSuchKey, PreconditionFailed
from aosd.model.node import NodeState
from aosd.model.ranges import ByteRange
from aosd.repair.mend import Mender
from aosd.testing.bodies import BytesSource, CollectingConsumer
from aosd.testing.faults import (
    Fault,
    lands_late,
)
from aosd.testing.memory_node import MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

BUCKET = "object"
KEYS = ("a", "a0", "B", "c", "c0")
# Bodies up to 8 bytes are held, up to 40 flow, longer ones go as parts.
LIMITS = Limits(held_bytes=8, single_put_bytes=40, part_bytes=10, part_bytes_max=20)
Value = bytes | None


class World:
    """A store with two copies on four nodes, one of which lists as a tree, and the model."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.nodes = [
            MemoryNode(f"n{number}", now=self.clock.seconds, piece_bytes=7, tree_order=number == 1)
            for number in (1, 2, 3, 4)
        ]
        self.placement = MemoryPlacement(self.nodes)
        self.store = store = make_store(
            self.placement, self.clock, replicas=2, limits=LIMITS, budget_bytes=40
        )
        store.copying.held_bytes = LIMITS.held_bytes
        self.mender = Mender(
            placement=self.placement,
            replicas=2,
            copier=store.copying,
            turns=store.turns,
            writes=store.writes,
            journal=store.journal,
            marks=store.marks,
            stamps=store.stamps,
            settled=store.settledness,
        )
        self.may_hold: dict[str, set[Value]] = {key: {None} for key in KEYS}
        self.faulty = False
        self.settled = True
        self.late: list[Deferred[None]] = []
        self.snapshots = {node.name: node.snapshot() for node in self.nodes}

    def ends(self, work: Coroutine[Any, Any, Any] | Deferred[Any]) -> Any:
        """Its result or its error; it has to have one."""
        outcomes: list[Any] = []
        waiting = Deferred.fromCoroutine(work) if isinstance(work, Coroutine) else work
        waiting.addBoth(outcomes.append)
        assert outcomes, "it never ends"
        (outcome,) = outcomes
        return outcome.value if isinstance(outcome, Failure) else outcome

    def over(self) -> None:
        """Nothing is left behind."""
        assert self.clock.getDelayedCalls() == []
        assert len(self.store.turns) == 0
        assert self.store.budget.used_bytes == 0
        for node in self.nodes:
            assert node.open_readings == 0
            # A node that failed may not have heard that an upload was given up.
            assert self.faulty or not node.uploads


class Write(NamedTuple):
    """A PUT; with `gone_at` the client goes away before that byte.

    Who told the length and sent that many bytes may go: the body is whole.
    """

    key: str
    length: int
    told: bool
    piece_bytes: int
    gone_at: int | None
    condition: str | None

    def act(self, world: World, number: int) -> None:
        data = bytes((number + count) % 251 for count in range(self.length))
        gone_at = self.gone_at
        gone = None
        if gone_at is not None and (gone_at < self.length or not self.told):
            gone = ClientGone("gone")
        body = BytesSource(
            data,
            told=self.told,
            piece_bytes=self.piece_bytes,
            fails_at=gone_at or 0,
            fails=gone,
        )
        if self.condition == "only if new":
            conditions = Conditions(if_none_match="*")
        elif self.condition == "only over something":
            conditions = Conditions(if_match="*")
        else:
            conditions = Conditions()
        outcome = world.ends(put(world.store, Put(BUCKET, self.key, body, conditions=conditions)))
        held = world.may_hold[self.key]
        if isinstance(outcome, PreconditionFailed):
            refuses = {"only if new": held != {None}, "only over something": None in held}
            assert refuses[str(self.condition)]
        elif isinstance(outcome, ClientGone):
            assert gone is not None
        elif isinstance(outcome, ClusterError):
            assert world.faulty
            held.add(data)
        else:
            assert gone is None and outcome.size_bytes == len(data)
            if self.condition == "only if new":
                assert None in held
            elif self.condition == "only over something":
                assert held != {None}
            world.may_hold[self.key] = {data}


class Delete(NamedTuple):
    key: str

    def act(self, world: World, number: int) -> None:
        outcome = world.ends(delete(world.store, BUCKET, self.key))
        if isinstance(outcome, ClusterError):
            assert world.faulty
            world.may_hold[self.key].add(None)
        else:
            assert outcome is None
            world.may_hold[self.key] = {None}


class Read(NamedTuple):
    key: str
    pause_after_bytes: int | None
    first: int | None

    def act(self, world: World, number: int) -> None:
        held = world.may_hold[self.key]
        sizes = {len(value) for value in held if value is not None}
        first = self.first if sizes and self.first and self.first < min(sizes) else None
        wanted = ByteRange(first) if first is not None else None
        outcome = world.ends(get(world.store, Get(BUCKET, self.key, wanted=wanted)))
        if isinstance(outcome, NoSuchKey):
            # A write that failed may appear later: what is read now says nothing of it.
            assert None in held
            return
        if isinstance(outcome, ClusterError):
            assert world.faulty
            return
        assert outcome.partial is (first is not None)
        consumer = CollectingConsumer(self.pause_after_bytes)
        delivering = outcome.reading.deliver(consumer)
        while consumer.paused and not delivering.called:
            consumer.resume()
        failed = isinstance(world.ends(delivering), NodeError)
        assert consumer.ended and (world.faulty or not failed)
        bodies = {value: value[first or 0 :] for value in held if value is not None}
        if failed:
            assert any(body.startswith(consumer.data) for body in bodies.values())
            return
        sizes = {len(value) for value, body in bodies.items() if body == consumer.data}
        assert outcome.head.size_bytes in sizes


class List(NamedTuple):
    prefix: str
    limit: int

    def act(self, world: World, number: int) -> None:
        found: list[str] = []
        after, more = "", True
        while more:
            page = world.ends(
                list_objects(
                    world.store,
                    BUCKET,
                    prefix=self.prefix,
                    after=after,
                    limit=self.limit,
                    delimiter="/",
                    wanted=str.isalnum,
                )
            )
            if isinstance(page, ClusterError):
                assert world.faulty
                return
            assert len(page.entries) <= self.limit
            found += [entry.key for entry in page.entries]
            more = page.more
            if more:
                after = found[-1]
        assert found == sorted(set(found))
        for key in KEYS:
            held = world.may_hold[key]
            if not key.startswith(self.prefix) or held == {None}:
                assert key not in found
            elif None not in held:
                assert key in found


class Break(NamedTuple):
    """The next request of a kind to a node goes wrong."""

    node: int
    method: str
    fault: Fault

    def act(self, world: World, number: int) -> None:
        world.faulty = True
        world.nodes[self.node].script(self.method, self.fault)


class Lands(NamedTuple):
    """The next request of a kind to a node gets no answer, and takes effect much later."""

    node: int
    method: str

    def act(self, world: World, number: int) -> None:
        world.faulty = True

        def gate() -> Deferred[None]:
            world.late.append(Deferred())
            return world.late[-1]

        world.nodes[self.node].script(self.method, lands_late(gate))


class Land(NamedTuple):
    """What was late lands now."""

    def act(self, world: World, number: int) -> None:
        late, world.late = world.late, []
        for each in late:
            each.callback(None)


class Away(NamedTuple):
    """A node can't be asked any more."""

    node: int
    state: NodeState

    def act(self, world: World, number: int) -> None:
        world.faulty = True
        world.settled = False
        world.placement.states[world.nodes[self.node].name] = self.state


class Back(NamedTuple):
    """It can be asked again; one that was down returns."""

    node: int

    def act(self, world: World, number: int) -> None:
        name = world.nodes[self.node].name
        if world.placement.states.pop(name, None) is NodeState.DOWN:
            world.placement.states[name] = NodeState.RETURNING
            world.store.settledness.returned(name)


class Snapshot(NamedTuple):
    node: int

    def act(self, world: World, number: int) -> None:
        node = world.nodes[self.node]
        world.snapshots[node.name] = node.snapshot()


class Rollback(NamedTuple):
    """A power cut, noticed: the node has what it had. One at a time is what is promised."""

    node: int

    def act(self, world: World, number: int) -> None:
        if not world.settled or len(world.store.marks) or world.late:
            return
        world.faulty = True
        world.settled = False
        node = world.nodes[self.node]
        node.restore(world.snapshots[node.name])
        world.placement.states[node.name] = NodeState.RETURNING
        world.store.settledness.returned(node.name)


class Heal(NamedTuple):
    def act(self, world: World, number: int) -> None:
        for node in world.nodes:
            node.heal()


class Sweep(NamedTuple):
    """All nodes are up, nothing is late any more, and every key is compared."""

    def act(self, world: World, number: int) -> None:
        Heal().act(world, number)
        Land().act(world, number)
        world.placement.states = {
            name: NodeState.RETURNING
            for name in world.placement.nodes
            if world.store.settledness.is_returning(name)
        }
        world.store.settledness.ring_changed()
        this = world.store.settledness.begin()
        for key in KEYS:
            mended = world.ends(world.mender.mend(BUCKET, key))
            assert mended.looked_at_all
        for where, mark in list(world.store.marks.all()):
            world.ends(world.store.marks.clear(where, mark))
        world.store.marks.broken.clear()
        world.placement.states = {}
        world.store.settledness.swept(this, world.placement.nodes)
        world.settled = True
        for key in KEYS:
            assert world.store.is_settled(BUCKET, key)
            copies = {
                node.name: (copy.data, copy.head.stamp)
                for node in world.nodes
                if (copy := node.buckets[BUCKET].get(key)) is not None
            }
            assert len(set(copies.values())) <= 1
            primaries = {each.name for each in world.store.primaries(BUCKET, key)}
            assert set(copies) in (set(), primaries)
            assert next(iter(copies.values()), (None,))[0] in world.may_hold[key]
