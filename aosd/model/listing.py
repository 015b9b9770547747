"""Listings: the order of keys, and one entry out of several copies'. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aosd.model.objects import Entry


def counting(entries: Sequence[Entry]) -> Entry:
    """The entry that counts of all that nodes have of one key.

    The one that was modified last, then the greater ETag; where several have that ETag,
    they are copies of one version, and its time is the oldest copy's.
    """
    if len(entries) == 1:
        return entries[0]
    newest = max(entries, key=lambda entry: (entry.modified_s, entry.etag))
    copies = (entry for entry in entries if entry.etag == newest.etag)
    return min(copies, key=lambda entry: entry.modified_s)


def utf8(key: str) -> bytes:
    """A key as S3 sorts it. Names in a node's answer may have what UTF-8 doesn't allow."""
    return key.encode("utf-8", "surrogatepass")
