"""What is known of folders, and claims of keys that can't be at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.folders import Filter, Folders, Recent, above

B = "bucket"


def folders() -> Folders:
    return Folders(1024)


class AboveTests(SynchronousTestCase):
    def test_the_outermost_first(self) -> None:
        self.assertEqual(above("a/b/c"), ["a", "a/b"])

    def test_none_above_a_key_without_a_slash(self) -> None:
        self.assertEqual(above("a"), [])

    def test_a_marker_says_that_its_name_is_a_folder(self) -> None:
        self.assertEqual(above("a/b/"), ["a", "a/b"])


class FilterTests(SynchronousTestCase):
    def test_what_was_added_is_there(self) -> None:
        found = Filter(1024)
        names = [b"%d" % number for number in range(500)]
        for name in names:
            found.add(name)
        self.assertTrue(all(name in found for name in names))

    def test_few_others_seem_to_be(self) -> None:
        found = Filter(2048)  # 13 bits each
        for number in range(1250):
            found.add(b"%d" % number)
        wrong = sum(b"x%d" % number in found for number in range(10_000))
        self.assertLess(wrong, 60)


class RecentTests(SynchronousTestCase):
    def test_the_oldest_is_forgotten_first(self) -> None:
        recent = Recent(2)
        for key in "abc":
            recent.add((B, key))
        self.assertEqual([(B, key) in recent for key in "abc"], [False, True, True])

    def test_what_is_asked_for_stays(self) -> None:
        recent = Recent(2)
        recent.add((B, "a"))
        recent.add((B, "b"))
        self.assertIn((B, "a"), recent)
        recent.add((B, "c"))
        self.assertEqual([(B, key) in recent for key in "abc"], [True, False, True])


class KnownFoldersTests(SynchronousTestCase):
    def test_anything_may_be_one_before_all_were_seen(self) -> None:
        self.assertTrue(folders().may_be(B, "a"))

    def test_only_what_was_seen_may_be_one_afterwards(self) -> None:
        known = folders()
        known.seen(B, "a/b/c")
        known.seen(B, "d")
        known.completed()
        told = [known.may_be(B, name) for name in ("a", "a/b", "a/b/c", "b", "d")]
        self.assertEqual(told, [True, True, False, False, False])
        self.assertFalse(known.may_be("other", "a"))

    def test_a_key_that_is_written_is_seen(self) -> None:
        known = folders()
        known.completed()
        known.claim(B, "a/b", above("a/b"), lambda: False)
        self.assertTrue(known.may_be(B, "a"))

    def test_a_return_makes_what_was_found_void_once(self) -> None:
        known = folders()
        known.free.add((B, "a"))
        known.leaves.add((B, "b"))
        known.returned(7)
        self.assertNotIn((B, "a"), known.free)
        self.assertNotIn((B, "b"), known.leaves)
        known.free.add((B, "a"))
        known.returned(7)
        self.assertIn((B, "a"), known.free)


class ClaimTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.known = folders()
        self.lingers = False

    def claim(self, key: str) -> bool:
        self.last = self.known.claim(B, key, above(key), lambda: self.lingers)
        return self.last is not None

    def end(self) -> None:
        assert self.last is not None
        self.last.end()

    def test_a_key_isnt_written_beneath_one_that_is(self) -> None:
        self.assertTrue(self.claim("a"))
        self.assertEqual([self.claim("a/b"), self.claim("a/b/c")], [False, False])

    def test_a_key_isnt_written_above_one_that_is(self) -> None:
        self.assertTrue(self.claim("a/b/c"))
        self.assertEqual([self.claim("a"), self.claim("a/b")], [False, False])

    def test_others_are(self) -> None:
        self.assertTrue(self.claim("a/b"))
        told = [self.claim(key) for key in ("a/c", "a/b", "b", "ab", "a-b/c")]
        self.assertEqual(told, [True] * 5)

    def test_not_in_another_bucket(self) -> None:
        self.assertTrue(self.claim("a"))
        self.assertIsNotNone(self.known.claim("other", "a/b", ["a"], lambda: False))

    def test_one_that_ended_forbids_nothing(self) -> None:
        self.claim("a")
        self.end()
        self.assertTrue(self.claim("a/b"))
        self.end()
        self.assertTrue(self.claim("a"))

    def test_of_two_that_claim_the_same_each_counts(self) -> None:
        self.claim("a/b")
        self.claim("a/c")
        self.end()
        self.assertFalse(self.claim("a"))

    def test_one_that_lingers_forbids_until_it_doesnt(self) -> None:
        self.claim("a")
        self.lingers = True
        self.end()
        self.assertFalse(self.claim("a/b"))
        self.lingers = False
        self.assertTrue(self.claim("a/b"))

    def test_what_is_claimed_is_known_to_be_free_no_more(self) -> None:
        self.known.free.add((B, "a"))
        self.known.leaves.add((B, "b"))
        self.claim("a")
        self.claim("b/c")
        self.assertNotIn((B, "a"), self.known.free)
        self.assertNotIn((B, "b"), self.known.leaves)
