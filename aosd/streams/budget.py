"""One bound for all bodies that are held in memory."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from aosd.model.errors import SlowDown
from aosd.streams.deadlines import within

MOST_WAITING = 256


class MemoryBudget:
    """`size_bytes` to share, first come first served.

    Who holds a share must not wait for another one, or all may wait for ever: give it
    back first. With a `clock`, who waits `wait_s` for it gets SlowDown; whoever finds
    `most_waiting` waiting gets it at once.
    """

    def __init__(
        self,
        size_bytes: int,
        clock: IReactorTime | None = None,
        wait_s: float = 20.0,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._most_waiting = most_waiting
        self._clock = clock
        self._wait_s = wait_s
        self.size_bytes = size_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    def acquire(self, count_bytes: int) -> Deferred[None]:
        """Fires when `count_bytes` (at most the whole size) are ours; cancel to give up."""
        if count_bytes > self.size_bytes:
            raise ValueError(f"{count_bytes} bytes are more than the {self.size_bytes} there are")
        if self.take(count_bytes):
            return succeed(None)
        if len(self._waiting) >= self._most_waiting:
            return fail(SlowDown("too many bodies wait already"))
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append((count_bytes, waiting))
        if self._clock is None:
            return waiting
        return within(self._clock, self._wait_s, waiting, lambda: SlowDown("too many bodies"))

    def take(self, count_bytes: int) -> bool:
        """Whether `count_bytes` are ours, at once; otherwise there is `acquire`."""
        if self._waiting or self.used_bytes + count_bytes > self.size_bytes:
            return False
        self.used_bytes += count_bytes
        return True

    def release(self, count_bytes: int) -> None:
        """Give back what was acquired."""
        self.used_bytes -= count_bytes
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self.size_bytes:
            count_bytes, waiting = self._waiting.popleft()
            self.used_bytes += count_bytes
            waiting.callback(None)

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not waiting)
        # The one given up may have been what the others queued behind.
        self._grant()
