"""Marks: small records on the nodes that a key's copies may differ."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from sys import intern

from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.errors import ClusterError
from aosd.model.ring import partition as partition_of
from aosd.model.stamp import is_stamp

_PREFIX = "marks/"


@dataclass(frozen=True, slots=True)
class Mark:
    """Nodes in doubt about a key since the write stamped so.

    `silent` are those that gave no answer: the write may take effect there yet. `written`:
    it had its number of copies. With key "" it speaks of the whole partition. `number`
    tells marks of one write apart. `lacking` are nodes that couldn't be given what they lack,
    though it has too few copies: that they haven't got the key says nothing.
    """

    bucket: str
    key: str
    stamp: str
    nodes: frozenset[str]
    silent: frozenset[str]
    written: bool
    number: int = 0
    lacking: frozenset[str] = frozenset()


class Marks:
    """All marks that there are. `seconds` gives time that never goes back.

    What is done at a write or once a second costs the same however many there are. `broken`
    are the partitions in doubt as a whole because a mark couldn't be written or read, each
    with the number of the last time. `on_left` is told of each mark that is new here.

    In memory some 700 bytes a mark, its key among them.
    """

    _log = Logger()

    def __init__(self, memory: Memory, seconds: Callable[[], float]) -> None:
        self.newest = ""
        self.failed = False
        self.broken: dict[int, int] = {}
        self.cleared = 0
        self.on_left: Callable[[Mark], object] = lambda mark: None
        self._memory = memory
        self._seconds = seconds
        # Those of keys, the oldest first, with their partition and when they were left.
        self._known: OrderedDict[Mark, tuple[int, float]] = OrderedDict()
        # When a silent node of one was silent again, by `seconds`.
        self._again: dict[Mark, float] = {}
        # By bucket and key: the only one, as for nearly all; or those of each stamp.
        self._of: dict[str, dict[str, Mark | dict[str, tuple[Mark, ...]]]] = {}
        self._in_partition: dict[int, int] = {}
        # Those of whole partitions, and how many of them there are for each set of nodes.
        self._whole: dict[int, dict[Mark, float]] = {}
        self._whole_of: Counter[frozenset[str]] = Counter()
        self._doubts_of: Counter[frozenset[str]] = Counter()
        # How many there are for each set of nodes that are lacking.
        self._lacking_of: Counter[frozenset[str]] = Counter()
        self._taken_up: set[tuple[int, Mark]] = set()
        # Records beside its own whose doubts a mark took over.
        self._also: dict[Mark, list[str]] = {}
        # Few different ones: hundreds of thousands of marks share them.
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._left = 0
        self._breaks = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known) + self._whole_of.total()

    def __contains__(self, mark: Mark) -> bool:
        """Whether it is one of a key, and wasn't cleared."""
        return mark in self._known

    async def leave(self, mark: Mark, partition: int) -> None:
        """Leave a mark: it counts at once, and stands on enough nodes when this returns.

        Where one of the same write is known, a new one takes over its doubts; a record is
        never written twice. NoQuorum when it couldn't be written. Then the partition is
        `broken`: not settled before everything in it was compared, whatever becomes of the
        mark.
        """
        former = self._same(mark, partition)
        if former:
            self._left += 1
            number = max(self._left, *(each.number + 1 for each in former))
            self._left = number
            every = (mark, *former)
            mark = replace(
                mark,
                nodes=frozenset().union(*(each.nodes for each in every)),
                silent=frozenset().union(*(each.silent for each in every)),
                written=any(each.written for each in every),
                number=number,
                lacking=frozenset().union(*(each.lacking for each in every)),
            )
        self._take(mark, partition)
        try:
            await self._memory.write(_name(mark, partition), _to_bytes(mark))
        except ClusterError:
            self.failed = True
            self._break(partition)
            raise
        for each in former:
            # Whoever settles the doubts of both removes the records of both.
            names = self._forget(partition, each)
            if mark in self._known or mark in self._whole.get(partition, ()):
                self._also.setdefault(mark, []).extend(names)
            elif names:
                await self._memory.remove(names)

    def marked(self, partition: int) -> bool:
        """Whether anything in the partition is in doubt."""
        return (
            partition in self._in_partition or partition in self._whole or partition in self.broken
        )

    def of(self, bucket: str, key: str) -> tuple[Mark, ...]:
        """The key's own marks."""
        there = self._of.get(bucket, {}).get(key, ())
        if isinstance(there, dict):
            return tuple(chain.from_iterable(there.values()))
        return (there,) if there else ()

    def keep(self, partition: int, nodes: Collection[str], lacking: Collection[str] = ()) -> bool:
        """Whether one speaks of the whole partition and of these nodes at least.

        A sweep that has taken it up doesn't settle it then: it may have passed already what
        is in doubt now.
        """
        for mark in self._whole.get(partition, ()):
            if mark.nodes.issuperset(nodes) and mark.lacking.issuperset(lacking):
                self._doubts_of[mark.nodes] += 1
                self._taken_up.discard((partition, mark))
                return True
        return False

    def of_partition(self, partition: int) -> tuple[Mark, ...]:
        """Those of the whole partition."""
        return tuple(self._whole.get(partition, ()))

    def newest_written(self, bucket: str, key: str) -> str | None:
        """The newest write of the key that had its number of copies, as marks tell."""
        there = self._of.get(bucket, {}).get(key)
        if there is None:
            return None
        if not isinstance(there, dict):
            return there.stamp if there.written else None
        written = (stamp for stamp in there if any(each.written for each in there[stamp]))
        return max(written, default=None)

    def lacking(self, bucket: str = "", key: str = "") -> frozenset[str]:
        """Nodes that may lack the key though they were swept since they returned; or any key."""
        if not key or not self._lacking_of:
            return frozenset().union(*self._lacking_of)
        marks = (*self.of(bucket, key), *self.of_partition(partition_of(bucket, key)))
        return frozenset().union(*(each.lacking for each in marks))

    def all(self) -> Iterator[tuple[int, Mark]]:
        """All marks as they are now, each with its partition."""
        for mark, (partition, _) in list(self._known.items()):
            yield partition, mark
        yield from self._all_whole()

    def where(self, mark: Mark) -> int | None:
        """The partition of a key's mark; None when it was cleared."""
        found = self._known.get(mark)
        return found[0] if found else None

    def doubt_again(self, bucket: str, key: str, silent: Collection[str]) -> None:
        """Another request to these nodes got no answer: the key's marks that name them say so."""
        for mark in self.of(bucket, key):
            if not mark.silent.isdisjoint(silent):
                self._again[mark] = self._seconds()

    def silent_since(self, mark: Mark) -> float:
        """When a key's mark was left or loaded, or doubted again, by `seconds`."""
        if mark in self._again:
            return self._again[mark]
        return self._known[mark][1] if mark in self._known else self._seconds()

    def oldest_s(self) -> float | None:
        """When the oldest was left or loaded, by `seconds`; None when there are none."""
        left_s = [left_s for each in self._whole.values() for left_s in each.values()]
        if self._known:
            # They are in the order in which they came.
            left_s.append(self._known[next(iter(self._known))][1])
        return min(left_s, default=None)

    async def clear(self, partition: int, mark: Mark) -> None:
        """All that it asked for was done."""
        if names := self._forget(partition, mark):
            await self._memory.remove(names)

    def names(self) -> set[str]:
        """The records of all marks, as they are named on the nodes."""
        found = {_name(mark, partition) for partition, mark in self.all()}
        return found.union(*self._also.values())

    # -- for sweeps -------------------------------------------------------------------------------

    def whole_partitions(self, spacious: Collection[str]) -> frozenset[tuple[frozenset[str], int]]:
        """The sets of nodes, of these, that marks of whole partitions speak of.

        Each with a number that grows when one more is left, or one is to stay.
        """
        nodes = (nodes for nodes in self._whole_of if nodes <= set(spacious))
        return frozenset((each, self._doubts_of[each]) for each in nodes)

    def whole_names(self) -> frozenset[str]:
        """The nodes that marks of whole partitions speak of."""
        return frozenset(chain.from_iterable(self._whole_of))

    def take_up(self, spacious: Collection[str]) -> bool:
        """A sweep begins that is to settle those marks; whether there are any."""
        self._taken_up = {each for each in self._all_whole() if each[1].nodes <= set(spacious)}
        return bool(self._taken_up)

    async def settle_taken_up(self, is_settled: Callable[[int, Mark], bool]) -> None:
        """Clear those of them that are settled, and that nobody doubted again until now."""
        for partition, mark in list(self._taken_up):
            if (partition, mark) in self._taken_up and is_settled(partition, mark):
                self._taken_up.discard((partition, mark))
                await self.clear(partition, mark)

    def put_back(self) -> None:
        """The sweep is over, however it ended."""
        self._taken_up = set()

    def mended(self, broken: Mapping[int, int]) -> None:
        """All in these partitions was compared since they were as `broken` had them."""
        self.cleared += 1
        for partition, number in broken.items():
            if self.broken.get(partition) == number:
                del self.broken[partition]

    # -- what nodes have --------------------------------------------------------------------------

    def load(self, records: Mapping[str, bytes]) -> None:
        """Take in what a node has."""
        for name, data in records.items():
            if not name.startswith(_PREFIX):
                continue
            try:
                partition = int(name.split("/")[1])
            except (ValueError, IndexError):
                self._log.warn("{name} can't be read", name=name)
                continue
            try:
                told = json.loads(data)
                mark = Mark(
                    intern(str(told["bucket"])),
                    str(told["key"]),
                    str(told["stamp"]),
                    frozenset(told["nodes"]),
                    frozenset(told["silent"]),
                    bool(told["written"]),
                    int(told.get("number", 0)),
                    frozenset(told.get("lacking", ())),
                )
            except (ValueError, TypeError, KeyError):
                # Something there is in doubt, whatever it is.
                self._log.warn("{name} can't be read", name=name)
                self._break(partition)
                continue
            if mark not in self._known and mark not in self._whole.get(partition, ()):
                self._take(mark, partition)

    # -- inside -----------------------------------------------------------------------------------

    def _all_whole(self) -> Iterator[tuple[int, Mark]]:
        for partition, marks in list(self._whole.items()):
            for mark in list(marks):
                yield partition, mark

    def _break(self, partition: int) -> None:
        self._breaks += 1
        self.broken[partition] = self._breaks

    def _take(self, mark: Mark, partition: int) -> None:
        nodes = self._sets.setdefault(mark.nodes, mark.nodes)
        silent = self._sets.setdefault(mark.silent, mark.silent)
        lacking = self._sets.setdefault(mark.lacking, mark.lacking)
        if nodes is not mark.nodes or silent is not mark.silent or lacking is not mark.lacking:
            mark = replace(mark, nodes=nodes, silent=silent, lacking=lacking)
        if is_stamp(mark.stamp):
            self.newest = max(self.newest, mark.stamp)
        if lacking:
            self._lacking_of[lacking] += 1
        if not mark.key:
            self._whole.setdefault(partition, {})[mark] = self._seconds()
            self._whole_of[nodes] += 1
            self._doubts_of[nodes] += 1
        else:
            self._known[mark] = partition, self._seconds()
            self._in_partition[partition] = self._in_partition.get(partition, 0) + 1
            self._enter(mark)
        self.on_left(mark)

    def _enter(self, mark: Mark) -> None:
        of_bucket = self._of.setdefault(mark.bucket, {})
        there = of_bucket.get(mark.key)
        if there is None:
            of_bucket[mark.key] = mark
            return
        if not isinstance(there, dict):
            there = of_bucket[mark.key] = {there.stamp: (there,)}
        there[mark.stamp] = (*there.get(mark.stamp, ()), mark)

    def _same(self, mark: Mark, partition: int) -> tuple[Mark, ...]:
        """The marks of the same write of the same key, or partition."""
        if not mark.key:
            whole = self._whole.get(partition, ())
            return tuple(each for each in whole if each.stamp == mark.stamp)
        there = self._of.get(mark.bucket, {}).get(mark.key)
        if isinstance(there, dict):
            return there.get(mark.stamp, ())
        return (there,) if there is not None and there.stamp == mark.stamp else ()

    def _forget(self, partition: int, mark: Mark) -> list[str]:
        """Know a mark no more; the records that it had."""
        self.cleared += 1
        if mark.key:
            if self._known.get(mark, (None,))[0] != partition:
                return []
            del self._known[mark]
            self._again.pop(mark, None)
            self._in_partition[partition] -= 1
            if not self._in_partition[partition]:
                del self._in_partition[partition]
            self._leave_out(mark)
        else:
            whole = self._whole.get(partition, {})
            if mark not in whole:
                return []
            del whole[mark]
            if not whole:
                del self._whole[partition]
            self._whole_of[mark.nodes] -= 1
            self._whole_of += Counter()  # forgets what there is none of
        if mark.lacking:
            self._lacking_of[mark.lacking] -= 1
            self._lacking_of += Counter()
        return [_name(mark, partition), *self._also.pop(mark, [])]

    def _leave_out(self, mark: Mark) -> None:
        of_bucket = self._of[mark.bucket]
        there = of_bucket[mark.key]
        if isinstance(there, dict):
            others = tuple(each for each in there[mark.stamp] if each != mark)
            if others:
                there[mark.stamp] = others
            else:
                del there[mark.stamp]
            if there:
                return
        del of_bucket[mark.key]
        if not of_bucket:
            del self._of[mark.bucket]


def _name(mark: Mark, partition: int) -> str:
    digest = "all"
    if mark.key:
        text = f"{mark.bucket}\0{mark.key}".encode("utf-8", "surrogatepass")
        digest = blake2b(text, digest_size=16).hexdigest()
    number = f"+{mark.number}" if mark.number else ""
    return f"{_PREFIX}{partition:05d}/{digest}/{mark.stamp}{number}"


def _to_bytes(mark: Mark) -> bytes:
    return json.dumps(
        {
            "bucket": mark.bucket,
            "key": mark.key,
            "stamp": mark.stamp,
            "nodes": sorted(mark.nodes),
            "silent": sorted(mark.silent),
            "written": mark.written,
            "number": mark.number,
            "lacking": sorted(mark.lacking),
        }
    ).encode()
