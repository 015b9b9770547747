"""The journal's backlog: whose lines go first, and how many go along."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.lines import Backlog, Entry, Line
from aosd.model.errors import NoQuorum
from tests.unit.memory_case import stamp


def keys(batch: list[Entry]) -> list[str]:
    return [each.line.key for each in batch]


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backlog = Backlog(most_lines=200)

    def line(self, number: int) -> Line:
        return Line(stamp(number), "bucket", f"k{number}")

    def test_what_a_refusal_costs_doesnt_grow_with_those_before(self) -> None:
        lines = 0
        for number in range(1000):
            told = self.backlog.add(self.line(number))
            batch = self.backlog.take()
            lines += len(batch)
            self.backlog.failed(batch, NoQuorum("away"))
            self.failureResultOf(told, NoQuorum)
        self.assertLessEqual(lines, 1000 * 51)
        self.assertEqual(len(self.backlog), 1000)

    def test_each_line_that_failed_gets_its_turn_to_go_along(self) -> None:
        went: set[str] = set()
        for number in range(200):
            told = self.backlog.add(self.line(number))
            batch = self.backlog.take()
            went |= set(keys(batch))
            self.backlog.failed(batch, NoQuorum("away"))
            self.failureResultOf(told, NoQuorum)
        first: set[str] = set()
        for _ in range(4):
            batch = self.backlog.take()
            first |= set(keys(batch))
            self.backlog.failed(batch, NoQuorum("away"))
        self.assertEqual(first, went)

    def test_after_one_that_stands_all_go(self) -> None:
        for number in range(500):
            told = self.backlog.add(self.line(number))
            self.backlog.failed(self.backlog.take(), NoQuorum("away"))
            self.failureResultOf(told, NoQuorum)
        last = self.backlog.add(self.line(500))
        sizes = []
        while batch := self.backlog.take():
            if not sizes:
                self.assertIn("k500", keys(batch))
            sizes.append(len(batch))
            self.backlog.stood(batch)
        self.successResultOf(last)
        self.assertEqual(sizes, [51, 200, 200, 50])
        self.assertFalse(self.backlog.has_failed)

    def test_callers_come_before_what_failed(self) -> None:
        for number in range(300):
            told = self.backlog.add(self.line(number))
            self.backlog.failed(self.backlog.take(), NoQuorum("away"))
            self.failureResultOf(told, NoQuorum)
        self.backlog.again()
        waiting = [self.backlog.add(self.line(number)) for number in range(300, 500)]
        batch = self.backlog.take()
        self.assertEqual(keys(batch), [f"k{number}" for number in range(300, 500)])
        self.backlog.stood(batch)
        for each in waiting:
            self.successResultOf(each)

    def test_batches_of_long_keys_are_bounded_by_their_bytes(self) -> None:
        self.backlog = Backlog(most_lines=5000)
        for number in range(3000):
            self.backlog.add(Line(stamp(number), "bucket", "\u00fc" * 500))
        sizes = []
        while batch := self.backlog.take():
            sizes.append(sum(len(each.text) for each in batch))
            self.backlog.stood(batch)
        self.assertEqual(len(sizes), 3)
        self.assertLess(max(sizes), 4.1 * 1024 * 1024)

    def test_there_is_room_for_so_many_lines_and_so_many_bytes(self) -> None:
        for key, most in (("k", 100_000), ("k" * 10_000, 6_700)):
            backlog = Backlog(most_lines=5000)
            count = 0
            while not backlog.is_full:
                backlog.add(Line(stamp(count), "bucket", key))
                count += 1
            self.assertLess(abs(count - most), 50)
            batch = backlog.take()
            self.assertFalse(backlog.is_full)
            backlog.failed(batch, NoQuorum("away"))
            for each in batch:
                assert each.stands is not None
                self.failureResultOf(each.stands, NoQuorum)
            self.assertTrue(backlog.is_full)

    def test_a_caller_that_gave_up(self) -> None:
        told = self.backlog.add(self.line(0))
        self.assertTrue(self.backlog.waits())
        told.cancel()
        self.failureResultOf(told, CancelledError)
        self.assertFalse(self.backlog.waits())
        batch = self.backlog.take()
        self.assertEqual(keys(batch), ["k0"])
        self.backlog.failed(batch, NoQuorum("away"))
        self.assertTrue(self.backlog.has_failed)
