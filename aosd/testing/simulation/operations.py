"""What clients of the simulated store do, each checked against the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.model.conditions import UNCONDITIONAL, Conditions
from aosd.model.errors import (
    ClientGone,
    ClusterError,
    DigestMismatch,
    KeyConflict,
    NodeError,
    NoSuchBucket,
    NoSuchKey,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.objects import OBJECT_BUCKET, OWN_METADATA
from aosd.model.ranges import ByteRange
from aosd.testing.bodies import CollectingConsumer
from aosd.testing.simulation.client import SlowBody
from aosd.testing.simulation.paths import bucket_of, split
from aosd.testing.simulation.reference import Outcome, PromiseBroken, Value, Write

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World

TAGS = OWN_METADATA + b"tags"


class Operation:
    """One request of a client. Ends by itself; `over` says whether it has.

    `outcome` is what it came to, in a word or two, for people.
    """

    what = "?"
    expected: tuple[type[BaseException], ...] = (
        NoSuchKey,
        NoSuchBucket,
        KeyConflict,
        PreconditionFailed,
        DigestMismatch,
        RangeNotSatisfiable,
        ClientGone,
        CancelledError,
        NodeError,
    )
    """What it may be answered, beside errors of the cluster's."""

    def __init__(self, world: World, bucket: str = OBJECT_BUCKET) -> None:
        self.over = False
        self.outcome = "running"
        self._left = False
        self.error: BaseException | None = None
        self._world = world
        gateway = world.gateway
        assert gateway is not None and gateway.takes_requests
        self._gateway = gateway
        self._running: Deferred[Any] | None = None
        self.bucket = bucket
        self._bucket_read = world.buckets.read_began()

    def begin(self) -> None:
        """Send it."""
        self._gateway.operations[self] = None
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addBoth(self._ended)

    def client_leaves(self) -> None:
        """The client closes its connection."""
        if not self.over and self._running is not None:
            self._left = True
            self._running.cancel()

    def gateway_died(self) -> None:
        """No answer will come."""
        if not self.over:
            self._world.buckets.read_ended(self._bucket_read)
            self._end("no answer: the gateway died")
            self._failed(None)

    def _run(self) -> Coroutine[Any, Any, Any]:
        raise NotImplementedError

    def _done(self, result: Any) -> str:
        """It was answered well: check the answer; returns words for it."""
        raise NotImplementedError

    def _failed(self, error: BaseException | None) -> None:
        """It wasn't; None: nobody is left to answer."""

    def _ended(self, result: Any) -> None:
        if self.over or self._gateway.clock.dead:
            return
        self._gateway.operations.pop(self, None)
        self.bucket_began_s = self._world.buckets.read_ended(self._bucket_read)
        try:
            if not isinstance(result, Failure):
                self._found_bucket(b"")
            elif isinstance(result.value, NoSuchBucket):
                self._found_bucket(None)
            if not isinstance(result, Failure):
                self._end(self._done(result))
                return
            error = self.error = result.value
            self._end(f"{type(error).__name__}: {error}")
            self._failed(error)
            if self._left:
                return  # nobody hears what it came to
            if isinstance(error, ClusterError):
                self._world.promise.error_answered(self, error)
            elif not isinstance(error, self.expected):
                where = result.getTraceback()
                raise PromiseBroken(f"{self.what} failed oddly: {where}") from error
        except PromiseBroken as broken:
            self._world.broken(str(broken))

    def _found_bucket(self, value: Value) -> None:
        """Its bucket was there (b"") when this went on, or it wasn't (None)."""
        if self.bucket != OBJECT_BUCKET:
            self._world.buckets.found(self.bucket, value, self.bucket_began_s, self.what)
        elif value is None:
            raise PromiseBroken(f"{self.what}: there is no bucket {self.bucket}")

    def _end(self, outcome: str) -> None:
        self.over = True
        self.outcome = outcome
        self._world.trace(f"  {self.what}: {outcome}")


