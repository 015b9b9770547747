"""Writing an object."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.consistency.to_the_end import ToTheEnd
from aosd.gateway.requests import Put, Written
from aosd.gateway.store import Store, cluster_errors, gather
from aosd.model.conditions import Verdict, check_write, valid_for_write
from aosd.model.errors import BadRequest, NodeError, NodeNonsense, PreconditionFailed, TooLarge
from aosd.model.objects import STAMP_HEADER, Headers
from aosd.model.parts import largest_body_bytes, part_sizes
from aosd.ports import INode
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Branch, Fanout
from aosd.streams.reader import BodyReader, Pieces, size_of

T = TypeVar("T")

_LARGEST_METADATA_BYTES = 1900  # MinIO takes some 2,000, and the stamp counts
_USER_METADATA = b"x-amz-meta-"
_OURS = b"x-amz-meta-aos-"


async def put(store: Store, request: Put) -> Written:
    """Store the object on its nodes; returns when all of them have it.

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

    _log = Logger()

    def __init__(self, store: Store, request: Put) -> None:
        self._store = store
        self._request = request
        self._bucket = request.bucket
        self._key = request.key
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
            nodes = self._store.primaries(self._bucket, self._key)
            # An early look spares a body that would be refused; its turn decides.
            await self._decide()
            if length is None or length > limits.single_put_bytes:
                return await self._in_parts(nodes)
            if length <= limits.held_bytes:
                return await self._held(nodes, length)
            return await self._flowing(nodes, length)

    # -- three ways for a body to go ------------------------------------------------------------

    async def _held(self, nodes: Sequence[INode], length: int) -> Written:
        """Read whole, then sent: its stamp is given at its turn."""
        await self._store.budget.acquire(length)
        try:
            pieces = await BodyReader(self._request.body, self._digests).read(length)
            return await self._put_whole(nodes, pieces)
        finally:
            self._store.budget.release(length)

    async def _put_whole(self, nodes: Sequence[INode], pieces: Pieces) -> Written:
        self._digests.check()

        async def act() -> Sequence[str]:
            await self._decide()
            headers = self._headers(whole=True)
            return await gather(
                [node.put(self._bucket, self._key, HeldBody(pieces), headers) for node in nodes]
            )

        return self._written(nodes, await self._take_turn(act), size_of(pieces))

    async def _flowing(self, nodes: Sequence[INode], length: int) -> Written:
        """Through the gateway as it comes, but for the last bytes, which wait for the turn."""
        fanout = Fanout(self._request.body, len(nodes), self._digests)
        headers = self._headers(whole=True)
        puts = [
            _drop_when_over(
                node.put(self._bucket, self._key, branch, headers), fanout, branch, node
            )
            for node, branch in zip(nodes, fanout.branches, strict=True)
        ]

        async def act() -> Sequence[str]:
            await self._decide()
            fanout.release()
            return await gather(puts)

        try:
            await fanout.last_in_hand
            self._digests.check()
            etags = await self._take_turn(act)
        except BaseException as error:
            if not fanout.released:
                fanout.abort(Failure(error))
            await DeferredList(puts, consumeErrors=True)
            raise
        return self._written(nodes, etags, length)

    async def _in_parts(self, nodes: Sequence[INode]) -> Written:
        """Of unknown length, or longer than a single PUT may be: a multipart upload."""
        limits, budget = self._store.limits, self._store.budget
        sizes = part_sizes(limits.part_bytes, limits.part_bytes_max)
        reader = BodyReader(self._request.body, self._digests)
        upload: _Upload | None = None
        size = next(sizes)
        await budget.acquire(size)
        try:
            pieces = await reader.read(size)
            more = size_of(pieces) == size and await reader.more()
            if not more:
                return await self._put_whole(nodes, pieces)
            upload = _Upload(self._bucket, self._key, nodes, self._store.to_the_end)
            await upload.create(self._headers(whole=False))
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
            etags = await self._take_turn(lambda: self._complete(upload))
            return self._written(nodes, etags, upload.size_bytes)
        except BaseException:
            if upload is not None and not upload.completing:
                # Whoever leaves cancels us, here too.
                await self._store.to_the_end.run(upload.abort())
            raise
        finally:
            budget.release(size)

    # -- what they share ------------------------------------------------------------------------

    async def _complete(self, upload: _Upload) -> Sequence[str]:
        try:
            await self._decide()
            return await upload.complete()
        except BaseException:
            await upload.abort()
            raise

    async def _decide(self) -> None:
        """Whether the request's conditions hold now; PreconditionFailed when they don't."""
        if not self._request.conditions:
            return
        present = await self._store.look(self._bucket, self._key)
        etag = present.etag if present else None
        if check_write(self._request.conditions, etag) is not Verdict.PROCEED:
            raise PreconditionFailed("a condition of the request doesn't hold")

    async def _take_turn(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._store.turns.take(self._bucket, self._key, act)

    def _headers(self, whole: bool) -> Headers:
        """What goes to the nodes, newly stamped; digests only with a `whole` body."""
        request = self._request
        headers = list(request.headers)
        headers.append((STAMP_HEADER, self._store.stamps.next().encode("ascii")))
        if whole:
            headers.extend(request.checksums)
            if request.content_md5:
                headers.append((b"content-md5", b64encode(request.content_md5)))
            if request.content_sha256:
                headers.append(
                    (b"x-amz-content-sha256", request.content_sha256.hex().encode("ascii"))
                )
        return tuple(headers)

    def _written(self, nodes: Sequence[INode], etags: Sequence[str], size_bytes: int) -> Written:
        if len(set(etags)) != 1:
            raise NodeNonsense(nodes[0].name, f"the nodes' ETags differ: {sorted(set(etags))}")
        return Written(etags[0], size_bytes)


class _Upload:
    """A multipart upload to several nodes at once, part by part."""

    _log = Logger()

    def __init__(self, bucket: str, key: str, nodes: Sequence[INode], to_the_end: ToTheEnd) -> None:
        self._to_the_end = to_the_end
        self._created: Deferred[None] | None = None
        self.size_bytes = 0
        self.completing = False
        self._bucket = bucket
        self._key = key
        self._nodes = nodes
        self._ids: dict[INode, str] = {}
        self._etags: dict[INode, list[str]] = {node: [] for node in nodes}

    async def create(self, headers: Headers) -> None:
        """Begin it on every node; to its end, or nobody would know the id to abort."""
        created = self._created = Deferred()

        async def create(node: INode) -> None:
            self._ids[node] = await node.create_upload(self._bucket, self._key, headers)

        async def create_all() -> None:
            try:
                await gather([Deferred.fromCoroutine(create(node)) for node in self._nodes])
            finally:
                created.callback(None)

        await self._to_the_end.run(create_all())

    async def put_part(self, pieces: Pieces) -> None:
        async def send(node: INode) -> None:
            etags = self._etags[node]
            etags.append(
                await node.put_part(
                    self._bucket, self._key, self._ids[node], len(etags) + 1, HeldBody(pieces)
                )
            )

        await gather([Deferred.fromCoroutine(send(node)) for node in self._nodes])
        self.size_bytes += size_of(pieces)

    async def complete(self) -> Sequence[str]:
        self.completing = True
        return await gather(
            [
                node.complete_upload(self._bucket, self._key, self._ids[node], self._etags[node])
                for node in self._nodes
            ]
        )

    async def abort(self) -> None:
        """Let the nodes forget it; who can't be told forgets it after a day."""
        if self._created is not None:
            await self._created
        for node, upload_id in self._ids.items():
            try:
                await node.abort_upload(self._bucket, self._key, upload_id)
            except NodeError as error:
                self._log.info("upload not aborted: {error}", error=error, node=node.name)


def _drop_when_over(
    putting: Deferred[str], fanout: Fanout, branch: Branch, node: INode
) -> Deferred[str]:
    """Tell the fanout when a node is done with its branch, for better or worse."""

    def answered(etag: str) -> str:
        if not fanout.released:
            error = NodeNonsense(node.name, "it took a PUT before its last byte was sent")
            fanout.drop(branch, Failure(error))
            raise error
        return etag

    def failed(reason: Failure) -> Failure:
        fanout.drop(branch, reason)
        return reason

    return putting.addCallback(answered).addErrback(failed)
