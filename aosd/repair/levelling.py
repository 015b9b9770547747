"""Levelling: a node that was away is given what the cluster remembers before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.consistency.recall import Recall
from aosd.consistency.settled import Settledness
from aosd.model.errors import ClusterError, NodeError
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
    """Levels one node at a time. Who can't be, for want of space say, holds up no other."""

    _log = Logger()

    def __init__(self, recall: Recall, settled: Settledness, clock: IReactorTime) -> None:
        self._recall = recall
        self._settled = settled
        self._clock = clock
        self._failed: dict[str, _Attempt] = {}

    def waits(self, name: str) -> bool:
        """Whether the node couldn't be levelled, and isn't to be tried again yet."""
        failed = self._failed.get(name)
        return (
            failed is not None
            and failed.doubt == self._settled.doubt(name)
            and self._clock.seconds() < failed.until_s
        )

    async def level(self, doubted: Sequence[Candidate], up: Sequence[Candidate]) -> frozenset[str]:
        """Level the doubted ones; the names of those that are not level now."""
        failed: set[str] = set()
        for each in doubted:
            if self.waits(each.name) or not await self._level(each, up):
                failed.add(each.name)
        return frozenset(failed)

    async def _level(self, candidate: Candidate, up: Sequence[Candidate]) -> bool:
        name, doubt = candidate.name, self._settled.doubt(candidate.name)
        assert candidate.node is not None
        others: list[INode] = [
            each.node for each in up if each.node is not None and each.name != name
        ]
        try:
            await self._recall.level(candidate.node, others)
        except (NodeError, ClusterError) as error:
            self._log.info("node {name} can't be levelled yet: {error}", name=name, error=error)
            before = self._failed.get(name)
            wait_s = _RETRY_S if before is None or before.doubt != doubt else before.wait_s
            until_s = self._clock.seconds() + wait_s
            self._failed[name] = _Attempt(doubt, until_s, min(wait_s * 2, _RETRY_MAX_S))
            return False
        self._failed.pop(name, None)
        return True
