"""All nodes' names side by side, as a listing has them: in S3's order, each once."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from itertools import chain, islice
from math import sqrt
from operator import itemgetter
from typing import NamedTuple

from twisted.internet.defer import Deferred

from aosd.consistency.buckets import has_none
from aosd.consistency.listed import PAGE_KEYS, Keys, Level
from aosd.gateway.ahead import Ahead
from aosd.gateway.store import Doubts, Store, ask
from aosd.model.errors import NodeError
from aosd.model.listing import counting
from aosd.model.objects import Entry
from aosd.ports import Candidate, INode

_FIRST_OF_GROUPS = 100
# What a node has begun to go through it goes through to the end, which may be far away.
_BETWEEN_VAIN_S = 60.0


class Name(NamedTuple):
    """A key with its entry, or a common prefix without; not `certain`: it may be of nothing."""

    text: str
    entry: Entry | None
    certain: bool = True


class Merged:
    """The names under `prefix` after `after`, on those `members` that haven't `failed`.

    `after` is a key that no common prefix stands for, or a common prefix, which is passed.
    `doubts` are those of before anything was asked. A node that fails is left out from there
    on, while the others are enough; it is added to `failed`. Who asked ahead has to `end` it.
    """

    def __init__(
        self,
        store: Store,
        members: Sequence[Candidate],
        doubts: Doubts,
        failed: MutableMapping[str, Exception],
        bucket: str,
        prefix: str,
        after: str,
        delimiter: str,
        limit: int,
    ) -> None:
        self._store = store
        self._members = members
        self._doubts = doubts
        self.failed = failed
        self._without: set[str] = set()  # who hasn't got the bucket
        self._prefix = prefix
        self._delimiter = delimiter
        self._passed = group_of(after, prefix, delimiter)
        self._ahead = Ahead(store.rests.going_on)
        page_keys = self._page_keys(limit)
        self._enough = 2 * page_keys

        def names_of(node: INode) -> Level | Keys:
            if delimiter == "/":
                return Level(node, bucket, prefix, after, page_keys, in_order=node.sorts)
            names = Keys(node, bucket, prefix, after, page_keys)
            if self._passed:
                names.pass_over(self._passed)
            return names

        self._names = {
            each.name: names_of(each.node)
            for each in members
            if each.node is not None and each.name not in failed
        }

    @property
    def says_more(self) -> bool:
        """Whether there are certainly more keys, though none is at hand."""
        return any(isinstance(each, Keys) and each.says_more for each in self._names.values())

    @property
    def at_hand(self) -> int:
        """How many names nodes have told that weren't taken, or may tell yet, asked ahead."""
        told = sum(len(each.ready) for each in self._names.values())
        return told + PAGE_KEYS * len(self._ahead)

    def ask_ahead(self, room: int) -> None:
        """Ask those nodes for more that have told less than two pages need, for `room` names."""
        store = self._store
        by_tokens = store.clock.seconds() - store.rests.in_vain_s >= _BETWEEN_VAIN_S
        for name, names in self._names.items():
            if isinstance(names, Keys) and by_tokens:
                names.by_tokens = True
            if names.ended or len(names.ready) >= self._enough or name in self._ahead:
                continue
            room -= PAGE_KEYS
            if room < 0:
                return
            self._ahead.begin(name, names.ask())

    def end(self) -> None:
        """Give up what was asked ahead. Nothing may be taken after that."""
        self._ahead.end()
        if any(isinstance(each, Keys) and each.scans for each in self._names.values()):
            self._store.rests.in_vain_s = self._store.clock.seconds()

    async def take(self, size: int) -> list[Name]:
        """The next names, `size` at most; none at the end. Raises NoQuorum and NodeError."""
        found: list[Name] = []
        while not found:
            await self._fill()
            if not self._delimiter:
                return self._next_keys(size)
            while len(found) < size and (holders := self._holders()) is not None:
                if not holders:
                    return found
                if (name := self._next(holders)) is not None:
                    found.append(name)
        return found

    async def _fill(self) -> None:
        """Have names of every node, as far as it has any."""
        waiting = [
            each
            for each in self._members
            if (names := self._names.get(each.name)) and not names.ready and not names.ended
        ]
        answers = await ask(waiting, lambda node: Deferred.fromCoroutine(self._ready(node.name)))
        for name, outcome in answers.items():
            if has_none(outcome):
                self._without.add(name)
                del self._names[name]
            elif isinstance(outcome, Exception):
                if not isinstance(outcome, NodeError):
                    raise outcome
                self.failed[name] = outcome
        for name in self.failed.keys() & self._names.keys():
            del self._names[name]
        if self.failed and not self._names and not self._without:
            raise next(iter(self.failed.values()))
        self._store.check_absence(self._members, self._names.keys() | self._without, self._doubts)

    async def _ready(self, name: str) -> None:
        names = self._names[name]
        if (asking := self._ahead.take(name)) is not None:
            await asking
        while not names.ready and not names.ended:
            await names.ask()

    def _holders(self) -> list[Level | Keys] | None:
        """Those whose next name is the least; none at the end, None when it isn't known yet."""
        least = b""
        holders: list[Level | Keys] = []
        for names in self._names.values():
            if names.ready:
                name = names.ready[0][0]
                if not holders or name < least:
                    least, holders = name, [names]
                elif name == least:
                    holders.append(names)
            elif not names.ended:
                return None
        return holders

    def _next(self, holders: Sequence[Level | Keys]) -> Name | None:
        """Take it; None when it was told before, as part of a common prefix."""
        entries: list[Entry] = []
        certain = False
        text = ""
        for each in holders:
            _, text, entry = each.ready.popleft()
            if entry is not None:
                entries.append(entry)
            certain |= entry is not None or (isinstance(each, Level) and each.in_order)
        if self._passed and text.startswith(self._passed):
            return None
        group = group_of(text, self._prefix, self._delimiter)
        if group:
            self._passed = group
            if group != text or entries:
                for names in self._names.values():
                    names.pass_over(group)
            return Name(group, None, certain)
        return Name(text, counting(entries))

    def _next_keys(self, size: int) -> list[Name]:
        """The same as `_next`, many at once: each of the nodes has some ready, or has ended."""
        ready = [each.ready for each in self._names.values()]
        # Beyond what one has told so far, it may have keys before the others'.
        ends = [each.ready[-1][0] for each in self._names.values() if not each.ended]
        end = min(ends, default=None)
        entries: dict[str, list[Entry]] = {}
        last = b""
        # Sorting goes from one run that is in order to the next.
        next_ones = chain.from_iterable(islice(names, size) for names in ready)
        for key, text, entry in sorted(next_ones, key=itemgetter(0)):
            if end is not None and key > end:
                break
            assert entry is not None
            if (there := entries.get(text)) is not None:
                there.append(entry)
            elif len(entries) < size:
                entries[text] = [entry]
                last = key
            else:
                break
        if entries:
            for names in ready:
                while names and names[0][0] <= last:
                    names.popleft()
        return [Name(text, counting(copies)) for text, copies in entries.items()]

    def _page_keys(self, limit: int) -> int:
        """How many keys to ask a node for at first, so that one page of each will do mostly."""
        wanted = limit + 1.0
        if self._delimiter != "/":
            if self._delimiter:
                # What is behind the first key of a group isn't needed.
                wanted = min(wanted, _FIRST_OF_GROUPS)
            share = wanted * min(self._store.replicas / max(len(self._members), 1), 1.0)
            wanted = min(wanted, share + 4 * sqrt(share) + 1)
        return min(int(wanted), PAGE_KEYS)


def group_of(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that stands for a key (it begins with `prefix`), "" if none does."""
    if not delimiter:
        return ""
    end = key.find(delimiter, len(prefix))
    return "" if end < 0 else key[: end + len(delimiter)]
