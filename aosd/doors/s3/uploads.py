"""Multipart uploads: create, upload a part, complete, abort, and what is listed of them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html, and
its like
"""

from __future__ import annotations

from aosd.doors.heads import check_length, conditions_of, content_md5
from aosd.doors.s3 import checksums, metadata
from aosd.doors.s3.call import LONG_DOCUMENT_BYTES, Call
from aosd.doors.s3.completions import Completion, completion_of
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.objects import part_number
from aosd.doors.s3.owner import owner
from aosd.doors.s3.patience import patiently
from aosd.doors.s3.queries import encoding_of, number_of
from aosd.doors.s3.xml_out import document, element, elements, iso_date, url_encoded
from aosd.gateway.multipart import abort_upload, complete_upload, create_upload, put_part
from aosd.gateway.multipart import list_parts as parts_of
from aosd.gateway.multipart import list_uploads as uploads_of
from aosd.gateway.requests import Complete, Create, PutPart
from aosd.model.parts import MOST_PARTS

_MOST_LISTED = 1000


async def create_multipart_upload(call: Call) -> None:
    """CreateMultipartUpload. How checksums are to be made is echoed; each is checked alone."""
    metadata.refuse_what_isnt_built(call)
    headers, own = metadata.headers_to_keep(call), metadata.own_to_keep(call)
    told = _checksum_headers(call)
    upload_id = await create_upload(
        call.store, Create(call.bucket, call.key, headers=headers, own=own)
    )
    for name, value in told:
        call.request.setHeader(name, value)
    call.write_xml(
        document(
            "InitiateMultipartUploadResult",
            elements(Bucket=call.bucket, Key=call.key, UploadId=upload_id),
        )
    )


async def upload_part(call: Call) -> None:
    """UploadPart. A checksum is verified and answered, and not kept."""
    check_length(call.request)
    metadata.refuse_what_isnt_built(call)
    number = part_number(call)
    claim = checksums.claim_of(call)
    watched = None if claim is None else checksums.watched(call, claim)
    written = await put_part(
        call.store,
        PutPart(
            call.bucket,
            call.key,
            call.query["uploadId"],
            number,
            call.body if watched is None else watched,
            content_md5=content_md5(call.request),
            content_sha256=call.content_sha256,
        ),
    )
    call.request.setHeader(b"etag", written.etag.encode("latin-1"))
    checksums.write(call, claim, watched)
    call.no_content(200)


async def complete_multipart_upload(call: Call) -> None:
    """CompleteMultipartUpload: spaces are sent while it takes."""
    # The document goes as soon as it was read: what follows may take minutes.
    completion = completion_of(
        call, await call.document("CompleteMultipartUpload", LONG_DOCUMENT_BYTES)
    )
    await patiently(call, _completed(call, completion))


async def abort_multipart_upload(call: Call) -> None:
    """AbortMultipartUpload."""
    await abort_upload(call.store, call.bucket, call.key, call.query["uploadId"])
    call.no_content()


async def list_parts(call: Call) -> None:
    """ListParts: a page, by number."""
    query = call.query
    encoded = encoding_of(query)
    after = number_of(query, "part-number-marker", 0, 0, MOST_PARTS)
    limit = number_of(query, "max-parts", _MOST_LISTED, 1, _MOST_LISTED)
    page = await parts_of(call.store, call.bucket, call.key, query["uploadId"], after, limit)
    listed = (
        element(
            "Part",
            elements(
                PartNumber=each.number,
                LastModified=iso_date(each.modified_s),
                ETag=each.etag,
                Size=each.size_bytes,
            ),
        )
        for each in page.parts
    )
    last = page.parts[-1].number if page.parts else after
    call.write_xml(
        document(
            "ListPartsResult",
            elements(
                Bucket=call.bucket,
                Key=url_encoded(call.key) if encoded else call.key,
                UploadId=query["uploadId"],
            ),
            owner("Initiator"),
            owner(),
            elements(
                StorageClass=metadata.STANDARD,
                PartNumberMarker=after,
                NextPartNumberMarker=last if page.truncated else None,
                MaxParts=limit,
                IsTruncated="true" if page.truncated else "false",
                EncodingType="url" if encoded else None,
            ),
            *listed,
        )
    )


async def list_multipart_uploads(call: Call) -> None:
    """ListMultipartUploads: a page of those that are open, by key and age."""
    query = call.query
    encoded = encoding_of(query)
    name = url_encoded if encoded else str
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    limit = number_of(query, "max-uploads", _MOST_LISTED, 1, _MOST_LISTED)
    page = await uploads_of(
        call.store, call.bucket, prefix, key_marker, id_marker, delimiter, limit
    )
    listed = (
        element(
            "Upload",
            elements(Key=name(each.key), UploadId=each.upload_id),
            owner("Initiator"),
            owner(),
            elements(StorageClass=metadata.STANDARD, Initiated=iso_date(each.began_s)),
        )
        for each in page.uploads
    )
    prefixes = (element("CommonPrefixes", element("Prefix", name(each))) for each in page.prefixes)
    call.write_xml(
        document(
            "ListMultipartUploadsResult",
            elements(
                Bucket=call.bucket,
                KeyMarker=name(key_marker),
                UploadIdMarker=id_marker,
                NextKeyMarker=name(page.last_key) if page.more else None,
                NextUploadIdMarker=page.last_id if page.more else None,
                Prefix=name(prefix),
                Delimiter=name(delimiter) if delimiter else None,
                EncodingType="url" if encoded else None,
                MaxUploads=limit,
                IsTruncated="true" if page.more else "false",
            ),
            *listed,
            *prefixes,
        )
    )


async def _completed(call: Call, completion: Completion) -> bytes:
    checksum = await completion.checksum()
    written = await complete_upload(
        call.store,
        Complete(
            call.bucket,
            call.key,
            call.query["uploadId"],
            completion.parts,
            conditions=conditions_of(call.request),
            size_bytes=completion.size_bytes,
        ),
    )
    request = call.request
    scheme = "https" if request.isSecure() else "http"
    host = call.header(b"host") or ""
    return document(
        "CompleteMultipartUploadResult",
        elements(
            Location=f"{scheme}://{host}{request.path.decode('latin-1')}",
            Bucket=call.bucket,
            Key=call.key,
            ETag=written.etag,
        ),
        checksum,
    )


def _checksum_headers(call: Call) -> list[tuple[bytes, bytes]]:
    """What Create's answer repeats of checksums. Raises S3Error for what can't be."""
    name = call.header(b"x-amz-checksum-algorithm")
    if name is None:
        if call.header(checksums.TYPE) is not None:
            raise S3Error("InvalidRequest", "x-amz-checksum-type without x-amz-checksum-algorithm")
        return []
    algorithm = checksums.named(name)
    kind = checksums.type_of(call, algorithm)
    if kind is None:
        # What S3 takes where nothing is said.
        full = algorithm.name == "CRC64NVME"
        kind = checksums.FULL_OBJECT if full else checksums.COMPOSITE
    return [
        (b"x-amz-checksum-algorithm", algorithm.name.encode("ascii")),
        (checksums.TYPE, kind.encode("ascii")),
    ]
