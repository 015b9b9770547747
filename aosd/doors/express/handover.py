"""One request of a connection, served by the standard lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport, ITransport
from twisted.python.failure import Failure
from twisted.web.http import Request as WebRequest
from zope.interface import directlyProvides, implementer, providedBy

from aosd.doors.express.request import Connection
from aosd.doors.framing import ChunkScanner
from aosd.doors.heads_first import HeadFirstChannel


@implementer(ITransport, IConsumer, IPushProducer)
class _Facade:
    """The transport, as the standard lane's channel sees it: it has it for one request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport
        if connection.secure:
            directlyProvides(self, providedBy(self), ISSLTransport)

    @property
    def disconnecting(self) -> bool:
        return self._connection.closing

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is set already."""

    def write(self, data: bytes) -> None:
        self._connection.outgoing.write(data)

    def writeSequence(self, data: Any) -> None:
        self._connection.outgoing.write(b"".join(data))

    def loseConnection(self) -> None:
        self._connection.close()

    def abortConnection(self) -> None:
        self._connection.abort()

    def getPeer(self) -> Any:
        return self._transport.getPeer()

    def getHost(self) -> Any:
        return self._transport.getHost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._connection.register(producer)

    def unregisterProducer(self) -> None:
        self._connection.unregister()

    def pauseProducing(self) -> None:
        self._connection.pause_reading()

    def resumeProducing(self) -> None:
        self._connection.resume_reading()

    def stopProducing(self) -> None:
        self._connection.close()


class HandedChannel(HeadFirstChannel):
    """A channel that serves one request, and tells when it is done."""

    on_done: Callable[[], None]

    def refuse_framing(self) -> None:
        """Nobody knows where its body ends."""
        self._respondToBadRequestAndDisconnect()

    def requestDone(self, request: WebRequest) -> None:
        """Its only request is done."""
        super().requestDone(request)
        if self.persistent:
            self.on_done()


class Handover:
    """A request that the standard lane serves, from its first byte to its last.

    `length` is its body's, None for one in chunks. The channel has no idle time of its own:
    its connection's counts.
    """

    def __init__(self, connection: Connection, length: int | None) -> None:
        self._connection = connection
        self._left = length
        self._chunks = ChunkScanner() if length is None else None
        channel: Any = connection.site.make_channel(HandedChannel)
        channel.timeOut = None
        channel.on_done = self._done
        self._channel = channel
        channel.makeConnection(_Facade(connection))

    def begin(self, raw_head: bytes) -> None:
        """Hand over the head."""
        self._channel.feed(raw_head)

    def take(self, data: bytes) -> bytes:
        """Take what of `data` is the request's; what is left is somebody else's."""
        chunks = self._chunks
        if chunks is None:
            left = self._left or 0
            count = min(left, len(data))
            self._left = left - count
        else:
            count = chunks.feed(data)
        if count:
            self._channel.feed(data if count == len(data) else data[:count])
        if chunks is not None and chunks.problem is not None:
            # Nobody knows where such a message ends.
            self._channel.refuse_framing()
            return b""
        return data[count:]

    @property
    def wants(self) -> bool:
        """Whether some of its body hasn't come."""
        return bool(self._left) if self._chunks is None else not self._chunks.ended

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._channel.connectionLost(reason)

    def _done(self) -> None:
        if self.wants:
            # The two don't agree on where it ends: what follows can't be trusted.
            self._connection.abort()
            return
        self._channel.connectionLost(Failure(ConnectionDone()))
        self._connection.done()
