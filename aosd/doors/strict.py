"""Heads that nobody could read in two ways.

Whoever stands before the gateway (a proxy, a balancer, a cache) has to see the same requests
in the same bytes as the gateway does, or one client's bytes become another client's request.
So a head is judged before a parser gets it, by the same function in both lanes, and what two
readers might take differently is refused, with no answer to what comes after it. What is legal
but odd passes: absolute targets, chunk extensions, trailers, Upgrade (which is ignored). See
RFC 9112, sections 2.2, 3.2, 5 and 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_HEAD_BYTES = 16 * 1024
"""The longest head, with its empty line. Amazon's bound is 8 KiB of headers."""
MOST_HEADERS = 500

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    505: b"HTTP Version Not Supported",
}
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
"""RFC 9110, section 5.6.2: a verb, or a header's name."""
FIELD = TOKEN + rb":[\t -~\x80-\xff]*+\r\n"
"""A header's or trailer's line. A fold (obs-fold) would begin with a space, which no name has."""
_HEAD = re.compile(
    TOKEN + rb" (?:/[!-~]*+|(\*|[Hh][Tt][Tt][Pp][Ss]?://[^/?#\x00- \x7f-\xff]++[!-~]*+))"
    rb" HTTP/1\.([01])\r\n(?:" + FIELD + rb")*+\r\n"
)
_OTHER_VERSION = re.compile(TOKEN + rb" [!-~]++ HTTP/(?!1\.[01])[0-9]\.[0-9]\r\n")
# The headers that say whom a request is for, and where it ends, in a head in lower case.
_TELLING = re.compile(rb"\n(host|content-length|transfer-encoding):[ \t]*([^\r]*)")
# RFC 3986, section 3.2.2, but for the comma, by which proxies join two values.
_HOST = re.compile(rb"(?:[a-z0-9._~!$&'()*+;=%-]*|\[[0-9a-f:.]+\])(?::[0-9]*)?")
_DEFAULT_PORT = re.compile(rb":(?:80|443)?$")
_END = re.compile(rb"\n\r?\n")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a head: the status that tells it, and words."""

    status: int
    message: str

    def answer(self) -> bytes:
        """The whole answer, after which the connection is closed."""
        return b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % (
            self.status,
            _REASONS[self.status],
        )


TOO_LONG = Problem(431, "the head is too long")
TOO_SLOW = Problem(408, "the head took too long")
_MALFORMED = Problem(400, "the head is malformed")
_VERSION = Problem(505, "the version is neither HTTP/1.1 nor HTTP/1.0")
_TOO_MANY = Problem(431, "there are too many headers")
_LENGTHS = Problem(400, "a body has one length")
_CODINGS = Problem(400, "the one transfer coding is chunked, and HTTP/1.0 has none")
_HOSTS = Problem(400, "a request is for one host")


def end_of_head(data: bytes | bytearray, looked_at: int = 0) -> int:
    """Where the head that `data` begins with ends: just past its empty line; 0 if it isn't whole.

    The first `looked_at` bytes were searched before. Lines that end with LF alone count, so
    that such a head is refused when it comes rather than waited for.
    """
    found = _END.search(data, max(0, looked_at - 2))
    return found.end() if found is not None else 0


def skip_empty_lines(data: bytearray) -> None:
    """Drop the empty lines before a request, which are nothing (RFC 9112, section 2.2)."""
    at = 0
    while data.startswith(b"\r\n", at):
        at += 2
    del data[:at]


def check_head(head: bytes) -> Problem | None:
    """What is wrong with a whole head, from the request line to the empty line; None: nothing."""
    found = _HEAD.fullmatch(head)
    if found is None:
        return _MALFORMED if _OTHER_VERSION.match(head) is None else _VERSION
    if head.count(b"\n") > MOST_HEADERS + 2:
        return _TOO_MANY
    host: bytes | None = None
    framed = False
    for name, value in _TELLING.findall(head.lower()):
        value = value.rstrip(b" \t")
        kind = len(name)
        if kind == 4:
            if host is not None or _HOST.fullmatch(value) is None:
                return _HOSTS
            host = value
            continue
        if framed:
            return _LENGTHS
        framed = True
        if kind == 14:
            if not value.isdigit() or len(value) > 19:
                return _LENGTHS
        elif value != b"chunked" or found[2] == b"0":
            return _CODINGS
    if host is None:
        return _HOSTS if found[2] == b"1" else None
    if found[1] is not None and not _is_of(found[1], host):
        return _HOSTS
    return None


def _is_of(target: bytes, host: bytes) -> bool:
    """Whether an absolute target names the same host as the header does."""
    if target == b"*":
        return True
    authority = re.split(rb"[/?#]", target.partition(b"://")[2], maxsplit=1)[0]
    return _bare(authority.lower()) == _bare(host)


def _bare(host: bytes) -> bytes:
    return _DEFAULT_PORT.sub(b"", host)
