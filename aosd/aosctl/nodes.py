"""The nodes, as a command sees them that runs for a moment: found once, and asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from aosd.discovery.providers import context_of, make_provider
from aosd.model.errors import AosdError, NoNodes
from aosd.model.node import Address, Credentials, Sighting
from aosd.ports import IDiscovery
from aosd.settings import Settings
from aosd.streams.deadlines import within

T = TypeVar("T")

_THREADS = 8
_ROUND_S = 20.0

Ask = Callable[[str, Address, Credentials], T]
"""A question to a node, by its name. Blocking; raises AosdError."""


async def ask_nodes(settings: Settings, reactor: Any, ask: Ask[T]) -> list[T]:
    """The answers of all nodes that give one, found by the daemon's own providers.

    Nothing is started for it. Raises NoNodes, which says why, when none answers, and
    ConfigurationError when a provider can't be made.
    """
    threads = ThreadPool(0, _THREADS, "aosctl")
    context = context_of(settings, reactor, threads, only_look=True)
    views = [View(make_provider(each, context)) for each in settings.nodes]
    troubles: list[str] = []
    asking: list[Deferred[T]] = []
    threads.start()
    try:
        await DeferredList([Deferred.fromCoroutine(each.look(reactor)) for each in views])
        for view in views:
            troubles.extend(view.troubles)
            for seen in view.sightings:
                if seen.address is None or seen.credentials is None:
                    troubles.append(f"node {seen.name}: {seen.problem or 'it is not running'}")
                    continue
                asked = (seen.name, seen.address, seen.credentials)
                asking.append(deferToThreadPool(reactor, threads, ask, *asked))
        outcomes = await DeferredList(asking, consumeErrors=True)
    finally:
        threads.stop()
    answers: list[T] = []
    for _, outcome in outcomes:
        if not isinstance(outcome, Failure):
            answers.append(outcome)
        elif outcome.check(AosdError) is not None:
            troubles.append(str(outcome.value))
        else:
            outcome.raiseException()
    if not answers:
        raise NoNodes("; ".join(troubles) or "no node was found")
    return answers


class View:
    """What one provider sees in its first round."""

    def __init__(self, provider: IDiscovery) -> None:
        self.sightings: tuple[Sighting, ...] = ()
        self.troubles: list[str] = []
        self._provider = provider

    async def look(self, reactor: Any) -> None:
        """Start it, and stop it after its first round, or when that takes too long."""
        try:
            first: Deferred[None] = self._provider.start(self._report, self._trouble)
            await within(reactor, _ROUND_S, first, TimeoutError)
        except TimeoutError:
            self._trouble(f"no answer within {_ROUND_S:g} s")
        finally:
            await self._provider.stop()

    def _report(self, sightings: Any) -> None:
        self.sightings = tuple(sightings)

    def _trouble(self, words: str) -> None:
        if words:
            self.troubles.append(f"{self._provider.name}: {words}")
