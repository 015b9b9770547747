"""The head of an object from the headers of an answer, whichever client brought it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from functools import lru_cache

from aosd.model.errors import NodeNonsense, NoSuchKey
from aosd.model.objects import (
    KEPT_HEADERS,
    OWN_METADATA,
    STAMP_HEADER,
    USER_METADATA,
    ObjectHead,
)

# SeaweedFS answers for its folders, `a/` where there is `a/b` or was, as if each were an object.
# They have an ETag of no parts, and none at all in listings; an object has neither.
FOLDERS_END = '-0"'

_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}


def head_of(node: str, headers: Mapping[bytes, bytes], size_bytes: int) -> ObjectHead:
    """The head of an object from `headers`: names in lower case, values joined by commas.

    Raises NoSuchKey for a folder, and NodeNonsense for what `node` should have said.
    """
    etag = headers.get(b"etag")
    if etag is None:
        raise NodeNonsense(node, "its answer has no ETag")
    tag = quoted(etag.decode("latin-1"))
    if tag.endswith(FOLDERS_END):
        raise NoSuchKey("no such object")
    kept: list[tuple[bytes, bytes]] = []
    own: list[tuple[bytes, bytes]] = []
    stamp = None
    for name, value in headers.items():
        if name in KEPT_HEADERS:
            # MinIO answers with an empty Content-Encoding where none was stored.
            if value:
                kept.append((name, value))
        elif name.startswith(USER_METADATA):
            if name == STAMP_HEADER:
                stamp = value.decode("ascii", "replace")
            elif name.startswith(OWN_METADATA):
                own.append((name, _decoded(value)))
            else:
                kept.append((name, _decoded(value)))
    try:
        modified_s = http_date_s(headers.get(b"last-modified", b""))
    except ValueError as error:
        raise NodeNonsense(node, "its answer has no readable Last-Modified") from error
    return ObjectHead(tag, size_bytes, modified_s, stamp, tuple(kept), tuple(own))


@lru_cache(maxsize=1024)
def http_date_s(value: bytes) -> int:
    """The moment that an HTTP date tells, in whole seconds since 1970.

    Raises ValueError when it tells none. Source: RFC 9110, section 5.6.7.
    """
    if len(value) == 29 and value.endswith(b" GMT") and value[8:11] in _MONTHS:
        # As nearly all are; the general way takes twenty times as long.
        day, year, *clock = (value[at] for at in _DIGITS)
        if all(map(bytes.isdigit, (day, year, *clock))):
            hour, minute, second = map(int, clock)
            month = _MONTHS[value[8:11]]
            moment = datetime(int(year), month, int(day), hour, minute, second, tzinfo=UTC)
            return int(moment.timestamp())
    return int(parsedate_to_datetime(value.decode("latin-1")).timestamp())


_DIGITS = (slice(5, 7), slice(12, 16), slice(17, 19), slice(20, 22), slice(23, 25))


def quoted(etag: str) -> str:
    """An ETag in quotes, as all of aosd has it."""
    return etag if etag.startswith('"') else f'"{etag}"'


def _decoded(value: bytes) -> bytes:
    """User metadata in UTF-8: MinIO answers with encoded words (RFC 2047) for other than ASCII."""
    if not (value.startswith(b"=?") and value.endswith(b"?=")):
        return value
    try:
        return str(make_header(decode_header(value.decode("ascii")))).encode()
    except (UnicodeError, LookupError, HeaderParseError):
        return value
