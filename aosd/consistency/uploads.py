"""Open multipart uploads, remembered on the nodes so that orphans are found and aborted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.stamp import is_stamp, stamp_time_s

_PREFIX = "uploads/"


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload: the id that each node gave it, by node name. `id` is its stamp."""

    id: str
    bucket: str
    key: str
    uploads: Mapping[str, str]


class Uploads:
    """What is open now, by this run and those before."""

    _log = Logger()

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._open: dict[str, OpenUpload] = {}
        self._given_up: set[str] = set()
        self._unwritten: dict[str, bytes] = {}

    async def opened(self, upload: str, told: Mapping[str, Any]) -> None:
        """Remember the one stamped `upload`: `told` is {"bucket", "key", "uploads"}.

        Raises NoQuorum; it is known here all the same, and to be closed.
        """
        self._open[upload] = OpenUpload(upload, told["bucket"], told["key"], told["uploads"])
        data = self._unwritten[upload] = json.dumps(dict(told)).encode()
        await self._memory.write(_PREFIX + upload, data)
        self._unwritten.pop(upload, None)

    async def closed(self, upload: str) -> None:
        """It was completed or aborted on all its nodes."""
        self._open.pop(upload, None)
        self._given_up.discard(upload)
        self._unwritten.pop(upload, None)
        await self._memory.remove([_PREFIX + upload])

    async def tend(self) -> None:
        """Write what couldn't be, so that a run that follows knows. Raises NoQuorum."""
        for upload, data in list(self._unwritten.items()):
            if upload in self._given_up:
                await self._memory.write(_PREFIX + upload, data)
                self._unwritten.pop(upload, None)

    def unwritten(self) -> set[tuple[str, str]]:
        """Node and id of the open ones that no run but this knows of."""
        open_ = (self._open[each] for each in self._unwritten if each in self._open)
        return {item for upload in open_ for item in upload.uploads.items()}

    def give_up(self, upload: str) -> None:
        """Nobody will complete it, and a node couldn't be told: it is an orphan already."""
        self._given_up.add(upload)

    def orphans(self, before_s: float) -> list[OpenUpload]:
        """Those given up, and those begun before `before_s` (since 1970)."""
        return [
            each
            for each in self._open.values()
            if each.id in self._given_up or stamp_time_s(each.id) < before_s
        ]

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
                    dict(told["uploads"]),
                )
                if not is_stamp(upload.id):
                    raise ValueError(upload.id)
            except (ValueError, TypeError, KeyError):
                self._log.warn("{key} can't be read", key=key)
                continue
            self._open.setdefault(upload.id, upload)
