"""Conditional writes, and writes that wait for each other."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from aosd.model.conditions import Conditions
from aosd.model.errors import BadRequest, NoQuorum, PreconditionFailed, SlowDown
from aosd.testing.faults import NO_FAULT, late, stalls, unavailable
from tests.unit.gateway_case import (
    BUCKET,
    FLOWING,
    KEY,
    LONG,
    S1,
    S2,
    SMALL,
    WAYS,
    GatewayTestCase,
    etag_of,
)


class ConditionTests(GatewayTestCase):
    """One copy a key."""

    replicas = 1

    def test_create_only(self) -> None:
        only = Conditions(if_none_match="*")
        for key, data, told in (("a", SMALL, True), ("b", FLOWING, True), ("c", LONG, False)):
            self.stored(key, data, told=told, conditions=only)
            self.failureResultOf(
                self.put(key, b"other", told=told, conditions=only), PreconditionFailed
            )
            self.assertEqual(self.read(key), data)

    def test_replace_only_the_version_named(self) -> None:
        first = self.stored("k", SMALL)
        second = self.stored("k", FLOWING, conditions=Conditions(if_match=first.etag))
        writing = self.put("k", LONG, told=False, conditions=Conditions(if_match=first.etag))
        self.assertFalse(self.failureResultOf(writing, PreconditionFailed).value.absent)
        self.stored("k", LONG, told=False, conditions=Conditions(if_match=second.etag))

    def test_if_match_on_nothing_fails(self) -> None:
        writing = self.put("k", SMALL, conditions=Conditions(if_match="*"))
        self.assertTrue(self.failureResultOf(writing, PreconditionFailed).value.absent)

    def test_an_etag_in_if_none_match_is_no_condition_for_writes(self) -> None:
        writing = self.put("k", SMALL, conditions=Conditions(if_none_match='"a"'))
        self.failureResultOf(writing, BadRequest)

    def test_of_two_that_race_one_wins(self) -> None:
        """Both pass the early look, both bodies flow; the turn decides."""
        only = Conditions(if_none_match="*")
        for key, data, told, last in (
            ("a", SMALL, True, "put"),
            ("b", FLOWING, True, "put"),
            ("c", LONG, False, "complete_upload"),
        ):
            gate: Deferred[None] = Deferred()
            self.order(key)[0].script(last, late(lambda gate=gate: gate))
            first = self.put(key, data, told=told, conditions=only)
            second = self.put(key, data, told=told, conditions=only)
            self.assertNoResult(second)
            gate.callback(None)
            self.successResultOf(first)
            self.failureResultOf(second, PreconditionFailed)

    def test_a_turn_that_does_not_come(self) -> None:
        gate: Deferred[None] = Deferred()
        self.order("k")[0].script("put", late(lambda: gate))
        first = self.put("k", SMALL)
        second = self.put("k", SMALL)
        self.clock.advance(20)
        self.failureResultOf(second, SlowDown)
        gate.callback(None)
        self.successResultOf(first)

    def test_a_client_that_leaves_during_its_turn_keeps_it_to_the_end(self) -> None:
        gate: Deferred[None] = Deferred()
        self.order("k")[0].script("put", late(lambda: gate, carried_out=True))
        first = self.put("k", b"first")
        second = self.put("k", b"second")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        gate.callback(None)
        self.successResultOf(second)
        self.assertEqual(self.read("k"), b"second")


class CopiesTests(GatewayTestCase):
    """Two copies a key."""

    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.only_new = Conditions(if_none_match="*")

    def test_a_settled_decision_is_one_request_before_the_body_and_one_at_its_turn(self) -> None:
        self.stored(KEY, SMALL, conditions=self.only_new)
        self.assertEqual(sum(node.requests["head"] for node in self.nodes), 2)

    def test_unsettled_all_copies_are_compared(self) -> None:
        self.lay(self.a, b"old", S1)
        self.lay(self.d, b"new", S2)
        self.unsettle()
        for data, told in WAYS:
            for conditions in (self.only_new, Conditions(if_match=etag_of(b"old"))):
                writing = self.put(KEY, data, told=told, conditions=conditions)
                self.failureResultOf(writing, PreconditionFailed)
                self.assertFalse(self.source.started)
        self.stored(KEY, SMALL, conditions=Conditions(if_match=etag_of(b"new")))
        self.assertEqual(self.read(KEY), SMALL)

    def test_a_dead_copy_is_no_object(self) -> None:
        self.lay(self.a, b"old", S1)
        self.now(self.store.journal.deleted(BUCKET, KEY, S2))
        self.back(self.a)
        writing = self.put(KEY, SMALL, conditions=Conditions(if_match="*"))
        self.failureResultOf(writing, PreconditionFailed)
        self.stored(KEY, SMALL, conditions=self.only_new)

    def test_what_cant_be_known_isnt_decided(self) -> None:
        """A node that was away may have the only copy: creating isn't safe, nor is replacing."""
        self.unsettle()
        self.down(self.a, self.b)
        for conditions in (self.only_new, Conditions(if_match="*")):
            for data, told in WAYS:
                writing = self.put(KEY, data, told=told, conditions=conditions)
                self.failureResultOf(writing, NoQuorum)
                self.assertFalse(self.source.started)

    def test_a_node_that_fails_at_the_turn_leaves_the_old_object(self) -> None:
        self.stored(KEY, b"old")
        self.unsettle()
        for data, told in WAYS:
            for node in (self.a, self.b, self.c, self.d):
                node.script("head", NO_FAULT)
                node.script("head", unavailable())
            writing = self.put(
                KEY, data, told=told, conditions=Conditions(if_match=etag_of(b"old"))
            )
            self.failureResultOf(writing, NoQuorum)
            self.assertEqual(self.holders(data=b"old"), "ab")
            self.assertEqual(self.marks(), [])

    def test_of_two_that_race_one_wins_everywhere(self) -> None:
        for unsettle in (False, True):
            if unsettle:
                self.unsettle()
            for data, told in WAYS:
                gate: Deferred[None] = Deferred()
                self.a.script("put" if told else "complete_upload", late(lambda gate=gate: gate))
                first = self.put(KEY, data, told=told, conditions=self.only_new)
                second = self.put(KEY, b"other", conditions=self.only_new)
                gate.callback(None)
                self.successResultOf(first)
                self.failureResultOf(second, PreconditionFailed)
                self.assertEqual(self.holders(data=data), "ab")
                self.deleted(KEY)


