"""One bound for what requests ask for by the thousand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

_COUNT = 16

Step = Callable[[], Coroutine[Any, Any, None]]


class Lanes:
    """`count` steps at a time, of all jobs together; jobs take turns, a step each.

    Many jobs at once take longer, then, but leave to others what one leaves. After each step
    the reactor has its turn: steps that fail at once would keep everybody else waiting.
    """

    def __init__(self, clock: IReactorTime, count: int = _COUNT) -> None:
        self._clock = clock
        self._count = count
        self._going = 0
        self._jobs: deque[_Job] = deque()

    def run(self, steps: Iterable[Step]) -> Deferred[None]:
        """Fires when all of a job's steps have ended.

        With the first one's error, if any: no more of them begin then. Cancelling cancels
        those that are under way, and begins no others.
        """
        job = _Job(steps)
        if job.left:
            self._jobs.append(job)
            for _ in range(min(self._count - self._going, len(job.left))):
                self._going += 1
                # What a step raises is the job's: a lane doesn't fail.
                Deferred.fromCoroutine(self._lane())
        else:
            job.done.callback(None)
        return job.done

    async def _lane(self) -> None:
        while self._jobs:
            job = self._jobs.popleft()
            if not job.left:
                continue
            step = job.left.popleft()
            if job.left:
                self._jobs.append(job)
            await job.take(step)
            if self._jobs:
                await deferLater(self._clock, 0, lambda: None)
        self._going -= 1


class _Job:
    """The steps that haven't begun, and those that are under way."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.left = deque(steps)
        self.done: Deferred[None] = Deferred(self._cancelled)
        self._under_way: set[Deferred[None]] = set()
        self._failure: Failure | None = None

    async def take(self, step: Step) -> None:
        """Run a step to its end; never fails."""
        running = Deferred.fromCoroutine(step())
        self._under_way.add(running)
        ended: Deferred[None] = Deferred()
        running.addErrback(self._failed)
        running.addBoth(ended.callback)
        await ended
        self._under_way.discard(running)
        if not self.left and not self._under_way and not self.done.called:
            self.done.callback(self._failure)

    def _failed(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self.left.clear()

    def _cancelled(self, _: Deferred[None]) -> None:
        self.left.clear()
        for each in list(self._under_way):
            each.cancel()
