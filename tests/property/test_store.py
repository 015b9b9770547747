"""The store against a model of it: what a client may find after what it did.

The model of a key is the set of what it may hold: one thing after a write that was
acknowledged, one more after one that was answered with an error of the cluster's.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.gateway.delete import delete
from aosd.gateway.get import get
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.gateway.store import Limits, Store
from aosd.model.conditions import Conditions
from aosd.model.errors import ClientGone, ClusterError, NodeError, NoSuchKey, PreconditionFailed
from aosd.model.node import Member
from aosd.model.ranges import ByteRange
from aosd.model.ring import Ring
from aosd.model.stamp import StampClock
from aosd.ports import Candidate, IPlacement
from aosd.streams.budget import MemoryBudget
from aosd.testing.bodies import BytesBody, BytesSource, CollectingConsumer
from aosd.testing.faults import (
    Fault,
    breaks,
    full,
    nonsense,
    refused,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode

BUCKET = "object"
KEYS = ("a", "a0", "B", "c", "c0")
# Bodies up to 8 bytes are held, up to 40 flow, longer ones go as parts.
LIMITS = Limits(held_bytes=8, single_put_bytes=40, part_bytes=10, part_bytes_max=20)
Value = bytes | None


@implementer(IPlacement)
class Placement:
    def __init__(self, nodes: list[MemoryNode]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._ring = Ring(Member(node.name, 1.0, node.name) for node in nodes)

    def order(self, bucket: str, key: str) -> list[Candidate]:
        return [Candidate(name, self._nodes[name]) for name in self._ring.order(bucket, key)]

    def members(self) -> list[Candidate]:
        return [Candidate(name, self._nodes[name]) for name in sorted(self._nodes)]


class World:
    """A store on three nodes, one of which lists as a tree, and the model beside it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.nodes = [
            MemoryNode(f"n{number}", now=self.clock.seconds, piece_bytes=7, tree_order=number == 1)
            for number in (1, 2, 3)
        ]
        self.to_the_end = ToTheEnd()
        self.turns = Turns(self.clock, 20.0, self.to_the_end)
        self.budget = MemoryBudget(40)
        self.store = Store(
            Placement(self.nodes),
            self.turns,
            self.to_the_end,
            StampClock(self.clock.seconds, "00000001"),
            self.budget,
            LIMITS,
        )
        self.may_hold: dict[str, set[Value]] = {key: {None} for key in KEYS}
        self.faulty = False

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
        assert len(self.turns) == 0
        assert self.budget.used_bytes == 0
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
            assert None in held
            world.may_hold[self.key] = {None}
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
        (found,) = {value for value, body in bodies.items() if body == consumer.data}
        assert outcome.head.size_bytes == len(found)
        world.may_hold[self.key] = {found}


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


class Heal(NamedTuple):
    def act(self, world: World, number: int) -> None:
        for node in world.nodes:
            node.heal()


keys = st.sampled_from(KEYS)
writes = st.builds(
    Write,
    keys,
    st.sampled_from([0, 1, 8, 9, 10, 11, 20, 39, 40, 41, 50, 75]),
    st.booleans(),
    st.sampled_from([1, 3, 10, 100]),
    st.sampled_from([None, None, None, 0, 5, 15]),
    st.sampled_from([None, None, "only if new", "only over something"]),
)
reads = st.builds(
    Read, keys, st.none() | st.integers(1, 10), st.sampled_from([None, None, 1, 7, 30])
)
faults = st.sampled_from(
    [
        unavailable(),
        timed_out(),
        timed_out(carried_out=True),
        full(),
        refused(),
        refused(403, "AccessDenied"),
        nonsense(),
        breaks(5),
        breaks(0),
    ]
)
methods = st.sampled_from(
    [
        "head",
        "get",
        "put",
        "delete",
        "list",
        "create_upload",
        "put_part",
        "complete_upload",
        "abort_upload",
    ]
)
whole = st.one_of(
    writes,
    writes,
    reads,
    st.builds(Delete, keys),
    st.builds(List, st.sampled_from(["", "a", "z"]), st.integers(1, 5)),
)
broken = st.one_of(
    whole, whole, st.builds(Break, st.integers(0, 2), methods, faults), st.builds(Heal)
)


def play(script: list[Any]) -> None:
    world = World()
    # A folder, which the plain door doesn't list.
    for node in world.nodes:
        world.ends(node.put(BUCKET, "a/b", BytesBody(b"x"), ()))
    for number, step in enumerate(script):
        step.act(world, number)
        world.clock.advance(0.001)
    Heal().act(world, 0)
    for key in KEYS:
        Read(key, None, None).act(world, 0)
    List("", 2).act(world, 0)
    world.over()


@settings(max_examples=150)
@given(st.lists(whole, max_size=25))
def test_what_was_written_is_read(script: list[Any]) -> None:
    play(script)


@settings(max_examples=300)
@given(st.lists(broken, max_size=30))
def test_what_was_acknowledged_is_read_whatever_breaks(script: list[Any]) -> None:
    play(script)
