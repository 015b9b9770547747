"""Parts of a body of unknown length."""

from __future__ import annotations

from itertools import islice, pairwise

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.parts import MOST_PARTS, largest_body_bytes, part_sizes

MIB = 1024 * 1024
GIB = 1024 * MIB


class PartTests(SynchronousTestCase):
    def test_begin_small_and_grow(self) -> None:
        sizes = list(part_sizes(8 * MIB, 64 * MIB))
        self.assertEqual(len(sizes), MOST_PARTS)
        self.assertEqual(
            (sizes[0], sizes[1249], sizes[1250], sizes[-1]),
            tuple(count * MIB for count in (8, 8, 16, 64)),
        )
        self.assertEqual(set(sizes), {8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB})
        self.assertTrue(all(size <= following for size, following in pairwise(sizes)))

    def test_hold_some_450_gib(self) -> None:
        largest = largest_body_bytes(8 * MIB, 64 * MIB)
        self.assertEqual(largest, sum(part_sizes(8 * MIB, 64 * MIB)))
        self.assertTrue(450 * GIB <= largest <= 460 * GIB, largest / GIB)

    def test_one_size_stays_one_size(self) -> None:
        self.assertEqual(set(part_sizes(5, 5)), {5})
        self.assertEqual(set(part_sizes(9, 5)), {9})
        self.assertEqual(largest_body_bytes(5, 5), 5 * MOST_PARTS)

    def test_the_last_doubling_stops_at_the_bound(self) -> None:
        self.assertEqual(list(islice(part_sizes(3, 10), 0, None, 1250))[:4], [3, 6, 10, 10])
        self.assertEqual(largest_body_bytes(3, 10), sum(part_sizes(3, 10)))
