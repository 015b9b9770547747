"""What an operator's act makes of a node's standing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aosd.model.errors import BadRequest, ChangeRefused
from aosd.model.membership import LEAST_WEIGHT, MOST_WEIGHT
from aosd.model.standing import Act, Membership, Place, Queued, Standing

ALL_WEIGHT = 1e30
"""A node of this weight is first in every key's order, whatever the others weigh."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: `weight` when it is to be weighed, `zone` when to be elsewhere."""

    act: Act
    weight: float | None = None
    zone: str | None = None

    def queued(self, asked: str) -> Queued:
        """As it is remembered while it waits."""
        return Queued(self.act, asked, self.weight, self.zone)


def wish(act: Act, weight: float | None = None, zone: str | None = None) -> Wish:
    """A valid one: weight 0 is draining. Raises BadRequest."""
    if act is Act.WEIGH:
        if weight == 0:
            return Wish(Act.DRAIN)
        if weight is None or not (LEAST_WEIGHT <= weight <= MOST_WEIGHT or weight == ALL_WEIGHT):
            raise BadRequest(
                f"a weight is {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, or 0: draining",
                "InvalidArgument",
            )
        return Wish(act, weight=weight)
    if act is Act.REZONE:
        if not zone or len(zone) > _LONGEST_ZONE or not zone.isprintable():
            raise BadRequest(
                f"a zone has 1 to {_LONGEST_ZONE} characters that can be seen", "InvalidArgument"
            )
        if zone != zone.strip():
            # Two nodes of one rack would be taken for nodes of two.
            raise BadRequest("a zone doesn't begin or end with a space", "InvalidArgument")
        return Wish(act, zone=zone)
    return Wish(act)


def wish_of(queued: Queued) -> Wish:
    """What waited."""
    return Wish(queued.act, queued.weight, queued.zone)


def together(standing: Standing, wanted: Wish) -> Wish:
    """What is to be asked of a node, with what waits for it already. Raises ChangeRefused.

    A weight and a zone go together; whatever else is asked for takes the place of both.
    """
    queued = standing.queued
    if queued is None or wanted.act not in _PLACING:
        return wanted
    if queued.act is Act.DRAIN:
        raise ChangeRefused(f"node {standing.name} waits to be drained: undo that first")
    if queued.act not in _PLACING:
        return wanted
    return Wish(
        wanted.act,
        queued.weight if wanted.weight is None else wanted.weight,
        queued.zone if wanted.zone is None else wanted.zone,
    )


def carried_out(standing: Standing, wanted: Wish, since: str) -> Standing:
    """What it is once the act has begun; `since` is the stamp of now.

    The same when there is nothing to do. Raises ChangeRefused when it can't be.
    """
    standing = replace(standing, queued=None)
    match wanted.act:
        case Act.DRAIN:
            return _drained(standing, since)
        case Act.UNDRAIN:
            return _undrained(standing, since)
        case Act.WEIGH | Act.REZONE:
            return _placed(standing, wanted, since)
        case _:
            raise ChangeRefused(f"node {standing.name} can't be asked to {wanted.act}")


def undone(standing: Standing, since: str) -> Standing:
    """Without what was asked for last, be it queued or under way. Raises ChangeRefused."""
    if standing.queued is not None:
        return replace(standing, queued=None)
    match standing.membership:
        case Membership.MEMBER if standing.coming is not None:
            return replace(standing, coming=None, since="")
        case Membership.DRAINING:
            return _undrained(standing, since)
        case Membership.JOINING:
            return _drained(standing, since)
        case Membership.REMOVING:
            return replace(standing, membership=Membership.MEMBER, since="")
    raise ChangeRefused(f"nothing is asked for of node {standing.name}, or under way")


_LONGEST_ZONE = 255
_PLACING = (Act.WEIGH, Act.REZONE)


def _drained(standing: Standing, since: str) -> Standing:
    match standing.membership:
        case Membership.MEMBER:
            return replace(
                standing, membership=Membership.DRAINING, coming=None, left=False, since=since
            )
        case Membership.JOINING:
            # No ring that counts will have had it; what it got by then is to go.
            return replace(standing, membership=Membership.DRAINING, left=True, since=since)
        case Membership.DRAINING | Membership.DRAINED:
            return standing
    raise ChangeRefused(f"node {standing.name} is no member: it was removed")


def _undrained(standing: Standing, since: str) -> Standing:
    match standing.membership:
        case Membership.DRAINING if not standing.left:
            return replace(standing, membership=Membership.MEMBER, since="")
        case Membership.DRAINING | Membership.DRAINED:
            # What it holds yet, and others don't, is to be found until all is where it belongs.
            adopted = standing.adopted or standing.membership is Membership.DRAINING
            return replace(
                standing,
                membership=Membership.JOINING,
                left=False,
                adopted=adopted,
                since=since,
            )
        case Membership.MEMBER | Membership.JOINING:
            return standing
    raise ChangeRefused(f"node {standing.name} was removed: adopt takes it in again")


def _placed(standing: Standing, wanted: Wish, since: str) -> Standing:
    before = standing.coming or standing.place
    place = Place(
        before.weight if wanted.weight is None else wanted.weight,
        before.zone if wanted.zone is None else wanted.zone,
    )
    match standing.membership:
        case Membership.MEMBER if place == standing.place:
            return replace(standing, coming=None, since="")
        case Membership.MEMBER:
            return replace(standing, coming=place, since=since)
        case Membership.JOINING:
            return replace(standing, place=place)
        case Membership.DRAINING | Membership.DRAINED:
            raise ChangeRefused(f"node {standing.name} is {standing.membership}: undrain it first")
    raise ChangeRefused(f"node {standing.name} is no member: it was removed")
