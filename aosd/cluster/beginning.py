"""How a run begins: which cluster this is, or that it is a new one; what it remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.cluster.admission import FOREIGN, Admission
from aosd.cluster.adopting import Adopting
from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.keys import ClusterKeys
from aosd.consistency.recall import STOPPED_KEY, Recall, StopNote, read_note
from aosd.consistency.settled import Pass, Settledness
from aosd.model.errors import AosdError, NodeError
from aosd.model.marker import Marker, read_marker
from aosd.model.node import Member
from aosd.model.quorum import memory_missing
from aosd.model.stamp import StampClock
from aosd.model.standing import Membership, Place, Standing

_QUIET_S = 1.0
_LATECOMERS_S = 3.0
_UNCLEAN_AHEAD_S = 10


@dataclass(frozen=True, slots=True)
class BeginningTimes:
    """How long the beginning waits.

    `founding_wait_s`: for nodes that don't answer, before a cluster is founded without
    them; `late_write_window_s`: how long the run before us may still be heard of.
    """

    founding_wait_s: float
    late_write_window_s: float


class Beginning:
    """Everything from the first introduction to ready. `advance` is called again and again."""

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        admission: Admission,
        standings: Standings,
        adopting: Adopting,
        recall: Recall,
        keys: ClusterKeys,
        settled: Settledness,
        stamps: StampClock,
        clock: IReactorTime,
        replicas: int,
        run: str,
        make_id: Callable[[], str],
        times: BeginningTimes,
    ) -> None:
        self.ready = False
        self.why = "no node was reached yet"
        self.unclean = False
        self.is_new = False
        # Whether the cluster is being left, with no way back: no run of it begins any more.
        self.left: Callable[[], bool] = lambda: False
        self._roster = roster
        self._admission = admission
        self._standings = standings
        self._adopting = adopting
        self._recall = recall
        self._keys = keys
        self._settled = settled
        self._stamps = stamps
        self._clock = clock
        self._replicas = replicas
        self._run = run
        self._make_id = make_id
        self._times = times
        self._first_met_s: float | None = None
        self._enough_s: float | None = None
        self._notes: dict[str, StopNote | None] = {}
        self._read: dict[str, Marker] = {}
        # How often each one's control connection had broken when its note was asked for. It is
        # watched anew, and counted from the start, when nobody saw it for a while.
        self._losses: dict[str, tuple[WatchedMember, int]] = {}
        self._watching: Pass | None = None
        self._founders: list[Standing] = []
        # Those that had objects when they were met.
        self._brings: set[str] = set()
        self._names: list[str] = []

    async def advance(self) -> bool:
        """One step further, if there is one; whether it is ready then.

        What fails with an AosdError is tried again.
        """
        await self._advance()
        return self.ready

    async def _advance(self) -> None:
        if self._founders or self._names:
            # Who was let in may have gone again meanwhile: all of them are needed now.
            await self._readmit()
            if self._founders:
                await self._complete_founding()
            else:
                await self._begin_run(self._names)
            return
        met = [
            watched
            for watched in self._roster.watched.values()
            if watched.introduction is not None and watched.incarnation is None
        ]
        if not met:
            return
        if self._first_met_s is None:
            self._first_met_s = self._clock.seconds()
        if not self._admission.cluster:
            await self._find_cluster(met)
        if self._admission.cluster and not self.ready:
            await self._remember(met)

    # -- which cluster ----------------------------------------------------------------------------

    async def _find_cluster(self, met: list[WatchedMember]) -> None:
        clusters: Counter[tuple[bool, str]] = Counter()
        blank: list[WatchedMember] = []
        for watched in met:
            introduction = watched.introduction
            assert introduction is not None
            if introduction.marker is None:
                blank.append(watched)
                continue
            try:
                marker = read_marker(watched.member.name, introduction.marker)
            except NodeError as error:
                watched.refuse(str(error))
                continue
            clusters[introduction.objects, marker.cluster] += 1
        if clusters:
            # One that has objects before one that has none, then the one of most nodes.
            objects, _, cluster = max(
                (objects, count, cluster) for (objects, cluster), count in clusters.items()
            )
            here = sum(count for (_, each), count in clusters.items() if each == cluster)
            if objects or 2 * here > len(self._roster.watched) or self._quiet():
                self._admission.cluster = cluster or self._make_id()
                self._log.info("this is the cluster {cluster}", cluster=self._admission.cluster)
            return
        if self._quiet():
            await self._found(blank)
        else:
            self.why = "waiting for nodes to be found, before a new cluster is founded"

    async def _found(self, blank: list[WatchedMember]) -> None:
        """First start: the lowest-named node says which cluster it is, if two begin at once."""
        fit: list[WatchedMember] = []
        for watched in sorted(blank, key=lambda each: each.member.name):
            introduction = watched.introduction
            assert introduction is not None
            if introduction.problem:
                watched.refuse(introduction.problem)
            elif introduction.objects and not watched.consented:
                watched.refuse(FOREIGN)
            else:
                fit.append(watched)
                if introduction.objects:
                    self._brings.add(watched.member.name)
        if not fit:
            self.why = "no node can be used; /-/nodes says why"
            return
        if 2 * len(fit) <= len(self._roster.watched):
            # The others may be the cluster that there is already.
            self.why = "too few of the nodes that were found answer, to found a new cluster"
            return
        admission = self._admission
        admission.cluster = self._make_id()
        founded = admission.cluster
        admitted: list[tuple[WatchedMember, Marker]] = []
        self.why = "a new cluster is being founded"
        for watched in fit:
            try:
                marker = await admission.equip(watched)
            except NodeError as error:
                watched.refuse(str(error))
                watched.meet_again()
                if not admitted:
                    admission.cluster = ""
                    return
                continue
            if not admitted and marker.cluster != founded:
                # Somebody else was first: it is theirs, and is to be read.
                admission.cluster = marker.cluster
                for each in fit:
                    each.meet_again()
                return
            if not admission.stranger(watched.member.name, marker):
                admitted.append((watched, marker))
        founders = [self._founder(watched.member, marker) for watched, marker in admitted]
        self._roster.set_standings(founders)
        for watched, marker in admitted:
            watched.admit(marker.incarnation, away=False)
        self._founders = founders
        await self._complete_founding()

    async def _complete_founding(self) -> None:
        """Let the founders' memory say who they are."""
        admission = self._admission
        for founder in self._founders:
            await self._enter(founder)
        self._standings.set_rings()
        await self._keys.confirm()
        await self._recall.registers.set("runs", "last", {"run": self._run})
        self._settled.founded(founder.name for founder in self._founders)
        self._founders = []
        self.is_new = True
        self._log.info("the cluster {cluster} is founded", cluster=admission.cluster)
        self._now_ready()

    def _founder(self, member: Member, marker: Marker) -> Standing:
        """What a node is that the cluster is founded on."""
        place, brings = Place(member.weight, member.zone), member.name in self._brings
        return Standing(
            member.name,
            Membership.MEMBER,
            place,
            marker.incarnation,
            adopted=brings,
            foreign=brings,
        )

    async def _enter(self, founder: Standing) -> None:
        """Let it be remembered, and what it brings along."""
        watched = self._roster.watched[founder.name]
        if founder.adopted:
            await self._adopting.take_up(watched)
        await self._standings.enter(
            watched.member, founder.incarnation, Membership.MEMBER, adopted=founder.adopted
        )

    async def _readmit(self) -> None:
        for watched in self._roster.watched.values():
            introduction = watched.introduction
            if (
                introduction is None
                or watched.incarnation is not None
                or watched.member.name not in self._roster.names
            ):
                continue
            if introduction.marker is None:
                marker = await self._admission.equip(watched)
            else:
                marker = read_marker(watched.member.name, introduction.marker)
            if why := self._admission.stranger(watched.member.name, marker):
                watched.refuse(why)
            elif watched.introduction is introduction:
                watched.admit(marker.incarnation, away=True)

    def _quiet(self) -> bool:
        """Whether no more nodes are to be expected for now."""
        now_s = self._clock.seconds()
        roster = self._roster
        heard = all(state.reported or state.trouble for state in roster.providers)
        if not heard or now_s - roster.changed_s < _QUIET_S or self._first_met_s is None:
            return False
        awaited = any(
            watched.node is not None and watched.introduction is None
            for watched in roster.watched.values()
        )
        return not awaited or now_s - self._first_met_s >= self._times.founding_wait_s

    # -- what it remembers ------------------------------------------------------------------------

    async def _remember(self, met: list[WatchedMember]) -> None:
        if self._watching is None:
            self._watching = self._settled.begin()
        for watched in met:
            if watched.member.name not in self._read:
                await self._read_from(watched)
        if self.left():
            return
        standings = self._standings.all()
        members = self._standings.members()
        if not members and self._read:
            # It was founded, and the founder ended before it had said with whom.
            standings = members = [
                self._founder(self._roster.watched[name].member, marker)
                for name, marker in sorted(self._read.items())
            ]
            if not self._quiet():
                return
        missing = [each.name for each in members if each.name not in self._read]
        if not members or self._lacks_memory(members):
            self.why = f"what the cluster remembers can't be read yet: {', '.join(missing)} missing"
            for name in missing:
                # Somebody may have given it a marker since it was met without one.
                known = self._roster.watched.get(name)
                if known is not None and known in met and known.is_blank:
                    known.meet_again()
            return
        now_s = self._clock.seconds()
        if self._enough_s is None:
            self._enough_s = now_s
        if any(map(self._may_come, missing)) and now_s - self._enough_s < _LATECOMERS_S:
            return
        self._roster.set_standings(standings)
        for name, marker in self._read.items():
            if name not in self._roster.names:
                continue  # it never got as far as to be remembered: it joins later
            watched = self._roster.watched[name]
            if watched.node is not None and watched.incarnation is None:
                watched.admit(marker.incarnation, away=False)
        self._names = [member.name for member in members]
        await self._begin_run(self._names)

    def _lacks_memory(self, members: Sequence[Standing]) -> bool:
        """Whether so many of them weren't read that nobody who was may have some record.

        One that joins may not have been given yet what was remembered before it came; what was
        remembered since may lie on it and another one alone.
        """
        known = [each for each in members if each.membership is not Membership.JOINING]
        return any(
            sum(each.name not in self._read for each in some)
            > memory_missing(self._replicas, len(some))
            for some in (known, members)
        )

    async def _register(self, name: str) -> None:
        """Let the member's register be of the disk that it has."""
        marker = self._read.get(name)
        standing = self._standings.get(name)
        if marker is None or (standing is not None and standing.incarnation == marker.incarnation):
            return
        # Another disk: its note is of another time, whatever it says.
        self._notes[name] = None
        if standing is None:
            await self._enter(self._founder(self._roster.watched[name].member, marker))
            return
        self._settled.returned(name)
        await self._standings.amend(name, lambda now: replace(now, incarnation=marker.incarnation))

    def _may_come(self, name: str) -> bool:
        watched = self._roster.watched.get(name)
        return watched is not None and watched.node is not None and not watched.breaker.open

    async def _read_from(self, watched: WatchedMember) -> None:
        introduction, name, node = watched.introduction, watched.member.name, watched.node
        if introduction is None or introduction.marker is None or node is None:
            return
        try:
            marker = read_marker(name, introduction.marker)
            if why := self._admission.stranger(name, marker):
                watched.refuse(why)
                return
            self._losses[name] = watched, watched.losses
            # A new connection carries a request once the control connection stands.
            records = await self._recall.read(node)
        except AosdError as error:
            watched.refuse(f"what it remembers can't be read: {error}")
            return
        if introduction.objects:
            self._brings.add(name)
        self._notes[name] = read_note(records.get(STOPPED_KEY))
        self._read[name] = marker

    async def _begin_run(self, names: list[str]) -> None:
        """What the last run left: settled, or everything to be compared."""
        registers = self._recall.registers
        returning = self._standings.were_returning() & set(names)
        for name in names:
            await self._register(name)
        last = registers.get("runs", "last")
        last_run = last.value.get("run") if last is not None else None
        assert self._watching is not None
        clean = {
            name: note
            for name, note in self._notes.items()
            # Who went since its note was read may have come back as it was before.
            if note is not None
            and note.run == last_run
            and self._settled.is_since(self._watching, name)
            and self._losses.get(name) == (known := self._roster.watched[name], known.losses)
        }
        self._standings.set_rings()
        if clean:
            self._go_on(names, clean)
        else:
            self.unclean = True
            self._stamps.leap(_UNCLEAN_AHEAD_S)
            window_s = self._times.late_write_window_s
            for name in names:
                self._settled.unwatched(name, self._clock.seconds() + window_s)
            self._admission.late_until_s = lambda: self._clock.seconds() + window_s
            # What these may lack may lie on nodes that are away now.
            for name in returning:
                self._settled.returned(name)
        await self._keys.confirm()
        await registers.confirm()
        # From here on no note of an earlier run counts, wherever it lies.
        await registers.set("runs", "last", {"run": self._run})
        await self._recall.memory.remove([STOPPED_KEY])
        self._log.info(
            "the run before ended {how}", how="cleanly" if clean else "without a clean stop"
        )
        self._now_ready()

    def _go_on(self, names: list[str], clean: Mapping[str, StopNote]) -> None:
        """From where a clean stop left off: the nodes in `clean` have its note."""
        notes = clean.values()
        unsettled = frozenset().union(*(note.unsettled for note in notes))
        lacking = frozenset().union(*(note.lacking for note in notes))
        unwatched = frozenset().union(*(note.unwatched for note in notes))
        late_until_s = self._clock.seconds() + max(note.late_s for note in notes)
        self._settled.founded(name for name in clean if name not in unsettled)
        for name in names:
            if name not in clean or name in lacking:
                self._settled.returned(name)
            elif name in unwatched:
                self._settled.unwatched(name, late_until_s)
            elif name in unsettled:
                # It was there all the time, and is to be compared with those that weren't.
                self._settled.late(name, late_until_s)

    def _now_ready(self) -> None:
        self.ready = True
        self.why = ""
