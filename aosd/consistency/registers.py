"""Registers: what the cluster knows of members, buckets and runs; each one's newest stands."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.stamp import StampClock, is_stamp
from aosd.ports import INode

KINDS = ("members", "buckets", "runs")


@dataclass(frozen=True, slots=True)
class Register:
    """One value and when it was set."""

    kind: str
    name: str
    stamp: str
    value: Mapping[str, Any]


class Registers:
    """See DESIGN, What lies on a node: never one document for everything."""

    _log = Logger()

    def __init__(self, memory: Memory, stamps: StampClock) -> None:
        self.newest = ""
        self._memory = memory
        self._stamps = stamps
        self._known: dict[tuple[str, str], Register] = {}
        self._turns: defaultdict[tuple[str, str], DeferredLock] = defaultdict(DeferredLock)

    def get(self, kind: str, name: str) -> Register | None:
        """What is known of it; None when it was never set."""
        return self._known.get((kind, name))

    def all(self, kind: str) -> list[Register]:
        """All of a kind, by name."""
        return [self._known[each] for each in sorted(self._known) if each[0] == kind]

    async def set(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Set it, on enough nodes. Raises NoQuorum; it may have been set all the same then.

        Of one register, one after the other: of two on their way together, the older might
        land last.
        """
        turn = self._turns[kind, name]
        await turn.acquire()
        register = Register(kind, name, self._stamps.next(), dict(value))
        data = json.dumps({"stamp": register.stamp, "value": register.value}).encode()
        await self._memory.write(f"{kind}/{name}", data, ended=turn.release)
        self._take(register)

    def load(self, records: Mapping[str, bytes]) -> None:
        """Take in what a node has; the newer of two stands."""
        for register in self._parsed(records):
            self._take(register)

    async def told_by(self, node: INode, kind: str) -> list[Register]:
        """What a node says, be it ours or not; it isn't taken in. Raises NodeError."""
        return list(self._parsed(await self._memory.read(node, f"{kind}/")))

    def _parsed(self, records: Mapping[str, bytes]) -> Iterator[Register]:
        for key, data in records.items():
            kind, _, name = key.partition("/")
            if kind not in KINDS or not name:
                continue
            try:
                told = json.loads(data)
                register = Register(kind, name, str(told["stamp"]), dict(told["value"]))
            except (ValueError, TypeError, KeyError):
                self._log.warn("{key} can't be read", key=key)
                continue
            if is_stamp(register.stamp):
                yield register

    def records(self) -> dict[str, bytes]:
        """All as they are to lie on a node."""
        return {
            f"{each.kind}/{each.name}": json.dumps(
                {"stamp": each.stamp, "value": each.value}
            ).encode()
            for each in self._known.values()
        }

    def _take(self, register: Register) -> None:
        known = self._known.get((register.kind, register.name))
        if known is None or known.stamp < register.stamp:
            self._known[register.kind, register.name] = register
        self.newest = max(self.newest, register.stamp)
