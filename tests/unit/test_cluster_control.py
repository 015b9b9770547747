"""The control connection of a watched node, and what waits for a probe over it."""

from __future__ import annotations

from aosd.model.errors import NodeTimeout, NodeUnavailable
from aosd.model.marker import Introduction, Marker
from aosd.model.node import NodeState
from tests.unit.member_case import MARKER, SEEN, MemberTestCase


class ControlConnectionTests(MemberTestCase):
    def test_broken_it_is_down_at_once_and_a_return_when_it_answers(self) -> None:
        node = self.up()
        self.breaker.control_lost(False)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertIsNone(self.member.candidate.node)
        self.assertEqual(len(node.probes), 1, "it is probed without waiting for a tick")
        node.probes[0].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.RETURNING)
        self.assertEqual(self.returns.told, ["n1"])

    def test_an_announced_close_is_none_when_the_next_probe_is_answered(self) -> None:
        node = self.up()
        self.breaker.control_lost(True)
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertEqual(len(node.probes), 1)
        node.probes[0].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertEqual(self.returns.told, [])

    def test_an_announced_close_and_no_new_connection_at_once_is_a_return(self) -> None:
        node = self.up()
        self.breaker.control_lost(True)
        node.probes[0].errback(NodeUnavailable("n1", "connection refused"))
        self.assertIsNone(self.member.candidate.node)
        self.clock.advance(3)
        self.probe()
        self.assertEqual(self.returns.told, ["n1"])
        self.assertEqual(self.member.state, NodeState.RETURNING)

    def test_an_announced_close_and_another_incarnation(self) -> None:
        node = self.up()
        self.breaker.control_lost(True)
        node.probes[0].callback(Marker("c", "n1", "i2").to_bytes())
        self.assertEqual(self.member.state, NodeState.DOWN)

    def test_broken_while_a_probe_is_under_way(self) -> None:
        node = self.up()
        self.member.tick()
        self.breaker.control_lost(False)
        self.assertEqual(self.member.state, NodeState.DOWN)
        node.probes[0].errback(NodeUnavailable("n1", "connection lost"))
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.clock.advance(3)
        self.probe()
        self.assertEqual(self.returns.told, ["n1"])

    def test_nothing_is_made_of_it_before_it_is_admitted(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].callback(Introduction(MARKER))
        self.breaker.control_lost(False)
        self.assertEqual(self.returns.told, [])
        self.assertEqual(self.nodes[0].probes, [])

    def test_a_refused_connection_alone_is_no_return(self) -> None:
        """The breaker opened for requests; the control connection lived all the time."""
        self.up()
        for _ in range(3):
            self.breaker.failed(NodeTimeout("n1", "slow"))
        self.assertEqual(self.member.state, NodeState.SUSPECT)
        self.clock.advance(1)
        self.probe()
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertEqual(self.returns.told, [])


class ConfirmTests(MemberTestCase):
    """A new connection carries requests after a probe that was sent since it was opened."""

    def test_a_probe_that_was_under_way_doesnt_count(self) -> None:
        node = self.up()
        self.member.tick()
        confirming = self.breaker.confirm()
        node.probes[0].callback(MARKER)
        self.assertNoResult(confirming)
        self.assertEqual(len(node.probes), 2)
        node.probes[1].callback(MARKER)
        self.successResultOf(confirming)

    def test_is_sent_at_once_and_several_share_one(self) -> None:
        node = self.up()
        first = self.breaker.confirm()
        self.assertEqual(len(node.probes), 1)
        second, third = self.breaker.confirm(), self.breaker.confirm()
        node.probes[0].callback(MARKER)
        self.successResultOf(first)
        self.assertEqual(len(node.probes), 2)
        self.assertNoResult(second)
        node.probes[1].callback(MARKER)
        self.successResultOf(second)
        self.successResultOf(third)

    def test_goes_even_while_the_breaker_backs_off(self) -> None:
        node = self.up()
        self.breaker.trip("slow")
        confirming = self.breaker.confirm()
        self.assertEqual(len(node.probes), 1)
        node.probes[0].callback(MARKER)
        self.successResultOf(confirming)

    def test_fails_as_the_probe_does(self) -> None:
        node = self.up()
        confirming = self.breaker.confirm()
        node.probes[0].errback(NodeUnavailable("n1", "connection refused"))
        self.failureResultOf(confirming, NodeUnavailable)

    def test_fails_when_another_disk_answers(self) -> None:
        node = self.up()
        confirming = self.breaker.confirm()
        node.probes[0].callback(Marker("c", "n1", "i2").to_bytes())
        self.failureResultOf(confirming, NodeUnavailable)

    def test_notices_a_restart_before_any_request_goes(self) -> None:
        node = self.up()
        confirming = self.breaker.confirm()
        self.breaker.control_lost(False)
        node.probes[0].errback(NodeUnavailable("n1", "connection lost"))
        self.failureResultOf(confirming, NodeUnavailable)
        again = self.breaker.confirm()
        node.probes[-1].callback(MARKER)
        self.successResultOf(again)
        self.assertEqual(self.returns.told, ["n1"])

    def test_fails_when_the_node_goes_away(self) -> None:
        node = self.up()
        self.member.tick()
        confirming = self.breaker.confirm()
        self.member.seen(None)
        self.failureResultOf(confirming, NodeUnavailable)
        node.probes[0].callback(MARKER)
        self.failureResultOf(self.breaker.confirm(), NodeUnavailable)

    def test_given_up_is_no_matter(self) -> None:
        node = self.up()
        self.member.tick()
        confirming = self.breaker.confirm()
        confirming.cancel()
        self.failureResultOf(confirming)
        node.probes[0].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.UP)

    def test_given_up_while_its_probe_is_under_way(self) -> None:
        node = self.up()
        confirming = self.breaker.confirm()
        confirming.cancel()
        self.failureResultOf(confirming)
        node.probes[0].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.UP)
        self.clock.advance(1)
        self.member.tick()
        self.assertEqual(len(node.probes), 2)
