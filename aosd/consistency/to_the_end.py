"""Work that goes on when whoever asked for it is gone."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


class ToTheEnd:
    """Owns what mustn't stop half-way: what has a turn, and cleaning up after a failure."""

    _log = Logger()

    def __init__(self) -> None:
        self._going_on: set[Deferred[Any]] = set()
        self._waiting_for_idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        """How much goes on."""
        return len(self._going_on)

    def run(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run `work` to its end. Cancelling what is returned only ends the wait for it."""
        going_on = Deferred.fromCoroutine(work)
        self._going_on.add(going_on)
        result: Deferred[T] = Deferred()

        def over(outcome: T | Failure) -> None:
            self._going_on.discard(going_on)
            if not result.called:
                result.callback(outcome)
            elif isinstance(outcome, Failure):
                self._log.info("after its client had gone: {why}", why=outcome.getErrorMessage())
            if not self._going_on:
                waiting, self._waiting_for_idle = self._waiting_for_idle, []
                for idle in waiting:
                    idle.callback(None)

        going_on.addBoth(over)
        return result

    async def idle(self) -> None:
        """Return when nothing is going on."""
        if self._going_on:
            idle: Deferred[None] = Deferred()
            self._waiting_for_idle.append(idle)
            await idle
