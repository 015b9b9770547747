"""What an operator's act would make of the rings, and whether it would be refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from aosd.cluster.acts import carried_out, together, undone, wish
from aosd.cluster.emptying import Emptying
from aosd.cluster.losses import Losses
from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.model.errors import ChangeRefused, NoNodes, NoSuchNode
from aosd.model.node import NodeState
from aosd.model.ring import Ring
from aosd.model.stamp import StampClock
from aosd.model.standing import Act, Membership, Standing, ring_members
from aosd.ports import INode

CONTESTED = (
    "another gateway uses the nodes, and may be asked for something else: stop one of the two"
)


class Outlook:
    """Knows what acts would do; it does none.

    `absent` says why nothing is known yet, and `bars` what keeps a node out whoever consents
    ("": nothing). `contested` is whether there is another gateway, with rings of its own. What
    is asked for raises as the act itself would: NoSuchNode, ChangeRefused, BadRequest, or
    NoNodes.
    """

    def __init__(
        self,
        roster: Roster,
        standings: Standings,
        stamps: StampClock,
        losses: Losses,
        emptying: Emptying,
        absent: Callable[[], str],
        bars: Callable[[str], str],
        contested: Callable[[], bool],
    ) -> None:
        self.contested = contested
        self._roster = roster
        self._standings = standings
        self._stamps = stamps
        self._losses = losses
        self._emptying = emptying
        self._absent = absent
        self._bars = bars

    # -- the rings --------------------------------------------------------------------------------

    def rings(self) -> tuple[Ring, Ring]:
        """The ring that was and the one that is coming; the same twice while none is."""
        return _rings(self._standings.all())

    def proposed(
        self, act: Act, name: str, *, weight: float | None = None, zone: str | None = None
    ) -> tuple[Ring, Ring]:
        """The ring that is and the one that an act would make, as if nothing else waited.

        Of what goes back, it is as if the change that it ends hadn't begun.
        """
        self._check_alone()
        standings = {each.name: each for each in self._standings.all()}
        present = Ring(ring_members(standings.values()))
        standing = standings.get(name)
        if act is Act.JOIN:
            watched = self.newcomer(name)
            members = {**present.members, name: watched.member}
            return present, Ring(members.values())
        if standing is None:
            raise NoSuchNode(f"node {name} is no member")
        if act is Act.REMOVE:
            standings[name] = replace(standing, membership=Membership.REMOVED)
        else:
            wanted = together(standing, wish(act, weight, zone))
            standings[name] = carried_out(standing, wanted, self._stamps.reading)
            present = Ring(ring_members(standings.values(), former=True))
        check_left(standings.values())
        return present, Ring(ring_members(standings.values()))

    def undoing(self, name: str) -> tuple[Ring, Ring]:
        """The same of `undo`; raises as that would."""
        if self.consented(name) is not None:
            present = Ring(ring_members(self._standings.all()))
            return present, present
        standing = self.check(name)
        standings = {each.name: each for each in self._standings.all()}
        standings[name] = undone(standing, self._stamps.reading)
        return _rings(standings.values())

    async def check_return(self, name: str) -> None:
        """Raise ChangeRefused when `undrain` would be refused, as the node holds something."""
        if self.check(name).membership is Membership.DRAINED:
            try:
                await self._emptying.look_whether_empty(name)
            except NoNodes:
                return  # it would wait until that can be seen

    async def why_not_removed(self, name: str, *, lose: bool = False) -> str:
        """Why `remove` would be refused, for all that can be known now; "": it wouldn't."""
        standing = self.check(name)
        if standing.membership in (Membership.DRAINED, Membership.REMOVED, Membership.REMOVING):
            return ""
        if self.answers(name):
            return await self._losses.why_in_use(name)
        return "" if lose else await self._losses.why_not(name)

    # -- one node ---------------------------------------------------------------------------------

    def check(self, name: str) -> Standing:
        """Of one that is a member, or was one."""
        if why := self._absent():
            raise NoNodes(why)
        self._check_alone()
        standing = self._standings.get(name)
        if standing is None:
            known = name in self._roster.watched
            raise NoSuchNode(f"node {name} is no member" if known else f"no node {name} is known")
        return standing

    def newcomer(self, name: str) -> WatchedMember:
        """One that may be taken in, if somebody consents."""
        self._check_alone()
        watched = self._roster.watched.get(name)
        if watched is None:
            raise NoSuchNode(f"no node {name} is known")
        if watched.incarnation is not None:
            raise ChangeRefused(f"node {name} is a member")
        if why := self._bars(name):
            raise ChangeRefused(f"node {name} can't be taken in: {why}")
        if watched.introduction is not None and watched.introduction.problem:
            # Once it is mended that is found out by itself, as it is met again.
            raise ChangeRefused(f"node {name} can't be taken in: {watched.introduction.problem}")
        return watched

    def consented(self, name: str) -> WatchedMember | None:
        """A node that waits to be taken in, as somebody said."""
        watched = self._roster.watched.get(name)
        if watched is None or not watched.consented or watched.incarnation is not None:
            return None
        standing = self._standings.get(name)
        waits = standing is None or standing.membership is Membership.REMOVED
        return watched if waits else None

    def awaited(self) -> list[INode]:
        """All such nodes, as far as they can be asked."""
        waiting = [self.consented(name) for name in sorted(self._roster.watched)]
        return [each.node for each in waiting if each is not None and each.node is not None]

    def answers(self, name: str) -> bool:
        """Whether a node may be there yet."""
        watched = self._roster.watched.get(name)
        return watched is not None and watched.state is not NodeState.DOWN

    def others(self, name: str) -> list[Standing]:
        """Of all but one node."""
        return [each for each in self._standings.all() if each.name != name]

    def _check_alone(self) -> None:
        if self.contested():
            raise ChangeRefused(CONTESTED)


def check_left(standings: Iterable[Standing]) -> None:
    """Raise ChangeRefused if none would be left: those that wait to be drained count as drained."""
    waiting: list[Standing] = []
    others: list[Standing] = []
    for each in standings:
        (waiting if _waits_to_be_drained(each) else others).append(each)
    if ring_members(others):
        return
    why = "no node would be left to hold anything"
    if ring_members(waiting):
        names = ", ".join(each.name for each in waiting)
        why += f" once {names} will be drained, which waits: take that back first (undo)"
    raise ChangeRefused(why)


def _waits_to_be_drained(standing: Standing) -> bool:
    return standing.queued is not None and standing.queued.act is Act.DRAIN


def _rings(standings: Collection[Standing]) -> tuple[Ring, Ring]:
    return Ring(ring_members(standings, former=True)), Ring(ring_members(standings))
