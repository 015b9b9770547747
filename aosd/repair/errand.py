"""Work in the background, of which there is one at a time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure


class Errand:
    """Runs a coroutine and owns it; a failure is logged, and ends it alone."""

    _log = Logger()

    def __init__(self) -> None:
        self.running: Deferred[None] | None = None
        self._is_cut = False

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this; only while nothing else runs. It may be over when this returns."""
        self._is_cut = False
        running = self.running = Deferred.fromCoroutine(work)
        running.addErrback(self._failed)
        running.addBoth(self._over)

    def cut_short(self) -> None:
        """Once: what it does then, such as to leave a mark, mustn't be cut short again."""
        if self.running is not None and not self._is_cut:
            self._is_cut = True
            self.running.cancel()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("keeping failed", failure)

    def _over(self, _: object) -> None:
        self.running = None
