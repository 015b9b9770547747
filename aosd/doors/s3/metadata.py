"""What a request says of an object beside its bytes, and what answers say of it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

from aosd.doors.heads import header_items, kept_headers
from aosd.doors.s3 import checksums
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.tags import kept_tags, tags_in, tags_of_header
from aosd.model.objects import OWN_METADATA, Headers

CLASS = OWN_METADATA + b"class"
STANDARD = "STANDARD"
_CLASSES = frozenset(
    {
        STANDARD,
        "DEEP_ARCHIVE",
        "EXPRESS_ONEZONE",
        "GLACIER",
        "GLACIER_IR",
        "INTELLIGENT_TIERING",
        "ONEZONE_IA",
        "OUTPOSTS",
        "REDUCED_REDUNDANCY",
        "SNOW",
        "STANDARD_IA",
    }
)
_DEFAULT_TYPE = b"binary/octet-stream"
_ACLS_TAKEN = frozenset(
    {"private", "bucket-owner-read", "bucket-owner-full-control", "public-read"}
)
_ACLS = _ACLS_TAKEN | {
    "authenticated-read",
    "aws-exec-read",
    "log-delivery-write",
    "public-read-write",
}
_NOT_BUILT = (
    b"x-amz-grant-",
    b"x-amz-object-lock-",
    b"x-amz-server-side-encryption",
    b"x-amz-copy-source-server-side-encryption",
    b"x-amz-website-redirect-location",
    b"x-amz-write-offset-bytes",
)


def refuse_what_isnt_built(call: Call) -> None:
    """Raise S3Error for headers that ask for what would silently not happen."""
    for name, _ in header_items(call.request):
        if name.startswith(_NOT_BUILT):
            raise S3Error("NotImplemented", f"{name.decode('latin-1')} isn't implemented")
    acl = call.header(b"x-amz-acl")
    if acl is not None and acl not in _ACLS_TAKEN:
        code = "NotImplemented" if acl in _ACLS else "InvalidArgument"
        raise S3Error(code, f"the canned ACL {acl} isn't one that is taken here")


def headers_to_keep(call: Call) -> Headers:
    """The client's own headers: those that S3 keeps, and user metadata.

    `aws-chunked` is how the body travelled and no property of the object.
    """
    headers = []
    for name, value in kept_headers(call.request, _DEFAULT_TYPE):
        if name == b"content-encoding":
            codings = [each.strip() for each in value.split(b",")]
            value = b",".join(each for each in codings if each.lower() not in (b"aws-chunked", b""))
            if not value:
                continue
        headers.append((name, value))
    return tuple(headers)


def own_to_keep(call: Call) -> Headers:
    """What is kept of an object that nodes have no header for: class and tags."""
    return class_to_keep(call) + tags_to_keep(call)


def class_to_keep(call: Call) -> Headers:
    """The storage class, unless it is the usual one. Raises S3Error for one that is none."""
    name = call.header(b"x-amz-storage-class") or STANDARD
    if name not in _CLASSES:
        raise S3Error("InvalidStorageClass", f"there is no storage class {name}")
    return () if name == STANDARD else ((CLASS, name.encode("ascii")),)


def tags_to_keep(call: Call) -> Headers:
    """The tags of x-amz-tagging. Raises S3Error."""
    return kept_tags(tags_of_header(call.header(b"x-amz-tagging") or ""))


def storage_class_of(own: Headers) -> str:
    """The storage class of an object."""
    for name, value in own:
        if name == CLASS:
            return value.decode("latin-1")
    return STANDARD


def answer_headers(own: Headers, *, with_checksum: bool) -> list[tuple[bytes, bytes]]:
    """What an object's answer says of what is kept beside it."""
    headers = []
    if (storage_class := storage_class_of(own)) != STANDARD:
        headers.append((b"x-amz-storage-class", storage_class.encode("latin-1")))
    if tags := tags_in(own):
        headers.append((b"x-amz-tagging-count", b"%d" % len(tags)))
    found = checksums.kept_in(own) if with_checksum else None
    if found is not None:
        algorithm, text = found
        headers.append((checksums.header_name(algorithm), text.encode("ascii", "replace")))
        headers.append((checksums.TYPE, checksums.FULL_OBJECT.encode("ascii")))
    return headers
