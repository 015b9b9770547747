"""What a sweep is run for, but for the calendar; and how long to wait when it was in vain."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IReactorTime

from aosd.consistency.marks import Marks
from aosd.consistency.settled import Settledness
from aosd.ports import IPlacement

_WAIT_S = 1.0
_WAIT_MAX_S = 300.0

Occasion = Hashable
"""Equal as long as nothing has happened that could make another sweep do better."""


class Occasions:
    """Says whether a sweep is wanted now.

    `waits` says of a node whether there is no use in sweeping it yet; `change` tells the
    change of the ring that a sweep would help (None: there is none).

    A sweep that was in vain is run again after as long as it took, at least, and each time
    after twice as long as the time before: a disk that is full stays so for a while. One that
    did all there was to do isn't run again for the same before those that are away are back.
    """

    def __init__(
        self,
        placement: IPlacement,
        marks: Marks,
        settled: Settledness,
        clock: IReactorTime,
        *,
        waits: Callable[[str], bool],
        change: Callable[[], Hashable],
    ) -> None:
        self._placement = placement
        self._marks = marks
        self._settled = settled
        self._clock = clock
        self._waits = waits
        self._change = change
        self._in_vain: Occasion | None = None
        # What a sweep was run for that did all there was to do, while some nodes were away.
        self._spent: Occasion | None = None
        # What the present one will have been run for then; None when all are up.
        self._spending: Occasion | None = None
        self._began_s = self._ended_s = clock.seconds()
        self._wait_s = _WAIT_S

    def spacious(self) -> frozenset[str]:
        """The nodes that are up and have space, for all that is known.

        And those that are no members any more, and whose space nothing waits for.
        """
        members = self._placement.members()
        gone = self._marks.whole_names() - {each.name for each in members}
        has_space = (each.name for each in members if each.node is not None and not each.full)
        return gone.union(has_space)

    def makes_certain(self) -> bool:
        """Whether a sweep would make a node count again that doesn't."""
        up = self._up()
        return bool(up) and self._settled.sweep_helps(*up)

    def due(self) -> bool:
        """Whether there is one, and it is time."""
        present = self._present()
        if present is None:
            return False
        if (present, self._doubted()) == self._spent and not self.makes_certain():
            return False
        wait_s = self._wait_s if present == self._in_vain else _WAIT_S
        return self._clock.seconds() - self._ended_s >= wait_s

    def began(self) -> None:
        """A sweep begins."""
        now_s, present = self._clock.seconds(), self._present()
        all_up = len(self._up()) == len(self._placement.members())
        self._spending = None if all_up else (present, self._doubted())
        self._wait_s = 2 * (now_s - self._began_s) if present == self._in_vain else _WAIT_S
        self._in_vain, self._began_s = present, now_s

    def ended(self, *, in_vain: bool) -> None:
        """It is over; `in_vain`: not all was done that it was for."""
        self._ended_s = self._clock.seconds()
        if not in_vain:
            self._spent, self._in_vain = self._spending, None
        self._wait_s = min(max(self._wait_s, self._ended_s - self._began_s), _WAIT_MAX_S)

    def anew(self) -> None:
        """What was in vain is tried again at once: something kept it from being more."""
        self._spent = self._in_vain = None
        self._wait_s = _WAIT_S

    # -- inside -----------------------------------------------------------------------------------

    def _up(self) -> tuple[str, ...]:
        members = self._placement.members()
        return tuple(
            each.name for each in members if each.node is not None and not self._waits(each.name)
        )

    def _doubted(self) -> Hashable:
        """Changes when another partition is in doubt as a whole, or one is doubted once more."""
        return self._marks.whole_partitions(self.spacious())

    def _present(self) -> Occasion | None:
        up, spacious = self._up(), self.spacious()
        helps = bool(up) and self._settled.sweep_helps(*up)
        # Once all was compared something may have kept a change from being over.
        change = self._change() if len(up) == len(self._placement.members()) else None
        broken = frozenset(self._marks.broken.items()) if up else frozenset()
        whole = spacious if self._marks.whole_partitions(spacious) else frozenset()
        if not (helps or change or broken or whole):
            return None
        doubts = tuple((name, self._settled.doubt(name)) for name in up)
        return doubts, helps, change, broken, whole
