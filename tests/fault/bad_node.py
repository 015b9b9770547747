"""A node that misbehaves on demand: a TCP proxy in front of a real one.

It passes bytes on untouched, so signatures hold: what is signed is the Host that the
daemon sees, the proxy's. What it does to a request is told while it runs.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto

_PIECE_BYTES = 64 * 1024
_END = b"\r\n\r\n"


class Does(Enum):
    """What the node does with a request that a fault is meant for."""

    HANGS_BEFORE_HEADERS = auto()  # reads all of the request, and never answers
    READS_NOTHING = auto()  # takes the head, and no byte of the body
    RESETS = auto()  # when the head is in
    RESETS_AFTER_BODY = auto()  # when the whole request is in, and the real node got none of it
    CLOSES = auto()
    ANSWERS = auto()  # `answer`, after the request's body
    ANSWERS_EARLY = auto()  # `answer`, before the request's body
    LOSES_THE_ANSWER = auto()  # the real node carries it out, the answer is cut off
    HANGS_MID_BODY = auto()  # passes `count` bytes of the answer's body on, then nothing
    CLOSES_MID_BODY = auto()  # the same, then closes as if all were well
    RESETS_MID_BODY = auto()  # the same, then resets


_MID_BODY = {Does.HANGS_MID_BODY, Does.CLOSES_MID_BODY, Does.RESETS_MID_BODY, Does.LOSES_THE_ANSWER}


@dataclass(frozen=True)
class Fault:
    """`meant_for` gets a request's first line; `answer` is all bytes of one."""

    does: Does
    meant_for: Callable[[str], bool] = lambda line: True
    answer: bytes = b""
    count: int = 0


def refusal(status: int, code: str) -> bytes:
    """An error as S3 servers answer it."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


class BadNode:
    """Listens on `port` of 127.0.0.1 and passes on to `target_port`, but for its faults."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.requests: list[str] = []
        """The first lines of all requests so far."""
        self._target_port = target_port
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self.listen()

    # -- what tests tell it -----------------------------------------------------------------------

    def listen(self) -> None:
        """Take connections, always at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and reset those there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # A mere close would leave the thread that accepts, and the port, as they are.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for each in self._all():
            each.reset()

    def misbehave(self, fault: Fault) -> None:
        """From the next request on, also on connections that are open."""
        self._fault = fault

    def behave(self) -> None:
        """Do what nodes do. Connections that hang go on hanging."""
        self._fault = None

    def stop(self) -> None:
        self.refuse()

    # -- what it tells tests ----------------------------------------------------------------------

    @property
    def refuses(self) -> bool:
        return self._listener is None

    def serving(self, key: str) -> int:
        """Its open connections with a request for `key` that isn't answered to the end."""
        return sum(f"/object/{key}" in each.line for each in self._all())

    def fault_for(self, line: str) -> Fault | None:
        """What to do with a request, by its first line."""
        self.requests.append(line)
        fault = self._fault
        return fault if fault is not None and fault.meant_for(line) else None

    # -- inside -----------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, client, self._target_port)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.serve()
        except OSError:
            pass  # one side is gone
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)

    def _all(self) -> list[_Connection]:
        with self._lock:
            return list(self._connections)


