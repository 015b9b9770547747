"""What happened to keys within the last minute."""

from __future__ import annotations

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.of_late import OfLate


class OfLateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now_s = 1000.0
        self.of_late = OfLate(lambda: self.now_s)

    def test_for_a_minute_since_it_happened_last(self) -> None:
        self.of_late.add("b", "k")
        self.now_s += 40
        self.of_late.add("b", "other")
        self.of_late.add("b", "k")
        self.now_s += 60
        self.assertEqual(self.of_late.of("b"), {"k", "other"})
        self.now_s += 1
        self.assertEqual(self.of_late.of("b"), set())

    def test_it_costs_the_same_after_a_minute_of_many_keys(self) -> None:
        """Each second forgets as many as it brings: what was forgotten isn't looked through."""
        took_s = [self.time_of(2000 * second) for second in range(120)]
        self.assertLess(sorted(took_s[61:])[30], 8 * sorted(took_s[:60])[30])

    def time_of(self, first: int) -> float:
        began_s = process_time()
        for number in range(first, first + 2000):
            self.now_s += 1 / 2000
            self.of_late.add("b", str(number))
        return process_time() - began_s
