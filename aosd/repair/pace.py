"""A steady pace for what runs beside clients' requests."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


class Pace:
    """Lets `per_s` of something pass each second, on average; `inf` lets everything pass.

    Who took more waits before the next: nothing is waited for within an object. What wasn't
    used isn't saved up, but for `burst_s` seconds' worth. (twisted.protocols.htb would do
    it, but by the time of day.)
    """

    def __init__(self, clock: IReactorTime, per_s: float, burst_s: float = 0.1) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst_s = burst_s
        self._paid_s = clock.seconds()

    async def spend(self, count: float) -> None:
        """Return when `count` have passed."""
        now_s = self._clock.seconds()
        self._paid_s = max(self._paid_s, now_s - self._burst_s) + count / self._per_s
        if self._paid_s > now_s:
            await deferLater(self._clock, self._paid_s - now_s)
