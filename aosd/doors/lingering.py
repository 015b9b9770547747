"""How a connection ends so that its client gets to read what was written last.

A socket that is closed while something of the client's is unread, or comes still, is reset; and a
client whose connection is reset may never see an answer that had reached it (RFC 9112, section
9.6).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime, ISSLTransport, ITCPTransport

from aosd.streams.splice import Flush

LINGER_S = 2.0
LINGER_BYTES = 1024 * 1024
FLUSH_S = 15.0  # what is written last has that long to go out


class Lingering:
    """Ends a connection after what was written to it; nobody writes to it any more.

    When that has gone out the client is told that no more comes. What it still sends is to be
    given to `take`, to nowhere, until it closes the connection too; but no longer than LINGER_S
    and no more than LINGER_BYTES, then it is dropped. With TLS the goodbye is TLS's own, which
    the client answers. `stop` is to be called when the connection is gone.
    """

    def __init__(self, transport: Any, clock: IReactorTime) -> None:
        self._transport = transport
        self._clock = clock
        self._taken_bytes = 0
        self._timer = clock.callLater(FLUSH_S, self._drop)
        transport.unregisterProducer()
        # It may have been paused: nothing but this reads it now.
        transport.resumeProducing()
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            Flush(transport, self._flushed, self.stop).begin()
        else:
            transport.loseConnection()

    def take(self, data: bytes) -> None:
        """Something came that nobody reads."""
        self._taken_bytes += len(data)
        if self._taken_bytes > LINGER_BYTES:
            self._drop()

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer.active():
            self._timer.cancel()

    def _flushed(self) -> None:
        self.stop()
        self._timer = self._clock.callLater(LINGER_S, self._drop)
        self._transport.loseWriteConnection()

    def _drop(self) -> None:
        self.stop()
        self._transport.abortConnection()
