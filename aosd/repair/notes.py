"""What a clean stop leaves of sweeps, in `aos-system/sweep`: the next run goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.errors import AosdError, NodeError
from aosd.model.stamp import StampClock
from aosd.ports import INode

SWEEP_KEY = "sweep"


@dataclass(frozen=True, slots=True)
class SweepNote:
    """Sweeps as they were; times in seconds since 1970.

    The last complete one, in the ring named `ring`, began at `began_s` and ended at
    `ended_s`. One by the calendar that was cut short had begun at `part_began_s` (0: there
    is none), and was done up to `after` in `bucket`. The last complete one compared `keys`
    (0: that isn't known).
    """

    ring: str
    began_s: float
    ended_s: float
    part_began_s: float = 0.0
    bucket: str = ""
    after: str = ""
    stamp: str = ""
    keys: int = 0


class SweepNotes:
    """Writes notes to all nodes, and reads the newest."""

    _log = Logger()

    def __init__(self, memory: Memory, stamps: StampClock) -> None:
        self._memory = memory
        self._stamps = stamps

    async def write(self, note: SweepNote) -> None:
        """Leave a note. Without it the next sweep begins at the beginning, and compares more."""
        data = json.dumps(asdict(replace(note, stamp=self._stamps.next()))).encode()
        try:
            await self._memory.write(SWEEP_KEY, data)
        except AosdError as error:
            self._log.info("no note of sweeps: {error}", error=error)

    async def read(self, nodes: Iterable[INode]) -> SweepNote | None:
        """The newest that these nodes have; None when there is none."""
        newest: SweepNote | None = None
        for node in nodes:
            try:
                found = await self._memory.fetch(node, [SWEEP_KEY])
            except NodeError as error:
                self._log.info("its note of sweeps can't be read: {error}", error=error)
                continue
            note = _parsed(found.get(SWEEP_KEY))
            if note is not None and (newest is None or note.stamp > newest.stamp):
                newest = note
        return newest


def _parsed(data: bytes | None) -> SweepNote | None:
    try:
        told = json.loads(data or b"")
        return SweepNote(
            str(told["ring"]),
            float(told["began_s"]),
            float(told["ended_s"]),
            float(told["part_began_s"]),
            str(told["bucket"]),
            str(told["after"]),
            str(told["stamp"]),
            int(told.get("keys", 0)),
        )
    except (ValueError, TypeError, KeyError):
        return None
