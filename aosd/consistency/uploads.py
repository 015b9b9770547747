"""Open multipart uploads, remembered on the nodes so that orphans are found and aborted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from aosd.consistency.buckets import has_none, in_bucket
from aosd.consistency.memory import Memory
from aosd.model.errors import NodeError, NodeRefused, NoQuorum
from aosd.model.objects import Headers
from aosd.model.stamp import is_stamp, stamp_time_s
from aosd.ports import INode

_PREFIX = "uploads/"
_MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload, and what is left of it to end. `id` is its stamp.

    `uploads` are the ids that the nodes gave it, by node name; None where that isn't known:
    the run that began it is over, or the answer to its Create never came. `client`: a client
    goes on with it, through this run or another, until it is completed, aborted or old.
    """

    id: str
    bucket: str
    key: str
    uploads: Mapping[str, str | None]
    client: bool = False

    @property
    def ids(self) -> dict[str, str]:
        """The nodes' ids that are known, by node name."""
        return {name: each for name, each in sorted(self.uploads.items()) if each is not None}

    def to_bytes(self, *, over: bool = False) -> bytes:
        """As it is remembered; `over`: nobody goes on with it."""
        told: dict[str, Any] = {
            "bucket": self.bucket,
            "key": self.key,
            "nodes": sorted(self.uploads),
        }
        if self.client:
            told |= {"client": True, "ids": self.ids}
        if over:
            told["over"] = True
        return json.dumps(told).encode()


