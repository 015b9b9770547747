"""Writing an object."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.consistency.buckets import in_bucket
from aosd.consistency.writes import Flight
from aosd.gateway.branches import send_branches
from aosd.gateway.finishing import Finishing, written_of
from aosd.gateway.look import look
from aosd.gateway.nesting import unnested
from aosd.gateway.requests import Put, Written
from aosd.gateway.sent import (
    Sent,
    check_taken,
    refused_by_digest,
    spares,
    targets,
)
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.gateway.upload import Upload
from aosd.model.conditions import Verdict, check_write, valid_for_write
from aosd.model.errors import (
    AosdError,
    BadRequest,
    Overtaken,
    PreconditionFailed,
    TooLarge,
)
from aosd.model.names import check_folder
from aosd.model.objects import (
    LARGEST_METADATA_BYTES,
    OWN_METADATA,
    STAMP_HEADER,
    USER_METADATA,
    Headers,
    is_text,
)
from aosd.model.parts import largest_body_bytes, part_sizes
from aosd.model.stamp import STAMP_LENGTH
from aosd.ports import Candidate, INode
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from aosd.streams.reader import BodyReader, Pieces, size_of

T = TypeVar("T")

_STAMP_BYTES = len(STAMP_HEADER) + STAMP_LENGTH


async def put(store: Store, request: Put) -> Written:
    """Store the object on its nodes; returns when R of them have it (all, of fewer than R).

    Raises BadRequest, NoSuchBucket, PreconditionFailed, Overtaken, DigestMismatch, TooLarge,
    ClientGone and its kin, or a ClusterError; after one of the last the write may still appear.
    The body isn't started before the request is acceptable and its nodes are found.
    """
    check_headers(request.headers, request.own)
    check_folder(request.key, request.body.length)
    valid_for_write(request.conditions)
    with store.writes.under_way():
        return await Writing(store, request).run()


def check_headers(headers: Headers, own: Headers = ()) -> None:
    """Raise BadRequest for metadata that no node could keep, beside what is aosd's own."""
    size_bytes = _STAMP_BYTES
    if any(name.startswith(OWN_METADATA) for name, _ in headers):
        raise BadRequest("x-amz-meta-aos-* is aosd's own", "InvalidArgument")
    for name, value in (*headers, *own):
        if name.startswith(USER_METADATA):
            size_bytes += len(name) + len(value)
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(f"{name.decode()} isn't UTF-8", "InvalidArgument") from error
        # Servers refuse control characters: the node would seem to be wrong.
        if not is_text(text):
            raise BadRequest(
                f"{name.decode()} has characters that can't be seen", "InvalidArgument"
            )
    if size_bytes > LARGEST_METADATA_BYTES:
        raise BadRequest(
            f"metadata, tags and checksums are {size_bytes} bytes with their names,"
            f" over {LARGEST_METADATA_BYTES}",
            "MetadataTooLarge",
        )


