"""Heads cut out of the bytes of a connection, in both lanes alike."""

from __future__ import annotations

from aosd.doors.strict import (
    MOST_HEAD_BYTES,
    TOO_LONG,
    Problem,
    check_head,
    end_of_head,
    skip_empty_lines,
)


class HeadCutter:
    """Cuts heads off the front of `held`, what came by a connection and nobody took yet.

    Its owner adds to it, and takes or drops what comes after a head.
    """

    __slots__ = ("_held", "_looked_at")

    def __init__(self, held: bytearray) -> None:
        self._held = held
        self._looked_at = 0

    def cut(self) -> bytes | Problem | None:
        """The next head, whole and in order, or what is wrong with it; None: more has to come.

        To be called when a head comes next. After a problem nothing is worth being looked at.
        """
        held = self._held
        skip_empty_lines(held)
        end = end_of_head(held, self._looked_at)
        if end > MOST_HEAD_BYTES or (not end and len(held) >= MOST_HEAD_BYTES):
            return TOO_LONG
        if not end:
            self._looked_at = len(held)
            return None
        self._looked_at = 0
        head = bytes(held[:end])
        del held[:end]
        return check_head(head) or head


def whole_head(data: bytes) -> int:
    """How long the head is that `data`, some bytes, begins with, as most that come do; 0: see cut.

    It hasn't been checked; that it needn't be held is what there is to gain.
    """
    end = data.find(b"\r\n\r\n") + 4
    return end if 4 < end <= MOST_HEAD_BYTES and data[0] not in b"\r\n" else 0
