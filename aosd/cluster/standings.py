"""What every node is to the cluster: in the registers, and in the rings that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aosd.cluster.roster import Roster
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.model.errors import NoSuchNode
from aosd.model.node import Member
from aosd.model.standing import Membership, Place, Standing, read_standing

_KIND = "members"

Change = Callable[[Standing], Standing]


class Standings:
    """Reads and sets the registers of kind `members`, and lets the roster have its rings.

    Nothing of it is kept here: a run that is killed at any point is gone on with.
    """

    def __init__(self, roster: Roster, registers: Registers, settled: Settledness) -> None:
        self._roster = roster
        self._registers = registers
        self._settled = settled

    def all(self) -> list[Standing]:
        """Of all that are remembered, by name; removed ones, too."""
        found = (read_standing(each.name, each.value) for each in self._registers.all(_KIND))
        return [each for each in found if each is not None]

    def get(self, name: str) -> Standing | None:
        """Of one; None when it was never a member."""
        register = self._registers.get(_KIND, name)
        return None if register is None else read_standing(name, register.value)

    def members(self) -> list[Standing]:
        """Of those that are members, by name."""
        return [each for each in self.all() if each.membership.counts]

    def were_returning(self) -> set[str]:
        """The members that were when this was remembered last."""
        return {each.name for each in self.members() if each.returning}

    async def enter(
        self,
        member: Member,
        incarnation: str,
        membership: Membership,
        *,
        adopted: bool = False,
        since: str = "",
    ) -> None:
        """Remember a new member, or one that is new again. Raises NoQuorum."""

        def value() -> dict[str, Any]:
            place = Place(member.weight, member.zone)
            new = Standing(
                member.name,
                membership,
                place,
                incarnation,
                adopted=adopted,
                since=since,
                foreign=adopted,
            )
            return self._refreshed(new).value()

        await self._registers.set(_KIND, member.name, value)

    async def amend(self, name: str, change: Change = lambda standing: standing) -> None:
        """Let it be what `change` makes of it as it is by then. Raises NoQuorum, NoSuchNode.

        And what `change` raises. Whether it is returning, and hides, is told as it is now.
        """

        def value() -> dict[str, Any]:
            standing = self.get(name)
            if standing is None:
                raise NoSuchNode(f"node {name} was never a member")
            return self._refreshed(change(standing)).value()

        await self._registers.set(_KIND, name, value)

    async def make_sure(self, name: str) -> None:
        """Let it stand as it is. Raises NoQuorum, NoSuchNode.

        Another value that couldn't be set may lie on some node, and would come to mind from it.
        """
        if not self._registers.is_sure(_KIND, name):
            await self.amend(name)

    def set_rings(self) -> None:
        """Let the rings be what the registers say."""
        roster = self._roster
        standings = self.all()
        if roster.set_standings(standings):
            self._settled.ring_changed()
        for each in standings:
            watched = roster.watched.get(each.name)
            if watched is None:
                continue
            watched.foreign, watched.adopted = each.foreign, each.adopted
            if watched.hides is None:
                watched.hides = each.hides

    def are_set(self) -> bool:
        """Whether members and rings are those that the registers tell of.

        A register that too few nodes took comes to mind again, from one that did.
        """
        return self._roster.told_by(self.all())

    def is_returning(self, name: str) -> bool:
        """Whether it is known to have been away, and wasn't compared with all others since."""
        return self._settled.may_lack(name, self._roster.names)

    def _refreshed(self, standing: Standing) -> Standing:
        watched = self._roster.watched.get(standing.name)
        hides = None if watched is None else watched.hides
        return replace(
            standing,
            returning=self.is_returning(standing.name),
            hides=standing.hides if hides is None else hides,
        )
