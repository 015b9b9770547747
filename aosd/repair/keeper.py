"""Keeping copies where they belong: marks within seconds, sweeps when there is an occasion."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.consistency.folders import Folders
from aosd.consistency.recall import Recall
from aosd.consistency.settled import Pass, Settledness
from aosd.consistency.writes import Writes
from aosd.model.errors import ChangeRefused, ClusterError
from aosd.observe.metrics import Metrics
from aosd.ports import IPlacement
from aosd.repair.calendar import Calendar
from aosd.repair.errand import Errand
from aosd.repair.levelling import Levelling
from aosd.repair.marked import Marked
from aosd.repair.membership import IMembership
from aosd.repair.mend import Mended, Mender
from aosd.repair.notes import SweepNotes
from aosd.repair.occasions import Occasions
from aosd.repair.pace import Pace
from aosd.repair.pausing import Pausing
from aosd.repair.progress import Progress
from aosd.repair.rates import Rates
from aosd.repair.survey import Survey
from aosd.repair.sweep import Sweep, Swept
from aosd.repair.tending import Tending
from aosd.repair.walk import Windows

_TICK_S = 1.0
_TO_END_S = 10.0


class Keeper:
    """Owns the loop that mends marked keys, sweeps, and tends the cluster's memory.

    `buckets` gives the names of the buckets to sweep, `tend_buckets` sees to it that nodes have
    those that there are; rates are for sweeps and what they
    copy. A sweep is run when it makes a node count again that doesn't, when a mark asks for
    a whole partition, when `folders` aren't known yet, when somebody asks, and every
    `sweep_interval_s`. None is while repair is paused: a change of the ring stands still then,
    and nodes that have returned don't count. Marked keys are mended all the same.

    `rates` and `progress` tell how fast it goes, and how far a change of the ring is.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        placement: IPlacement,
        membership: IMembership,
        replicas: int,
        mender: Mender,
        recall: Recall,
        settled: Settledness,
        writes: Writes,
        clock: IReactorTime,
        now: Callable[[], float],
        buckets: Callable[[], Sequence[str]],
        tend_buckets: Callable[[], Coroutine[Any, Any, None]],
        metrics: Metrics,
        late_write_window_s: float,
        sweep_interval_s: float,
        keys_per_s: float,
        bytes_per_s: float,
        folders: Folders,
    ) -> None:
        self.sweep: Sweep | None = None
        self.last: dict[str, Any] | None = None
        self.rates = Rates(clock, keys_per_s=keys_per_s, bytes_per_s=bytes_per_s)
        self._pausing = Pausing(recall.registers)
        self._placement = placement
        self._membership = membership
        self._replicas = replicas
        self._mender = mender
        self._recall = recall
        self._marks = recall.marks
        self._settled = settled
        self._windows = Windows(writes)
        self._clock = clock
        self._now = now
        self._buckets = buckets
        self._metrics = metrics
        self._keys_per_s = keys_per_s
        # Marked keys and those that a sweep finds share it.
        self._copied = Pace(clock, bytes_per_s)
        self.calendar = Calendar(
            SweepNotes(recall.memory, mender.stamps),
            clock,
            now,
            metrics,
            interval_s=sweep_interval_s,
            ring=self._ring,
        )
        self._is_calendar = False
        # Somebody asked for a sweep that hasn't begun.
        self._is_asked = False
        self._reading, self._tending = Errand(), Errand()
        self._sweeping, self._mending = Errand(), Errand()
        self._loop = LoopingCall(self._tick)
        self._rolling = LoopingCall(self._windows.roll)
        self._loop.clock = self._rolling.clock = clock
        self._marked = Marked(
            marks=recall.marks,
            mender=mender,
            placement=placement,
            clock=clock,
            up_since_s=membership.up_since_s,
            ring_name=lambda: membership.ring_name,
            late_write_window_s=late_write_window_s,
            copied=self._copied,
            on_mended=self._count,
        )
        self._levelling = Levelling(recall, settled, clock)
        self._survey = Survey(placement, settled, folders, clock)
        self._occasions = Occasions(
            placement,
            recall.marks,
            settled,
            clock,
            waits=self._levelling.waits,
            change=lambda: membership.moving,
        )
        self.tending = Tending(
            placement=placement,
            membership=membership,
            recall=recall,
            levelling=self._levelling,
            clock=clock,
            now=now,
            tend_buckets=tend_buckets,
            late_write_window_s=late_write_window_s,
        )
        self.progress = Progress(
            clock,
            self.rates,
            metrics,
            change=lambda: membership.change,
            expected_keys=lambda: self.calendar.keys,
            paused=lambda: self.paused,
        )
        metrics.repair_paused.set_function(lambda: self.paused)
        metrics.marks.set_function(lambda: len(self._marks))
        metrics.oldest_gap_s.set_function(self._oldest_gap_s)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep."""
        self._survey.start()
        self._reading.begin(self._read_note())
        self._tending.begin(self.tending.begin())
        for loop, every_s in ((self._loop, _TICK_S), (self._rolling, self._windows.interval_s)):
            loop.start(every_s, now=loop is self._loop).addErrback(
                lambda failure: self._log.failure("the keeper stopped", failure)
            )

    async def stop(self) -> None:
        """Keep no more; what has a turn goes on to its end."""
        for loop in (self._loop, self._rolling):
            if loop.running:
                loop.stop()
        errands = [self._reading, self._mending, self._sweeping, self._tending]
        waiting = [each.running for each in errands if each.running is not None]
        for each in errands:
            each.cut_short()
        await DeferredList(waiting, consumeErrors=True)
        if self._is_settled():
            await self.calendar.write()

    # -- what people ask for ----------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether no sweep is run, because somebody said so, in this run or one before."""
        return self._pausing.paused

    def check_pause(self) -> None:
        """Raise NoQuorum when `pause` would, for all that is known."""
        self._pausing.check()

    async def pause(self) -> None:
        """Run no sweeps until `resume`, which other runs of the gateway keep to, too.

        The one that runs ends with the keys that it is at, or some seconds later at most.
        Raises NoQuorum when that can't be remembered.
        """
        await self._pausing.set(paused=True)
        self._stand_still()

    async def resume(self) -> None:
        """Go on; what there is an occasion for is begun at once. Raises NoQuorum."""
        await self._pausing.set(paused=False)
        self._occasions.anew()

    def start_sweep(self) -> None:
        """Begin a whole sweep within a second or so; after the present one, if that is whole.

        Raises ChangeRefused while repair is paused.
        """
        if self.paused:
            raise ChangeRefused("repair is paused: resume it first")
        self._is_asked = True

    def report(self) -> dict[str, Any]:
        """For people: the sweep that runs and the last one."""
        running = self.sweep
        return {
            "sweep": None if running is None else {"running": True, **running.progress()},
            "last_sweep": self.last,
            "paused": self.paused,
        }

    # -- inside -----------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.progress.follow()
        if self._membership.contested:
            # It may write what a look of ours has missed, and believe in another ring.
            self._mending.cut_short()
            self._sweeping.cut_short()
            return
        if self._mending.running is None and len(self._marks):
            self._mending.begin(self._marked.mend_due())
        if self.paused:
            self._stand_still()
        elif self._makes_way():
            self._sweeping.cut_short()  # it is gone on with later
        if self._sweeping.running is None and not self.paused and self._wants_sweep():
            self._sweeping.begin(self._sweep())
        if self._tending.running is None and self.tending.due():
            self._tending.begin(self.tending.tend())

    def _stand_still(self) -> None:
        """Let what is being copied be copied, unless it takes long."""
        sweep = self.sweep
        if sweep is None or not sweep.is_mending or sweep.stop() >= _TO_END_S:
            self._sweeping.cut_short()

    def _makes_way(self) -> bool:
        """Whether the sweep that runs has no occasion but the calendar, and another one has."""
        return self._is_calendar and (self._is_asked or self._occasions.makes_certain())

    def _oldest_gap_s(self) -> float:
        """How long something is in doubt already: a key, or all that lies on a node."""
        names = [each.name for each in self._placement.members()]
        since_s = [self._marks.oldest_s(), *map(self._membership.down_since_s, names)]
        since_s += map(self._settled.uncertain_since_s, names)
        now_s = self._clock.seconds()
        return max((now_s - each for each in since_s if each is not None), default=0.0)

    def _count(self, mended: Mended) -> None:
        self._metrics.copies_missing.inc(mended.missing)
        self._metrics.copies_made.inc(len(mended.copied))
        self._metrics.copies_removed.inc(len(mended.removed))
        self._metrics.repair_bytes.inc(mended.size_bytes)

    def _count_swept(self, mended: Mended) -> None:
        self._count(mended)
        self.progress.mended(mended)

    def _count_keys(self, count: int) -> None:
        self._metrics.sweep_keys.inc(count)
        self.progress.keys(count)

    # -- sweeps -----------------------------------------------------------------------------------

    def _wants_sweep(self) -> bool:
        if self._occasions.due() or self._survey.wanted():
            return True
        if not any(each.node is not None for each in self._placement.members()):
            return False
        return self._is_asked or self.calendar.due()

    async def _sweep(self) -> None:
        # Who returns from here on, be it while others are levelled, isn't covered.
        this = self._settled.begin()
        self._occasions.began()
        in_vain = True
        try:
            in_vain = not await self._sweep_all(this)
        finally:
            self._marks.put_back()
            self._occasions.ended(in_vain=in_vain)

    async def _sweep_all(self, this: Pass) -> bool:
        """Whether all was done that it was for."""
        members = self._placement.members()
        up = [each for each in members if each.node is not None]
        doubted = [each for each in up if not self._settled.is_covered(each.name)]
        # What those have is regarded, and yet they don't count afterwards.
        uneven = await self._levelling.level(up)
        names = [each.name for each in members]
        broken = dict(self._marks.broken)
        whole = self._marks.take_up(self._occasions.spacious())
        # With no occasion but the calendar it may be cut short, and gone on with.
        part, self.calendar.part = self.calendar.part, None
        if self._survey.wanted() or self._is_asked:
            part = None  # it has to see all keys
        self._is_asked = False
        self._survey.began()
        calendar = not broken and not whole and self._settled.is_covered(*names)
        self._is_calendar = calendar
        resumed = part if calendar and part is not None and part.ring == self._ring() else None
        began_s, stamp = self._now(), self._mender.stamps.next()
        shape = self._membership.shape
        if resumed is not None:
            began_s = resumed.part_began_s
        sweep = self.sweep = Sweep(
            placement=self._placement,
            replicas=self._replicas,
            mender=self._mender,
            windows=self._windows,
            clock=self._clock,
            buckets=self._buckets,
            keys=Pace(self._clock, self._keys_per_s),
            copied=self._copied,
            agreed_since_s=self.calendar.agreed_since_s if not doubted else None,
            compare=frozenset(each.name for each in doubted),
            cursor=(resumed.bucket, resumed.after) if resumed is not None else None,
            on_mended=self._count_swept,
            on_keys=self._count_keys,
            on_key=self._survey.seen,
        )
        self.progress.sweep_began(sweep)
        try:
            result = await sweep.run()
        except CancelledError:
            cursor = sweep.cursor()
            if calendar and cursor is not None:
                self.calendar.cut_short(began_s, *cursor)
            raise
        finally:
            self.sweep = None
            self._is_calendar = False
            self.progress.sweep_ended()
        self.calendar.swept()
        self.last = {"began_s": began_s, "ended_s": self._now(), **sweep.progress()}
        self._log.info(
            "swept {keys} keys: {made} copies made, {removed} removed",
            keys=result.keys,
            made=result.made,
            removed=result.removed,
        )
        covered = [
            each.name
            for each in up
            if each.name in result.covered - uneven and self._settled.is_since(this, each.name)
        ]
        if resumed is None:
            # The part before a restart speaks for nothing that happened since.
            self._settled.swept(this, covered)
        all_seen = resumed is None and len(covered) == len(members)
        self._survey.ended(whole=all_seen and not result.unmended)
        if len(covered) == len(members):
            self.calendar.compared(began_s, result.keys if resumed is None else None)
            if resumed is None:
                await self._all_compared(stamp, broken, result, shape)
        return (
            result.covered.issuperset(each.name for each in up)
            and not result.unmended
            and not self._membership.changing
            and not self._occasions.makes_certain()
        )

    async def _all_compared(
        self, stamp: str, broken: Mapping[int, int], result: Swept, shape: Hashable
    ) -> None:
        """All was compared, and is right but for what is unmended, or was doubted meanwhile.

        With rings and members of this `shape`: others may count by now.
        """
        self._marks.mended(broken)
        await self._marks.settle_taken_up(
            lambda number, mark: (
                number not in result.unmended_in and mark.nodes <= self._occasions.spacious()
            )
        )
        if not self._membership.changing:
            if not result.unmended and not len(self._marks):
                self._recall.journal.settled(stamp)
            return
        if shape != self._membership.shape:
            return
        if result.unheld or self._is_lacking():
            self._log.info("the ring's change isn't over yet: some keys have too few copies in it")
            return
        try:
            await self._membership.change_over(result.unmended, result.removed)
        except ClusterError as error:
            self._log.info("the ring's change isn't over yet: {error}", error=error)

    def _is_lacking(self) -> bool:
        """Whether a key in doubt may have too few copies where the coming ring looks for them.

        What was written since the change began has them, or it wasn't acknowledged: a mark of
        a whole partition, for a node that is full, says nothing more.
        """
        return bool(self._marks.broken) or any(
            mark.key and not self._marked.is_held(mark) for _, mark in self._marks.all()
        )

    async def _read_note(self) -> None:
        """Go on from where a clean stop left off; after any other start all is compared anew.

        What was in doubt then isn't covered now, and a note is of no use.
        """
        if not self._is_settled():
            return
        members = self._placement.members()
        await self.calendar.read(
            [each.node for each in members if each.node is not None],
            lambda: self._is_settled() and self.sweep is None,
        )

    def _is_settled(self) -> bool:
        names = [each.name for each in self._placement.members()]
        return not self._membership.changing and self._settled.is_covered(*names)

    def _ring(self) -> str:
        return self._membership.ring_name
