"""Listing: a page of what all nodes hold, in S3's order, each key and common prefix once."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from aosd.gateway.look import look
from aosd.gateway.merge import Merged, Name, group_of
from aosd.gateway.rests import Changed, Place, Rest, standing
from aosd.gateway.store import Store, cluster_errors, gather
from aosd.model.listing import begins_no_key, nearest_before, utf8
from aosd.model.objects import Entry
from aosd.ports import Candidate

_PAGE_KEYS = 1000
_AT_ONCE = 16
_MOST_DELETES = 256


@dataclass(frozen=True, slots=True)
class Listing:
    """A page: keys and common prefixes, each in S3's order.

    `more` says whether any come after `last`, the greatest name of the page, from where the
    next one goes on; "" when there are none.
    """

    entries: tuple[Entry, ...]
    prefixes: tuple[str, ...]
    more: bool
    last: str


async def list_objects(
    store: Store,
    bucket: str,
    *,
    prefix: str = "",
    after: str = "",
    limit: int = _PAGE_KEYS,
    delimiter: str = "",
    wanted: Callable[[str], bool] | None = None,
) -> Listing:
    """Up to `limit` (0 to 1,000) names of keys that begin with `prefix`, after `after`.

    With a `delimiter`, of any length, keys that have it behind the prefix are told as one
    common prefix, which ends with it; that there is one means that a living key begins with
    it. `after` is exclusive; when it is such a common prefix, all beneath it is passed, but
    one that only begins with it leaves it to be told if there are later keys in it.

    `wanted` is asked of each key and common prefix; what it doesn't want isn't counted.
    Raises NoSuchBucket, NoNodes, or NoQuorum while so many nodes are away that a key might be
    missed.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """
    store.buckets.check_read(bucket)
    with cluster_errors():
        members = store.members()
        if limit == 0 or (utf8(after) > utf8(prefix) and not after.startswith(prefix)):
            return Listing((), (), False, "")
        if begins_no_key(prefix):
            return Listing((), (), False, "")
        place = (bucket, prefix, after)
        if after != group_of(after, prefix, delimiter):
            after = nearest_before(after)
        if not after.startswith(prefix):
            after = ""
        # Only for keys without anything about them are rests kept.
        flat = wanted is None and not delimiter
        reading = _Reading(store, members, bucket, wanted, place if flat else None)
        try:
            found, more = await reading.page(prefix, after, limit, delimiter)
            if more:
                reading.keep((bucket, prefix, found[-1].text))
        finally:
            reading.end()
    return Listing(
        tuple(each.entry for each in found if each.entry is not None),
        tuple(each.text for each in found if each.entry is None),
        more,
        found[-1].text if more else "",
    )


class _Reading:
    """One page being made. What was known at its beginning counts to its end.

    Each node is gone through by itself. A copy may have come to one after it was asked, and
    gone from another before that was: so keys that move meanwhile are looked for by name. And
    so is what was written since nodes were asked, when that was for the page before: this one
    goes on where that one ended, at `place` (None: no page goes on from another).
    """

    def __init__(
        self,
        store: Store,
        members: Sequence[Candidate],
        bucket: str,
        wanted: Callable[[str], bool] | None,
        place: Place | None,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._wanted = wanted
        self._members = members
        self._doubts = store.doubts(members)
        self._moves = store.writes.watch_moves(bucket)
        # From before anything is listed: what becomes settled meanwhile wasn't so then.
        self._since = store.settling
        self._failed: MutableMapping[str, Exception] = {}
        self._seen: Sequence[Name] = ()
        self._changed: Changed | None = None
        # What was written before this page was asked for, but after nodes were: it is looked for.
        self._overtaken: frozenset[str] = frozenset()
        self._names: Merged | None = None
        self._taken: Rest | None = None
        if place is None:
            return
        self._began_s = store.clock.seconds()
        self._standing = standing(store, members, bucket)
        rest = store.rests.take(store, place, self._standing)
        if rest is None:
            self._changed = Changed(store.writes, bucket, *place[1:])
            return
        self._taken = rest
        self._began_s, self._changed = rest.began_s, rest.changed
        self._names, self._failed = rest.names, rest.names.failed
        self._overtaken = frozenset(key for key in rest.changed.keys if key > place[2])
        self._seen = [each for each in rest.seen if each.text not in self._overtaken]

    async def page(
        self, prefix: str, after: str, limit: int, delimiter: str
    ) -> tuple[list[Name], bool]:
        """Up to `limit` names, and whether there are more."""
        found, more = await self._listed(prefix, after, limit, delimiter)
        if missed := await self._missed(found, more, prefix, after, delimiter):
            found = sorted([*found, *missed], key=lambda each: utf8(each.text))
        self._seen = [*found[limit:], *self._seen]
        return found[:limit], more or len(found) > limit

    def keep(self, place: Place) -> None:
        """Keep what is left for a page that goes on at `place`, if that can be."""
        if self._changed is None or self._names is None or self._failed:
            return
        reads_on = self._taken is not None
        rest = Rest(self._names, self._seen, self._changed, self._standing, self._began_s, reads_on)
        self._changed = self._names = None
        self._give_back()
        self._store.rests.keep(place, rest)

    def end(self) -> None:
        """Watch no more, and ask nothing more."""
        self._give_back()
        self._moves.end()
        if self._names is not None:
            self._names.end()
        if self._changed is not None:
            self._changed.end()

    def _give_back(self) -> None:
        if self._taken is not None:
            self._store.rests.give_back(self._taken)
            self._taken = None

    async def _listed(
        self, prefix: str, after: str, limit: int, delimiter: str
    ) -> tuple[list[Name], bool]:
        """What the nodes' pages amount to."""
        found, self._seen = list(self._seen), ()
        group = group_of(after, prefix, delimiter)
        if group and after != group:
            found = await self._living([Name(group, None, certain=False)], after)
            after = group
        names = self._names = self._names or self._merged(prefix, after, delimiter, limit)
        while len(found) <= limit and (some := await names.take(limit + 1 - len(found))):
            found += await self._living(some)
            # What the node has more may be what was deleted since it said so.
            is_plain = self._wanted is None and not delimiter and not self._overtaken
            if (
                len(found) == limit
                and is_plain
                and names.says_more
                and not self._hides_dead(prefix, some[-1].text)
            ):
                return found, True
        self._seen = found[limit:]
        return found[:limit], len(found) > limit

    async def _missed(
        self, found: Sequence[Name], more: bool, prefix: str, after: str, delimiter: str
    ) -> list[Name]:
        """Names that belong among those found, of keys which moved, or were overtaken."""
        there = {each.text for each in found}
        passed = after if after == group_of(after, prefix, delimiter) else ""
        last = found[-1].text if more else None
        wanted: dict[str, list[str]] = {}
        # There may be a hundred thousand. As text they sort as they do in UTF-8.
        for key in self._moves.keys | self._overtaken:
            if key <= after or key in there or not key.startswith(prefix):
                continue
            if passed and key.startswith(passed):
                continue
            name = group_of(key, prefix, delimiter) or key
            if name in there or (last is not None and name > last):
                continue
            if self._wanted is None or self._wanted(name):
                wanted.setdefault(name, []).append(key)
        missed: list[Name] = []
        names = list(wanted)
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            looking = [Deferred.fromCoroutine(self._first_of(wanted[each])) for each in some]
            for name, entry in zip(some, await gather(looking), strict=True):
                if entry is not None:
                    is_group = group_of(name, prefix, delimiter) != ""
                    missed.append(Name(name, None if is_group else entry))
        return missed

    async def _first_of(self, keys: Sequence[str]) -> Entry | None:
        """The entry of the first of these that there is."""
        for key in keys:
            head = (await look(self._store, self._bucket, key)).head
            if head is not None:
                return Entry(key, head.etag, head.size_bytes, head.modified_s)
        return None

    def _merged(self, prefix: str, after: str, delimiter: str, limit: int) -> Merged:
        return Merged(
            self._store,
            self._members,
            self._doubts,
            self._failed,
            self._bucket,
            prefix,
            after,
            delimiter,
            limit,
        )

    async def _living(self, names: Sequence[Name], after: str = "") -> list[Name]:
        """Those of these that are wanted, and not dead; of prefixes what comes `after` counts."""
        wanted = [each for each in names if self._is_wanted(each.text)]
        deleted = self._deleted_among(wanted)
        doubtful = [
            each
            for each in wanted
            if (each.entry is None or deleted is None or each.text in deleted)
            and self._is_doubtful(each)
        ]
        dead: set[str] = set()
        for first in range(0, len(doubtful), _AT_ONCE):
            some = doubtful[first : first + _AT_ONCE]
            looking = [Deferred.fromCoroutine(self._lives(each, after)) for each in some]
            for each, lives in zip(some, await gather(looking), strict=True):
                if not lives:
                    dead.add(each.text)
        return [each for each in wanted if each.text not in dead]

    def _deleted_among(self, names: Sequence[Name]) -> frozenset[str] | None:
        """The keys among these, which are in order, that have a delete on record; None: any."""
        if not names or self._store.buckets.died(self._bucket):
            return None
        first, last = names[0].text, names[-1].text
        # One question instead of a thousand.
        keys = self._store.ledger.deleted_between(self._bucket, first, last, _MOST_DELETES)
        return None if len(keys) == _MOST_DELETES else frozenset(keys)

    def _is_wanted(self, text: str) -> bool:
        if text in self._overtaken:
            return False  # as it was; what it is now is looked for
        return self._wanted is None or self._wanted(text)

    def _is_doubtful(self, name: Name) -> bool:
        if name.entry is not None:
            return self._may_be_dead(name.text)
        return not name.certain or self._hides_dead(name.text)

    async def _lives(self, name: Name, after: str) -> bool:
        """Whether it is an object, or has one beneath it."""
        if name.entry is not None:
            return (await look(self._store, self._bucket, name.text)).head is not None
        beneath = self._merged(name.text, after, "", 1)
        while keys := await beneath.take(_AT_ONCE):
            doubtful = [each for each in keys if self._is_doubtful(each)]
            if len(doubtful) < len(keys):
                return True
            looking = [Deferred.fromCoroutine(self._lives(each, "")) for each in doubtful]
            lives = await gather(looking)
            if any(lives):
                return True
        return False

    def _may_be_dead(self, key: str) -> bool:
        """Whether it was deleted, and may lie on yet where it couldn't be removed."""
        store = self._store
        if store.journal.delete_of(self._bucket, key) is None:
            return False
        return store.settling != self._since or not store.is_settled(self._bucket, key)

    def _hides_dead(self, prefix: str, after: str = "") -> bool:
        """Whether there may be such a key beneath `prefix`, after `after`."""
        store, ledger = self._store, self._store.ledger
        names = [each.name for each in self._members]
        if store.buckets.died(self._bucket) and not store.settledness.is_covered(*names):
            return True  # any that lies on from a bucket of the same name
        keys = ledger.deleted_beneath(self._bucket, prefix, after, _MOST_DELETES)
        return len(keys) == _MOST_DELETES or any(map(self._may_be_dead, keys))
