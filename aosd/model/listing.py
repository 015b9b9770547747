"""One listing out of several nodes' pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aosd.model.objects import Entry, Page


@dataclass(frozen=True, slots=True)
class Merged:
    """Keys in S3's order (by their UTF-8 bytes), each once.

    `truncated` says that there may be more after `last`, where the next page begins; None
    when there is nothing at all.
    """

    entries: tuple[Entry, ...]
    truncated: bool
    last: str | None


def merge_pages(pages: Mapping[str, Page]) -> Merged:
    """Merge one page of each node, all asked for with the same `after` and prefix.

    Only what every page covers is known to be complete: keys beyond the end of a
    truncated page are left for later. Of a key on several nodes the entry that was
    modified last counts, then the greater ETag. A page needn't be sorted; it must hold
    all of its node's keys up to its `last`.
    """
    ends = [
        page.last.encode("utf-8", "surrogatepass")
        for page in pages.values()
        if page.truncated and page.last is not None
    ]
    end = min(ends, default=None)
    newest: dict[bytes, Entry] = {}
    for name in sorted(pages):
        for entry in pages[name].entries:
            key = entry.key.encode("utf-8", "surrogatepass")
            if end is not None and key > end:
                continue
            known = newest.get(key)
            if known is None or (entry.modified_s, entry.etag) > (known.modified_s, known.etag):
                newest[key] = entry
    return Merged(
        tuple(newest[key] for key in sorted(newest)),
        truncated=end is not None,
        last=end.decode("utf-8", "surrogatepass") if end is not None else None,
    )
