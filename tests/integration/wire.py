"""An HTTP client that hides nothing: raw bytes out, raw bytes in."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

_RECEIVE_BYTES = 64 * 1024


class Truncated(Exception):
    """The connection ended before the answer did; `body` is what came of it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        super().__init__(f"cut off after {len(head)} bytes of head and {len(body)} of body")
        self.head = head
        self.body = body


@dataclass(frozen=True)
class Answer:
    """One answer; `raw_head` is its head as it came, `headers` its last values by name."""

    status: int
    raw_head: bytes
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in its door's form, which is checked on the way.

        That is XML where the S3 door answers, and JSON elsewhere.
        """
        if self.headers["content-type"] == "application/xml":
            return self._code_in_xml()
        assert self.headers["content-type"] == "application/json"
        told = self.json
        assert set(told) == {"error", "code", "request_id"}
        assert told["error"]
        assert told["request_id"] == self.headers["x-amz-request-id"]
        return str(told["code"])

    def _code_in_xml(self) -> str:
        error: Element = fromstring(self.body)
        assert error.tag == "Error", self.body
        assert error.findtext("Message")
        assert error.findtext("RequestId") == self.headers["x-amz-request-id"]
        return str(error.findtext("Code"))


class Wire:
    """A connection to 127.0.0.1. Every wait has `timeout_s`."""

    def __init__(
        self, port: int, timeout_s: float = 15.0, receive_buffer_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout_s)
        if receive_buffer_bytes is not None:
            # Before the connection: the window is settled with it.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def vanish(self) -> None:
        """Close with a reset: what a client does whose machine was switched off and on."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_request(
        self,
        verb: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """A request; its body may be refused on the way, the answer tells."""
        self.send(head(verb, target, headers, None if body is None else len(body)))
        if body:
            with suppress(ConnectionError):
                self.send(body)

    def send_chunks(
        self,
        verb: str,
        target: str,
        chunks: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send(head(verb, target, {"Transfer-Encoding": "chunked", **(headers or {})}))
        with suppress(ConnectionError):
            for each in chunks:
                self.send(chunk(each))
            self.send(b"0\r\n\r\n")

    def receive(self) -> bytes:
        """Some bytes; none when the connection is over, however it ended."""
        try:
            return self.socket.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return b""

    def answer(self, verb: str = "GET") -> Answer:
        """The next answer; a `100 Continue` is one, too. Raises Truncated."""
        raw_head = self.read_head()
        status, headers = parse_head(raw_head)
        length = int(headers.get("content-length", "0"))
        if verb == "HEAD" or status < 200 or status in (204, 304):
            length = 0
        else:
            assert "content-length" in headers, raw_head
        return Answer(status, raw_head, headers, self.read_body(raw_head, length))

    def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._held:
            data = self.receive()
            if not data:
                raise Truncated(self._held, b"")
            self._held += data
        raw_head, _, self._held = self._held.partition(b"\r\n\r\n")
        return raw_head

    def read_body(self, raw_head: bytes, length: int) -> bytes:
        pieces, have = [self._held], len(self._held)
        while have < length:
            data = self.receive()
            if not data:
                raise Truncated(raw_head, b"".join(pieces))
            pieces.append(data)
            have += len(data)
        body = b"".join(pieces)
        self._held = body[length:]
        return body[:length]

    def read_to_the_end(self) -> bytes:
        """All that comes until the server closes the connection."""
        self._held, pieces = b"", [self._held]
        while data := self.receive():
            pieces.append(data)
        return b"".join(pieces)

    def is_over(self) -> bool:
        """Whether the server closes the connection, with nothing more to say."""
        return not self._held and self.receive() == b""

    def ends_well(self) -> bool:
        """The same, without a reset: what the server said before couldn't get lost."""
        return not self._held and self.socket.recv(_RECEIVE_BYTES) == b""


def head(
    verb: str, target: str, headers: Mapping[str, str] | None = None, length: int | None = None
) -> bytes:
    """A request's head."""
    lines = [f"{verb} {target} HTTP/1.1", "Host: store"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def parse_head(raw_head: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer, whose names must be in lower case."""
    lines = raw_head.decode("latin-1").split("\r\n")
    protocol, status, _ = lines[0].split(" ", 2)
    assert protocol == "HTTP/1.1", raw_head
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        assert name == name.lower(), raw_head
        headers[name] = value
    return int(status), headers


def ask(
    port: int,
    verb: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = 15.0,
) -> Answer:
    """One request on a connection of its own."""
    with Wire(port, timeout_s) as wire:
        wire.send_request(verb, target, headers, body)
        return wire.answer(verb)


def ask_chunked(
    port: int,
    target: str,
    chunks: Iterable[bytes],
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Answer:
    """A PUT in chunks, on a connection of its own."""
    with Wire(port, timeout_s) as wire:
        wire.send_chunks("PUT", target, chunks, headers)
        return wire.answer("PUT")
