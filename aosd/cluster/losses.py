"""What would be lost with a node: why it can't be removed."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from aosd.cluster.held import first_keys
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.holders import could_hold
from aosd.consistency.journal import Journal
from aosd.consistency.marks import Marks
from aosd.consistency.settled import Settledness
from aosd.model.errors import NodeError
from aosd.model.objects import ObjectHead
from aosd.model.quorum import memory_acks, needed
from aosd.model.standing import Membership
from aosd.model.versions import version_of

_MOST_NAMED = 3
_MOST_MARKS = 1000
_AT_ONCE = 16


class Losses:
    """Knows what lies, or may lie, on one node alone."""

    def __init__(
        self,
        roster: Roster,
        standings: Standings,
        settled: Settledness,
        journal: Journal,
        marks: Marks,
        replicas: int,
    ) -> None:
        self._roster = roster
        self._standings = standings
        self._settled = settled
        self._journal = journal
        self._marks = marks
        self._replicas = replicas

    async def why_in_use(self, name: str) -> str:
        """Why a node that answers can't be removed."""
        watched = self._roster.watched[name]
        node = watched.candidate.node
        held: list[str] = []
        if node is not None:
            try:
                held = await first_keys(node, _MOST_NAMED)
            except NodeError as error:
                return f"node {name} is {watched.state}, and can't be listed: {error}"
        what = f", and holds {', '.join(held)}" if held else ""
        return f"node {name} is {watched.state}{what}: drain it first, or stop it if it is lost"

    async def why_not(self, name: str) -> str:
        """Why the last copy of something may lie on this node, which is down; "" when none does.

        Each acknowledged write is on as many nodes as there are replicas, or as the smaller of
        two rings has: as long as fewer are out of reach, those that are being removed among
        them, and none of the others lacks what it had, one of them has it. One that joins has
        nothing but what others have, too.
        """
        await self._confirm_all_but(name)
        members = [each.name for each in self._standings.members()]
        others = [each for each in self._roster.members() if each.name != name]
        standing = self._standings.get(name)
        if standing is None or name not in members:
            return ""
        if standing.adopted:
            return f"{name} came with objects, and some may have no other copy yet"
        former, present = self._roster.former or self._roster.ring, self._roster.ring
        copies = needed(self._replicas, min(len(former.members), len(present.members)))
        joins = standing.membership is Membership.JOINING
        if copies == 1 and not joins:
            return f"there is one copy of each object: those on {name} lie nowhere else"
        away = [each.name for each in others if each.node is None]
        away += [
            each.name
            for each in self._standings.all()
            if each.membership is Membership.REMOVING and each.name != name
        ]
        if len(away) + (not joins) >= copies:
            told = ", ".join(away)
            return (
                f"{told} can't be asked either: what lay on these and {name} may lie nowhere else"
            )
        names = [each.name for each in others if each.node is not None]
        lacking = [each for each in names if self._settled.may_lack(each, members)]
        if lacking:
            told = ", ".join(lacking)
            return f"{told} may lack what it had before it was away, and {name} may have the rest"
        if len(names) < memory_acks(self._replicas, len(members)):
            return f"too few others are left to remember for sure that {name} is gone"
        if not self._settled.is_covered(*names):
            return "the other nodes weren't compared yet since the last change or return: wait"
        lost = await self._last_copies(name)
        if lost:
            return f"the newest version is on no other node of {', '.join(lost)}"
        return ""

    async def _confirm_all_but(self, name: str) -> None:
        """Let nobody have been restarted just now without our knowing."""
        watched = [self._roster.watched[each] for each in self._roster.names if each != name]
        waiting = [each.breaker.confirm() for each in watched if each.candidate.node is not None]
        await DeferredList(waiting, consumeErrors=True)

    async def _last_copies(self, name: str) -> list[str]:
        """Some keys in doubt whose newest acknowledged write no other node has."""
        found: list[str] = []
        keys = {(mark.bucket, mark.key): None for _, mark in self._marks.all() if mark.key}
        for first in range(0, min(len(keys), _MOST_MARKS), _AT_ONCE):
            some = list(keys)[first : first + _AT_ONCE]
            waiting = [Deferred.fromCoroutine(self._is_last(name, *each)) for each in some]
            outcomes: Any = await DeferredList(waiting, consumeErrors=True)
            for (bucket, key), (succeeded, outcome) in zip(some, outcomes, strict=True):
                if not succeeded:
                    outcome.raiseException()
                if outcome and len(found) < _MOST_NAMED:
                    found.append(f"{bucket}/{key}")
        return found

    async def _is_last(self, name: str, bucket: str, key: str) -> bool:
        newest = self._marks.newest_written(bucket, key)
        deleted = self._journal.delete_of(bucket, key) or ""
        if newest is None or newest <= deleted:
            return False
        orders = self._roster.orders(bucket, key)
        there = could_hold(orders, self._replicas, self._roster.strays())
        nodes = [each.node for each in there if each.node is not None and each.name != name]
        waiting: list[Deferred[ObjectHead]] = [node.head(bucket, key) for node in nodes]
        outcomes: Any = await DeferredList(waiting, consumeErrors=True)
        heads = [outcome for succeeded, outcome in outcomes if succeeded]
        return all(
            version_of(head, lambda stamp: self._journal.counts_as(bucket, key, stamp)).stamp
            < newest
            for head in heads
        )
