"""What has begun and isn't over: so that one can wait for all that began before something."""

from __future__ import annotations

from contextlib import AbstractContextManager


class Begun:
    """Work that is under way, numbered in the order in which it began."""

    def __init__(self) -> None:
        self._next = 0
        # In the order of their numbers.
        self._under_way: dict[int, None] = {}

    @property
    def now(self) -> int:
        """The number of what begins next: all that is under way has a lower one."""
        return self._next

    def are_over(self, before: int) -> bool:
        """Whether all that began before `before` was the next number is over."""
        oldest = next(iter(self._under_way), self._next)
        return oldest >= before

    def begin(self) -> int:
        """Something begins; its number, to be ended with, once."""
        number = self._next
        self._next += 1
        self._under_way[number] = None
        return number

    def end(self, number: int) -> None:
        """It is over."""
        del self._under_way[number]

    def under_way(self) -> AbstractContextManager[object]:
        """As long as the block lasts, something is."""
        return _UnderWay(self)


class _UnderWay(AbstractContextManager[object]):
    """See Begun. Each write goes through several: generators would take three times as long."""

    __slots__ = ("_begun", "_number")

    def __init__(self, begun: Begun) -> None:
        self._begun = begun
        self._number = -1

    def __enter__(self) -> None:
        self._number = self._begun.begin()

    def __exit__(self, *_: object) -> None:
        self._begun.end(self._number)
