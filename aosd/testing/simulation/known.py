"""What is remembered of partitions' places, looked at each time it is used."""

from __future__ import annotations

from collections.abc import Callable

from aosd.consistency.known import KnownPlaces, Place


class CheckedPlaces(KnownPlaces):
    """Has everything found out anew, and calls `broken` with what was remembered, and isn't so."""

    def __init__(self, broken: Callable[[str], object]) -> None:
        super().__init__()
        self._broken = broken
        self._kept: Place | None = None

    def of(self, partition: int, changes: int) -> Place | None:
        """See KnownPlaces; always None."""
        self._kept = super().of(partition, changes)
        return None

    def keep(self, partition: int, found: Place) -> Place:
        """See KnownPlaces."""
        kept, self._kept = self._kept, None
        if kept is not None and kept != found:
            self._broken(f"partition {partition} is remembered as {kept}: {found}")
        return super().keep(partition, found)
