"""What happened to keys within the last minute: nodes' pages may be of a while ago."""

from __future__ import annotations

from collections.abc import Callable

_OF_LATE_S = 60.0


class OfLate:
    """Remembers keys for a minute, by `seconds`; bounded by what a minute brings."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        # When it was, the longest ago first.
        self._last_s: dict[tuple[str, str], float] = {}

    def add(self, bucket: str, key: str) -> None:
        """It happened now."""
        self._forget()
        self._last_s.pop((bucket, key), None)
        self._last_s[bucket, key] = self._seconds()

    def discard(self, bucket: str, key: str) -> None:
        """It doesn't matter any more."""
        self._last_s.pop((bucket, key), None)

    def of(self, bucket: str) -> set[str]:
        """The bucket's keys."""
        self._forget()
        return {key for of, key in self._last_s if of == bucket}

    def _forget(self) -> None:
        limit_s = self._seconds() - _OF_LATE_S
        while self._last_s:
            name = next(iter(self._last_s))
            if self._last_s[name] >= limit_s:
                return
            del self._last_s[name]
