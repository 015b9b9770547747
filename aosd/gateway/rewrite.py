"""Changing what aosd keeps of an object beside its bytes: its tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aosd.gateway.finishing import written_of
from aosd.gateway.get import get, head
from aosd.gateway.parts import sizes_of_parts
from aosd.gateway.put import Writing, check_headers, put
from aosd.gateway.requests import Get, Put, Written
from aosd.gateway.sent import check_taken, targets
from aosd.gateway.store import Store, cluster_errors
from aosd.gateway.upload import Upload
from aosd.model.conditions import Conditions
from aosd.model.errors import (
    DigestMismatch,
    NoSuchKey,
    Overtaken,
    PreconditionFailed,
    RangeNotSatisfiable,
    UpstreamNonsense,
)
from aosd.model.objects import Headers, ObjectHead, Span
from aosd.model.parts import count_of_parts, md5_of
from aosd.model.ranges import ByteRange
from aosd.ports import IBodySource
from aosd.streams.nothing import NothingSent
from aosd.streams.source import ReadingSource

_TRIES = 5

Change = Callable[[ObjectHead], Headers]
"""What aosd's own metadata is to be, of a version with this head."""


async def rewrite(store: Store, bucket: str, key: str, change: Change) -> Written:
    """Write the object again with other metadata of aosd's own; returns as a PUT does.

    Bytes, the client's headers and the ETag stay: what was uploaded in parts goes in the same
    parts again. When another write comes between, it starts over, with that one's head.

    Raises NoSuchKey, BadRequest (MetadataTooLarge), Overtaken when that goes on and on, or a
    ClusterError: the change may still appear then.
    """
    for _ in range(_TRIES - 1):
        try:
            return await _rewrite(store, bucket, key, change)
        except Overtaken:
            continue
    return await _rewrite(store, bucket, key, change)


async def _rewrite(store: Store, bucket: str, key: str, change: Change) -> Written:
    found = (await head(store, Get(bucket, key))).head
    own = change(found)
    check_headers(found.headers, own)
    if count_of_parts(found.etag) is not None:
        parts = Put(bucket, key, NothingSent(), found.headers, own=own, over=found.is_like)
        with store.writes.under_way():
            return await _InParts(store, parts).run_like(found)
    body = await _read(store, bucket, key, found.etag, Span(0, found.size_bytes))
    md5 = md5_of(found.etag)
    try:
        whole = Put(bucket, key, body, found.headers, content_md5=md5, own=own, over=found.is_like)
        return await put(store, whole)
    except DigestMismatch as error:
        # Bytes that rotted must not spread under a new stamp.
        raise UpstreamNonsense("the object isn't what its ETag says") from error
    finally:
        body.discard()


class _InParts(Writing):
    """A PUT whose parts are bodies of their own: those of what is there already."""

    async def run_like(self, found: ObjectHead) -> Written:
        """Write what is there, which has this head, in the parts it was uploaded in.

        Each flows from wherever it can be read; none is held, however long it is.
        """
        store, bucket, key = self._store, self._bucket, self._key
        with cluster_errors():
            sizes = await sizes_of_parts(store, bucket, key, found)
            check_taken(store)
            store.buckets.check(bucket)
            nodes = targets(store, bucket, key)
            flight = store.writes.flight(bucket, key)
            stamp = store.stamps.next()
            upload = Upload(store, bucket, key, nodes, stamp)
            try:
                await upload.create(self._headers(stamp, whole=False))
                await self._send(upload, found.etag, sizes)
                # Before the Complete: other bytes with a newer stamp would count.
                if upload.etags != {found.etag}:
                    raise UpstreamNonsense("the object isn't what its ETag says")
                (end,) = await self._take_turn(lambda: self._complete(upload, stamp, flight))
                return written_of(await end)
            except BaseException:
                if not upload.completing:
                    # Whoever leaves cancels us, here too.
                    await store.to_the_end.run(upload.abort())
                raise
            finally:
                flight.end()

    async def _send(self, upload: Upload, etag: str, sizes: Sequence[int]) -> None:
        first = 0
        for size_bytes in sizes:
            if not size_bytes:
                await upload.put_part([])
                continue
            span = Span(first, size_bytes)
            body = await _read(self._store, self._bucket, self._key, etag, span)
            try:
                await upload.flow_part(body)
            finally:
                body.discard()
            first += size_bytes


async def _read(store: Store, bucket: str, key: str, etag: str, span: Span) -> IBodySource:
    """These bytes of what has that ETag, as a body; Overtaken when there is another one now."""
    if not span.length:
        return NothingSent()
    wanted = ByteRange(span.first, span.first + span.length - 1)
    try:
        reading = (await get(store, Get(bucket, key, Conditions(if_match=etag), wanted))).reading
    except (NoSuchKey, PreconditionFailed, RangeNotSatisfiable) as error:
        raise Overtaken("another write of it came between") from error
    assert reading is not None
    return ReadingSource(reading)
