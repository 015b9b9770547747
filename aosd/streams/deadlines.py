"""Timers that end what makes no progress. The reactor's clock is always passed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")


class IdleTimer:
    """Calls `expired` once when `touch` wasn't called for `timeout_s` seconds.

    It runs between `start` and `stop`. Touching costs no timer: a timer that goes off
    early is set again for the rest.
    """

    def __init__(
        self, clock: IReactorTime, timeout_s: float, expired: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._expired = expired
        self._touched_s = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to count, from now; counts afresh when it runs already."""
        self._touched_s = self._clock.seconds()
        if self._call is None:
            self._call = self._clock.callLater(self._timeout_s, self._check)

    def touch(self) -> None:
        """There was progress."""
        self._touched_s = self._clock.seconds()

    def stop(self) -> None:
        """Count no more; `start` begins again."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _check(self) -> None:
        left_s = self._touched_s + self._timeout_s - self._clock.seconds()
        if left_s > 0:
            self._call = self._clock.callLater(left_s, self._check)
        else:
            self._call = None
            self._expired()


def within(
    clock: IReactorTime, timeout_s: float, waiting: Deferred[T], error: Callable[[], Exception]
) -> Deferred[T]:
    """`waiting` itself, cancelled when it hasn't fired in `timeout_s`, failing with `error()`.

    Cancelled from outside it fails as `waiting` does when it is cancelled.
    """
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        waiting.cancel()

    call = clock.callLater(timeout_s, expire)

    def settled(result: T | Failure) -> T | Failure:
        if call.active():
            call.cancel()
        if expired:
            # Whatever it made of being cancelled: a list of Deferreds fires with their failures.
            return Failure(error())
        return result

    return waiting.addBoth(settled)


def cancelled(failure: Failure) -> bool:
    """Whether it failed because somebody gave it up (CancelledError is an Exception)."""
    return failure.check(CancelledError) is not None
