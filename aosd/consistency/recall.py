"""All that the cluster remembers on its nodes, as one thing to read, follow and level."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aosd.consistency.heartbeat import HEARTBEATS
from aosd.consistency.journal import Journal
from aosd.consistency.marks import Marks
from aosd.consistency.memory import Memory
from aosd.consistency.registers import Registers
from aosd.consistency.uploads import Uploads
from aosd.model.stamp import StampClock, is_stamp
from aosd.ports import INode

STOPPED_KEY = "stopped.json"
_AT_A_TIME = 50
_PREFIXES = ("journal/", "marks/", "uploads/")


@dataclass(frozen=True, slots=True)
class StopNote:
    """What a clean stop leaves on each node: its run, and the nodes that were unsettled.

    Of those, the ones that may lack something: they were away, or `lacking` since they were;
    or `unwatched`, before that run. Requests of runs before may take effect for another
    `late_s` seconds. `stamp` is how far its clock had come.
    """

    run: str
    unsettled: frozenset[str] = field(default_factory=frozenset)
    lacking: frozenset[str] = field(default_factory=frozenset)
    unwatched: frozenset[str] = field(default_factory=frozenset)
    late_s: float = 0.0
    stamp: str = ""

    def to_bytes(self) -> bytes:
        """As it lies on a node."""
        told = {
            "run": self.run,
            "unsettled": sorted(self.unsettled),
            "lacking": sorted(self.lacking),
            "unwatched": sorted(self.unwatched),
            "late_s": self.late_s,
            "stamp": self.stamp,
        }
        return json.dumps(told).encode()


def read_note(data: bytes | None) -> StopNote | None:
    """The note in a record; None when there is none, or none that can be read."""
    if data is None:
        return None
    try:
        told = json.loads(data)
        unsettled, lacking, unwatched = (
            frozenset(map(str, told[name])) for name in ("unsettled", "lacking", "unwatched")
        )
        late_s, stamp = float(told["late_s"]), str(told["stamp"])
        return StopNote(str(told["run"]), unsettled, lacking, unwatched, late_s, stamp)
    except (ValueError, TypeError, KeyError):
        return None


def _clocks(records: Mapping[str, bytes]) -> Iterator[str]:
    """How far the clocks of runs before had come: by their heartbeats, and their notes."""
    for key, data in records.items():
        if key == STOPPED_KEY or key.startswith(HEARTBEATS):
            with suppress(ValueError, TypeError, KeyError):
                yield str(json.loads(data)["stamp"])


class Recall:
    """The records of `aos-system`, but for each node's own marker and note."""

    def __init__(
        self,
        memory: Memory,
        registers: Registers,
        journal: Journal,
        marks: Marks,
        uploads: Uploads,
        stamps: StampClock,
        level_buckets: Callable[[INode], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.memory = memory
        self.registers = registers
        self.journal = journal
        self.marks = marks
        self.uploads = uploads
        self._stamps = stamps
        self._level_buckets = level_buckets

    async def load(self, records: Mapping[str, bytes], node: str = "") -> None:
        """Take in what a node has; in any order, any number of times."""
        self.registers.load(records, node)
        await self.journal.load(records)
        self.marks.load(records)
        self.uploads.load(records, node)
        known = (self.registers.newest, self.journal.newest, self.marks.newest)
        for stamp in (*known, *_clocks(records)):
            if is_stamp(stamp):
                self._stamps.observe(stamp)

    async def read(self, node: INode) -> dict[str, bytes]:
        """Take in what a node has, but for marks and the journal's records that are known.

        Returns what it had of its own: its marker, and the note.
        """
        names = await self.memory.names(node, "")
        known = self.marks.names()
        unknown = sorted(
            name for name in names if name not in known and not self.journal.knows(name)
        )
        kept: dict[str, bytes] = {}
        # A week of deletes is more than fits in memory at once.
        for first in range(0, len(unknown), _AT_A_TIME):
            records = await self.memory.fetch(node, unknown[first : first + _AT_A_TIME])
            await self.load(records, node.name)
            kept.update((name, data) for name, data in records.items() if "/" not in name)
        return kept

    async def level(self, node: INode, others: Sequence[INode]) -> None:
        """Take in what only `node` has, and give it the records and the buckets that it lacks.

        Raises NodeError; what it has is taken in also when it has no space. What was cleared
        meanwhile and lies on it still comes back to mind by that: a mark is cleared again
        once its key was looked at, a journal line says what is so.
        """
        memory = self.memory
        await self.read(node)
        await self.registers.confirm()
        await self.registers.give(node)
        for prefix in _PREFIXES:
            have = await memory.names(node, prefix)
            for other in others:
                lacking = await memory.names(other, prefix) - have
                wanted = sorted(lacking)
                for first in range(0, len(wanted), _AT_A_TIME):
                    some = wanted[first : first + _AT_A_TIME]
                    await memory.give(node, await memory.fetch(other, some))
                have |= lacking
        await self.read(node)
        if self._level_buckets is not None:
            await self._level_buckets(node)
