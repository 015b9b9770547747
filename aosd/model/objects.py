"""What is said of objects: heads, ranges' spans, listings' entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from unicodedata import category

Headers = tuple[tuple[bytes, bytes], ...]

OBJECT_BUCKET = "object"
"""The bucket that the plain door serves."""

SYSTEM_BUCKET = "aos-system"
"""The cluster's own memory on each node; no door knows it."""

USER_METADATA = b"x-amz-meta-"
"""What names of a client's own metadata begin with."""

OWN_METADATA = b"x-amz-meta-aos-"
"""What names of aosd's metadata begin with; clients neither send nor see them."""

STAMP_HEADER = OWN_METADATA + b"stamp"

LARGEST_METADATA_BYTES = 2048
"""What all x-amz-meta-* of an object may have together: names in full, and values.

MinIO's bound. The stamp and aosd's own count.
"""

KEPT_HEADERS = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-disposition",
        b"cache-control",
        b"expires",
    }
)
"""Lower-case names of the headers that are stored with an object, beside x-amz-meta-*."""


def is_text(value: str) -> bool:
    """Whether all of it can be seen, but for spaces of whatever width."""
    return value.isprintable() or all(
        each.isprintable() or category(each) == "Zs" for each in value
    )


class ObjectHead(NamedTuple):
    """What a node tells of one copy, without its body.

    `etag` is the quoted string as S3 gives it; `modified_s` the node's own Last-Modified,
    in whole seconds since 1970; `stamp` None for an object that aosd didn't write.
    `headers` are the client's own (KEPT_HEADERS and x-amz-meta-*, without aosd's), names
    in lower case, values untouched. `own` is aosd's metadata but for the stamp: what is kept
    of an object that nodes have no header for (checksum, tags, storage class).
    """

    etag: str
    size_bytes: int
    modified_s: int
    stamp: str | None
    headers: Headers = ()
    own: Headers = ()

    def is_like(self, other: ObjectHead) -> bool:
        """Whether both tell of the same bytes with the same metadata, whenever it was written."""
        return (
            self.etag == other.etag
            and set(self.headers) == set(other.headers)
            and set(self.own) == set(other.own)
        )


class Span(NamedTuple):
    """The bytes `first` to `first + length - 1` of an object."""

    first: int
    length: int


class Entry(NamedTuple):
    """One object in a listing; `etag` quoted, `modified_s` since 1970, to the millisecond.

    `stamp` "": it has none; None: the node doesn't tell, or wasn't asked.
    """

    key: str
    etag: str
    size_bytes: int
    modified_s: float
    stamp: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of one node's listing.

    `entries` in the order the node gave them. `prefixes` are the common prefixes when a
    delimiter was asked for. `truncated` says that there is more after `last`, the greatest
    key or prefix that the page covers (None when the page is empty). `token` is what the node
    takes to go on from there, "" when it gave none.
    """

    entries: tuple[Entry, ...]
    prefixes: tuple[str, ...] = ()
    truncated: bool = False
    last: str | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an open multipart upload; `number` 1 to 10,000, `etag` quoted.

    `modified_s` since 1970, to the millisecond.
    """

    number: int
    etag: str
    size_bytes: int
    modified_s: float


@dataclass(frozen=True, slots=True)
class PartsPage:
    """A page of an upload's parts, ascending; `truncated` says that more follow the last."""

    parts: tuple[Part, ...]
    truncated: bool = False
