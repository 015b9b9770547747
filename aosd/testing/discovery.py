"""A provider that sees what a test tells it to.

discovery = ScriptedDiscovery("one", [Sighting("n1", …)])
discovery.see(Sighting("n1", …), Sighting("n2", …))
discovery.fail("the engine is gone")
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from aosd.model.node import Sighting
from aosd.ports import IDiscovery, Report, Trouble


@implementer(IDiscovery)
class ScriptedDiscovery:
    """See IDiscovery. With `first` None its first round ends at the first `see` or `fail`."""

    def __init__(self, name: str = "scripted", first: Sequence[Sighting] | None = None) -> None:
        self.name = name
        self.started = False
        self.stopped = False
        self._first = first
        self._first_round: Deferred[None] | None = None
        self._report: Report | None = None
        self._trouble: Trouble | None = None
        self._troubled = False

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        assert not self.started, "a provider is started once"
        self.started = True
        self._report, self._trouble = report, trouble
        first_round = self._first_round = Deferred()
        if self._first is not None:
            self.see(*self._first)
        return first_round

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        self.stopped = True
        self._end_first_round()
        return succeed(None)

    def see(self, *sightings: Sighting) -> None:
        """A round that goes well and sees these nodes; nothing once it is stopped."""
        assert self._report is not None and self._trouble is not None, "not started"
        if self.stopped:
            return
        if self._troubled:
            self._troubled = False
            self._trouble("")
        self._report(sightings)
        self._end_first_round()

    def fail(self, trouble: str) -> None:
        """A round that fails: no news."""
        assert self._trouble is not None, "not started"
        if self.stopped:
            return
        self._troubled = True
        self._trouble(trouble)
        self._end_first_round()

    def _end_first_round(self) -> None:
        first_round, self._first_round = self._first_round, None
        if first_round is not None:
            first_round.callback(None)
