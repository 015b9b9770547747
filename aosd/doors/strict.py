"""Heads that nobody could read in two ways."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_HEAD_BYTES = 16 * 1024
MOST_HEADERS = 500

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
}
_HEAD = re.compile(
    rb"[!-~]+ [!-~]+ HTTP/1\.[01]\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*\r\n"
)
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a head: the status that tells it, and words."""

    status: int
    message: str

    def answer(self) -> bytes:
        """The whole answer, after which the connection is closed."""
        return b"HTTP/1.1 %d %b\r\n\r\n" % (self.status, _REASONS[self.status])


def check_head(head: bytes) -> Problem | None:
    """What is wrong with a whole head, from the request line to the empty line."""
    if _HEAD.fullmatch(head) is None:
        return Problem(400, "the head is malformed")
    if head.count(b"\n") > MOST_HEADERS + 2:
        return Problem(431, "there are too many headers")
    lengths, codings = _LENGTH.findall(head), _CODING.findall(head)
    if len(lengths) + len(codings) > 1 or not all(
        each.isdigit() and len(each) < 20 for each in lengths
    ):
        return Problem(400, "a body has one length")
    if any(each.lower() != b"chunked" for each in codings):
        return Problem(400, "the one transfer coding is chunked")
    return None
