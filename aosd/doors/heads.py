"""From a request's head to what the use cases ask for, and from an object to an answer's."""

from __future__ import annotations

import binascii
from base64 import b64decode

from aosd.doors.answers import HttpError, http_date
from aosd.doors.request import DoorRequest
from aosd.gateway.requests import Found, Get, Put
from aosd.model.conditions import UNCONDITIONAL, Conditions
from aosd.model.errors import BadRequest
from aosd.model.objects import KEPT_HEADERS, USER_METADATA, Headers, Span
from aosd.model.ranges import parse_range
from aosd.ports import IReading

_CHECKSUM = b"x-amz-checksum-"
_ABOUT_CHECKSUMS = frozenset(
    {b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-checksum-mode"}
)
_CONDITIONAL = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
# What else is read of the head of a GET. Most have none.
_ABOUT_READS = _CONDITIONAL | {b"range", b"if-range", b"x-aos-read"}
_DEFAULT_TYPE = b"application/octet-stream"


def get_request(request: DoorRequest, bucket: str, key: str) -> Get:
    """A GET or HEAD."""
    if not request.has_any(_ABOUT_READS):
        return Get(bucket, key)
    return Get(
        bucket,
        key,
        conditions=conditions_of(request),
        wanted=parse_range(text_of(request, b"range")) if request.method == b"GET" else None,
        if_range=text_of(request, b"if-range"),
        newest=text_of(request, b"x-aos-read") == "newest",
    )


def put_request(request: DoorRequest, bucket: str, key: str) -> Put:
    """A PUT. Raises BadRequest, or HttpError 411 when nothing tells where the body ends."""
    check_length(request)
    checksums = tuple(
        [
            (name, value)
            for name, value in header_items(request)
            if name.startswith(_CHECKSUM) and name not in _ABOUT_CHECKSUMS
        ]
    )
    if checksums and request.body.length is None:
        raise BadRequest(
            "x-amz-checksum-* of a chunked body can't be checked; say Content-Length",
            "InvalidRequest",
        )
    return Put(
        bucket,
        key,
        request.body,
        headers=kept_headers(request, _DEFAULT_TYPE),
        conditions=conditions_of(request),
        content_md5=content_md5(request),
        content_sha256=content_sha256(request),
        checksums=checksums,
    )


def check_length(request: DoorRequest) -> None:
    """Raise HttpError 411 when nothing tells where the body ends."""
    if not request.requestHeaders.hasHeader(b"content-length") and request.body.length is not None:
        raise HttpError(411, "MissingContentLength", "say Content-Length, or send in chunks")


def header_items(request: DoorRequest) -> list[tuple[bytes, bytes]]:
    """All headers, each once, names in lower case; of several of a name the last."""
    headers = request.requestHeaders.getAllRawHeaders()
    return [(name.lower(), values[-1]) for name, values in headers]


def kept_headers(request: DoorRequest, default_type: bytes) -> Headers:
    """What is stored with an object: KEPT_HEADERS and user metadata.

    `default_type` is its type when the client says none: nodes differ in what they make of
    that.
    """
    kept = [
        (lower, b",".join(values))
        for name, values in request.requestHeaders.getAllRawHeaders()
        if (lower := name.lower()) in KEPT_HEADERS or lower.startswith(USER_METADATA)
    ]
    if not request.requestHeaders.hasHeader(b"content-type"):
        kept.append((b"content-type", default_type))
    return tuple(kept)


def write_object_head(request: DoorRequest, found: Found, part: Span | None = None) -> None:
    """Status and headers of an object's answer; its bytes are the caller's to write.

    `part` are the bytes that a HEAD's answer tells of, where that isn't the whole.
    """
    head = found.head
    for name, value in head.headers:
        request.setHeader(name, value)
    request.setHeader(b"etag", head.etag.encode("latin-1"))
    request.setHeader(b"last-modified", http_date(found.modified_s))
    request.setHeader(b"accept-ranges", b"bytes")
    span = part
    if found.reading is not None:
        span = found.reading.span
    if span is not None and (part is not None or found.partial):
        request.setResponseCode(206)
        last = span.first + span.length - 1
        request.setHeader(b"content-range", b"bytes %d-%d/%d" % (span.first, last, head.size_bytes))
    length = head.size_bytes if span is None else span.length
    request.setHeader(b"content-length", b"%d" % length)


async def deliver(request: DoorRequest, reading: IReading) -> None:
    """Let the object's bytes follow the head, when `write_object_head` has told it.

    That goes out now, also when the first byte takes a while; with a body that is at hand it goes
    in one piece.
    """
    if not reading.at_hand:
        request.write(b"")
    await reading.deliver(request)


def conditions_of(request: DoorRequest) -> Conditions:
    """The conditional headers of a request."""
    if not request.has_any(_CONDITIONAL):
        return UNCONDITIONAL
    return Conditions(
        if_match=text_of(request, b"if-match"),
        if_none_match=text_of(request, b"if-none-match"),
        if_modified_since=text_of(request, b"if-modified-since"),
        if_unmodified_since=text_of(request, b"if-unmodified-since"),
    )


def text_of(request: DoorRequest, name: bytes) -> str | None:
    """A header as text, its values joined; None when it isn't there."""
    values = request.requestHeaders.getRawHeaders(name)
    return b", ".join(values).decode("latin-1") if values else None


def content_md5(request: DoorRequest) -> bytes | None:
    """The 16 bytes of Content-MD5. Raises BadRequest."""
    value = request.requestHeaders.getRawHeaders(b"content-md5")
    if not value:
        return None
    try:
        digest = b64decode(value[-1], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise BadRequest("Content-MD5 isn't the base64 of 16 bytes", "InvalidDigest")
    return digest


def content_sha256(request: DoorRequest) -> bytes | None:
    """The 32 bytes of x-amz-content-sha256; None when it says that nothing is signed."""
    value = request.requestHeaders.getRawHeaders(b"x-amz-content-sha256")
    if not value or value[-1] == b"UNSIGNED-PAYLOAD":
        return None
    try:
        digest = binascii.unhexlify(value[-1])
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise BadRequest("x-amz-content-sha256 isn't the hex of 32 bytes", "InvalidDigest")
    return digest
