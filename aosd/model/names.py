"""Which names doors take: of the plain door's objects, of buckets, of keys."""

from __future__ import annotations

import ipaddress
import re

from aosd.model.errors import BadRequest
from aosd.model.objects import SYSTEM_BUCKET

_OBJECT_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_RESERVED = frozenset({SYSTEM_BUCKET, "minio"})
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_LONGEST_KEY_BYTES = 1024
_LONGEST_SEGMENT_BYTES = 255


def is_object_id(text: str) -> bool:
    """Whether `text` is an id of the plain door: 1 to 32 of A-Z, a-z, 0-9."""
    return _OBJECT_ID.fullmatch(text) is not None


def check_bucket_name(name: str) -> None:
    """Raise BadRequest for a name that no bucket of clients can have.

    S3's rules, and `minio`, which MinIO keeps for itself, and our own bucket's.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    well = (
        _BUCKET.fullmatch(name) is not None
        and ".." not in name
        and not name.startswith(_RESERVED_STARTS)
        and not name.endswith(_RESERVED_ENDS)
        and name not in _RESERVED
        and not _is_address(name)
    )
    if not well:
        raise BadRequest("no bucket can have this name", "InvalidBucketName")


def is_bucket_name(name: str) -> bool:
    """Whether a bucket of clients can have this name."""
    try:
        check_bucket_name(name)
    except BadRequest:
        return False
    return True


def check_key(key: str) -> None:
    """Raise BadRequest for a key that S3 or some make of node can't keep as it is.

    1 to 1,024 bytes of UTF-8; no backslash and no NUL; none of its segments (between slashes)
    empty but the last, `.` or `..`, or over 255 bytes.
    """
    try:
        data = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest("the key isn't UTF-8", "InvalidArgument") from error
    if not data:
        raise BadRequest("a key has one byte at least", "InvalidArgument")
    if len(data) > _LONGEST_KEY_BYTES:
        raise BadRequest(f"a key has {_LONGEST_KEY_BYTES} bytes at most", "KeyTooLongError")
    if b"\\" in data or b"\0" in data:
        raise BadRequest(
            "some nodes fold keys with a backslash or a NUL", "XMinioInvalidObjectName"
        )
    *folders, last = data.split(b"/")
    if any(not each for each in folders):
        raise _folded("with an empty segment")
    for segment in (*folders, last):
        if segment in (b".", b".."):
            raise _folded("with . or .. as a segment")
        if len(segment) > _LONGEST_SEGMENT_BYTES:
            raise _folded(f"with over {_LONGEST_SEGMENT_BYTES} bytes between slashes")


def why_no_key(key: str) -> str:
    """Why no client can ask for an object with this key; "" when one can."""
    try:
        check_key(key)
    except BadRequest as error:
        return str(error)
    return ""


def check_folder(key: str, size_bytes: int | None) -> None:
    """Raise BadRequest for what has bytes, or may have them, under a key that ends in `/`.

    Some nodes have a folder in its place, and drop the bytes. None: nobody knows how many.
    """
    if key.endswith("/") and size_bytes != 0:
        raise BadRequest(
            "some nodes keep no bytes under a key that ends in /: it can only be empty",
            "XMinioInvalidObjectName",
        )


def _folded(what: str) -> BadRequest:
    return BadRequest(f"some nodes fold or refuse keys {what}", "XMinioInvalidObjectName")


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
