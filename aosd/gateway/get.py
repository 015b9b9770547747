"""Reading an object."""

from __future__ import annotations

from aosd.gateway.requests import Found, Get
from aosd.gateway.store import Store, cluster_errors
from aosd.model.conditions import Verdict, check_read, if_range_holds
from aosd.model.errors import NoSuchKey, NotModified, PreconditionFailed, RangeNotSatisfiable
from aosd.model.objects import Headers, ObjectHead
from aosd.model.ranges import ByteRange
from aosd.model.stamp import is_stamp, stamp_time_s
from aosd.ports import IReading

_REPEATED_BY_304 = (b"cache-control", b"expires")


async def head(store: Store, request: Get) -> Found:
    """The object's head; a range is ignored (RFC 9110, section 14.2).

    Raises NoSuchKey, NotModified, PreconditionFailed, or a ClusterError.
    """
    with cluster_errors():
        found = await store.look(request.bucket, request.key)
    if found is None:
        raise NoSuchKey("no such object")
    return Found(found, _judge(request, found))


async def get(store: Store, request: Get) -> Found:
    """The object, its body waiting to be delivered.

    Raises what `head` does, and RangeNotSatisfiable. Cancelling releases the node.
    """
    with cluster_errors():
        wanted = await _wanted(store, request)
        try:
            reading = await _open(store, request, wanted)
        except RangeNotSatisfiable:
            # Conditions come before ranges (RFC 9110, section 13.2.2).
            if request.conditions:
                await head(store, request)
            raise
    try:
        modified_s = _judge(request, reading.head)
    except Exception:
        reading.abandon()
        raise
    return Found(reading.head, modified_s, reading, partial=wanted is not None)


async def _open(store: Store, request: Get, wanted: ByteRange | None) -> IReading:
    bucket, key = request.bucket, request.key
    try:
        return await store.primaries(bucket, key)[0].get(bucket, key, wanted)
    except NoSuchKey:
        copy = await store.elsewhere(bucket, key)
        if copy is None:
            raise
        return await copy[0].get(bucket, key, wanted)


async def _wanted(store: Store, request: Get) -> ByteRange | None:
    """The range to ask for: none when If-Range names another version than the present one."""
    if request.wanted is None or request.if_range is None:
        return request.wanted
    present = await store.look(request.bucket, request.key)
    if present is None:
        raise NoSuchKey("no such object")
    holds = if_range_holds(request.if_range, present.etag, last_modified_s(present))
    return request.wanted if holds else None


def last_modified_s(head: ObjectHead) -> int:
    """Last-Modified as clients see it: the stamp's time, the same on every copy."""
    if head.stamp is not None and is_stamp(head.stamp):
        return stamp_time_s(head.stamp)
    return head.modified_s


def _judge(request: Get, found: ObjectHead) -> int:
    modified_s = last_modified_s(found)
    verdict = check_read(request.conditions, found.etag, modified_s)
    if verdict is Verdict.FAILED:
        raise PreconditionFailed("a condition of the request doesn't hold")
    if verdict is Verdict.NOT_MODIFIED:
        raise NotModified(found.etag, modified_s, _kept_by_304(found.headers))
    return modified_s


def _kept_by_304(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name in _REPEATED_BY_304)
