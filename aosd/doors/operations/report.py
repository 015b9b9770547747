"""What the operations door tells: the roster, in words and JSON."""

from __future__ import annotations

from typing import Any

from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.model.node import Sighting


class Oversight:
    """What is known now. `stopping` is set when the daemon begins to shut down."""

    def __init__(self, roster: Roster, replicas: int) -> None:
        self.stopping = False
        self._roster = roster
        self._replicas = replicas

    def ready(self) -> tuple[bool, str]:
        """Ready means: every provider has been heard, and some node is up."""
        if self.stopping:
            return False, "shutting down"
        roster = self._roster
        silent = [state.discovery.name for state in roster.providers if not state.reported]
        if len(silent) == len(roster.providers):
            return False, f"nothing heard yet from {', '.join(silent)}"
        if not roster.watched:
            return False, "no nodes found"
        if all(member.node is None for member in roster.members()):
            return False, "no node is up"
        return True, ""

    def nodes(self) -> dict[str, Any]:
        """Members with their states, what was seen and can't be used, providers."""
        roster = self._roster
        return {
            "ring": roster.ring.name,
            "nodes": [_node(roster.watched[name]) for name in sorted(roster.watched)],
            "unusable": [
                {"where": where, "problem": trouble}
                for where, trouble in sorted(roster.troubles.items())
            ],
            "providers": [
                {
                    "name": state.discovery.name,
                    "reported": state.reported,
                    "sightings": len(state.sightings),
                    "trouble": state.trouble,
                }
                for state in roster.providers
            ],
        }

    def ring(self) -> dict[str, Any]:
        """The ring's name and members."""
        members = [self._roster.watched[name].member for name in sorted(self._roster.watched)]
        return {
            "ring": self._roster.ring.name,
            "replicas": self._replicas,
            "members": [
                {"name": each.name, "weight": each.weight, "zone": each.zone} for each in members
            ],
        }

    def placement(self, bucket: str, key: str) -> dict[str, Any]:
        """The order of a key, and what each node is in it now."""
        ring = self._roster.ring
        order = ring.order(bucket, key)
        count = self._replicas
        roles = ["primary"] * count + ["handoff"] * count
        return {
            **ring.explain(bucket, key),
            "order": [
                {
                    "name": name,
                    "role": roles[place] if place < len(roles) else "none",
                    "zone": self._roster.watched[name].member.zone,
                    "state": self._roster.watched[name].state,
                }
                for place, name in enumerate(order)
            ],
        }


def _node(watched: WatchedMember) -> dict[str, Any]:
    sighting = watched.sighting
    return {
        "name": watched.member.name,
        "state": watched.state,
        "reason": watched.why,
        "zone": watched.member.zone,
        "weight": watched.member.weight,
        "url": _url(sighting),
        "seen_as": sighting.seen_as if sighting else None,
        "incarnation": watched.incarnation,
    }


def _url(sighting: Sighting | None) -> str | None:
    return sighting.address.url if sighting and sighting.address else None
