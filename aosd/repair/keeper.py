"""Keeping copies where they belong: marks within seconds, sweeps when there is an occasion."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.consistency.folders import Folders
from aosd.consistency.recall import Recall
from aosd.consistency.settled import Pass, Settledness
from aosd.consistency.writes import Writes
from aosd.model.errors import AosdError, ClusterError
from aosd.observe.metrics import Metrics
from aosd.ports import INode, IPlacement
from aosd.repair.levelling import Levelling
from aosd.repair.marked import Marked
from aosd.repair.mend import Mended, Mender
from aosd.repair.notes import SweepNote, SweepNotes
from aosd.repair.occasions import Occasions
from aosd.repair.pace import Pace
from aosd.repair.survey import Survey
from aosd.repair.sweep import Sweep, Swept

_TICK_S = 1.0
_TEND_S = 60.0
_ORPHAN_S = 7 * 86400.0


class IMembership(Protocol):
    """What the keeper has to know of members, and to tell them."""

    @property
    def ring_name(self) -> str:
        """The name of the ring that is, or that is coming."""

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way."""

    @property
    def contested(self) -> bool:
        """Whether another gateway uses the nodes: what it does isn't known here."""

    @property
    def refusing(self) -> bool:
        """Whether no writes are taken now, such as while our clock may be wrong."""

    @property
    def shape(self) -> Hashable:
        """Another one whenever other rings or members count."""

    @property
    def moving(self) -> Hashable:
        """What a change of the ring wants to be swept for; None when there is nothing to move."""

    def change_over(self, unmended: int) -> Deferred[None]:
        """All was compared since the rings are what they are; so many keys aren't right yet."""

    def up_since_s(self, name: str) -> float | None:
        """When the node answered again after its last silence; None while it doesn't."""

    def down_since_s(self, name: str) -> float | None:
        """Since when the node is away; None while it isn't."""


