"""Which buckets there are: a register each, so that a node that was away brings none back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aosd.consistency.registers import Register, Registers
from aosd.model.errors import NoSuchBucket
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.stamp import stamp_time_s

LIVE = "live"
CLOSED = "closed"  # it is being deleted: nothing is written any more
DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as its register has it.

    `born` is the stamp of its making ("" for `object`, which is there from the beginning);
    `settings` what clients configured, by names of doors' choosing.
    """

    name: str
    state: str
    born: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def created_s(self) -> int:
        """When it was made, in seconds since 1970; 0 when nobody knows."""
        return stamp_time_s(self.born) if self.born else 0


class Buckets:
    """What is known of buckets now, in this process; nobody is asked."""

    def __init__(self, registers: Registers) -> None:
        self.registers = registers

    def get(self, name: str) -> Bucket | None:
        """The bucket's record; None when there never was one."""
        register = self.registers.get("buckets", name)
        if register is not None:
            return _read(register)
        return Bucket(OBJECT_BUCKET, LIVE, "") if name == OBJECT_BUCKET else None

    def live(self) -> list[Bucket]:
        """All that there are, by name."""
        names = {OBJECT_BUCKET, *(each.name for each in self.registers.all("buckets"))}
        found = (self.get(name) for name in sorted(names))
        return [each for each in found if each is not None and each.state == LIVE]

    def check(self, name: str) -> Bucket:
        """The bucket, as it is; raises NoSuchBucket."""
        found = self.get(name)
        if found is None or found.state != LIVE:
            raise NoSuchBucket(f"there is no bucket {name}")
        return found


def _read(register: Register) -> Bucket:
    value = register.value
    settings = value.get("settings")
    return Bucket(
        register.name,
        str(value.get("state", DELETED)),
        str(value.get("born", "")),
        dict(settings) if isinstance(settings, Mapping) else {},
    )
