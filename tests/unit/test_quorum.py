"""How many nodes are enough."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.quorum import absence, memory_acks, memory_missing, needed

REPLICAS = range(1, 6)
MEMBERS = range(1, 12)


class QuorumTests(SynchronousTestCase):
    def test_a_write_needs_its_copies_or_all_members(self) -> None:
        self.assertEqual([needed(2, members) for members in (1, 2, 3, 9)], [1, 2, 2, 2])

    def test_two_remember_where_there_are_two(self) -> None:
        self.assertEqual([memory_acks(1, members) for members in (1, 2, 3)], [1, 2, 2])
        self.assertEqual([memory_acks(3, members) for members in (1, 2, 3, 9)], [1, 2, 3, 3])

    def test_how_many_may_be_missing_when_the_memory_is_read(self) -> None:
        self.assertEqual([memory_missing(1, members) for members in (0, 1, 2, 3)], [0, 0, 1, 1])
        self.assertEqual([memory_missing(2, members) for members in (0, 1, 2, 9)], [0, 0, 1, 1])
        self.assertEqual([memory_missing(3, members) for members in (1, 2, 3, 9)], [0, 1, 2, 2])

    def test_whoever_is_read_has_one_of_those_that_remember(self) -> None:
        for replicas in REPLICAS:
            for members in MEMBERS:
                read = members - memory_missing(replicas, members)
                self.assertGreater(read, 0)
                self.assertGreater(read + memory_acks(replicas, members), members)

    def test_as_many_may_be_missing_as_that_allows(self) -> None:
        for replicas in REPLICAS:
            for members in MEMBERS:
                read = members - memory_missing(replicas, members) - 1
                self.assertTrue(read == 0 or read + memory_acks(replicas, members) <= members)

    def test_absence(self) -> None:
        self.assertEqual([absence(1, could) for could in (1, 2, 3)], [1, 2, 3])
        self.assertEqual([absence(2, could) for could in (1, 2, 4)], [1, 1, 3])
        for replicas in REPLICAS:
            for could_hold in MEMBERS:
                asked = absence(replicas, could_hold)
                self.assertGreater(asked + needed(replicas, could_hold), could_hold)
