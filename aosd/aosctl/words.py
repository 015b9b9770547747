"""Numbers as people read them. Pure."""

from __future__ import annotations

import re

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?Z?")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_ALL = 1e20
_BRIEF = (
    ("less than a second", "< 1 s"),
    ("day", "d"),
    ("hour", "h"),
    ("minute", "min"),
    ("second", "s"),
)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def seen(words: str) -> str:
    r"""What nobody sees in it as it is written in programs: `\n`, `\x1b`, `\u202e`.

    Keys may hold anything: a line is to stay one, and a terminal isn't to do what they say.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], words)


def size(size_bytes: float) -> str:
    """Bytes, in the unit that keeps them below 1024: `950 bytes`, `1.5 GiB`."""
    if size_bytes < _STEP:
        return many(int(size_bytes), "byte")
    rest, place = size_bytes / _STEP, 0
    # What would be rounded to 1024 is 1.0 of the next.
    while rest >= _STEP - 0.05 and place < len(_UNITS) - 1:
        rest, place = rest / _STEP, place + 1
    return f"{rest:.1f} {_UNITS[place]}"


def time(seconds: float | None) -> str:
    """A length of time in words, with two units at the most; "?" for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 1:
        return "no time" if seconds <= 0 else "less than a second"
    for unit, unit_s, small, small_s in (
        ("day", _DAY_S, "hour", _HOUR_S),
        ("hour", _HOUR_S, "minute", _MINUTE_S),
        ("minute", _MINUTE_S, "second", 1),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // small_s
            first = many(whole // unit_s, unit)
            # Seconds say nothing beside many minutes.
            if not rest or (small_s == 1 and whole >= 10 * _MINUTE_S):
                return first
            return f"{first} {many(rest, small)}"
    return many(whole, "second")


def brief(seconds: float | None) -> str:
    """The same where there is little room: `2 min 45 s`."""
    words = time(seconds)
    for long, short in _BRIEF:
        words = words.replace(f"{long}s", short).replace(long, short)
    return words


def moment(told: object) -> str:
    """A time as the daemon tells it, to the second: `2026-11-26 20:00:00 UTC`; "" for none."""
    found = _MOMENT.fullmatch(str(told))
    return f"{found[1]} {found[2]} UTC" if found else str(told or "")


def many(count: int, word: str) -> str:
    """`1 key`, `12,000 copies`."""
    if count == 1:
        return f"1 {word}"
    if word.endswith("y") and not word.endswith("ey"):
        return f"{count:,} {word[:-1]}ies"
    return f"{count:,} {word}s"


def number(value: float) -> str:
    """A weight, as short as it can be written; "all" for one past all bounds.

    A node that everything is gathered on has such a one.
    """
    return "all" if value >= _ALL else f"{value:g}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