class Uploads:
    """What is open now, by this run and those before.

    The record of an upload is written before any node is asked to begin it, so that there
    is never one that nobody knows; it says on which nodes, and not what ids they gave it: an
    orphan's are found by asking the nodes for what is open for its key. A client's upload
    outlives runs, and is listed: its record is written once more, with the ids.

    `is_own` says of a stamp whether this run gave it.
    """

    _log = Logger()

    def __init__(self, memory: Memory, is_own: Callable[[str], bool] = lambda stamp: False) -> None:
        self._memory = memory
        self._is_own = is_own
        self._open: dict[str, OpenUpload] = {}
        # Of this run: those that somebody is at, and those that nobody goes on with.
        self._in_use: set[str] = set()
        self._given_up: set[str] = set()
        # Of the latter, clients' of which too few nodes remember that they are over.
        self._unremembered: set[str] = set()
        # Clients' that ended in this run: what lies on a node that was away says nothing. What
        # this run began and doesn't know any more has ended, too.
        self._ended: dict[str, None] = {}
        # Where one ended, and its id there: of those that are open yet elsewhere, and of others.
        self._closed: dict[str, dict[str, str | None]] = {}
        self._forgotten: dict[str, dict[str, str | None]] = {}
        # Those that a node told of when it wasn't remembered any more where they had ended.
        self._come_back: set[str] = set()
        # Those whose nodes are being told that they are over.
        self._ending: set[str] = set()
        # Parts that were acknowledged, and that a node of the upload lacks.
        self._missed: dict[str, dict[str, set[int]]] = {}

    async def begin(
        self, upload: str, bucket: str, key: str, nodes: Iterable[str], *, client: bool = False
    ) -> None:
        """Remember the one stamped `upload`, which those nodes will be asked to begin.

        Raises NoQuorum: it isn't to be begun then.
        """
        began = OpenUpload(upload, bucket, key, dict.fromkeys(nodes), client)
        self._open[upload] = began
        self._in_use.add(upload)
        try:
            await self._memory.write(_PREFIX + upload, began.to_bytes())
        except (NoQuorum, CancelledError):
            await self._forget(upload)
            raise

    async def create(self, upload: str, node: INode, headers: Headers) -> str:
        """Begin it on a node that `begin` was told of; its id there. Raises NodeError."""
        this = self._open[upload]
        try:
            upload_id = await in_bucket(
                node, this.bucket, lambda: node.create_upload(this.bucket, this.key, headers)
            )
        except NodeRefused as error:
            if error.is_final:
                self._leave(upload, node.name)
            raise
        this = self._open[upload]
        self._open[upload] = replace(this, uploads={**this.uploads, node.name: upload_id})
        return upload_id

    async def begun(self, upload: str) -> OpenUpload:
        """All its nodes were asked: from now on it is the client's, whatever run there is.

        Where too few nodes remember the ids now, it can't be listed by a run after this one.
        """
        this = self._open[upload]
        self._in_use.discard(upload)
        await self._remember(this)
        return this

    def adopt(self, upload: str, bucket: str, key: str, ids: Mapping[str, str]) -> None:
        """Somebody came with the ids of an upload that may be known without them, or not at all."""
        this = self._open.get(upload)
        if this is None:
            self._open[upload] = OpenUpload(upload, bucket, key, dict(ids), client=True)
        else:
            known = {name: each or ids.get(name) for name, each in this.uploads.items()}
            self._open[upload] = replace(this, uploads=known)

    def knows(self, upload: str) -> bool:
        """Whether it is remembered, and somebody may go on with it."""
        return upload in self._open and not self.is_over(upload)

    def is_over(self, upload: str) -> bool:
        """Whether it was completed or aborted, as far as is remembered, or is being aborted."""
        return upload in self._given_up or upload in self._ended or upload in self._ending

    def of_clients(self, bucket: str) -> list[OpenUpload]:
        """Clients' open uploads in a bucket whose ids are known, in no order."""
        return [
            each
            for each in self._open.values()
            if each.bucket == bucket and each.client and each.ids and self.knows(each.id)
        ]

    def all(self) -> list[OpenUpload]:
        """All that isn't ended on all of its nodes yet, the oldest first."""
        return [self._open[each] for each in sorted(self._open)]

    def open_on(self, node: str) -> int:
        """How many are open on a node, for all that is known, orphans too."""
        return sum(node in each.uploads for each in self._open.values())

    def lacking(self, upload: str, number: int) -> set[str]:
        """Nodes that missed a part that was acknowledged, other than `number`, in this run."""
        missed = self._missed.get(upload, {})
        return {name for name, numbers in missed.items() if numbers - {number}}

    def part_taken(
        self, upload: str, number: int, took: Iterable[str], missed: Iterable[str]
    ) -> None:
        """Part `number` is acknowledged; those nodes have it, and these don't."""
        known = self._missed.setdefault(upload, {})
        for name in took:
            known.get(name, set()).discard(number)
        for name in missed:
            known.setdefault(name, set()).add(number)

    @contextmanager
    def ending(self, upload: str) -> Iterator[None]:
        """While its nodes are told that it is over: some know it by then, and some don't."""
        self._ending.add(upload)
        try:
            yield
        finally:
            self._ending.discard(upload)

    async def abort(self, upload: str, node: INode) -> None:
        """End it on a node; one that can't be told now is told by `tend`."""
        this = self._open.get(upload)
        upload_id = None if this is None else this.uploads.get(node.name)
        if this is None or upload_id is None:
            return
        if await self._abort(this, upload_id, node):
            self.ended(upload, node.name)

    def ended(self, upload: str, node: str) -> None:
        """It was completed or aborted there, or isn't open for all that the node says.

        A node that loses its power may have it open again: see `load`.
        """
        if (this := self._open.get(upload)) and node in this.uploads:
            self._closed.setdefault(upload, {})[node] = this.uploads[node]
            self._leave(upload, node)

    def completed(self, upload: str) -> None:
        """A client's was, on enough nodes: the rest is about to be told."""
        self._ended[upload] = None
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def is_unremembered(self, upload: str) -> bool:
        """Whether it is over, and open on some node, and a run after this one may not know."""
        return upload in self._unremembered

    async def over(self, upload: str, *, surely: bool = False) -> None:
        """Nobody goes on with it: forgotten when it ended on all its nodes, else an orphan.

        That is remembered of a client's; where it can't be now, `tend` tries again. With
        `surely` NoQuorum is raised then.
        """
        this = self._open.get(upload)
        if this is None:
            return  # it was never begun
        self._in_use.discard(upload)
        self._missed.pop(upload, None)
        if not this.uploads:
            await self._forget(upload)
        elif upload not in self._given_up or upload in self._unremembered:
            self._given_up.add(upload)
            if this.client:
                await self._remember_over(this, surely)

    async def abort_all(
        self,
        bucket: str,
        nodes: Mapping[str, INode],
        may_begin: Callable[[str], bool] = lambda upload: False,
    ) -> None:
        """End all that is open in a bucket, whoever is at it, on these nodes, by name.

        One that is just being begun is left to who begins it. `may_begin` says of an upload
        whether a Create that went unanswered may take effect yet: that one is an orphan then,
        whatever the node says now. Its bucket may be made again before that.
        """
        for this in [each for each in self._open.values() if each.bucket == bucket]:
            if this.id in self._in_use and None in this.uploads.values():
                continue
            for name, upload_id in this.uploads.items():
                node = nodes.get(name)
                if node is not None and upload_id is not None:
                    await self.abort(this.id, node)
                elif node is not None:
                    await self._abort_unknown(this, node, math.inf, may_begin=may_begin(this.id))
            await self.over(this.id)

    async def tend(
        self,
        nodes: Mapping[str, INode],
        before_s: float,
        is_gone: Callable[[str], bool] = lambda name: False,
        leaving: Collection[str] = (),
        *,
        runs_are_over: bool = False,
    ) -> None:
        """End what nobody goes on with, on those of its nodes that can be asked, by name.

        That is what was given up here, and what began before `before_s` (since 1970) and isn't
        in use. Of the latter the ids that aren't known are asked for, and of what had ended
        before a node told of it again: no Create of it is on its way any more. From then on
        nothing is open on a node that `is_gone` for good; before that it may be back, with no
        object on it, and be a member once more.

        `runs_are_over`: nothing that a run before us sent can take effect any more. What it began
        for itself, and not for a client who goes on with it, is an orphan then, however young.

        Those that are `leaving` are asked whether what is on record is open there yet: a record
        that a run before us removed may have stayed, and they wait for it.
        """
        for this in list(self._open.values()):
            for name in this.uploads.keys() & set(leaving) & nodes.keys():
                if this.id not in self._in_use:
                    await self._check_open(this, nodes[name])
        for this in list(self._open.values()):
            is_used = this.id in self._in_use
            is_old = stamp_time_s(this.id) < before_s and not is_used
            is_left = runs_are_over and not (this.client or is_used or self._is_own(this.id))
            if not is_old and not is_left and this.id not in self._given_up:
                continue
            if is_old:
                for name in filter(is_gone, list(this.uploads)):
                    self._leave(this.id, name)
                this = self._open.get(this.id, this)
            for name, upload_id in this.uploads.items():
                node = nodes.get(name)
                if node is None:
                    continue
                if upload_id is not None:
                    await self.abort(this.id, node)
                elif is_old or is_left or this.id in self._come_back:
                    await self._abort_unknown(this, node, before_s)
            await self.over(this.id)

    def load(self, records: Mapping[str, bytes], node: str = "") -> None:
        """Take in what a node has.

        It may have lost the end of an upload that it acknowledged, and with it whatever came
        later: its record. So what ended there, and stands on record there, is ended once more.
        """
        for key, data in records.items():
            if not key.startswith(_PREFIX):
                continue
            try:
                told = json.loads(data)
                ids = {str(name): str(each) for name, each in told.get("ids", {}).items()}
                upload = OpenUpload(
                    key.removeprefix(_PREFIX),
                    str(told["bucket"]),
                    str(told["key"]),
                    {name: ids.get(name) for name in map(str, told["nodes"])},
                    bool(told.get("client")),
                )
                if not is_stamp(upload.id):
                    raise ValueError(upload.id)
                is_over = bool(told.get("over"))
            except (ValueError, TypeError, KeyError, AttributeError):
                self._log.warn("{key} can't be read", key=key)
                continue
            if upload.id in self._open:
                # Another node may have it as it was before the ids were known.
                self.adopt(upload.id, upload.bucket, upload.key, ids)
            else:
                # A disk of before has it: its record, and maybe the upload itself.
                is_back = upload.id in self._ended or self._is_own(upload.id)
                if (closed := self._forgotten.pop(upload.id, None)) is not None:
                    is_back, self._closed[upload.id] = True, closed
                    self._open[upload.id] = replace(upload, uploads={})
                else:
                    self._open[upload.id] = upload
                    if is_back:
                        self._come_back.add(upload.id)
                is_over = is_over or is_back
                self._memory.keep(key)
            if node in upload.uploads:
                self._reopen(upload, node)
            if is_over and upload.id not in self._in_use:
                self._given_up.add(upload.id)

    def _reopen(self, told: OpenUpload, node: str) -> None:
        """It may be open on a node that has it on record, also if it ended there before."""
        this, closed = self._open[told.id], self._closed.get(told.id, {})
        upload_id = told.uploads[node] or closed.get(node)
        if node not in this.uploads and (upload_id is not None or node in closed):
            self._open[told.id] = replace(this, uploads={**this.uploads, node: upload_id})

    async def _remember(self, this: OpenUpload) -> None:
        try:
            await self._memory.write(_PREFIX + this.id, this.to_bytes())
        except NoQuorum as error:
            self._log.info("upload not remembered: {error}", error=error, upload=this.id)

    async def _remember_over(self, this: OpenUpload, surely: bool) -> None:
        self._unremembered.add(this.id)
        try:
            await self._memory.write(_PREFIX + this.id, this.to_bytes(over=True))
        except NoQuorum as error:
            self._log.info("end of upload not remembered: {error}", error=error, upload=this.id)
            if surely:
                raise
        else:
            self._unremembered.discard(this.id)

    async def _forget(self, upload: str) -> None:
        this = self._open.pop(upload, None)
        if this is not None and this.client:
            self.completed(upload)
        self._come_back.discard(upload)
        self._forgotten[upload] = self._closed.pop(upload, {})
        if len(self._forgotten) > _MOST_ENDED:
            del self._forgotten[next(iter(self._forgotten))]
        self._missed.pop(upload, None)
        self._in_use.discard(upload)
        self._given_up.discard(upload)
        self._unremembered.discard(upload)
        # A node that is returning may have it open again, and nothing but its record says so.
        await self._memory.remove([_PREFIX + upload], but_returning=True)

    def _leave(self, upload: str, node: str) -> None:
        """It isn't open there, and can't be."""
        if this := self._open.get(upload):
            left = {name: each for name, each in this.uploads.items() if name != node}
            self._open[upload] = replace(this, uploads=left)

    async def _abort(self, this: OpenUpload, upload_id: str, node: INode) -> bool:
        try:
            await node.abort_upload(this.bucket, this.key, upload_id)
        except NodeError as error:
            self._log.info("upload not aborted: {error}", error=error, node=node.name)
            return False
        return True

    async def _check_open(self, this: OpenUpload, node: INode) -> None:
        """It has ended on a node that doesn't tell of the id that it gave it."""
        upload_id = this.uploads[node.name]
        if upload_id is None:
            return
        try:
            is_open = upload_id in await node.list_uploads(this.bucket, this.key)
        except NodeError as error:
            if not has_none(error):
                self._log.info("uploads not listed: {error}", error=error, node=node.name)
                return
            is_open = False
        if not is_open:
            self.ended(this.id, node.name)
            if (left := self._open.get(this.id)) is not None and not left.uploads:
                await self.over(this.id)

    async def _abort_unknown(
        self, orphan: OpenUpload, node: INode, before_s: float, *, may_begin: bool = False
    ) -> None:
        """Abort what is open for the key there, but for what others are at.

        Those are clients, too, whose uploads began since `before_s`. One that has come back is
        in the way of none that is known otherwise. It has ended there when nothing is left,
        unless it `may_begin` yet.
        """
        try:
            open_there = await node.list_uploads(orphan.bucket, orphan.key)
        except NodeError as error:
            if has_none(error):
                if not may_begin:
                    self.ended(orphan.id, node.name)  # they went with the bucket
                return
            self._log.info("uploads not listed: {error}", error=error, node=node.name)
            return
        is_back = orphan.id in self._come_back
        claims = {
            each.uploads[node.name]
            for each in self._open.values()
            if (each.bucket, each.key) == (orphan.bucket, orphan.key)
            and node.name in each.uploads
            and (each.id in self._in_use or self._is_living(each, before_s) or is_back)
            and each.id not in self._come_back
        }
        nobodys = [each for each in open_there if each not in claims]
        if not nobodys:
            if not may_begin:
                self.ended(orphan.id, node.name)
        elif None not in claims:  # or one of these may be another's, and nobody can say which
            # What this leaves open, or didn't see, is looked for the next time.
            for upload_id in nobodys:
                await self._abort(orphan, upload_id, node)

    def _is_living(self, this: OpenUpload, before_s: float) -> bool:
        return this.client and self.knows(this.id) and stamp_time_s(this.id) >= before_s
