"""Stamps and times, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from aosd.model.stamp import is_stamp

_LATEST_S = 253_402_300_799  # the year 9999 ends


def moment(seconds: float) -> str | None:
    """Seconds since 1970 in UTC, to the millisecond: `2026-11-26T20:46:01.250Z`."""
    if not 0 <= seconds <= _LATEST_S:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def moment_of(stamp: str | None) -> str | None:
    """When a stamp is of; one that a foreign object counts as has its Last-Modified.

    None for what is no stamp.
    """
    if not stamp:
        return None
    if is_stamp(stamp):
        return moment(int(stamp[:12], 16) / 1000)
    try:
        return moment(int(stamp[1:12], 16)) if stamp.startswith("-") else None
    except ValueError:
        return None


def span(seconds: float) -> str:
    """A length of time in its two greatest units: `2 d 3 h`, `5 min 0 s`, `12 s`."""
    left = int(max(seconds, 0))
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for place, (size, unit) in enumerate(units):
        if left >= size and unit != "s":
            below, name = units[place + 1]
            return f"{left // size} {unit} {left % size // below} {name}"
    return f"{left} s"
