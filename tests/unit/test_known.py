"""Places are found out once, and anew whenever something changed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.known import KnownPlaces, Place
from aosd.ports import Candidate
from aosd.testing.memory_node import MemoryNode


class KnownPlacesTests(SynchronousTestCase):
    def test_until_something_changes(self) -> None:
        known = KnownPlaces()
        found = _place(Candidate("n1", MemoryNode("n1")))
        self.assertIsNone(known.of(7, 0))
        self.assertIs(known.keep(7, found), found)
        self.assertIs(known.of(7, 0), found)
        self.assertIsNone(known.of(8, 0))
        self.assertIsNone(known.of(7, 1))
        other = known.keep(7, _place())
        self.assertIs(known.of(7, 1), other)

    def test_of_the_same_ones_there_is_one(self) -> None:
        known, node = KnownPlaces(), MemoryNode("n1")
        for number in (1, 2):
            known.of(number, 0)
            known.keep(number, _place(Candidate("n1", node)))
        self.assertIs(known.of(1, 0), known.of(2, 0))


def _place(*primaries: Candidate) -> Place:
    return Place((primaries,), primaries, "")
