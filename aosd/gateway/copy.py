"""Copying an object: a new write, of what a read found."""

from __future__ import annotations

from aosd.gateway.get import get
from aosd.gateway.put import check_headers, put
from aosd.gateway.requests import Copy, Found, Get, Put, Written
from aosd.gateway.store import Store
from aosd.model.conditions import valid_for_write
from aosd.model.errors import (
    BadRequest,
    DigestMismatch,
    NotModified,
    Overtaken,
    PreconditionFailed,
    UpstreamNonsense,
)
from aosd.model.objects import OWN_METADATA, Headers, ObjectHead
from aosd.model.parts import md5_of
from aosd.streams.source import ReadingSource

_CHECKSUM = OWN_METADATA + b"checksum-"
_TRIES = 5  # of a copy onto itself, when others write the key meanwhile


async def copy(store: Store, request: Copy) -> Written:
    """Copy the object; returns when R nodes have it, as a PUT does.

    The bytes go through the gateway, from a node that has them to the target's nodes: a node
    could copy by itself only where it holds both, and would give an object of parts an ETag of
    its own making. The copy is a write of its own, with a stamp and an ETag of its own: the MD5
    of its bytes, but of one over `Limits.single_put_bytes`, which goes in parts.

    A copy of an object onto itself (that is how S3 clients rewrite metadata) is a change of what
    was read: when other bytes, or other metadata that is to stay, came between, it starts over.

    Raises what `put` does, NoSuchKey, PreconditionFailed also where a read would say
    NotModified, and BadRequest for a copy onto itself that changes nothing.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    if request.headers is not None:
        check_headers(request.headers)
    valid_for_write(request.conditions)
    onto_itself = (request.bucket, request.key) == (request.source_bucket, request.source_key)
    for _ in range(_TRIES - 1 if onto_itself else 0):
        try:
            return await _copy(store, request, onto_itself)
        except Overtaken:
            continue
    return await _copy(store, request, onto_itself)


async def _copy(store: Store, request: Copy, onto_itself: bool) -> Written:
    found = await _found(store, request)
    assert found.reading is not None
    body, head = ReadingSource(found.reading), found.head
    try:
        own = own_of_copy(head.own, request.own)
        if onto_itself and request.headers is None and set(own) == set(head.own):
            raise BadRequest(
                "This copy request is illegal because it is trying to copy an object to itself "
                "without changing the object's metadata, storage class, website redirect "
                "location or encryption attributes."
            )

        def is_same(there: ObjectHead) -> bool:
            if request.headers is None:
                return there.is_like(head)
            return there.etag == head.etag and set(there.own) == set(head.own)

        return await put(
            store,
            Put(
                request.bucket,
                request.key,
                body,
                headers=head.headers if request.headers is None else request.headers,
                conditions=request.conditions,
                own=without_composites(own),
                content_md5=md5_of(head.etag),
                over=is_same if onto_itself else None,
            ),
        )
    except DigestMismatch as error:
        # Bytes that rotted must not spread under an ETag of their own.
        raise UpstreamNonsense("the source isn't what its ETag says") from error
    finally:
        body.discard()


async def _found(store: Store, request: Copy) -> Found:
    wanted = Get(
        request.source_bucket,
        request.source_key,
        conditions=request.source_conditions,
        newest=request.newest,
    )
    try:
        return await get(store, wanted)
    except NotModified as error:
        raise PreconditionFailed("a condition on the source doesn't hold") from error


def own_of_copy(source: Headers, instead: Headers) -> Headers:
    """Our own metadata of a copy: the source's, but for what is given `instead`."""
    given = {name for name, _ in instead}
    kept = (each for each in source if each[0] not in given)
    return (*kept, *(each for each in instead if each[1]))


def without_composites(own: Headers) -> Headers:
    """It, without checksums that are made of parts' checksums: a copy has other parts."""
    return tuple(
        (name, value) for name, value in own if not (name.startswith(_CHECKSUM) and b"-" in value)
    )
