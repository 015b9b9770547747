"""How fast repair has been on these nodes: measured, smoothed, and what it lets us expect.

A sweep goes through its keys in batches, one after the other, so each one's time is known, and
what was done in it. Where nothing was done it is the time of so many keys; the rest of what a
batch takes longer is that of its copies, or of its removals. It is shared out to the nodes that
got the copies: the estimates of all nodes add up to the time that a sweep takes.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from twisted.internet.interfaces import IReactorTime

from aosd.repair.mend import Mended

_HALF_LIFE_S = 60.0
_SMALL_BYTES = 64 * 1024
# What is expected where nothing was measured: two cores did as much, nodes and all.
_COPY_S = 0.01
_REMOVAL_S = 0.005
# Fewer tell more of the questions that they are asked with, a page of each node's listing.
_ENOUGH_KEYS = 500


class _Smoothed:
    """So many of something in so many seconds; what is a minute of work ago counts half."""

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds = 0.0

    def add(self, count: float, seconds: float) -> None:
        rest = 0.5 ** (seconds / _HALF_LIFE_S)
        self._count = self._count * rest + count
        self._seconds = self._seconds * rest + seconds

    def each_s(self, least: int = 0) -> float | None:
        """Seconds for one; None while nothing took any time, and of fewer than `least`."""
        known = self._count and self._seconds and self._count >= least
        return self._seconds / self._count if known else None


class Rates:
    """Told of all that a sweep does; asked how long something will take.

    `keys_per_s` and `bytes_per_s` are the bounds that are set for sweeps, and for what is
    copied: nothing is expected to go faster.
    """

    def __init__(self, clock: IReactorTime, *, keys_per_s: float, bytes_per_s: float) -> None:
        self._clock = clock
        self._least_key_s = 1 / keys_per_s
        self._least_byte_s = 1 / bytes_per_s
        self._all = _Smoothed()
        self._quiet = _Smoothed()
        self._removals = _Smoothed()
        # "" stands for all nodes together.
        self._small: defaultdict[str, _Smoothed] = defaultdict(_Smoothed)
        self._large: defaultdict[str, _Smoothed] = defaultdict(_Smoothed)
        self._since_s = clock.seconds()
        self._copied: Counter[str] = Counter()
        self._size_bytes: Counter[str] = Counter()
        self._removed = 0

    # -- what a sweep tells -----------------------------------------------------------------------

    def began(self) -> None:
        """One begins."""
        self._all = _Smoothed()
        self._next_batch()

    def mended(self, mended: Mended) -> None:
        """What was done for a key of the present batch."""
        for target in mended.copied:
            self._copied[target] += 1
            self._size_bytes[target] += mended.size_bytes // len(mended.copied)
        self._removed += len(mended.removed)

    def keys(self, count: int) -> None:
        """So many keys were looked at: the batch is over."""
        took_s = self._clock.seconds() - self._since_s
        self._all.add(count, took_s)
        copies, size_bytes = self._copied.total(), self._size_bytes.total()
        if not copies and not self._removed:
            self._quiet.add(count, took_s)
        else:
            took_s = max(took_s - count * self._quiet_s(), 0.0)
        if not copies:
            if self._removed:
                self._removals.add(self._removed, took_s)
        elif size_bytes <= copies * _SMALL_BYTES:
            rest_s = max(took_s - self._removed * self._removal_s(), 0.0)
            self._share(self._small, self._copied, rest_s)
        else:
            known_s = copies * self._copy_s("") + self._removed * self._removal_s()
            self._share(self._large, self._size_bytes, max(took_s - known_s, 0.0))
        self._next_batch()

    def _next_batch(self) -> None:
        self._since_s = self._clock.seconds()
        self._copied.clear()
        self._size_bytes.clear()
        self._removed = 0

    @staticmethod
    def _share(rates: defaultdict[str, _Smoothed], counts: Counter[str], seconds: float) -> None:
        total = counts.total()
        rates[""].add(total, seconds)
        for name, count in counts.items():
            rates[name].add(count, seconds * count / total)

    # -- what is known ----------------------------------------------------------------------------

    @property
    def measured(self) -> bool:
        """Whether copies were timed, in this run, rather than their time guessed."""
        return _known(self._small, "") is not None or _known(self._large, "") is not None

    def keys_per_s(self) -> float | None:
        """How fast the present sweep, or the last one, goes through its keys; None: unknown."""
        each_s = self._all.each_s()
        # A batch is told of before it is waited for, so its own wait isn't measured yet.
        return None if each_s is None else 1 / max(each_s, self._least_key_s)

    def key_s(self) -> float:
        """Seconds for a key that lies right."""
        return max(self._quiet_s(), self._least_key_s)

    def copies_s(self, name: str, copies: int, size_bytes: int) -> float:
        """Seconds for so many copies to the node `name`, of so many bytes together."""
        byte_s = _known(self._large, name) or 0.0
        return max(
            copies * self._copy_s(name) + size_bytes * byte_s, size_bytes * self._least_byte_s
        )

    def removals_s(self, count: int) -> float:
        """Seconds for so many copies to be removed."""
        return count * self._removal_s()

    def _quiet_s(self) -> float:
        return self._quiet.each_s(_ENOUGH_KEYS) or 0.0

    def _copy_s(self, name: str) -> float:
        return _known(self._small, name) or _COPY_S

    def _removal_s(self) -> float:
        return self._removals.each_s() or _REMOVAL_S


def _known(rates: defaultdict[str, _Smoothed], name: str) -> float | None:
    """What is known of the node, or else of all nodes together."""
    found = rates[name].each_s() if name in rates else None
    return found if found is not None or "" not in rates else rates[""].each_s()
