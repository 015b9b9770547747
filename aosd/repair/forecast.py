"""What a change of the ring would cost, from what the nodes list: told before anything is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from aosd.consistency.writes import Writes
from aosd.model.objects import SYSTEM_BUCKET, Entry
from aosd.model.quorum import needed
from aosd.model.ring import Ring
from aosd.ports import INode, IPlacement
from aosd.repair.pace import Pace
from aosd.repair.rates import Rates
from aosd.repair.walk import Found, Walk, Windows

_BATCH_KEYS = 200
# A sweep looks at keys, this at names alone.
_FASTER_BY = 10

Look = Callable[[str, Sequence[Found]], Awaitable[None]]
"""Shown a bucket and some of its keys, with who lists each, in the order of the walk."""


async def _pass_by(bucket: str, batch: Sequence[Found]) -> None:
    """Nobody else looks."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a node would get, and what would be removed from it; `seconds` for both."""

    copies_in: int = 0
    bytes_in: int = 0
    copies_out: int = 0
    bytes_out: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change would move, as nodes list it now.

    There are `keys` of `size_bytes` (each counted once), of which `copies` are to lie in the
    coming ring. For `moved_keys` some copy has to be made; `moved_bytes` are those of all
    such copies. `nodes` has every node with a part in it, by name; `seconds` is until the last
    copy that is in the wrong place is gone, if clients leave as much room as they did; it and
    the nodes' are `measured` when this run has copied anything, and else a guess.

    `copies_each` is how many there are to be of each key, and `copies_each_now` how many there are.
    `refusal` says why the change would be refused ("": it wouldn't). `unlisted` couldn't be
    listed: what they alone hold isn't in it. Nor is what MinIO hides beneath an object.
    `conflicts` are keys of which an adopted node's copy and another differ, or as many as are
    told of `conflicts_in_all`.
    """

    keys: int = 0
    size_bytes: int = 0
    copies: int = 0
    copies_each: int = 0
    copies_each_now: int = 0
    moved_keys: int = 0
    moved_bytes: int = 0
    nodes: Mapping[str, Share] = field(default_factory=dict)
    seconds: float = 0.0
    measured: bool = False
    refusal: str = ""
    unlisted: tuple[str, ...] = ()
    conflicts: Sequence[Mapping[str, Any]] = ()
    conflicts_in_all: int = 0

    @property
    def moved_copies(self) -> int:
        """How many copies have to be made."""
        return sum(share.copies_in for share in self.nodes.values())

    @property
    def moved_share(self) -> float:
        """The part of all copies that has to be made, 0 to 1."""
        return self.moved_copies / self.copies if self.copies else 0.0

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "keys": self.keys,
            "bytes": self.size_bytes,
            "copies": self.copies,
            "copies_each": self.copies_each,
            "copies_each_now": self.copies_each_now,
            "moved_keys": self.moved_keys,
            "moved_copies": self.moved_copies,
            "moved_bytes": self.moved_bytes,
            "moved_share": round(self.moved_share, 4),
            "seconds": round(self.seconds, 1),
            "seconds_are": "measured" if self.measured else "assumed",
            "nodes": {
                name: {
                    "copies_in": share.copies_in,
                    "bytes_in": share.bytes_in,
                    "copies_out": share.copies_out,
                    "bytes_out": share.bytes_out,
                    "seconds": round(share.seconds, 1),
                }
                for name, share in sorted(self.nodes.items())
            },
            "refusal": self.refusal,
            "unlisted": list(self.unlisted),
            "conflicts": list(self.conflicts),
            "conflicts_in_all": self.conflicts_in_all,
        }


class Forecaster:
    """Makes forecasts, one at a time.

    `buckets` gives the names of those that there are. It goes through listings as a sweep does,
    ten times as fast as `keys_per_s`, which is for sweeps. `found` is told of how many keys
    there turned out to be.
    """

    def __init__(
        self,
        *,
        placement: IPlacement,
        buckets: Callable[[], Sequence[str]],
        replicas: int,
        clock: IReactorTime,
        rates: Rates,
        keys_per_s: float,
        found: Callable[[int], object] = lambda keys: None,
    ) -> None:
        self._placement = placement
        self._buckets = buckets
        self._replicas = replicas
        self._clock = clock
        self._rates = rates
        self._keys_per_s = keys_per_s * _FASTER_BY
        self._found = found
        self._turn = DeferredLock()

    async def forecast(
        self,
        present: Ring,
        coming: Ring,
        *,
        adopted: INode | None = None,
        beside: Sequence[INode] = (),
        look: Look = _pass_by,
    ) -> Forecast:
        """What it takes to get from how things lie to the `coming` ring.

        With what the `present` one lacks, which gets it as well while the ring changes. Both
        may be one: then it is what lies wrong now. `adopted` is a node to be joined
        with all that it holds; where others have the key, too, their copy counts. `look` is
        shown every key on the way, and waited for. What is on the nodes `beside` counts for
        nothing, and is shown where `adopted` has that key.

        A node that can't be listed is thought to have what is its own in the `present` ring.
        Others wait while one is made. Cancelling ends it, within a request to each node.
        """
        await self._turn.acquire()
        try:
            made = await self._make(present, coming, adopted, beside, look)
        finally:
            self._turn.release()
        self._found(made.keys)
        return made

    async def _make(
        self,
        present: Ring,
        coming: Ring,
        adopted: INode | None,
        beside: Sequence[INode],
        look: Look,
    ) -> Forecast:
        members = self._placement.members()
        nodes = {each.name: each.node for each in members if each.node is not None}
        buckets = set(self._buckets())
        below = adopted.name if adopted is not None else ""
        if adopted is not None:
            nodes[adopted.name] = adopted
            buckets.update(await adopted.list_buckets())
        shown = frozenset(each.name for each in beside)
        nodes.update({each.name: each for each in beside})

        def beheld(found: Found) -> Found:
            # What they have in common with others alone isn't asked here.
            return found if below in found.entries else _without(found, shown)

        buckets.discard(SYSTEM_BUCKET)
        # Who is to join, and isn't adopted, holds nothing yet.
        lost = ({each.name for each in members} | present.members.keys()) - nodes.keys()
        count = _Count(present, coming, self._replicas, below, lost)
        pace = Pace(self._clock, self._keys_per_s)
        # Nobody writes to these: what is written meanwhile is no reason to look again.
        windows = Windows(Writes())
        for bucket in sorted(buckets):
            there = {name: node for name, node in nodes.items() if name not in lost}
            walk = Walk(there, bucket, "", windows, self._clock, lost.add)
            async for batch in walk.batches(_BATCH_KEYS):
                if shown:
                    batch = [each for each in map(beheld, batch) if each.entries]
                for found in batch:
                    count.add(bucket, _without(found, shown) if shown else found)
                await look(bucket, batch)
                await pace.spend(len(batch))
        made = self._estimated(count, sweeps=1 if present.name == coming.name else 2)
        return replace(
            made,
            copies_each=needed(self._replicas, len(coming.members)),
            copies_each_now=needed(self._replicas, len(present.members)),
        )

    def _estimated(self, count: _Count, sweeps: int) -> Forecast:
        rates = self._rates
        nodes = {}
        for name, had in count.nodes.items():
            seconds = rates.copies_s(name, had.copies_in, had.bytes_in)
            seconds += rates.removals_s(had.copies_out)
            nodes[name] = Share(had.copies_in, had.bytes_in, had.copies_out, had.bytes_out, seconds)
        return Forecast(
            keys=count.keys,
            size_bytes=count.size_bytes,
            copies=count.copies,
            moved_keys=count.moved_keys,
            moved_bytes=sum(share.bytes_in for share in nodes.values()),
            nodes=nodes,
            # Copies come first, removals by another sweep, and both go through all keys.
            seconds=sweeps * count.keys * rates.key_s()
            + sum(share.seconds for share in nodes.values()),
            measured=rates.measured,
            unlisted=tuple(sorted(count.lost)),
        )


def _without(found: Found, names: frozenset[str]) -> Found:
    entries = {name: entry for name, entry in found.entries.items() if name not in names}
    return replace(found, entries=entries)


@dataclass(slots=True)
class _Sum:
    copies_in: int = 0
    bytes_in: int = 0
    copies_out: int = 0
    bytes_out: int = 0

    def gets(self, entry: Entry) -> None:
        self.copies_in += 1
        self.bytes_in += entry.size_bytes

    def loses(self, entry: Entry) -> None:
        self.copies_out += 1
        self.bytes_out += entry.size_bytes


class _Count:
    """Adds up what is found; copies on `below` count for less than others'."""

    def __init__(
        self, present: Ring, coming: Ring, replicas: int, below: str, lost: set[str]
    ) -> None:
        self.keys = self.size_bytes = self.copies = self.moved_keys = 0
        self.lost = lost
        self.nodes: dict[str, _Sum] = {
            name: _Sum() for name in sorted(present.members.keys() | coming.members.keys())
        }
        self._present = present
        self._coming = coming
        self._replicas = replicas
        self._below = below

    def add(self, bucket: str, found: Found) -> None:
        """A key."""
        entries = found.entries
        counts = self._that_counts(entries)
        wanted = self._coming.primaries(bucket, found.key, self._replicas)
        here = self._present.primaries(bucket, found.key, self._replicas)
        self.keys += 1
        self.size_bytes += counts.size_bytes
        self.copies += len(wanted)
        moves = False
        for name in wanted:
            entry = entries.get(name)
            if entry is None:
                has = name in self.lost and name in here
            else:
                has = entry.etag == counts.etag and entry.size_bytes == counts.size_bytes
            if not has:
                moves = True
                self._of(name).gets(counts)
        for name, entry in entries.items():
            if name not in wanted:
                self._of(name).loses(entry)
        comes = entries.get(self._below) is counts
        for name in () if comes else here:
            if name not in wanted and name not in entries and name not in self.lost:
                # As long as that ring counts it lacks nothing either.
                moves = True
                self._of(name).gets(counts)
                self._of(name).loses(counts)
        self.moved_keys += moves

    def _of(self, name: str) -> _Sum:
        found = self.nodes.get(name)
        if found is None:
            found = self.nodes[name] = _Sum()
        return found

    def _that_counts(self, entries: Mapping[str, Entry]) -> Entry:
        """The likeliest: without their stamps, which cost nodes more, the latest."""
        if len(entries) == 1:
            return next(iter(entries.values()))
        return max(entries.items(), key=lambda each: (each[0] != self._below, each[1].modified_s))[
            1
        ]
