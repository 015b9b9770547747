"""What a stream of bytes asks for, by the letter of the rules: a second reader, for comparison.

It shares nothing with aosd's own (`aosd.doors.strict`, `aosd.doors.framing`, llhttp, Twisted),
looks at the whole stream at once, and takes its time.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_HEAD_BYTES = 16 * 1024
MOST_HEADERS = 500
MOST_SIZE_LINE_BYTES = 1023
MOST_TRAILER_BYTES = 16 * 1024

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~" + (string.ascii_letters + string.digits).encode())
_VISIBLE = frozenset(range(0x21, 0x7F))
_TEXT = frozenset({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})
_NAME = frozenset(b"._~!$&'()*+;=%-" + (string.ascii_lowercase + string.digits).encode())
_HEX = frozenset(string.hexdigits.encode())


class Refused(Exception):
    """What comes next is no request: `status` tells why."""

    def __init__(self, status: int = 400) -> None:
        super().__init__(status)
        self.status = status


class Partial(Exception):
    """What there is isn't all of it."""


@dataclass
class Message:
    """A request; `whole`: its body is all there, `malformed`: nobody knows where it ends."""

    verb: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    whole: bool = False
    malformed: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each == name]

    @property
    def closes(self) -> bool:
        """Whether its client wants the connection closed after it, beyond doubt."""
        asked = [each.lower() for each in self.values(b"connection")]
        return self.version == b"HTTP/1.0" or asked == [b"close"]

    @property
    def may_close(self) -> bool:
        """Whether its client may want that."""
        asked = b",".join(self.values(b"connection")).lower()
        return self.version == b"HTTP/1.0" or b"close" in asked


@dataclass
class Stream:
    """All that was read: requests in order, and the status of what follows them (0: nothing)."""

    messages: list[Message] = field(default_factory=list)
    refusal: int = 0


def read(data: bytes) -> Stream:
    """Read a stream from its beginning to where nobody can go on."""
    stream, at = Stream(), 0
    while True:
        while data[at : at + 2] == b"\r\n":
            at += 2
        try:
            end = _end_of_head(data, at)
            message = _read_head(data[at:end])
        except Refused as refused:
            stream.refusal = refused.status
            return stream
        except Partial:
            return stream
        stream.messages.append(message)
        try:
            at = _read_body(message, data, end)
        except Refused:
            message.malformed = True
            return stream
        except Partial:
            return stream
        message.whole = True


def _end_of_head(data: bytes, begin: int) -> int:
    at = data.find(b"\n", begin) + 1
    while at:
        for empty in (b"\n", b"\r\n"):
            if data.startswith(empty, at):
                end = at + len(empty)
                if end - begin > MOST_HEAD_BYTES:
                    raise Refused(431)
                return end
        at = data.find(b"\n", at) + 1
    if len(data) - begin >= MOST_HEAD_BYTES:
        raise Refused(431)
    raise Partial


def _read_head(head: bytes) -> Message:
    first, *lines = head.split(b"\r\n")
    verb, target, version = _request_line(first)
    if lines[-2:] != [b"", b""]:
        raise Refused
    message = Message(verb, target, version, [_field(line) for line in lines[:-2]])
    if len(message.headers) > MOST_HEADERS:
        raise Refused(431)
    hosts = message.values(b"host")
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise Refused
    for host in hosts:
        _check_host(host.lower())
    if hosts and not target.startswith((b"/", b"*")):
        authority = target.split(b"://", 1)[1]
        for end in b"/?#":
            authority = authority.split(bytes([end]), 1)[0]
        if _without_port(authority.lower()) != _without_port(hosts[0].lower()):
            raise Refused
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Refused
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) < 20):
        raise Refused
    if codings and (codings[0].lower() != b"chunked" or version == b"HTTP/1.0"):
        raise Refused
    return message


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    words = line.split(b" ")
    if len(words) != 3 or not all(words):
        raise Refused
    verb, target, version = words
    if not (_TOKEN.issuperset(verb) and _VISIBLE.issuperset(target)):
        raise Refused
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        name, _, number = version.partition(b"/")
        digits = number.split(b".")
        known = name == b"HTTP" and [len(each) for each in digits] == [1, 1]
        raise Refused(505 if known and b"".join(digits).isdigit() else 400)
    if target != b"*" and not target.startswith(b"/"):
        scheme, _, rest = target.partition(b"://")
        if scheme.lower() not in (b"http", b"https") or not rest or rest[0] in b"/?#":
            raise Refused
    return verb, target, version


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not (name and colon and _TOKEN.issuperset(name) and _TEXT.issuperset(value)):
        raise Refused
    return name.lower(), value.strip(b" \t")


