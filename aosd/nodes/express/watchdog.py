"""One timer a connection, for whatever it waits for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Watchdog:
    """Calls `late` when what is watched for isn't called off by its time.

    A connection waits for something else with each request and between them; the timer is
    left as it is where it goes off early enough, and then set again for the rest.
    """

    __slots__ = ("_call", "_clock", "_due_s", "_late")

    def __init__(self, clock: IReactorTime, late: Callable[[], object]) -> None:
        self._clock = clock
        self._late = late
        self._due_s: float | None = None
        self._call: IDelayedCall | None = None

    def watch(self, due_s: float) -> None:
        """It is late at `due_s` on the clock; what was watched for before doesn't count."""
        self._due_s = due_s
        call = self._call
        if call is None:
            self._call = self._clock.callLater(max(0.0, due_s - self._clock.seconds()), self._look)
        elif call.getTime() > due_s:
            call.reset(max(0.0, due_s - self._clock.seconds()))

    def watch_for(self, timeout_s: float) -> None:
        """It is late in so many seconds."""
        self.watch(self._clock.seconds() + timeout_s)

    def rest(self) -> None:
        """Nothing is waited for."""
        self._due_s = None

    def stop(self) -> None:
        """Nothing will be waited for: no call is left behind."""
        self._due_s = None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self) -> None:
        self._call = None
        if self._due_s is None:
            return
        left_s = self._due_s - self._clock.seconds()
        if left_s > 0:
            self._call = self._clock.callLater(left_s, self._look)
        else:
            self._due_s = None
            self._late()
