"""One listing out of several nodes' pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aosd.model.errors import NodeNonsense
from aosd.model.objects import Entry, Page


@dataclass(frozen=True, slots=True)
class Merged:
    """Keys in S3's order (by their UTF-8 bytes), each once.

    `truncated` says that there may be more after `last`, where the next page begins; None
    when there is nothing more.
    """

    entries: tuple[Entry, ...]
    truncated: bool
    last: str | None


def merge_pages(pages: Mapping[str, Page], after: str = "") -> Merged:
    """Merge one page of each node, by its name, all asked for with the same `after` and prefix.

    Only what every page covers is known to be complete: keys beyond the end of a
    truncated page are left for later. Of a key on several nodes the entry that was
    modified last counts, then the greater ETag; where several have that ETag, they are
    copies of one version, and its time is the oldest copy's. A page needn't be sorted; it
    must hold all of its node's keys up to its `last`.

    Raises NodeNonsense for a truncated page that doesn't go beyond `after`: asked again,
    its node would say the same for ever.
    """
    start = _utf8(after)
    ends: list[tuple[bytes, str]] = []
    for name in sorted(pages):
        page = pages[name]
        if page.truncated:
            if page.last is None or _utf8(page.last) <= start:
                raise NodeNonsense(name, "its listing says that there is more, but not where")
            ends.append((_utf8(page.last), page.last))
    end, last = min(ends, default=(None, None))
    found: dict[bytes, list[Entry]] = {}
    for page in pages.values():
        for entry in page.entries:
            key = _utf8(entry.key)
            if key > start and (end is None or key <= end):
                found.setdefault(key, []).append(entry)
    return Merged(tuple(_counting(found[key]) for key in sorted(found)), end is not None, last)


def _counting(entries: Sequence[Entry]) -> Entry:
    """The entry that counts of all that nodes have of one key."""
    if len(entries) == 1:
        return entries[0]
    newest = max(entries, key=lambda entry: (entry.modified_s, entry.etag))
    oldest_s = min(entry.modified_s for entry in entries if entry.etag == newest.etag)
    return replace(newest, modified_s=oldest_s)


def _utf8(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
