"""A page of a listing in the form that MinIO writes, read without a tree of elements.

Listings are long, and a tree of one takes ten times as long. What is in any other form is for
the parser: this one reads all of a page, or nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote_plus

from aosd.model.objects import Entry

_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'
_FIRST, _BETWEEN, _LAST = b"<Contents><Key>", "</Contents><Contents><Key>", b"</Contents>"
# Between two of them and to the end: no element, reference or comment but those said here.
_ENTRY = re.compile(
    r"([^<&\r]*)</Key>"
    r"<LastModified>([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{3})Z"
    r"</LastModified>"
    r"<ETag>(?:&#34;|&quot;)([^<&\r]*)(?:&#34;|&quot;)</ETag>"
    r"<Size>([0-9]{1,18})</Size>"
    r"(?:<StorageClass>[A-Z_]*</StorageClass>)?"
)
_made = tuple.__new__


def split(data: bytes) -> tuple[bytes, str] | None:
    """The document without its objects, and these for `entries`; None for another form."""
    first, end = data.find(_FIRST), data.rfind(_LAST)
    if first < 0 or end < 0 or not data.startswith(_DECLARATION):
        return None
    try:
        listed = data[first + len(_FIRST) : end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    rest = data[:first] + data[end + len(_LAST) :]
    # In a comment what looks like an object is none.
    return None if b"<!" in rest else (rest, listed)


def entries(listed: str, *, encoded: bool) -> list[Entry] | None:
    """The objects of a page, in its order; None when one of them is written otherwise.

    `encoded`: their keys are URL-encoded.
    """
    found: list[Entry] = []
    for each in listed.split(_BETWEEN):
        match = _ENTRY.fullmatch(each)
        if match is None:
            return None
        key, second, millisecond, etag, size = match.groups()
        try:
            modified_s = (1000 * _seconds(second) + int(millisecond)) / 1000
        except ValueError:
            return None
        if encoded and ("%" in key or "+" in key):
            key = unquote_plus(key)  # MinIO writes `+` for a space
        # As Entry(…) does, which takes three times as long.
        found.append(_made(Entry, (key, f'"{etag}"', int(size), modified_s, None)))
    return found


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int:
    """A time in UTC as seconds since 1970: many objects are written in one second."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
