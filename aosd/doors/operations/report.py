"""What the operations door tells: the cluster, in words and JSON."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from aosd.assembly import Assembly
from aosd.cluster.member import WatchedMember
from aosd.consistency.holders import could_hold
from aosd.doors.operations.moments import moment_of
from aosd.gateway.store import ask
from aosd.model.errors import NoNodes, NoSuchKey
from aosd.model.node import NodeState, Sighting
from aosd.model.objects import ObjectHead
from aosd.model.standing import Queued


class Oversight:
    """What is known now. `stopping` is set when the daemon begins to shut down."""

    def __init__(self, assembly: Assembly, replicas: int) -> None:
        self.stopping = False
        self._assembly = assembly
        self._roster = assembly.roster
        self._replicas = replicas

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served, and what is missing."""
        if self.stopping:
            return False, "shutting down"
        roster = self._roster
        silent = [state.discovery.name for state in roster.providers if not state.reported]
        if len(silent) == len(roster.providers) and not roster.watched:
            return False, f"nothing heard yet from {', '.join(silent)}"
        if not roster.watched:
            return False, "no nodes found"
        return self._assembly.ready()

    def nodes(self) -> dict[str, Any]:
        """Members with their states, what was seen and can't be used, providers.

        `next_may_go`: whether a node may be taken down now without a request being refused;
        `wait_for` says what stands in the way.
        """
        roster = self._roster
        waiting = self._wait_for() or self._too_few()
        return {
            "cluster": self._assembly.admission.cluster or None,
            "ring": roster.ring.name,
            "changing": roster.changing,
            "leaving": self._assembly.leaving.told(),
            "next_may_go": not waiting,
            "wait_for": waiting,
            "nodes": [self._node(roster.watched[name]) for name in sorted(roster.watched)],
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

    def changes(self) -> dict[str, Any]:
        """Changes of the ring: the one under way, those that wait, and whether aosd leaves.

        Raises NoNodes before what the cluster remembers was read: it isn't that nothing changes.
        """
        assembly, changes = self._assembly, self._assembly.changes
        if assembly.leaving.told() is None and not assembly.beginning.ready:
            raise NoNodes(assembly.beginning.why)
        return {
            "changing": changes.changing,
            "phase": changes.phase(),
            "waiting_for": changes.waiting_for(),
            "progress": assembly.progress.told() if changes.changing else None,
            "queue": [
                {
                    "node": name,
                    **_queued(queued),
                    "asked_at": moment_of(queued.asked),
                    "consented": assembly.outlook.consented(name) is not None,
                }
                for name, queued in changes.queue()
            ],
            "paused": assembly.keeper.paused,
            "leaving": assembly.leaving.told(),
        }

    def ring(self) -> dict[str, Any]:
        """The ring's name and members."""
        ring = self._roster.ring
        return {
            "ring": ring.name,
            "replicas": self._replicas,
            "changing": self._roster.changing,
            "saturated": list(ring.saturated(self._replicas)),
            "members": [
                {"name": each.name, "weight": each.weight, "zone": each.zone}
                for each in ring.members.values()
            ],
        }

    def placement(self, bucket: str, key: str) -> Deferred[dict[str, Any]]:
        """The order of a key, what each node is in it, which copies there are, and why."""
        return Deferred.fromCoroutine(self._placement(bucket, key))

    async def _placement(self, bucket: str, key: str) -> dict[str, Any]:
        ring, store = self._roster.ring, self._assembly.store
        orders = self._roster.orders(bucket, key)
        count = self._replicas
        roles = ["primary"] * count + ["handoff"] * count
        candidates = could_hold(orders, count, self._roster.strays())
        answers = await ask(candidates, lambda node: node.head(bucket, key))
        why = self._assembly.beginning.why or store.why_unsettled(bucket, key)
        return {
            **ring.explain(bucket, key),
            "settled": not why,
            "why": why,
            "deleted": store.journal.delete_of(bucket, key),
            "copies": {each.name: _copy(answers.get(each.name)) for each in candidates},
            "order": [
                {
                    "name": each.name,
                    "role": roles[place] if place < len(roles) else "none",
                    "zone": each.zone,
                    "state": each.state,
                }
                for place, each in enumerate(orders[0] if orders else ())
            ],
            "former": [each.name for each in orders[1]] if len(orders) > 1 else None,
        }

    def repair(self) -> dict[str, Any]:
        """What is known to be amiss, and what is done about it."""
        assembly = self._assembly
        waiting = self._wait_for()
        return {
            "settled": not waiting and not len(assembly.marks),
            "unsettled": waiting,
            "marks": len(assembly.marks),
            "journal": assembly.ledger.deletes,
            "alone": assembly.heartbeat.alone,
            **assembly.keeper.report(),
        }

    def _wait_for(self) -> list[str]:
        assembly, roster = self._assembly, self._roster
        if not assembly.beginning.ready:
            return [assembly.beginning.why]
        waiting = []
        if roster.changing:
            waiting.append("the ring is changing")
        for candidate in roster.members():
            if candidate.state not in (NodeState.UP, NodeState.FULL):
                waiting.append(f"node {candidate.name} is {candidate.state}")
            elif not assembly.settled.is_covered(candidate.name):
                waiting.append(f"no sweep has compared node {candidate.name} yet")
        names = [each.name for each in roster.members()]
        if not waiting and not assembly.settled.is_covered(*names):
            waiting.append("no one sweep has compared all nodes yet")
        if len(assembly.marks):
            waiting.append(f"{len(assembly.marks)} marks say that copies may differ")
        return waiting

    def _too_few(self) -> list[str]:
        """Why a write would be refused if another node went."""
        ring = self._roster.ring.members
        members = [each for each in self._roster.members() if each.name in ring]
        takers = [each.name for each in members if each.state is NodeState.UP]
        if len(takers) > self._replicas:
            return []
        return [f"writes need {self._replicas} nodes, and {len(takers)} take them"]

    def _node(self, watched: WatchedMember) -> dict[str, Any]:
        sighting = watched.sighting
        standing = self._assembly.changes.standing(watched.member.name)
        coming = standing.coming if standing else None
        queued = standing.queued if standing else None
        return {
            "name": watched.member.name,
            "member": watched.member.name in self._roster.ring.members,
            "state": watched.state,
            "reason": watched.why,
            "zone": watched.member.zone,
            "weight": watched.member.weight,
            "url": _url(sighting),
            "seen_as": sighting.seen_as if sighting else None,
            "incarnation": watched.incarnation,
            "membership": standing.membership if standing else None,
            "coming": {"weight": coming.weight, "zone": coming.zone} if coming else None,
            "left": standing is not None and standing.left,
            "adopted": standing is not None and standing.adopted,
            "queued": _queued(queued) if queued else None,
            "consented": self._assembly.outlook.consented(watched.member.name) is not None,
            "clock_ahead_s": watched.clock_ahead_s if watched.candidate.node else None,
        }


def _queued(queued: Queued) -> dict[str, Any]:
    return {
        "act": queued.act,
        "asked": queued.asked,
        "weight": queued.weight,
        "zone": queued.zone,
    }


def _copy(answer: ObjectHead | Exception | None) -> dict[str, Any] | None:
    if isinstance(answer, ObjectHead):
        return {"stamp": answer.stamp, "etag": answer.etag, "size": answer.size_bytes}
    if answer is None:
        return {"error": "it can't be asked now"}
    return None if isinstance(answer, NoSuchKey) else {"error": str(answer)}


def _url(sighting: Sighting | None) -> str | None:
    return sighting.address.url if sighting and sighting.address else None
