"""Keeping copies where they belong: marks within seconds, sweeps when there is an occasion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.consistency.marks import Mark
from aosd.consistency.recall import Recall
from aosd.consistency.settled import Settledness
from aosd.consistency.uploads import OpenUpload
from aosd.consistency.writes import Writes
from aosd.model.errors import AosdError, ClusterError, NodeError
from aosd.observe.metrics import Metrics
from aosd.ports import Candidate, INode, IPlacement
from aosd.repair.marked import Marked
from aosd.repair.mend import Mended, Mender
from aosd.repair.notes import SweepNote, SweepNotes
from aosd.repair.sweep import Sweep

_TICK_S = 1.0
_TEND_S = 60.0
_SWEEP_RETRY_S = 5.0
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

    def change_over(self) -> Deferred[None]:
        """All that the coming ring wants was copied."""

    def up_since_s(self, name: str) -> float | None:
        """When the node answered again after its last silence; None while it doesn't."""


class Keeper:
    """Owns the loop that mends marked keys, sweeps, and tends the cluster's memory.

    `buckets` gives the names of the buckets to sweep; rates are for sweeps and what they
    copy. A sweep is run when it makes a node count again that doesn't, when a mark asks for
    a whole partition, and every `sweep_interval_s`.
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
        metrics: Metrics,
        late_write_window_s: float,
        sweep_interval_s: float,
        keys_per_s: float,
        bytes_per_s: float,
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
        self._metrics = metrics
        self._interval_s = sweep_interval_s
        self._keys_per_s = keys_per_s
        self._bytes_per_s = bytes_per_s
        self._agreed_since_s: float | None = None
        self._swept_at_s = clock.seconds()
        self._swept_s = 0.0
        self._notes = SweepNotes(recall.memory, mender.stamps)
        self._part: SweepNote | None = None
        self._is_calendar = False
        self._reading: Deferred[None] | None = None
        self._not_before_s = 0.0
        self._tended_s = clock.seconds()
        self._sweeping: Deferred[None] | None = None
        self._tending: Deferred[None] | None = None
        self._mending: Deferred[None] | None = None
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._marked = Marked(
            marks=recall.marks,
            mender=mender,
            placement=placement,
            clock=clock,
            up_since_s=membership.up_since_s,
            late_write_window_s=late_write_window_s,
            count=self._count_mended,
        )
        metrics.marks.set_function(lambda: len(self._marks))
        metrics.oldest_gap_s.set_function(self._oldest_gap_s)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep."""
        self._reading = self._background(self._read_note(), "_reading")
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
            each.cancel()
        await DeferredList(waiting, consumeErrors=True)
        try:
            await self._recall.uploads.tend()
        except AosdError as error:
            self._log.info("uploads are left open, and not remembered: {error}", error=error)
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
                    each.cancel()
            return
        if self._mending is None and len(self._marks):
            self._mending = self._background(self._marked.mend_due(), "_mending")
        if self._sweeping is not None and self._is_calendar and self._is_needed():
            self._sweeping.cancel()  # it is gone on with later
        if self._sweeping is None and self._wants_sweep():
            self._sweeping = self._background(self._sweep(), "_sweeping")
        if self._tending is None and self._clock.seconds() - self._tended_s >= _TEND_S:
            self._tended_s = self._clock.seconds()
            self._tending = self._background(self._tend(), "_tending")

    def _oldest_gap_s(self) -> float:
        left_s = self._marks.oldest_s()
        return 0.0 if left_s is None else self._clock.seconds() - left_s

    def _count_mended(self, mended: Mended) -> None:
        copied, removed = len(mended.copied), len(mended.removed)
        self._count(mended.missing, copied, removed, mended.size_bytes)

    def _count(self, missing: int, made: int, removed: int, size_bytes: int) -> None:
        self._metrics.copies_missing.inc(missing)
        self._metrics.copies_made.inc(made)
        self._metrics.copies_removed.inc(removed)
        self._metrics.repair_bytes.inc(size_bytes)

    def _background(self, work: Any, name: str) -> Deferred[None]:
        running = Deferred.fromCoroutine(work)

        def failed(failure: Any) -> None:
            if failure.check(CancelledError) is None:
                self._log.failure("keeping failed", failure)

        def over(_: object) -> None:
            if getattr(self, name) is running:
                setattr(self, name, None)

        running.addErrback(failed)
        running.addBoth(over)
        # It may be over before anybody could remember it.
        return running if not running.called else None  # type: ignore[return-value]

    # -- sweeps -----------------------------------------------------------------------------------

    def _wants_sweep(self) -> bool:
        now_s = self._clock.seconds()
        if now_s < self._not_before_s:
            return False
        members = self._placement.members()
        up = [each.name for each in members if each.node is not None]
        if not up:
            return False
        if self._is_needed():
            return True
        if self._membership.changing and len(up) == len(members):
            return True  # all was compared, and yet something kept the change from being over
        if self._marks.broken or self._marks.whole_partitions(self._spacious()):
            return True
        return self._part is not None or now_s - self._swept_at_s >= self._interval_s

    def _is_needed(self) -> bool:
        """Whether a sweep would make a node count again that doesn't."""
        up = [each.name for each in self._placement.members() if each.node is not None]
        return bool(up) and self._settled.sweep_helps(*up)

    def _spacious(self) -> frozenset[str]:
        members = self._placement.members()
        return frozenset(each.name for each in members if each.node is not None and not each.full)

    async def _sweep(self) -> None:
        self._not_before_s = self._clock.seconds() + _SWEEP_RETRY_S
        # Who returns from here on, be it while others are levelled, isn't covered.
        this = self._settled.begin()
        members = self._placement.members()
        up = [each for each in members if each.node is not None]
        doubted = [each for each in up if not self._settled.is_covered(each.name)]
        try:
            for candidate in doubted:
                await self._level(candidate, up)
        except (NodeError, ClusterError) as error:
            self._log.info("a node's memory can't be levelled yet: {error}", error=error)
            return
        names = [each.name for each in members]
        broken = dict(self._marks.broken)
        partitions = self._marks.take_up(self._spacious())
        # With no occasion but the calendar it may be cut short, and gone on with.
        part, self._part = self._part, None
        calendar = not broken and not partitions and self._settled.is_covered(*names)
        self._is_calendar = calendar
        resumed = part if calendar and part is not None and part.ring == self._ring() else None
        began_s, stamp = self._now(), self._mender.stamps.next()
        if resumed is not None:
            began_s = resumed.part_began_s
        sweep = self.sweep = Sweep(
            placement=self._placement,
            replicas=self._replicas,
            mender=self._mender,
            writes=self._writes,
            clock=self._clock,
            buckets=self._buckets,
            keys_per_s=self._keys_per_s,
            bytes_per_s=self._bytes_per_s,
            agreed_since_s=self._agreed_since_s if not doubted else None,
            compare=frozenset(each.name for each in doubted),
            cursor=(resumed.bucket, resumed.after) if resumed is not None else None,
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
            self._marks.put_back()
            done = sweep.so_far
            self._count(done.missing, done.made, done.removed, done.size_bytes)
            self._metrics.sweep_keys.inc(done.keys)
        self.last = {"began_s": began_s, "ended_s": self._now(), **sweep.progress()}
        self._log.info(
            "swept {keys} keys: {made} copies made, {removed} removed",
            keys=result.keys,
            made=result.made,
            removed=result.removed,
        )
        covered = [
            name
            for name in result.covered
            if self._was_up(name, up) and self._settled.is_since(this, name)
        ]
        if resumed is None:
            # The part before a restart speaks for nothing that happened since.
            self._settled.swept(this, covered)
        if len(covered) == len(members):
            self._agreed_since_s = began_s
            self._swept_at_s, self._swept_s = self._clock.seconds(), self._now()
            self._metrics.last_sweep.set(self._swept_s)
            if resumed is None:
                await self._all_compared(stamp, broken, partitions, mended=not result.unmended)
        self._not_before_s = self._clock.seconds() + _TICK_S

    async def _all_compared(
        self,
        stamp: str,
        broken: Mapping[int, int],
        partitions: Sequence[tuple[int, Mark]],
        *,
        mended: bool,
    ) -> None:
        """A sweep is complete that began when `broken` and `partitions` were in doubt."""
        self._marks.mended(broken)
        if mended and not len(self._marks):
            self._recall.journal.settled(stamp)
        spacious = self._spacious()
        for number, mark in partitions:
            if mended and mark.nodes <= spacious:
                await self._marks.clear(number, mark)
        if self._membership.changing:
            try:
                await self._membership.change_over()
            except ClusterError as error:
                self._log.info("the ring's change isn't over yet: {error}", error=error)

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
        self._swept_at_s -= max(self._now() - note.ended_s, 0.0)
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

    def _was_up(self, name: str, up: Sequence[Candidate]) -> bool:
        return any(each.name == name for each in up)

    async def _level(self, candidate: Candidate, up: Sequence[Candidate]) -> None:
        """A node that was away gets what the cluster remembers before it counts."""
        assert candidate.node is not None
        others: list[INode] = [
            each.node for each in up if each.node is not None and each.name != candidate.name
        ]
        await self._recall.level(candidate.node, others)

    # -- memory -----------------------------------------------------------------------------------

    async def _tend(self) -> None:
        await self._recall.memory.tend()
        await self._recall.registers.tend()
        for each in (self._recall.journal, self._recall.uploads):
            try:
                await each.tend()
            except AosdError as error:
                self._log.info("what is remembered couldn't be tended: {error}", error=error)
        for upload in self._recall.uploads.orphans(self._now() - _ORPHAN_S):
            await self._abort_orphan(upload)

    async def _abort_orphan(self, upload: OpenUpload) -> None:
        """Abort a multipart upload that nobody completed; who can't be told is told later."""
        nodes = {each.name: each.node for each in self._placement.members()}
        told = True
        for name, upload_id in upload.uploads.items():
            node = nodes.get(name)
            if node is None:
                told = False
                continue
            try:
                await node.abort_upload(upload.bucket, upload.key, upload_id)
            except NodeError as error:
                told = False
                self._log.info("orphan not aborted: {error}", error=error, node=name)
        if told:
            await self._recall.uploads.closed(upload.id)
