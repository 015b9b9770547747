"""The doctor: each node examined, and the cluster as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore

from aosd.assembly import Assembly
from aosd.cluster.member import WatchedMember
from aosd.doors.operations.checkup import check_cluster
from aosd.gateway.store import gather
from aosd.model.check import Check, is_healthy
from aosd.model.leave import Phase
from aosd.model.node import Address, Credentials

Examine = Callable[[str, Address, Credentials, str, str, bool], Deferred[tuple[Check, ...]]]
"""Name, address, credentials; the cluster's id, the incarnation that is remembered, and whether
it is a member. See aosd.nodes.examine; it never fails for what a node does."""

_AT_ONCE = 4  # of the threads that discovery and first contacts use too


class Doctor:
    """Examines all nodes that are seen, members and others.

    `sweep_interval_s`: the time after which a sweep is due. `now` gives seconds since 1970.
    """

    def __init__(
        self,
        assembly: Assembly,
        examine: Examine,
        now: Callable[[], float],
        sweep_interval_s: float,
    ) -> None:
        self._assembly = assembly
        self._examine = examine
        self._now = now
        self._sweep_interval_s = sweep_interval_s
        self._places = DeferredSemaphore(_AT_ONCE)

    async def findings(self) -> dict[str, Any]:
        """For JSON; see docs/operations.md. Takes as long as the slowest node, some seconds each.

        Cancelling ends the wait: what a thread has begun with a node goes on to its end.
        """
        watched = self._assembly.roster.watched
        names = sorted(watched)
        examined = await gather(
            [Deferred.fromCoroutine(self._node(watched[name])) for name in names]
        )
        cluster = check_cluster(
            self._assembly,
            now_s=self._now(),
            sweep_interval_s=self._sweep_interval_s,
        )
        return {
            "healthy": is_healthy([*cluster, *(check for each in examined for check in each)]),
            "nodes": [
                {"name": name, "checks": [check.told() for check in checks]}
                for name, checks in zip(names, examined, strict=True)
            ],
            "cluster": [check.told() for check in cluster],
        }

    async def _node(self, watched: WatchedMember) -> tuple[Check, ...]:
        name, sighting = watched.member.name, watched.sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            do = "start it, or see why it isn't found; if it is lost for good: aosctl node remove"
            return (Check("reachable", False, watched.why, do),)
        assembly = self._assembly
        if assembly.leaving.phase is Phase.LEFT:
            # Where no object lies the bucket aos-system would stay behind once more.
            why = "its cluster was left: it isn't written to any more, and so not examined"
            return (Check("reachable", None, why),)
        standing = assembly.changes.standing(name)
        member = standing is not None and standing.membership.counts
        is_left = bool(assembly.leaving.absent)
        if is_left:
            member = False  # what is ours is being taken off it, or is gone
        incarnation = standing.incarnation if standing is not None and member else ""
        await self._places.acquire()
        try:
            checks = await self._examine(
                name,
                sighting.address,
                sighting.credentials,
                assembly.admission.cluster,
                incarnation,
                member,
            )
        finally:
            self._places.release()
        return tuple(map(_of_one_left, checks)) if is_left else checks


def _of_one_left(check: Check) -> Check:
    """The objects that it holds are what is to remain: neither to be taken in nor to be removed."""
    return replace(check, do="") if check.what == "probe" and check.ok else check
