"""The members, as repair has to know of them: see aosd.repair.membership.IMembership."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from aosd.cluster.changes import Changes
from aosd.cluster.roster import Roster
from aosd.consistency.heartbeat import Heartbeat
from aosd.model.standing import Membership
from aosd.repair.progress import Change


@dataclass(frozen=True)
class Members:
    """What is known of them now, and how far a change of theirs is; `refusal`: see Store."""

    roster: Roster
    changes: Changes
    heartbeat: Heartbeat
    refusal: Callable[[], str]

    def up_since_s(self, name: str) -> float | None:
        """When the node answered again after its last silence; None while it doesn't."""
        watched = self.roster.watched.get(name)
        if watched is None or watched.candidate.node is None:
            return None
        return watched.up_since_s

    def down_since_s(self, name: str) -> float | None:
        """Since when the node is away; None while it isn't."""
        watched = self.roster.watched.get(name)
        return None if watched is None else watched.down_since_s

    def is_gone(self, name: str) -> bool:
        """Whether the node was drained or removed: it is met afresh if it comes back."""
        standing = self.changes.standing(name)
        gone = (Membership.DRAINED, Membership.REMOVED)
        return standing is not None and standing.membership in gone

    @property
    def ring_name(self) -> str:
        """The name of the ring that is, or that is coming."""
        return self.roster.ring.name

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way."""
        return self.roster.changing

    @property
    def contested(self) -> bool:
        """Whether another gateway uses the nodes."""
        return bool(self.heartbeat.other)

    @property
    def refusing(self) -> bool:
        """Whether no writes are taken now, such as while our clock may be wrong."""
        return bool(self.refusal())

    @property
    def change(self) -> Change:
        """The change of the ring that is under way, for people."""
        phase = self.changes.phase()
        if not phase:
            return Change()
        moving = [each for each in self.changes.standings() if each.moves or each.strays]
        since = min((each.since for each in moving if each.since), default="")
        return Change(phase, tuple(each.name for each in moving), since)

    @property
    def shape(self) -> Hashable:
        """Another one whenever other rings or members count."""
        return self.roster.shape

    @property
    def moving(self) -> Hashable:
        """What a change of the ring wants to be swept for; None when there is nothing to move."""
        waits = not self.roster.changing or self.changes.only_waits
        return None if waits else self.roster.shape

    def change_over(self, unmended: int, removed: int) -> Deferred[None]:
        """All was compared since the rings are what they are; so many keys aren't right yet."""
        return Deferred.fromCoroutine(self.changes.change_over(unmended, removed))
