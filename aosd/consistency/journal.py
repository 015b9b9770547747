"""The journal: every delete, and every restamping, on the nodes before it takes effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.consistency.ledger import Ledger
from aosd.consistency.lines import Backlog, Entry, Line
from aosd.consistency.memory import Memory
from aosd.model.errors import ClusterError, NodeError, NoQuorum
from aosd.model.stamp import is_stamp

_PREFIX = "journal/"
_FORGOTTEN = "-forgotten"
_MOST_LINES = 5000
_MOST_MERGED = 10_000
_MOST_MERGED_BYTES = 4 * 1024 * 1024
_SLICE = 5000


@dataclass(frozen=True, slots=True)
class _Batch:
    """A record that stands on the nodes: its newest line's stamp, and how much it has."""

    newest: str
    lines: int
    size_bytes: int

    @property
    def is_long(self) -> bool:
        """Whether it isn't written again for the sake of a few more lines."""
        return self.lines > _MOST_MERGED // 2 or self.size_bytes > _MOST_MERGED_BYTES // 2


class Journal:
    """Lines are known here at once, and stand on the nodes when a call returns.

    What comes while a batch is being written shares the next one. A batch that too few
    nodes took fails its callers, and its lines go with later ones: they may be on record
    somewhere, so they count. Entries are kept for `keep_s`, and longer while `may_forget`
    says no of those older than a limit. A batch has `most_lines` at most. `died` is to say
    before which stamp all that is in a bucket is dead ("": nothing is): its own newest delete.

    A record's name is never used twice: a late PUT or DELETE must not meet another one.
    """

    _log = Logger()

    def __init__(
        self,
        memory: Memory,
        ledger: Ledger,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        keep_s: float = 7 * 86400.0,
        merge_s: float = 60.0,
        may_forget: Callable[[str], bool],
        most_lines: int = _MOST_LINES,
    ) -> None:
        self.newest = ""
        self.failed = False
        self.died: Callable[[str], str] = lambda bucket: ""
        self._memory = memory
        self._ledger = ledger
        self._clock = clock
        self._now = now
        self._keep_s = keep_s
        self._merge_s = merge_s
        self._may_forget = may_forget
        self._backlog = Backlog(most_lines)
        self._writing = False
        self._tending = False
        self._made = 0
        self._batches: dict[str, _Batch] = {}
        # Records that failed, or that merging left behind: to be removed.
        self._doubtful: list[str] = []
        self._over: list[str] = []
        # Lines stamped before this one are void, wherever they still stand.
        self._horizon = ""
        self._horizons: set[str] = set()

    # -- what is on record ------------------------------------------------------------------------

    def delete_of(self, bucket: str, key: str) -> str | None:
        """The stamp of the key's newest delete: its own, or its bucket's."""
        found, died = self._ledger.delete_of(bucket, key), self.died(bucket)
        return max(found or "", died) or None

    def own_delete_of(self, bucket: str, key: str) -> str | None:
        """The stamp of the newest delete of the key itself."""
        return self._ledger.delete_of(bucket, key)

    def counts_as(self, bucket: str, key: str, stamp: str) -> str:
        """What a copy's stamp counts as: itself, but for what was restamped."""
        return self._ledger.counts_as(bucket, key, stamp)

    async def deleted(self, bucket: str, key: str, stamp: str) -> None:
        """Put a delete on record; returns when it stands.

        NoQuorum when it couldn't be; it counts all the same. Cancelling ends the wait only.
        """
        await self._add(Line(stamp, bucket, key))

    async def restamped(self, bucket: str, key: str, was: str, counts_as: str) -> None:
        """Put on record that the copy stamped `was` counts as `counts_as`; as `deleted`."""
        await self._add(Line(counts_as, bucket, key, was))

    def settled(self, before: str) -> None:
        """All writes stamped before lie where they belong."""
        self._ledger.forget_writes(before)

    def settled_key(self, bucket: str, key: str, before: str) -> None:
        """So does what was written to this key: all that could hold it have told."""
        self._ledger.forget_write(bucket, key, before)

    # -- from the nodes, and back -----------------------------------------------------------------

    def knows(self, name: str) -> bool:
        """Whether a record was taken in whole: it is the same on every node."""
        return name in self._batches or name in self._horizons

    async def load(self, records: Mapping[str, bytes]) -> None:
        """Take in what a node has; in any order, any number of times."""
        names = sorted(name for name in records if name.startswith(_PREFIX))
        for name in names:
            if name.endswith(_FORGOTTEN):
                self._horizons.add(name)
                self._void_before(name.removeprefix(_PREFIX).removesuffix(_FORGOTTEN))
        taken = 0
        for name in names:
            if self.knows(name):
                continue
            lines, whole = self._parse(name, records[name])
            self._take([line for line in lines if line.stamp >= self._horizon])
            if whole:  # otherwise another node's may be
                self._batches[name] = _batch(lines, records[name])
            taken += len(lines)
            if taken >= _SLICE:
                taken = 0
                await deferLater(self._clock, 0, lambda: None)

    async def tend(self) -> None:
        """Merge what is over, and forget what is old. Raises NoQuorum; nothing is lost then."""
        if self._tending:
            return
        self._tending = True
        try:
            if not self._writing:
                self._backlog.again()
                self._write()
            if self._over:
                over, self._over = self._over, []
                for name in over:
                    self._batches.pop(name, None)
                await self._memory.remove(over)
            for names in self._to_merge():
                await self._merge(names)
            await self._forget()
        finally:
            self._tending = False

    # -- writing ----------------------------------------------------------------------------------

    async def _add(self, line: Line) -> None:
        if self._backlog.is_full:
            raise NoQuorum(f"{len(self._backlog)} lines of the journal wait to be written")
        self._take([line])
        stands = self._backlog.add(line)
        if not self._writing:
            self._write()
        await stands

    def _take(self, lines: Sequence[Line]) -> None:
        self._ledger.deleted(
            [(line.bucket, line.key, line.stamp) for line in lines if not line.was]
        )
        for line in lines:
            if line.was:
                self._ledger.restamped(line.bucket, line.key, line.was, line.stamp)
            self.newest = max(self.newest, line.stamp)

    def _write(self) -> None:
        """Write what waits; what is sent is the memory's to end."""
        self._writing = True
        Deferred.fromCoroutine(self._write_all()).addErrback(
            lambda failure: self._log.failure("writing the journal", failure)
        )

    async def _write_all(self) -> None:
        """Batch after batch, until nobody waits or none can be written."""
        try:
            while batch := self._backlog.take():
                error = await self._write_batch(batch)
                if error is None:
                    self._backlog.stood(batch)
                    if not self._backlog.has_failed:
                        # All that they had stands elsewhere now.
                        self._over, self._doubtful = self._over + self._doubtful, []
                    continue
                self._backlog.failed(batch, error)
                if not self._backlog.waits():
                    return
        finally:
            self._writing = False

    async def _write_batch(self, batch: Sequence[Entry]) -> BaseException | None:
        try:
            # Where nobody can be asked it isn't worth while to put it into words.
            self._memory.check()
        except NoQuorum as error:
            self.failed = True
            return error
        lines = [each.line for each in batch]
        name, data = self._record(lines, [each.text for each in batch])
        failures: list[Failure] = []
        await Deferred.fromCoroutine(self._memory.write(name, data)).addErrback(failures.append)
        if not failures:
            self._batches[name] = _batch(lines, data)
            return None
        if failures[0].check(ClusterError) is None:
            self._log.failure("writing the journal", failures[0])
        self.failed = True
        self._doubtful.append(name)
        return failures[0].value

    def _record(self, lines: Sequence[Line], texts: Sequence[str]) -> tuple[str, bytes]:
        """A name that no other record has, of this run or another, and what is in it."""
        data = "".join(f"{text}\n" for text in texts).encode()
        self._made += 1
        digest = blake2b(data, digest_size=8).hexdigest()
        return f"{_PREFIX}{min(line.stamp for line in lines)}-{self._made:x}-{digest}", data

    # -- tending ----------------------------------------------------------------------------------

    def _to_merge(self) -> list[list[str]]:
        """Records of one minute that is over, as many as may go into one."""
        slot_ms = max(int(self._merge_s * 1000), 1)
        not_yet = int(self._now() * 1000) // slot_ms - 1
        groups: list[list[str]] = []
        slot, room, room_bytes = -1, 0, 0
        for name in sorted(self._batches):
            millis, batch = _millis(name), self._batches[name]
            if millis is None or batch.is_long:
                continue
            if millis // slot_ms >= not_yet:
                break
            is_over = batch.lines > room or batch.size_bytes > room_bytes
            if millis // slot_ms != slot or is_over:
                slot, room, room_bytes = millis // slot_ms, _MOST_MERGED, _MOST_MERGED_BYTES
                groups.append([])
            groups[-1].append(name)
            room -= batch.lines
            room_bytes -= batch.size_bytes
        return [names for names in groups if len(names) > 1]

    async def _merge(self, names: list[str]) -> None:
        """Make these one record: it stands before they go, so that a crash loses nothing."""
        found = await self._read(names)
        if len(found) < 2:
            return
        lines = sorted({line for each in found.values() for line in each})
        merged, data = "", b""
        if lines:
            merged, data = self._record(lines, [line.to_text() for line in lines])
            try:
                await self._memory.write(merged, data)
            except ClusterError:
                self._over.append(merged)
                raise
            self._batches[merged] = _batch(lines, data)
        for name in found:
            self._batches.pop(name, None)
        await self._memory.remove(found)

    async def _read(self, names: Sequence[str]) -> dict[str, list[Line]]:
        """What is in these records, but for those that no node has whole."""
        found: dict[str, list[Line]] = {}
        for node in self._memory.nodes():
            missing = [name for name in names if name not in found]
            if not missing:
                break
            try:
                records = await self._memory.fetch(node, missing)
            except NodeError as error:
                self._log.info("its journal can't be read: {error}", error=error, node=node.name)
                continue
            for name, data in records.items():
                lines, whole = self._parse(name, data)
                if whole:
                    found[name] = lines
        return found

    async def _forget(self) -> None:
        """What is old is void from one moment on, wherever a record of it may be left.

        A delete that came back without the restamping after it would make an object dead
        that was written since. So it is put on record first up to when all is forgotten.
        """
        limit_ms = max(int((self._now() - self._keep_s) * 1000), 0)
        known_ms = int(self._horizon, 16) if self._horizon else 0
        if limit_ms - known_ms < self._keep_s * 1000 / 168:
            return  # an hour's at once, of a week's
        limit = f"{limit_ms:012x}"
        old = [name for name, batch in self._batches.items() if batch.newest < limit]
        if not old or not self._may_forget(limit):
            return
        horizon = f"{_PREFIX}{limit}{_FORGOTTEN}"
        await self._memory.write(horizon, b"{}")
        former, self._horizons = self._horizons, {horizon}
        self._void_before(limit)
        for name in old:
            self._batches.pop(name, None)
        await self._memory.remove([*old, *sorted(former - self._horizons)])

    def _void_before(self, limit: str) -> None:
        if limit > self._horizon and is_stamp(f"{limit}-0000-00000000"):
            self._horizon = limit
            self._ledger.forget_before(limit)

    # -- inside -----------------------------------------------------------------------------------

    def _parse(self, name: str, data: bytes) -> tuple[list[Line], bool]:
        """The lines that can be read, and whether those are all."""
        lines = []
        whole = True
        for text in data.splitlines():
            try:
                line = Line(*json.loads(text))
                if not all(isinstance(each, str) for each in line) or not is_stamp(line.stamp):
                    raise ValueError(text)
            except (ValueError, TypeError):
                whole = False
            else:
                lines.append(line)
        if not whole:
            self._log.warn("{name} can't be read whole", name=name)
        return lines, whole


def _batch(lines: Sequence[Line], data: bytes) -> _Batch:
    return _Batch(max((line.stamp for line in lines), default=""), len(lines), len(data))


def _millis(name: str) -> int | None:
    try:
        return int(name.removeprefix(_PREFIX)[:12], 16)
    except ValueError:
        return None
