"""Folders: which names have keys beneath them, as far as that is known in this process.

Where an object `a` hides `a/b` from listings (MinIO), no key may be an object and a folder at
once: gateway/nesting.py sees to it. What it would have to ask the nodes for at every write is
remembered here.
"""

from __future__ import annotations

import mmap
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b

FILTER_BYTES = 16 * 1024 * 1024
"""13 bits for each of 10 million folders: of other names, some 2 in 1,000 look like one."""

_HASHES = 7
_REMEMBERED = 100_000
_LATELY_FOLDERS = 20_000
_LATELY_KEYS = 4

_Name = tuple[str, str]


def above(key: str) -> list[str]:
    """The folders that a key lies in, the outermost first.

    `a` and `a/b` for `a/b/c`; for `a/b/`, which says that there is a folder `a/b`, as well.
    """
    segments = key.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments))]


class Filter:
    """A Bloom filter of names: it may take a name for one that was added, never the reverse.

    Bounded by `size_bytes`, a power of two, which the system gives it as it fills.
    """

    def __init__(self, size_bytes: int = FILTER_BYTES) -> None:
        self._bits = mmap.mmap(-1, size_bytes)
        self._mask = 8 * size_bytes - 1

    def add(self, name: bytes) -> None:
        """Remember it."""
        bits = self._bits
        for place in self._places(name):
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, name: bytes) -> bool:
        bits = self._bits
        return all(bits[place >> 3] & (1 << (place & 7)) for place in self._places(name))

    def _places(self, name: bytes) -> Iterable[int]:
        # Two hashes make all others (Kirsch and Mitzenmacher, 2006).
        digest = blake2b(name, digest_size=16).digest()
        first = int.from_bytes(digest[:8], "little")
        step = int.from_bytes(digest[8:], "little") | 1
        return ((first + number * step) & self._mask for number in range(_HASHES))


class Recent:
    """Names that were found to be something, of late; the oldest are forgotten first."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._names: OrderedDict[_Name, None] = OrderedDict()

    def __contains__(self, name: _Name) -> bool:
        if name not in self._names:
            return False
        self._names.move_to_end(name)
        return True

    def add(self, name: _Name) -> None:
        """It was."""
        self._names[name] = None
        if len(self._names) > self._most:
            self._names.popitem(last=False)

    def discard(self, name: _Name) -> None:
        """It may not be so any more."""
        self._names.pop(name, None)

    def clear(self) -> None:
        """None may be so any more."""
        self._names.clear()


class Folders:
    """What is known of folders, and which keys are being written.

    `free` are names that are no objects, `leaves` keys with nothing beneath; both hold until
    a write that makes them something else is claimed, or a node returns: what is dead may lie
    on it yet, and hides what comes beneath. To be added to under a claim alone.
    """

    def __init__(self, filter_bytes: int = FILTER_BYTES) -> None:
        self.free = Recent()
        self.leaves = Recent()
        self._filter_bytes = filter_bytes
        self._filter: Filter | None = None
        self._complete = False
        self._returned = 0
        self._last: _Name | None = None
        self._lately: OrderedDict[_Name, tuple[str, ...]] = OrderedDict()
        self._objects: Counter[_Name] = Counter()
        self._beneath: Counter[_Name] = Counter()
        self._lingering: list[Claim] = []

    # -- the filter -------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether every folder there is was added."""
        return self._complete

    def completed(self) -> None:
        """All keys of all nodes were seen, or there are none."""
        self._complete = True

    def seen(self, bucket: str, key: str) -> None:
        """There is such a key, or may be: what it lies in are folders."""
        folder, slash, _ = key.rpartition("/")
        if not slash or self._last == (bucket, folder):
            return  # keys come in order, and most lie beside the last one
        self._last = bucket, folder
        if self._filter is None:
            self._filter = Filter(self._filter_bytes)
        for name in above(key):
            self._filter.add(_named(bucket, name))

    def may_be(self, bucket: str, name: str) -> bool:
        """Whether something may lie beneath the name; False is certain."""
        if not self._complete:
            return True
        return self._filter is not None and _named(bucket, name) in self._filter

    def returned(self, number: int) -> None:
        """The last return of a node is the one of this number."""
        if number != self._returned:
            self._returned = number
            self.free.clear()
            self.leaves.clear()

    # -- claims -----------------------------------------------------------------------------------

    def claim(
        self, bucket: str, key: str, folders: Iterable[str], lingers: Callable[[], bool]
    ) -> Claim | None:
        """Write the key, which makes these names folders; None when another write forbids it.

        The claim is to be ended by its owner. It stands afterwards as long as it `lingers`,
        which is asked when somebody else's is in question.
        """
        self._let_go()
        names = [(bucket, folder) for folder in folders]
        itself = bucket, key
        if itself in self._beneath or not self._objects.keys().isdisjoint(names):
            return None
        claim = Claim(self, itself, names, lingers)
        self._objects[itself] += 1
        for name in names:
            self._beneath[name] += 1
        self.free.discard(itself)
        for name in names:
            self.leaves.discard(name)
            self._remember(name, key)
        self.seen(bucket, key)
        return claim

    def lately_beneath(self, bucket: str, name: str) -> tuple[str, ...]:
        """The last keys beneath the name that were to be written: not all listings show them yet.

        Some, where there are many; none, where so much was written elsewhere since.
        """
        return self._lately.get((bucket, name), ())

    def _remember(self, folder: _Name, key: str) -> None:
        keys = self._lately.get(folder, ())
        if not keys or keys[-1] != key:
            others = tuple(each for each in keys if each != key)
            self._lately[folder] = (*others[1 - _LATELY_KEYS :], key)
        self._lately.move_to_end(folder)
        if len(self._lately) > _LATELY_FOLDERS:
            self._lately.popitem(last=False)

    def ended(self, claim: Claim) -> None:
        """What was sent is over; see Claim.end."""
        if claim.lingers():
            self._lingering.append(claim)
        else:
            self._release(claim)

    def _let_go(self) -> None:
        if not self._lingering:
            return
        left, self._lingering = self._lingering, []
        for claim in left:
            if claim.lingers():
                self._lingering.append(claim)
                continue
            self._release(claim)

    def _release(self, claim: Claim) -> None:
        _less(self._objects, claim.itself)
        for name in claim.folders:
            _less(self._beneath, name)


class Claim:
    """A write under way: its key is an object meanwhile, and what it lies in are folders."""

    def __init__(
        self,
        owner: Folders,
        itself: _Name,
        folders: list[_Name],
        lingers: Callable[[], bool],
    ) -> None:
        self.itself = itself
        self.folders = folders
        self.lingers = lingers
        self._owner = owner

    def end(self) -> None:
        """Its turn is over; what it came to is on the nodes, or on record."""
        self._owner.ended(self)


def _named(bucket: str, name: str) -> bytes:
    return f"{bucket}/{name}".encode("utf-8", "surrogatepass")


def _less(counter: Counter[_Name], name: _Name) -> None:
    """None that are counted as 0 stay in it."""
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
