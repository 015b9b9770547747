"""One node over time, on a stepped clock: met, probed, doubted, lost, back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aosd.model.errors import NodeError
from aosd.model.marker import Introduction, Marker
from aosd.model.node import Address, Member, NodeState
from aosd.ports import Candidate
from tests.unit.member_case import MARKER, SEEN, MemberTestCase


class MeetingTests(MemberTestCase):
    def test_is_down_until_it_is_admitted(self) -> None:
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.member.seen(SEEN)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.contacts[0].callback(Introduction(MARKER))
        self.assertEqual(self.met, 1)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertIsNone(self.member.candidate.node)
        self.member.admit("i1", away=False)
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertIs(self.member.candidate.node, self.nodes[0])
        self.assertEqual(self.returns.told, [])

    def test_admitted_as_one_that_was_away_it_returns(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].callback(Introduction(MARKER))
        self.member.admit("i1", away=True)
        self.assertEqual(self.member.state, NodeState.RETURNING)
        self.assertIsNotNone(self.member.candidate.node)
        self.returns.returning.clear()
        self.assertEqual(self.member.state, NodeState.UP)

    def test_a_failed_contact_is_told_and_tried_again(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].errback(NodeError("n1", "AccessDenied: wrong key"))
        self.assertIn("AccessDenied", self.member.why)
        self.member.tick()
        self.assertEqual(len(self.contacts), 1)
        self.clock.advance(3)
        self.member.tick()
        self.contacts[1].callback(Introduction(MARKER))
        self.assertEqual(self.met, 1)

    def test_refused_it_is_met_again_after_a_while(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].callback(Introduction(MARKER))
        self.member.refuse("it belongs to another cluster")
        self.assertEqual(self.member.state, NodeState.DOWN)
        for _ in range(29):
            self.clock.advance(1)
            self.member.tick()
            for probe in self.nodes[0].probes:
                if not probe.called:
                    probe.callback(MARKER)
        self.assertEqual(len(self.contacts), 1)
        self.assertEqual(self.member.why, "it belongs to another cluster")
        self.clock.advance(1)
        self.member.tick()
        self.assertEqual(len(self.contacts), 2)
        self.contacts[1].callback(Introduction(None))

    def test_what_it_can_is_probed_only_before_it_is_known(self) -> None:
        self.up()
        self.member.seen(replace(SEEN, address=None, running=False))
        self.member.seen(SEEN)
        self.contacts[-1].callback(Introduction(MARKER))
        self.assertEqual(self.probed_abilities, [True, False])

    def test_in_which_order_it_lists_is_known_of_it_elsewhere_too(self) -> None:
        self.member.seen(SEEN)
        self.contacts[0].callback(Introduction(MARKER, sorted_listing=False))
        self.member.admit("i1", away=False)
        self.member.seen(replace(SEEN, address=Address("http", "10.0.0.9", 9000)))
        self.contacts[-1].callback(Introduction(MARKER))
        self.assertEqual([node.sorts for node in self.nodes], [False, False])

    def test_a_contact_with_an_address_left_meanwhile_counts_for_nothing(self) -> None:
        self.member.seen(SEEN)
        self.member.seen(None)
        self.contacts[0].callback(Introduction(MARKER))
        self.assertEqual(self.met, 0)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertEqual(self.member.why, "no provider reports it any more")

    def test_stopped_and_started_elsewhere(self) -> None:
        node = self.up()
        self.member.seen(replace(SEEN, address=None, running=False))
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.assertEqual(self.member.why, "not running")
        self.assertTrue(node.closed)
        self.member.seen(replace(SEEN, address=Address("http", "127.0.0.1", 9001)))
        self.contacts[-1].callback(Introduction(MARKER))
        self.member.admit("i1", away=True)
        self.assertIs(self.member.candidate.node, self.nodes[1])

    def test_full_is_told_and_still_a_candidate(self) -> None:
        self.up()
        self.breaker.out_of_space()
        self.assertEqual(self.member.state, NodeState.FULL)
        self.assertTrue(self.member.candidate.full)
        self.assertIsNotNone(self.member.candidate.node)

    def test_whatever_its_candidate_tells_is_told(self) -> None:
        told: list[Candidate] = []
        self.member.on_changed = lambda: told.append(self.member.candidate)

        def let(name: str, value: object) -> Callable[[], object]:
            return lambda: setattr(self.member, name, value)

        def full_no_more() -> None:
            self.clock.advance(31)
            self.member.tick()

        acts: list[Callable[[], object]] = [
            self.up,
            let("hides", True),
            let("foreign", True),
            let("adopted", True),
            let("member", Member("n1", 1.0, "elsewhere")),
            self.breaker.out_of_space,
            full_no_more,
            lambda: self.breaker.trip("it fails"),
            self.breaker.close,
            lambda: self.member.seen(None),
        ]
        for act in acts:
            before = self.member.candidate
            told.clear()
            act()
            self.assertNotEqual(self.member.candidate, before)
            self.assertEqual(told[-1], self.member.candidate)


class ProbingTests(MemberTestCase):
    def test_one_probe_at_a_time(self) -> None:
        node = self.up()
        for _ in range(3):
            self.member.tick()
        self.assertEqual(len(node.probes), 1)

    def test_one_that_takes_long_makes_it_suspect_but_isnt_given_up(self) -> None:
        """To give it up would break the connection, and nobody would know what happened."""
        node = self.up()
        self.clock.advance(1)
        self.member.tick()
        self.clock.advance(0.9)
        self.assertEqual(self.member.state, NodeState.SUSPECT)
        self.assertIsNone(self.member.candidate.node)
        self.clock.advance(5)
        self.assertEqual((node.cancelled, len(node.probes)), (0, 1))
        node.probes[0].callback(MARKER)
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertEqual(self.returns.told, [])

    def test_one_that_takes_too_long_makes_it_down_and_then_it_returns(self) -> None:
        node = self.up()
        self.member.tick()
        self.clock.pump([0.5] * 21)
        self.assertEqual(node.cancelled, 1)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.clock.advance(10)
        self.probe()
        self.assertEqual(self.returns.told, ["n1"])
        self.assertEqual(self.member.state, NodeState.RETURNING)
        self.assertEqual(self.member.up_since_s, self.clock.seconds())

    def test_a_busy_node_that_answers_others_is_not_suspected(self) -> None:
        node = self.up()
        self.clock.advance(1)
        self.member.tick()
        for _ in range(5):
            self.clock.advance(0.5)
            self.breaker.answered(well=True)
        self.assertEqual(self.member.state, NodeState.UP)
        self.assertEqual(len(node.probes), 1)
        self.clock.pump([0.1] * 19)
        self.assertEqual(self.member.state, NodeState.SUSPECT)

    def test_a_wiped_disk_is_met_afresh(self) -> None:
        self.up()
        self.probe(None)
        self.assertEqual(self.member.state, NodeState.DOWN)
        self.clock.advance(1)
        self.member.tick()
        self.contacts[1].callback(Introduction(None))
        self.member.admit("i2", away=True)
        self.assertEqual(self.member.incarnation, "i2")
        self.assertEqual(self.member.state, NodeState.RETURNING)

    def test_so_is_another_disk_or_another_nodes_data(self) -> None:
        for marker in (Marker("c", "n1", "i2"), Marker("c", "n2", "i1"), Marker("", "", "")):
            self.up()
            self.probe(marker.to_bytes())
            self.assertEqual(self.member.state, NodeState.DOWN)
            self.assertIsNone(self.member.incarnation)
            self.member.seen(None)

    def test_a_marker_that_cant_be_read_speaks_against_it(self) -> None:
        self.up()
        self.probe(b"{")
        self.assertIsNone(self.member.candidate.node)
