"""Who belongs to the cluster: its nodes are introduced, and taken in or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.consistency.registers import Register, Registers
from aosd.consistency.settled import Settledness
from aosd.model.errors import AosdError, NodeError
from aosd.model.marker import Marker, read_marker
from aosd.model.node import Address, Credentials, Member
from aosd.model.objects import SYSTEM_BUCKET

Equip = Callable[
    [str, Address, Credentials, bytes, bytes | None, Mapping[str, bytes]], Deferred[bytes]
]
"""Make a node's buckets, and its marker where it has none; fires with the marker it has.

The last arguments are the marker of another cluster that is to go first, if there is one,
and records that the node gets before its marker.
"""

MEMBER = "member"
JOINING = "joining"


class Admission:
    """Decides about nodes that were introduced, once the cluster is known.

    Registers of kind `members` say who belongs: {"state", "weight", "zone", "incarnation",
    "returning", "hides"}.
    A new one is `joining`, in the coming ring only, until what is its has been copied.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        registers: Registers,
        settled: Settledness,
        equip: Equip,
        make_id: Callable[[], str],
    ) -> None:
        self.cluster = ""
        self.late_until_s: Callable[[], float] = lambda: 0.0
        self.contested: Callable[[], bool] = lambda: False
        self._roster = roster
        self._registers = registers
        self._settled = settled
        self._equip = equip
        self._make_id = make_id

    # -- who is a member --------------------------------------------------------------------------

    def registered(self, *states: str) -> list[Member]:
        """The members by their registers, of these states, by name."""
        found = []
        for register in self._registers.all("members"):
            if register.value.get("state") in states:
                zone = str(register.value.get("zone") or register.name)
                weight = float(register.value.get("weight", 1.0))
                found.append(Member(register.name, weight, zone))
        return sorted(found, key=lambda member: member.name)

    def set_rings(self) -> None:
        """Let the rings be what the registers say."""
        settled, joining = self.registered(MEMBER), self.registered(JOINING)
        roster = self._roster
        if joining:
            former = roster.ring if roster.former is None else roster.former
            names = {member.name for member in settled}
            if former.members.keys() != names:
                former = type(former)(settled)
            roster.set_rings([*settled, *joining], former)
        else:
            roster.set_rings(settled)
        for register in self._registers.all("members"):
            watched = roster.watched.get(register.name)
            if watched is not None and watched.hides is None:
                watched.hides = _hides(register)
        self._settled.ring_changed()

    async def register(self, member: Member, incarnation: str, state: str = "") -> None:
        """Remember a member on the nodes, and whether it is returning.

        Its state is as it was before, when none is given.
        """

        def value() -> dict[str, Any]:
            former = self._registers.get("members", member.name)
            watched = self._roster.watched.get(member.name)
            hides = None if watched is None else watched.hides
            if hides is None and former is not None:
                hides = _hides(former)
            return {
                "state": state or ("" if former is None else former.value.get("state")),
                "weight": member.weight,
                "zone": member.zone,
                "incarnation": incarnation,
                "returning": self._is_returning(member.name),
                "hides": hides,
            }

        await self._registers.set("members", member.name, value)

    def was_returning(self) -> list[str]:
        """The members that were when this was remembered last."""
        registers = self._registers.all("members")
        return [each.name for each in registers if each.value.get("returning")]

    def _is_returning(self, name: str) -> bool:
        """Whether it is known to have been away, and wasn't compared with all others since."""
        return self._settled.may_lack(name, self._roster.ring.members)

    async def change_over(self) -> None:
        """All that the coming ring wants is copied: it is the ring."""
        for member in self.registered(JOINING):
            watched = self._roster.watched[member.name]
            if watched.incarnation is None:
                return
            await self.register(member, watched.incarnation, MEMBER)
        self.set_rings()

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
        register = self._registers.get("members", name)
        known = register is not None and register.value.get("state") in (MEMBER, JOINING)
        if marker is None or not known:
            if not known and self.contested():
                watched.refuse("another gateway uses the nodes, and may have another ring")
                return
            if introduction.problem:
                watched.refuse(introduction.problem)
                return
            if introduction.objects and marker is None:
                watched.refuse("it holds objects that this cluster didn't write")
                return
        if marker is None:
            marker = await self.equip(watched, over)
            if why := self.stranger(name, marker):
                watched.refuse(why)
                return
        if watched.introduction is not introduction:
            return  # it went away meanwhile
        self._settled.unwatched(name, self.late_until_s())
        if register is not None and known:
            watched.admit(marker.incarnation, away=True)
            return
        self._log.info("node {node} joins", node=name)
        await self.register(watched.member, marker.incarnation, JOINING)
        if watched.introduction is introduction:  # otherwise it comes back as a member
            watched.admit(marker.incarnation, away=True)
        self.set_rings()

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
            if register.value.get("state") in (MEMBER, JOINING):
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
        registered = {member.name for member in self.registered(MEMBER, JOINING)}
        if registered != self._roster.ring.members.keys():
            # A register that too few nodes took came to mind again, from one that did.
            self.set_rings()
        for watched in list(self._roster.watched.values()):
            if watched.introduction is None or watched.incarnation is not None:
                continue
            try:
                await self.consider(watched)
            except AosdError as error:
                watched.refuse(f"not taken in yet: {error}")
        for watched in list(self._roster.watched.values()):
            await self._remember(watched)

    async def _remember(self, watched: WatchedMember) -> None:
        """A member's register tells of its disk and its return as they are; tried until it does."""
        name, incarnation = watched.member.name, watched.incarnation
        register = self._registers.get("members", name)
        if register is None or register.value.get("state") not in (MEMBER, JOINING):
            return
        remembered = register.value.get("incarnation")
        same_disk = incarnation in (None, remembered)
        same_kind = watched.hides in (None, _hides(register))
        returning = bool(register.value.get("returning"))
        if same_disk and same_kind and returning == self._is_returning(name):
            return
        if not same_disk:
            self._log.warn("node {node} came back with another disk", node=name)
        incarnation = incarnation or str(remembered)
        try:
            await self.register(watched.member, incarnation)
        except AosdError as error:
            self._log.info("that isn't remembered yet: {error}", error=error)


def _hides(register: Register) -> bool | None:
    """Whether the member was found to hide what lies beneath an object, if that was remembered."""
    hides = register.value.get("hides")
    return hides if isinstance(hides, bool) else None
