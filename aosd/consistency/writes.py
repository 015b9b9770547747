"""Which keys are being written: who has to know that a key changed meanwhile asks here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from aosd.consistency.begun import Begun
from aosd.consistency.of_late import OfLate

_Name = tuple[str, str]


class Writes:
    """Told of every write whose effect on the nodes may have changed a key.

    A Flight belongs to a write whose stamp was given before its turn; it learns whether
    something newer took effect meanwhile. `begun` are those under way. A Watch remembers all
    keys touched while it lasts; who remembers otherwise is told of each.

    What was written of late is remembered, too, by `seconds`: nodes may answer with listings
    of a while ago. And so is what moved: who goes through the nodes one by one may have been at
    the one before a copy came, and at the other after it went.

    `in_flight` counts the objects that are being written now, by clients.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.in_flight = 0
        self.begun = Begun()
        self._flights: dict[_Name, set[Flight]] = {}
        self._told: dict[object, Callable[[_Name], object]] = {}
        self._told_moves: dict[object, Callable[[_Name], object]] = {}
        self._written = OfLate(seconds)
        self._moved = OfLate(seconds)

    @property
    def moves_in_all(self) -> int:
        """How many there were: for `has_moved` and `moved_since`."""
        return self._moved.count

    def under_way(self) -> AbstractContextManager[object]:
        """A write is, from before its body is read until all is told: as long as the block lasts.

        Its nodes may be chosen long before it has a Flight, or its turn.
        """
        return _UnderWay(self)

    def flight(self, bucket: str, key: str) -> Flight:
        """To be ended by its owner, once."""
        return Flight(self._flights, (bucket, key), self.begun)

    def watch(self) -> Watch:
        """To be ended by its owner, once."""
        return Watch(self)

    def watch_moves(self, bucket: str) -> Moves:
        """To be ended by its owner, once."""
        return Moves(self._told_moves, bucket, self._moved.of(bucket))

    def tell(self, told: Callable[[_Name], object]) -> Callable[[], object]:
        """Call `told` with each bucket and key; call what is returned to be told no more."""
        token = object()
        self._told[token] = told
        return lambda: self._told.pop(token, None)

    def effect(self, bucket: str, key: str, stamp: str, *, delete: bool = False) -> None:
        """A write took effect, or may have: to be told before its answer is known, too."""
        if delete:
            self._written.discard(bucket, key)
            self._moved.discard(bucket, key)
        else:
            self._written.add(bucket, key)
        for flight in self._flights.get((bucket, key), ()):
            flight.newest = max(flight.newest, stamp)
        for told in self._told.values():
            told((bucket, key))

    def moves(self, bucket: str, key: str) -> None:
        """A copy is about to be removed, of an object that lies elsewhere."""
        self._moved.add(bucket, key)
        for told in self._told_moves.values():
            told((bucket, key))

    def has_moved(self, bucket: str, key: str, since: int) -> bool:
        """Whether a copy may have been removed when there had been `since` moves in all, or later.

        So of who asked all nodes at once, as well: one may have answered before a copy came, and
        another after it went. For a minute.
        """
        return self._moved.happened(bucket, key, since)

    def moved_since(self, bucket: str, since: int) -> set[str]:
        """All keys of the bucket of which that is so."""
        return self._moved.since(bucket, since)

    def of_late(self, bucket: str) -> set[str]:
        """The keys that were written within the last minute, and not deleted since."""
        return self._written.of(bucket)


class _UnderWay(AbstractContextManager[object]):
    """See Writes.under_way."""

    __slots__ = ("_number", "_writes")

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._number = -1

    def __enter__(self) -> None:
        self._writes.in_flight += 1
        self._number = self._writes.begun.begin()

    def __exit__(self, *_: object) -> None:
        self._writes.begun.end(self._number)
        self._writes.in_flight -= 1


class Flight:
    """A write on its way; `newest` is the newest stamp that took effect since it began."""

    def __init__(self, flights: dict[_Name, set[Flight]], name: _Name, begun: Begun) -> None:
        self.newest = ""
        self._begun = begun
        self._number = begun.begin()
        self._flights = flights
        self._name = name
        flights.setdefault(name, set()).add(self)

    def end(self) -> None:
        """It took effect, or never will."""
        there = self._flights[self._name]
        there.discard(self)
        self._begun.end(self._number)
        if not there:
            del self._flights[self._name]


class Watch:
    """The keys that were touched since it began; bounded by what is written meanwhile."""

    def __init__(self, writes: Writes) -> None:
        self._touched: set[_Name] = set()
        self._end = writes.tell(self._touched.add)

    def touched(self, bucket: str, key: str) -> bool:
        """Whether a write of the key took effect, or may have, since the watch began."""
        return (bucket, key) in self._touched

    def end(self) -> None:
        """Stop watching."""
        self._end()


class Moves:
    """The keys of a bucket that moved since it began, or shortly before.

    Bounded by what is mended meanwhile.
    """

    def __init__(
        self, told: dict[object, Callable[[_Name], object]], bucket: str, keys: set[str]
    ) -> None:
        self.keys = keys
        self._bucket = bucket
        self._told = told
        told[self] = self._move

    def end(self) -> None:
        """Stop watching."""
        del self._told[self]

    def _move(self, name: _Name) -> None:
        bucket, key = name
        if bucket == self._bucket:
            self.keys.add(key)
