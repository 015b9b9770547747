"""The head of a request, parsed by llhttp."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import httptools


class ExpressHeaders:
    """The headers of a request; see RequestHeaders. Names are kept in lower case."""

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

    def setRawHeaders(self, name: bytes, values: list[bytes]) -> None:
        """See RequestHeaders."""
        self._values[name.lower()] = values


class Head:
    """A head: verb, target, version (b"1.1") and headers by name in lower case."""

    __slots__ = ("headers", "method", "target", "version")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version = b""
        self.headers: dict[bytes, list[bytes]] = {}

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for each."""
        name, value = name.lower(), value.strip()
        have = self.headers.get(name)
        if have is None:
            self.headers[name] = [value]
        else:
            have.append(value)

    @property
    def length(self) -> int | None:
        """The body's length in bytes; None when it comes in chunks."""
        if b"transfer-encoding" in self.headers:
            return None
        told = self.headers.get(b"content-length")
        return int(told[0]) if told else 0


def parse_head(raw: bytes) -> Head:
    """Parse a whole head, from the request line to the empty line, that `check_head` accepts."""
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # it is all parsed by then, and nothing is upgraded here
    except httptools.HttpParserError:
        return _plain_head(raw)
    head.method = parser.get_method()
    head.version = parser.get_http_version().encode("ascii")
    return head


def _plain_head(raw: bytes) -> Head:
    """A head that llhttp won't have: a verb that it doesn't know, say."""
    head = Head()
    first, *lines = raw[:-4].split(b"\r\n")
    head.method, head.target, version = first.split(b" ")
    head.version = version.removeprefix(b"HTTP/")
    for line in lines:
        name, _, value = line.partition(b":")
        head.on_header(name, value)
    return head
