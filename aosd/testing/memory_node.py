"""An S3 server in memory, and INode over it: for tests without a socket.

It answers at once, so that `successResultOf` has the result, unless a fault is scripted
(see `aosd.testing.faults`). Bodies flow with real backpressure: a consumer that pauses
stops them. It keeps the contract in `aosd.testing.contract`, as real servers do; what it
stores, and how it lists, is `aosd.testing.memory_disk`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import AosdError, NodeTimeout, NodeUnavailable
from aosd.model.marker import MARKER_KEY
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET, Headers, ObjectHead, Page, PartsPage
from aosd.model.ranges import ByteRange
from aosd.ports import IHealth, INode, IReading
from aosd.testing.bodies import PIECE_BYTES
from aosd.testing.faults import NO_FAULT, Fault
from aosd.testing.memory_bodies import Intake, MemoryReading, ReadingAtHand
from aosd.testing.memory_disk import Copy, MemoryDisk, Snapshot, Upload

T = TypeVar("T")

Weather = Callable[[str], Fault]
"""What befalls a request of this method when nothing is scripted; NO_FAULT: nothing."""


@implementer(INode)
class MemoryNode:
    """See INode. `buckets` may be looked into and changed at will: {bucket: {key: Copy}}.

    `now` gives seconds since 1970, for Last-Modified. `least_part_bytes` is what all parts
    but the last must have (real servers: 5 MiB). With `tree_order` it lists as SeaweedFS
    does, a folder at a time; with `hides_beneath` as MinIO does, no key beneath another
    one; with `tells_stamps` listings tell them, and with `counts_passed` they end early where
    they begin in a folder, as MinIO's do; without `checks_sha256` it ignores
    x-amz-content-sha256, as SeaweedFS does, and without `checks_md5` Content-MD5. A body of
    up to `at_hand_bytes` is at hand when a GET is answered (IReading).

    `health` is told when the control connection breaks (IHealth.control_lost) after a
    probe over it was answered: at `restart`, and when a probe finds no connection, gets no
    answer in time or is given up. `weather` is asked for the fault of each request that no
    script is for.

    `requests` counts what it was asked, by method name; `open_readings` are answered GETs
    whose body is neither delivered nor abandoned, `uploads` open multipart uploads by id,
    `landing` counts requests that haven't taken effect yet although nobody may wait for
    them (`faults.lands_late`): all empty at the end of a test.
    """

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], float] = lambda: 1_700_000_000.0,
        buckets: Iterable[str] = (OBJECT_BUCKET, SYSTEM_BUCKET),
        piece_bytes: int = PIECE_BYTES,
        at_hand_bytes: int = -1,
        least_part_bytes: int = 0,
        tree_order: bool = False,
        hides_beneath: bool = False,
        tells_stamps: bool = False,
        counts_passed: bool = False,
        checks_sha256: bool = True,
        checks_md5: bool = True,
        health: IHealth | None = None,
        weather: Weather | None = None,
    ) -> None:
        self.name = name
        self.sorts = not tree_order
        self.disk = MemoryDisk(
            name,
            now,
            buckets,
            least_part_bytes=least_part_bytes,
            tree_order=tree_order,
            hides_beneath=hides_beneath,
            tells_stamps=tells_stamps,
            counts_passed=counts_passed,
            checks_sha256=checks_sha256,
            checks_md5=checks_md5,
        )
        self.requests: Counter[str] = Counter()
        self.open_readings = 0
        self.landing = 0
        self.closed = False
        self.health = health
        self.weather = weather
        self._control_answered = False
        self._piece_bytes = piece_bytes
        self._at_hand_bytes = at_hand_bytes
        self._faults: dict[str, deque[Fault]] = {}
        self._lasting: dict[str, Fault] = {}

    @property
    def buckets(self) -> dict[str, dict[str, Copy]]:
        """What lies on it."""
        return self.disk.buckets

    @property
    def uploads(self) -> dict[str, Upload]:
        """Its open multipart uploads."""
        return self.disk.uploads

    # -- the script -----------------------------------------------------------------------------

    def script(self, method: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next `times` requests of `method` (`put`, `get`, …) meet `fault`; None: all.

        `method` may be `*` for any. Faults of one method are met in order, before those of
        `*`, and lasting ones last.
        """
        if times is None:
            self._lasting[method] = fault
        else:
            self._faults.setdefault(method, deque()).extend([fault] * times)

    def heal(self) -> None:
        """Forget all faults that weren't met yet."""
        self._faults.clear()
        self._lasting.clear()

    def _meet(self, method: str) -> Fault:
        self.requests[method] += 1
        for name in (method, "*"):
            if self._faults.get(name):
                return self._faults[name].popleft()
        lasting = self._lasting.get(method) or self._lasting.get("*")
        if lasting is None and self.weather is not None:
            return self.weather(method)
        return lasting or NO_FAULT

    # -- what befalls it --------------------------------------------------------------------------

    def restart(self) -> None:
        """Its process is another one: the control connection broke, unannounced.

        What it holds stays, as do requests that haven't landed: something on the way may
        have kept them. Together with `restore`: a power cut that lost the last writes.
        """
        self._control_lost()

    def wipe(self) -> None:
        """Its disk is another one, and empty: no object, no bucket, no marker, no upload."""
        self.disk.wipe()

    def snapshot(self) -> Snapshot:
        """All it holds now, for `restore`."""
        return self.disk.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Fall back to what it held: newer objects are gone, and deleted ones are back.

        Uploads under way are gone too.
        """
        self.disk.restore(snapshot)

    # -- objects --------------------------------------------------------------------------------

    def head(self, bucket: str, key: str, part: int | None = None) -> Deferred[ObjectHead]:
        """See INode."""
        return self._answer("head", lambda: self.disk.head(bucket, key, part))

    def part_sizes(self, bucket: str, key: str, etag: str) -> Deferred[Sequence[int]]:
        """See INode."""
        return self._answer("part_sizes", lambda: self.disk.part_sizes(bucket, key, etag))

    def get(
        self,
        bucket: str,
        key: str,
        wanted: ByteRange | None = None,
        etag: str | None = None,
    ) -> Deferred[IReading]:
        """See INode."""
        fault = self._meet("get")
        in_the_body = fault.after_bytes is not None

        def read() -> IReading:
            copy, span = self.disk.get(bucket, key, wanted, etag)
            data = copy.data[span.first : span.first + span.length]
            if len(data) <= self._at_hand_bytes and not in_the_body:
                return ReadingAtHand(copy.head, span, data)
            self.open_readings += 1
            return MemoryReading(
                copy.head,
                span,
                data,
                self._piece_bytes,
                fault.after_bytes,
                lambda: Deferred.fromCoroutine(self._strike(fault)),
                self._reading_ended,
            )

        return Deferred.fromCoroutine(self._act(NO_FAULT if in_the_body else fault, read))

    def put(self, bucket: str, key: str, body: IBodyProducer, headers: Headers) -> Deferred[str]:
        """See INode."""

        def store(data: bytes) -> str:
            return self.disk.put(bucket, key, data, headers)

        return Deferred.fromCoroutine(self._take(self._meet("put"), body, store))

    def delete(self, bucket: str, key: str) -> Deferred[None]:
        """See INode."""
        return self._answer("delete", lambda: self.disk.delete(bucket, key))

    def list(
        self,
        bucket: str,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        stamps: bool = False,
        token: str = "",
    ) -> Deferred[Page]:
        """See INode."""
        return self._answer(
            "list", lambda: self.disk.page(bucket, prefix, after, limit, delimiter, stamps, token)
        )

    # -- multipart uploads ----------------------------------------------------------------------

    def create_upload(self, bucket: str, key: str, headers: Headers) -> Deferred[str]:
        """See INode."""
        return self._answer("create_upload", lambda: self.disk.create_upload(bucket, key, headers))

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> Deferred[str]:
        """See INode."""

        def store(data: bytes) -> str:
            return self.disk.put_part(bucket, key, upload_id, number, data)

        return Deferred.fromCoroutine(self._take(self._meet("put_part"), body, store))

    def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Deferred[str]:
        """See INode."""
        return self._answer(
            "complete_upload", lambda: self.disk.complete_upload(bucket, key, upload_id, parts)
        )

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> Deferred[None]:
        """See INode."""
        return self._answer("abort_upload", lambda: self.disk.abort_upload(upload_id))

    def list_parts(
        self, bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
    ) -> Deferred[PartsPage]:
        """See INode."""
        return self._answer(
            "list_parts", lambda: self.disk.list_parts(bucket, key, upload_id, after, limit)
        )

    def list_uploads(self, bucket: str, key: str) -> Deferred[Sequence[str]]:
        """See INode."""
        return self._answer("list_uploads", lambda: self.disk.list_uploads(bucket, key))

    # -- buckets --------------------------------------------------------------------------------

    def create_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return self._answer("create_bucket", lambda: self.disk.create_bucket(bucket))

    def delete_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return self._answer("delete_bucket", lambda: self.disk.delete_bucket(bucket))

    def list_buckets(self) -> Deferred[Sequence[str]]:
        """See INode."""
        return self._answer("list_buckets", lambda: sorted(self.disk.buckets))

    # -- the node itself ------------------------------------------------------------------------

    def probe(self) -> Deferred[bytes | None]:
        """See INode."""

        def read() -> bytes | None:
            marker = self.buckets.get(SYSTEM_BUCKET, {}).get(MARKER_KEY)
            return marker.data if marker is not None else None

        return self._answer("probe", read).addCallbacks(self._probe_answered, self._probe_failed)

    def close(self) -> Deferred[None]:
        """See INode."""
        self.closed = True
        return succeed(None)

    # -- inside ---------------------------------------------------------------------------------

    def _probe_answered(self, marker: bytes | None) -> bytes | None:
        self._control_answered = True
        return marker

    def _probe_failed(self, failure: Failure) -> Failure:
        if failure.check(NodeUnavailable, NodeTimeout, CancelledError) is not None:
            self._control_lost()
        return failure

    def _control_lost(self) -> None:
        answered, self._control_answered = self._control_answered, False
        if answered and self.health is not None:
            self.health.control_lost(False)

    def _answer(self, method: str, act: Callable[[], T]) -> Deferred[T]:
        return Deferred.fromCoroutine(self._act(self._meet(method), act))

    async def _act(self, fault: Fault, act: Callable[[], T]) -> T:
        if fault.lands is not None:
            return await self._land(fault, fault.lands(), act)
        if fault.carried_out:
            result = act()
            await self._strike(fault)
            return result
        await self._strike(fault)
        return act()

    def _land(self, fault: Fault, gate: Deferred[object], act: Callable[[], T]) -> Deferred[T]:
        """The answer as `fault` has it; `act` happens when `gate` fires, whoever waits."""
        answer: Deferred[T] = Deferred()
        self.landing += 1

        def land(_: object) -> None:
            self.landing -= 1
            try:
                result = act()
            except AosdError as error:
                if not answer.called:
                    answer.errback(Failure(error))
            else:
                if not answer.called:
                    answer.callback(result)
                elif isinstance(result, MemoryReading):
                    result.abandon()

        def never(failure: Failure) -> None:
            self.landing -= 1
            if not answer.called:
                answer.errback(Failure(NodeUnavailable(self.name, "the request was lost")))

        gate.addCallbacks(land, never)
        if fault.error is not None and not answer.called:
            answer.errback(Failure(fault.error(self.name)))
        return answer

    async def _strike(self, fault: Fault) -> None:
        if fault.gate is not None:
            await fault.gate()
        if fault.error is not None:
            raise fault.error(self.name)

    async def _take(self, fault: Fault, body: IBodyProducer, store: Callable[[bytes], T]) -> T:
        """Read a body and store it."""
        if fault.unreached:
            await self._strike(fault)
        strike_at = fault.after_bytes
        takes_effect = fault.carried_out or fault.lands is not None
        if strike_at is None and fault.error is not None and not takes_effect:
            # A node that refuses does so before it has read the body.
            strike_at = 0
        intake = Intake(
            self.name, body, strike_at, lambda: Deferred.fromCoroutine(self._strike(fault))
        )
        data = await intake.start()
        return await self._act(fault if strike_at is None else NO_FAULT, lambda: store(data))

    def _reading_ended(self) -> None:
        self.open_readings -= 1


__all__ = ["Copy", "MemoryNode", "Snapshot", "Upload", "Weather"]
