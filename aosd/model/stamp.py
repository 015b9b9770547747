"""Stamps: which write is the newer one.

A hybrid logical clock (Kulkarni et al., «Logical Physical Clocks», 2014): the time of day
in milliseconds, a counter for what happens within one, and the gateway's id. As text of
fixed width a stamp sorts as it compares: `0193594b3a7c-0000-1f2e3d4c`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_STAMP = re.compile(r"[0-9a-f]{12}-[0-9a-f]{4}-[0-9a-f]{8}", re.ASCII)
_LAST_COUNT = 0xFFFF
_STOOD_STILL_MS = 1000
STAMP_LENGTH = 26
MOST_AHEAD_S = 15 * 60
"""A stamp further ahead of our own clock than this is not followed."""


def is_stamp(text: str) -> bool:
    """Whether `text` has a stamp's form: STAMP_LENGTH characters."""
    return _STAMP.fullmatch(text) is not None


def stamp_time_s(stamp: str) -> int:
    """The time of a stamp in whole seconds since 1970, rounded down: its Last-Modified."""
    return int(stamp[:12], 16) // 1000


class StampClock:
    """Gives the stamps of one gateway, each greater than all it gave or observed.

    `now` is the time of day in seconds since 1970; `gateway_id` 8 lower-case hex digits.
    """

    def __init__(self, now: Callable[[], float], gateway_id: str) -> None:
        self._now = now
        self._gateway_id = gateway_id
        self._millis = 0
        self._count = 0
        self._unfollowed = ""
        if not is_stamp(self.next()):
            raise ValueError(f"no gateway id: {gateway_id!r}")

    def next(self) -> str:
        """A new stamp."""
        millis = int(self._now() * 1000)
        if millis > self._millis:
            self._millis, self._count = millis, 0
        elif self._count < _LAST_COUNT:
            self._count += 1
        else:
            self._millis, self._count = self._millis + 1, 0
        return f"{self._millis:012x}-{self._count:04x}-{self._gateway_id}"

    def is_own(self, stamp: str) -> bool:
        """Whether it is of this gateway's run."""
        return stamp.endswith(f"-{self._gateway_id}")

    def observe(self, stamp: str) -> bool:
        """Go on from `stamp` when it is ahead; False when it is too far ahead to follow."""
        millis, count = int(stamp[:12], 16), int(stamp[13:17], 16)
        if millis > (self._now() + MOST_AHEAD_S) * 1000:
            self._unfollowed = max(self._unfollowed, stamp)
            return False
        self._millis, self._count = max((self._millis, self._count), (millis, count))
        return True

    @property
    def is_behind(self) -> bool:
        """Whether a stamp was too far ahead to be followed, and is so still.

        What is stamped meanwhile may be older than what it overwrites.
        """
        if self._unfollowed and self.observe(self._unfollowed):
            self._unfollowed = ""
        return bool(self._unfollowed)

    @property
    def reading(self) -> str:
        """The last stamp that was given or observed: whoever comes after goes on from it."""
        return f"{self._millis:012x}-{self._count:04x}-{self._gateway_id}"

    def leap(self, seconds: float) -> None:
        """Go on from so much ahead: a run before us may have stamped what nobody knows of.

        Where its clock was ahead of the time of day it had stood still, but for its count.
        """
        millis = int((self._now() + seconds) * 1000)
        self._millis, self._count = max(millis, self._millis + _STOOD_STILL_MS), 0
