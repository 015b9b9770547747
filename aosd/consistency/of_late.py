"""What happened to keys within the last minute: nodes' pages may be of a while ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_OF_LATE_S = 60.0


class OfLate:
    """Remembers keys for a minute, by `seconds`; bounded by what a minute brings.

    `count` is how often it happened, in all.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.count = 0
        self._seconds = seconds
        # When it was, and as the how manieth, the longest ago first.
        # A dict would look through all places of what was removed for the first that wasn't.
        self._last: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def add(self, bucket: str, key: str) -> None:
        """It happened now."""
        self._forget()
        self.count += 1
        name = (bucket, key)
        self._last[name] = self._seconds(), self.count
        self._last.move_to_end(name)

    def discard(self, bucket: str, key: str) -> None:
        """It doesn't matter any more."""
        self._last.pop((bucket, key), None)

    def of(self, bucket: str) -> set[str]:
        """The bucket's keys."""
        self._forget()
        return {key for of, key in self._last if of == bucket}

    def happened(self, bucket: str, key: str, since: int) -> bool:
        """Whether it did to this key since it had happened `since` times in all (see `count`)."""
        return self.count > since and self._last.get((bucket, key), (0.0, 0))[1] > since

    def since(self, bucket: str, count: int) -> set[str]:
        """The bucket's keys to which it did since it had happened `count` times in all."""
        keys: set[str] = set()
        for (of, key), (_, number) in reversed(self._last.items()):
            if number <= count:
                break
            if of == bucket:
                keys.add(key)
        return keys

    def _forget(self) -> None:
        limit_s = self._seconds() - _OF_LATE_S
        while self._last:
            name = next(iter(self._last))
            if self._last[name][0] >= limit_s:
                return
            del self._last[name]
