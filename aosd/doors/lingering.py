"""How a connection ends so that its client gets to read what was written last.

A socket that is closed while something of the client's is unread, or comes still, is reset; and a
client whose connection is reset may never see an answer that had reached it (RFC 9112, section
9.6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)

from aosd.streams.splice import Flush

LINGER_S = 2.0
LINGER_BYTES = 1024 * 1024
FLUSH_S = 15.0  # what is written last has that long to go out


class Patience:
    """Bounds what is taken, to nowhere, of a client that has its answer, or is about to have it.

    `give_up` is called when it still sends LINGER_S after `begin`, or sends more than
    LINGER_BYTES.
    """

    def __init__(self, clock: IReactorTime, give_up: Callable[[], object]) -> None:
        self._clock = clock
        self._give_up = give_up
        self._left_bytes = LINGER_BYTES
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """All that is written to it has been."""
        self._call = self._clock.callLater(LINGER_S, self._give_up)

    def took(self, count: int) -> None:
        """So many bytes came."""
        self._left_bytes -= count
        if self._left_bytes < 0:
            self.end()
            self._give_up()

    def end(self) -> bool:
        """No more comes; False when it was given up before."""
        call = self._call
        if call is None or not call.active():
            return False
        call.cancel()
        return True


class Lingering:
    """Ends a connection after what was written to it; nobody writes to it any more.

    When that has gone out the client is told that no more comes. What it still sends is to be
    given to `take`, to nowhere, until it closes the connection too; but no longer than LINGER_S
    and no more than LINGER_BYTES, then it is dropped. With TLS the goodbye is TLS's own, which
    the client answers. `stop` is to be called when the connection is gone.
    """

    def __init__(self, transport: Any, clock: IReactorTime) -> None:
        self._transport = transport
        self._patience = Patience(clock, self._drop)
        self._flushing = clock.callLater(FLUSH_S, self._drop)
        transport.unregisterProducer()
        # It may have been paused: nothing but this reads it now.
        transport.resumeProducing()
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            Flush(transport, self._flushed, self.stop).begin()
        else:
            transport.loseConnection()

    def take(self, data: bytes) -> None:
        """Something came that nobody reads."""
        self._patience.took(len(data))

    def stop(self) -> None:
        """The connection is gone."""
        if self._flushing.active():
            self._flushing.cancel()
        self._patience.end()

    def _flushed(self) -> None:
        self.stop()
        self._patience.begin()
        self._transport.loseWriteConnection()

    def _drop(self) -> None:
        self.stop()
        self._transport.abortConnection()
