"""Byte ranges as HTTP has them (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aosd.model.errors import RangeNotSatisfiable
from aosd.model.objects import Span

_ONE_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_LONGEST = 19  # digits; beyond it no object reaches, and int() stays cheap


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range: `first` to `last` inclusive, or the last `suffix` bytes when first is None.

    `last` None means to the end.
    """

    first: int | None
    last: int | None = None
    suffix: int = 0

    @property
    def header(self) -> bytes:
        """The value of a Range header that asks for it."""
        if self.first is None:
            return b"bytes=-%d" % self.suffix
        last = b"" if self.last is None else b"%d" % self.last
        return b"bytes=%d-%b" % (self.first, last)

    def resolve(self, size_bytes: int) -> Span:
        """The bytes it means in an object of `size_bytes`; RangeNotSatisfiable when none."""
        if self.first is None:
            length = min(self.suffix, size_bytes)
            first = size_bytes - length
        else:
            first = self.first
            last = size_bytes - 1 if self.last is None else min(self.last, size_bytes - 1)
            length = last - first + 1
        if length <= 0:
            raise RangeNotSatisfiable(size_bytes)
        return Span(first, length)


def parse_range(value: str | None) -> ByteRange | None:
    """The range that a Range header asks for; None means the whole object.

    A header that is absent, malformed, of another unit or of several ranges asks for the
    whole object: a server may ignore Range (RFC 9110, section 14.2).
    """
    match = _ONE_RANGE.fullmatch(value.strip()) if value else None
    if match is None:
        return None
    first, last = _number(match[1]), _number(match[2])
    if first is None:
        return None if last is None else ByteRange(None, suffix=last)
    if last is not None and last < first:
        return None
    return ByteRange(first, last)


def _number(digits: str) -> int | None:
    """Their value, None for none; cut off where no object reaches."""
    return int(digits.lstrip("0")[:_LONGEST] or "0") if digits else None
