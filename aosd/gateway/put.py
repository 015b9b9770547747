"""Writing an object."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.consistency.writes import Flight
from aosd.gateway.look import look
from aosd.gateway.nesting import unnested
from aosd.gateway.requests import Put, Written
from aosd.gateway.sent import (
    Sent,
    agreed_etag,
    check_taken,
    failure,
    is_enough,
    refused_by_digest,
    remember,
    spares,
    targets,
)
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.gateway.upload import Upload
from aosd.model.conditions import Verdict, check_write, valid_for_write
from aosd.model.errors import (
    AosdError,
    BadRequest,
    NodeNonsense,
    NodeUnavailable,
    NoSuchKey,
    PreconditionFailed,
    SlowDown,
    TooLarge,
)
from aosd.model.objects import STAMP_HEADER, Headers, ObjectHead
from aosd.model.parts import largest_body_bytes, part_sizes
from aosd.model.ring import partition
from aosd.ports import Candidate, INode
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Branch, Fanout
from aosd.streams.reader import BodyReader, Pieces, size_of

T = TypeVar("T")

_LARGEST_METADATA_BYTES = 1900  # MinIO takes some 2,000, and the stamp counts
_USER_METADATA = b"x-amz-meta-"
_OURS = b"x-amz-meta-aos-"


async def put(store: Store, request: Put) -> Written:
    """Store the object on its nodes; returns when R of them have it (all, of fewer than R).

    Raises BadRequest, PreconditionFailed, DigestMismatch, TooLarge, ClientGone and its
    kin, or a ClusterError; after one of the last the write may still appear. The body
    isn't started before the request is acceptable and its nodes are found.
    """
    check_headers(request.headers)
    valid_for_write(request.conditions)
    return await _Writing(store, request).run()


def check_headers(headers: Headers) -> None:
    """Raise BadRequest for metadata that no node could keep."""
    size_bytes = 0
    for name, value in headers:
        if name.startswith(_OURS):
            raise BadRequest("x-amz-meta-aos-* is aosd's own", "InvalidArgument")
        if name.startswith(_USER_METADATA):
            size_bytes += len(name) - len(_USER_METADATA) + len(value)
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(f"{name.decode()} isn't UTF-8", "InvalidArgument") from error
        # Signing folds white space that is none for HTTP, and servers refuse what can't be
        # seen: the signature would be wrong, and the node would seem to be.
        if not text.isprintable():
            raise BadRequest(
                f"{name.decode()} has control characters or odd white space", "InvalidArgument"
            )
    if size_bytes > _LARGEST_METADATA_BYTES:
        raise BadRequest(
            f"user metadata is {size_bytes} bytes, over {_LARGEST_METADATA_BYTES}",
            "MetadataTooLarge",
        )


class _Writing:
    """One PUT under way."""

    def __init__(self, store: Store, request: Put) -> None:
        self._store = store
        self._request = request
        self._bucket = request.bucket
        self._key = request.key
        self._sent = Sent()
        claimed = {
            "Content-MD5": request.content_md5,
            "x-amz-content-sha256": request.content_sha256,
        }
        self._digests = Digests({name: value for name, value in claimed.items() if value})

    async def run(self) -> Written:
        limits = self._store.limits
        length = self._request.body.length
        largest = largest_body_bytes(limits.part_bytes, limits.part_bytes_max)
        if length is not None and length > largest:
            raise TooLarge(f"no object can be over {largest} bytes")
        with cluster_errors():
            check_taken(self._store)
            nodes = targets(self._store, self._bucket, self._key)
            # An early look spares a body that would be refused; its turn decides.
            await self._decide(at_turn=False)
            if length is None or length > limits.single_put_bytes:
                return await self._in_parts(nodes)
            if length <= limits.held_bytes:
                return await self._held(length)
            return await self._flowing(nodes, length)

    # -- three ways for a body to go ------------------------------------------------------------

    async def _held(self, length: int) -> Written:
        """Read whole, then sent: its stamp is given at its turn."""
        await self._store.budget.acquire(length)
        try:
            pieces = await BodyReader(self._request.body, self._digests).read(length)
            return await self._put_whole(pieces)
        finally:
            self._store.budget.release(length)

    async def _put_whole(self, pieces: Pieces) -> Written:
        self._digests.check()
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent

        async def act() -> Written:
            await self._decide()
            stamp = store.stamps.next()
            headers = self._headers(stamp, whole=True)
            store.writes.effect(bucket, key, stamp)
            asked = targets(store, bucket, key)
            while asked:
                answers = await ask(
                    asked, lambda node: node.put(bucket, key, HeldBody(pieces), headers)
                )
                for name, outcome in answers.items():
                    sent.answered(name, outcome)
                if refused_by_digest(sent):
                    break
                asked = spares(store, bucket, key, sent)
            return await self._written(stamp, size_of(pieces))

        return await self._take_turn(act)

    async def _flowing(self, nodes: Sequence[Candidate], length: int) -> Written:
        """Through the gateway as it comes, but for the last bytes, which wait for the turn."""
        store, bucket, key = self._store, self._bucket, self._key
        fanout = Fanout(self._request.body, len(nodes), self._digests)
        stamp = store.stamps.next()
        flight = store.writes.flight(bucket, key)
        headers = self._headers(stamp, whole=True)
        puts = []
        for candidate, branch in zip(nodes, fanout.branches, strict=True):
            assert candidate.node is not None
            putting = candidate.node.put(bucket, key, branch, headers)
            putting = _drop_when_over(putting, fanout, branch, candidate.name)
            puts.append(putting.addCallbacks(*_noted(self._sent, candidate.name)))

        async def act() -> None:
            await self._decide()
            store.writes.effect(bucket, key, await self._restamped(stamp, flight))
            fanout.release()
            await DeferredList(puts)
            ends.append(self._go_on(stamp, length))

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
        return _written(await ends[0])

    async def _in_parts(self, nodes: Sequence[Candidate]) -> Written:
        """Of unknown length, or longer than a single PUT may be: a multipart upload."""
        store, limits, budget = self._store, self._store.limits, self._store.budget
        sizes = part_sizes(limits.part_bytes, limits.part_bytes_max)
        reader = BodyReader(self._request.body, self._digests)
        upload: Upload | None = None
        flight = store.writes.flight(self._bucket, self._key)
        stamp = store.stamps.next()
        size = next(sizes)
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
            return _written(await end)
        except BaseException:
            if upload is not None and not upload.completing:
                # Whoever leaves cancels us, here too.
                await store.to_the_end.run(upload.abort())
            raise
        finally:
            flight.end()
            budget.release(size)

    # -- what they share ------------------------------------------------------------------------

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
        return [self._go_on(stamp, upload.size_bytes)]

    def _go_on(self, stamp: str, length: int) -> Deferred[Written | AosdError]:
        """Make up what is missing, after the turn; owned by nobody's request.

        Who has the turn next must not take one of the nodes that lack it at its word.
        """
        number = partition(self._bucket, self._key)
        self._store.settledness.hold(number)
        return self._store.to_the_end.run(self._made_up(stamp, length, number))

    async def _made_up(self, stamp: str, length: int, number: int) -> Written | AosdError:
        """As `_make_up`, whose failure is returned: there may be nobody left to raise it to."""
        try:
            return await self._make_up(stamp, length)
        except AosdError as error:
            return error
        finally:
            self._store.settledness.release(number)

    async def _make_up(self, stamp: str, length: int) -> Written:
        """Copy what too few nodes have to those that stand in, before the answer."""
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent
        while sent.etags and (asked := spares(store, bucket, key, sent)):
            for candidate in asked:
                outcome = await self._copied(candidate, stamp)
                sent.answered(candidate.name, outcome)
                if isinstance(outcome, SlowDown):
                    # Where one's turn came too late, the next one's would.
                    return await self._written(stamp, length)
        return await self._written(stamp, length)

    async def _copied(self, target: Candidate, stamp: str) -> str | Exception:
        """Copy what some of the nodes took to `target`; the ETag, or why that can't be."""
        store, sent = self._store, self._sent
        have = [
            each for each in store.could_hold(self._bucket, self._key) if each.name in sent.etags
        ]
        error: Exception = NodeNonsense(target.name, "nobody is left to copy from")
        for source in store.preferred(have):
            assert source.node is not None and target.node is not None
            try:
                if await self._copy(source.node, target.node, stamp):
                    return sent.etags[source.name]
                error = NodeUnavailable(source.name, "what it took is there no more")
            except AosdError as failed:
                error = failed  # a node's, or that the key's turn came too late
        return error

    async def _copy(self, source: INode, target: INode, stamp: str) -> bool:
        """Whether `target` has this write now, or something newer, which counts for it too."""
        store, bucket, key = self._store, self._bucket, self._key
        head = await self._at_least(source, stamp)
        if head is not None:
            if await store.copying.copy(source, target, bucket, key, head):
                return True
            if await self._at_least(target, stamp) is not None:
                return True
        if (store.journal.delete_of(bucket, key) or "") > store.journal.counts_as(
            bucket, key, stamp
        ):
            return True
        if head is None:
            # It lost power, with all that it had acknowledged a moment before.
            lost = NodeUnavailable(source.name, "what it took is there no more")
            self._sent.answered(source.name, lost)
        return False

    async def _at_least(self, node: INode, stamp: str) -> ObjectHead | None:
        """What the node has, if that is this write or a newer one."""
        store, bucket, key = self._store, self._bucket, self._key
        try:
            head = await node.head(bucket, key)
        except NoSuchKey:
            return None
        found = store.version(bucket, key, head)
        return head if found.stamp >= store.journal.counts_as(bucket, key, stamp) else None

    async def _restamped(self, stamp: str, flight: Flight) -> str:
        """Let a write whose stamp left with its head be newer than what came meanwhile.

        What its stamp counts as from then on.
        """
        store, bucket, key = self._store, self._bucket, self._key
        if flight.newest > stamp:
            await store.journal.restamped(bucket, key, stamp, store.stamps.next())
        return store.journal.counts_as(bucket, key, stamp)

    async def _decide(self, *, at_turn: bool = True) -> None:
        """Whether the request's conditions hold now; PreconditionFailed when they don't."""
        if not self._request.conditions:
            return
        present = (await look(self._store, self._bucket, self._key, at_turn=at_turn)).head
        etag = present.etag if present else None
        if check_write(self._request.conditions, etag) is not Verdict.PROCEED:
            raise PreconditionFailed("a condition of the request doesn't hold")

    async def _take_turn(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def checked() -> T:
            check_taken(self._store)
            return await unnested(self._store, self._bucket, self._key, act)

        return await self._store.turns.take(self._bucket, self._key, checked)

    def _headers(self, stamp: str, whole: bool) -> Headers:
        """What goes to the nodes, stamped; digests only with a `whole` body."""
        request = self._request
        headers = list(request.headers)
        headers.append((STAMP_HEADER, stamp.encode("ascii")))
        if whole:
            headers.extend(request.checksums)
            if request.content_md5:
                headers.append((b"content-md5", b64encode(request.content_md5)))
            if request.content_sha256:
                headers.append(
                    (b"x-amz-content-sha256", request.content_sha256.hex().encode("ascii"))
                )
        return tuple(headers)

    async def _written(self, stamp: str, size_bytes: int) -> Written:
        """The end of every way: marks, then the answer."""
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent
        enough = is_enough(store, bucket, key, set(sent.etags)) and not sent.differs
        stamp = store.journal.counts_as(bucket, key, stamp)
        await remember(store, bucket, key, stamp, sent, written=enough)
        if refused := refused_by_digest(sent):
            raise refused
        if not enough and not sent.differs:
            raise failure(sent, "too few nodes took it")
        return Written(agreed_etag(sent), size_bytes)


def _written(outcome: Written | AosdError) -> Written:
    if isinstance(outcome, AosdError):
        raise outcome
    return outcome


def _noted(sent: Sent, name: str) -> tuple[Callable[[str], None], Callable[[Failure], None]]:
    def failed(reason: Failure) -> None:
        error = reason.value
        sent.answered(name, error if isinstance(error, Exception) else CancelledError())

    return lambda etag: sent.answered(name, etag), failed


def _drop_when_over(
    putting: Deferred[str], fanout: Fanout, branch: Branch, node: str
) -> Deferred[str]:
    """Tell the fanout when a node is done with its branch, for better or worse."""

    def answered(etag: str) -> str:
        if not fanout.released:
            error = NodeNonsense(node, "it took a PUT before its last byte was sent")
            fanout.drop(branch, Failure(error))
            raise error
        return etag

    def failed(reason: Failure) -> Failure:
        fanout.drop(branch, reason)
        return reason

    return putting.addCallback(answered).addErrback(failed)
