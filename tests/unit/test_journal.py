"""The journal: what stands on the nodes before it takes effect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred

from aosd.consistency.journal import Journal
from aosd.consistency.ledger import Ledger
from aosd.model.errors import NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.faults import NO_FAULT, Fault, lands_late, late, refused
from aosd.testing.memory_node import MemoryNode
from tests.unit.memory_case import NOW_S, MemoryTestCase, stamp

DAY_S = 86400
BUCKET = "object"


class JournalTestCase(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.may_forget = True
        self.journal = self.make()

    def make(self, **more: int) -> Journal:
        self.ledger = Ledger()
        self.addCleanup(self.ledger.close)
        return Journal(
            self.memory,
            self.ledger,
            self.clock,
            self.clock.seconds,
            may_forget=lambda _: self.may_forget,
            **more,
        )

    def delete(self, key: str, when: str) -> Deferred[None]:
        return self.run_(self.journal.deleted(BUCKET, key, when))

    def deleted(self, key: str, when: str) -> None:
        self.successResultOf(self.delete(key, when))

    def tend(self) -> None:
        self.now(self.journal.tend())

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def loaded(self, *nodes: MemoryNode) -> Journal:
        """A gateway started after this one died, that reads these nodes."""
        journal = self.make()
        for node in nodes or self.nodes[:2]:
            self.now(journal.load(self.now(self.memory.read(node, ""))))
        return journal

    def all_put(self, fault: Callable[[], Fault], times: int | None = 1) -> None:
        for node in self.nodes:
            node.script("put", fault(), times=times)

    def heal(self) -> None:
        for node in self.nodes:
            node.heal()


class RecordTests(JournalTestCase):
    def test_stands_on_the_nodes_when_it_returns(self) -> None:
        self.deleted("k", stamp(1))
        ((name, count),) = self.everywhere().items()
        self.assertTrue(name.startswith(f"journal/{stamp(1)}"))
        self.assertEqual(count, 3)
        lines = self.records(self.nodes[0])[name].splitlines()
        self.assertEqual([json.loads(line) for line in lines], [[stamp(1), BUCKET, "k"]])

    def test_the_newest_delete_counts(self) -> None:
        self.assertIsNone(self.journal.delete_of(BUCKET, "k"))
        for number in (2, 3, 1):
            self.deleted("k", stamp(number))
        self.assertEqual(self.journal.delete_of(BUCKET, "k"), stamp(3))
        self.assertIsNone(self.journal.delete_of(BUCKET, "other"))
        self.assertIsNone(self.journal.delete_of("other", "k"))
        self.assertEqual(self.journal.newest, stamp(3))

    def test_restamping(self) -> None:
        self.now(self.journal.restamped(BUCKET, "k", stamp(1), stamp(5)))
        self.assertEqual(self.journal.counts_as(BUCKET, "k", stamp(1)), stamp(5))
        self.assertEqual(self.journal.counts_as(BUCKET, "k", stamp(2)), stamp(2))
        self.assertEqual(self.journal.counts_as(BUCKET, "other", stamp(1)), stamp(1))
        self.assertIsNone(self.journal.delete_of(BUCKET, "k"))
        self.assertEqual(self.journal.newest, stamp(5))

    def test_a_line_counts_before_it_stands(self) -> None:
        gate: Deferred[None] = Deferred()
        self.all_put(lambda: late(lambda: gate))
        deleting = self.delete("k", stamp(1))
        self.assertNoResult(deleting)
        self.assertEqual(self.journal.delete_of(BUCKET, "k"), stamp(1))
        gate.callback(None)
        self.successResultOf(deleting)


class GroupTests(JournalTestCase):
    """One write is under way at a time; what comes meanwhile shares the next."""

    def setUp(self) -> None:
        super().setUp()
        self.gate: Deferred[None] = Deferred()
        self.all_put(lambda: late(lambda: self.gate))

    def test_what_comes_meanwhile_shares_the_next_write(self) -> None:
        first = self.delete("first", stamp(0))
        more = [self.delete(f"k{number}", stamp(number)) for number in range(1, 100)]
        self.assertEqual([node.requests["put"] for node in self.nodes], [1, 1, 1])
        second: Deferred[None] = Deferred()
        self.all_put(lambda: late(lambda: second))
        self.gate.callback(None)
        self.successResultOf(first)
        for each in more:
            self.assertNoResult(each)
        second.callback(None)
        for each in more:
            self.successResultOf(each)
        self.assertEqual([node.requests["put"] for node in self.nodes], [2, 2, 2])

    def test_a_batch_is_bounded(self) -> None:
        self.journal = self.make(most_lines=50)
        deleting = [self.delete(f"k{number}", stamp(number)) for number in range(121)]
        self.gate.callback(None)
        for each in deleting:
            self.successResultOf(each)
        sizes = [len(data.splitlines()) for data in self.records(self.nodes[0]).values()]
        self.assertEqual(sorted(sizes), [1, 20, 50, 50])

    def test_cancelling_one_leaves_the_others(self) -> None:
        first, second, third = (self.delete(f"k{n}", stamp(n)) for n in range(3))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.gate.callback(None)
        self.successResultOf(third)
        journal = self.loaded()
        for number in range(3):
            self.assertEqual(journal.delete_of(BUCKET, f"k{number}"), stamp(number))

    def test_what_a_failure_leaves_goes_with_the_next(self) -> None:
        self.heal()
        gate: Deferred[None] = Deferred()
        self.all_put(lambda: replace(refused(), gate=lambda: gate))
        first, second = self.delete("k0", stamp(0)), self.delete("k1", stamp(1))
        gate.callback(None)
        self.failureResultOf(first, NoQuorum)
        self.successResultOf(second)
        self.assertTrue(self.journal.failed)
        ((name, data),) = self.records(self.nodes[0]).items()
        self.assertTrue(name.startswith(f"journal/{stamp(0)}"))
        keys = [json.loads(line)[2] for line in data.splitlines()]
        self.assertEqual(keys, ["k0", "k1"])

    def test_each_caller_has_a_failure_of_its_own(self) -> None:
        first = self.delete("k0", stamp(0))
        second, third = self.delete("k1", stamp(1)), self.delete("k2", stamp(2))
        self.all_put(refused)
        self.gate.callback(None)
        self.successResultOf(first)
        failures = [self.failureResultOf(each, NoQuorum) for each in (second, third)]
        self.assertIsNot(failures[0].value, failures[1].value)


class FailureTests(JournalTestCase):
    def test_tending_writes_what_failed(self) -> None:
        self.all_put(refused)
        self.failureResultOf(self.delete("k", stamp(1)), NoQuorum)
        self.assertEqual(self.journal.delete_of(BUCKET, "k"), stamp(1))
        self.assertEqual(self.everywhere(), {})
        self.tend()
        self.assertEqual(self.loaded().delete_of(BUCKET, "k"), stamp(1))
        puts = self.nodes[0].requests["put"]
        self.tend()
        self.assertEqual(self.nodes[0].requests["put"], puts)

    def test_a_record_is_never_written_twice(self) -> None:
        """A late PUT of a failed batch would take from a later one what that has more."""
        gate: Deferred[None] = Deferred()
        for node in self.nodes[:2]:
            node.script("put", lands_late(lambda: gate))
        self.failureResultOf(self.delete("k0", stamp(0)), NoQuorum)
        self.deleted("k1", stamp(1))
        gate.callback(None)
        for node in self.nodes:
            journal = self.loaded(node)
            self.assertEqual(journal.delete_of(BUCKET, "k0"), stamp(0))
            self.assertEqual(journal.delete_of(BUCKET, "k1"), stamp(1))

    def test_records_that_failed_are_removed_once_their_lines_stand(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.failureResultOf(self.delete("k0", stamp(0)), NoQuorum)
        self.assertEqual(list(self.everywhere().values()), [1])
        self.tend()
        self.tend()
        self.assertEqual(list(self.everywhere().values()), [3])
        self.assertEqual(self.loaded().delete_of(BUCKET, "k0"), stamp(0))

    def test_callers_behind_a_long_queue_of_failures_are_told(self) -> None:
        self.journal = self.make(most_lines=50)
        self.all_put(refused, None)
        for number in range(200):
            self.failureResultOf(self.delete(f"k{number}", stamp(number)), NoQuorum)
        self.heal()
        self.deleted("last", stamp(6_000))
        journal = self.loaded()
        for key, when in (("k0", 0), ("k199", 199), ("last", 6_000)):
            self.assertEqual(journal.delete_of(BUCKET, key), stamp(when))

    def test_while_nodes_are_away_a_delete_costs_them_nothing(self) -> None:
        self.away = {"n0", "n1", "n2"}
        for number in range(200):
            self.failureResultOf(self.delete(f"k{number}", stamp(number)), NoQuorum)
        self.assertTrue(self.journal.failed)
        self.away = set()
        self.tend()
        self.tend()
        # One batch of all; and no record of one that failed, which there never was, to remove.
        told = [(node.requests["put"], node.requests["delete"]) for node in self.nodes]
        self.assertEqual(told, [(1, 0)] * 3)
        for number in range(200):
            self.assertEqual(self.loaded().delete_of(BUCKET, f"k{number}"), stamp(number))


class LoadTests(JournalTestCase):
    def test_any_order_any_number_of_times(self) -> None:
        self.deleted("a", stamp(1))
        self.deleted("b", stamp(2))
        self.deleted("a", stamp(3))
        self.now(self.journal.restamped(BUCKET, "c", stamp(1), stamp(4)))
        journal = self.loaded(self.nodes[2], self.nodes[0], self.nodes[2])
        self.assertEqual(journal.delete_of(BUCKET, "a"), stamp(3))
        self.assertEqual(journal.delete_of(BUCKET, "b"), stamp(2))
        self.assertEqual(journal.counts_as(BUCKET, "c", stamp(1)), stamp(4))
        self.assertEqual(journal.newest, stamp(4))

    def test_keys_of_all_kinds(self) -> None:
        keys = ["ä/ö", "a\u2028b", "a\nb", '"', "\\", "😀", "a\x85\x1e", " "]
        for number, key in enumerate(keys):
            self.deleted(key, stamp(number))
        journal = self.loaded()
        for number, key in enumerate(keys):
            self.assertEqual(journal.delete_of(BUCKET, key), stamp(number))

    def test_much_of_it_leaves_others_their_time(self) -> None:
        records = {}
        for first in range(0, 12_000, 3_000):
            lines = [json.dumps([stamp(n), BUCKET, f"k{n}"]) for n in range(first, first + 3_000)]
            records[f"journal/{stamp(first)}"] = "\n".join(lines).encode()
        loading = self.run_(self.journal.load(records))
        self.assertNoResult(loading)
        self.clock.pump([0] * 5)
        self.successResultOf(loading)
        self.assertEqual(self.ledger.deletes, 12_000)

    def test_a_damaged_record_gives_what_it_can_and_another_copy_the_rest(self) -> None:
        self.all_put(lambda: NO_FAULT)
        whole = b"".join(json.dumps([stamp(n), BUCKET, f"k{n}"]).encode() + b"\n" for n in range(3))
        name = f"journal/{stamp(0)}"
        for damaged in (whole[:-9], b"[1, 2, 3]\n\xff\n" + whole[:40], b"", b'{"a": 1}\n[]\n7\n'):
            journal = self.make()
            self.now(journal.load({name: damaged}))
            if damaged == whole[:-9]:
                self.assertEqual(journal.delete_of(BUCKET, "k1"), stamp(1))
            if damaged:
                self.assertIsNone(journal.delete_of(BUCKET, "k2"))
                self.now(journal.load({name: whole}))
                self.assertEqual(journal.delete_of(BUCKET, "k2"), stamp(2))

    def test_whats_none_of_its_records(self) -> None:
        self.now(self.journal.load({"marks/1": b"?", "journal/zz-forgotten": b"{}"}))
        self.deleted("k", stamp(1))
        self.now(self.journal.load({"journal/9-forgotten": b"{}"}))
        self.assertEqual(self.journal.delete_of(BUCKET, "k"), stamp(1))


class MergeTests(JournalTestCase):
    def fill(self) -> None:
        for number in range(4):
            self.deleted(f"k{number}", stamp(number, self.clock.seconds() - NOW_S))
            self.later(10)

    def check(self, journal: Journal) -> None:
        for number in range(4):
            expected = stamp(number, 10 * number)
            self.assertEqual(journal.delete_of(BUCKET, f"k{number}"), expected)

    def test_one_record_for_a_minute_that_is_over(self) -> None:
        self.later(40)  # a minute begins: NOW_S is 20 s into one
        for number in range(4):
            self.deleted(f"k{number}", stamp(number, 40 + number))
        self.later(60)
        self.tend()
        self.assertEqual(len(self.everywhere()), 4)
        self.later(60)
        self.tend()
        self.assertEqual(list(self.everywhere().values()), [3])
        journal = self.loaded()
        for number in range(4):
            self.assertEqual(journal.delete_of(BUCKET, f"k{number}"), stamp(number, 40 + number))
        puts = self.nodes[0].requests["put"]
        self.tend()
        self.assertEqual(self.nodes[0].requests["put"], puts)

    def test_each_minute_has_its_own(self) -> None:
        for _ in range(3):
            for number in range(3):
                self.deleted("k", stamp(number, self.clock.seconds() - NOW_S))
            self.later(60)
        self.later(120)
        self.tend()
        self.assertEqual(list(self.everywhere().values()), [3, 3, 3])

    def test_a_merged_record_is_bounded_and_merging_ends(self) -> None:
        for first in range(0, 24_000, 4_000):
            lines = [json.dumps([stamp(n), BUCKET, f"k{n}"]) for n in range(first, first + 4_000)]
            self.now(self.memory.write(f"journal/{stamp(first)}-a", "\n".join(lines).encode()))
        loading = self.run_(self.journal.load(self.records(self.nodes[0])))
        self.clock.pump([0] * 9)
        self.successResultOf(loading)
        self.later(180)
        self.tend()
        sizes = [len(data.splitlines()) for data in self.records(self.nodes[1]).values()]
        self.assertEqual(sorted(sizes), [8_000] * 3)
        puts = self.nodes[0].requests["put"]
        self.tend()
        self.assertEqual(self.nodes[0].requests["put"], puts)

    def test_a_merged_record_of_long_keys_is_bounded_by_its_bytes(self) -> None:
        for number in range(6_000):
            self.deleted(f"{number}".ljust(1000, "x"), stamp(number, 40))
        self.later(180)
        self.tend()
        records = self.records(self.nodes[1])
        self.assertEqual(sum(len(data.splitlines()) for data in records.values()), 6_000)
        self.assertEqual(len(records), 2)
        self.assertLessEqual(max(map(len, records.values())), 4 * 1024 * 1024)

    def test_nothing_is_removed_before_the_merged_one_stands(self) -> None:
        self.fill()
        self.later(120)
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.journal.tend(), NoQuorum)
        for node in self.nodes:
            self.check(self.loaded(node))
        self.tend()
        self.tend()
        for node in self.nodes:
            self.check(self.loaded(node))
        self.assertEqual(set(self.everywhere().values()), {3})

    def test_a_node_that_cant_be_read_is_passed_by(self) -> None:
        self.fill()
        self.later(120)
        before = len(self.everywhere())
        self.nodes[0].script("get", refused(), times=None)
        self.tend()
        self.assertLess(len(self.everywhere()), before)
        self.check(self.loaded(self.nodes[1]))

    def test_a_damaged_copy_isnt_merged_from(self) -> None:
        self.fill()
        self.later(120)
        there = self.nodes[0].buckets[SYSTEM_BUCKET]
        for name in there:
            self.now(self.memory.give(self.nodes[0], {name: b"[broken"}))
        self.tend()
        self.check(self.loaded(self.nodes[1]))

    def test_what_no_node_has_whole_stays(self) -> None:
        self.fill()
        self.later(120)
        names = list(self.everywhere())
        for node in self.nodes:
            self.now(self.memory.give(node, dict.fromkeys(names, b"[broken")))
        self.tend()
        self.assertEqual(list(self.everywhere()), names)
        self.check(self.journal)


class ForgetTests(JournalTestCase):
    def test_after_seven_days(self) -> None:
        self.deleted("old", stamp(1))
        self.now(self.journal.restamped(BUCKET, "old", stamp(0), stamp(2)))
        self.later(6.9 * DAY_S)
        self.deleted("new", stamp(1, 6.9 * DAY_S))
        self.tend()
        self.assertEqual(self.journal.delete_of(BUCKET, "old"), stamp(1))
        self.later(0.2 * DAY_S)
        self.tend()
        for journal in (self.journal, self.loaded()):
            self.assertIsNone(journal.delete_of(BUCKET, "old"))
            self.assertEqual(journal.counts_as(BUCKET, "old", stamp(0)), stamp(0))
            self.assertIsNotNone(journal.delete_of(BUCKET, "new"))
        self.assertEqual(len(self.everywhere()), 2)

    def test_nothing_while_a_member_is_away(self) -> None:
        self.may_forget = False
        self.deleted("old", stamp(1))
        self.later(30 * DAY_S)
        self.tend()
        self.assertEqual(self.loaded().delete_of(BUCKET, "old"), stamp(1))

    def test_what_is_left_of_it_means_nothing(self) -> None:
        """A delete that comes back without the restamping after it would kill the object."""
        self.deleted("k", stamp(1))
        self.now(self.journal.restamped(BUCKET, "k", stamp(0), stamp(2)))
        self.later(8 * DAY_S)
        self.nodes[2].script("delete", refused())
        self.tend()
        self.assertEqual(len(self.records(self.nodes[2], f"journal/{stamp(1)}")), 1)
        for order in ((0, 2), (2, 0), (1, 2), (2, 1)):
            journal = self.loaded(*(self.nodes[each] for each in order))
            self.assertIsNone(journal.delete_of(BUCKET, "k"))

    def test_the_newest_word_of_it_stays(self) -> None:
        for day in range(12):
            self.deleted("k", stamp(1, day * DAY_S))
            self.later(DAY_S)
            self.tend()
        horizons = [name for name in self.everywhere() if name.endswith("-forgotten")]
        self.assertEqual(len(horizons), 1)
        self.assertLessEqual(len(self.everywhere()), 9)

    def test_nothing_is_removed_before_that_stands(self) -> None:
        self.deleted("k", stamp(1))
        self.later(8 * DAY_S)
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.journal.tend(), NoQuorum)
        self.assertEqual(self.journal.delete_of(BUCKET, "k"), stamp(1))
        self.assertEqual(list(self.everywhere(f"journal/{stamp(1)}").values()), [3])


class LedgerTests(JournalTestCase):
    def test_writes(self) -> None:
        ledger = self.ledger
        self.assertIsNone(ledger.write_of(BUCKET, "k"))
        for number in (1, 3, 2):
            ledger.wrote(BUCKET, "k", stamp(number))
        self.assertEqual(ledger.write_of(BUCKET, "k"), stamp(3))
        self.journal.settled(stamp(3))
        self.assertEqual(ledger.write_of(BUCKET, "k"), stamp(3))
        self.journal.settled(stamp(4))
        self.assertIsNone(ledger.write_of(BUCKET, "k"))

    def test_past_its_cache(self) -> None:
        ledger = Ledger(cache_kib=100)
        self.addCleanup(ledger.close)
        for first in range(0, 20_000, 1000):
            ledger.deleted((BUCKET, f"k{n}", stamp(n)) for n in range(first, first + 1000))
        self.assertEqual(ledger.deletes, 20_000)
        for number in range(0, 20_000, 777):
            self.assertEqual(ledger.delete_of(BUCKET, f"k{number}"), stamp(number))
        ledger.forget_before(stamp(10_000))
        self.assertEqual(ledger.deletes, 10_000)

    def test_what_was_deleted_between_two_keys(self) -> None:
        keys = ("a", "b", "b/c", "bé", "c")
        self.ledger.deleted((BUCKET, key, stamp(1)) for key in keys)
        self.ledger.deleted([("another", "b", stamp(1))])
        for first, last, most, expected in (
            ("a", "c", 9, keys),
            ("aa", "bz", 9, ("b", "b/c")),
            ("b", "b", 9, ("b",)),
            ("b0", "bÿ", 9, ("bé",)),
            ("a", "c", 2, ("a", "b")),
            ("d", "e", 9, ()),
        ):
            found = self.ledger.deleted_between(BUCKET, first, last, most)
            self.assertEqual(tuple(found), expected)

    def test_a_write_is_forgotten_alone(self) -> None:
        for number, key in enumerate(("a", "b")):
            self.ledger.wrote(BUCKET, key, stamp(number))
        self.ledger.wrote(BUCKET, "a", stamp(2))
        self.ledger.forget_write(BUCKET, "a", stamp(2))
        self.assertEqual(self.ledger.write_of(BUCKET, "a"), stamp(2))
        self.ledger.forget_write(BUCKET, "a", stamp(3))
        self.assertIsNone(self.ledger.write_of(BUCKET, "a"))
        self.assertEqual(self.ledger.write_of(BUCKET, "b"), stamp(1))
        self.ledger.forget_writes(stamp(3))
        self.assertIsNone(self.ledger.write_of(BUCKET, "b"))
