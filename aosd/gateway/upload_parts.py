"""The parts of clients' multipart uploads, on their way to the upload's nodes."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.gateway.branches import send_branches
from aosd.gateway.get import get
from aosd.gateway.requests import CopyPart, Get, PartWritten, PutPart
from aosd.gateway.sent import (
    Sent,
    agreed_etag,
    check_taken,
    failure,
    refused_by_digest,
    targets,
)
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.gateway.upload_ids import ClientUpload, opened_id
from aosd.model.errors import (
    BadRequest,
    NodeRefused,
    NoQuorum,
    NoSuchBucket,
    NoSuchUpload,
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooLarge,
)
from aosd.model.parts import MOST_PARTS
from aosd.ports import Candidate, INode
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Branch, Fanout
from aosd.streams.reader import BodyReader, Pieces, size_of
from aosd.streams.source import ReadingSource


async def put_part(store: Store, request: PutPart) -> PartWritten:
    """Store a part on all nodes of its upload that can be asked.

    It is acknowledged when R of them have it, or all of those that can be asked and know the
    upload, when that is fewer; and when one of them lacks no part that was acknowledged before,
    as far as this run knows: without such a node there is nothing to complete. A node that
    fails lacks the part, until it is sent again. So while no more than R - 1 of the nodes on
    which it began are away there are R that have it; when more are, but others take writes in
    their place, what the upload has on the rest goes on, and its Complete makes R copies of it
    before it is answered.

    A part of unknown length is held whole, up to `Limits.part_bytes_max`. One that ends before
    its length, or fails its digest, has no effect: what the number had before stays.

    Raises BadRequest, NoSuchUpload, NoSuchBucket, DigestMismatch, TooLarge, ClientGone and its
    kin, or a ClusterError; after one of the last the part may be there.
    """
    check_number(request.number)
    with cluster_errors():
        upload = opened_id(store, request.bucket, request.key, request.upload_id)
        if store.uploads.is_over(upload.stamp):
            raise NoSuchUpload("it was completed or aborted")
        check_taken(store)
        targets(store, request.bucket, request.key)  # no write is taken with fewer nodes than R
        return await _Sending(store, request, upload).run()


async def copy_part(store: Store, request: CopyPart) -> PartWritten:
    """A part whose body is an object's, or a range of it; conditions are on that object.

    Raises what `put_part` does, NoSuchKey, and PreconditionFailed; RangeNotSatisfiable unless
    all bytes of the range are there.
    """
    check_number(request.number)
    store.buckets.check(request.source_bucket)
    asked = Get(
        request.source_bucket,
        request.source_key,
        request.source_conditions,
        request.wanted,
    )
    try:
        found = await get(store, asked)
    except NotModified as error:
        raise PreconditionFailed("a condition on the source doesn't hold") from error
    assert found.reading is not None
    source = ReadingSource(found.reading)
    try:
        last = None if request.wanted is None else request.wanted.last
        if last is not None and last >= found.head.size_bytes:
            raise RangeNotSatisfiable(found.head.size_bytes)
        part = PutPart(request.bucket, request.key, request.upload_id, request.number, source)
        return await put_part(store, part)
    finally:
        source.discard()


def check_number(number: int) -> None:
    """Raise BadRequest for what can't be a part's number."""
    if not 1 <= number <= MOST_PARTS:
        raise BadRequest(f"parts are numbered 1 to {MOST_PARTS}", "InvalidArgument")


class _Sending:
    """One part under way."""

    def __init__(self, store: Store, request: PutPart, upload: ClientUpload) -> None:
        self._store = store
        self._request = request
        self._upload = upload
        self._sent = Sent()
        claimed = {
            "Content-MD5": request.content_md5,
            "x-amz-content-sha256": request.content_sha256,
        }
        self._digests = Digests({name: value for name, value in claimed.items() if value})

    async def run(self) -> PartWritten:
        limits = self._store.limits
        length = self._request.body.length
        nodes = [each for each in self._upload.reachable(self._store) if not each.full]
        if not self._upload.members(self._store):
            raise NoSuchUpload("its nodes were removed")
        if not nodes:
            raise NoQuorum("all nodes of this upload are away")
        if length is None:
            length = await self._held(nodes, limits.part_bytes_max)
        elif length > limits.single_put_bytes:
            raise TooLarge(f"no part can be over {limits.single_put_bytes} bytes")
        elif length <= limits.held_bytes:
            await self._held(nodes, length)
        else:
            await self._flowing(nodes)
        return self._written(nodes, length)

    async def _held(self, nodes: Sequence[Candidate], most_bytes: int) -> int:
        """Read whole, then sent; how long it was."""
        budget = self._store.budget
        await budget.acquire(most_bytes)
        try:
            reader = BodyReader(self._request.body, self._digests)
            pieces = await reader.read(most_bytes)
            if await reader.more():
                reader.discard()
                raise TooLarge(
                    f"a part that doesn't tell its length has {most_bytes} bytes at most"
                )
            self._digests.check()
            answers = await ask(nodes, lambda node: self._put(node, pieces))
            for name, outcome in answers.items():
                self._sent.answered(name, outcome)
            return size_of(pieces)
        finally:
            budget.release(most_bytes)

    def _put(self, node: INode, pieces: Pieces) -> Deferred[str]:
        return self._send(node, HeldBody(pieces))

    async def _flowing(self, nodes: Sequence[Candidate]) -> None:
        """Through the gateway as it comes; its last bytes wait until all of it was found right."""
        fanout = Fanout(self._request.body, len(nodes), self._digests)
        puts = send_branches(fanout, nodes, self._send, self._sent)
        try:
            await fanout.last_in_hand
            self._digests.check()
            fanout.release()
            await DeferredList(puts)
        except BaseException as error:
            if not fanout.released:
                fanout.abort(Failure(error))
                await DeferredList(puts)
            raise

    def _send(self, node: INode, body: HeldBody | Branch) -> Deferred[str]:
        request, upload = self._request, self._upload
        return node.put_part(upload.bucket, upload.key, upload.ids[node.name], request.number, body)

    def _written(self, nodes: Sequence[Candidate], size_bytes: int) -> PartWritten:
        store, sent, stamp = self._store, self._sent, self._upload.stamp
        if refused := refused_by_digest(sent):
            raise refused
        gone = {name for name, error in sent.errors.items() if is_unknown(error)}
        members = self._upload.members(store)
        if gone and gone >= {each.name for each in members}:
            raise NoSuchUpload("no node has it open")
        wanted = min(store.replicas, len(nodes) - len(gone))
        number = self._request.number
        enough = sent.etags and len(sent.etags) >= wanted
        lacking = not sent.etags.keys() - store.uploads.lacking(stamp, number)
        if (not enough or lacking) and store.uploads.is_over(stamp):
            raise NoSuchUpload("it was completed or aborted")  # meanwhile
        if not enough:
            raise failure(sent, "too few nodes took the part")
        etag = agreed_etag(sent)
        if lacking:
            raise NoQuorum("each node that took this part lacks another one")
        missed = self._upload.ids.keys() - sent.etags.keys()
        store.uploads.part_taken(stamp, number, sent.etags, missed)
        return PartWritten(etag, size_bytes)


def is_unknown(error: Exception) -> bool:
    """Whether a node's answer says that it has no such upload, or not even its bucket."""
    return isinstance(error, NodeRefused) and error.code in (NoSuchUpload.code, NoSuchBucket.code)
