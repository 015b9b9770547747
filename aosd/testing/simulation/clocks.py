"""Simulated time: one clock for the world, and one for each run of a gateway that can die."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

_MANY = 500


class WorldClock(Clock):
    """The world's time. It goes from event to event, or leaps when nothing is in flight."""

    def __init__(self, start_s: float) -> None:
        super().__init__()
        self.rightNow = start_s

    def callLater(  # noqa: N802
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - Clock's own name
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See IReactorTime; Clock's own sorts everything each time."""
        call = DelayedCall(
            self.rightNow + delay, callable, args, kw, self.calls.remove, self._sort, self.seconds
        )
        insort(self.calls, call, key=DelayedCall.getTime)
        return call

    def _sort(self, _: object) -> None:
        self.calls.sort(key=DelayedCall.getTime)

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass; everything due happens at its own time."""
        until_s = self.rightNow + seconds
        while self.calls and (next_s := self.calls[0].getTime()) <= until_s:
            self.rightNow = max(self.rightNow, next_s)
            self.advance(0)
        self.rightNow = until_s

    def leap(self, seconds: float) -> None:
        """Let `seconds` pass at once, as if everybody had been asleep: loops run once."""
        self.advance(seconds)


@implementer(IReactorTime)
class MortalClock:
    """The world's time as one process sees it; when that is killed nothing happens to it.

    `ahead_s` is how far its time of day is off.
    """

    def __init__(self, world: Clock, ahead_s: float = 0.0) -> None:
        self.dead = False
        self.ahead_s = ahead_s
        self._world = world
        self._calls: set[IDelayedCall] = set()

    def seconds(self) -> float:
        """See IReactorTime."""
        return self._world.seconds()

    def now(self) -> float:
        """The time of day, as this process knows it."""
        return self._world.seconds() + self.ahead_s

    def callLater(  # noqa: N802
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 - IReactorTime's own name
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """See IReactorTime."""

        def happen() -> None:
            self._calls.discard(call)
            callable(*args, **kwargs)

        call = self._world.callLater(delay, happen)
        if self.dead:
            call.cancel()
        else:
            self._calls.add(call)
            if len(self._calls) > _MANY:
                self._calls = {each for each in self._calls if each.active()}
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:  # noqa: N802
        """See IReactorTime."""
        return [call for call in self._calls if call.active()]

    def die(self) -> None:
        """Nothing that was to happen happens."""
        self.dead = True
        calls, self._calls = self._calls, set()
        for call in calls:
            if call.active():
                call.cancel()
