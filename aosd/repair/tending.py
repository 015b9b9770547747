"""Tending the cluster's memory: what comes round every minute, beside the copies."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.consistency.recall import Recall
from aosd.model.errors import AosdError
from aosd.ports import INode, IPlacement
from aosd.repair.levelling import Levelling
from aosd.repair.membership import IMembership

_TEND_S = 60.0
_ORPHAN_S = 7 * 86400.0


class Tending:
    """What is remembered, brought to all nodes and merged; what is old, removed.

    `tend_buckets` sees to it that nodes have the buckets that there are. What the runs before
    us wrote, or removed, may land for `late_write_window_s`, and is read again after that.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        placement: IPlacement,
        membership: IMembership,
        recall: Recall,
        levelling: Levelling,
        clock: IReactorTime,
        now: Callable[[], float],
        tend_buckets: Callable[[], Coroutine[Any, Any, None]],
        late_write_window_s: float,
    ) -> None:
        self._placement = placement
        self._membership = membership
        self._recall = recall
        self._levelling = levelling
        self._clock = clock
        self._now = now
        self._tend_buckets = tend_buckets
        self._window_s = late_write_window_s
        self._tended_s = clock.seconds()
        # When nothing of the runs before can land any more, and whose records are to be read then.
        self._late_until_s = 0.0
        self._late_on: set[str] = set()

    async def begin(self) -> None:
        """The run has begun: which nodes lack a bucket that was made isn't remembered."""
        self._late_until_s = self._clock.seconds() + self._window_s
        self._late_on = {each.name for each in self._placement.members()}
        await self._tend_buckets()

    def due(self) -> bool:
        """Whether it is time again."""
        return self._clock.seconds() - self._tended_s >= _TEND_S

    async def tend(self) -> None:
        """Once round."""
        self._tended_s = self._clock.seconds()
        up = [each for each in self._placement.members() if each.node is not None]
        nodes = {each.name: each.node for each in up if each.node is not None}
        await self._recall.memory.tend()
        await self._recall.registers.tend()
        await self._levelling.tend(up)
        await self._tend_buckets()
        try:
            await self._recall.journal.tend()
        except AosdError as error:
            self._log.info("what is remembered couldn't be tended: {error}", error=error)
        # By a clock that jumped ahead, all that are open would be old.
        before_s = 0.0 if self._membership.refusing else self._now() - _ORPHAN_S
        leaving = [each.name for each in self._placement.strays()]
        late_are_over = self._clock.seconds() >= self._late_until_s
        await self._recall.uploads.tend(
            nodes,
            before_s,
            self._membership.is_gone,
            leaving,
            runs_are_over=late_are_over and not self._membership.refusing,
        )
        if late_are_over:
            await self._read_late_ones(nodes)

    async def _read_late_ones(self, nodes: Mapping[str, INode]) -> None:
        """Take in records that the runs before wrote, or removed, and that landed after all."""
        for name in sorted(self._late_on & nodes.keys()):
            try:
                await self._recall.read(nodes[name])
            except AosdError as error:
                self._log.info("late records aren't read yet: {error}", error=error, node=name)
            else:
                self._late_on.discard(name)
