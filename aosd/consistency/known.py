"""Where keys belong and whether they are settled, for all that nodes and rings say.

Found out once for many requests: in a cluster of many nodes, and for a small object, to find it
out is a good part of what a request costs.
"""

from __future__ import annotations

from typing import NamedTuple

from aosd.model.ring import PARTITIONS
from aosd.ports import Candidate


class Place(NamedTuple):
    """Of a partition the orders in the rings that count, and the primaries of them all.

    `unsettled` says why one primary's answer isn't final, for all that nodes and rings say; ""
    when it is.
    """

    orders: tuple[tuple[Candidate, ...], ...]
    primaries: tuple[Candidate, ...]
    unsettled: str


class KnownPlaces:
    """Of each partition the place, as of some `changes`.

    `changes` is a number that grows with everything that places depend on.
    """

    def __init__(self) -> None:
        self._changes = -1
        self._of: list[Place | None] = []
        self._same: dict[Place, Place] = {}

    def of(self, partition: int, changes: int) -> Place | None:
        """What was kept; None when nothing was, since `changes` became what it is."""
        if changes != self._changes:
            self._changes, self._of, self._same = changes, [None] * PARTITIONS, {}
        return self._of[partition]

    def keep(self, partition: int, found: Place) -> Place:
        """Remember what was found out after `of` said None; returns it."""
        found = self._of[partition] = self._same.setdefault(found, found)
        return found
