"""What is left to be done before every copy is where it belongs, and nothing is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aosd.cluster.roster import Roster
from aosd.consistency.buckets import CLOSED, Buckets
from aosd.consistency.marks import Marks
from aosd.consistency.memory import Memory
from aosd.consistency.presence import Presence
from aosd.consistency.settled import Settledness
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.writes import Writes
from aosd.model.node import NodeState


class Unfinished:
    """Says so in words, for operators; no words: there is nothing.

    `trouble` says why writes can't be taken now, `queued` what waits for a change of the ring,
    and `paused` whether nothing but marked keys is mended now.
    """

    def __init__(
        self,
        *,
        roster: Roster,
        settled: Settledness,
        marks: Marks,
        memory: Memory,
        buckets: Buckets,
        presence: Presence,
        writes: Writes,
        turns: Turns,
        to_the_end: ToTheEnd,
        trouble: Callable[[], str],
        queued: Callable[[], Sequence[str]] = list,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._roster = roster
        self._settled = settled
        self._marks = marks
        self._memory = memory
        self._buckets = buckets
        self._presence = presence
        self._writes = writes
        self._turns = turns
        self._to_the_end = to_the_end
        self._trouble = trouble
        self._queued = queued
        self._paused = paused

    def mending(self) -> list[str]:
        """What keeps copies from being where they belong, for all that is known."""
        members = self._roster.members()
        found = [self._trouble()]
        if self._roster.changing:
            found.append("the ring is changing")
        found += [f"{each} waits for a change of the ring" for each in self._queued()]
        away = [
            f"node {each.name} is {each.state}"
            for each in members
            if each.state not in (NodeState.UP, NodeState.FULL)
        ]
        found += away
        if not self._settled.is_covered(*(each.name for each in members)) and not away:
            found.append("no one sweep has compared all nodes yet")
        if len(self._marks):
            found.append(f"{len(self._marks)} marks say that copies may differ")
        if self._marks.broken:
            found.append(f"{len(self._marks.broken)} partitions are in doubt as a whole")
        found += [f"the bucket {each} lies on a node yet" for each in self._presence.left]
        closed = [each.name for each in self._buckets.all() if each.state == CLOSED]
        found += [f"the bucket {each} is being deleted" for each in closed]
        found = [each for each in found if each]
        if found and self._paused():
            found.insert(0, "repair is paused: start it")
        return found

    def under_way(self) -> list[str]:
        """What may still change what lies on nodes, or what they remember."""
        found = []
        if count := self._writes.in_flight:
            found.append(f"{count} writes are under way")
        if len(self._turns) or len(self._to_the_end) or self._settled.is_held:
            found.append("something is under way")
        if self._memory.may_land(""):
            found.append("a node hasn't answered yet whether it wrote a record")
        return found
