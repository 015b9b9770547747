"""GetObjectAttributes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
"""

from __future__ import annotations

from aosd.doors.answers import http_date
from aosd.doors.heads import conditions_of
from aosd.doors.s3 import checksums
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.metadata import storage_class_of
from aosd.doors.s3.xml_out import Markup, document, element, elements
from aosd.gateway.get import head
from aosd.gateway.requests import Get
from aosd.model.objects import ObjectHead
from aosd.model.parts import count_of_parts

_KNOWN = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


async def get_object_attributes(call: Call) -> None:
    """GetObjectAttributes: those that x-amz-object-attributes names, where there are any.

    Of ObjectParts the count alone, as S3 gives it where parts have no checksums.
    """
    asked = {
        each.strip() for each in (call.header(b"x-amz-object-attributes") or "").split(",")
    } - {""}
    if not asked:
        raise S3Error("InvalidArgument", "x-amz-object-attributes names nothing")
    if not asked <= set(_KNOWN):
        raise S3Error("InvalidArgument", f"attributes are {', '.join(_KNOWN)}")
    found = await head(
        call.store, Get(call.bucket, call.key, conditions=conditions_of(call.request))
    )
    call.request.setHeader(b"last-modified", http_date(found.modified_s))
    given = [_attribute(name, found.head) for name in _KNOWN if name in asked]
    call.write_xml(document("GetObjectAttributesResponse", *given))


def _attribute(name: str, found: ObjectHead) -> Markup | None:
    match name:
        case "ETag":
            # Without its quotes, here alone.
            return element("ETag", found.etag.strip('"'))
        case "Checksum":
            return _checksum(found)
        case "ObjectParts":
            count = count_of_parts(found.etag)
            return None if count is None else element("ObjectParts", elements(PartsCount=count))
        case "StorageClass":
            return element("StorageClass", storage_class_of(found.own))
        case _:
            return element("ObjectSize", found.size_bytes)


def _checksum(found: ObjectHead) -> Markup | None:
    kept = checksums.kept_in(found.own)
    if kept is None:
        return None
    algorithm, text = kept
    return element(
        "Checksum",
        element(checksums.element_name(algorithm), text),
        element("ChecksumType", checksums.FULL_OBJECT),
    )
