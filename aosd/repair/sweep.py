"""The sweep: all nodes' listings compared, bucket by bucket, and what differs mended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.consistency.holders import primaries
from aosd.model.names import why_no_key
from aosd.model.nesting import Nesting
from aosd.model.objects import Entry
from aosd.model.ring import partition
from aosd.model.versions import told_stamp
from aosd.ports import INode, IPlacement
from aosd.repair.mend import Mended, Mender
from aosd.repair.pace import Pace
from aosd.repair.plan import Report
from aosd.repair.walk import Found, Walk, Windows
from aosd.streams.deadlines import cancelled

_BATCH_KEYS = 50
_AT_ONCE = 16
_CLOCKS_DIFFER_S = 60.0
_REPORTS_KEPT = 100
_DEARER_BY = 20

Cursor = tuple[str, str]
"""A bucket and a key in it: all up to there is done."""


class _Verdict(Enum):
    RIGHT = auto()
    COMPARE = auto()
    MEND = auto()


@dataclass
class Swept:
    """What a sweep has found and done so far.

    `covered` is filled at the end: the nodes whose listings were compared whole, and that
    could be asked of every key that had to be looked at. It is complete for the partitions
    whose primaries and handoffs are all among them. `unmended_in` are the partitions of keys
    that aren't as they should be; `unheld` have too few copies where they would be looked for.
    """

    bucket: str = ""
    after: str = ""
    keys: int = 0
    compared: int = 0
    missing: int = 0
    made: int = 0
    removed: int = 0
    size_bytes: int = 0
    unmended: int = 0
    unmended_in: set[int] = field(default_factory=set)
    unheld: int = 0
    reported: int = 0
    reports: deque[tuple[str, str, Report]] = field(
        default_factory=lambda: deque(maxlen=_REPORTS_KEPT)
    )
    covered: frozenset[str] = frozenset()


class Sweep:
    """One sweep over all nodes that are up when it begins.

    A key is right, and costs nothing more, when the listings show it on its primaries
    alone, with one size and ETag, not modified since `agreed_since_s` (when the last
    complete sweep began, in seconds since 1970; None: there was none), on no node in
    `compare`, and no write of it took effect since the pages were asked for. If only the
    time or `compare` speaks against it, and it wasn't written in the half minute before (as far
    as that is known), stamps are compared; otherwise it is mended. One that
    nobody can ask for came with a node: it is reported, and left where it lies.

    `windows` know what was written of late. `keys` looked at and bytes `copied` have a pace.
    `cursor` is where to go on from. `on_mended` and `on_keys` are told of progress: what was
    done for a key, and how many more were looked at; `on_key` of each bucket and key that a
    node lists.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        placement: IPlacement,
        replicas: int,
        mender: Mender,
        windows: Windows,
        clock: IReactorTime,
        buckets: Callable[[], Sequence[str]],
        keys: Pace,
        copied: Pace,
        agreed_since_s: float | None,
        compare: frozenset[str] = frozenset(),
        cursor: Cursor | None = None,
        on_mended: Callable[[Mended], object] = lambda _: None,
        on_keys: Callable[[int], object] = lambda _: None,
        on_key: Callable[[str, str], object] = lambda bucket, key: None,
    ) -> None:
        self.so_far = Swept()
        self.began_s = clock.seconds()
        # Whether keys are being looked at more closely, or mended.
        self.is_mending = False
        self._stopped_s: float | None = None
        self._placement = placement
        self._replicas = replicas
        self._mender = mender
        self._windows = windows
        self._clock = clock
        self._buckets = buckets
        self._keys = keys
        self._copied = copied
        self._on_mended = on_mended
        self._on_keys = on_keys
        self._on_key = on_key
        self._unchanged_before_s = (
            float("-inf") if agreed_since_s is None else agreed_since_s - _CLOCKS_DIFFER_S
        )
        self._compare = compare
        self._cursor = cursor
        self._members: frozenset[str] = frozenset()
        self._lost: set[str] = set()
        self._failed = False
        # How many of a batch's keys lie right but for their stamps, which aren't known.
        self._by_stamp = 0
        self._compares_all = bool(compare) or agreed_since_s is None
        self._wants_stamps = self._compares_all

    def progress(self) -> dict[str, Any]:
        """For people."""
        so_far = self.so_far
        return {
            "bucket": so_far.bucket,
            "after": so_far.after,
            "seconds": round(self._clock.seconds() - self.began_s, 1),
            "keys": so_far.keys,
            "compared": so_far.compared,
            "missing": so_far.missing,
            "made": so_far.made,
            "removed": so_far.removed,
            "bytes": so_far.size_bytes,
            "unmended": so_far.unmended,
            "unheld": so_far.unheld,
            "reported": so_far.reported,
            "reports": [
                {"bucket": bucket, "key": key, "node": report.node, "why": report.why}
                for bucket, key, report in so_far.reports
            ],
            "not_covered": sorted(self._lost),
        }

    def cursor(self) -> Cursor | None:
        """Where another sweep may go on; None when what is behind wasn't compared whole."""
        so_far = self.so_far
        return None if self._failed or self._lost else (so_far.bucket, so_far.after)

    def stop(self) -> float:
        """End it between two keys; for how many seconds that has been asked for already.

        Cancelling ends it at once, and what a copy on its way does then isn't known for as long
        as requests may take effect late.
        """
        if self._stopped_s is None:
            self._stopped_s = self._clock.seconds()
        return self._clock.seconds() - self._stopped_s

    async def run(self) -> Swept:
        """Compare everything, once. Cancelling ends it; what has its turn goes on.

        Raises CancelledError when it was stopped, too.
        """
        members = self._placement.members()
        nodes = {each.name: each.node for each in members if each.node is not None}
        self._members = frozenset(each.name for each in members)
        for bucket in sorted(self._buckets()):
            if self._cursor is None or bucket >= self._cursor[0]:
                await self._sweep_bucket(bucket, nodes)
        if not self._failed:
            self.so_far.covered = frozenset(nodes.keys() - self._lost)
        return self.so_far

    # -- inside ---------------------------------------------------------------------------------

    async def _sweep_bucket(self, bucket: str, nodes: dict[str, INode]) -> None:
        so_far = self.so_far
        here = self._cursor is not None and self._cursor[0] == bucket
        so_far.bucket, so_far.after = bucket, self._cursor[1] if self._cursor and here else ""
        listed = {name: node for name, node in nodes.items() if name not in self._lost}
        walk = Walk(
            listed,
            bucket,
            so_far.after,
            self._windows,
            self._clock,
            self._lost.add,
            wants_stamps=lambda: self._wants_stamps,
        )
        nesting = Nesting()
        hides = any(each.hides is not False for each in self._placement.members())
        # A node may answer with a page of a while ago, which leaves these out; another one may
        # have lost them since.
        unseen = {key for key in self._windows.of_late(bucket) if key > so_far.after}
        async for batch in walk.batches(_BATCH_KEYS):
            doubtful: list[tuple[Found, _Verdict]] = []
            self._by_stamp = 0
            for found in batch:
                unseen.discard(found.key)
                self._on_key(bucket, found.key)
                if why := why_no_key(found.key):
                    self._report(bucket, found, f"it is left where it lies: {why}")
                    continue
                if hides and (above := nesting.above(found.key)) is not None:
                    self._report(bucket, found, f"the object {above} hides it on some nodes")
                verdict = self._judge(bucket, found)
                if verdict is not _Verdict.RIGHT:
                    doubtful.append((found, verdict))
            # A listing that tells stamps is dearer, and spares a HEAD for each copy.
            few = self._by_stamp * _DEARER_BY <= len(batch)
            self._wants_stamps = self._compares_all or not few
            for first in range(0, len(doubtful), _AT_ONCE):
                self._check()
                self.is_mending = True
                await self._settle(bucket, doubtful[first : first + _AT_ONCE])
            so_far.keys += len(batch)
            self._on_keys(len(batch))
            so_far.after = batch[-1].key
            self._check()
            await self._keys.spend(len(batch))
        await self._mend_unseen(bucket, sorted(unseen))

    async def _mend_unseen(self, bucket: str, keys: Sequence[str]) -> None:
        """Look at keys that were written shortly before, and that no node has listed."""
        window = self._windows.current
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            self._check()
            self.is_mending = True
            await self._settle(bucket, [(Found(each, {}, window), _Verdict.MEND) for each in some])
            await self._keys.spend(len(some))

    def _report(self, bucket: str, found: Found, why: str) -> None:
        """Tell people of what no mending changes."""
        told = [(bucket, found.key, Report(name, why)) for name in sorted(found.entries)]
        self.so_far.reported += len(told)
        self.so_far.reports.extend(told)

    def _check(self) -> None:
        if self._stopped_s is not None:
            raise CancelledError

    def _judge(self, bucket: str, found: Found) -> _Verdict:
        windows = self._windows
        orders = self._placement.orders(bucket, found.key)
        wanted = {each.name for each in primaries(orders, self._replicas)} & self._members
        entries = found.entries
        if self._lost and not self._lost.isdisjoint(wanted):
            # What stands in for a node that isn't there has to stay, and nothing is settled.
            wanted -= self._lost
            if not wanted:
                return _Verdict.RIGHT
            entries = {name: each for name, each in entries.items() if name in wanted}
        if entries.keys() != wanted:
            return _Verdict.MEND
        if windows.is_stale(found.window) or windows.touched(found.window, bucket, found.key):
            return _Verdict.MEND
        if self._mender.is_busy(bucket, found.key):
            return _Verdict.MEND
        one = next(iter(entries.values()))
        compare = not self._compare.isdisjoint(wanted)
        for each in entries.values():
            if each.etag != one.etag or each.size_bytes != one.size_bytes:
                return _Verdict.MEND
            compare |= each.modified_s >= self._unchanged_before_s
        if not compare:
            return _Verdict.RIGHT
        self._by_stamp += 1
        if windows.touched_about(found.window, bucket, found.key):
            # A page of a while ago may leave out who has it, and has no business to.
            return _Verdict.MEND
        told_right = self._is_told_right(bucket, found, entries.values())
        return _Verdict.RIGHT if told_right else _Verdict.COMPARE

    def _is_told_right(self, bucket: str, found: Found, entries: Collection[Entry]) -> bool:
        """Whether the listings tell stamps that agree."""
        stamps = [
            told_stamp(each.stamp, each.modified_s, each.etag)
            for each in entries
            if each.stamp is not None
        ]
        return len(stamps) == len(entries) and self._mender.agree(bucket, found.key, stamps)

    async def _settle(self, bucket: str, doubtful: list[tuple[Found, _Verdict]]) -> None:
        """Look at some keys more closely, at once."""
        keys = [found.key for found, _ in doubtful]
        waiting = [Deferred.fromCoroutine(self._look_at(bucket, *each)) for each in doubtful]
        copied_bytes = 0
        outcomes: Any = await DeferredList(waiting, consumeErrors=True)
        for key, (_, outcome) in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Failure):
                if cancelled(outcome):
                    outcome.raiseException()  # a list of Deferreds fires when it is cancelled
                # One key mustn't hold up the others; but nothing is known of it now.
                self._failed = True
                self._log.failure("mending {key} failed", outcome, key=key)
            elif outcome is not None:
                copied_bytes += outcome.size_bytes
                self._count(bucket, key, outcome)
        self.is_mending = False
        await self._copied.spend(copied_bytes)

    async def _look_at(self, bucket: str, found: Found, verdict: _Verdict) -> Mended | None:
        self.so_far.compared += 1
        names = found.entries.keys()
        if verdict is _Verdict.COMPARE and await self._mender.is_right(bucket, found.key, names):
            return None
        return await self._mender.mend(bucket, found.key, also=names)

    def _count(self, bucket: str, key: str, mended: Mended) -> None:
        self._on_mended(mended)
        so_far = self.so_far
        so_far.missing += mended.missing
        so_far.made += len(mended.copied)
        so_far.removed += len(mended.removed)
        so_far.size_bytes += mended.size_bytes
        if not mended.agreed:
            so_far.unmended += 1
            so_far.unmended_in.add(partition(bucket, key))
        so_far.unheld += not mended.held
        so_far.reported += len(mended.reports)
        so_far.reports.extend((bucket, key, each) for each in mended.reports)
        # It may have gone since; what it has of this key wasn't looked at.
        self._lost |= mended.unknown
