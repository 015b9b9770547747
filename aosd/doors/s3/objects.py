"""Operations on one object: PutObject, GetObject, HeadObject, DeleteObject.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, and its like
"""

from __future__ import annotations

from aosd.doors.heads import (
    check_length,
    conditions_of,
    content_md5,
    deliver,
    text_of,
    write_object_head,
)
from aosd.doors.s3 import checksums, metadata
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head, last_modified_s
from aosd.gateway.put import put
from aosd.gateway.requests import Found, Get, Put
from aosd.model.conditions import if_range_holds
from aosd.model.objects import Headers, Span, is_text
from aosd.model.parts import MOST_PARTS
from aosd.model.ranges import parse_range

_OVERRIDES = {
    "response-cache-control": b"cache-control",
    "response-content-disposition": b"content-disposition",
    "response-content-encoding": b"content-encoding",
    "response-content-language": b"content-language",
    "response-content-type": b"content-type",
    "response-expires": b"expires",
}


async def put_object(call: Call) -> None:
    """PutObject. A checksum is verified, and kept unless a long body's trailer said it."""
    check_length(call.request)
    metadata.refuse_what_isnt_built(call)
    headers, own = metadata.headers_to_keep(call), metadata.own_to_keep(call)
    claim = checksums.claim_of(call)
    watched = None if claim is None else checksums.watched(call, claim)
    sent: Headers = ()
    if claim is not None and claim.value is not None:
        own += checksums.kept(claim.algorithm, claim.value)
        sent = (checksums.header(claim.algorithm, claim.value),)

    def late() -> Headers:
        assert claim is not None
        assert watched is not None and watched.checksum is not None
        return checksums.kept(claim.algorithm, watched.checksum)

    written = await put(
        call.store,
        Put(
            call.bucket,
            call.key,
            call.body if watched is None else watched,
            headers=headers,
            conditions=conditions_of(call.request),
            content_md5=content_md5(call.request),
            content_sha256=call.content_sha256,
            checksums=sent,
            own=own,
            late=late if claim is not None and claim.value is None else None,
        ),
    )
    call.request.setHeader(b"etag", written.etag.encode("latin-1"))
    checksums.write(call, claim, watched, checksums.FULL_OBJECT)
    call.no_content(200)


async def get_object(call: Call) -> None:
    """GetObject: all of it, a range, or a part."""
    overrides = _overrides(call)
    found = await get(call.store, _get_of(call))
    assert found.reading is not None
    _write_head(call, found, None, overrides)
    await deliver(call.request, found.reading)


async def head_object(call: Call) -> None:
    """HeadObject: a range counts here too, as S3 has it."""
    overrides = _overrides(call)
    asked = _get_of(call)
    found = await head(call.store, asked)
    part = found.span
    if asked.wanted is not None and _range_counts(call, asked, found):
        part = asked.wanted.resolve(found.head.size_bytes)
    _write_head(call, found, part, overrides)


async def delete_object(call: Call) -> None:
    """DeleteObject: 204, also where there was none."""
    await delete(call.store, call.bucket, call.key, conditions_of(call.request))
    call.no_content()


def check_version(version: str | None) -> None:
    """Raise S3Error for a version other than the one that there is."""
    if version not in (None, "", "null"):
        raise S3Error("NoSuchVersion", "nothing has versions here")


def part_number(call: Call, name: str = "partNumber") -> int:
    """The number of a part in the query, 1 to 10,000. Raises S3Error InvalidArgument."""
    text = call.query.get(name, "")
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PARTS))
    if not (digits and 1 <= int(text) <= MOST_PARTS):
        raise S3Error("InvalidArgument", f"{name} is 1 to {MOST_PARTS}")
    return int(text)


def _get_of(call: Call) -> Get:
    request = call.request
    wanted = parse_range(text_of(request, b"range"))
    part = part_number(call) if "partNumber" in call.query else None
    if part is not None and wanted is not None:
        raise S3Error("InvalidRequest", "Range and partNumber can't both be asked for")
    return Get(
        call.bucket,
        call.key,
        conditions=conditions_of(request),
        wanted=wanted,
        if_range=text_of(request, b"if-range"),
        newest=text_of(request, b"x-aos-read") == "newest",
        part=part,
    )


def _range_counts(call: Call, asked: Get, found: Found) -> bool:
    if asked.if_range is None:
        return True
    modified_s = last_modified_s(call.store, asked, found.head)
    return if_range_holds(asked.if_range, found.head.etag, modified_s)


def _overrides(call: Call) -> Headers:
    """Headers of the answer that the query asks for. Raises S3Error."""
    found = []
    for name, header in _OVERRIDES.items():
        value = call.query.get(name)
        if value is None:
            continue
        if call.who is None:
            raise S3Error("InvalidRequest", "response-* parameters are for signed requests")
        if not is_text(value):
            raise S3Error("InvalidArgument", f"{name} has control characters")
        found.append((header, value.encode("utf-8", "surrogateescape")))
    return tuple(found)


def _write_head(call: Call, found: Found, part: Span | None, overrides: Headers) -> None:
    request = call.request
    write_object_head(request, found, part)
    whole = part is None and not found.partial
    wanted = (call.header(b"x-amz-checksum-mode") or "").upper() == "ENABLED"
    for name, value in metadata.answer_headers(found.head.own, with_checksum=whole and wanted):
        request.setHeader(name, value)
    if found.parts is not None:
        request.setHeader(b"x-amz-mp-parts-count", b"%d" % found.parts)
    for name, value in overrides:
        request.setHeader(name, value)
