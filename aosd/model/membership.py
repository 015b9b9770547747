"""From what providers saw to who is a member. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aosd.model.node import Member, Sighting, is_node_name

LEAST_WEIGHT = 0.1
MOST_WEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class Resolution:
    """All members by name, the sighting that counts for each, and what is wrong where.

    A member without an entry in `sightings` is seen by nobody now. `disputed` are members
    of whom two running ones were seen: whatever was known of them before stays.
    `troubles` are words for the operator, by node name, or by where something was seen
    that has no name.
    """

    members: Mapping[str, Member]
    sightings: Mapping[str, Sighting]
    disputed: frozenset[str]
    troubles: Mapping[str, str]


def resolve(
    members: Mapping[str, Member], sightings: Mapping[str, Sequence[Sighting]]
) -> Resolution:
    """Who belongs to the ring, given who did and what each provider (by name) saw last.

    A member stays, seen or not; its weight and zone follow the newest sighting. A sighting
    with a problem makes no member, removes none, and stands in nobody's way. Of two
    sightings of one name the running one counts; two running ones at different addresses
    move nothing and are reported. Among several that don't run the first one counts.
    """
    by_name: dict[str, list[Sighting]] = {}
    troubles: dict[str, str] = {}
    for provider in sorted(sightings):
        for sighting in sightings[provider]:
            if is_node_name(sighting.name):
                by_name.setdefault(sighting.name, []).append(sighting)
            else:
                where = sighting.name or sighting.seen_as or provider
                troubles[where] = f"{sighting.name!r} is no name for a node"
    found = dict(members)
    counting: dict[str, Sighting] = {}
    disputed: set[str] = set()
    for name in sorted(by_name):
        seen = by_name[name]
        wrong = [each for each in seen if _problem(each)]
        usable = [each for each in seen if not _problem(each)]
        running = [each for each in usable if each.running]
        if wrong:
            troubles[name] = _problem(wrong[0])
        if len({(each.address, each.credentials) for each in running}) > 1:
            where = ", ".join(sorted(each.seen_as or "?" for each in running))
            troubles[name] = f"two running nodes have this name: {where}"
            disputed.add(name)
            continue
        if usable:
            sighting = (running or usable)[0]
            found[name] = Member(name, float(sighting.weight), sighting.zone or name)
        if name in found:
            # One that runs but can't be used says more than one that doesn't run.
            awry = [each for each in wrong if each.running]
            counting[name] = (running or awry or usable or wrong)[0]
    return Resolution(found, counting, frozenset(disputed & found.keys()), troubles)


def _problem(sighting: Sighting) -> str:
    """Why it can't be used as it stands; empty when it can."""
    if sighting.problem is not None:
        return sighting.problem or "it can't be used"
    if not LEAST_WEIGHT <= sighting.weight <= MOST_WEIGHT:
        return f"its weight is {sighting.weight:g}, not {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}"
    return ""
