"""CopyObject and UploadPartCopy.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from aosd.doors.heads import conditions_of, text_of
from aosd.doors.s3 import checksums, metadata
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.objects import check_version, part_number
from aosd.doors.s3.patience import patiently
from aosd.doors.s3.tags import NAME as TAGS
from aosd.doors.s3.xml_out import document, element, elements, iso_date
from aosd.gateway.copy import Copy, copy
from aosd.gateway.get import head
from aosd.gateway.multipart import CopyPart, copy_part
from aosd.gateway.requests import Get
from aosd.model.conditions import Conditions
from aosd.model.errors import NotModified, PreconditionFailed
from aosd.model.names import check_bucket_name, check_key
from aosd.model.objects import Headers, ObjectHead
from aosd.model.ranges import ByteRange

_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)
_SAME = (
    "This copy request is illegal because it is trying to copy an object to itself without"
    " changing the object's metadata, storage class, website redirect location or encryption"
    " attributes."
)


@dataclass(frozen=True, slots=True)
class _Source:
    bucket: str
    key: str
    conditions: Conditions


async def copy_object(call: Call) -> None:
    """CopyObject: a new write with all of the source's metadata, or with the request's.

    The storage class is the request's, and STANDARD without one; a checksum goes along.
    """
    metadata.refuse_what_isnt_built(call)
    source = _source(call)
    replaced = _replaces(call, b"x-amz-metadata-directive")
    tags_replaced = _replaces(call, b"x-amz-tagging-directive")
    same = (source.bucket, source.key) == (call.bucket, call.key)
    if same and not (replaced or tags_replaced or call.header(b"x-amz-storage-class")):
        raise S3Error("InvalidRequest", _SAME)
    headers = metadata.headers_to_keep(call) if replaced else None
    chosen = metadata.class_to_keep(call)
    if tags_replaced:
        chosen += metadata.tags_to_keep(call)
    await patiently(call, _copied(call, source, headers, chosen, tags_replaced))


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


async def _copied(
    call: Call, source: _Source, headers: Headers | None, chosen: Headers, tags_replaced: bool
) -> bytes:
    present = await _look(call, source)
    own = chosen + tuple(
        each
        for each in present.own
        if checksums.is_kept(each[0]) or (each[0] == TAGS and not tags_replaced)
    )
    metadata.check_size(present.headers if headers is None else headers, own)
    written = await copy(
        call.store,
        Copy(
            source.bucket,
            source.key,
            # What was looked at, and no other.
            Conditions(if_match=present.etag),
            call.bucket,
            call.key,
            headers=headers,
            own=own,
            conditions=conditions_of(call.request),
        ),
    )
    return document(
        "CopyObjectResult",
        elements(LastModified=iso_date(written.modified_s), ETag=written.etag),
        *_checksum(own),
    )


async def _part_copied(
    call: Call, source: _Source, number: int, wanted: ByteRange | None
) -> bytes:
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


async def _look(call: Call, source: _Source) -> ObjectHead:
    """The source's head. A condition of it that doesn't hold is a 412, whichever it is."""
    asked = Get(source.bucket, source.key, conditions=source.conditions)
    try:
        return (await head(call.store, asked)).head
    except NotModified as error:
        raise PreconditionFailed("a condition of the source doesn't hold") from error


def _checksum(own: Headers) -> tuple[str, ...]:
    found = checksums.kept_in(own)
    if found is None:
        return ()
    algorithm, text = found
    return (
        element(checksums.element_name(algorithm), text),
        element("ChecksumType", checksums.FULL_OBJECT),
    )


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
        *(
            text_of(call.request, f"x-amz-copy-source-if-{name}".encode("ascii"))
            for name in names
        )
    )


def _replaces(call: Call, name: bytes) -> bool:
    directive = call.header(name) or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", f"{name.decode('ascii')} is COPY or REPLACE")
    return directive == "REPLACE"
