"""DELETE: on record in the journal before any copy is removed."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from aosd.gateway.delete import delete
from aosd.model.conditions import Conditions
from aosd.model.errors import NoNodes, NoQuorum, NoSuchKey, PreconditionFailed
from aosd.model.node import NodeState
from aosd.model.ring import Ring
from aosd.testing.faults import NO_FAULT, late, refused, timed_out, unavailable
from tests.unit.gateway_case import BUCKET, KEY, S1, SMALL, GatewayTestCase


class DeleteTests(GatewayTestCase):
    count = 5

    def test_goes_to_all_that_could_hold_it(self) -> None:
        self.stored(KEY, SMALL)
        for node in (self.c, self.d, self.e):
            self.lay(node, SMALL, S1)
        self.forget_requests()
        self.deleted(KEY)
        self.assertEqual(self.holders(), "e")
        self.assertEqual(
            {letter: each.get("delete") for letter, each in self.requests().items()},
            {"a": 1, "b": 1, "c": 1, "d": 1, "e": None},
        )
        self.deleted(KEY)

    def test_stands_in_the_journal_before_the_first_copy_goes(self) -> None:
        self.stored(KEY, SMALL)
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        deleting = self.delete(KEY)
        self.assertNoResult(deleting)
        self.assertEqual(self.holders(), "ab")
        self.assertIsNotNone(self.store.journal.delete_of(BUCKET, KEY))
        gate.callback(None)
        self.successResultOf(deleting)
        (names,) = self.remembered("journal/").values()
        self.assertEqual(len(names), 5)
        self.assertEqual(self.holders(), "")

    def test_one_that_cant_be_put_on_record_removes_nothing(self) -> None:
        self.stored(KEY, SMALL)
        for node in self.nodes[:4]:
            node.script("put", refused())
        self.failureResultOf(self.delete(KEY), NoQuorum)
        self.assertEqual(self.holders(), "ab")
        self.assertTrue(self.store.journal.failed)

    def test_succeeds_with_a_primary_away(self) -> None:
        self.stored(KEY, SMALL)
        for state in (NodeState.DOWN, NodeState.SUSPECT):
            self.stored(KEY, SMALL)
            self.state(self.a, state)
            self.deleted(KEY)
            self.assertEqual(self.holders(), "a")
            self.failureResultOf(self.getting(KEY), NoSuchKey)
            self.back(self.a)
            self.failureResultOf(self.getting(KEY), NoSuchKey)
            self.failureResultOf(self.heading(KEY), NoSuchKey)
            self.assertEqual(self.listed(), [])
            self.a.buckets[BUCKET].clear()
            self.settle()

    def test_a_copy_that_comes_back_stays_dead_and_a_new_one_lives(self) -> None:
        self.stored(KEY, b"old")
        snapshot = self.a.snapshot()
        self.deleted(KEY)
        self.a.restore(snapshot)
        self.back(self.a)
        self.failureResultOf(self.getting(KEY), NoSuchKey)
        self.assertEqual(self.listed(), [])
        self.stored(KEY, b"new")
        self.assertEqual(self.read(KEY), b"new")
        self.assertEqual(self.listed(), [KEY])

    def test_one_that_lands_late_after_a_delete_is_dead(self) -> None:
        self.b.script("put", timed_out())
        self.stored(KEY, SMALL)
        copy = self.a.buckets[BUCKET][KEY]
        self.deleted(KEY)
        self.b.buckets[BUCKET][KEY] = copy
        self.failureResultOf(self.getting(KEY), NoSuchKey)
        self.assertEqual(self.listed(), [])

    def test_no_node_answers(self) -> None:
        self.stored(KEY, SMALL)
        for node in self.nodes:
            node.script("delete", unavailable())
        # It stands in the journal, and that is what counts.
        self.deleted(KEY)
        self.failureResultOf(self.getting(KEY), NoSuchKey)
        self.assertEqual(self.listed(), [])

    def test_no_nodes(self) -> None:
        self.placement.ring = Ring(())
        self.failureResultOf(self.delete(KEY), NoNodes)

    def test_conditions_are_decided_at_its_turn(self) -> None:
        written = self.stored(KEY, SMALL)
        other = delete(self.store, BUCKET, KEY, Conditions(if_match='"other"'))
        self.failureResultOf(self.run_(other), PreconditionFailed)
        self.assertIsNone(self.store.journal.delete_of(BUCKET, KEY))
        self.assertEqual(self.read(KEY), SMALL)
        self.now(delete(self.store, BUCKET, KEY, Conditions(if_match=written.etag)))
        self.assertEqual(self.holders(), "")

    def test_a_condition_on_nothing_fails_in_a_way_of_its_own(self) -> None:
        only = Conditions(if_match="*")
        deleting = self.run_(delete(self.store, BUCKET, KEY, only))
        self.assertTrue(self.failureResultOf(deleting, PreconditionFailed).value.absent)

    def test_a_condition_that_cant_be_known_is_no_answer(self) -> None:
        self.stored(KEY, SMALL)
        self.unsettle()
        self.down(self.a, self.b)
        work = delete(self.store, BUCKET, KEY, Conditions(if_match="*"))
        self.failureResultOf(self.run_(work), NoQuorum)

    def test_waits_for_its_turn_and_the_next_one_for_it(self) -> None:
        gate: Deferred[None] = Deferred()
        self.a.script("put", late(lambda: gate))
        first = self.put(KEY, b"first")
        deleting = self.delete(KEY)
        second = self.put(KEY, b"second")
        self.assertNoResult(deleting)
        gate.callback(None)
        for each in (first, deleting, second):
            self.successResultOf(each)
        self.assertEqual(self.read(KEY), b"second")

    def test_goes_on_without_its_client(self) -> None:
        self.stored(KEY, SMALL)
        gate: Deferred[None] = Deferred()
        self.a.script("delete", late(lambda: gate))
        self.b.script("delete", timed_out())
        deleting = self.delete(KEY)
        deleting.cancel()
        self.failureResultOf(deleting, CancelledError)
        gate.callback(None)
        self.assertEqual(self.holders(), "b")
        self.assertEqual(len(self.marks()), 1)

    def test_deletes_share_the_journals_next_batch(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
            node.script("put", NO_FAULT)
        deleting = [self.delete(f"k{number}") for number in range(20)]
        gate.callback(None)
        for each in deleting:
            self.successResultOf(each)
        self.assertEqual(len(self.remembered("journal/")), 2)
