"""What is remembered of settled partitions, looked at each time it is used."""

from __future__ import annotations

from collections.abc import Callable

from aosd.consistency.known import KnownPrimaries, Primaries
from aosd.model.node import NodeState


class CheckedPrimaries(KnownPrimaries):
    """Has everything found out anew, and calls `broken` with what was remembered, and isn't so."""

    def __init__(self, broken: Callable[[str], object]) -> None:
        super().__init__()
        self._broken = broken
        self._kept: Primaries | None = None

    def of(self, partition: int, changes: int) -> Primaries | None:
        """See KnownPrimaries; always None."""
        self._kept = super().of(partition, changes)
        return None

    def keep(self, partition: int, found: Primaries) -> Primaries:
        """See KnownPrimaries."""
        kept, self._kept = self._kept, None
        if kept is not None and _told(kept) != _told(found):
            self._broken(f"partition {partition} is remembered as {_told(kept)}: {_told(found)}")
        return super().keep(partition, found)


def _told(primaries: Primaries) -> list[tuple[object, ...]]:
    """What reads go by."""
    returning = NodeState.RETURNING
    return [(each.name, each.node, each.zone, each.state is returning) for each in primaries]
