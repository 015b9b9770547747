"""Open multipart uploads, remembered on the nodes so that orphans are found and aborted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from aosd.consistency.buckets import has_none, in_bucket
from aosd.consistency.memory import Memory
from aosd.model.errors import NodeError, NodeRefused, NoQuorum
from aosd.model.objects import Headers
from aosd.model.stamp import is_stamp, stamp_time_s
from aosd.ports import INode

_PREFIX = "uploads/"


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload, and what is left of it to end. `id` is its stamp.

    `uploads` are the ids that the nodes gave it, by node name; None where that isn't known:
    the run that began it is over, or the answer to its Create never came.
    """

    id: str
    bucket: str
    key: str
    uploads: Mapping[str, str | None]


class Uploads:
    """What is open now, by this run and those before.

    The record of an upload is written before any node is asked to begin it, so that there
    is never one that nobody knows; it says on which nodes, and not what ids they gave it: an
    orphan's are found by asking the nodes for what is open for its key.
    """

    _log = Logger()

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._open: dict[str, OpenUpload] = {}
        # Of this run: those that somebody is at, and those that nobody goes on with.
        self._in_use: set[str] = set()
        self._given_up: set[str] = set()

    async def begin(self, upload: str, bucket: str, key: str, nodes: Iterable[str]) -> None:
        """Remember the one stamped `upload`, which those nodes will be asked to begin.

        Raises NoQuorum: it isn't to be begun then.
        """
        began = OpenUpload(upload, bucket, key, dict.fromkeys(nodes))
        self._open[upload] = began
        self._in_use.add(upload)
        told = {"bucket": bucket, "key": key, "nodes": sorted(began.uploads)}
        try:
            await self._memory.write(_PREFIX + upload, json.dumps(told).encode())
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
                self.ended(upload, node.name)
            raise
        this = self._open[upload]
        self._open[upload] = replace(this, uploads={**this.uploads, node.name: upload_id})
        return upload_id

    async def abort(self, upload: str, node: INode) -> None:
        """End it on a node; one that can't be told now is told by `tend`."""
        this = self._open.get(upload)
        upload_id = None if this is None else this.uploads.get(node.name)
        if this is None or upload_id is None:
            return
        if await self._abort(this, upload_id, node):
            self.ended(upload, node.name)

    def ended(self, upload: str, node: str) -> None:
        """It was completed or aborted there, or never begun."""
        if this := self._open.get(upload):
            left = {name: each for name, each in this.uploads.items() if name != node}
            self._open[upload] = replace(this, uploads=left)

    async def over(self, upload: str) -> None:
        """Nobody goes on with it: forgotten when it ended on all its nodes, else an orphan."""
        this = self._open.get(upload)
        if this is None:
            return  # it was never begun
        self._in_use.discard(upload)
        if this.uploads:
            self._given_up.add(upload)
        else:
            await self._forget(upload)

    async def abort_all(self, bucket: str, nodes: Mapping[str, INode]) -> None:
        """End all that is open in a bucket, whoever is at it, on these nodes, by name.

        One that is just being begun is left to who begins it.
        """
        for this in [each for each in self._open.values() if each.bucket == bucket]:
            if this.id in self._in_use and None in this.uploads.values():
                continue
            for name, upload_id in this.uploads.items():
                node = nodes.get(name)
                if node is not None and upload_id is not None:
                    await self.abort(this.id, node)
                elif node is not None:
                    await self._abort_unknown(this, node)
            await self.over(this.id)

    async def tend(self, nodes: Mapping[str, INode], before_s: float) -> None:
        """End what nobody goes on with, on those of its nodes that can be asked, by name.

        That is what was given up here, and what began before `before_s` (since 1970) and isn't
        in use. Of the latter the ids that aren't known are asked for.
        """
        for this in list(self._open.values()):
            is_old = stamp_time_s(this.id) < before_s and this.id not in self._in_use
            if not is_old and this.id not in self._given_up:
                continue
            for name, upload_id in this.uploads.items():
                node = nodes.get(name)
                if node is None:
                    continue
                if upload_id is not None:
                    await self.abort(this.id, node)
                elif is_old:
                    await self._abort_unknown(this, node)
            await self.over(this.id)

    def load(self, records: Mapping[str, bytes]) -> None:
        """Take in what a node has."""
        for key, data in records.items():
            if not key.startswith(_PREFIX):
                continue
            try:
                told = json.loads(data)
                upload = OpenUpload(
                    key.removeprefix(_PREFIX),
                    str(told["bucket"]),
                    str(told["key"]),
                    dict.fromkeys(map(str, told["nodes"])),
                )
                if not is_stamp(upload.id):
                    raise ValueError(upload.id)
            except (ValueError, TypeError, KeyError):
                self._log.warn("{key} can't be read", key=key)
                continue
            self._open.setdefault(upload.id, upload)

    async def _forget(self, upload: str) -> None:
        self._open.pop(upload, None)
        self._in_use.discard(upload)
        self._given_up.discard(upload)
        await self._memory.remove([_PREFIX + upload])

    async def _abort(self, this: OpenUpload, upload_id: str, node: INode) -> bool:
        try:
            await node.abort_upload(this.bucket, this.key, upload_id)
        except NodeError as error:
            self._log.info("upload not aborted: {error}", error=error, node=node.name)
            return False
        return True

    async def _abort_unknown(self, orphan: OpenUpload, node: INode) -> None:
        """Abort what is open for the key there, but for what others are at."""
        try:
            open_there = await node.list_uploads(orphan.bucket, orphan.key)
        except NodeError as error:
            if has_none(error):
                self.ended(orphan.id, node.name)  # they went with the bucket
                return
            self._log.info("uploads not listed: {error}", error=error, node=node.name)
            return
        claims = {
            each.uploads[node.name]
            for each in self._open.values()
            if (each.bucket, each.key) == (orphan.bucket, orphan.key)
            and node.name in each.uploads
            and each.id in self._in_use
        }
        nobodys = [each for each in open_there if each not in claims]
        if not nobodys:
            self.ended(orphan.id, node.name)
        elif None not in claims:  # or one of these may be another's, and nobody can say which
            # What this leaves open, or didn't see, is looked for the next time.
            for upload_id in nobodys:
                await self._abort(orphan, upload_id, node)
