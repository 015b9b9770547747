"""Where keys are settled, for all that nodes and rings say: found out once for many requests."""

from __future__ import annotations

from aosd.model.ring import PARTITIONS
from aosd.ports import Candidate

Primaries = tuple[Candidate, ...]


class KnownPrimaries:
    """Of each partition the primaries, none where it isn't settled; as of some `changes`.

    `changes` is a number that grows with everything that this depends on. In a cluster of many
    nodes, and for a small object, to find it out is a good part of what a request costs.
    """

    def __init__(self) -> None:
        self._changes = -1
        self._of: list[Primaries | None] = []
        self._same: dict[Primaries, Primaries] = {}

    def of(self, partition: int, changes: int) -> Primaries | None:
        """What was kept; None when nothing was, since `changes` became what it is."""
        if changes != self._changes:
            self._changes, self._of, self._same = changes, [None] * PARTITIONS, {}
        return self._of[partition]

    def keep(self, partition: int, found: Primaries) -> Primaries:
        """Remember what was found out after `of` said None; returns it."""
        found = self._of[partition] = self._same.setdefault(found, found)
        return found