class Putting(Operation):
    """A PUT. `condition` is "", "new" (If-None-Match: *), "there" (If-Match: *), or an ETag.

    `digest` is "" or what the client claims, "md5" or "sha256"; if that is `wrong`, nobody
    may ever see its bytes.
    """

    def __init__(
        self,
        world: World,
        key: str,
        data: bytes,
        *,
        told: bool = True,
        gap_s: float = 0.0,
        gone_at: int | None = None,
        condition: str = "",
        digest: str = "",
        wrong: bool = False,
    ) -> None:
        super().__init__(world, bucket_of(key))
        self.key = key
        self.condition = condition
        claimed = data + b"?" if wrong else data
        digests: dict[str, dict[str, Any]] = {
            "": {},
            "md5": {"content_md5": hashlib.md5(claimed, usedforsecurity=False).digest()},
            "sha256": {"content_sha256": hashlib.sha256(claimed).digest()},
        }
        self._digests = digests[digest]
        self._wrong = wrong
        self._conditions = {
            "": UNCONDITIONAL,
            "new": Conditions(if_none_match="*"),
            "there": Conditions(if_match="*"),
        }.get(condition, Conditions(if_match=condition))
        self._body = SlowBody(
            world.clock,
            lambda: self._gateway.lives,
            data,
            gap_s=gap_s,
            told=told,
            gone_at=gone_at,
        )
        self._cut = gone_at is not None
        self.write = world.reference.began(key, data, only_if_new=condition == "new")
        if wrong:
            world.reference.ended(self.write, Outcome.NEVER)
        self._read = world.reference.read_began() if condition else None
        way = "chunked" if not told else "held" if len(data) <= 8 else "flowing"
        self.what = f"PUT #{self.write.number} {key} {data[:8]!r} {way} {len(data)} {condition}"
        if digest:
            self.what += f" {'wrong ' if wrong else ''}{digest}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        request = Put(*split(self.key), self._body, conditions=self._conditions, **self._digests)
        return put(self._gateway.store, request)

    def _done(self, result: Any) -> str:
        reference = self._world.reference
        began_s = reference.read_ended(self._read) if self._read is not None else 0.0
        if self.condition:
            self._judge(began_s, held=True)
        if self._cut:
            raise PromiseBroken(f"{self.what} was acknowledged without its end")
        if self._wrong:
            raise PromiseBroken(f"{self.what} was acknowledged with a wrong digest")
        self._world.promise.acknowledged(self, self.write.began_s)
        reference.ended(self.write, Outcome.ACKNOWLEDGED, result.etag)
        self._world.promise.stands(self.write, self.what)
        return f"acknowledged {result.etag[:8]}"

    def _failed(self, error: BaseException | None) -> None:
        reference = self._world.reference
        began_s = reference.read_ended(self._read) if self._read is not None else 0.0
        if isinstance(error, NoSuchBucket):
            reference.ended(self.write, Outcome.NEVER)
            return
        if isinstance(error, KeyConflict):
            self._world.promise.conflicted(self.key, error.code, self.write.began_s, self.what)
            reference.ended(self.write, Outcome.NEVER)
            return
        if isinstance(error, PreconditionFailed):
            self._judge(began_s, held=False)
            reference.ended(self.write, Outcome.NEVER)
            return
        if isinstance(error, DigestMismatch):
            if not self._wrong:
                raise PromiseBroken(f"{self.what} was refused for its digest, which was right")
            self._world.tally["wrong digest refused"] += 1
        gone = self._left or isinstance(error, ClientGone)
        reference.ended(self.write, Outcome.UNKNOWN, gone=gone)

    def _judge(self, began_s: float, *, held: bool) -> None:
        """Whether something that it may have found there makes its condition hold, or not."""
        possible = self._world.reference.may_be(self.key, began_s)
        if not any(
            self._holds(each) in (held, None) for each in possible if each is not self.write
        ):
            raise PromiseBroken(f"the condition of {self.what} was judged wrong: {possible}")

    def _holds(self, found: Write) -> bool | None:
        """Whether its condition holds of that; None when nobody was told the ETag."""
        if self.condition in ("new", "there"):
            return (found.value is not None) is (self.condition == "there")
        if found.value is None:
            return False
        return found.etag == self.condition if found.etag else None


class Deleting(Operation):
    """A DELETE."""

    def __init__(self, world: World, key: str) -> None:
        super().__init__(world, bucket_of(key))
        self.key = key
        self.write: Write = world.reference.began(key, None)
        self.what = f"DELETE #{self.write.number} {key}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return delete(self._gateway.store, *split(self.key))

    def _done(self, result: Any) -> str:
        self._world.promise.acknowledged(self, self.write.began_s)
        self._world.reference.ended(self.write, Outcome.ACKNOWLEDGED)
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        gone = self._left
        never = isinstance(error, NoSuchBucket | KeyConflict)
        if isinstance(error, KeyConflict):
            self._world.promise.conflicted(self.key, error.code, self.write.began_s, self.what)
        outcome = Outcome.NEVER if never else Outcome.UNKNOWN
        self._world.reference.ended(self.write, outcome, gone=gone)


