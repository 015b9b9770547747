"""What is left of a listing's page: a client that goes on needn't have all nodes asked anew.

A node that is asked for what comes after a key looks through its whole folder first, however
few it tells then. And while one client reads page after page, nodes would do nothing as long as
the gateway is at a page: so they are asked ahead for one who goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from aosd.consistency.writes import Writes
from aosd.ports import Candidate

if TYPE_CHECKING:  # a store has rests
    from aosd.gateway.merge import Merged, Name
    from aosd.gateway.store import Store

_MOST_RESTS = 8
_MOST_NAMES = 16_000
_MOST_CHANGED = 32
_KEPT_S = 20.0

Place = tuple[str, str, str]
"""Where a listing goes on: bucket, prefix, and the last key that was told."""


class Changed:
    """The keys of a bucket with a prefix that were written or deleted since it began.

    So for all whose effect is acknowledged after that: who writes tells of it before. Of those
    that matter to what comes after `after`, 32 at most; past that there are `too_many`.
    """

    def __init__(self, writes: Writes, bucket: str, prefix: str, after: str) -> None:
        self.keys: set[str] = set()
        self.after = after
        self.too_many = False
        self._bucket = bucket
        self._prefix = prefix
        self._end = writes.tell(self._told)

    def end(self) -> None:
        """Watch no more."""
        self._end()

    def _told(self, name: tuple[str, str]) -> None:
        bucket, key = name
        if self.too_many or bucket != self._bucket:
            return
        # What is beneath a key may come after what comes after the key, and may have been hidden.
        beneath = f"{key}/"
        is_passed = beneath <= self.after and not self.after.startswith(beneath)
        if is_passed or not (key.startswith(self._prefix) or self._prefix.startswith(beneath)):
            return
        self.keys.add(key)
        self.too_many = len(self.keys) > _MOST_CHANGED


@dataclass(frozen=True, slots=True)
class Rest:
    """`names` as nodes had them when they were asked, after those that were `seen`, not told.

    What has `changed` since the first was asked, at `began_s`, is to be looked for by name.
    `standing` is how things stood then.
    """

    names: Merged
    seen: Sequence[Name]
    changed: Changed
    standing: tuple[Any, ...]
    began_s: float
    reads_on: bool = False

    @property
    def size(self) -> int:
        """How many names it has, or may have."""
        return self.names.at_hand + len(self.seen)

    def end(self) -> None:
        """Do without it: ask and watch no more."""
        self.names.end()
        self.changed.end()


@dataclass
class Rests:
    """The rests of some pages, for a while, each for one who goes on right there.

    At most 8, of 16,000 names together, for 20 s since nodes were asked. One counts while nothing
    moved and nothing is known otherwise about nodes and the bucket than it was then; what was
    written meanwhile is told of by `Changed`, but for what a delete may have brought to light
    on a node that hides keys beneath an object.

    Who has taken one reads on: from then on nodes are asked ahead, as long as there is room for
    what they may tell. `going_on` is all that is being asked so; it ends with the rest it is for.
    At `in_vain_s` one was ended for which nodes had begun to go through all that follows.
    """

    going_on: set[Deferred[None]] = field(default_factory=set)
    in_vain_s: float = -inf
    _kept: OrderedDict[Place, Rest] = field(default_factory=OrderedDict)
    _taken: list[Rest] = field(default_factory=list)

    def keep(self, place: Place, rest: Rest) -> None:
        """Keep it; it is ended by us from here on. Ask ahead for one who `reads_on`.

        Of two who are at the same place, the one for whom nodes are being asked goes on.
        """
        rest.changed.after = place[2]
        before = self._kept.get(place)
        if before is not None and before.reads_on and not rest.reads_on:
            rest.end()
            return
        if (before := self._kept.pop(place, None)) is not None:
            before.end()
        self._kept[place] = rest
        while len(self._kept) > _MOST_RESTS or self._size() > _MOST_NAMES:
            self._kept.popitem(last=False)[1].end()
        if rest.reads_on and place in self._kept:
            rest.names.ask_ahead(self._room())

    def give_back(self, rest: Rest) -> None:
        """A page that took it is over; what is left of it was kept, or ended."""
        self._taken.remove(rest)

    def take(self, store: Store, place: Place, standing: tuple[Any, ...]) -> Rest | None:
        """What is left from there on, if it still counts; the taker ends it, and gives it back."""
        now_s = store.clock.seconds()
        for each, rest in list(self._kept.items()):
            if rest.changed.too_many or now_s - rest.began_s > _KEPT_S:
                del self._kept[each]
                rest.end()
        found = self._kept.pop(place, None)
        if found is None:
            return None
        if found.standing != standing or _uncovered(store, place[0], found.changed.keys):
            found.end()
            return None
        self._taken.append(found)
        found.names.ask_ahead(self._room())
        return found

    async def stop(self) -> None:
        """Keep none; return when nothing is asked ahead any more."""
        while self._kept:
            self._kept.popitem()[1].end()
        await DeferredList(list(self.going_on))

    def _room(self) -> int:
        """For how many more names nodes may be asked ahead."""
        # Pages that are being made will keep theirs again.
        return _MOST_NAMES - self._size() - sum(each.size for each in self._taken)

    def _size(self) -> int:
        return sum(each.size for each in self._kept.values())


def _uncovered(store: Store, bucket: str, keys: Iterable[str]) -> bool:
    """Whether there may be keys beneath one of these that no node listed before it was deleted."""
    return any(
        store.journal.delete_of(bucket, key) is not None and store.hiding(f"{key}/0")
        for key in keys
    )


def standing(store: Store, members: Sequence[Candidate], bucket: str) -> tuple[Any, ...]:
    """What has to be as it was: who is there and how far to be believed, and what has moved."""
    return (
        tuple(members),
        store.doubts(members),
        store.settling,
        store.writes.moves_in_all,
        store.buckets.get(bucket),
    )
