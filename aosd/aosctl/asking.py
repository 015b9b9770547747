"""The nodes, as a command sees them that runs for a moment: found once, and asked once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.selectreactor import SelectReactor
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
_REACTORS_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
_ROUND_S = 20.0

Ask = Callable[[str, Address, Credentials], T]
"""A question to a node, by its name. Blocking; raises AosdError."""


@dataclass(frozen=True, slots=True)
class Heard(Generic[T]):
    """The answers of nodes, by name, and what is wrong with the rest, by name or in words alone.

    `troubles` are of what isn't known to be a node: a provider that sees none, for example.
    """

    answers: dict[str, T]
    silent: dict[str, str]
    troubles: list[str]


def run(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run what needs a reactor to its end.

    Raises what it raises, and KeyboardInterrupt when it was interrupted.
    """
    # One of its own: the global one runs but once, and a command may have two things to ask.
    reactor: Any = SelectReactor()
    outcomes: list[T | Failure] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(work(reactor))
        running.addBoth(outcomes.append)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    with _signals_kept():
        reactor.run()
    if not outcomes:
        raise KeyboardInterrupt
    [outcome] = outcomes
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Leave signals to whom they went before.

    A reactor leaves handlers behind that would stop what doesn't run any more, and takes the
    descriptor by which an outer one hears of ended processes.
    """
    handlers = [(each, signal.getsignal(each)) for each in _REACTORS_OWN]
    wakeup = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        for each, handler in handlers:
            signal.signal(each, handler)
        signal.set_wakeup_fd(wakeup)


async def ask_nodes(settings: Settings, reactor: Any, ask: Ask[T]) -> dict[str, T]:
    """The answers of all nodes that give one, by name.

    Raises NoNodes, which says why, when none answers, and ConfigurationError when a provider
    can't be made.
    """
    heard = await hear_nodes(settings, reactor, ask)
    if not heard.answers:
        why = [*heard.troubles, *heard.silent.values()]
        raise NoNodes("; ".join(why) or "no node was found")
    return heard.answers


async def hear_nodes(settings: Settings, reactor: Any, ask: Ask[T]) -> Heard[T]:
    """Ask all nodes, found by the daemon's own providers. Nothing is started for it.

    Raises ConfigurationError when a provider can't be made.
    """
    threads = ThreadPool(0, _THREADS, "aosctl")
    context = context_of(settings, reactor, threads, only_look=True)
    views = [View(make_provider(each, context)) for each in settings.nodes]
    heard: Heard[T] = Heard({}, {}, [])
    asking: dict[str, Deferred[T]] = {}
    threads.start()
    try:
        await DeferredList([Deferred.fromCoroutine(each.look(reactor)) for each in views])
        for view in views:
            heard.troubles.extend(view.troubles)
            for seen in view.sightings:
                if seen.address is None or seen.credentials is None:
                    why = f"node {seen.name}: {seen.problem or 'it is not running'}"
                    heard.silent.setdefault(seen.name, why)
                elif seen.name not in asking:
                    asked = (seen.name, seen.address, seen.credentials)
                    asking[seen.name] = deferToThreadPool(reactor, threads, ask, *asked)
        outcomes = await DeferredList(asking.values(), consumeErrors=True)
    finally:
        threads.stop()
    for name, (_, outcome) in zip(asking, outcomes, strict=True):
        if not isinstance(outcome, Failure):
            heard.answers[name] = outcome
        elif outcome.check(AosdError) is not None:
            heard.silent[name] = str(outcome.value)
        else:
            outcome.raiseException()
    for name in heard.answers:
        heard.silent.pop(name, None)
    return heard


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
