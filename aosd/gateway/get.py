"""Reading an object."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.gateway.look import (
    LOOKS,
    Located,
    before,
    bring_to_light,
    check_nothing_hidden,
    judge,
    look,
)
from aosd.gateway.parts import Part, part_of
from aosd.gateway.requests import Found, Get
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.model.conditions import Verdict, check_read, if_range_holds
from aosd.model.errors import (
    BadRequest,
    NodeError,
    NodeUnavailable,
    NoQuorum,
    NoSuchKey,
    NotModified,
    Overtaken,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.objects import Headers, ObjectHead, Span
from aosd.model.ranges import ByteRange
from aosd.model.stamp import is_stamp, stamp_time_s
from aosd.model.versions import foreign_time_s
from aosd.ports import Candidate, IReading
from aosd.streams.nothing import NothingRead
from aosd.streams.resumed import ResumedReading

_REPEATED_BY_304 = (b"cache-control", b"expires")
_TRIES = 3  # of one node, when others fail in mid-body


async def head(store: Store, request: Get) -> Found:
    """The object's head; a range is ignored (RFC 9110, section 14.2).

    Raises NoSuchBucket, NoSuchKey, NotModified, PreconditionFailed, BadRequest when there is no
    such part, or a ClusterError.
    """
    store.buckets.check_read(request.bucket)
    with cluster_errors():
        if request.part is not None:
            found, part = await _find_part(store, request, request.part)
            return _found(store, request, found, None, part)
        return _found(store, request, await _find(store, request), None, None)


async def _find(store: Store, request: Get) -> ObjectHead:
    found = (await look(store, request.bucket, request.key, newest=request.newest)).head
    if found is None:
        raise NoSuchKey("no such object")
    return found


async def _find_part(store: Store, request: Get, number: int) -> tuple[ObjectHead, Part]:
    """The head of the object, and where the part lies in it."""
    for _ in range(LOOKS):
        found = await _find(store, request)
        # Conditions come first: who has the object needn't know of its parts.
        _judge(store, request, found)
        with suppress(Overtaken):
            return found, await part_of(store, request.bucket, request.key, found, number)
    raise NoQuorum("the object is changing")


async def get(store: Store, request: Get) -> Found:
    """The object, its body waiting to be delivered.

    A node that fails in the middle of it is replaced by another copy of the same version.
    Raises what `head` does, and RangeNotSatisfiable. Cancelling releases the node.
    """
    store.buckets.check_read(request.bucket)
    with cluster_errors():
        if request.part is not None:
            return await _get_part(store, request, request.part)
        try:
            reading, partial = await _open(store, request)
        except RangeNotSatisfiable:
            # Conditions come before ranges (RFC 9110, section 13.2.2).
            if request.conditions:
                await head(store, request)
            raise
    return _found(store, request, reading.head, reading, None, partial)


async def _get_part(store: Store, request: Get, number: int) -> Found:
    if request.wanted is not None:
        raise BadRequest("Range and partNumber can't be asked for together")
    for _ in range(LOOKS):
        found, part = await _find_part(store, request, number)
        span = part.span
        if not span.length and found.size_bytes:
            # Nothing to read, nor a range that says so.
            return _found(store, request, found, NothingRead(found, span), part)
        last = span.first + span.length - 1
        wanted = ByteRange(span.first, last) if span.length else None
        try:
            reading = await _Opening(store, request, wanted).open()
        except RangeNotSatisfiable:
            continue  # it is a shorter one now
        if reading.head.etag == found.etag:
            return _found(store, request, reading.head, reading, part)
        reading.abandon()
    raise NoQuorum("the object is changing")


def _found(
    store: Store,
    request: Get,
    head: ObjectHead,
    reading: IReading | None,
    part: Part | None,
    partial: bool = False,
) -> Found:
    """What the door gets, if the conditions hold."""
    try:
        modified_s = _judge(store, request, head)
    except Exception:
        if reading is not None:
            reading.abandon()
        raise
    if part is None:
        return Found(head, modified_s, reading, partial)
    return Found(head, modified_s, reading, part.span.length > 0, part.span, part.count)


async def _open(store: Store, request: Get) -> tuple[IReading, bool]:
    """What was asked for of the object, and whether that is a part: judged by what was opened."""
    if request.wanted is None:
        return await _Opening(store, request, None).open(), False
    outside: RangeNotSatisfiable | None = None
    try:
        reading = await _Opening(store, request, request.wanted).open()
        if _part_is_wanted(store, request, reading.head):
            return reading, True
        reading.abandon()
    except RangeNotSatisfiable as error:
        if request.if_range is None:
            raise
        outside = error
    # If-Range names another version than the present one: all of it (RFC 9110, section 13.1.5).
    reading = await _Opening(store, request, None).open()
    if outside is not None and _part_is_wanted(store, request, reading.head):
        reading.abandon()
        raise outside
    return reading, False


def _part_is_wanted(store: Store, request: Get, found: ObjectHead) -> bool:
    modified_s = last_modified_s(store, request, found)
    return request.if_range is None or if_range_holds(request.if_range, found.etag, modified_s)


class _Opening:
    """Finding a copy to read, and another one when it fails."""

    def __init__(self, store: Store, request: Get, wanted: ByteRange | None) -> None:
        self._store = store
        self._request = request
        self._bucket = request.bucket
        self._key = request.key
        self._wanted = wanted

    async def open(self) -> IReading:
        store, bucket, key = self._store, self._bucket, self._key
        hidden = False
        if not self._request.newest:
            for candidate in store.preferred(store.settled_primaries(bucket, key)):
                try:
                    reading = await self._read(candidate, self._wanted)
                except NodeError:
                    continue  # before the head: nobody noticed
                except (NoSuchKey, RangeNotSatisfiable) as error:
                    is_missing = isinstance(error, NoSuchKey)
                    hidden = is_missing and store.may_be_hidden(bucket, key, candidate.name, None)
                    if hidden or not store.speaks_for(bucket, key, candidate.name):
                        break
                    raise
                hidden = store.may_be_hidden(bucket, key, candidate.name, reading.head)
                if not hidden and store.speaks_for(bucket, key, candidate.name):
                    return self._resumable(reading)
                # It may be alone with it; or it was away, or isn't to be asked any more.
                reading.abandon()
                break
        for _ in range(LOOKS):
            found = await self._compared(hidden=hidden)
            if found is not None:
                return self._resumable(found)
        raise NoQuorum("the object is changing")

    async def _compared(self, *, hidden: bool) -> IReading | None:
        """The version that counts of all copies; the likeliest is on its way meanwhile.

        None when copies moved meanwhile: they may have been missed where they came and where they
        went; and when what was found is gone before it could be opened. What may be `hidden` is
        brought to light when it is found.
        """
        store, bucket, key = self._store, self._bucket, self._key
        known = before(store, bucket, key)
        candidates = list(store.could_hold(bucket, key))
        likeliest = store.preferred(candidates)[:1]
        others = [each for each in candidates if each not in likeliest]
        asking = Deferred.fromCoroutine(_heads(others, bucket, key))
        reading: IReading | None = None
        try:
            answers: dict[str, ObjectHead | Exception] = {}
            for candidate in likeliest:
                try:
                    reading = await self._read(candidate, self._wanted)
                    answers[candidate.name] = reading.head
                except RangeNotSatisfiable:
                    answers |= await _heads([candidate], bucket, key)
                except (NodeError, NoSuchKey) as error:
                    answers[candidate.name] = error
            answers |= await asking
            if store.writes.has_moved(bucket, key, known.moves):
                return None
            located = judge(store, bucket, key, known, candidates, answers)
            if located.head is None:
                await check_nothing_hidden(store, bucket, key, answers)
                raise NoSuchKey("no such object")
            if hidden:
                await bring_to_light(store, bucket, key, located.holders)
            if reading is not None and likeliest[0] in located.holders:
                found, reading = reading, None
                return found
        except BaseException:
            asking.addErrback(lambda _: None)
            asking.cancel()
            raise
        finally:
            if reading is not None:
                reading.abandon()
        return await self._from_one_of(located)

    async def _from_one_of(self, located: Located) -> IReading | None:
        assert located.head is not None
        failure: NodeError | None = None
        for candidate in self._store.preferred(located.holders):
            try:
                return await self._read(candidate, self._wanted, located.head)
            except (NoSuchKey, PreconditionFailed):
                return None
            except RangeNotSatisfiable:
                assert self._wanted is not None
                self._wanted.resolve(located.head.size_bytes)
                return None  # it isn't that version any more
            except NodeError as error:
                failure = error
        if failure is not None:
            raise failure
        return None

    async def _read(
        self, candidate: Candidate, wanted: ByteRange | None, version: ObjectHead | None = None
    ) -> IReading:
        """Open a copy: of exactly this version, when one is given."""
        assert candidate.node is not None
        traffic, clock, name = self._store.traffic, self._store.clock, candidate.name
        began_s = clock.seconds()
        traffic.in_flight[name] += 1
        try:
            etag = version.etag if version is not None else None
            reading = await candidate.node.get(self._bucket, self._key, wanted, etag)
        except BaseException:
            traffic.in_flight[name] -= 1
            raise
        traffic.took(name, clock.seconds() - began_s)
        if reading.at_hand:
            traffic.in_flight[name] -= 1
            counted = reading
        else:
            counted = _Counted(reading, self._store, name)
        if version is not None and not self._same(reading.head, version):
            counted.abandon()
            raise PreconditionFailed("it has another version")
        return counted

    def _same(self, one: ObjectHead, other: ObjectHead) -> bool:
        first, second = (
            self._store.version(self._bucket, self._key, each) for each in (one, other)
        )
        return first == second

    def _resumable(self, reading: IReading) -> IReading:
        if reading.at_hand:
            return reading
        tried: list[str] = []

        async def again(version: ObjectHead, rest: Span) -> IReading:
            wanted = ByteRange(rest.first, rest.first + rest.length - 1)
            candidates = self._store.could_hold(self._bucket, self._key)
            for candidate in self._store.preferred(candidates):
                if tried.count(candidate.name) >= _TRIES:
                    continue
                tried.append(candidate.name)
                try:
                    return await self._read(candidate, wanted, version)
                except (NodeError, NoSuchKey, PreconditionFailed, RangeNotSatisfiable):
                    continue
            raise NodeUnavailable("", "no other node has this version")

        return ResumedReading(reading, lambda *rest: Deferred.fromCoroutine(again(*rest)))


@implementer(IReading)
class _Counted:
    """A reading that counts as its node's traffic until it ends."""

    at_hand = False

    def __init__(self, reading: IReading, store: Store, name: str) -> None:
        self.head = reading.head
        self.span = reading.span
        self._reading = reading
        self._store = store
        self._name = name

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        return self._reading.deliver(consumer).addBoth(self._over)

    def abandon(self) -> None:
        """See IReading."""
        self._over(None)
        self._reading.abandon()

    def _over(self, result: Failure | None) -> Failure | None:
        self._store.traffic.in_flight[self._name] -= 1
        return result


async def _heads(
    candidates: Sequence[Candidate], bucket: str, key: str
) -> dict[str, ObjectHead | Exception]:
    return await ask(candidates, lambda node: node.head(bucket, key))


def last_modified_s(store: Store, request: Get, head: ObjectHead) -> int:
    """Last-Modified as clients see it: the time of what the stamp counts as.

    It is the same on every copy. As long as the journal remembers it that is when a long
    write took effect, and not when it began. Of a foreign object it is the original's.
    """
    if head.stamp is not None and is_stamp(head.stamp):
        return stamp_time_s(store.journal.counts_as(request.bucket, request.key, head.stamp))
    written_s = foreign_time_s(head.stamp or "")
    return head.modified_s if written_s is None else written_s


def _judge(store: Store, request: Get, found: ObjectHead) -> int:
    modified_s = last_modified_s(store, request, found)
    verdict = check_read(request.conditions, found.etag, modified_s)
    if verdict is Verdict.FAILED:
        raise PreconditionFailed("a condition of the request doesn't hold")
    if verdict is Verdict.NOT_MODIFIED:
        raise NotModified(found.etag, modified_s, _kept_by_304(found.headers))
    return modified_s


def _kept_by_304(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name in _REPEATED_BY_304)
