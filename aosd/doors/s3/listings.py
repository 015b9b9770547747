"""Listing objects: ListObjects, ListObjectsV2, ListObjectVersions."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.owner import owner
from aosd.doors.s3.queries import encoding_of, number_of
from aosd.doors.s3.xml_out import (
    Markup,
    document,
    element,
    elements,
    escaped,
    iso_date,
    url_encoded,
)
from aosd.gateway.list import Listing, list_objects
from aosd.model.objects import Entry

_MOST_KEYS = 1000
_PLAIN_ETAG = re.compile('"[0-9a-f-]*"')


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all three have in common; `named` writes a name as it was asked for."""

    prefix: str
    delimiter: str
    limit: int
    encoded: bool

    def named(self, text: str) -> str:
        return url_encoded(text) if self.encoded else text

    def echo(self) -> Markup:
        """What every answer repeats of the request."""
        return elements(
            Prefix=self.named(self.prefix),
            Delimiter=self.named(self.delimiter) if self.delimiter else None,
            MaxKeys=self.limit,
            EncodingType="url" if self.encoded else None,
        )


def _asked(call: Call) -> _Asked:
    query = call.query
    return _Asked(
        query.get("prefix", ""),
        query.get("delimiter", ""),
        number_of(query, "max-keys", _MOST_KEYS, 0, _MOST_KEYS),
        encoding_of(query),
    )


async def list_objects_v1(call: Call) -> None:
    """ListObjects: goes on from `marker`, a key or a common prefix."""
    asked, marker = _asked(call), call.query.get("marker", "")
    listing = await _list(call, asked, marker)
    owned = owner()
    call.write_xml(
        document(
            "ListBucketResult",
            elements(Name=call.bucket, Marker=asked.named(marker)),
            asked.echo(),
            elements(
                IsTruncated=_boolean(listing.more),
                NextMarker=asked.named(listing.last) if listing.more else None,
            ),
            contents(listing.entries, asked.named, owned),
            *_common(listing, asked),
        )
    )


async def list_objects_v2(call: Call) -> None:
    """ListObjectsV2: goes on from a token, or from `start-after`."""
    asked, query = _asked(call), call.query
    if query["list-type"] != "2":
        raise S3Error("InvalidArgument", "list-type can only be 2")
    token = query.get("continuation-token")
    start_after = query.get("start-after", "")
    listing = await _list(call, asked, _position(token) if token else start_after)
    owned = owner() if query.get("fetch-owner") == "true" else None
    call.write_xml(
        document(
            "ListBucketResult",
            elements(Name=call.bucket),
            asked.echo(),
            elements(
                StartAfter=asked.named(start_after) if start_after else None,
                ContinuationToken=token,
                KeyCount=len(listing.entries) + len(listing.prefixes),
                IsTruncated=_boolean(listing.more),
                NextContinuationToken=_token(listing.last) if listing.more else None,
            ),
            contents(listing.entries, asked.named, owned),
            *_common(listing, asked),
        )
    )


async def list_object_versions(call: Call) -> None:
    """ListObjectVersions: each object is its only version, whose id is `null`."""
    asked, marker = _asked(call), call.query.get("key-marker", "")
    listing = await _list(call, asked, marker)
    call.write_xml(
        document(
            "ListVersionsResult",
            elements(
                Name=call.bucket,
                KeyMarker=asked.named(marker),
                VersionIdMarker=call.query.get("version-id-marker", ""),
            ),
            asked.echo(),
            elements(
                IsTruncated=_boolean(listing.more),
                NextKeyMarker=asked.named(listing.last) if listing.more else None,
                NextVersionIdMarker="null" if listing.more else None,
            ),
            *(
                element(
                    "Version",
                    elements(Key=asked.named(each.key), VersionId="null", IsLatest="true"),
                    Markup(_facts(each)),
                    owner(),
                )
                for each in listing.entries
            ),
            *_common(listing, asked),
        )
    )


async def _list(call: Call, asked: _Asked, after: str) -> Listing:
    call.store.buckets.check(call.bucket)
    return await list_objects(
        call.store,
        call.bucket,
        prefix=asked.prefix,
        after=after,
        limit=asked.limit,
        delimiter=asked.delimiter,
    )


def contents(entries: Sequence[Entry], named: Callable[[str], str], owned: Markup | None) -> Markup:
    """Objects as a page tells them; `named` writes a key, `owned` is their owner, if told."""
    end = f"{owned or ''}</Contents>"
    return Markup(
        "".join(
            f"<Contents><Key>{escaped(named(each.key))}</Key>{_facts(each)}{end}"
            for each in entries
        )
    )


def _facts(entry: Entry) -> str:
    # A thousand times a page: no element by element, and hardly an ETag is an odd one.
    etag = entry.etag
    is_plain = _PLAIN_ETAG.fullmatch(etag) is not None
    etag = f"&quot;{etag[1:-1]}&quot;" if is_plain else escaped(etag)
    return (
        f"<LastModified>{iso_date(entry.modified_s)}</LastModified>"
        f"<ETag>{etag}</ETag>"
        f"<Size>{entry.size_bytes}</Size>"
        "<StorageClass>STANDARD</StorageClass>"
    )


def _common(listing: Listing, asked: _Asked) -> list[Markup]:
    return [
        element("CommonPrefixes", elements(Prefix=asked.named(each))) for each in listing.prefixes
    ]


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _token(last: str) -> str:
    return urlsafe_b64encode(last.encode("utf-8", "surrogatepass")).decode("ascii")


def _position(token: str) -> str:
    try:
        # Strictly: what is made of half a token would list from somewhere else.
        return b64decode(token.encode("ascii"), b"-_", validate=True).decode("utf-8")
    except (Base64Error, ValueError) as error:
        raise S3Error("InvalidArgument", "the continuation token is none of ours") from error
