"""Completing a client's multipart upload: its parts become the object."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from aosd.gateway.finishing import Finishing, written_of
from aosd.gateway.look import Located, look
from aosd.gateway.nesting import unnested
from aosd.gateway.requests import Complete, Written
from aosd.gateway.sent import Sent, check_taken, is_after_a_kill, spares, targets
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.gateway.upload_ids import ClientUpload, opened_id
from aosd.gateway.upload_listings import not_open
from aosd.gateway.upload_parts import check_number, is_unknown
from aosd.model.conditions import Verdict, check_write, valid_for_write
from aosd.model.errors import (
    AosdError,
    BadRequest,
    NodeError,
    NodeRefused,
    NoQuorum,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
)
from aosd.model.objects import ObjectHead, Part
from aosd.model.parts import MOST_PARTS, etag_of_parts
from aosd.ports import Candidate, INode

Parts = dict[int, dict[str, Part]]
"""An upload's parts on one node, by number and quoted ETag."""

_PAGE_PARTS = 1000
_OTHER_PARTS = "InvalidPart"


async def complete_upload(store: Store, request: Complete) -> Written:
    """Make the parts that are given the object; returns when R nodes have it.

    It is completed on nodes that have all of them, and copied until there are R. At the key's
    turn: conditions are decided, and an upload that finds something newer (a write, or a
    delete), or can't know, is restamped first. One that no node took is open still. When the
    object that it became stands already, that is a success, and is copied in the same way: the
    answer of the first Complete may have been lost.

    Raises BadRequest, NoSuchUpload, NoSuchBucket, PreconditionFailed, or a ClusterError, after
    which the object may still appear. Cancelling doesn't end it once it has the key's turn.
    """
    parts = _valid(request.parts)
    valid_for_write(request.conditions)
    with cluster_errors():
        upload = opened_id(store, request.bucket, request.key, request.upload_id)
        check_taken(store)
        (end,) = await store.turns.take(
            request.bucket, request.key, _Completing(store, request, upload, parts).at_turn
        )
        return written_of(await end)


