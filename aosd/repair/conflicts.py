"""What adopting nodes decides for good: keys of which only one of several objects will stay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.consistency.buckets import has_none
from aosd.consistency.journal import Journal
from aosd.model.errors import NodeError
from aosd.model.names import why_no_key
from aosd.model.nesting import Nesting
from aosd.model.objects import Entry, ObjectHead
from aosd.model.stamp import is_stamp
from aosd.model.versions import Version, newest, version_of
from aosd.ports import INode
from aosd.repair.walk import Found
from aosd.streams.deadlines import cancelled

CLUSTER = "cluster"
"""Who wins or loses when it is none of the nodes that are to be adopted."""

MOST_LISTED = 1000
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Conflict:
    """What becomes of a key, and why.

    `wins` and `loses` are names of adopted nodes, or CLUSTER; both "" when nothing is lost, and
    people have to know all the same.
    """

    bucket: str
    key: str
    wins: str
    loses: str
    why: str

    def told(self) -> dict[str, str]:
        """As JSON has it."""
        return {
            "bucket": self.bucket,
            "key": self.key,
            "wins": self.wins,
            "loses": self.loses,
            "why": self.why,
        }


class Conflicts:
    """Gathers them from a walk through the listings of all members and the `adopted` nodes.

    `nodes` are whom to ask for heads, by name: those that are listed. `hides`: whether an object
    on any of them hides what lies beneath. At most MOST_LISTED are in `listed`; all count.
    """

    def __init__(
        self,
        adopted: Collection[str],
        nodes: Mapping[str, INode],
        journal: Journal,
        *,
        hides: bool,
    ) -> None:
        self.listed: list[Conflict] = []
        self.in_all = 0
        self._adopted = frozenset(adopted)
        self._nodes = nodes
        self._journal = journal
        self._hides = hides
        self._nesting: dict[str, Nesting] = {}

    async def look_at(self, bucket: str, batch: Sequence[Found]) -> None:
        """Look at some keys, which follow those before in the order of the walk.

        Copies with the same size and ETag are no conflict, and nobody is asked. A node that
        fails says nothing of its copy.
        """
        differing: list[Found] = []
        nesting = self._nesting.setdefault(bucket, Nesting())
        for found in batch:
            above = nesting.above(found.key) if self._hides else None
            ours = self._adopted & found.entries.keys()
            if above is not None:
                why = f"it lies beneath the object {above}, and some nodes won't list it"
                self._add(Conflict(bucket, found.key, "", "", why))
            if not ours:
                continue
            if why := why_no_key(found.key):
                self._add(Conflict(bucket, found.key, "", "", f"it is left where it lies: {why}"))
            elif self._differ(bucket, found):
                differing.append(found)
        for first in range(0, len(differing), _AT_ONCE):
            some = differing[first : first + _AT_ONCE]
            looking = [Deferred.fromCoroutine(self._compare(bucket, each)) for each in some]
            outcomes: Any = await DeferredList(looking, consumeErrors=True)
            for _, outcome in outcomes:
                if isinstance(outcome, Failure):
                    outcome.raiseException()
                for conflict in outcome:
                    self._add(conflict)

    # -- inside -----------------------------------------------------------------------------------

    def _add(self, conflict: Conflict) -> None:
        self.in_all += 1
        if len(self.listed) < MOST_LISTED:
            self.listed.append(conflict)

    def _differ(self, bucket: str, found: Found) -> bool:
        if self._journal.own_delete_of(bucket, found.key) is not None:
            return True
        return len({_bytes_of(each) for each in found.entries.values()}) > 1

    async def _compare(self, bucket: str, found: Found) -> list[Conflict]:
        key = found.key
        counts_as = partial(self._journal.counts_as, bucket, key)
        heads = await self._heads(bucket, key, found.entries)
        versions: dict[str, Version | None] = {
            name: version_of(head, counts_as) for name, head in heads.items()
        }
        deleted = self._journal.own_delete_of(bucket, key)
        there = newest(versions, deleted)
        if there.version is None:
            dead = self._adopted.intersection(there.dead)
            why = "it was deleted in the cluster, which is remembered"
            return [Conflict(bucket, key, CLUSTER, name, why) for name in sorted(dead)]
        winner = heads[there.holders[0]]
        is_clusters = not self._adopted.issuperset(there.holders)
        wins = CLUSTER if is_clusters else min(there.holders)
        lost: dict[str, ObjectHead] = {}
        for name in (*there.older, *there.dead):
            if _bytes_of(heads[name]) != _bytes_of(winner):
                lost.setdefault(name if name in self._adopted else CLUSTER, heads[name])
        # What the cluster has of a key beside its newest was lost before.
        losers = {name: head for name, head in lost.items() if name != wins}
        return [
            Conflict(bucket, key, wins, name, _why(winner, losers[name], counts_as))
            for name in sorted(losers)
        ]

    async def _heads(self, bucket: str, key: str, names: Collection[str]) -> dict[str, ObjectHead]:
        asked = [name for name in sorted(names) if name in self._nodes]
        waiting = [self._nodes[name].head(bucket, key) for name in asked]
        outcomes: Any = await DeferredList(waiting, consumeErrors=True)
        heads: dict[str, ObjectHead] = {}
        for name, (_, outcome) in zip(asked, outcomes, strict=True):
            if not isinstance(outcome, Failure):
                heads[name] = outcome
            elif cancelled(outcome) or not (
                has_none(outcome.value) or isinstance(outcome.value, NodeError)
            ):
                outcome.raiseException()
        return heads


def _bytes_of(copy: Entry | ObjectHead) -> tuple[str, int]:
    return copy.etag, copy.size_bytes


def _why(winner: ObjectHead, loser: ObjectHead, counts_as: Callable[[str], str]) -> str:
    """Why one counts and not the other."""
    first, second = version_of(winner, counts_as), version_of(loser, counts_as)
    if is_stamp(first.stamp):
        return "it was written later" if is_stamp(second.stamp) else "it was written by aosd"
    if first.stamp.split("-")[:2] == second.stamp.split("-")[:2]:
        return "both were modified in the same second, and it has the greater ETag"
    return "it was modified later"
