"""The head of a request, parsed by llhttp."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import httptools

from aosd.doors.strict import Problem, check_head

_MOST_KNOWN = 256
_LONGEST_KNOWN_BYTES = 1024
# Of these a block of headers means the same in each: no absolute target, no other version.
_PLAIN_LINE = re.compile(rb"(GET|HEAD|PUT|DELETE|POST) (/[!-~]*+) HTTP/1\.1\r\n")


class ExpressHeaders:
    """The headers of a request; see RequestHeaders.

    `values` by name in lower case, which stay as they are.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[bytes, list[bytes]]) -> None:
        self._values = values

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None:
        """See RequestHeaders."""
        return self._values.get(name.lower())

    def hasHeader(self, name: bytes) -> bool:
        """See RequestHeaders."""
        return name.lower() in self._values

    def getAllRawHeaders(self) -> Iterable[tuple[bytes, Sequence[bytes]]]:
        """See RequestHeaders."""
        return self._values.items()

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of these, in lower case, is there."""
        return not names.isdisjoint(self._values)

    def setRawHeaders(self, name: bytes, values: list[bytes]) -> None:
        """See RequestHeaders."""
        self._values = {**self._values, name.lower(): values}


class Fields:
    """The headers of a head, by name in lower case, and what they say of the message.

    `length` is that of the body in bytes, None when it comes in chunks; `closes`: its client
    sends no other request; `is_plain`: both lanes read them alike beyond doubt.
    """

    __slots__ = ("closes", "is_plain", "length", "values")

    def __init__(self, values: dict[bytes, list[bytes]]) -> None:
        self.values = values
        self.length: int | None = None
        if b"transfer-encoding" not in values:
            told = values.get(b"content-length")
            self.length = int(told[0]) if told else 0
        self.is_plain = len(values.get(b"host", ())) == 1
        self.closes = False
        connection = values.get(b"connection")
        if connection is not None:
            said = connection[0].lower()
            self.closes = said == b"close"
            self.is_plain &= len(connection) == 1 and said in (b"keep-alive", b"close")


class Head:
    """A head: verb, target, version (b"1.1") and fields."""

    __slots__ = ("fields", "method", "target", "version")

    def __init__(self, method: bytes, target: bytes, version: bytes, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields

    @property
    def is_plain(self) -> bool:
        """Whether both lanes read it alike beyond doubt."""
        return self.fields.is_plain and self.version == b"1.1" and self.target.startswith(b"/")


class Heads:
    """Reads heads. What a block of headers means is remembered: clients repeat themselves.

    At most 256 blocks of 1 KiB, and none that is signed: it won't come again.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Fields] = {}

    def read(self, raw: bytes) -> Head | Problem:
        """A whole head, from the request line to the empty line; or what is wrong with it."""
        end = raw.find(b"\n") + 1
        block = raw[end:]
        fields = self._known.get(block)
        if fields is not None and (line := _PLAIN_LINE.fullmatch(raw, 0, end)) is not None:
            return Head(line[1], line[2], b"1.1", fields)
        problem = check_head(raw)
        if problem is not None:
            return problem
        head = parse_head(raw)
        if len(block) <= _LONGEST_KNOWN_BYTES and _PLAIN_LINE.fullmatch(raw, 0, end) is not None:
            self._keep(block, head.fields)
        return head

    def _keep(self, block: bytes, fields: Fields) -> None:
        if b"authorization" in fields.values:
            return
        known = self._known
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[block] = fields


class _Parsed:
    """What llhttp tells of a head."""

    __slots__ = ("target", "values")

    def __init__(self) -> None:
        self.target = b""
        self.values: dict[bytes, list[bytes]] = {}

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for each."""
        name, value = name.lower(), value.strip()
        have = self.values.get(name)
        if have is None:
            self.values[name] = [value]
        else:
            have.append(value)


def parse_head(raw: bytes) -> Head:
    """Parse a whole head, from the request line to the empty line, that `check_head` accepts."""
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # it is all parsed by then, and nothing is upgraded here
    except httptools.HttpParserError:
        return _plain_head(raw)
    version = parser.get_http_version().encode("ascii")
    return Head(parser.get_method(), parsed.target, version, Fields(parsed.values))


def _plain_head(raw: bytes) -> Head:
    """A head that llhttp won't have: a verb that it doesn't know, say."""
    parsed = _Parsed()
    first, *lines = raw[:-4].split(b"\r\n")
    method, target, version = first.split(b" ")
    for line in lines:
        name, _, value = line.partition(b":")
        parsed.on_header(name, value)
    return Head(method, target, version.removeprefix(b"HTTP/"), Fields(parsed.values))
