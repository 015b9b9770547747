"""Turns: what changes a key takes effect one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from aosd.consistency.begun import Begun
from aosd.consistency.to_the_end import ToTheEnd
from aosd.model.errors import SlowDown
from aosd.streams.deadlines import within

T = TypeVar("T")


class Turns:
    """A queue per key, first come first served, in this process.

    Bodies of one key may flow side by side; the last bytes of a PUT, a Complete and a
    DELETE each wait for their turn. A turn that doesn't come within `timeout_s` raises
    SlowDown. `begun` are those that somebody has.
    """

    def __init__(self, clock: IReactorTime, timeout_s: float, to_the_end: ToTheEnd) -> None:
        self.begun = Begun()
        self._clock = clock
        self._timeout_s = timeout_s
        self._queues: dict[tuple[str, str], deque[Deferred[None]]] = {}
        self._to_the_end = to_the_end

    def __len__(self) -> int:
        """The keys that somebody has the turn of."""
        return len(self._queues)

    def busy(self, bucket: str, key: str) -> bool:
        """Whether somebody has the key's turn."""
        return (bucket, key) in self._queues

    def waiting(self, bucket: str, key: str) -> int:
        """How many wait for the key's turn."""
        return len(self._queues.get((bucket, key), ()))

    def keys(self, bucket: str) -> list[str]:
        """The keys of a bucket that somebody has the turn of."""
        return [key for of, key in self._queues if of == bucket]

    async def take(self, bucket: str, key: str, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the key's turn, then run `act` to its end and pass the turn on.

        Cancelling ends the wait. It doesn't end `act`: what it sent may take effect at any
        moment, so nobody else may have the turn before it is over. Not to be nested for
        one key.
        """
        name = (bucket, key)
        queue = self._queues.get(name)
        if queue is None:
            self._queues[name] = deque()
        else:
            await self._wait(queue)
        return await self._to_the_end.run(self._act(name, act))

    async def _act(self, name: tuple[str, str], act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        number = self.begun.begin()
        try:
            return await act()
        finally:
            self.begun.end(number)
            self._pass_on(name)

    async def _wait(self, queue: deque[Deferred[None]]) -> None:
        mine: Deferred[None] = Deferred()
        queue.append(mine)
        try:
            await within(self._clock, self._timeout_s, mine, self._too_late)
        except BaseException:
            # Given up before it came: the one before us must not wake it.
            queue.remove(mine)
            raise

    def _pass_on(self, name: tuple[str, str]) -> None:
        queue = self._queues[name]
        if queue:
            queue.popleft().callback(None)
        else:
            del self._queues[name]

    def _too_late(self) -> SlowDown:
        return SlowDown(f"other writes of this key took over {self._timeout_s:g} s")
