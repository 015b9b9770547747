"""The canonical request of Signature V4, as S3 makes it: pure functions over bytes.

S3 differs from other services: a path is neither normalised nor encoded twice. What a
client signs is its own spelling of the path; S3 decodes what came and encodes it again in
the one canonical way. Most clients send the canonical spelling; some send another and sign
either. So there are up to two spellings of a path and of a query: the canonical one and
the one that came. Both mean exactly what was sent, so that accepting either opens no door.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"

_KEYS_KEPT = 256
_PERCENT, _PLUS = b"%+"
_ESCAPED = {bytes([byte]): b"%%%02X" % byte for byte in range(256)}
_NOT_OF_QUERIES = re.compile(rb"[^A-Za-z0-9._~-]")
_NOT_OF_PATHS = re.compile(rb"[^A-Za-z0-9._~/-]")

Pair = tuple[bytes, bytes]
"""A name and a value of a query, as they were sent: percent-encoded."""


def split_query(query: bytes) -> list[Pair]:
    """The pairs of a query as they were sent; a name without `=` has an empty value."""
    pairs = []
    for item in query.split(b"&"):
        if item:
            name, _, value = item.partition(b"=")
            pairs.append((name, value))
    return pairs


def decoded(text: bytes) -> bytes:
    """A name or a value of a query without its encoding; `+` is a space, as S3 has it."""
    if _PERCENT not in text and _PLUS not in text:
        return text
    return unquote_to_bytes(text.replace(b"+", b" "))


def spellings(path: bytes, pairs: Sequence[Pair]) -> Iterator[tuple[bytes, bytes]]:
    """(path, query) as they may have been signed, the canonical spelling first, each once."""
    canonical_path = _NOT_OF_PATHS.sub(_escape, unquote_to_bytes(path)) or b"/"
    canonical_query = _joined([(_encoded(name), _encoded(value)) for name, value in pairs])
    yield canonical_path, canonical_query
    sent_path, sent_query = path or b"/", _joined(pairs)
    if sent_path != canonical_path:
        yield sent_path, canonical_query
    if sent_query != canonical_query:
        yield canonical_path, sent_query
        if sent_path != canonical_path:
            yield sent_path, sent_query


def canonical_headers(
    headers: Iterable[tuple[bytes, bytes]], signed: Sequence[bytes]
) -> Sequence[bytes]:
    """The lines of the signed headers, in the order of `signed` (which has to be sorted).

    Spaces are trimmed and folded, several values joined by a comma in their order. There are
    up to two ways of that: Amazon's, who knows spaces of ASCII only, and that of MinIO's
    clients in Go, to whom a no-break space is one, too. Raises KeyError with the name of a
    header that didn't come.
    """
    values: dict[bytes, list[bytes]] = {name: [] for name in signed}
    for name, value in headers:
        found = values.get(name)
        if found is not None:
            found.append(value)
    for name, found in values.items():
        if not found:
            raise KeyError(name)
    lines = _lines(values, _folded)
    if lines.isascii():
        return (lines,)
    widely = _lines(values, _folded_widely)
    return (lines,) if widely == lines else (lines, widely)


def canonical_request(
    verb: bytes, path: bytes, query: bytes, lines: bytes, signed: Sequence[bytes], payload: bytes
) -> bytes:
    """The canonical request; `lines` are some of `canonical_headers`."""
    return b"\n".join((verb, path, query, lines, b";".join(signed), payload))


def signature(key: bytes, timestamp: str, scope: str, request: bytes) -> str:
    """The signature, in hex, of a canonical request. `timestamp` is YYYYMMDD'T'HHMMSS'Z'."""
    digest = hashlib.sha256(request).hexdigest()
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def scope_of(date: str, region: str, service: str = "s3") -> str:
    """The scope of a credential: what its signing key is good for."""
    return f"{date}/{region}/{service}/{TERMINATOR}"


@lru_cache(maxsize=_KEYS_KEPT)
def signing_key(secret: str, date: str, region: str, service: str = "s3") -> bytes:
    """The key of a day; the last ones are kept, since a client has the same one all day."""
    key = f"AWS4{secret}".encode()
    for each in (date, region, service, TERMINATOR):
        key = hmac.digest(key, each.encode(), "sha256")
    return key


def _lines(values: Mapping[bytes, Sequence[bytes]], fold: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        [b"%s:%s\n" % (name, b",".join(map(fold, found))) for name, found in values.items()]
    )


def _folded(value: bytes) -> bytes:
    return b" ".join(value.split())


def _folded_widely(value: bytes) -> bytes:
    """One space for whatever Unicode calls white space, as Go's strings.Fields has it."""
    text = value.decode("utf-8", "surrogateescape")
    return " ".join(text.split()).encode("utf-8", "surrogateescape")


def _encoded(text: bytes) -> bytes:
    if text.isalnum():
        return text
    return _NOT_OF_QUERIES.sub(_escape, decoded(text))


def _escape(found: re.Match[bytes]) -> bytes:
    return _ESCAPED[found[0]]


def _joined(pairs: Iterable[Pair]) -> bytes:
    return b"&".join([b"%s=%s" % pair for pair in sorted(pairs)])
