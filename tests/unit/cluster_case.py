"""What the tests of the cluster share: a whole gateway but for its doors, on nodes in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.assembly import Assembly
from aosd.consistency.recall import STOPPED_KEY
from aosd.gateway.delete import delete
from aosd.gateway.get import get
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.model.errors import NodeUnavailable
from aosd.model.marker import MARKER_KEY, Introduction, Marker, read_marker
from aosd.model.node import Address, Credentials, NodeState, Sighting
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth
from aosd.settings import Settings
from aosd.testing.bodies import BytesSource, CollectingConsumer
from aosd.testing.discovery import ScriptedDiscovery
from aosd.testing.faults import unavailable
from aosd.testing.memory_node import Copy, MemoryNode

T = TypeVar("T")

NOW_S = 1_700_000_000


def sighting(name: str) -> Sighting:
    """Where a node is seen, as long as it runs."""
    port = 9000 + int(name[1:])
    return Sighting(name, Address("http", "127.0.0.1", port), Credentials("a", "hush"))


class Gateway:
    """One run of a gateway; `first` are the names of the nodes that it finds at once."""

    def __init__(self, case: ClusterTestCase, first: tuple[str, ...], **settings: Any) -> None:
        self.discovery = ScriptedDiscovery("scripted", [sighting(name) for name in first])
        self.metrics = Metrics()
        self.assembly = Assembly(
            Settings(replicas=case.replicas).model_copy(update=settings),
            case.clock,
            case.clock.seconds,
            [self.discovery],
            case.make_node,
            case.introduce,
            case.equip,
            random.Random(1),
            self.metrics,
            case.make_id,
            case.clean,
        )
        self.store = self.assembly.store
        self.roster = self.assembly.roster
        self.assembly.start()

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self.assembly.ready()[0]

    def state(self, name: str) -> NodeState:
        """A node's."""
        return self.roster.watched[name].state

    def why(self, name: str) -> str:
        """Why a node is in the state that it is in."""
        return self.roster.watched[name].why

    def see(self, *names: str) -> None:
        """These are running now."""
        self.discovery.see(*(sighting(name) for name in names))


