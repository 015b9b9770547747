"""What providers that look again and again have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.model.errors import AosdError
from aosd.model.node import Sighting
from aosd.ports import Report, Trouble

Look = Callable[[], Coroutine[Any, Any, Sequence[Sighting] | None]]
"""One round: what is seen, None for no news; raises AosdError when it fails."""


class Rounds:
    """Calls `look` every `interval_s`, one round at a time, and reports what it finds.

    A round that fails is told as trouble and reports nothing: it is no news.
    """

    _log = Logger()

    def __init__(self, look: Look, clock: IReactorTime, interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._loop = LoopingCall(self._round)
        self._loop.clock = clock
        self._report: Report = lambda sightings: None
        self._trouble: Trouble = lambda trouble: None
        self._first: Deferred[None] | None = None
        self._under_way: Deferred[None] | None = None
        self._again = False
        self._troubled = False

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """Fires after the first round, whatever came of it."""
        self._report, self._trouble = report, trouble
        first: Deferred[None] = Deferred()
        self._first = first
        self._loop.start(self._interval_s).addErrback(
            lambda failure: self._log.failure("looking for nodes", failure)
        )
        return first

    def hurry(self) -> None:
        """Something happened: look now, or again when a round is under way."""
        if not self._loop.running:
            return
        if self._under_way is not None:
            self._again = True
        else:
            self._loop.reset()
            self._round()

    def stop(self) -> Deferred[None]:
        """Look no more; fires when the round under way is over."""
        if self._loop.running:
            self._loop.stop()
        if self._under_way is None:
            return succeed(None)
        over: Deferred[None] = Deferred()
        self._under_way.addBoth(lambda _: over.callback(None))
        return over

    def _round(self) -> None:
        if self._under_way is not None:
            return
        round_ = self._under_way = Deferred.fromCoroutine(self._once())
        round_.addBoth(self._ended)

    async def _once(self) -> None:
        try:
            sightings = await self._look()
        except CancelledError:
            raise
        except AosdError as error:
            self._tell(str(error))
            return
        except Exception as error:  # noqa: BLE001 — a provider's bug mustn't end its loop
            self._log.failure("looking for nodes")
            self._tell(f"{type(error).__name__}: {error}")
            return
        if not self._loop.running:
            return
        self._tell("")
        if sightings is not None:
            self._report(sightings)

    def _tell(self, trouble: str) -> None:
        if trouble or self._troubled:
            self._troubled = bool(trouble)
            self._trouble(trouble)

    def _ended(self, _: object) -> None:
        self._under_way = None
        first, self._first = self._first, None
        if first is not None:
            first.callback(None)
        if self._again and self._loop.running:
            self._again = False
            self._round()
