"""Levelling: a node that was away is given what the cluster remembers before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.consistency.recall import Recall
from aosd.consistency.settled import Settledness
from aosd.model.errors import ClusterError, NodeError, NodeFull
from aosd.ports import Candidate, INode

_RETRY_S = 5.0
_RETRY_MAX_S = 60.0


@dataclass
class _Attempt:
    """One that failed: since which doubt, when the next one may be, and the wait after it."""

    doubt: int
    until_s: float
    wait_s: float = _RETRY_S


class Levelling:
    """Levels one node at a time. Who can't be holds up no other.

    One that has no space counts all the same, and is given what it lacks when it has: what
    is remembered stands on enough others, and a node that is full for good would keep the
    ring from changing, to which nodes are added for just that.
    """

    _log = Logger()

    def __init__(self, recall: Recall, settled: Settledness, clock: IReactorTime) -> None:
        self._recall = recall
        self._settled = settled
        self._clock = clock
        self._failed: dict[str, _Attempt] = {}
        self._owed: set[str] = set()

    def waits(self, name: str) -> bool:
        """Whether the node couldn't be levelled, and isn't to be tried again yet."""
        failed = self._failed.get(name)
        return (
            failed is not None
            and failed.doubt == self._settled.doubt(name)
            and self._clock.seconds() < failed.until_s
        )

    async def level(self, up: Sequence[Candidate]) -> frozenset[str]:
        """Level those in doubt; the names of those that don't count yet."""
        failed: set[str] = set()
        for each in up:
            if not self._settled.is_doubted(each.name):
                continue
            if self.waits(each.name) or not await self._level(each, up):
                failed.add(each.name)
        return frozenset(failed)

    async def tend(self, up: Sequence[Candidate]) -> None:
        """Give what is owed to those that have space by now."""
        for each in up:
            if each.name in self._owed and not each.full:
                await self._level(each, up)

    # -- inside -----------------------------------------------------------------------------------

    async def _level(self, candidate: Candidate, up: Sequence[Candidate]) -> bool:
        """Whether it counts."""
        name, doubt = candidate.name, self._settled.doubt(candidate.name)
        assert candidate.node is not None
        others: list[INode] = [
            each.node for each in up if each.node is not None and each.name != name
        ]
        try:
            await self._recall.level(candidate.node, others)
        except NodeFull as error:
            self._log.info("node {name} is owed its memory: {error}", name=name, error=error)
            self._owed.add(name)
        except (NodeError, ClusterError) as error:
            self._log.info("node {name} can't be levelled yet: {error}", name=name, error=error)
            before = self._failed.get(name)
            wait_s = _RETRY_S if before is None or before.doubt != doubt else before.wait_s
            until_s = self._clock.seconds() + wait_s
            self._failed[name] = _Attempt(doubt, until_s, min(wait_s * 2, _RETRY_MAX_S))
            return False
        else:
            self._owed.discard(name)
        self._failed.pop(name, None)
        return True
