"""Where a chunked body ends."""

from __future__ import annotations

import re

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class ChunkScanner:
    """Told of a chunked body's bytes, it says how many belong to it."""

    def __init__(self) -> None:
        self.ended = False
        self.problem: str | None = None
        self._line = b""
        self._left = 0
        self._state = "size"

    def feed(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body."""
        at = 0
        while at < len(data) and not self.ended and self.problem is None:
            if self._state == "data":
                count = min(self._left, len(data) - at)
                at += count
                self._left -= count
                if not self._left:
                    self._state = "after"
                continue
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end + 1
            self._line += data[at:end]
            at = end
            if len(self._line) > 16384:
                self.problem = "a line is too long"
            elif self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._take_line(line)
        return at

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            self.problem = "a line ends with LF alone"
            return
        line = line[:-2]
        if self._state == "after":
            if line:
                self.problem = "a chunk is longer than it said"
            self._state = "size"
        elif self._state == "trailer":
            self.ended = not line
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                self.problem = "a chunk's size is malformed"
                return
            self._left = int(size[1], 16)
            self._state = "data" if self._left else "trailer"
