"""Whether repair stands still because somebody said so: remembered on the nodes."""

from __future__ import annotations

from aosd.consistency.registers import Registers

KIND = "repair"
NAME = "pause"


class Pausing:
    """The register `repair/pause`, {"paused": bool}: it survives a restart."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers

    @property
    def paused(self) -> bool:
        """Whether no sweep may run."""
        register = self._registers.get(KIND, NAME)
        return register is not None and register.value.get("paused") is True

    def check(self) -> None:
        """Raise NoQuorum when too few nodes can be asked to remember it."""
        self._registers.check()

    async def set(self, *, paused: bool) -> None:
        """Let it be so. Raises NoQuorum; it may be so all the same, after a restart."""
        await self._registers.set(KIND, NAME, {"paused": paused})
