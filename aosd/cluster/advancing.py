"""Membership, one step after the other."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.cluster.admission import Admission
from aosd.cluster.beginning import Beginning
from aosd.cluster.changes import Changes
from aosd.cluster.cleaning import Cleaning
from aosd.cluster.leaving import Leaving
from aosd.model.errors import AosdError
from aosd.streams.deadlines import cancelled


class Advancing:
    """Begins; once that is done it admits, changes and leaves, as far as each gets now.

    `became_ready` is called when it has begun.
    """

    _log = Logger()

    def __init__(
        self,
        beginning: Beginning,
        admission: Admission,
        changes: Changes,
        leaving: Leaving,
        cleaning: Cleaning,
        became_ready: Callable[[], object],
    ) -> None:
        self._beginning = beginning
        self._admission = admission
        self._changes = changes
        self._leaving = leaving
        self._cleaning = cleaning
        self._became_ready = became_ready
        self._under_way: Deferred[None] | None = None
        self._stopped = False

    def advance(self) -> None:
        """One step further in what membership asks for, unless one is under way."""
        if self._under_way is not None or self._stopped:
            return
        advancing = self._under_way = Deferred.fromCoroutine(self._advance())

        def over(_: object) -> None:
            self._under_way = None

        def failed(failure: Failure) -> None:
            if not (self._stopped and cancelled(failure)):
                self._log.failure("membership", failure)

        advancing.addErrback(failed)
        advancing.addBoth(over)

    def stop(self) -> None:
        """No further; a step that is under way is given up."""
        self._stopped = True
        if self._under_way is not None:
            self._under_way.cancel()

    async def _advance(self) -> None:
        if self._cleaning.has_begun:
            await self._leaving.advance()
            return
        if self._beginning.ready:
            await self._admission.consider_all()
            await self._changes.tend()
            await self._leaving.advance()
            return
        try:
            ready = await self._beginning.advance()
        except AosdError as error:
            self._log.info("not yet: {error}", error=error)
            return
        if ready:
            self._log.info("ready")
            self._became_ready()
