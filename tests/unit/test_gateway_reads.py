"""Reads with two copies a key: one request where copies agree, otherwise a comparison."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred

from aosd.model.errors import (
    NoQuorum,
    NoSuchKey,
    RangeNotSatisfiable,
    UpstreamTimeout,
)
from aosd.model.node import Member, NodeState
from aosd.model.ranges import parse_range
from aosd.model.ring import Ring
from aosd.model.versions import version_of
from aosd.testing.faults import (
    late,
    nonsense,
    refused,
    timed_out,
    unavailable,
)
from aosd.testing.memory_bodies import ReadingAtHand
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, S1, S2, S3, SMALL, GatewayTestCase


class SettledTests(GatewayTestCase):
    count = 5

    def test_a_get_is_one_request_and_so_is_a_head(self) -> None:
        self.stored(KEY, SMALL)
        for work, method in ((self.getting, "get"), (self.heading, "head")):
            self.forget_requests()
            found = self.successResultOf(work(KEY))
            if found.reading is not None:
                self.deliver(found)
            (asked,) = self.requests().items()
            self.assertIn(asked[0], "ab")
            self.assertEqual(asked[1], {method: 1})

    def test_a_404_of_one_primary_is_final(self) -> None:
        for work, method in ((self.getting, "get"), (self.heading, "head")):
            self.forget_requests()
            self.failureResultOf(work(KEY), NoSuchKey)
            self.assertEqual(list(self.requests().values()), [{method: 1}])

    def test_one_that_is_no_primary_any_more_when_it_answers_says_nothing(self) -> None:
        # The ring has changed meanwhile, and all is settled again.
        for work, method in ((self.getting, "get"), (self.heading, "head")):
            with self.subTest(method):
                before = self.placement.ring
                self.stored(KEY, SMALL)
                answers: list[Deferred[None]] = []
                for node in (self.a, self.b):
                    answers.append(Deferred())
                    node.script(method, late(lambda answer=answers[-1]: answer))  # type: ignore[misc]
                reading = work(KEY)
                self.placement.ring = Ring(
                    Member(each.name, 1.0, each.name) for each in (self.c, self.d, self.e)
                )
                for new, old in ((self.c, self.a), (self.d, self.b)):
                    new.buckets[BUCKET][KEY] = old.buckets[BUCKET].pop(KEY)
                for answer in answers:
                    answer.callback(None)
                found = self.successResultOf(reading)
                if found.reading is not None:
                    self.assertEqual(self.deliver(found), SMALL)
                for node in (self.a, self.b):
                    node.heal()
                self.placement.ring = before

    def test_a_handoff_that_is_down_doesnt_matter(self) -> None:
        self.stored(KEY, SMALL)
        self.down(self.c, self.d, self.e)
        self.forget_requests()
        self.assertEqual(self.read(KEY), SMALL)
        self.assertEqual(sum(sum(each.values()) for each in self.requests().values()), 1)

    def test_the_next_one_when_one_fails_before_the_head(self) -> None:
        self.stored(KEY, SMALL)
        for fault in (unavailable(), timed_out(), refused(), nonsense()):
            for node in (self.a, self.b):
                node.script("get", fault)
                node.script("head", fault)
                self.assertEqual(self.read(KEY), SMALL)
                self.successResultOf(self.heading(KEY))
                node.heal()

    def test_when_all_primaries_fail_the_error_is_theirs(self) -> None:
        self.stored(KEY, SMALL)
        for fault, error in ((unavailable(), NoQuorum), (timed_out(), UpstreamTimeout)):
            for node in self.nodes:
                node.script("get", fault, times=None)
                node.script("head", fault, times=None)
            self.failureResultOf(self.getting(KEY), error)
            self.failureResultOf(self.heading(KEY), error)

    def test_no_primary_answers_and_the_handoffs_cant_tell(self) -> None:
        for node in (self.a, self.b):
            node.script("*", unavailable(), times=None)
        self.failureResultOf(self.getting(KEY), NoQuorum)
        self.failureResultOf(self.heading(KEY), NoQuorum)

    def test_x_aos_read_newest_compares_all_the_same(self) -> None:
        self.lay(self.a, b"old", S1)
        self.lay(self.b, b"old", S1)
        self.lay(self.d, b"new", S2)
        self.forget_requests()
        self.assertEqual(self.read(KEY, newest=True), b"new")
        self.assertEqual(set(self.requests()), set("abcd"))
        self.assertEqual(self.read(KEY), b"old")
        found = self.successResultOf(self.heading(KEY, newest=True))
        self.assertEqual(found.head.stamp, S2)

    def test_a_key_whose_write_takes_effect_is_compared(self) -> None:
        self.stored(KEY, b"old")
        gate: Deferred[None] = Deferred()
        self.b.script("put", late(lambda: gate, carried_out=True))
        self.a.script("put", late(lambda: gate))
        writing = self.put(KEY, b"new")
        self.assertTrue(self.store.turns.busy(BUCKET, KEY))
        self.forget_requests()
        for _ in range(4):
            self.assertEqual(self.read(KEY), b"new")
        self.assertEqual(self.stamp_on(self.b), self.successResultOf(self.heading(KEY)).head.stamp)
        gate.callback(None)
        self.successResultOf(writing)

    def test_one_that_turns_out_to_have_been_away_while_it_was_asked(self) -> None:
        """Its answer counts as one of many."""
        for work, method in ((self.getting, "get"), (self.heading, "head")):
            gate: Deferred[None] = Deferred()
            for node in (self.a, self.b):
                self.lay(node, b"old", S1)
                node.script(method, late(lambda gate=gate: gate, carried_out=True))
            self.forget_requests()
            reading = work(KEY)
            self.assertNoResult(reading)
            asked, other = self.a, self.b
            if not asked.requests[method]:
                asked, other = other, asked
            other.heal()
            self.lay(other, b"new", S2)
            self.back(asked)
            gate.callback(None)
            found = self.successResultOf(reading)
            self.assertEqual(found.head.stamp, S2)
            if found.reading is not None:
                found.reading.abandon()
            self.settle()

    def test_a_range_outside_of_a_copy_that_turns_out_to_be_old(self) -> None:
        wanted = parse_range("bytes=4-5")
        gate: Deferred[None] = Deferred()
        for node in (self.a, self.b):
            self.lay(node, b"old", S1)
            node.script("get", late(lambda: gate))
        self.forget_requests()
        reading = self.getting(KEY, wanted=wanted)
        self.assertNoResult(reading)
        asked, other = self.a, self.b
        if not asked.requests["get"]:
            asked, other = other, asked
        other.heal()
        self.lay(other, b"new and longer", S2)
        self.back(asked)
        gate.callback(None)
        self.assertEqual(self.deliver(self.successResultOf(reading)), b"an")
        self.settle()

    def test_if_range_is_judged_by_what_is_opened(self) -> None:
        """One request where it holds; all of the object where it turns out to be another one."""
        self.stored(KEY, b"0123456789")
        etag = self.successResultOf(self.heading(KEY)).head.etag
        wanted = parse_range("bytes=4-5")
        self.forget_requests()
        found = self.successResultOf(self.getting(KEY, wanted=wanted, if_range=etag))
        self.assertTrue(found.partial)
        self.assertEqual(self.deliver(found), b"45")
        self.assertEqual(sum(sum(each.values()) for each in self.requests().values()), 1)
        for data in (b"another one", b"less"):
            self.stored(KEY, data)
            found = self.successResultOf(self.getting(KEY, wanted=wanted, if_range=etag))
            self.assertFalse(found.partial)
            self.assertEqual(self.deliver(found), data)
        etag = self.successResultOf(self.heading(KEY)).head.etag
        reading = self.getting(KEY, wanted=wanted, if_range=etag)
        self.failureResultOf(reading, RangeNotSatisfiable)

    def test_reads_spread(self) -> None:
        self.stored(KEY, FLOWING)
        held = [self.successResultOf(self.getting(KEY)) for _ in range(6)]
        self.assertEqual((self.a.open_readings, self.b.open_readings), (3, 3))
        for found in held:
            assert found.reading is not None
            found.reading.abandon()

    def test_the_own_zone_comes_first(self) -> None:
        for own, others in ((self.a.name, self.b.name), (self.b.name, self.a.name)):
            # In this store each node is a zone.
            self.use(self.nodes, zone=own)
            self.stored(KEY, FLOWING)
            held = [self.successResultOf(self.getting(KEY)) for _ in range(3)]
            self.assertEqual(self.placement.nodes[own].open_readings, 3)
            self.state(self.placement.nodes[own], NodeState.SUSPECT)
            held.append(self.successResultOf(self.getting(KEY)))
            self.assertEqual(self.placement.nodes[others].open_readings, 1)
            for found in held:
                assert found.reading is not None
                found.reading.abandon()


class UnsettledTests(GatewayTestCase):
    """The newest of all copies, in one round trip."""

    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.unsettle()

    def test_one_round_trip(self) -> None:
        """Nobody is asked after somebody has answered."""
        self.stored(KEY, SMALL)
        self.unsettle()
        self.forget_requests()
        gate: Deferred[None] = Deferred()
        for node in (self.a, self.b, self.c, self.d):
            node.script("*", late(lambda: gate))
        reading = self.getting(KEY)
        asked = self.requests()
        self.assertEqual(set(asked), set("abcd"))
        self.assertEqual(sorted(map(str, asked.values())), ["{'get': 1}"] + ["{'head': 1}"] * 3)
        gate.callback(None)
        self.assertEqual(self.deliver(self.successResultOf(reading)), SMALL)
        self.assertEqual(self.requests(), asked)

    def test_the_newest_stamp_wins_wherever_it_lies(self) -> None:
        for newest in (self.a, self.b, self.c, self.d):
            for node in self.nodes:
                self.lay(node, b"old", S1)
            self.lay(newest, b"new", S2)
            self.assertEqual(self.read(KEY), b"new")
            self.assertEqual(self.successResultOf(self.heading(KEY)).head.stamp, S2)

    def test_a_copy_beats_absence(self) -> None:
        for only in (self.a, self.b, self.c, self.d):
            for node in self.nodes:
                node.buckets[BUCKET].clear()
            self.lay(only, b"v", S1)
            self.assertEqual(self.read(KEY), b"v")
            self.successResultOf(self.heading(KEY))

    def test_equal_stamps_with_other_bytes(self) -> None:
        self.lay(self.a, b"one", S1)
        self.lay(self.b, b"two", S1)
        wins = max((b"one", b"two"), key=lambda data: self.etag(data))
        self.assertEqual(self.read(KEY), wins)
        self.lay(self.a, b"two", S1)
        self.lay(self.b, b"one", S1)
        self.assertEqual(self.read(KEY), wins)

    def etag(self, data: bytes) -> str:
        self.lay(self.e, data, S1)
        return self.e.buckets[BUCKET][KEY].etag

    def test_an_object_without_a_stamp_is_older_than_any_with(self) -> None:
        self.lay(self.a, b"foreign", None)
        self.assertEqual(self.read(KEY), b"foreign")
        self.lay(self.d, b"ours", S1)
        self.assertEqual(self.read(KEY), b"ours")

    def test_a_foreign_object_is_of_one_time_on_every_copy(self) -> None:
        self.lay(self.a, b"foreign", None)
        original = self.a.buckets[BUCKET].pop(KEY)
        self.lay(self.b, b"foreign", version_of(original.head, str).stamp)
        copy = replace(self.b.buckets[BUCKET].pop(KEY), modified_s=original.modified_s + 99)
        for each in (original, copy):
            self.a.buckets[BUCKET][KEY] = each
            found = self.successResultOf(self.heading(KEY))
            self.assertEqual(found.modified_s, int(original.modified_s))

    def test_the_journal_beats_copies_that_are_older(self) -> None:
        for node in (self.a, self.c):
            self.lay(node, b"old", S1)
        self.now(self.store.journal.deleted(BUCKET, KEY, S2))
        self.failureResultOf(self.getting(KEY), NoSuchKey)
        self.failureResultOf(self.heading(KEY), NoSuchKey)
        self.lay(self.d, b"new", S3)
        self.assertEqual(self.read(KEY), b"new")

    def test_a_restamped_copy_counts_as_it_was_restamped(self) -> None:
        self.lay(self.a, b"counts as 3", S1)
        self.lay(self.b, b"2", S2)
        self.now(self.store.journal.restamped(BUCKET, KEY, S1, S3))
        self.assertEqual(self.read(KEY), b"counts as 3")
        self.now(self.store.journal.deleted(BUCKET, KEY, S2))
        self.assertEqual(self.read(KEY), b"counts as 3")

    def test_fails_over_to_another_holder(self) -> None:
        for node in (self.a, self.c):
            self.lay(node, b"v", S2)
        for fault in (unavailable(), timed_out(), refused(), nonsense()):
            for node in (self.a, self.b, self.c, self.d):
                node.script("get", fault)
                node.script("head", fault)
                self.assertEqual(self.read(KEY), b"v")
                self.successResultOf(self.heading(KEY))
                node.heal()

    def test_ranges(self) -> None:
        self.lay(self.d, b"0123456789", S2)
        for node in (self.a, self.b):
            self.lay(node, b"01", S1)
        self.assertEqual(self.read(KEY, wanted=parse_range("bytes=4-5")), b"45")
        self.failureResultOf(
            self.getting(KEY, wanted=parse_range("bytes=10-")), RangeNotSatisfiable
        )
        self.lay(self.d, b"01", S1)
        self.lay(self.a, b"0123456789", S2)
        self.assertEqual(self.read(KEY, wanted=parse_range("bytes=4-5")), b"45")

    def test_one_overwritten_between_look_and_opening(self) -> None:
        for node in (self.a, self.b):
            self.lay(node, b"old", S1)
        self.lay(self.d, b"new", S2)
        gate: Deferred[None] = Deferred()
        self.c.script("head", late(lambda: gate))
        reading = self.getting(KEY)
        self.lay(self.d, b"newer", S3)
        gate.callback(None)
        self.assertEqual(self.deliver(self.successResultOf(reading)), b"newer")

    def test_one_that_moves_from_who_answers_late_to_who_answered_early(self) -> None:
        """Nobody who was asked told of it, and it was there all the time."""
        for work in (self.getting, self.heading):
            self.lay(self.d, SMALL, S1)
            gate: Deferred[None] = Deferred()
            for method in ("get", "head"):
                self.d.script(method, late(lambda gate=gate: gate))  # type: ignore[misc]
            reading = work(KEY)
            for node in (self.a, self.b):
                self.lay(node, SMALL, S1)
            self.store.writes.moves(BUCKET, KEY)
            del self.d.buckets[BUCKET][KEY]
            gate.callback(None)
            self.d.heal()
            found = self.successResultOf(reading)
            if found.reading is not None:
                self.assertEqual(self.deliver(found), SMALL)
            for node in (self.a, self.b):
                del node.buckets[BUCKET][KEY]

    def test_but_not_for_ever(self) -> None:
        for work in (self.getting, self.heading):
            gates: list[Deferred[None]] = []

            def gate(gates: list[Deferred[None]] = gates) -> Deferred[None]:
                gates.append(Deferred())
                return gates[-1]

            for method in ("get", "head"):
                self.d.script(method, late(gate), times=None)
            reading = work(KEY)
            while gates:
                self.store.writes.moves(BUCKET, KEY)
                gates.pop().callback(None)
            self.failureResultOf(reading, NoQuorum)
            self.d.heal()

    def test_who_leaves_releases_the_nodes(self) -> None:
        self.lay(self.a, FLOWING, S1)
        gate: Deferred[None] = Deferred()
        for node in (self.b, self.c):
            node.script("*", late(lambda: gate))
        reading = self.getting(KEY)
        self.assertNoResult(reading)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)


class AbsenceTests(GatewayTestCase):
    """404 where it isn't settled: from all but R - 1 of the nodes that could hold the key."""

    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.unsettle()

    def absent(self) -> None:
        self.failureResultOf(self.getting(KEY), NoSuchKey)
        self.failureResultOf(self.heading(KEY), NoSuchKey)

    def unknown(self) -> None:
        self.failureResultOf(self.getting(KEY), NoQuorum)
        self.failureResultOf(self.heading(KEY), NoQuorum)

    def test_one_may_be_missing(self) -> None:
        self.absent()
        for state in (NodeState.DOWN, NodeState.SUSPECT):
            for node in (self.a, self.d):
                self.state(node, state)
                self.absent()
                self.placement.states.clear()

    def test_but_not_two(self) -> None:
        for one, other in ((self.a, self.b), (self.a, self.c), (self.c, self.d)):
            self.down(one, other)
            self.unknown()
            self.placement.states.clear()

    def test_nor_one_missing_and_one_that_fails(self) -> None:
        self.down(self.a)
        for fault in (unavailable(), timed_out(), refused(), nonsense()):
            for node in (self.b, self.c, self.d):
                node.script("get", fault)
                node.script("head", fault)
                self.failureResultOf(self.getting(KEY), NoQuorum)
                node.heal()
                node.script("head", fault)
                self.failureResultOf(self.heading(KEY), NoQuorum)
                node.heal()

    def test_who_cant_hold_it_doesnt_matter(self) -> None:
        self.down(self.a, self.e)
        self.absent()

    def test_a_returning_one_counts_while_all_answer(self) -> None:
        self.back(self.a)
        self.absent()
        self.down(self.b)
        self.unknown()
        self.placement.states.clear()
        for node in self.nodes:
            self.back(node)
        self.absent()
        self.down(self.d)
        self.unknown()

    def test_a_returning_ones_copy_may_be_an_old_one(self) -> None:
        self.lay(self.a, b"v", S1)
        self.back(self.a)
        self.assertEqual(self.read(KEY), b"v")
        self.down(self.b)
        self.unknown()

    def test_a_handoffs_copy_may_be_an_old_one(self) -> None:
        self.lay(self.c, b"v", S1)
        self.down(self.a)
        self.assertEqual(self.read(KEY), b"v")
        self.down(self.b)
        self.unknown()

    def test_but_not_of_the_newest_write_that_is_remembered(self) -> None:
        self.down(self.a)
        self.stored(KEY, b"new")
        self.down(self.b)
        self.assertEqual(self.read(KEY), b"new")
        self.placement.states.clear()
        self.back(self.a)
        self.down(self.b)
        self.assertEqual(self.read(KEY), b"new")

    def test_a_primary_that_was_there_all_the_time_is_enough(self) -> None:
        self.lay(self.a, b"v", S1)
        self.down(self.b, self.c, self.d)
        self.assertEqual(self.read(KEY), b"v")

    def test_one_that_nobody_watched_counts_while_all_answer(self) -> None:
        for node in self.nodes:
            self.store.settledness.unwatched(node.name, 0.0)
        self.absent()
        self.down(self.d)
        self.unknown()

    def test_one_copy_means_all_have_to_answer(self) -> None:
        self.use(self.nodes, replicas=1)
        self.unsettle()
        self.absent()
        self.down(self.b)
        self.unknown()


class SettledAtHandTests(SettledTests):
    at_hand_bytes = len(SMALL)


class UnsettledAtHandTests(UnsettledTests):
    at_hand_bytes = 100_000


class AtHandTests(GatewayTestCase):
    at_hand_bytes = len(SMALL)

    def test_a_body_that_came_with_its_head_is_nobodys_to_resume_or_to_count(self) -> None:
        self.stored(KEY, SMALL)
        found = self.successResultOf(self.getting(KEY))
        self.assertIsInstance(found.reading, ReadingAtHand)
        self.assertEqual(+self.store.traffic.in_flight, {})
        self.assertEqual(self.deliver(found), SMALL)

    def test_a_longer_one_counts_until_it_is_read(self) -> None:
        self.stored(KEY, SMALL + b"x")
        found = self.successResultOf(self.getting(KEY))
        self.assertEqual(self.store.traffic.in_flight.total(), 1)
        self.assertEqual(self.deliver(found), SMALL + b"x")
