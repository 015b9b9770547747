"""Waiting for what has to happen, with a deadline: no test sleeps in the hope that it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What comes soon is seen soon; what takes long isn't kept from it by being looked at.
_LOOK_FIRST_S = 0.01
_LOOK_EVERY_S = 0.05
_LONGER = 1.3


def until(look: Callable[[], T], what: str, deadline_s: float = 30.0) -> T:
    """The first true value of `look()`; AssertionError when none comes in `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    pause_s = _LOOK_FIRST_S
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what} (last: {value!r})"
        time.sleep(pause_s)
        pause_s = min(_LOOK_EVERY_S, pause_s * _LONGER)
