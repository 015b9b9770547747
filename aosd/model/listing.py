"""Listings: the order of keys, and one entry out of several copies'. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aosd.model.objects import Entry, Page

_GREATEST = "\U0010ffff"


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


def begins_no_key(prefix: str) -> bool:
    """Whether no key that clients may have begins so (see names.check_key).

    Nodes refuse such a prefix, where S3 has nothing to list.
    """
    folders = prefix.split("/")[:-1]
    return "\0" in prefix or any(each in ("", ".", "..") for each in folders)


def nearest_before(after: str) -> str:
    """A place for a listing to begin after that nodes take: no key lies between it and `after`.

    `after` itself where no segment of it is empty, `.` or `..` and it has no NUL: nodes refuse
    those as if they were keys.
    """
    after = after.partition("\0")[0]
    before = ""
    *folders, last = after.split("/")
    for each in folders:
        if each in ("", ".", ".."):
            # Keys that begin so go on with another character than `/`; `.` is the last before.
            return f"{before}{each}.{_GREATEST}"
        before += f"{each}/"
    # Likewise, `-` is the last before `.`.
    return f"{before}{last[:-1]}-{_GREATEST}" if last in (".", "..") else after


def only(page: Page, prefix: str) -> Page:
    """Of a page that begins where `prefix` does, what begins with it."""
    entries = tuple(each for each in page.entries if each.key.startswith(prefix))
    prefixes = tuple(each for each in page.prefixes if each.startswith(prefix))
    last = max([*(each.key for each in entries), *prefixes], key=utf8, default=None)
    return Page(entries, prefixes, page.truncated and page.last == last, last)
