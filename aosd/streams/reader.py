"""Reading a body piece by piece, where somebody has to hold it."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.ports import IBodySink, IBodySource
from aosd.streams.digests import Digests

Pieces = list[bytes]
"""Bytes in the pieces that they came in, none of them empty."""


_SMALL_BYTES = 16 * 1024
_PIECE_BYTES = 64 * 1024


def size_of(pieces: Pieces) -> int:
    """How many bytes they are."""
    return sum(map(len, pieces))


@implementer(IBodySink)
class BodyReader:
    """Pulls a body that is pushed: the client is read only while somebody waits for bytes.

    It holds no more than was asked for and a packet.
    """

    def __init__(self, source: IBodySource, digests: Digests) -> None:
        self._source = source
        self._digests = digests
        self._held: deque[bytes] = deque()
        self._tail = bytearray()
        self._held_bytes = 0
        self._wanted = 0
        self._waiting: Deferred[None] | None = None
        self._started = False
        self._ended = False
        self._failure: Failure | None = None

    async def read(self, count_bytes: int) -> Pieces:
        """The next `count_bytes` bytes; fewer only when the body ends there.

        One read at a time. Raises what the source failed with. Cancelling discards the
        rest of the body.
        """
        await self._fill(count_bytes)
        self._seal_tail()
        pieces: Pieces = []
        left = count_bytes
        while left and self._held:
            piece = self._held.popleft()
            if len(piece) > left:
                self._held.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        self._held_bytes -= count_bytes - left
        return pieces

    async def more(self) -> bool:
        """Whether there is at least one more byte; waits until that is known."""
        await self._fill(1)
        return self._held_bytes > 0

    def discard(self) -> None:
        """Nobody wants the rest."""
        self._waiting = None
        self._held.clear()
        self._tail.clear()
        self._source.discard()

    # -- the source's side ----------------------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""
        self._digests.update(data)
        self._held_bytes += len(data)
        # A client that sends two bytes a chunk mustn't cost an object for each.
        if len(data) < _SMALL_BYTES:
            self._tail += data
        if len(data) >= _SMALL_BYTES or len(self._tail) >= _PIECE_BYTES:
            self._seal_tail()
        if len(data) >= _SMALL_BYTES:
            self._held.append(data)
        if self._held_bytes >= self._wanted:
            self._source.pause()
            self._wake()

    def body_ended(self) -> None:
        """See IBodySink."""
        self._ended = True
        self._wake()

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink."""
        self._failure = reason
        self._wake()

    def _seal_tail(self) -> None:
        if self._tail:
            self._held.append(bytes(self._tail))
            self._tail.clear()

    # -- inside ---------------------------------------------------------------------------------

    async def _fill(self, count_bytes: int) -> None:
        """Wait until so many bytes are held, or all there are."""
        self._wanted = count_bytes
        if not self._started:
            self._started = True
            self._source.start(self)
        if self._failure is None and not self._ended and self._held_bytes < count_bytes:
            waiting: Deferred[None] = Deferred(lambda _: self.discard())
            self._waiting = waiting
            self._source.resume()
            await waiting
        if self._failure is not None:
            self._failure.raiseException()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
