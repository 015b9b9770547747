"""A node of the simulated world: a disk that stays, and a process that comes and goes."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from aosd.consistency.buckets import names_in
from aosd.model.errors import NodeError, NodeRefused
from aosd.model.marker import MARKER_KEY, read_marker
from aosd.model.node import Address
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET, Page
from aosd.testing.memory_disk import Copy, MemoryDisk, Snapshot, Upload
from aosd.testing.simulation.clocks import MortalClock, WorldClock
from aosd.testing.simulation.weather import Weather

if TYPE_CHECKING:
    from aosd.testing.simulation.line import Line

T = TypeVar("T")

_Buckets = dict[str, dict[str, Copy]]

_REMEMBERED_S = 60.0  # how far back power loss and stale listings may reach
SIGNED_FOR_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Mutation:
    """A key of a node changed by a request; `late`: nobody waited for its answer any more."""

    at_s: float
    node: str
    bucket: str
    key: str
    before: Copy | None
    after: Copy | None
    late: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """What an S3 server does in its own way; the default is as AWS describes it."""

    tree_order: bool = False  # lists folder by folder, as SeaweedFS does
    hides_beneath: bool = False  # lists no key beneath another one, as MinIO does
    tells_stamps: bool = False  # in listings, as MinIO does when it is asked to
    checks_digests: bool = True  # SeaweedFS ignores x-amz-content-sha256
    keeps_full_buckets: bool = True  # SeaweedFS removes them, as it comes


class SimulatedNode:
    """One S3 server.

    `running`, `frozen` (nothing moves, no connection breaks) and `full` are what it is;
    `lines` are the gateways' connections to it, `told` the runs (by their clocks) that
    know of the uploads they opened.
    `watch` is told of every change that a request makes to an object. `shifted_s` is when
    its disk was last changed by something else. `kind` is what server it is like, and
    `tally` counts what befalls it. `barred_since_s` is since when it mustn't be asked for
    anything, and `misused` what it was asked for all the same. `was_blank`: it has been empty
    since then.
    """

    def __init__(
        self,
        name: str,
        number: int,
        clock: WorldClock,
        chance: random.Random,
        watch: Callable[[Mutation], None],
        *,
        kind: Kind,
        tally: Counter[str],
    ) -> None:
        self.name = name
        self.address = Address("http", f"10.0.0.{number}", 9000)
        self.chance = chance
        self.clock = clock
        self.weather = Weather()
        self.running = True
        self.frozen = False
        self.full = False
        self.ahead_s = 0.0
        self.epoch = 1
        self.shifted_s = float("-inf")
        self.barred_since_s = float("inf")
        self.misused = ""
        self.was_blank = False
        self.kind = kind
        self.tally = tally
        self.lines: list[Line] = []
        self.told: dict[str, MortalClock] = {}
        self.disk = MemoryDisk(
            name,
            self.now,
            tree_order=kind.tree_order,
            hides_beneath=kind.hides_beneath,
            tells_stamps=kind.tells_stamps,
            checks_sha256=kind.checks_digests,
            checks_md5=kind.checks_digests,
        )
        self.disk.refuses_full_buckets = kind.keeps_full_buckets
        self._watch = watch
        self._log: deque[tuple[float, Callable[[_Buckets], object]]] = deque()
        self._undo_uploads: deque[tuple[float, dict[str, Upload]]] = deque()
        self._frozen_work: list[Callable[[], None]] = []

    # -- requests ---------------------------------------------------------------------------------

    def carry_out(
        self, bucket: str, key: str, act: Callable[[MemoryDisk], T], late: Callable[[], bool]
    ) -> T:
        """A request that may change the key: remembered, and told. Raises what it answers."""
        before = self.copy(bucket, key)
        try:
            return act(self.disk)
        finally:
            after = self.copy(bucket, key)
            if after is not before:
                self._changed(bucket, key, before, after, late())

    def carry_out_on_bucket(
        self, bucket: str, act: Callable[[MemoryDisk], T], late: Callable[[], bool]
    ) -> T:
        """As `carry_out`, of a request that makes or removes a bucket, with all that is in it."""
        there = self.disk.buckets.get(bucket)
        before = None if there is None else dict(there)
        try:
            return act(self.disk)
        finally:
            if before is None and bucket in self.disk.buckets:
                self._remember(lambda buckets: buckets.pop(bucket, None))
            elif before is not None and bucket not in self.disk.buckets:
                self._remember(lambda buckets: buckets.setdefault(bucket, {}))
                for key, copy in before.items():
                    self._changed(bucket, key, copy, None, late())

    def carry_out_on_upload(self, act: Callable[[], T]) -> T:
        """A request that changes what uploads there are, or their parts: remembered."""
        before = {
            each: replace(upload, parts=dict(upload.parts), since_s=dict(upload.since_s))
            for each, upload in self.disk.uploads.items()
        }
        try:
            return act()
        finally:
            self._undo_uploads.append((self.clock.seconds(), before))
            while self._undo_uploads[0][0] < self.clock.seconds() - _REMEMBERED_S:
                self._undo_uploads.popleft()

    def _changed(
        self, bucket: str, key: str, before: Copy | None, after: Copy | None, late: bool
    ) -> None:
        def undo(buckets: _Buckets) -> None:
            if before is not None:
                buckets.setdefault(bucket, {})[key] = before
            elif bucket in buckets:
                buckets[bucket].pop(key, None)

        self._remember(undo)
        now_s = self.clock.seconds()
        self._watch(Mutation(now_s, self.name, bucket, key, before, after, late))

    def _remember(self, undo: Callable[[_Buckets], object]) -> None:
        now_s = self.clock.seconds()
        self._log.append((now_s, undo))
        while self._log[0][0] < now_s - _REMEMBERED_S:
            self._log.popleft()

    def now(self) -> float:
        """The time of day, by its clock."""
        return self.clock.seconds() + self.ahead_s

    def check_signature(self, signed_s: float) -> None:
        """Raise what a node answers to a request that was signed long ago, by its clock."""
        if abs(self.now() - signed_s) > SIGNED_FOR_S:
            raise NodeRefused(self.name, "RequestTimeTooSkewed", 403, "RequestTimeTooSkewed")

    def when_awake(self, act: Callable[[], None]) -> None:
        """Now, or when the process goes on; never when it is killed before."""
        if self.frozen:
            self._frozen_work.append(act)
        else:
            act()

    def copy(self, bucket: str, key: str) -> Copy | None:
        """What lies there."""
        return self.disk.buckets.get(bucket, {}).get(key)

    def stale_page(self, age_s: float, ask: Callable[[MemoryDisk], Page]) -> Page:
        """A listing as it was `age_s` ago."""
        present = self.disk.buckets
        fresh = ask(self.disk)
        self.disk.buckets = {bucket: dict(there) for bucket, there in present.items()}
        try:
            self._undo(age_s)
            stale = ask(self.disk)
        finally:
            self.disk.buckets = present
        if stale != fresh:
            self.tally["stale listing that differed"] += 1
        return stale

    # -- the first contact ------------------------------------------------------------------------

    @property
    def marker(self) -> bytes | None:
        """Its `node.json`."""
        copy = self.copy(SYSTEM_BUCKET, MARKER_KEY)
        return copy.data if copy is not None else None

    @property
    def has_objects(self) -> bool:
        """Whether anything lies outside aosd's own memory."""
        return any(there for bucket, there in self.disk.buckets.items() if bucket != SYSTEM_BUCKET)

    @property
    def is_blank(self) -> bool:
        """Whether nothing lies there at all, nor says whose it is."""
        return self.marker is None and not self.has_objects

    def objects(self) -> list[str]:
        """All objects outside aosd's own memory, as paths for people."""
        return [
            f"{bucket}/{key}"
            for bucket, there in self.disk.buckets.items()
            if bucket != SYSTEM_BUCKET
            for key in there
        ]

    def brings(self, bucket: str, key: str, data: bytes, modified_s: float) -> Copy:
        """It holds an object that aosd didn't write."""
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        copy = Copy(data, f'"{etag}"', modified_s)
        self.disk.buckets.setdefault(bucket, {})[key] = copy
        return copy

    def is_left(self) -> None:
        """Its marker says so from now on."""
        there = self.disk.buckets.get(SYSTEM_BUCKET, {})
        if (copy := there.get(MARKER_KEY)) is not None:
            marker = replace(read_marker(self.name, copy.data), left=True)
            there[MARKER_KEY] = Copy(marker.to_bytes(), '"marker"', self.now())

    def clean(self, *, buckets: bool) -> None:
        """Nothing of aosd's is left; with `buckets` none that is empty, either."""
        for bucket in [each for each, there in self.disk.buckets.items() if buckets and not there]:
            del self.disk.buckets[bucket]
        self.disk.buckets.pop(SYSTEM_BUCKET, None)
        self.disk.uploads.clear()

    def equip(self, marker: bytes, records: Mapping[str, bytes]) -> bytes:
        """Make the buckets; if there is no marker, that and records. The one that stands then."""
        if self.full:
            raise NodeError(self.name, "no space left")
        for bucket in (SYSTEM_BUCKET, OBJECT_BUCKET, *names_in(records)):
            self.disk.buckets.setdefault(bucket, {})
        there = self.disk.buckets[SYSTEM_BUCKET]
        if MARKER_KEY not in there:
            for key, record in records.items():
                there[key] = Copy(record, '"record"', self.now())
            there[MARKER_KEY] = Copy(marker, '"marker"', self.now())
        return there[MARKER_KEY].data

    # -- what happens to it -----------------------------------------------------------------------

    def kill(self) -> None:
        """Its process ends: connections break at once, and whatever was under way."""
        self._end()
        for line in list(self.lines):
            line.broke()

    def lose_power(self, lost_s: float) -> int:
        """It is gone without a word, and so is what it acknowledged in the last `lost_s`.

        Returns how many changes that were.
        """
        self._end()
        undone = self._undo(lost_s)
        since_s = self.clock.seconds() - lost_s
        lost = [uploads for at_s, uploads in self._undo_uploads if at_s >= since_s]
        if lost:
            self.disk.uploads = lost[0]
        self.sync()
        self.shifted_s = self.clock.seconds()
        return undone

    def sync(self) -> None:
        """What it has acknowledged is on its disk: no power loss takes it away."""
        self._log.clear()
        self._undo_uploads.clear()

    def start(self) -> None:
        """A new process on what lies on the disk."""
        assert not self.running
        self.running = True
        self.epoch += 1

    def freeze(self) -> None:
        """Nothing moves: SIGSTOP, a network that swallows everything, a disk that hangs."""
        self.frozen = True

    def thaw(self) -> None:
        """It goes on with what came meanwhile."""
        self.frozen = False
        work, self._frozen_work = self._frozen_work, []
        for act in work:
            act()

    def snapshot(self) -> Snapshot:
        """What lies on the disk."""
        return self.disk.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Let the disk of a node that doesn't run be as it was, or empty with {}."""
        assert not self.running
        self.disk.restore(snapshot)
        self.sync()
        self.shifted_s = self.clock.seconds()

    def _end(self) -> None:
        self.running = False
        self.frozen = False
        self._frozen_work = []

    def _undo(self, lost_s: float) -> int:
        since_s = self.clock.seconds() - lost_s
        undone = 0
        for at_s, undo in reversed(self._log):
            if at_s < since_s:
                break
            undo(self.disk.buckets)
            undone += 1
        return undone


def holders(nodes: Iterable[SimulatedNode], bucket: str, key: str) -> dict[str, Copy]:
    """Who has the key, running or not."""
    found = {node.name: node.copy(bucket, key) for node in nodes}
    return {name: copy for name, copy in found.items() if copy is not None}