class Getting(Operation):
    """A GET; with `newest` one that compares; `pause_bytes`: the client takes so much a second."""

    def __init__(
        self, world: World, key: str, *, newest: bool = False, pause_bytes: int | None = None
    ) -> None:
        super().__init__(world, bucket_of(key))
        self.key = key
        self.value: Value = None
        self._newest = newest
        self._wanted: ByteRange | None = None
        self._consumer = CollectingConsumer(pause_bytes)
        self._read = world.reference.read_began()
        self._found_s = 0.0
        self.what = f"GET {key}{' newest' if newest else ''}"

    async def _run(self) -> Value:
        request = Get(*split(self.key), newest=self._newest, wanted=self._wanted)
        found = await get(self._gateway.store, request)
        assert found.reading is not None
        delivering = found.reading.deliver(self._consumer)
        self._resume()
        await delivering
        data = bytes(self._consumer.data)
        if self._wanted is None and len(data) != found.head.size_bytes:
            raise PromiseBroken(f"{self.what}: {len(data)} bytes of {found.head.size_bytes}")
        return data

    def _resume(self) -> None:
        if self._consumer.pause_after_bytes is None or not self._gateway.lives:
            return
        if self._consumer.paused:
            self._consumer.resume()
        if not self._consumer.ended and not self.over:
            self._world.clock.callLater(1.0, self._resume)

    def _done(self, result: Any) -> str:
        began_s = self._world.reference.read_ended(self._read)
        self.value = result
        self._world.reference.found(self.key, result, began_s, self.what)
        return f"{result[:8]!r}"

    def _failed(self, error: BaseException | None) -> None:
        began_s = self._world.reference.read_ended(self._read)
        if isinstance(error, NoSuchKey | NoSuchBucket):
            self._world.reference.found(self.key, None, began_s, self.what)
        elif isinstance(error, NodeError):
            # Its head was answered, and nobody has the rest: the connection is aborted.
            self._world.promise.error_answered(self, error)


class Ranging(Getting):
    """A GET of some bytes, from `first` to `last`."""

    def __init__(self, world: World, key: str, first: int, last: int, **how: Any) -> None:
        super().__init__(world, key, **how)
        self._wanted = ByteRange(first, last)
        self.what += f" {first}-{last}"

    def _done(self, result: Any) -> str:
        began_s = self._world.reference.read_ended(self._read)
        self.value = result
        if result not in (self._part(each) for each in self._possible(began_s)):
            raise PromiseBroken(f"{self.what} gave {result!r}, of {self._possible(began_s)}")
        return f"{result[:8]!r}"

    def _failed(self, error: BaseException | None) -> None:
        if not isinstance(error, RangeNotSatisfiable):
            super()._failed(error)
            return
        began_s = self._world.reference.read_ended(self._read)
        if None not in map(self._part, self._possible(began_s)):
            raise PromiseBroken(f"{self.what}: {error}, of {self._possible(began_s)}")

    def _possible(self, began_s: float) -> list[Write]:
        possible = self._world.reference.may_be(self.key, began_s)
        return [each for each in possible if each.value is not None]

    def _part(self, write: Write) -> bytes | None:
        assert write.value is not None and self._wanted is not None
        try:
            span = self._wanted.resolve(len(write.value))
        except RangeNotSatisfiable:
            return None
        return write.value[span.first : span.first + span.length]


class Heading(Operation):
    """A HEAD."""

    def __init__(self, world: World, key: str, *, newest: bool = False) -> None:
        super().__init__(world, bucket_of(key))
        self.key = key
        self._newest = newest
        self._read = world.reference.read_began()
        self.what = f"HEAD {key}{' newest' if newest else ''}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return head(self._gateway.store, Get(*split(self.key), newest=self._newest))

    def _done(self, result: Any) -> str:
        reference = self._world.reference
        began_s = reference.read_ended(self._read)
        possible = reference.may_be(self.key, began_s)
        sizes = {len(each.value) for each in possible if each.value is not None}
        etags = {each.etag for each in possible}
        known = all(each.etag for each in possible if each.value is not None)
        if result.head.size_bytes not in sizes or (known and result.head.etag not in etags):
            raise PromiseBroken(f"{self.what} told of {result.head}, but it may be {possible}")
        tags = dict(result.head.own).get(TAGS, b"")
        self._world.tags.found(self.key, tags, began_s, f"{self.what} (its tags)")
        return f"{result.head.etag[:8]} of {result.head.size_bytes} {tags!r}"

    def _failed(self, error: BaseException | None) -> None:
        began_s = self._world.reference.read_ended(self._read)
        if isinstance(error, NoSuchKey | NoSuchBucket):
            self._world.reference.found(self.key, None, began_s, self.what)
