"""One listing out of several nodes' pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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
    found: dict[bytes, Entry] = {}
    for name in sorted(pages):
        for entry in pages[name].entries:
            key = _utf8(entry.key)
            if key > start and (end is None or key <= end):
                found[key] = _newer(found[key], entry) if key in found else entry
    return Merged(tuple(found[key] for key in sorted(found)), end is not None, last)


def _newer(one: Entry, other: Entry) -> Entry:
    """The entry that counts of two of a key."""
    if one.etag == other.etag:
        return replace(one, modified_s=min(one.modified_s, other.modified_s))
    return max(one, other, key=lambda entry: (entry.modified_s, entry.etag))


def _utf8(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
