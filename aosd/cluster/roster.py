"""Membership over time: sightings in, members and their ring out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from aosd.model.standing import Membership, Standing, ring_members
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

    Who is a member is decided elsewhere (Standings), which sets the rings. Before it has,
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
        self._known: Mapping[str, Standing] = {}
        # What discovery says of each, member or not.
        self._seen: Mapping[str, Member] = {}
        self._members: tuple[str, ...] = ()
        self._strays: tuple[str, ...] = ()
        self.watched: dict[str, WatchedMember] = {}
        self.troubles: Mapping[str, str] = {}
        self.providers = [ProviderState(each) for each in providers]
        self.changed_s = clock.seconds()
        self.changes = 0
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
        return self._candidates(self._members)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """As if it were no member, for as long as the block lasts, or until rings are set."""
        before = self._members
        ours = self._members = tuple(each for each in before if each != name)
        self._changed()  # who is returning depends on who else is a member
        try:
            yield
        finally:
            if self._members is ours:
                self._members = before
                self._changed()

    def strays(self) -> Sequence[Candidate]:
        """See IPlacement."""
        return self._candidates(self._strays)

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in order."""
        return self._members

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way, or something is to be moved after one."""
        return self.former is not None or bool(self._strays)

    @property
    def shape(self) -> tuple[str, ...]:
        """Another one whenever a ring that counts is another, or others are members or strays'."""
        former = "" if self.former is None else self.former.name
        return (self.ring.name, former, *self._members, "", *self._strays)

    def set_standings(self, standings: Sequence[Standing]) -> bool:
        """Let rings and members be what these tell; whether another ring counts since then."""
        before = self.ring.name, self.former and self.former.name
        self._known = {each.name: each for each in standings}
        for each in standings:
            if each.membership is not Membership.REMOVED:
                place = each.coming_place or each.place
                member = Member(each.name, place.weight, place.zone)
                self._watch(member).member = member
            elif (watched := self.watched.get(each.name)) is not None:
                # Were it to come again, it would be as a new one.
                watched.member = self._seen.get(each.name, watched.member)
        ring = self._ring(ring_members(standings))
        former = None
        if any(each.moves for each in standings):
            former = self._ring(ring_members(standings, former=True))
        self.ring, self.former = ring, former
        self._members = tuple(sorted(each.name for each in standings if each.membership.counts))
        self._strays = tuple(sorted(each.name for each in standings if each.strays))
        self._metrics.ring_members.set(len(ring.members))
        self._changed()
        if before == (ring.name, former and former.name):
            return False
        self._log.info(
            "the ring is {ring}, of {count} members", ring=ring.name, count=len(ring.members)
        )
        return True

    def told_by(self, standings: Sequence[Standing]) -> bool:
        """Whether rings and members are those that these tell of."""
        known = self._known
        return len(known) == len(standings) and all(
            each.name in known and _shape(known[each.name]) == _shape(each) for each in standings
        )

    def _ring(self, members: Iterable[Member]) -> Ring:
        """The one that there is already, if it is of these: it has the orders in memory."""
        ring = Ring(members)
        for known in (self.ring, self.former):
            if known is not None and known.name == ring.name:
                return known
        return ring

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
            if self._is_known(name) or each.incarnation is not None
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
        self._seen = resolution.members
        for name, member in resolution.members.items():
            watched = self._watch(member)
            if not self._is_known(name):
                # A member's weight and zone are what it joined with.
                watched.member = member
        for name, watched in list(self.watched.items()):
            if name in resolution.disputed:
                continue
            if name not in resolution.members and not self._is_known(name):
                # It was never taken in, also not just now, and nobody sees it any more.
                del self.watched[name]
                # Whoever waits for its answer goes on at once, and may watch it anew: as a member.
                watched.seen(None)
                continue
            sighting = resolution.sightings.get(name)
            if sighting != watched.sighting:
                self.changed_s = self._clock.seconds()
                watched.seen(sighting)
            elif sighting is None:
                watched.seen(None)

    def _is_known(self, name: str) -> bool:
        known = self._known.get(name)
        return known is not None and known.membership is not Membership.REMOVED

    def _watch(self, member: Member) -> WatchedMember:
        watched = self.watched.get(member.name)
        if watched is None:
            watched = self.watched[member.name] = self._make_member(member)
            watched.on_changed = self._changed
            self._log.info("node {node} was found", node=member.name)
        return watched

    def _changed(self) -> None:
        self.changes += 1

    def _candidates(self, names: Iterable[str]) -> list[Candidate]:
        return [self.watched[name].candidate for name in names]

    def _tick(self) -> None:
        for watched in list(self.watched.values()):
            watched.tick()
        self.ticked()


def _shape(standing: Standing) -> Standing:
    """What rings and members depend on."""
    return replace(standing, incarnation="", returning=False, hides=None, queued=None, since="")
