"""The sweep that finds all folders there are, once a run, where objects hide what lies beneath."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from aosd.consistency.folders import Folders
from aosd.consistency.settled import Settledness
from aosd.ports import IPlacement

_AFTER_START_S = 30.0  # a listing may be of some seconds ago, and of the run before then
_AGAIN_S = 60.0
_AGAIN_MAX_S = 3600.0


class Survey:
    """Says when a sweep is wanted that shows all keys to `folders`, and judges those there are.

    What the runs before us sent must have landed by then, and every member has to be up. One
    that didn't see all is tried again, each time after twice as long.
    """

    def __init__(
        self, placement: IPlacement, settled: Settledness, folders: Folders, clock: IReactorTime
    ) -> None:
        self._placement = placement
        self._settled = settled
        self._folders = folders
        self._clock = clock
        self._earliest_s = clock.seconds() + _AFTER_START_S
        self._due_s = self._earliest_s
        self._again_s = _AGAIN_S
        self._began_s = 0.0

    def start(self) -> None:
        """The run has begun."""
        self._earliest_s = self._due_s = self._clock.seconds() + _AFTER_START_S

    def wanted(self) -> bool:
        """Whether a sweep would be of use now."""
        if self._folders.complete or self._clock.seconds() < self._due_s:
            return False
        members = self._placement.members()
        return (
            any(each.hides is not False for each in members)
            and all(each.node is not None for each in members)
            and not self._settled.late_for_s(*(each.name for each in members))
        )

    def seen(self, bucket: str, key: str) -> None:
        """A node lists it."""
        self._folders.seen(bucket, key)

    def began(self) -> None:
        """A sweep begins."""
        self._began_s = self._clock.seconds()
        if self._began_s >= self._due_s:
            self._due_s = self._began_s + self._again_s
            self._again_s = min(2 * self._again_s, _AGAIN_MAX_S)

    def ended(self, *, whole: bool) -> None:
        """It is over; `whole`: it saw all keys of all members, and all are as they should be.

        What is dead and lies on yet may hide others.
        """
        names = [each.name for each in self._placement.members()]
        early = self._began_s < self._earliest_s
        if whole and names and not early and self._settled.is_covered(*names):
            self._folders.completed()
