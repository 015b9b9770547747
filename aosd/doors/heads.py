"""From a request's head to what the use cases ask for, and from an object to an answer's."""

from __future__ import annotations

import binascii
from base64 import b64decode

from aosd.doors.answers import HttpError, http_date
from aosd.doors.site import HeadFirstRequest
from aosd.gateway.requests import Found, Get, Put
from aosd.model.conditions import Conditions
from aosd.model.errors import BadRequest
from aosd.model.objects import KEPT_HEADERS
from aosd.model.ranges import parse_range

_USER_METADATA = b"x-amz-meta-"
_CHECKSUM = b"x-amz-checksum-"
_ABOUT_CHECKSUMS = frozenset(
    {b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-checksum-mode"}
)
_DEFAULT_TYPE = b"application/octet-stream"


def get_request(request: HeadFirstRequest, bucket: str, key: str) -> Get:
    """A GET or HEAD."""
    return Get(
        bucket,
        key,
        conditions=conditions_of(request),
        wanted=parse_range(_text(request, b"range")) if request.method == b"GET" else None,
        if_range=_text(request, b"if-range"),
        newest=_text(request, b"x-aos-read") == "newest",
    )


def put_request(request: HeadFirstRequest, bucket: str, key: str) -> Put:
    """A PUT. Raises BadRequest, or HttpError 411 when nothing tells where the body ends."""
    headers = request.requestHeaders
    if not headers.hasHeader(b"content-length") and request.body.length is not None:
        raise HttpError(411, "MissingContentLength", "say Content-Length, or send in chunks")
    kept: list[tuple[bytes, bytes]] = []
    checksums: list[tuple[bytes, bytes]] = []
    for name, values in headers.getAllRawHeaders():
        name = name.lower()
        if name in KEPT_HEADERS or name.startswith(_USER_METADATA):
            kept.append((name, b",".join(values)))
        elif name.startswith(_CHECKSUM) and name not in _ABOUT_CHECKSUMS:
            checksums.append((name, values[-1]))
    if not headers.hasHeader(b"content-type"):
        # Nodes differ in what they make of none.
        kept.append((b"content-type", _DEFAULT_TYPE))
    if checksums and request.body.length is None:
        raise BadRequest(
            "x-amz-checksum-* of a chunked body can't be checked; say Content-Length",
            "InvalidRequest",
        )
    return Put(
        bucket,
        key,
        request.body,
        headers=tuple(kept),
        conditions=conditions_of(request),
        content_md5=_content_md5(request),
        content_sha256=_content_sha256(request),
        checksums=tuple(checksums),
    )


def write_object_head(request: HeadFirstRequest, found: Found) -> None:
    """Status and headers of an object's answer; its bytes are the caller's to write."""
    head = found.head
    for name, value in head.headers:
        request.setHeader(name, value)
    request.setHeader(b"etag", head.etag.encode("latin-1"))
    request.setHeader(b"last-modified", http_date(found.modified_s))
    request.setHeader(b"accept-ranges", b"bytes")
    length = head.size_bytes
    if found.reading is not None:
        span = found.reading.span
        length = span.length
        if found.partial:
            request.setResponseCode(206)
            last = span.first + span.length - 1
            request.setHeader(
                b"content-range", b"bytes %d-%d/%d" % (span.first, last, head.size_bytes)
            )
    request.setHeader(b"content-length", b"%d" % length)


def conditions_of(request: HeadFirstRequest) -> Conditions:
    """The conditional headers of a request."""
    return Conditions(
        if_match=_text(request, b"if-match"),
        if_none_match=_text(request, b"if-none-match"),
        if_modified_since=_text(request, b"if-modified-since"),
        if_unmodified_since=_text(request, b"if-unmodified-since"),
    )


def _text(request: HeadFirstRequest, name: bytes) -> str | None:
    values = request.requestHeaders.getRawHeaders(name)
    return b", ".join(values).decode("latin-1") if values else None


def _content_md5(request: HeadFirstRequest) -> bytes | None:
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


def _content_sha256(request: HeadFirstRequest) -> bytes | None:
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
