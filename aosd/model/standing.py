"""What a node is to the cluster, and what it is to become: what its register tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from aosd.model.node import Member


class Membership(StrEnum):
    """Where a node stands on its way in and out."""

    JOINING = "joining"  # in the coming ring alone, until what is its has been copied
    MEMBER = "member"
    DRAINING = "draining"  # in the former ring alone, then in none, until it is empty
    DRAINED = "drained"  # holds nothing, counts for nothing
    REMOVING = "removing"  # lost for good: in the former ring alone, and never asked
    REMOVED = "removed"  # remembered, so that it comes back only empty

    @property
    def counts(self) -> bool:
        """Whether it is a member: it has the cluster's memory, and sweeps wait for it."""
        return self in (Membership.JOINING, Membership.MEMBER, Membership.DRAINING)


class Act(StrEnum):
    """What an operator may ask for a node, or discovery when it finds one."""

    JOIN = "join"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    WEIGH = "weigh"
    REZONE = "rezone"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in a ring."""

    weight: float
    zone: str


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits for the change under way to be over; `asked` is the stamp of the asking."""

    act: Act
    asked: str
    weight: float | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A node's register. `place` is its place in the ring, now or (joining) to come.

    `coming` is another place of a member, while that change is under way. `left`: no ring
    that counts has it, and what it still holds is being moved. `adopted`: it came with
    objects, which may belong on others alone; `foreign`: it did so once, and originals without a
    stamp may be left on it, some of them hidden. `since` is the stamp of when its part in a
    change began ("": unknown). `hides`: see INode's hiding in ports.Candidate.
    """

    name: str
    membership: Membership
    place: Place
    incarnation: str = ""
    coming: Place | None = None
    left: bool = False
    adopted: bool = False
    since: str = ""
    queued: Queued | None = None
    returning: bool = False
    hides: bool | None = None
    foreign: bool = False

    @property
    def former_place(self) -> Place | None:
        """Its place in the ring that is, before the change under way is over."""
        if self.left or self.membership in (
            Membership.JOINING,
            Membership.DRAINED,
            Membership.REMOVED,
        ):
            return None
        return self.place

    @property
    def coming_place(self) -> Place | None:
        """Its place in the ring that is coming; the same when it has no part in a change."""
        if self.membership is Membership.MEMBER:
            return self.coming or self.place
        return self.place if self.membership is Membership.JOINING else None

    @property
    def moves(self) -> bool:
        """Whether it has a part in a change of the ring."""
        return self.former_place != self.coming_place

    @property
    def strays(self) -> bool:
        """Whether it may hold keys that belong on others alone, and is to be asked for all."""
        return self.membership is Membership.DRAINING or (
            self.adopted and self.membership in (Membership.JOINING, Membership.MEMBER)
        )

    def over(self) -> Standing:
        """What it is when the change of the ring under way is over."""
        if self.membership is Membership.JOINING:
            return replace(self, membership=Membership.MEMBER, since="")
        if self.membership is Membership.MEMBER and self.coming is not None:
            return replace(self, place=self.coming, coming=None, since="")
        if self.membership is Membership.DRAINING:
            return replace(self, left=True)
        if self.membership is Membership.REMOVING:
            return replace(self, membership=Membership.REMOVED, since="", adopted=False)
        return self

    def value(self) -> dict[str, Any]:
        """As its register has it."""
        told: dict[str, Any] = {
            "state": str(self.membership),
            "weight": self.place.weight,
            "zone": self.place.zone,
            "incarnation": self.incarnation,
            "returning": self.returning,
            "hides": self.hides,
        }
        if self.coming is not None:
            told["coming"] = {"weight": self.coming.weight, "zone": self.coming.zone}
        if self.left:
            told["left"] = True
        if self.adopted:
            told["adopted"] = True
        if self.foreign:
            told["foreign"] = True
        if self.since:
            told["since"] = self.since
        if self.queued is not None:
            queued: dict[str, Any] = {"act": str(self.queued.act), "asked": self.queued.asked}
            if self.queued.weight is not None:
                queued["weight"] = self.queued.weight
            if self.queued.zone is not None:
                queued["zone"] = self.queued.zone
            told["queued"] = queued
        return told


def read_standing(name: str, value: Mapping[str, Any]) -> Standing | None:
    """What a register's value tells; None when it is none of ours."""
    try:
        membership = Membership(str(value.get("state")))
        place = Place(float(value.get("weight", 1.0)), str(value.get("zone") or name))
        coming, queued, hides = value.get("coming"), value.get("queued"), value.get("hides")
        return Standing(
            name,
            membership,
            place,
            str(value.get("incarnation") or ""),
            None if coming is None else Place(float(coming["weight"]), str(coming["zone"])),
            bool(value.get("left")),
            bool(value.get("adopted")),
            str(value.get("since") or ""),
            None if queued is None else _queued(queued),
            bool(value.get("returning")),
            hides if isinstance(hides, bool) else None,
            bool(value.get("foreign")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def ring_members(standings: Iterable[Standing], *, former: bool = False) -> list[Member]:
    """The members of the ring that is coming, or of the `former` one, by name."""
    found = []
    for each in standings:
        place = each.former_place if former else each.coming_place
        if place is not None:
            found.append(Member(each.name, place.weight, place.zone))
    return sorted(found, key=lambda member: member.name)


def _queued(value: Mapping[str, Any]) -> Queued:
    weight, zone = value.get("weight"), value.get("zone")
    return Queued(
        Act(str(value["act"])),
        str(value["asked"]),
        None if weight is None else float(weight),
        None if zone is None else str(zone),
    )
