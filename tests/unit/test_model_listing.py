"""One entry out of several copies', and the order of keys."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import BadRequest
from aosd.model.listing import begins_no_key, counting, nearest_before, only, utf8
from aosd.model.names import check_key
from aosd.model.objects import Entry, Page


def entry(modified_s: float, etag: str = '"e"') -> Entry:
    return Entry("k", etag, 3, modified_s)


class CountingTests(SynchronousTestCase):
    def test_the_newest_version_counts(self) -> None:
        old, new = entry(1.0, '"z"'), entry(2.0, '"a"')
        for entries in ([old, new], [new, old]):
            self.assertEqual(counting(entries), new)
        self.assertEqual(counting([entry(1.0, '"a"'), entry(1.0, '"b"')]).etag, '"b"')

    def test_of_copies_of_one_version_the_oldest_time(self) -> None:
        self.assertEqual(counting([entry(1.0), entry(5.0), entry(3.0)]), entry(1.0))
        self.assertEqual(counting([entry(1.0), entry(5.0), entry(3.0, '"other"')]), entry(1.0))

    def test_the_order_of_bytes(self) -> None:
        names = ["Z", "a", "b", "d", "é", "￼", "𝄞"]
        self.assertEqual(sorted(set(names), key=utf8), names)
        self.assertEqual(utf8("\udcff"), b"\xed\xb3\xbf")


def is_key(text: str) -> bool:
    try:
        check_key(text)
    except BadRequest:
        return False
    return True


class RefusedPlacesTests(SynchronousTestCase):
    """Nodes refuse prefixes and places that can be no keys."""

    texts = tuple("".join(each) for count in range(5) for each in product("-./0\0", repeat=count))

    def test_prefixes_that_no_key_has(self) -> None:
        keys = [each for each in self.texts if is_key(each)]
        for prefix in self.texts:
            if begins_no_key(prefix):
                self.assertFalse(any(each.startswith(prefix) for each in keys), prefix)
            else:
                self.assertTrue(is_key(f"{prefix}a"), prefix)

    def test_no_key_lies_between_a_place_and_the_one_before_it(self) -> None:
        keys = [each for each in self.texts if is_key(each)]
        for after in self.texts:
            place = nearest_before(after)
            self.assertEqual([key for key in keys if place < key <= after], [], after)
            self.assertEqual([key for key in keys if after < key <= place], [], after)
            self.assertTrue(not place or is_key(place), (after, place))

    def test_only_what_begins_so_is_left_of_a_page(self) -> None:
        one, other = Entry("..a", "", 0, 0.0), Entry(".a", "", 0, 0.0)
        page = only(Page((one, other), (), truncated=True, last=".a"), "..")
        self.assertEqual(page, Page((one,), (), truncated=False, last="..a"))
        page = only(Page((one,), ("..b/",), truncated=True, last="..b/"), "..")
        self.assertEqual((page.prefixes, page.truncated), (("..b/",), True))
        self.assertEqual(only(Page((other,), (), truncated=True, last=".a"), ".."), Page(()))