def _check_host(host: bytes) -> None:
    if host.startswith(b"["):
        address, bracket, rest = host[1:].partition(b"]")
        if not address or not bracket or not frozenset(b"0123456789abcdef:.").issuperset(address):
            raise Refused
    else:
        name, colon, port = host.partition(b":")
        rest = colon + port
        if not _NAME.issuperset(name):
            raise Refused
    if rest and not (rest.startswith(b":") and (rest[1:] or b"0").isdigit()):
        raise Refused


def _without_port(host: bytes) -> bytes:
    for port in (b":80", b":443", b":"):
        if host.endswith(port):
            return host.removesuffix(port)
    return host


def _read_body(message: Message, data: bytes, at: int) -> int:
    """Where what follows the body begins."""
    if not message.values(b"transfer-encoding"):
        length = int((message.values(b"content-length") or [b"0"])[0])
        message.body = data[at : at + length]
        if len(message.body) < length:
            raise Partial
        return at + length
    while True:
        line, at = _line(data, at, MOST_SIZE_LINE_BYTES)
        size, semicolon, extension = line.partition(b";")
        if not 1 <= len(size) <= 15 or not _HEX.issuperset(size):
            raise Refused
        if semicolon and not (_TEXT - {0x5C}).issuperset(extension):
            raise Refused
        count = int(size, 16)
        if not count:
            return _end_of_trailers(data, at)
        message.body += data[at : at + count]
        at += count
        end = data[at : at + 2]
        if end != b"\r\n"[: len(end)]:
            raise Refused
        if len(end) < 2:
            raise Partial
        at += 2


def _end_of_trailers(data: bytes, at: int) -> int:
    left = MOST_TRAILER_BYTES
    while True:
        line, at = _line(data, at, left)
        if not line:
            return at
        _field(line)
        left -= len(line)


def _line(data: bytes, at: int, most: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at)
    line = data[at:] if end < 0 else data[at:end]
    if end >= 0 and not line.endswith(b"\r"):
        raise Refused
    if len(line.removesuffix(b"\r")) > most:
        raise Refused
    if end < 0:
        raise Partial
    line = line[:-1]
    if b"\r" in line:
        raise Refused
    return line, end + 1


@dataclass(frozen=True)
class Answer:
    """An answer; `whole`: its body is all there."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    whole: bool

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection", b"").lower() == b"close"


def answers(data: bytes, verbs: Iterator[bytes]) -> list[Answer]:
    """The answers, but for those that only ask to go on, to requests of these verbs."""
    found, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n\r\n", at) + 4
        first, *lines = data[at : end - 4].split(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version.startswith(b"HTTP/1.")
        assert status.isdigit()
        code, at = int(status), end
        if code == 100:
            assert not lines
            continue
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, value = line.split(b": ", 1)
            assert name not in headers, name
            headers[name] = value
        body, whole = b"", True
        if next(verbs, b"") != b"HEAD" and code not in (204, 304):
            if headers.get(b"transfer-encoding") == b"chunked":
                told = Message(b"", b"", b"HTTP/1.1", [(b"transfer-encoding", b"chunked")])
                try:
                    at = _read_body(told, data, at)
                except Partial:
                    whole, at = False, len(data)
                body = told.body
            elif b"content-length" in headers:
                length = int(headers[b"content-length"])
                body = data[at : at + length]
                whole = len(body) == length
                at += length
            else:
                body, at = data[at:], len(data)
        found.append(Answer(code, headers, body, whole))
    return found
