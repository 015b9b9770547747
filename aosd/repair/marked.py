"""Mending what marks speak of, within seconds of when it can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aosd.consistency.marks import Mark, Marks
from aosd.model.errors import AosdError
from aosd.ports import IPlacement
from aosd.repair.agenda import Agenda
from aosd.repair.mend import Mended, Mender
from aosd.repair.pace import Pace

_AT_ONCE = 8
_LOOK_S = 1.0
_TIDY_AT = 1000
_RETRY_S = 2.0
_RETRY_MAX_S = 60.0


class Marked:
    """Looks at the keys that have marks, and clears those that have become right.

    `up_since_s` says when a node answered again after its last silence (None while it
    doesn't); bytes `copied` have a pace; `on_mended` is told what was done for a key. Marks
    of whole partitions are for sweeps.

    A mark costs something when it is left, when its time comes and when a node that it
    waits for is back. As long as all nodes in doubt are away nothing can be done for it.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        marks: Marks,
        mender: Mender,
        placement: IPlacement,
        clock: IReactorTime,
        up_since_s: Callable[[str], float | None],
        ring_name: Callable[[], str],
        late_write_window_s: float,
        copied: Pace,
        on_mended: Callable[[Mended], object],
    ) -> None:
        self._marks = marks
        self._mender = mender
        self._placement = placement
        self._clock = clock
        self._up_since_s = up_since_s
        self._window_s = late_write_window_s
        self._copied = copied
        self._on_mended = on_mended
        self._ring_name = ring_name
        self._looking = 0  # how many look at a key just now, or pay for what they copied
        self._retry_s: dict[Mark, float] = {}
        # Those whose keys had enough copies when they were looked at, and in which ring.
        self._held: dict[Mark, str] = {}
        self._agenda = Agenda(lambda mark: mark in marks)
        for _, mark in marks.all():
            self._left(mark)
        marks.on_left = self._left
        mender.is_late = self.is_late

    async def mend_due(self) -> None:
        """Look at every key whose time has come. Cancelling ends it."""
        working = [Deferred.fromCoroutine(self._work()) for _ in range(_AT_ONCE)]
        outcomes: Any = await DeferredList(working, consumeErrors=True)
        for succeeded, outcome in outcomes:
            if not succeeded and outcome.check(CancelledError) is None:
                outcome.raiseException()

    def is_late(self, mark: Mark) -> bool:
        """Whether requests of before may still take effect on its silent nodes."""
        until_s = self._late_until_s(mark)
        return until_s is None or self._clock.seconds() < until_s

    def is_held(self, mark: Mark) -> bool:
        """Whether its key had enough copies where this ring looks for them, when last seen."""
        return self._held.get(mark) == self._ring_name()

    # -- inside -----------------------------------------------------------------------------------

    def _left(self, mark: Mark) -> None:
        if mark.key:
            self._agenda.add(mark)
        if len(self._held) + len(self._retry_s) > 2 * len(self._marks) + _TIDY_AT:
            # Others that were left took their doubts over.
            self._held = {each: self._held[each] for each in self._held if each in self._marks}
            self._retry_s = {
                each: self._retry_s[each] for each in self._retry_s if each in self._marks
            }

    async def _work(self) -> None:
        while True:
            members = self._placement.members()
            away = {each.name for each in members if each.node is None}
            full = {each.name for each in members if each.full}
            mark = self._agenda.take(self._clock.seconds(), away, full)
            if mark is None:
                if not self._looking:
                    return
                # A copy of one key may take hours: what comes meanwhile isn't to wait for it.
                await deferLater(self._clock, _LOOK_S)
                continue
            if mark.nodes and mark.nodes <= away:
                self._agenda.wait_for(mark, mark.nodes)
            else:
                self._looking += 1
                try:
                    await self._copied.spend(await self._look_at(mark))
                finally:
                    self._looking -= 1

    async def _look_at(self, mark: Mark) -> int:
        """How many bytes were copied."""
        bucket, key = mark.bucket, mark.key
        # A key that is written again and again has many: one look does for all of them.
        every = self._marks.of(bucket, key)
        nodes: frozenset[str] = frozenset().union(*(each.nodes for each in every))
        ring = self._ring_name()
        looked_s, stamp = self._clock.seconds(), self._mender.stamps.next()
        try:
            mended = await self._mender.mend(bucket, key, also=nodes)
        except AosdError as error:
            self._log.debug("not mended yet: {error}", error=error)
            self._retry(mark)
            return 0
        except CancelledError:
            self._retry(mark)  # it makes way for another gateway, and is due again afterwards
            raise
        except Exception:  # noqa: BLE001 - one key mustn't hold up the others
            self._log.failure("mending failed", key=key)
            self._retry(mark)
            return 0
        self._on_mended(mended)
        for each in every:
            self._held.pop(each, None)
            if mended.looked_at_all and mended.held and each in self._marks:
                self._held[each] = ring
        if not (mended.looked_at_all and mended.agreed):
            self._not_yet(mark, mended)
            return mended.size_bytes
        if mended.kept:
            # Where another key hides it no sweep sees it when it may be removed.
            again_s = max(self._window_s, _RETRY_MAX_S)
            self._agenda.put_off(mark, self._clock.seconds() + again_s)
            return mended.size_bytes
        for each in every:
            # A request that went unanswered may take effect yet.
            until_s = self._late_until_s(each)
            number = self._marks.where(each)
            if until_s is not None and looked_s >= until_s and number is not None:
                self._retry_s.pop(each, None)
                self._held.pop(each, None)
                await self._marks.clear(number, each)
            elif each is mark:
                self._wait_for_late_ones(mark, until_s)
        settled = not self._marks.of(bucket, key)
        if settled and len(self._placement.orders(bucket, key)) == 1:
            # A write that is remembered and lies nowhere is one that a late one has replaced.
            self._mender.journal.settled_key(bucket, key, stamp)
        return mended.size_bytes

    def _not_yet(self, mark: Mark, mended: Mended) -> None:
        if mended.waits_for:
            self._agenda.wait_for(mark, mended.waits_for)
        elif mended.waits_for_space:
            self._agenda.wait_for_space(mark, mended.waits_for_space)
        else:
            self._retry(mark)

    def _retry(self, mark: Mark) -> None:
        wait_s = self._retry_s.get(mark, _RETRY_S)
        self._retry_s[mark] = min(wait_s * 2, _RETRY_MAX_S)
        self._agenda.put_off(mark, self._clock.seconds() + wait_s)

    def _wait_for_late_ones(self, mark: Mark, until_s: float | None) -> None:
        if until_s is not None:
            self._agenda.put_off(mark, until_s)
            return
        away = {each.name for each in self._placement.members() if each.node is None}
        if silent := frozenset(mark.silent & away):
            self._agenda.wait_for(mark, silent)
        else:
            self._agenda.put_off(mark, self._clock.seconds() + _RETRY_MAX_S)

    def _late_until_s(self, mark: Mark) -> float | None:
        """Until when a request of before may take effect; None: not known yet."""
        until_s = 0.0
        members = {each.name for each in self._placement.members()}
        for name in mark.silent & members:
            # One that was removed counts for nothing, whatever it takes yet.
            up_s = self._up_since_s(name)
            if up_s is None:
                return None
            since_s = max(up_s, self._marks.silent_since(mark))
            until_s = max(until_s, since_s + self._window_s)
        return until_s