class ClusterTestCase(SynchronousTestCase):
    """`self.nodes` are all there can be, blank at first; a gateway finds what it is told of."""

    replicas = 2
    count = 3

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.chance = random.Random(7)
        self.names = tuple(f"n{number}" for number in range(1, self.count + 1))
        self.nodes = {name: self.blank(name) for name in self.names}
        self.problems: dict[str, str] = {}
        self.unreachable: set[str] = set()
        self.equipping: Callable[[str], object] = lambda _: None
        self.cleaning: Callable[[str, bool], object] = lambda _, half: None
        self.cleaned: list[str] = []
        self.running: list[Gateway] = []

    def tearDown(self) -> None:
        for name in list(self.unreachable):
            self.reachable(name)
        for gateway in list(self.running):
            self.stop(gateway)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    # -- nodes ----------------------------------------------------------------------------------

    def blank(self, name: str) -> MemoryNode:
        return MemoryNode(name, now=self.clock.seconds, buckets=())

    def make_node(
        self, name: str, address: Address, credentials: Credentials, health: IHealth
    ) -> MemoryNode:
        node = self.nodes[f"n{address.port - 9000}"]
        node.name = name
        node.health = health
        return node

    def introduce(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        probe: bool,
        consented: bool,
    ) -> Deferred[Introduction]:
        node = self.nodes[f"n{address.port - 9000}"]
        if name in self.unreachable:
            return fail(NodeUnavailable(name, "no connection"))
        return succeed(
            Introduction(
                self.record(node, MARKER_KEY),
                objects=any(
                    there for bucket, there in node.buckets.items() if bucket != SYSTEM_BUCKET
                ),
                problem=self.problems.get(name, ""),
                hides_beneath=probe and node.disk.hides_beneath,
            )
        )

    def equip(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        marker: bytes,
        over: bytes | None,
        records: Mapping[str, bytes],
    ) -> Deferred[bytes]:
        node = self.nodes[f"n{address.port - 9000}"]
        if name in self.unreachable:
            return fail(NodeUnavailable(name, "no connection"))
        self.equipping(name)
        for bucket in (OBJECT_BUCKET, SYSTEM_BUCKET):
            node.buckets.setdefault(bucket, {})
        there = node.buckets[SYSTEM_BUCKET]
        if over is not None and self.record(node, MARKER_KEY) == over:
            there.clear()
        if MARKER_KEY not in there:
            for key, record in records.items():
                there[key] = Copy(record, '"r"', self.clock.seconds())
        there.setdefault(MARKER_KEY, Copy(marker, '"m"', self.clock.seconds()))
        return succeed(there[MARKER_KEY].data)

    def clean(
        self, name: str, address: Address, credentials: Credentials, cluster: str, buckets: bool
    ) -> Deferred[None]:
        """As nodes' cleaning does it; `cleaning` may raise before, and half-way."""
        node = self.nodes[f"n{address.port - 9000}"]
        if name in self.unreachable:
            return fail(NodeUnavailable(name, "no connection"))
        try:
            self.cleaning(name, False)
        except NodeUnavailable as error:
            return fail(error)
        there = node.buckets.get(SYSTEM_BUCKET, {})
        if (marker := self.record(node, MARKER_KEY)) is not None:
            found = read_marker(name, marker)
            if found.node != name or cluster not in ("", found.cluster):
                return fail(NodeUnavailable(name, "it is another one's"))
            there[MARKER_KEY] = Copy(replace(found, left=True).to_bytes(), '"m"', 0.0)
            for key in sorted(there):
                if key != MARKER_KEY:
                    del there[key]
        try:
            self.cleaning(name, True)
        except NodeUnavailable as error:
            return fail(error)
        node.buckets.pop(SYSTEM_BUCKET, None)
        if buckets:
            for bucket in [each for each, keys in node.buckets.items() if not keys]:
                del node.buckets[bucket]
        self.cleaned.append(name)
        return succeed(None)

    def make_id(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    def record(self, node: MemoryNode, key: str) -> bytes | None:
        copy = node.buckets.get(SYSTEM_BUCKET, {}).get(key)
        return copy.data if copy is not None else None

    def marker(self, name: str) -> Marker:
        data = self.record(self.nodes[name], MARKER_KEY)
        assert data is not None
        return read_marker(name, data)

    def noted(self) -> list[str]:
        """The nodes with the note of a clean stop."""
        return [name for name in self.names if self.record(self.nodes[name], STOPPED_KEY)]

    def unreach(self, *names: str) -> None:
        """They don't answer any more; what they hold stays."""
        for name in names:
            self.unreachable.add(name)
            self.nodes[name].script("*", unavailable(), times=None)

    def reachable(self, *names: str) -> None:
        for name in names:
            self.unreachable.discard(name)
            self.nodes[name].heal()

    # -- gateways -------------------------------------------------------------------------------

    def begin(self, *first: str, **settings: Any) -> Gateway:
        gateway = Gateway(self, first, **settings)
        self.running.append(gateway)
        return gateway

    def begun(self, *first: str, **settings: Any) -> Gateway:
        """One that is ready: all nodes answer, if no others are named."""
        gateway = self.begin(*(first or self.names), **settings)
        self.wait(60, lambda: gateway.ready)
        return gateway

    def stop(self, gateway: Gateway) -> None:
        self.running.remove(gateway)
        stopping = Deferred.fromCoroutine(gateway.assembly.stop())
        for _ in range(200):
            if stopping.called:
                break
            self.clock.advance(0.1)
        self.successResultOf(stopping)
        self.clock.advance(0)

    def dies(self, gateway: Gateway) -> None:
        """SIGKILL: nothing that it waits for comes any more."""
        self.running.remove(gateway)
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def wait(self, limit_s: float, until: Callable[[], bool]) -> None:
        """Let time pass until it is so."""
        for _ in range(round(limit_s * 4)):
            if until():
                return
            self.clock.advance(0.25)
        self.assertTrue(until(), f"not within {limit_s} s")

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def put(self, gateway: Gateway, key: str, data: bytes) -> None:
        self.now(put(gateway.store, Put(OBJECT_BUCKET, key, BytesSource(data))))

    def delete(self, gateway: Gateway, key: str) -> None:
        self.now(delete(gateway.store, OBJECT_BUCKET, key))

    def getting(self, gateway: Gateway, key: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(get(gateway.store, Get(OBJECT_BUCKET, key)))

    def read(self, gateway: Gateway, key: str) -> bytes:
        found = self.successResultOf(self.getting(gateway, key))
        consumer = CollectingConsumer()
        self.successResultOf(found.reading.deliver(consumer))
        return bytes(consumer.data)

    def settled(self, gateway: Gateway, key: str = "k") -> bool:
        return gateway.store.is_settled(OBJECT_BUCKET, key)

    def why_unsettled(self, gateway: Gateway, key: str = "k") -> str:
        return gateway.store.why_unsettled(OBJECT_BUCKET, key)

    def primaries(self, gateway: Gateway, key: str = "k") -> list[str]:
        return [each.name for each in gateway.store.primaries(OBJECT_BUCKET, key)]

    def members(self, gateway: Gateway) -> list[str]:
        return sorted(gateway.roster.ring.members)
