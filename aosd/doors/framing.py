"""Where a chunked body ends."""

from __future__ import annotations

import re

from aosd.doors.strict import FIELD

MOST_LINE_BYTES = 1023
"""The longest line of a chunk's size, extensions and all. Twisted's bound is the same."""
MOST_TRAILER_BYTES = 16 * 1024
"""All trailers together, without the ends of their lines: Twisted takes four times as much."""

# No space before a semicolon, and no backslash: Twisted takes neither.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -\[\]-~\x80-\xff]*)?\r\n")
_FIELD = re.compile(FIELD)


class ChunkScanner:
    """Told of a chunked body's bytes, it says how many belong to it (RFC 9112, section 7.1).

    `ended`: its last byte was among them. `problem`: what is wrong, and nobody knows where it
    ends then. Whatever it takes Twisted's decoder takes alike, which takes more: LF alone and
    anything at all in trailers.
    """

    def __init__(self) -> None:
        self.ended = False
        self.problem: str | None = None
        self._line = b""
        self._left = 0
        self._in_trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body; none of a line that is wrong."""
        at, length = 0, len(data)
        while at < length and not self.ended and self.problem is None:
            if self._left > 2:
                # All but the line's end that comes after a chunk.
                count = min(self._left - 2, length - at)
                self._left -= count
                at += count
            elif self._left:
                if data[at] != b"\n\r"[self._left - 1]:
                    self.problem = "a chunk is longer than it said"
                    break
                self._left -= 1
                at += 1
            else:
                at = self._take_line(data, at)
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Where what follows begins; `at` again when the line is wrong."""
        end = data.find(b"\n", at) + 1 or len(data)
        bound = MOST_TRAILER_BYTES - self._trailer_bytes if self._in_trailers else MOST_LINE_BYTES
        line = self._line + data[at : min(end, at + bound + 3)]
        whole = line.endswith(b"\n")
        if len(line) > bound + (2 if whole else 1 if line.endswith(b"\r") else 0):
            self.problem = "a line is too long"
        elif not whole:
            self._line = line
            return end
        elif self._in_trailers:
            self._end_trailer(line)
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                self.problem = "a chunk's size is malformed"
            else:
                told = int(size[1], 16)
                self._left = told + 2 if told else 0
                self._in_trailers = not told
        self._line = b""
        return at if self.problem is not None else end

    def _end_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) - 2
        if line == b"\r\n":
            self.ended = True
        elif _FIELD.fullmatch(line) is None:
            self.problem = "a trailer is malformed"
