"""Who compares the members' nodes, when one is to have everything or to bring something in."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from aosd.cluster.roster import Roster
from aosd.consistency.buckets import Buckets
from aosd.consistency.journal import Journal
from aosd.consistency.writes import Writes
from aosd.ports import INode
from aosd.repair.conflicts import Conflicts
from aosd.repair.gathered import Gathered, gathered


class Comparing:
    """Looks at all members that are up."""

    def __init__(
        self,
        roster: Roster,
        buckets: Buckets,
        journal: Journal,
        writes: Writes,
        clock: IReactorTime,
    ) -> None:
        self._roster = roster
        self._buckets = buckets
        self._journal = journal
        self._writes = writes
        self._clock = clock

    async def gathered(self, name: str, surely: bool) -> Gathered:
        """Whether a node has all that any lists."""
        buckets = [each.name for each in self._buckets.live()]
        return await gathered(self._nodes(), buckets, name, self._writes, self._clock, look=surely)

    def conflicts(self, adopted: Sequence[INode]) -> Conflicts:
        """Who gathers what is decided by adopting some nodes."""
        nodes = self._nodes()
        hiding = [each.hides for each in self._roster.members()]
        for each in adopted:
            if (watched := self._roster.watched.get(each.name)) is not None:
                hiding.append(watched.hides)
            nodes[each.name] = each
        return Conflicts(
            [each.name for each in adopted],
            nodes,
            self._journal,
            hides=any(each is not False for each in hiding),
        )

    def _nodes(self) -> dict[str, INode]:
        members = self._roster.members()
        return {each.name: each.node for each in members if each.node is not None}
