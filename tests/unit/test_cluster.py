"""Breakers and members over time, on a stepped clock."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.cluster.breaker import Breaker
from aosd.cluster.member import WatchedMember
from aosd.model.errors import NodeError, NodeUnavailable
from aosd.model.node import Address, Credentials, Member, NodeState, Sighting
from aosd.nodes.provision import check_marker
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth

MARKER = json.dumps({"node": "n1", "incarnation": "i1"}).encode()
SEEN = Sighting("n1", Address("http", "127.0.0.1", 9000), Credentials("a", "s"))


def breaker(clock: Clock) -> Breaker:
    return Breaker("n1", clock, random.Random(1), failures=3, backoff_s=1.0, backoff_max_s=8.0)


class BreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = breaker(self.clock)

    def fail(self, times: int = 1) -> None:  # type: ignore[override]
        for _ in range(times):
            self.breaker.failed(NodeUnavailable("n1", "refused"))

    def test_opens_after_consecutive_failures_only(self) -> None:
        self.fail(2)
        self.breaker.answered(well=True)
        self.fail(2)
        self.breaker.check()
        self.fail()
        self.assertRaises(NodeUnavailable, self.breaker.check)

    def test_errors_of_its_own_are_failures_too(self) -> None:
        for _ in range(3):
            self.breaker.check()
            self.breaker.answered(well=False)
            self.fail()
        self.assertRaises(NodeUnavailable, self.breaker.check)

    def test_an_answer_does_not_close_it_but_a_probe_does(self) -> None:
        self.fail(3)
        self.breaker.answered(well=True)
        self.assertRaises(NodeUnavailable, self.breaker.check)
        self.breaker.close()
        self.breaker.check()

    def test_backs_off_with_jitter(self) -> None:
        self.fail(3)
        waits = []
        for _ in range(6):
            began = self.clock.seconds()
            while not self.breaker.probe_due():
                self.clock.advance(0.05)
            waits.append(self.clock.seconds() - began)
            self.breaker.probe_failed("still refused")
        for wait, full in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
            self.assertTrue(0.75 * full - 0.01 <= wait <= full + 0.06, (wait, full))
        self.assertEqual(len(set(waits)), len(waits))

    def test_who_watches_is_told_once(self) -> None:
        told: list[str] = []
        self.breaker.watch(lambda: told.append("a"))
        end = self.breaker.watch(lambda: told.append("b"))
        end()
        self.breaker.trip("probe")
        self.breaker.trip("again")
        self.assertEqual(told, ["a"])

    def test_full_is_remembered_for_a_while(self) -> None:
        self.breaker.out_of_space()
        self.assertTrue(self.breaker.full)
        self.clock.advance(31)
        self.assertFalse(self.breaker.full)


class Node:
    """Only what a watch uses of a node."""

    def __init__(self) -> None:
        self.probes: list[Deferred[bytes | None]] = []
        self.closed = False

    def probe(self) -> Deferred[bytes | None]:
        self.probes.append(Deferred())
        return self.probes[-1]

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class MemberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = breaker(self.clock)
        self.nodes: list[Node] = []
        self.contacts: list[Deferred[str]] = []
        self.member = WatchedMember(
            Member("n1", 1.0, "n1"),
            self.clock,
            self.breaker,
            self.make_node,
            self.provision,
            check_marker,
            Metrics(),
            0.9,
        )

    def make_node(
        self, name: str, address: Address, credentials: Credentials, health: IHealth
    ) -> Node:  # type: ignore[override]
        self.nodes.append(Node())
        return self.nodes[-1]

    def provision(self, name: str, address: Address, credentials: Credentials) -> Deferred[str]:
        self.contacts.append(Deferred())
        return self.contacts[-1]

    def up(self) -> Node:
        self.member.seen(SEEN)
        self.contacts[-1].callback("i1")
        self.assertEqual(self.member.state, NodeState.UP)
        return self.nodes[-1]

    def test_is_down_until_the_first_contact(self) -> None:
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.member.seen(SEEN)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertIsNone(self.member.candidate.node)
        self.contacts[0].callback("i1")
        self.assertIs(self.member.candidate.node, self.nodes[0])

    def test_a_failed_contact_is_told_and_tried_again(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].errback(NodeError("n1", "AccessDenied: wrong key"))
        self.assertIn("AccessDenied", self.member.why)
        self.member.tick()
        self.assertEqual(len(self.contacts), 1)
        self.clock.advance(3)
        self.member.tick()
        self.contacts[1].callback("i1")
        self.assertEqual(self.member.state, NodeState.UP)

    def test_a_probe_without_an_answer_makes_it_suspect(self) -> None:
        node = self.up()
        self.clock.advance(1)
        self.member.tick()
        self.assertEqual(len(node.probes), 1)
        self.clock.advance(0.9)
        self.assertEqual(self.member.state, NodeState.SUSPECT)
        self.clock.advance(2)
        self.member.tick()
        node.probes[1].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.UP)

    def test_a_busy_node_that_answers_others_is_not_suspected(self) -> None:
        node = self.up()
        self.clock.advance(1)
        self.member.tick()
        self.clock.advance(0.5)
        self.breaker.answered(well=True)
        self.clock.advance(0.4)
        self.assertEqual(len(node.probes), 1)
        self.assertEqual(self.member.state, NodeState.UP)

    def test_a_wiped_disk_is_met_afresh(self) -> None:
        node = self.up()
        self.member.tick()
        node.probes[0].callback(None)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.member.tick()
        self.contacts[1].callback("i2")
        self.assertEqual(self.member.incarnation, "i2")
        self.assertEqual(self.member.state, NodeState.UP)

    def test_another_nodes_data_is_refused(self) -> None:
        node = self.up()
        self.member.tick()
        self.clock.advance(0.1)
        node.probes[0].callback(json.dumps({"node": "n2", "incarnation": "x"}).encode())
        self.assertEqual(self.member.state, NodeState.SUSPECT)
        self.assertIn("n2", self.member.why)

    def test_stopped_and_started_elsewhere(self) -> None:
        node = self.up()
        self.member.seen(replace(SEEN, address=None, running=False))
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertEqual(self.member.why, "not running")
        self.assertTrue(node.closed)
        self.member.seen(replace(SEEN, address=Address("http", "127.0.0.1", 9001)))
        self.contacts[-1].callback("i1")
        self.assertIs(self.member.candidate.node, self.nodes[1])

    def test_a_contact_with_an_address_left_meanwhile_counts_for_nothing(self) -> None:
        self.member.seen(SEEN)
        self.member.seen(None)
        self.contacts[0].callback("i1")
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertEqual(self.member.why, "no provider reports it any more")

    def test_full_is_told_and_still_a_candidate(self) -> None:
        self.up()
        self.breaker.out_of_space()
        self.assertEqual(self.member.state, NodeState.FULL)
        self.assertTrue(self.member.candidate.full)
        self.assertIsNotNone(self.member.candidate.node)
