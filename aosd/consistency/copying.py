"""One object from one node to another: the same there, and over nothing that is newer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.consistency.buckets import in_bucket
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.model.errors import (
    DigestMismatch,
    NodeNonsense,
    NoSuchKey,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.objects import STAMP_HEADER, Headers, ObjectHead
from aosd.model.parts import count_of_parts, etag_of_parts, md5_of
from aosd.model.ranges import ByteRange
from aosd.model.stamp import StampClock, is_stamp
from aosd.model.versions import version_of
from aosd.ports import INode, IReading
from aosd.streams.bodies import HeldBody
from aosd.streams.budget import MemoryBudget
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout, drop_when_over
from aosd.streams.reader import BodyReader
from aosd.streams.source import ReadingSource

_HELD_BYTES = 1024 * 1024


class IRemembered(Protocol):
    """What copying has to know of the journal."""

    def delete_of(self, bucket: str, key: str) -> str | None:
        """The stamp of the key's newest delete on record."""

    def counts_as(self, bucket: str, key: str, stamp: str) -> str:
        """What a copy's stamp counts as."""


class Copier:
    """Copies objects from node to node.

    Bodies up to `held_bytes` are read and sent at the key's turn; longer ones flow, and
    only their last bytes, or the Complete of their parts, wait for it. `clear_beneath` comes
    before: see repair/beneath.py.
    """

    def __init__(
        self,
        *,
        turns: Turns,
        writes: Writes,
        journal: IRemembered,
        budget: MemoryBudget,
        uploads: Uploads,
        stamps: StampClock,
        held_bytes: int = _HELD_BYTES,
    ) -> None:
        self.turns = turns
        self.writes = writes
        self.journal = journal
        self.budget = budget
        self.uploads = uploads
        self.stamps = stamps
        self.held_bytes = held_bytes
        self.clear_beneath: Callable[[INode, str, str], Coroutine[Any, Any, None]] = _nothing

    async def copy(
        self,
        source: INode,
        target: INode,
        bucket: str,
        key: str,
        head: ObjectHead,
        at_turn: Callable[[], object] = lambda: None,
    ) -> bool:
        """Copy what `source` has, which is as `head` says; True when `target` has it now.

        False when a second look, at the key's turn, found that it isn't to be copied any
        more: `source` has another version, there is a newer delete on record, or `target`
        has something newer. Headers, stamp and ETag are the source's (a foreign object's
        stamp is written out). Not to be called by who has the key's turn.

        Raises a NodeError, SlowDown, or NoQuorum when one that goes in parts can't be
        remembered. After an error of `target` that isn't a refusal, the copy may appear there
        yet: the caller leaves a mark. Cancelling aborts it, unless it has the key's turn, which
        `at_turn` is told: it goes on to its end then.
        """
        await self.clear_beneath(target, bucket, key)

        def once() -> Deferred[bool]:
            copying = _Copying(self, source, target, bucket, key, head, at_turn)
            return Deferred.fromCoroutine(self._copy(copying, head))

        return await in_bucket(target, bucket, once)

    async def _copy(self, copying: _Copying, head: ObjectHead) -> bool:
        parts = count_of_parts(head.etag)
        if parts is not None:
            return await copying.in_parts(parts)
        if head.size_bytes <= self.held_bytes:
            return await copying.held()
        return await copying.flowing()


