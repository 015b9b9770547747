"""Membership over time: sightings in, members and their ring out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.cluster.member import WatchedMember
from aosd.model.membership import resolve
from aosd.model.node import Member, Sighting
from aosd.model.ring import Ring
from aosd.observe.metrics import Metrics
from aosd.ports import Candidate, IDiscovery, IPlacement

MakeMember = Callable[[Member], WatchedMember]


@dataclass
class ProviderState:
    """What a provider has said so far; `trouble` "" when its last round went well."""

    discovery: IDiscovery
    sightings: Sequence[Sighting] = ()
    reported: bool = False
    trouble: str = ""
    first_round: Deferred[None] | None = field(default=None, repr=False)


@implementer(IPlacement)
class Roster:
    """Owns the providers, the members and the ring.

    A member stays for the life of the process, also when its sighting is gone: with it
    would go its share of the keys.
    """

    _log = Logger()

    def __init__(
        self,
        providers: Sequence[IDiscovery],
        make_member: MakeMember,
        clock: IReactorTime,
        metrics: Metrics,
        interval_s: float,
    ) -> None:
        self.ring = Ring(())
        self.watched: dict[str, WatchedMember] = {}
        self.troubles: Mapping[str, str] = {}
        self.providers = [ProviderState(each) for each in providers]
        self._make_member = make_member
        self._metrics = metrics
        self._interval_s = interval_s
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._looping: Deferred[LoopingCall] | None = None

    # -- IPlacement -----------------------------------------------------------------------------

    def order(self, bucket: str, key: str) -> Sequence[Candidate]:
        """See IPlacement."""
        return [self.watched[name].candidate for name in self.ring.order(bucket, key)]

    def members(self) -> Sequence[Candidate]:
        """See IPlacement."""
        return [self.watched[name].candidate for name in sorted(self.watched)]

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the providers and the watch over members."""
        for state in self.providers:
            state.first_round = state.discovery.start(
                partial(self._report, state), partial(self._trouble, state)
            )
            state.first_round.addErrback(self._start_failed, state)
        self._looping = self._loop.start(self._interval_s)
        self._looping.addErrback(lambda failure: self._log.failure("watching nodes", failure))

    async def stop(self) -> None:
        """Stop them; returns when no thread, timer or child process of theirs is left."""
        if self._loop.running:
            self._loop.stop()
        stopping = [state.discovery.stop() for state in self.providers]
        for state in self.providers:
            if state.first_round is not None:
                state.first_round.cancel()
        leaving = [left for each in self.watched.values() if (left := each.leave()) is not None]
        await DeferredList([*stopping, *leaving], consumeErrors=True)

    # -- inside ---------------------------------------------------------------------------------

    def _report(self, state: ProviderState, sightings: Sequence[Sighting]) -> None:
        state.sightings = tuple(sightings)
        state.reported = True
        self._metrics.discovery_runs.labels(state.discovery.name).inc()
        self._resolve()

    def _trouble(self, state: ProviderState, trouble: str) -> None:
        if trouble:
            self._metrics.discovery_failures.labels(state.discovery.name).inc()
        if trouble and trouble != state.trouble:
            self._log.warn(
                "discovery {provider}: {trouble}", provider=state.discovery.name, trouble=trouble
            )
        elif state.trouble and not trouble:
            self._log.info("discovery {provider} works again", provider=state.discovery.name)
        state.trouble = trouble

    def _start_failed(self, failure: Failure, state: ProviderState) -> None:
        self._log.failure(
            "discovery {provider} failed to start", failure, provider=state.discovery.name
        )
        self._trouble(state, "failed to start; the log says why")

    def _resolve(self) -> None:
        resolution = resolve(
            {name: each.member for name, each in self.watched.items()},
            {
                f"{number}:{state.discovery.name}": state.sightings
                for number, state in enumerate(self.providers)
            },
        )
        for where, trouble in resolution.troubles.items():
            if self.troubles.get(where) != trouble:
                self._log.warn("node {where}: {trouble}", where=where, trouble=trouble)
        self.troubles = resolution.troubles
        for name, member in resolution.members.items():
            if name not in self.watched:
                self.watched[name] = self._make_member(member)
                self._log.info("node {node} is a member", node=name)
            self.watched[name].member = member
        before = self.ring
        ring = Ring(resolution.members.values())
        if ring.name != before.name:
            self.ring = ring
            self._metrics.ring_members.set(len(resolution.members))
            self._log.info(
                "the ring is {ring}, of {count} members", ring=ring.name, count=len(self.watched)
            )
        for name, watched in self.watched.items():
            if name in resolution.disputed:
                continue
            sighting = resolution.sightings.get(name)
            if sighting != watched.sighting or sighting is None:
                watched.seen(sighting)

    def _tick(self) -> None:
        for watched in self.watched.values():
            watched.tick()
