"""One listing out of several."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import NodeNonsense
from aosd.model.listing import Merged, merge_pages
from aosd.model.objects import Entry, Page


def entry(key: str, modified_s: float = 1.0, etag: str = '"e"') -> Entry:
    return Entry(key, etag, 3, modified_s)


def page(*keys: str, truncated: bool = False, last: str | None = None) -> Page:
    last = last or (max(keys, key=str.encode) if keys else None)
    return Page(tuple(entry(key) for key in keys), truncated=truncated, last=last)


def keys(merged: Merged) -> list[str]:
    return [each.key for each in merged.entries]


class MergeTests(SynchronousTestCase):
    def test_nothing_of_nothing(self) -> None:
        self.assertEqual(merge_pages({}), Merged((), False, None))
        self.assertEqual(merge_pages({"a": page(), "b": page()}), Merged((), False, None))

    def test_each_key_once_in_the_order_of_bytes(self) -> None:
        merged = merge_pages({"a": page("b", "d", "é"), "b": page("a", "b", "￼", "𝄞", "Z")})
        self.assertEqual(keys(merged), ["Z", "a", "b", "d", "é", "￼", "𝄞"])
        self.assertEqual((merged.truncated, merged.last), (False, None))

    def test_reaches_as_far_as_every_page_does(self) -> None:
        pages = {
            "a": page("a", "e", "f", truncated=True),
            "b": page("b", "c", truncated=True),
            "c": page("d", "x"),
        }
        merged = merge_pages(pages)
        self.assertEqual(keys(merged), ["a", "b", "c"])
        self.assertEqual((merged.truncated, merged.last), (True, "c"))

    def test_a_page_may_end_with_a_prefix(self) -> None:
        folders = Page((entry("a"),), ("b/",), truncated=True, last="b/")
        merged = merge_pages({"a": folders, "b": page("a0", "b", "b0")})
        self.assertEqual(keys(merged), ["a", "a0", "b"])
        self.assertEqual(merged.last, "b/")

    def test_a_page_neednt_be_sorted(self) -> None:
        merged = merge_pages({"a": page("c", "a", "b", truncated=True), "b": page("d")})
        self.assertEqual(keys(merged), ["a", "b", "c"])

    def test_what_was_listed_before_is_left_out(self) -> None:
        merged = merge_pages({"a": page("a", "b", "c")}, after="b")
        self.assertEqual(keys(merged), ["c"])

    def test_the_newest_version_counts(self) -> None:
        def merge(*entries: Entry) -> Entry:
            pages = {str(count): Page((each,), last="k") for count, each in enumerate(entries)}
            backwards = dict(reversed(pages.items()))
            self.assertEqual(merge_pages(pages), merge_pages(backwards))
            return merge_pages(pages).entries[0]

        old, new = entry("k", 1.0, '"z"'), entry("k", 2.0, '"a"')
        self.assertEqual(merge(old, new), new)
        self.assertEqual(merge(entry("k", 1.0, '"a"'), entry("k", 1.0, '"b"')).etag, '"b"')
        # Copies of one version: the time is the oldest copy's.
        self.assertEqual(merge(entry("k", 1.0), entry("k", 5.0), entry("k", 3.0)), entry("k", 1.0))
        self.assertEqual(
            merge(entry("k", 1.0), entry("k", 5.0), entry("k", 3.0, '"other"')), entry("k", 1.0)
        )

    def test_a_node_that_stands_still_is_told(self) -> None:
        for still in (
            Page((), truncated=True),
            page("a", "b", truncated=True),
            page("a", truncated=True),
        ):
            error = self.assertRaises(
                NodeNonsense, merge_pages, {"a": page("c"), "n7": still}, after="b"
            )
            self.assertEqual(error.node, "n7")
