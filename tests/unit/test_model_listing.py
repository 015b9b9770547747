"""One entry out of several copies', and the order of keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.listing import counting, utf8
from aosd.model.objects import Entry


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
