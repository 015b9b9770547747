"""CopyObject and UploadPartCopy.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from aosd.doors.heads import conditions_of, text_of
from aosd.doors.s3 import metadata
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.objects import check_version, part_number
from aosd.doors.s3.patience import patiently
from aosd.doors.s3.tags import NAME as TAGS
from aosd.doors.s3.xml_out import document, elements, iso_date
from aosd.gateway.copy import copy
from aosd.gateway.multipart import copy_part
from aosd.gateway.requests import Copy, CopyPart
from aosd.model.conditions import Conditions
from aosd.model.names import check_bucket_name, check_key
from aosd.model.objects import Headers
from aosd.model.ranges import ByteRange

_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Source:
    bucket: str
    key: str
    conditions: Conditions


async def copy_object(call: Call) -> None:
    """CopyObject: a new write with all of the source's metadata, or with the request's.

    The storage class is the request's, and STANDARD without one, as S3 has it.
    """
    metadata.refuse_what_isnt_built(call)
    source = _source(call)
    replaced = _replaces(call, b"x-amz-metadata-directive")
    tags_replaced = _replaces(call, b"x-amz-tagging-directive")
    own = [_instead(metadata.CLASS, metadata.class_to_keep(call))]
    if tags_replaced:
        own.append(_instead(TAGS, metadata.tags_to_keep(call)))
    request = Copy(
        source.bucket,
        source.key,
        call.bucket,
        call.key,
        source_conditions=source.conditions,
        headers=metadata.headers_to_keep(call) if replaced else None,
        own=tuple(own),
        conditions=conditions_of(call.request),
    )
    await patiently(call, _copied(call, request))


async def upload_part_copy(call: Call) -> None:
    """UploadPartCopy: a part that is an object, or a range of one."""
    number = part_number(call)
    source = _source(call)
    text = call.header(b"x-amz-copy-source-range")
    wanted = None
    if text is not None:
        found = _RANGE.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise S3Error("InvalidArgument", "x-amz-copy-source-range is bytes=first-last")
        wanted = ByteRange(int(found[1]), int(found[2]))
    await patiently(call, _part_copied(call, source, number, wanted))


async def _copied(call: Call, request: Copy) -> bytes:
    written = await copy(call.store, request)
    return document(
        "CopyObjectResult",
        elements(LastModified=iso_date(written.modified_s), ETag=written.etag),
    )


async def _part_copied(call: Call, source: _Source, number: int, wanted: ByteRange | None) -> bytes:
    written = await copy_part(
        call.store,
        CopyPart(
            call.bucket,
            call.key,
            call.query["uploadId"],
            number,
            source.bucket,
            source.key,
            source.conditions,
            wanted,
        ),
    )
    return document(
        "CopyPartResult",
        elements(LastModified=iso_date(call.store.clock.seconds()), ETag=written.etag),
    )


def _instead(name: bytes, kept: Headers) -> tuple[bytes, bytes]:
    """Own metadata in place of the source's; empty: without it."""
    return kept[0] if kept else (name, b"")


def _source(call: Call) -> _Source:
    """What x-amz-copy-source names, if the sender may read it. Raises S3Error, BadRequest."""
    text = (call.header(b"x-amz-copy-source") or "").encode("latin-1")
    name, _, query = text.partition(b"?")
    try:
        # A plus is a space here, as in S3: those who mean a plus write %2B.
        path = unquote_to_bytes(name.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise S3Error("InvalidArgument", "x-amz-copy-source isn't UTF-8") from error
    bucket, _, key = path.removeprefix("/").partition("/")
    if not (bucket and key):
        raise S3Error("InvalidArgument", "x-amz-copy-source is bucket/key, percent-encoded")
    check_version(query.decode("latin-1").removeprefix("versionId="))
    check_bucket_name(bucket)
    check_key(key)
    if not call.may("read", bucket):
        raise S3Error("AccessDenied", "this key pair may not read the source")
    return _Source(bucket, key, _source_conditions(call))


def _source_conditions(call: Call) -> Conditions:
    names = ("match", "none-match", "modified-since", "unmodified-since")
    return Conditions(
        *(text_of(call.request, f"x-amz-copy-source-if-{name}".encode("ascii")) for name in names)
    )


def _replaces(call: Call, name: bytes) -> bool:
    directive = call.header(name) or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", f"{name.decode('ascii')} is COPY or REPLACE")
    return directive == "REPLACE"
