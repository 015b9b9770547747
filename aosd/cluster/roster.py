"""Membership over time: sightings in, members and their ring out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """Owns the providers, the nodes they see, and the rings that count.

    Who is a member is decided elsewhere (Admission), which sets the rings. Before it has,
    there are no orders.
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
        self.former: Ring | None = None
        self.watched: dict[str, WatchedMember] = {}
        self.troubles: Mapping[str, str] = {}
        self.providers = [ProviderState(each) for each in providers]
        self.changed_s = clock.seconds()
        self.ticked: Callable[[], object] = lambda: None
        self._clock = clock
        self._make_member = make_member
        self._metrics = metrics
        self._interval_s = interval_s
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._looping: Deferred[LoopingCall] | None = None

    # -- IPlacement -----------------------------------------------------------------------------

    def orders(self, bucket: str, key: str) -> Sequence[Sequence[Candidate]]:
        """See IPlacement."""
        if not self.ring.members:
            return ()
        present = self._candidates(self.ring.order(bucket, key))
        if self.former is None:
            return (present,)
        return present, self._candidates(self.former.order(bucket, key))

    def members(self) -> Sequence[Candidate]:
        """See IPlacement."""
        return self._candidates(sorted(self.ring.members))

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way."""
        return self.former is not None

    def set_rings(self, members: Iterable[Member], former: Ring | None = None) -> None:
        """The ring that is, or is coming; with `former` the one that still counts too."""
        for member in members:
            self._watch(member).member = member
        ring = Ring(members)
        if ring.name != self.ring.name:
            self._log.info(
                "the ring is {ring}, of {count} members", ring=ring.name, count=len(ring.members)
            )
        self.ring, self.former = ring, former
        self._metrics.ring_members.set(len(ring.members))

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the providers and the watch over nodes."""
        for state in self.providers:
            state.first_round = state.discovery.start(
                partial(self._report, state), partial(self._trouble, state)
            )
            state.first_round.addErrback(self._start_failed, state)
        self._looping = self._loop.start(self._interval_s)
        self._looping.addErrback(lambda failure: self._log.failure("watching nodes", failure))

    async def stop_discovery(self) -> None:
        """Stop providers (embedded nodes end with theirs) and the watch."""
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
        known = {
            name: each.member
            for name, each in self.watched.items()
            if name in self.ring.members or each.incarnation is not None
        }
        resolution = resolve(
            known,
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
            watched = self._watch(member)
            if name not in self.ring.members:
                # A member's weight and zone are what it joined with.
                watched.member = member
        for name, watched in list(self.watched.items()):
            if name in resolution.disputed:
                continue
            if name not in resolution.members:
                # It was never taken in, and nobody sees it any more.
                watched.seen(None)
                del self.watched[name]
                continue
            sighting = resolution.sightings.get(name)
            if sighting != watched.sighting:
                self.changed_s = self._clock.seconds()
                watched.seen(sighting)
            elif sighting is None:
                watched.seen(None)

    def _watch(self, member: Member) -> WatchedMember:
        watched = self.watched.get(member.name)
        if watched is None:
            watched = self.watched[member.name] = self._make_member(member)
            self._log.info("node {node} was found", node=member.name)
        return watched

    def _candidates(self, names: Iterable[str]) -> list[Candidate]:
        return [self.watched[name].candidate for name in names]

    def _tick(self) -> None:
        for watched in list(self.watched.values()):
            watched.tick()
        self.ticked()