class RefusalTests(GatewayTestCase):
    """No writes while another gateway uses the nodes; reads go on."""

    def test_before_the_body(self) -> None:
        self.stored(KEY, SMALL)
        why = "another gateway uses these nodes"
        self.use(self.nodes, refusal=lambda: why)
        for data, told in WAYS:
            failure = self.failureResultOf(self.put(KEY, data, told=told), NoQuorum)
            self.assertIn("another gateway", str(failure.value))
            self.assertFalse(self.source.started)
        self.failureResultOf(self.delete(KEY), NoQuorum)
        self.assertEqual(self.read(KEY), SMALL)
        self.assertEqual(self.listed(), [KEY])
        why = ""
        self.deleted(KEY)

    def test_at_the_turn_of_one_under_way(self) -> None:
        why = ""
        self.use(self.nodes, refusal=lambda: why)
        self.stored(KEY, b"old")
        for data, told in ((FLOWING, True), (LONG, False)):
            gate: Deferred[None] = Deferred()
            if told:
                self.a.script("put", stalls(1000, lambda gate=gate: gate))
            else:
                self.a.script("put_part", late(lambda gate=gate: gate))
            writing = self.put(KEY, data, told=told)
            self.assertNoResult(writing)
            why = "another gateway uses these nodes"
            gate.callback(None)
            self.failureResultOf(writing, NoQuorum)
            self.assertEqual(self.holders(data=b"old"), "ab")
            why = ""
