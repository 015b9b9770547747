"""Reading a body piece by piece, where somebody has to hold it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.ports import IBodySink, IBodySource
from aosd.streams.digests import Digests


@implementer(IBodySink)
class BodyReader:
    """Pulls a body that is pushed: the client is read only while somebody waits for bytes.

    It holds no more than was asked for and a packet.
    """

    def __init__(self, source: IBodySource, digests: Digests) -> None:
        self._source = source
        self._digests = digests
        self._held = bytearray()
        self._wanted = 0
        self._waiting: Deferred[bytes] | None = None
        self._started = False
        self._ended = False
        self._failure: Failure | None = None

    def read(self, count_bytes: int) -> Deferred[bytes]:
        """Fires with the next `count_bytes` bytes; with fewer only when the body ends there.

        One read at a time. Errbacks with what the source failed with. Cancelling discards
        the rest of the body.
        """
        self._wanted = count_bytes
        waiting = self._waiting = Deferred(lambda _: self.discard())
        if not self._started:
            self._started = True
            self._source.start(self)
        elif not self._ended and self._failure is None and len(self._held) < count_bytes:
            self._source.resume()
        self._answer()
        return waiting

    async def more(self) -> bool:
        """Whether there is at least one more byte; waits until that is known."""
        first = await self.read(1)
        self._held[:0] = first
        return bool(first)

    def discard(self) -> None:
        """Nobody wants the rest."""
        self._waiting = None
        self._held.clear()
        self._source.discard()

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""
        self._digests.update(data)
        self._held += data
        if len(self._held) >= self._wanted:
            self._source.pause()
        self._answer()

    def body_ended(self) -> None:
        """See IBodySink."""
        self._ended = True
        self._answer()

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink."""
        self._failure = reason
        self._answer()

    def _answer(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        if self._failure is not None:
            self._waiting = None
            waiting.errback(self._failure)
        elif self._ended or len(self._held) >= self._wanted:
            self._waiting = None
            data = bytes(memoryview(self._held)[: self._wanted])
            del self._held[: self._wanted]
            waiting.callback(data)
