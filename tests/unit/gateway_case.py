"""What the tests of the use cases share: a store over nodes in memory, in a client's words."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.marks import Mark
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import Listing, list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Found, Get, Put, Written
from aosd.gateway.store import Limits
from aosd.model.names import is_object_id
from aosd.model.node import NodeState
from aosd.model.objects import STAMP_HEADER, SYSTEM_BUCKET
from aosd.model.ring import partition
from aosd.testing.bodies import BytesSource, CollectingConsumer
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

T = TypeVar("T")

BUCKET, KEY = "object", "k"
NOW_S = 1_700_000_000
LIMITS = Limits(
    held_bytes=100,
    single_put_bytes=100_000,
    part_bytes=1000,
    part_bytes_max=4000,
    late_bytes=2000,
)
SMALL, FLOWING, LONG = b"s" * 50, b"f" * 5_000, b"l" * 10_500
# Each of the three ways that a body goes: held whole, flowing, in parts; (data, length told?).
WAYS = ((SMALL, True), (FLOWING, True), (LONG, False))
# Stamps from long before NOW_S, in order.
S1, S2, S3 = (f"0189594b3a7c-000{n}-0000000a" for n in (1, 2, 3))
AHEAD = "018bcfe56801-0000-0000000a"  # a millisecond after NOW_S


def etag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class GatewayTestCase(SynchronousTestCase):
    """`count` nodes, all settled; `self.a` to `self.e` are them in the order of `KEY`."""

    replicas = 2
    count = 3
    limits = LIMITS
    budget_bytes = 4000
    at_hand_bytes = -1  # bodies of up to so many come with their heads
    a: MemoryNode
    b: MemoryNode
    c: MemoryNode
    d: MemoryNode
    e: MemoryNode

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.uploads_may_stay = False
        self.use(
            [
                MemoryNode(
                    f"n{number}",
                    now=self.clock.seconds,
                    piece_bytes=300,
                    at_hand_bytes=self.at_hand_bytes,
                )
                for number in range(1, self.count + 1)
            ]
        )

    def use(self, nodes: list[MemoryNode], **more: Any) -> None:
        """Make these the store's nodes."""
        self.nodes = nodes
        self.placement = MemoryPlacement(nodes)
        made: dict[str, Any] = {
            "replicas": self.replicas,
            "limits": self.limits,
            "budget_bytes": self.budget_bytes,
        }
        self.store = make_store(self.placement, self.clock, **(made | more))
        # Copies go the ways that writes of the same length do.
        self.store.copying.held_bytes = self.store.limits.held_bytes
        for letter, node in zip("abcde", self.order(KEY), strict=False):
            setattr(self, letter, node)

    def tearDown(self) -> None:
        self.now(self.store.rests.stop())
        self.assertEqual(self.store.rests.going_on, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.store.turns), 0)
        self.assertEqual(self.store.budget.used_bytes, 0)
        self.successResultOf(self.run_(self.store.to_the_end.idle()))
        self.assertEqual(+self.store.traffic.in_flight, {})
        for node in self.nodes:
            self.assertEqual(node.open_readings, 0, node.name)
            self.assertEqual(node.landing, 0, node.name)
            if not self.uploads_may_stay:
                self.assertEqual(node.uploads, {}, node.name)
        self.assertEqual(self.flushLoggedErrors(), [])

    # -- in the client's words ------------------------------------------------------------------

    def run_(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(work)

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(self.run_(work))

    def put(
        self, key: str, data: bytes, *, told: bool = True, piece_bytes: int = 300, **more: Any
    ) -> Deferred[Written]:
        self.source = BytesSource(data, told=told, piece_bytes=piece_bytes)
        return self.run_(put(self.store, Put(BUCKET, key, self.source, **more)))

    def stored(self, key: str, data: bytes, **more: Any) -> Written:
        return self.successResultOf(self.put(key, data, **more))

    def getting(self, key: str, **more: Any) -> Deferred[Found]:
        return self.run_(get(self.store, Get(BUCKET, key, **more)))

    def heading(self, key: str, **more: Any) -> Deferred[Found]:
        return self.run_(head(self.store, Get(BUCKET, key, **more)))

    def deliver(self, found: Found) -> bytes:
        consumer = CollectingConsumer()
        assert found.reading is not None
        self.successResultOf(found.reading.deliver(consumer))
        return bytes(consumer.data)

    def read(self, key: str, **more: Any) -> bytes:
        return self.deliver(self.successResultOf(self.getting(key, **more)))

    def delete(self, key: str) -> Deferred[None]:
        return self.run_(delete(self.store, BUCKET, key))

    def deleted(self, key: str) -> None:
        self.successResultOf(self.delete(key))

    def listing(self, **more: Any) -> Deferred[Listing]:
        return self.run_(
            list_objects(self.store, BUCKET, delimiter="/", wanted=is_object_id, **more)
        )

    def page(self, **more: Any) -> Listing:
        return self.successResultOf(self.listing(**more))

    def listed(self, **more: Any) -> list[str]:
        return [entry.key for entry in self.page(**more).entries]

    # -- the nodes ------------------------------------------------------------------------------

    def order(self, key: str) -> list[MemoryNode]:
        return [self.placement.nodes[name] for name in self.placement.ring.order(BUCKET, key)]

    def holders(self, key: str = KEY, data: bytes | None = None) -> str:
        """Who has a copy (with these bytes), in the key's order, as letters."""
        return "".join(
            letter
            for letter, node in zip("abcde", self.order(key), strict=False)
            if (copy := node.buckets[BUCKET].get(key)) is not None and data in (None, copy.data)
        )

    def lay(self, node: MemoryNode, data: bytes, stamp: str | None, key: str = KEY) -> None:
        """Put a copy there behind the gateway's back."""
        headers = () if stamp is None else ((STAMP_HEADER, stamp.encode()),)
        node.buckets[BUCKET][key] = Copy(data, etag_of(data), NOW_S - 1000.0, headers)

    def stamp_on(self, node: MemoryNode, key: str = KEY) -> str:
        stamp = node.buckets[BUCKET][key].head.stamp
        assert stamp is not None
        return stamp

    def remembered(self, prefix: str) -> dict[str, list[str]]:
        """Which nodes, by name, have which records of the cluster's memory."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for name in node.buckets[SYSTEM_BUCKET]:
                if name.startswith(prefix):
                    found.setdefault(name, []).append(node.name)
        return found

    def state(self, node: MemoryNode, state: NodeState) -> None:
        self.placement.states[node.name] = state

    def down(self, *nodes: MemoryNode) -> None:
        for node in nodes:
            self.state(node, NodeState.DOWN)

    def back(self, *nodes: MemoryNode) -> None:
        """They answer again, and no sweep has compared them."""
        for node in nodes:
            self.state(node, NodeState.RETURNING)
            self.store.settledness.returned(node.name)

    def unsettle(self) -> None:
        """Nothing is known for sure, though all nodes are up."""
        self.store.settledness.ring_changed()

    def settle(self) -> None:
        """A sweep found everything right."""
        self.placement.states.clear()
        self.store.settledness.swept(self.store.settledness.begin(), self.placement.nodes)

    def forget(self) -> None:
        """Begin afresh, with the same nodes: no marks, no journal."""
        for node in self.nodes:
            node.buckets[SYSTEM_BUCKET].clear()
        self.use(self.nodes)

    def forget_requests(self) -> None:
        for node in self.nodes:
            node.requests.clear()

    def requests(self) -> dict[str, dict[str, int]]:
        """What each node was asked since, by letter."""
        return {
            letter: dict(node.requests)
            for letter, node in zip("abcde", self.order(KEY), strict=False)
            if node.requests
        }

    def marks(self, key: str = KEY) -> list[Mark]:
        """The marks of the key's partition; all of them stand on enough nodes."""
        number = partition(BUCKET, key)
        found = [mark for where, mark in self.store.marks.all() if where == number]
        for names in self.remembered("marks/").values():
            self.assertGreaterEqual(len(names), min(2, self.count))
        self.assertEqual(len(self.remembered(f"marks/{number:05d}/")), len(found))
        return found

    def letters(self, names: frozenset[str]) -> str:
        """Nodes' names as their letters."""
        return "".join(
            letter
            for letter, node in zip("abcde", self.order(KEY), strict=False)
            if node.name in names
        )
