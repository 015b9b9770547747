"""Bodies that lie in memory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

_PIECE_BYTES = 128 * 1024


@implementer(IBodyProducer)
class HeldBody:
    """A request body that is held whole; it can be sent again, one sending at a time.

    It goes out in pieces, so that no transport has to hold a second copy of all of it.
    """

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data
        self._sent = 0
        self._paused = False
        self._consumer: IConsumer | None = None
        self._finished: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        self._sent = 0
        self._paused = False
        self._consumer = consumer
        finished = self._finished = Deferred(lambda _: self.stopProducing())
        self.resumeProducing()
        return finished

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        while not self._paused and self._consumer is not None and self._sent < self.length:
            piece = self._data[self._sent : self._sent + _PIECE_BYTES]
            self._sent += len(piece)
            self._consumer.write(piece)
        if self._sent >= self.length and self._finished is not None:
            finished, self._finished = self._finished, None
            finished.callback(None)

    def stopProducing(self) -> None:
        """See IProducer."""
        self._consumer = None
        self._finished = None
