"""Versions: the newest stamp, a newer delete, and objects that aosd didn't write."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.objects import ObjectHead
from aosd.model.stamp import StampClock
from aosd.model.versions import Version, foreign_stamp, foreign_time_s, newest, version_of

S1, S2, S3 = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2, 3))


def same(stamp: str) -> str:
    return stamp


class VersionTests(SynchronousTestCase):
    def test_the_stamp_comes_first_and_the_etag_then(self) -> None:
        self.assertLess(Version(S1, '"f"'), Version(S2, '"0"'))
        self.assertLess(Version(S1, '"0"'), Version(S1, '"f"'))

    def test_a_stamp_counts_as_what_the_journal_says(self) -> None:
        head = ObjectHead('"e"', 1, 5, S1)
        self.assertEqual(version_of(head, {S1: S3}.__getitem__), Version(S3, '"e"'))

    def test_a_foreign_object_is_older_than_anything_stamped(self) -> None:
        oldest = StampClock(lambda: 0.0, "00000000").next()
        self.assertLess(foreign_stamp(4_000_000_000, '"ffff"'), oldest)
        self.assertLess(foreign_stamp(99, '"f"'), foreign_stamp(1_700_000_000, '"0"'))
        self.assertLess(foreign_stamp(99, '"0"'), foreign_stamp(99, '"f"'))

    def test_a_copy_of_a_foreign_object_is_the_same_version(self) -> None:
        original = ObjectHead('"e-2"', 1, 1_700_000_000, None)
        stamp = version_of(original, same).stamp
        copy = ObjectHead('"e-2"', 1, 1_700_000_999, stamp)
        self.assertEqual(version_of(copy, same), version_of(original, same))
        self.assertNotIn('"', stamp)

    def test_when_it_was_modified_stands_in_its_stamp(self) -> None:
        self.assertEqual(foreign_time_s(foreign_stamp(1_700_000_000, '"e-2"')), 1_700_000_000)
        for none in ("", S1, "-", "-zzz", "-0000000000g-e"):
            self.assertIsNone(foreign_time_s(none))

    def test_a_stamp_that_is_none_makes_nothing_newer(self) -> None:
        head = ObjectHead('"e"', 1, 1_700_000_000, "zzz")
        self.assertEqual(version_of(head, same).stamp, foreign_stamp(1_700_000_000, '"e"'))


class NewestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.versions = {
            "a": Version(S2, '"x"'),
            "b": Version(S1, '"x"'),
            "c": None,
            "d": Version(S2, '"x"'),
        }

    def test_the_newest_and_who_has_it(self) -> None:
        found = newest(self.versions, None)
        self.assertEqual(found.version, Version(S2, '"x"'))
        self.assertEqual((found.holders, found.dead, found.older), (("a", "d"), (), ("b",)))

    def test_what_is_older_than_the_delete_is_dead(self) -> None:
        found = newest(self.versions, S2)
        self.assertEqual((found.holders, found.dead, found.older), (("a", "d"), ("b",), ()))
        found = newest(self.versions, S3)
        self.assertIsNone(found.version)
        self.assertEqual((found.holders, found.dead, found.older), ((), ("a", "b", "d"), ()))

    def test_of_equal_stamps_the_greater_etag(self) -> None:
        found = newest({"a": Version(S1, '"x"'), "b": Version(S1, '"y"')}, None)
        self.assertEqual((found.holders, found.older), (("b",), ("a",)))

    def test_a_copy_beats_absence(self) -> None:
        self.assertEqual(newest({"a": None, "b": Version(S1, '"x"')}, None).holders, ("b",))
        self.assertIsNone(newest({"a": None}, None).version)
        self.assertIsNone(newest({}, S1).version)
