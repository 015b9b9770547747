"""Looking for nodes again and again: what the providers that have to look share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.model.errors import AosdError
from aosd.model.node import Sighting
from aosd.ports import Report, Trouble

_SETTLE_S = 0.1
"""How long after a trigger the look begins: one event seldom comes alone."""


class RoundFailed(AosdError):
    """A look came to nothing; says why in one line. What was seen before stands."""


@dataclass(frozen=True)
class Seen:
    """What a look saw, and what went wrong with a part of it ("" when nothing did)."""

    sightings: Sequence[Sighting]
    trouble: str = ""


Look = Callable[[], Coroutine[Any, Any, Seen | None]]
"""One look around. None: nothing is known to have changed. Raises RoundFailed."""


class Rounds:
    """A look now, one every `interval_s`, and one soon after each `trigger`; never two at once.

    It owns its timers and the look under way; `stop` ends the former and awaits the latter.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval_s: float, look: Look) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._look = look
        self._loop = LoopingCall(self._run)
        self._loop.clock = clock
        self._report: Report = _ignore
        self._trouble: Trouble = _ignore
        self._in_trouble = False
        self._first: Deferred[None] = Deferred()
        self._busy: Deferred[None] | None = None
        self._again = False
        self._soon: IDelayedCall | None = None
        self._stopped = False

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """As IDiscovery.start; once only."""
        self._report, self._trouble = report, trouble
        self._loop.start(self._interval_s).addErrback(
            lambda failure: self._log.failure("looking for nodes", failure)
        )
        return self._first

    def trigger(self) -> None:
        """Something may have changed: look soon, or once more after the look under way."""
        if self._stopped:
            return
        if self._busy is not None:
            self._again = True
        elif self._soon is None:
            self._soon = self._clock.callLater(_SETTLE_S, self._run)

    async def stop(self) -> None:
        """No more looks; returns when the one under way is over. Nothing is told any more."""
        self._stopped = True
        if self._loop.running:
            self._loop.stop()
        self._forget_soon()
        self._first_over()
        if self._busy is not None:
            await self._busy

    def _run(self) -> Deferred[None]:
        self._forget_soon()
        if self._busy is not None:
            return succeed(None)
        busy = self._busy = Deferred.fromCoroutine(self._round())

        def over(_: object) -> None:
            self._busy = None
            self._first_over()
            if self._again:
                self._again = False
                self.trigger()

        return busy.addBoth(over)

    async def _round(self) -> None:
        try:
            seen = await self._look()
        except RoundFailed as error:
            trouble = str(error)
        except Exception:  # noqa: BLE001 - whatever it is, the next round may do better
            if not self._stopped:
                self._log.failure("a look for nodes failed")
            trouble = "failed unexpectedly; the log says why"
        else:
            if seen is None:
                return
            trouble = seen.trouble
            if not self._stopped:
                self._report(seen.sightings)
        if not self._stopped and (trouble or self._in_trouble):
            self._in_trouble = bool(trouble)
            self._trouble(trouble)

    def _first_over(self) -> None:
        if not self._first.called:
            self._first.callback(None)

    def _forget_soon(self) -> None:
        soon, self._soon = self._soon, None
        if soon is not None and soon.active():
            soon.cancel()


def _ignore(_: object) -> None:
    """Nobody listens yet."""