class Keeper:
    """Owns the loop that mends marked keys, sweeps, and tends the cluster's memory.

    `buckets` gives the names of the buckets to sweep, `tend_buckets` sees to it that nodes have
    those that there are; rates are for sweeps and what they
    copy. A sweep is run when it makes a node count again that doesn't, when a mark asks for
    a whole partition, when `folders` aren't known yet, and every `sweep_interval_s`.
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
        self._placement = placement
        self._membership = membership
        self._replicas = replicas
        self._mender = mender
        self._recall = recall
        self._marks = recall.marks
        self._settled = settled
        self._writes = writes
        self._clock = clock
        self._now = now
        self._buckets = buckets
        self._tend_buckets = tend_buckets
        self._metrics = metrics
        self._interval_s = sweep_interval_s
        self._keys_per_s = keys_per_s
        # Marked keys and those that a sweep finds share it.
        self._copied = Pace(clock, bytes_per_s)
        self._agreed_since_s: float | None = None
        self._due_s = clock.seconds() + sweep_interval_s
        self._swept_s = 0.0
        self._notes = SweepNotes(recall.memory, mender.stamps)
        self._part: SweepNote | None = None
        self._is_calendar = False
        self._reading: Deferred[None] | None = None
        self._tended_s = clock.seconds()
        # When nothing of the runs before can land any more, and whose records are to be read then.
        self._late_until_s = 0.0
        self._late_on: set[str] = set()
        self._window_s = late_write_window_s
        self._sweeping: Deferred[None] | None = None
        self._tending: Deferred[None] | None = None
        self._mending: Deferred[None] | None = None
        self._cut: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
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
        metrics.marks.set_function(lambda: len(self._marks))
        metrics.oldest_gap_s.set_function(self._oldest_gap_s)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep."""
        self._late_until_s = self._clock.seconds() + self._window_s
        self._late_on = {each.name for each in self._placement.members()}
        self._survey.start()
        self._reading = self._background(self._read_note(), "_reading")
        # Which nodes lack a bucket that was made isn't remembered.
        self._tending = self._background(self._tend_buckets(), "_tending")
        self._loop.start(_TICK_S).addErrback(
            lambda failure: self._log.failure("the keeper stopped", failure)
        )

    async def stop(self) -> None:
        """Keep no more; what has a turn goes on to its end."""
        if self._loop.running:
            self._loop.stop()
        running = [self._reading, self._mending, self._sweeping, self._tending]
        waiting = [each for each in running if each is not None]
        for each in waiting:
            self._cut_short(each)
        await DeferredList(waiting, consumeErrors=True)
        if self._agreed_since_s is not None and self._is_settled():
            await self._notes.write(self._part or self._note())

    def report(self) -> dict[str, Any]:
        """For people: the sweep that runs and the last one."""
        running = self.sweep
        return {
            "sweep": None if running is None else {"running": True, **running.progress()},
            "last_sweep": self.last,
        }

    # -- inside -----------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._membership.contested:
            # It may write what a look of ours has missed, and believe in another ring.
            for each in (self._mending, self._sweeping):
                if each is not None:
                    self._cut_short(each)
            return
        if self._mending is None and len(self._marks):
            self._mending = self._background(self._marked.mend_due(), "_mending")
        if self._sweeping is not None and self._is_calendar and self._occasions.makes_certain():
            self._cut_short(self._sweeping)  # it is gone on with later
        if self._sweeping is None and self._wants_sweep():
            self._sweeping = self._background(self._sweep(), "_sweeping")
        if self._tending is None and self._clock.seconds() - self._tended_s >= _TEND_S:
            self._tended_s = self._clock.seconds()
            self._tending = self._background(self._tend(), "_tending")

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

    def _background(self, work: Any, name: str) -> Deferred[None]:
        running = Deferred.fromCoroutine(work)

        def failed(failure: Any) -> None:
            if failure.check(CancelledError) is None:
                self._log.failure("keeping failed", failure)

        def over(_: object) -> None:
            self._cut.discard(running)
            if getattr(self, name) is running:
                setattr(self, name, None)

        running.addErrback(failed)
        running.addBoth(over)
        # It may be over before anybody could remember it.
        return running if not running.called else None  # type: ignore[return-value]

    def _cut_short(self, running: Deferred[None]) -> None:
        """Once: what it does then, such as to leave a mark, mustn't be cut short again."""
        if running not in self._cut:
            self._cut.add(running)
            running.cancel()

    # -- sweeps -----------------------------------------------------------------------------------

    def _wants_sweep(self) -> bool:
        if self._occasions.due() or self._survey.wanted():
            return True
        if not any(each.node is not None for each in self._placement.members()):
            return False
        return self._part is not None or self._clock.seconds() >= self._due_s

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
        part, self._part = self._part, None
        if self._survey.wanted():
            part = None  # it has to see all keys
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
            writes=self._writes,
            clock=self._clock,
            buckets=self._buckets,
            keys=Pace(self._clock, self._keys_per_s),
            copied=self._copied,
            agreed_since_s=self._agreed_since_s if not doubted else None,
            compare=frozenset(each.name for each in doubted),
            cursor=(resumed.bucket, resumed.after) if resumed is not None else None,
            on_mended=self._count,
            on_keys=self._metrics.sweep_keys.inc,
            on_key=self._survey.seen,
        )
        try:
            result = await sweep.run()
        except CancelledError:
            cursor = sweep.cursor()
            if calendar and cursor is not None and self._agreed_since_s is not None:
                self._part = self._note(began_s, *cursor)
            raise
        finally:
            self.sweep = None
            self._is_calendar = False
        self._due_s = self._clock.seconds() + self._interval_s
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
            self._agreed_since_s = began_s
            self._swept_s = self._now()
            self._metrics.last_sweep.set(self._swept_s)
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
            await self._membership.change_over(result.unmended)
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
        note = await self._notes.read(each.node for each in members if each.node is not None)
        if note is None or note.ring != self._ring() or not self._is_settled():
            return
        if self.sweep is not None or self._agreed_since_s is not None:
            return
        self._agreed_since_s, self._swept_s = note.began_s, note.ended_s
        self._due_s -= max(self._now() - note.ended_s, 0.0)
        self._metrics.last_sweep.set(note.ended_s)
        self._part = note if note.part_began_s else None

    def _note(self, part_began_s: float = 0.0, bucket: str = "", after: str = "") -> SweepNote:
        assert self._agreed_since_s is not None
        return SweepNote(
            self._ring(), self._agreed_since_s, self._swept_s, part_began_s, bucket, after
        )

    def _is_settled(self) -> bool:
        names = [each.name for each in self._placement.members()]
        return not self._membership.changing and self._settled.is_covered(*names)

    def _ring(self) -> str:
        return self._membership.ring_name

    # -- memory -----------------------------------------------------------------------------------

    async def _tend(self) -> None:
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
        await self._recall.uploads.tend(nodes, before_s)
        if self._clock.seconds() >= self._late_until_s:
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
