"""Readers of one long object that take it slower than it comes."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

from bench.load import MIB
from bench.processes import BenchError

READERS = 64
_PIECE_BYTES = 64 * 1024
_EVERY_S = 0.05
_HEAD_S = 20.0


def read_slowly(url: str, seconds: float) -> float:
    """Let READERS read `url` for so long, each 64 KiB twenty times a second; MiB that came.

    Then they leave, in the middle. BenchError: an answer wasn't 200, or one of them starved.
    """
    address = urlsplit(url)
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with ExitStack() as stack:
        sockets = []
        for _ in range(READERS):
            one = socket.create_connection((address.hostname or "", address.port or 80), _HEAD_S)
            sockets.append(stack.enter_context(one))
            one.sendall(request)
        came = []
        for one in sockets:
            head = one.recv(_PIECE_BYTES)
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchError(f"GET {url}: {head[:100]!r}")
            came.append(len(head))
            one.setblocking(False)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(_EVERY_S)
            for number, one in enumerate(sockets):
                came[number] += _taken(one)
        # Half of what it may take at most, or nobody could call it a reader.
        if min(came) < seconds / _EVERY_S * _PIECE_BYTES / 2:
            raise BenchError(f"a slow reader got {min(came)} bytes, another one {max(came)}")
        return sum(came) / MIB


def _taken(one: socket.socket) -> int:
    try:
        return len(one.recv(_PIECE_BYTES))
    except BlockingIOError:
        return 0
