"""Who belongs to the cluster: its nodes are introduced, and taken in or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.cluster.adopting import Adopting
from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.model.errors import AosdError, NodeError
from aosd.model.marker import Marker, read_marker
from aosd.model.node import Address, Credentials
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.standing import Membership, Standing, read_standing

Equip = Callable[
    [str, Address, Credentials, bytes, bytes | None, Mapping[str, bytes]], Deferred[bytes]
]
"""Make a node's buckets, and its marker where it has none; fires with the marker it has.

The last arguments are the marker of another cluster that is to go first, if there is one,
and records that the node gets before its marker.
"""

FOREIGN = "it holds objects that this cluster didn't write: adopt takes them in"


class Admission:
    """Decides about nodes that were introduced, once the cluster is known.

    A new one is `joining`, in the coming ring only, until what is its has been copied. One
    that was removed comes back only empty, and where it had been drained only when it is let.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        registers: Registers,
        standings: Standings,
        adopting: Adopting,
        settled: Settledness,
        equip: Equip,
        make_id: Callable[[], str],
    ) -> None:
        self.cluster = ""
        self.late_until_s: Callable[[], float] = lambda: 0.0
        self.contested: Callable[[], bool] = lambda: False
        # Why a new node can't join now; "" when it can.
        self.waits: Callable[[str], str] = lambda name: ""
        self._roster = roster
        self._registers = registers
        self._standings = standings
        self._adopting = adopting
        self._settled = settled
        self._equip = equip
        self._make_id = make_id

    # -- who is let in ----------------------------------------------------------------------------

    async def consider(self, watched: WatchedMember) -> None:
        """Take in or refuse a node that was introduced; NodeError or ClusterError: not now."""
        introduction = watched.introduction
        assert introduction is not None
        name = watched.member.name
        marker = over = None
        if introduction.marker is not None:
            marker = read_marker(name, introduction.marker)
            if why := self.stranger(name, marker):
                of_another = marker.node == name and not marker.left
                if of_another and introduction.objects and not await self._has_objects():
                    why += ", which has objects, and ours has none: started again, aosd is of that"
                if not of_another or not await self._yields(watched, marker.cluster):
                    watched.refuse(why)
                    return
                marker, over = None, introduction.marker
        standing = self._standings.get(name)
        known = standing is not None and standing.membership.counts
        gone = standing if not known else None
        if gone and (why := self._kept_out(watched, gone, is_marked=marker is not None)):
            watched.refuse(why)
            return
        if marker is None or not known:
            if not known and self.contested():
                watched.refuse("another gateway uses the nodes, and may have another ring")
                return
            if introduction.problem:
                watched.refuse(introduction.problem)
                return
            if introduction.objects and marker is None and not watched.consented:
                watched.refuse(FOREIGN)
                return
            if not known and (why := self.waits(name)):
                watched.refuse(why)
                return
        # What it has is to be found, whoever gave it its marker; and it may get one, and no more.
        brings = introduction.objects and (introduction.marker is None or not known)
        if brings:
            await self._take_up(watched, known=known)
            if marker is None and not watched.consented:
                watched.refuse(FOREIGN)  # that was taken back meanwhile
                return
        if marker is None:
            marker = await self.equip(watched, over)
            if why := self.stranger(name, marker):
                watched.refuse(why)
                return
        if watched.introduction is not introduction:
            return  # it went away meanwhile
        self._settled.unwatched(name, self.late_until_s())
        if known:
            watched.admit(marker.incarnation, away=True)
            return
        self._log.info("node {node} joins", node=name)
        self._settled.comes(
            name, empty=not introduction.objects, ours=introduction.marker is not None
        )
        await self._standings.enter(
            watched.member, marker.incarnation, Membership.JOINING, adopted=brings
        )
        if watched.introduction is introduction:  # otherwise it comes back as a member
            watched.admit(marker.incarnation, away=True)
        self._standings.set_rings()

    async def _take_up(self, watched: WatchedMember, *, known: bool) -> None:
        await self._adopting.take_up(watched)
        if known:
            await self._standings.amend(watched.member.name, _bringing)
            self._standings.set_rings()

    def _kept_out(self, watched: WatchedMember, standing: Standing, *, is_marked: bool) -> str:
        """Why one that isn't a member any more can't be one again; "" when it can."""
        match standing.membership:
            case Membership.DRAINED:
                return "it was drained: undrain takes it in again, remove forgets it"
            case Membership.REMOVING:
                return "it was removed, and what it held is being copied"
        introduction = watched.introduction
        if is_marked and introduction is not None and introduction.objects:
            return "it was removed, and holds objects of that time: empty it first"
        if standing.left and not watched.consented:
            return "it was removed: adopt takes it in again"
        return ""

    async def welcome(self, name: str) -> None:
        """Take in a node that counts again, and was met just now, before any ring has it.

        What can't be now is done when its turn comes, see `consider_all`.
        """
        watched = self._roster.watched.get(name)
        if watched is None or watched.introduction is None or watched.incarnation is not None:
            return
        try:
            await self.consider(watched)
        except AosdError as error:
            watched.refuse(f"not taken in yet: {error}")

    def bars(self, name: str) -> str:
        """What keeps a node out whoever consents, as far as it was met; "" for nothing."""
        watched = self._roster.watched.get(name)
        introduction = None if watched is None else watched.introduction
        if watched is None or introduction is None:
            return ""
        is_marked = introduction.marker is not None
        if introduction.marker is not None:
            why = self.stranger(name, read_marker(name, introduction.marker))
            # Before it was considered it may yet yield.
            if why and watched.why.startswith(why):
                return watched.why
        standing = self._standings.get(name)
        if standing is None or standing.membership.counts:
            return ""
        return self._kept_out(watched, replace(standing, left=False), is_marked=is_marked)

    def expects(self) -> bool:
        """Whether a node is there that somebody lets in, and only time keeps it.

        What it holds is no newer than the deletes that are on record now.
        """
        return any(self._expects(*each) for each in self._roster.watched.items())

    def _expects(self, name: str, watched: WatchedMember) -> bool:
        introduction = watched.introduction
        if not watched.consented or watched.incarnation is not None:
            return False
        if not watched.is_met or watched.breaker.open:
            return False
        if introduction is not None and introduction.problem:
            return False
        try:
            return not self.bars(name)
        except NodeError:
            return False  # its marker can't be read

    def stranger(self, name: str, marker: Marker) -> str:
        """Why a node with this marker can't be ours; "" when it can."""
        if marker.node != name:
            return f"it holds the data of node {marker.node}, by its marker"
        if marker.left:
            return "what is aosd's own is being removed from it"
        if marker.cluster not in ("", self.cluster):
            return f"it belongs to another cluster, {marker.cluster}"
        return ""

    async def _yields(self, watched: WatchedMember, cluster: str) -> bool:
        """Whether a node's cluster has no objects on any of its nodes, and ours has some.

        It was founded by mistake, when nothing else was to be seen. All of its nodes must be
        seen now.
        """
        introduction, node = watched.introduction, watched.node
        if introduction is None or node is None or not cluster:
            return False
        names = {watched.member.name}
        for register in await self._registers.told_by(node, "members"):
            standing = read_standing(register.name, register.value)
            if standing is not None and standing.membership.counts:
                names.add(register.name)
        for name in names:
            there = self._roster.watched.get(name)
            found = there.introduction if there is not None else None
            if found is None or found.objects or found.marker is None:
                return False
            if read_marker(name, found.marker).cluster != cluster:
                return False
        return await self._has_objects()

    async def _has_objects(self) -> bool:
        """Whether any member that can be asked holds one, in whatever bucket."""
        for candidate in self._roster.members():
            node = candidate.node
            if node is None:
                continue
            for bucket in await node.list_buckets():
                if bucket != SYSTEM_BUCKET and (await node.list(bucket, limit=1)).entries:
                    return True
        return False

    async def equip(self, watched: WatchedMember, over: bytes | None = None) -> Marker:
        """Give a blank node its buckets and its marker; or one with the marker `over`."""
        name, sighting = watched.member.name, watched.sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            raise NodeError(name, "it isn't seen any more")
        marker = Marker(self.cluster, name, self._make_id())
        stands = await self._equip(
            name,
            sighting.address,
            sighting.credentials,
            marker.to_bytes(),
            over,
            # Or a run that finds nobody else would take those for all that it remembers.
            self._registers.records(),
        )
        return read_marker(name, stands)

    async def consider_all(self) -> None:
        """Whoever waits at the door."""
        if not self._standings.are_set():
            self._standings.set_rings()
        for watched in list(self._roster.watched.values()):
            if watched.introduction is None or watched.incarnation is not None:
                continue
            try:
                await self.consider(watched)
            except AosdError as error:
                watched.refuse(f"not taken in yet: {error}")
        for standing in self._standings.all():
            try:
                await self._remember(standing)
            except AosdError as error:
                self._log.info("that isn't remembered yet: {error}", error=error)

    async def _remember(self, standing: Standing) -> None:
        """A member's register tells of its disk and its return as they are; tried until it does."""
        name, watched = standing.name, self._roster.watched.get(standing.name)
        if watched is None or not standing.membership.counts:
            return
        incarnation = watched.incarnation or standing.incarnation
        same_disk = incarnation == standing.incarnation
        same_kind = watched.hides in (None, standing.hides)
        if same_disk and same_kind and standing.returning == self._standings.is_returning(name):
            return
        if not same_disk:
            self._log.warn("node {node} came back with another disk", node=name)
        await self._standings.amend(name, lambda now: replace(now, incarnation=incarnation))


def _bringing(standing: Standing) -> Standing:
    """A member whose disk was replaced by one with objects."""
    return replace(standing, adopted=True, foreign=True)
