"""Bytes on their way out of a connection: at once, where the kernel takes them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ISSLTransport


class Outgoing:
    """Sends by a connection's plain socket at once, and by its transport what is left.

    A transport writes when its reactor comes round to it: that costs a turn, and two calls to
    have the socket watched for it. Nothing overtakes what was written before. That a socket is
    broken is the transport's to find out and to say.
    """

    __slots__ = ("_written", "socket", "transport")

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        # Whether something may wait in the transport.
        self._written = False
        handle = None
        if not ISSLTransport.providedBy(transport):
            handle = getattr(transport, "getHandle", lambda: None)()
        self.socket: socket.socket | None = handle if isinstance(handle, socket.socket) else None

    def send(self, data: bytes) -> None:
        """Send, as much as the kernel takes at once."""
        sent = 0
        if self.socket is not None and not (self._written and self.is_behind()):
            try:
                sent = self.socket.send(data)
            except OSError:
                # Not now, or never again.
                sent = 0
        if sent < len(data):
            self.write(data[sent:] if sent else data)

    def write(self, data: bytes) -> None:
        """Send by the reactor, at the other's pace."""
        self._written = True
        self.transport.write(data)

    def is_behind(self) -> bool:
        """Whether something that was written waits in the transport, and not only for its turn."""
        if self._written:
            self.transport.doWrite()
            self._written = bool(self.transport.dataBuffer)
        return self._written

    def lost(self) -> None:
        """The connection is gone, or is to be closed: whatever comes is the transport's."""
        self.socket = None
