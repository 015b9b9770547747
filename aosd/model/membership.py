"""From what providers saw to who is a member. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aosd.model.node import Member, Sighting, is_node_name


@dataclass(frozen=True, slots=True)
class Resolution:
    """All members by name, the sighting that counts for each, and what is wrong where.

    A member without an entry in `sightings` is seen by nobody now. `disputed` are members
    of whom two running ones were seen: whatever was known of them before stays.
    """

    members: Mapping[str, Member]
    sightings: Mapping[str, Sighting]
    disputed: frozenset[str]
    troubles: Mapping[str, str]


def resolve(
    members: Mapping[str, Member], sightings: Mapping[str, Sequence[Sighting]]
) -> Resolution:
    """Who belongs to the ring, given who did and what each provider saw last.

    A member stays, seen or not. A sighting with a problem makes no member and removes
    none. Of two sightings of one name the running one counts; two running ones move
    nothing and are reported.
    """
    by_name: dict[str, list[Sighting]] = {}
    troubles: dict[str, str] = {}
    for provider in sorted(sightings):
        for sighting in sightings[provider]:
            if is_node_name(sighting.name):
                by_name.setdefault(sighting.name, []).append(sighting)
            else:
                troubles[sighting.name or sighting.seen_as] = "no name for a node"
    found = dict(members)
    counting: dict[str, Sighting] = {}
    disputed: set[str] = set()
    for name in sorted(by_name):
        running = [each for each in by_name[name] if each.running]
        if len(running) > 1:
            where = ", ".join(sorted(each.seen_as or "?" for each in running))
            troubles[name] = f"two running nodes have this name: {where}"
            disputed.add(name)
            continue
        sighting = running[0] if running else by_name[name][0]
        counting[name] = sighting
        if sighting.problem is not None:
            troubles[name] = sighting.problem
        else:
            found[name] = Member(name, sighting.weight, sighting.zone or name)
    return Resolution(
        found,
        {name: each for name, each in counting.items() if name in found},
        frozenset(disputed & found.keys()),
        troubles,
    )