class Writing:
    """One PUT under way."""

    def __init__(self, store: Store, request: Put) -> None:
        self._store = store
        self._request = request
        self._own = request.own
        self._bucket = request.bucket
        self._key = request.key
        self._sent = Sent()
        claimed = {
            "Content-MD5": request.content_md5,
            "x-amz-content-sha256": request.content_sha256,
        }
        self._digests = Digests({name: value for name, value in claimed.items() if value})

    async def run(self) -> Written:
        """See `put`."""
        limits = self._store.limits
        length = self._request.body.length
        largest = largest_body_bytes(limits.part_bytes, limits.part_bytes_max)
        if length is not None and length > largest:
            raise TooLarge(f"no object can be over {largest} bytes")
        with cluster_errors():
            check_taken(self._store)
            self._store.buckets.check(self._bucket)
            nodes = targets(self._store, self._bucket, self._key)
            # An early look spares a body that would be refused; its turn decides.
            await self._decide(at_turn=False)
            if length is None or length > limits.single_put_bytes:
                return await self._in_parts(nodes)
            if length <= max(limits.held_bytes, self._late_bytes):
                return await self._held(length)
            return await self._flowing(nodes, length)

    # -- three ways for a body to go ------------------------------------------------------------

    async def _held(self, length: int) -> Written:
        """Read whole, then sent: its stamp is given at its turn."""
        budget = self._store.budget
        if not budget.take(length):
            await budget.acquire(length)
        try:
            reader = BodyReader(self._request.body, self._digests)
            pieces = await reader.read(length)
            await reader.more()  # no more bytes, but the end: it may yet turn out to be wrong
            return await self._put_whole(pieces)
        finally:
            budget.release(length)

    async def _put_whole(self, pieces: Pieces) -> Written:
        self._digests.check()
        if self._request.late is not None:
            self._own = (*self._own, *self._request.late())
            check_headers(self._request.headers, self._own)
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent

        async def send(node: INode, headers: Headers) -> str:
            return await in_bucket(
                node, bucket, lambda: node.put(bucket, key, HeldBody(pieces), headers)
            )

        async def act() -> Written:
            await self._decide()
            stamp = store.stamps.next()
            headers = self._headers(stamp, whole=True)
            store.writes.effect(bucket, key, stamp)
            asked = targets(store, bucket, key)
            while asked:
                answers = await ask(asked, lambda node: send(node, headers))
                for name, outcome in answers.items():
                    sent.answered(name, outcome)
                if refused_by_digest(sent):
                    break
                asked = spares(store, bucket, key, sent)
            return await self._finishing().written(stamp, size_of(pieces))

        return await self._take_turn(act)

    async def _flowing(self, nodes: Sequence[Candidate], length: int) -> Written:
        """Through the gateway as it comes, but for the last bytes, which wait for the turn."""
        store, bucket, key = self._store, self._bucket, self._key
        await store.buckets.give(bucket, nodes, store.settledness.doubt)
        fanout = Fanout(self._request.body, len(nodes), self._digests)
        stamp = store.stamps.next()
        flight = store.writes.flight(bucket, key)
        headers = self._headers(stamp, whole=True)
        puts = send_branches(
            fanout, nodes, lambda node, branch: node.put(bucket, key, branch, headers), self._sent
        )

        async def act() -> None:
            await self._decide()
            store.writes.effect(bucket, key, await self._restamped(stamp, flight))
            fanout.release()
            await DeferredList(puts)
            ends.append(self._finishing().go_on(stamp, length))

        ends: list[Deferred[Written | AosdError]] = []
        try:
            await fanout.last_in_hand
            self._digests.check()
            await self._take_turn(act)
        except BaseException as error:
            if not fanout.released:
                fanout.abort(Failure(error))
                await DeferredList(puts)
            raise
        finally:
            flight.end()
        return written_of(await ends[0])

    async def _in_parts(self, nodes: Sequence[Candidate]) -> Written:
        """Of unknown length, or longer than a single PUT may be: a multipart upload."""
        store, limits, budget = self._store, self._store.limits, self._store.budget
        sizes = part_sizes(limits.part_bytes, limits.part_bytes_max)
        reader = BodyReader(self._request.body, self._digests)
        upload: Upload | None = None
        flight = store.writes.flight(self._bucket, self._key)
        stamp = store.stamps.next()
        size = max(next(sizes), self._late_bytes)
        await budget.acquire(size)
        try:
            pieces = await reader.read(size)
            more = size_of(pieces) == size and await reader.more()
            if not more:
                return await self._put_whole(pieces)
            upload = Upload(store, self._bucket, self._key, nodes, stamp)
            await upload.create(self._headers(stamp, whole=False))
            while True:
                await upload.put_part(pieces)
                budget.release(size)
                size = 0
                if not more:
                    break
                size = next(sizes, 0)
                if not size:
                    raise TooLarge(f"no object can be over {upload.size_bytes} bytes")
                await budget.acquire(size)
                del pieces
                pieces = await reader.read(size)
                more = size_of(pieces) == size and await reader.more()
            self._digests.check()
            (end,) = await self._take_turn(lambda: self._complete(upload, stamp, flight))
            return written_of(await end)
        except BaseException:
            if upload is not None and not upload.completing:
                # Whoever leaves cancels us, here too.
                await store.to_the_end.run(upload.abort())
            raise
        finally:
            flight.end()
            budget.release(size)

    # -- what they share ------------------------------------------------------------------------

    @property
    def _late_bytes(self) -> int:
        """Up to how many bytes the body is held for what is known of it only at its end."""
        if self._request.late is None:
            return 0
        return min(self._store.limits.late_bytes, self._store.budget.size_bytes)

    async def _complete(
        self, upload: Upload, stamp: str, flight: Flight
    ) -> list[Deferred[Written | AosdError]]:
        store, bucket, key = self._store, self._bucket, self._key
        try:
            await self._decide()
            store.writes.effect(bucket, key, await self._restamped(stamp, flight))
        except BaseException:
            await upload.abort()
            raise
        self._sent = await upload.complete()
        return [self._finishing().go_on(stamp, upload.size_bytes)]

    def _finishing(self) -> Finishing:
        return Finishing(self._store, self._bucket, self._key, self._sent)

    async def _restamped(self, stamp: str, flight: Flight) -> str:
        """Let a write whose stamp left with its head be newer than what came meanwhile.

        What its stamp counts as from then on.
        """
        store, bucket, key = self._store, self._bucket, self._key
        store.buckets.check(bucket, stamp)
        if flight.newest > stamp:
            await store.restamp(bucket, key, stamp)
        return store.journal.counts_as(bucket, key, stamp)

    async def _decide(self, *, at_turn: bool = True) -> None:
        """Whether the request's conditions hold now; PreconditionFailed when they don't."""
        over = self._request.over
        if not self._request.conditions and over is None:
            return
        present = (await look(self._store, self._bucket, self._key, at_turn=at_turn)).head
        etag = present.etag if present else None
        if check_write(self._request.conditions, etag) is not Verdict.PROCEED:
            raise PreconditionFailed(
                "a condition of the request doesn't hold", absent=present is None
            )
        if over is not None and (present is None or not over(present)):
            raise Overtaken("another write of it came between")

    async def _take_turn(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def checked() -> T:
            check_taken(self._store, begun=True)
            self._store.buckets.check(self._bucket)
            return await unnested(self._store, self._bucket, self._key, act)

        return await self._store.turns.take(self._bucket, self._key, checked)

    def _headers(self, stamp: str, whole: bool) -> Headers:
        """What goes to the nodes, stamped; digests only with a `whole` body."""
        request = self._request
        headers = [*request.headers, *self._own, (STAMP_HEADER, stamp.encode("ascii"))]
        if whole:
            headers.extend(request.checksums)
            if request.content_md5:
                headers.append((b"content-md5", b64encode(request.content_md5)))
            if request.content_sha256:
                headers.append(
                    (b"x-amz-content-sha256", request.content_sha256.hex().encode("ascii"))
                )
        return tuple(headers)
