"""What the tests of one watched node share."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aosd.cluster.breaker import Breaker
from aosd.cluster.member import WatchedMember
from aosd.model.errors import NodeUnavailable
from aosd.model.marker import Introduction, Marker
from aosd.model.node import Address, Credentials, Member, NodeState, Sighting
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth

MARKER = Marker("c", "n1", "i1").to_bytes()
SEEN = Sighting("n1", Address("http", "127.0.0.1", 9000), Credentials("a", "s"))


class Node:
    """Only what a watch uses of a node."""

    def __init__(self) -> None:
        self.probes: list[Deferred[bytes | None]] = []
        self.cancelled = 0
        self.closed = False
        self.sorts = True

    def probe(self) -> Deferred[bytes | None]:
        self.probes.append(Deferred(self._cancelled))
        return self.probes[-1]

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)

    def _cancelled(self, _: object) -> None:
        self.cancelled += 1


class Returns:
    """Who was told to be returning, and is until it is swept."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.returning: set[str] = set()

    def returned(self, name: str) -> None:
        self.told.append(name)
        self.returning.add(name)

    def is_returning(self, name: str) -> bool:
        return name in self.returning


class MemberTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(
            "n1", self.clock, random.Random(1), failures=3, backoff_s=1.0, backoff_max_s=8.0
        )
        self.nodes: list[Node] = []
        self.contacts: list[Deferred[Introduction]] = []
        self.probed_abilities: list[bool] = []
        self.returns = Returns()
        self.met = 0
        self.member = WatchedMember(
            Member("n1", 1.0, "n1"),
            self.clock,
            self.breaker,
            self.make_node,  # type: ignore[arg-type]
            self.introduce,
            self.returns,
            Metrics(),
            met=self.was_met,
            probe_timeout_s=0.9,
            down_after_s=10.0,
        )

    def tearDown(self) -> None:
        for node in self.nodes:
            for probe in node.probes:
                if not probe.called:
                    probe.errback(Failure(NodeUnavailable("n1", "the test is over")))
        self.member.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def was_met(self) -> None:
        self.met += 1

    def make_node(
        self, name: str, address: Address, credentials: Credentials, health: IHealth
    ) -> Node:
        self.nodes.append(Node())
        return self.nodes[-1]

    def introduce(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        probe: bool,
        consented: bool,
    ) -> Deferred[Introduction]:
        self.probed_abilities.append(probe)
        self.contacts.append(Deferred())
        return self.contacts[-1]

    def up(self) -> Node:
        self.member.seen(SEEN)
        self.contacts[-1].callback(Introduction(MARKER))
        self.member.admit("i1", away=False)
        self.assertEqual(self.member.state, NodeState.UP)
        return self.nodes[-1]

    def probe(self, marker: bytes | None = MARKER) -> None:
        """A probe that is due, and answered at once."""
        self.member.tick()
        self.nodes[-1].probes[-1].callback(marker)