def _valid(parts: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """The parts, their ETags quoted. Raises BadRequest unless they are well-formed."""
    if not parts:
        raise BadRequest("an upload is completed of one part at least", "MalformedXML")
    if len(parts) > MOST_PARTS:
        raise BadRequest(f"an object has {MOST_PARTS} parts at most", "InvalidArgument")
    last = 0
    for number, _ in parts:
        check_number(number)
        if number <= last:
            raise BadRequest("the parts aren't in ascending order", "InvalidPartOrder")
        last = number
    return tuple((number, '"{}"'.format(etag.strip().strip('"'))) for number, etag in parts)


class _Completing:
    """One Complete that has the key's turn."""

    def __init__(
        self,
        store: Store,
        request: Complete,
        upload: ClientUpload,
        parts: tuple[tuple[int, str], ...],
    ) -> None:
        self._store = store
        self._request = request
        self._bucket = request.bucket
        self._key = request.key
        self._upload = upload
        self._stamp = upload.stamp
        self._parts = parts
        self._sent = Sent()

    async def at_turn(self) -> list[Deferred[Written | AosdError]]:
        """All that has to be done at the turn; what is left fires when that is done, too."""
        store = self._store
        check_taken(store)
        store.buckets.check(self._bucket, self._stamp)
        return await unnested(store, self._bucket, self._key, self._act)

    async def _act(self) -> list[Deferred[Written | AosdError]]:
        store = self._store
        located = await self._look()
        there = None if located is None else located.head
        if located is not None and there is not None and there.stamp == self._stamp:
            self._stands(located, there)
            # A write that failed since then may lie on some node, or come yet: it isn't to count.
            await self._restamp(located)
            return [self._go_on(there.size_bytes)]
        ready, size_bytes = await self._ready()
        if self._request.conditions:
            etag = None if there is None else there.etag
            if check_write(self._request.conditions, etag) is not Verdict.PROCEED:
                raise PreconditionFailed(
                    "a condition of the request doesn't hold", absent=there is None
                )
        targets(store, self._bucket, self._key)  # no write is taken with fewer nodes than R
        await self._restamp(located)
        await self._complete(ready)
        return [self._go_on(size_bytes)]

    # -- what is there ----------------------------------------------------------------------------

    async def _look(self) -> Located | None:
        """What counts now; None where that can't be known, and isn't asked for."""
        try:
            return await look(self._store, self._bucket, self._key, at_turn=True)
        except (NodeError, NoQuorum):
            if self._request.conditions:
                raise
            return None

    def _stands(self, located: Located, there: ObjectHead) -> None:
        """The upload was completed before: of these parts, or NoSuchUpload."""
        if there.etag != (etag_of_parts([etag for _, etag in self._parts]) or there.etag):
            raise NoSuchUpload("it was completed of other parts")
        for holder in located.holders:
            self._sent.answered(holder.name, there.etag)

    async def _ready(self) -> tuple[dict[str, Candidate], int]:
        """The nodes that have all parts, by name, and how long these are together.

        Raises NoSuchUpload, BadRequest, or NoQuorum where a node that is away may have them.
        """
        store, upload = self._store, self._upload
        if store.uploads.is_over(self._stamp):
            raise NoSuchUpload("it was completed or aborted")
        nodes = upload.reachable(store)
        answers = await ask(nodes, self._listed)
        found = {name: each for name, each in answers.items() if isinstance(each, dict)}
        if not found:
            raise not_open(store, upload, answers.values())
        ready = {each.name: each for each in nodes if self._has_all(found.get(each.name, {}))}
        if not ready:
            missing = [
                number
                for number, etag in self._parts
                if not any(etag in each.get(number, {}) for each in found.values())
            ]
            told = [each for each in answers.values() if isinstance(each, dict | NoSuchUpload)]
            if len(told) < len(upload.members(store)):
                raise NoQuorum("a node that may have all parts is away")
            which = f"part {missing[0]} isn't" if missing else "no node has all of the parts"
            raise BadRequest(f"{which}, or its ETag is another", "InvalidPart")
        return ready, self._size_bytes(found[next(iter(ready))])

    async def _listed(self, node: INode) -> Parts:
        """All of its parts."""
        parts: Parts = {}
        after = 0
        while True:
            page = await node.list_parts(
                self._bucket, self._key, self._upload.ids[node.name], after, _PAGE_PARTS
            )
            for part in page.parts:
                parts.setdefault(part.number, {})[part.etag] = part
            if not page.truncated or not page.parts:
                return parts
            # Of the last number there may be more than the page took.
            last = page.parts[-1].number
            after = last - 1 if last - 1 > after else last

    def _has_all(self, parts: Parts) -> bool:
        return all(etag in parts.get(number, {}) for number, etag in self._parts)

    def _size_bytes(self, parts: Parts) -> int:
        """How long the object is; BadRequest when a part is too short, or the client errs."""
        sizes = [parts[number][etag].size_bytes for number, etag in self._parts]
        least_bytes = self._store.limits.least_part_bytes
        for (number, _), size_bytes in zip(self._parts[:-1], sizes, strict=False):
            if size_bytes < least_bytes:
                raise BadRequest(
                    f"part {number} has {size_bytes} bytes, under {least_bytes}", "EntityTooSmall"
                )
        claimed = self._request.size_bytes
        if claimed is not None and claimed != sum(sizes):
            raise BadRequest(f"the parts are {sum(sizes)} bytes long, not {claimed}")
        return sum(sizes)

    # -- what takes effect ------------------------------------------------------------------------

    async def _restamp(self, located: Located | None) -> None:
        """Let the upload be newer than all that came since its Create.

        Whoever wrote it: this run, or one before. Where copies may differ, or a write be on
        its way yet, more may have come than what counts now.
        """
        store, bucket, key = self._store, self._bucket, self._key
        newest = store.journal.delete_of(bucket, key) or ""
        if located is not None and located.head is not None:
            newest = max(newest, store.version(bucket, key, located.head).stamp)
        unknown = located is None or store.why_unsettled(bucket, key)
        if unknown or newest > store.journal.counts_as(bucket, key, self._stamp):
            await store.restamp(bucket, key, self._stamp)
        store.writes.effect(bucket, key, store.journal.counts_as(bucket, key, self._stamp))

    async def _complete(self, ready: dict[str, Candidate]) -> None:
        """On R of the nodes that have all parts, in each ring; on more while some fail."""
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent
        asked = spares(store, bucket, key, sent, among=ready)
        if is_after_a_kill(store, store.primaries(bucket, key)):
            # One more, where late writes of the run before may land (see `targets`).
            names = {each.name for each in asked}
            there = [each for each in store.could_hold(bucket, key) if each.name in ready]
            asked += [each for each in there if each.name not in names][:1]
        # Nodes that are none for this key any more: it is copied from there.
        asked = asked or list(ready.values())[:1]
        while asked:
            answers = await ask(asked, self._complete_on)
            for name, outcome in answers.items():
                sent.answered(name, outcome)
            asked = spares(store, bucket, key, sent, among=ready)
        if sent.etags:
            # Who has other parts by now can be given a copy.
            for name, error in list(sent.errors.items()):
                if isinstance(error, NodeRefused) and error.code == _OTHER_PARTS:
                    del sent.errors[name]

    async def _complete_on(self, node: INode) -> str:
        try:
            etag = await node.complete_upload(
                self._bucket, self._key, self._upload.ids[node.name], self._parts
            )
        except NodeError as error:
            if not is_unknown(error):
                raise
            # A Complete before this one, whose answer was lost, may have landed by now.
            try:
                there = await node.head(self._bucket, self._key)
            except NoSuchKey:
                raise error from None
            if there.stamp != self._stamp:
                raise
            etag = there.etag
        self._store.uploads.ended(self._stamp, node.name)
        return etag

    # -- after the turn ---------------------------------------------------------------------------

    def _go_on(self, size_bytes: int) -> Deferred[Written | AosdError]:
        finishing = Finishing(self._store, self._bucket, self._key, self._sent)
        going = finishing.go_on(self._stamp, size_bytes)
        return self._store.to_the_end.run(self._ended(going))

    async def _ended(self, going: Deferred[Written | AosdError]) -> Written | AosdError:
        outcome = await going
        if isinstance(outcome, Written):
            # Whoever can't be told now is told later; nobody waits for that.
            self._store.to_the_end.run(self._end_elsewhere())
        return outcome

    async def _end_elsewhere(self) -> None:
        """Let the nodes on which it wasn't completed forget the upload."""
        uploads, upload, stamp = self._store.uploads, self._upload, self._stamp
        if uploads.is_over(stamp):
            return
        uploads.completed(stamp)
        uploads.adopt(stamp, upload.bucket, upload.key, upload.ids)
        # Also on those that have a copy: it may have been made of another node's.
        await ask(
            upload.reachable(self._store),
            lambda node: uploads.abort(stamp, node),
        )
        await uploads.over(stamp)