class _Connection:
    """One connection from the daemon, and its own one to the real node."""

    def __init__(self, node: BadNode, client: socket.socket, target_port: int) -> None:
        self.line = ""
        self._node = node
        self._client = client
        self._target_port = target_port
        self._server: socket.socket | None = None
        self._fault: Fault | None = None
        self._held = b""

    def serve(self) -> None:
        """Requests, one after the other, until one side has enough."""
        while True:
            head = self._read_head()
            if head is None:
                return
            self.line = head.partition(b"\r\n")[0].decode("latin-1")
            fault = self._fault = self._node.fault_for(self.line)
            length = _content_length(head)
            if fault is None or fault.does in _MID_BODY:
                server = self._connected()
                server.sendall(head)
                self._pass_body(length, server)
            elif not self._misbehave(fault, length):
                return

    def _misbehave(self, fault: Fault, length: int) -> bool:
        """Whether the connection may be used again."""
        match fault.does:
            case Does.HANGS_BEFORE_HEADERS:
                self._pass_body(length, None)
                self._wait_for_the_end()
            case Does.READS_NOTHING:
                self._wait_for_a_reset()
            case Does.RESETS:
                self.reset()
            case Does.RESETS_AFTER_BODY:
                self._pass_body(length, None)
                self.reset()
            case Does.ANSWERS_EARLY:
                self._client.sendall(fault.answer)
                self._wait_for_the_end()
            case Does.ANSWERS:
                self._pass_body(length, None)
                self._client.sendall(fault.answer)
                self.line = ""
                return b"Connection: close" not in fault.answer
        return False

    def _connected(self) -> socket.socket:
        if self._server is None:
            self._server = socket.create_connection(("127.0.0.1", self._target_port))
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_answers, args=(self._server,), daemon=True).start()
        return self._server

    def _pass_answers(self, server: socket.socket) -> None:
        """What the real node says, as it comes; up to where the fault cuts it off."""
        said = b""
        answer = _AnswerWatch()
        with suppress(OSError):
            while data := server.recv(_PIECE_BYTES):
                fault = self._fault
                if fault is None:
                    if answer.is_over_after(data, self.line):
                        # Nobody asks anything else before this has gone out.
                        self.line = ""
                    self._client.sendall(data)
                    continue
                if fault.does is Does.LOSES_THE_ANSWER:
                    self.reset()
                    return
                # One answer is all that this connection will give.
                before = len(said)
                said += data
                head_bytes = said.find(_END) + len(_END)
                if head_bytes < len(_END) or len(said) < head_bytes + fault.count:
                    self._client.sendall(data)
                    continue
                self._client.sendall(data[: head_bytes + fault.count - before])
                if fault.does is Does.HANGS_MID_BODY:
                    return
                break
            fault = self._fault
            if fault is not None and fault.does is Does.RESETS_MID_BODY:
                self.reset()
            else:
                self._client.shutdown(socket.SHUT_WR)

    def _read_head(self) -> bytes | None:
        while _END not in self._held:
            data = self._client.recv(_PIECE_BYTES)
            if not data:
                return None
            self._held += data
        end = self._held.index(_END) + len(_END)
        head, self._held = self._held[:end], self._held[end:]
        return head

    def _pass_body(self, length: int, server: socket.socket | None) -> None:
        while length:
            data = self._held or self._client.recv(_PIECE_BYTES)
            if not data:
                raise ConnectionError("the daemon hung up in the middle of a body")
            self._held = data[length:]
            data = data[:length]
            length -= len(data)
            if server is not None:
                server.sendall(data)

    def _wait_for_the_end(self) -> None:
        while self._client.recv(_PIECE_BYTES):
            pass

    def _wait_for_a_reset(self) -> None:
        """Without reading: an event for poll(2) all the same."""
        import select

        poller = select.poll()
        poller.register(self._client, select.POLLRDHUP)
        poller.poll()

    def reset(self) -> None:
        with suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Wakes the thread that reads; a mere close would leave it there, and the socket.
            self._client.shutdown(socket.SHUT_RD)
        self.close()

    def close(self) -> None:
        self._client.close()
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()


class _AnswerWatch:
    """Tells where one answer after the other ends."""

    def __init__(self) -> None:
        self._head = b""
        self._left: int | None = None  # of the body; None while the head isn't complete
        self._chunks_tail: bytes | None = None  # of a chunked body

    def is_over_after(self, data: bytes, request_line: str) -> bool:
        """Whether the answer to a request ends with `data`."""
        if self._left is None:
            self._head += data
            head, found, data = self._head.partition(_END)
            if not found:
                return False
            self._head = b""
            status = int(head.split(b" ", 2)[1])
            bodiless = request_line.startswith("HEAD") or status in (204, 304)
            self._left = 0 if bodiless else _content_length(head)
            if not bodiless and b"transfer-encoding: chunked" in head.lower():
                self._chunks_tail = b""
        if self._chunks_tail is not None:
            self._chunks_tail = (self._chunks_tail + data)[-5:]
            over = self._chunks_tail == b"0" + _END
        else:
            self._left -= len(data)
            over = self._left <= 0
        if over:
            self._left = self._chunks_tail = None
        return over


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@contextmanager
def in_front_of(target_ports: list[int]) -> Iterator[list[BadNode]]:
    """Proxies before these ports."""
    proxies = [BadNode(port) for port in target_ports]
    try:
        yield proxies
    finally:
        for each in proxies:
            each.stop()
