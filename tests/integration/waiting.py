"""Waiting for what has to happen, with a deadline: no test sleeps in the hope that it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY_S = 0.02


def until(look: Callable[[], T], what: str, deadline_s: float = 30.0) -> T:
    """The first true value of `look()`; AssertionError when none comes in `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what} (last: {value!r})"
        time.sleep(_LOOK_EVERY_S)
