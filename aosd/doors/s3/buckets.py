"""Operations on buckets themselves."""

from __future__ import annotations

from aosd.doors.s3.access import PUBLIC_READ, check_canned, refuse_grants
from aosd.doors.s3.call import Call
from aosd.doors.s3.checksums import with_checked_body
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.owner import owner
from aosd.doors.s3.queries import number_of
from aosd.doors.s3.xml_in import parse
from aosd.doors.s3.xml_out import document, element, elements, iso_date
from aosd.gateway import buckets as use_cases
from aosd.model.names import check_bucket_name

_MOST_BUCKETS = 10_000
_LONGEST_CONFIGURATION_BYTES = 64 * 1024


async def list_buckets(call: Call) -> None:
    """ListBuckets: those that the sender may list, by name."""
    prefix = call.query.get("prefix", "")
    after = call.query.get("continuation-token", "")
    limit = number_of(call.query, "max-buckets", _MOST_BUCKETS, 1, _MOST_BUCKETS)
    found = [
        each
        for each in use_cases.buckets(call.store)
        if each.name.startswith(prefix) and each.name > after and call.may("list", each.name)
    ]
    page = found[:limit]
    listed = (
        element(
            "Bucket",
            elements(Name=each.name, CreationDate=iso_date(each.created_s)),
        )
        for each in page
    )
    call.write_xml(
        document(
            "ListAllMyBucketsResult",
            owner(),
            element("Buckets", *listed),
            element("ContinuationToken", page[-1].name) if len(found) > limit else None,
            element("Prefix", prefix) if prefix else None,
        )
    )


async def create_bucket(call: Call) -> None:
    """CreateBucket: 409 for one's own that is there already, as S3 answers out of us-east-1."""
    if (call.header(b"x-amz-bucket-object-lock-enabled") or "false").lower() == "true":
        raise S3Error("NotImplemented", "object lock isn't implemented")
    refuse_grants(call)
    acl = call.header(b"x-amz-acl") or "private"
    check_canned(acl)
    if acl == PUBLIC_READ and not call.may("admin", call.bucket):
        raise S3Error("AccessDenied", "this key pair may not make buckets public")
    data = await with_checked_body(call).read(_LONGEST_CONFIGURATION_BYTES)
    if data.strip():
        parse(data, "CreateBucketConfiguration")
    check_bucket_name(call.bucket)
    await use_cases.create_bucket(call.store, call.bucket)
    if acl == PUBLIC_READ:
        await use_cases.set_bucket_setting(call.store, call.bucket, "acl", acl)
    call.request.setHeader(b"location", b"/" + call.bucket.encode())
    call.no_content(200)


async def delete_bucket(call: Call) -> None:
    """DeleteBucket: an empty one only."""
    await use_cases.delete_bucket(call.store, call.bucket)
    call.no_content()


async def head_bucket(call: Call) -> None:
    """HeadBucket."""
    call.store.buckets.check(call.bucket)
    call.request.setHeader(b"x-amz-bucket-region", call.region.encode())
    call.no_content(200)


async def get_bucket_location(call: Call) -> None:
    """GetBucketLocation: empty, which means us-east-1."""
    call.store.buckets.check(call.bucket)
    call.write_xml(document("LocationConstraint"))
