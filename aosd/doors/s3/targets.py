"""What an S3 request is about: bucket, key and query, from the raw target and the Host header.

The raw target, because what decodes paths on the way (Klein does) loses what S3 keys may
have: `//`, `%2F`, a trailing slash.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from aosd.doors.s3.errors import S3Error


@dataclass(frozen=True, slots=True)
class Target:
    """`bucket` "" for the service, `key` "" for a bucket; both decoded, and nothing checked.

    `query`: names and their first values, decoded; "" for a name without one.
    """

    bucket: str
    key: str
    query: Mapping[str, str]


def parse_target(uri: bytes, host: bytes, domain: str | None) -> Target:
    """The target of a request in origin form (`/path?query`).

    In virtual-host style the bucket is what stands in `host` before `domain`; otherwise it is
    the path's first segment. Raises S3Error InvalidURI for what isn't UTF-8.
    """
    path, _, raw_query = uri.partition(b"?")
    bucket = bucket_of_host(host, domain)
    if bucket is None:
        first, _, rest = path.removeprefix(b"/").partition(b"/")
        bucket, key = _decoded(first), _decoded(rest)
    else:
        key = _decoded(path.removeprefix(b"/"))
    query: dict[str, str] = {}
    for item in raw_query.split(b"&"):
        name, _, value = item.partition(b"=")
        if name:
            query.setdefault(
                _decoded(name.replace(b"+", b" ")), _decoded(value.replace(b"+", b" "))
            )
    return Target(bucket, key, query)


def bucket_of_host(host: bytes, domain: str | None) -> str | None:
    """The bucket that a Host header names before `domain`; None for path style."""
    if domain is None:
        return None
    name, _, port = host.decode("latin-1").lower().rpartition(":")
    if not name or not port.isdigit():
        name = host.decode("latin-1").lower()
    bucket, found, rest = name.rpartition("." + domain.lower())
    return bucket if found and not rest and bucket else None


def _decoded(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "the request's target isn't UTF-8") from error
