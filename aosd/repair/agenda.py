"""Which mark to look at next. What waits costs nothing, however much of it there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from heapq import heappop, heappush
from itertools import count

from aosd.consistency.marks import Mark


class Agenda:
    """Marks in one of three places: new, put off to a time, or waiting for nodes.

    Marks that wait are kept by what they wait for, of which there are few different sets:
    whether a thousand or a million wait for a node is the same to who asks for the next one.
    A mark that was cleared meanwhile is dropped when its turn comes, not before; `is_known`
    tells which those are.

    In memory: 8 bytes for a mark that is new or waits, some 150 for one that was put off.
    """

    def __init__(self, is_known: Callable[[Mark], bool]) -> None:
        self._is_known = is_known
        self._new: deque[Mark] = deque()
        self._put_off: list[tuple[float, int, Mark]] = []
        self._order = count()
        self._waiting: dict[frozenset[str], deque[Mark]] = {}
        self._for_space: dict[frozenset[str], deque[Mark]] = {}

    def __len__(self) -> int:
        """How many there are, with those that were cleared and not noticed yet."""
        waiting = (*self._waiting.values(), *self._for_space.values())
        return len(self._new) + len(self._put_off) + sum(map(len, waiting))

    def add(self, mark: Mark) -> None:
        """One to be looked at as soon as possible."""
        self._new.append(mark)

    def put_off(self, mark: Mark, due_s: float) -> None:
        """To be looked at again at `due_s`."""
        heappush(self._put_off, (due_s, next(self._order), mark))

    def wait_for(self, mark: Mark, names: frozenset[str]) -> None:
        """To be looked at again when one of these nodes isn't away any more."""
        self._waiting.setdefault(names, deque()).append(mark)

    def wait_for_space(self, mark: Mark, names: frozenset[str]) -> None:
        """To be looked at again when one of these nodes is neither full nor away."""
        self._for_space.setdefault(names, deque()).append(mark)

    def take(self, now_s: float, away: Collection[str], full: Collection[str]) -> Mark | None:
        """One whose time has come, as nodes are now; None when there is none."""
        while (mark := self._next(now_s, away, full)) is not None:
            if self._is_known(mark):
                return mark
        return None

    def _next(self, now_s: float, away: Collection[str], full: Collection[str]) -> Mark | None:
        if self._put_off and self._put_off[0][0] <= now_s:
            return heappop(self._put_off)[2]
        for names, marks in self._waiting.items():
            if any(name not in away for name in names):
                return _first(self._waiting, names, marks)
        for names, marks in self._for_space.items():
            if any(name not in away and name not in full for name in names):
                return _first(self._for_space, names, marks)
        return self._new.popleft() if self._new else None


def _first(
    waiting: dict[frozenset[str], deque[Mark]], names: frozenset[str], marks: deque[Mark]
) -> Mark:
    mark = marks.popleft()
    if not marks:
        del waiting[names]
    return mark