class _Copying:
    """One copy under way."""

    def __init__(
        self,
        copier: Copier,
        source: INode,
        target: INode,
        bucket: str,
        key: str,
        head: ObjectHead,
        at_turn: Callable[[], object],
    ) -> None:
        self._at_turn = at_turn
        self._copier = copier
        self._source = source
        self._target = target
        self._bucket = bucket
        self._key = key
        self._head = head
        self._version = version_of(head, self._counts_as)

    # -- three ways for a body to go ------------------------------------------------------------

    async def held(self) -> bool:
        """All of it at the turn."""
        copier, size_bytes = self._copier, self._head.size_bytes
        await copier.budget.acquire(size_bytes)
        try:
            return await copier.turns.take(self._bucket, self._key, self._held_at_turn)
        finally:
            copier.budget.release(size_bytes)

    async def _held_at_turn(self) -> bool:
        self._at_turn()
        known = await self._look_at_target()
        if known is not None:
            return known
        reading = await self._read()
        if reading is None:
            return False
        digests = self._digests()
        reader = BodyReader(ReadingSource(reading), digests)
        pieces = await reader.read(self._head.size_bytes)
        await reader.more()  # no more bytes, but the end, which lets go of the connection
        self._check(digests)
        self._effect()
        body = HeldBody(pieces)
        try:
            etag = await self._target.put(self._bucket, self._key, body, self._headers())
        except DigestMismatch as error:
            raise NodeNonsense(self._target.name, "other bytes came to it") from error
        return await self._stored(etag)

    async def flowing(self) -> bool:
        """Through the gateway as it comes, but for its last bytes."""
        reading = await self._read()
        if reading is None:
            return False
        digests = self._digests()
        fanout = Fanout(ReadingSource(reading), 1, digests)
        branch = fanout.branches[0]
        target = self._target
        sending = target.put(self._bucket, self._key, branch, self._headers())
        putting = _Flow(target.name, fanout, sending)

        async def act() -> bool:
            self._at_turn()
            known = await self._second_look()
            if known is not None:
                await putting.abort(Failure(CancelledError()))
                return known
            self._effect()
            fanout.release()
            return await self._stored(await putting.etag())

        try:
            await fanout.last_in_hand
            self._check(digests)
            return await self._copier.turns.take(self._bucket, self._key, act)
        except DigestMismatch as error:
            raise NodeNonsense(target.name, "other bytes came to it") from error
        except BaseException:
            if not fanout.released:
                await putting.abort(Failure())
            raise

    async def in_parts(self, count: int) -> bool:
        """Part by part as it was uploaded, or its ETag would be another."""
        target, bucket, key = self._target, self._bucket, self._key
        uploads, upload = self._copier.uploads, self._copier.stamps.next()
        at_turn = False

        async def complete(upload_id: str, etags: list[str]) -> bool:
            nonlocal at_turn
            at_turn = True
            self._at_turn()
            try:
                known = await self._second_look()
                if known is not None:
                    return known
                self._effect()
                parts = tuple(enumerate(etags, 1))
                etag = await target.complete_upload(bucket, key, upload_id, parts)
                uploads.ended(upload, target.name)
                return await self._stored(etag)
            finally:
                await end()

        async def end() -> None:
            await uploads.abort(upload, target)
            await uploads.over(upload)

        await uploads.begin(upload, bucket, key, [target.name])
        try:
            upload_id = await uploads.create(upload, target, self._headers(whole=False))
            etags = await self._put_parts(upload_id, count)
            if etags is None:
                return False
            return await self._copier.turns.take(bucket, key, lambda: complete(upload_id, etags))
        finally:
            # A turn goes on to its end, whoever has left.
            if not at_turn:
                await end()

    # -- parts ----------------------------------------------------------------------------------

    async def _put_parts(self, upload_id: str, count: int) -> list[str] | None:
        """The parts' ETags, which make the object's; None when it has changed."""
        etags: list[str] = []
        first = 0
        try:
            sizes = await self._source.part_sizes(self._bucket, self._key, self._head.etag)
        except (NoSuchKey, PreconditionFailed):
            return None
        if len(sizes) != count or sum(sizes) != self._head.size_bytes:
            raise NodeNonsense(self._source.name, "it can't tell an object's parts")
        for number, size_bytes in enumerate(sizes, 1):
            etag = await self._put_part(upload_id, number, first, size_bytes)
            if etag is None:
                return None
            etags.append(etag)
            first += size_bytes
        # Before the Complete: a wrong copy with a right stamp might count.
        if etag_of_parts(etags) != self._head.etag:
            raise NodeNonsense(self._target.name, "parts that it took make another ETag")
        return etags

    async def _put_part(
        self, upload_id: str, number: int, first: int, size_bytes: int
    ) -> str | None:
        target, bucket, key = self._target, self._bucket, self._key
        if not size_bytes:
            return await target.put_part(bucket, key, upload_id, number, HeldBody([]))
        reading = await self._read(ByteRange(first, first + size_bytes - 1))
        if reading is None:
            return None
        fanout = Fanout(ReadingSource(reading), 1, Digests({}))
        branch = fanout.branches[0]
        sending = target.put_part(bucket, key, upload_id, number, branch)
        putting = _Flow(target.name, fanout, sending)
        try:
            await fanout.last_in_hand
            fanout.release()
            return await putting.etag()
        except BaseException:
            if not fanout.released:
                await putting.abort(Failure())
            raise

    # -- looking --------------------------------------------------------------------------------

    async def _second_look(self) -> bool | None:
        """At the turn: None to go on, otherwise what `copy` is to return."""
        known = await self._look_at_target()
        if known is not None:
            return known
        return False if await self._is_changed() else None

    async def _is_changed(self) -> bool:
        """Whether the source has another version now, or none."""
        try:
            there = await self._source.head(self._bucket, self._key)
        except NoSuchKey:
            return True
        return version_of(there, self._counts_as) != self._version

    async def _look_at_target(self) -> bool | None:
        # What the stamp counts as may have changed since, for the journal.
        version = version_of(self._head, self._counts_as)
        if version != self._version:
            return False
        if (self._copier.journal.delete_of(self._bucket, self._key) or "") > version.stamp:
            return False
        try:
            there = await self._target.head(self._bucket, self._key)
        except NoSuchKey:
            return None
        found = version_of(there, self._counts_as)
        return None if found < version else found == version

    async def _read(self, wanted: ByteRange | None = None) -> IReading | None:
        """The source's copy, or a range of it; None when that isn't the version any more."""
        try:
            reading = await self._source.get(self._bucket, self._key, wanted, self._head.etag)
        except (NoSuchKey, PreconditionFailed):
            return None
        except RangeNotSatisfiable as error:
            raise NodeNonsense(self._source.name, "its copy is shorter than it said") from error
        if version_of(reading.head, self._counts_as) != self._version:
            reading.abandon()
            return None
        if reading.head.size_bytes != self._head.size_bytes:
            reading.abandon()
            raise NodeNonsense(self._source.name, "one version has two sizes")
        return reading

    def _counts_as(self, stamp: str) -> str:
        return self._copier.journal.counts_as(self._bucket, self._key, stamp)

    # -- what goes out, and what came of it -----------------------------------------------------

    def _digests(self) -> Digests:
        """What the bytes must hash to, where the ETag tells."""
        md5 = md5_of(self._head.etag)
        return Digests({"Content-MD5": md5} if md5 else {})

    def _check(self, digests: Digests) -> None:
        try:
            digests.check()
        except DigestMismatch as error:
            # Bytes that rotted must not spread under a right stamp.
            name = self._source.name
            raise NodeNonsense(name, "its copy isn't what its ETag says") from error

    def _headers(self, whole: bool = True) -> Headers:
        stamp = self._head.stamp or ""
        if not is_stamp(stamp):
            stamp = self._version.stamp
        head = self._head
        headers = [*head.headers, *head.own, (STAMP_HEADER, stamp.encode("ascii"))]
        md5 = md5_of(head.etag)
        if whole and md5:
            headers.append((b"content-md5", b64encode(md5)))
        return tuple(headers)

    def _effect(self) -> None:
        self._copier.writes.effect(self._bucket, self._key, self._version.stamp)

    async def _stored(self, etag: str) -> bool:
        # Who began to look while the answer was under way has to know, too.
        self._effect()
        if etag == self._head.etag:
            return True
        # Of equal stamps the greater ETag counts: it mustn't stay beside the right ones.
        await self._target.delete(self._bucket, self._key)
        raise NodeNonsense(self._target.name, "a copy on it got another ETag")


class _Flow:
    """A PUT whose body is a fanout's only branch."""

    def __init__(self, node: str, fanout: Fanout, putting: Deferred[str]) -> None:
        self._fanout = fanout
        self._etag = ""
        self._failure: Failure | None = None
        storing = drop_when_over(putting, fanout, fanout.branches[0], node)
        self._over = storing.addCallbacks(self._answered, self._failed)

    async def etag(self) -> str:
        """What the node answers; raises what it failed with."""
        await self._over
        if self._failure is not None:
            self._failure.raiseException()
        return self._etag

    async def abort(self, reason: Failure) -> None:
        """End it without its last bytes; returns when the request is over."""
        self._fanout.abort(reason)
        await DeferredList([self._over], consumeErrors=True)

    def _answered(self, etag: str) -> None:
        self._etag = etag

    def _failed(self, failure: Failure) -> None:
        self._failure = failure


async def _nothing(target: INode, bucket: str, key: str) -> None:
    """Where nothing is hidden, nothing has to go."""
