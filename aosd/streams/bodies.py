"""Bodies that lie in memory, in the pieces that they came in.

Nothing is joined: a buffer of a part's length that grows leaves a heap full of holes.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class HeldBody:
    """A request body that is held whole; it can be sent again, one sending at a time.

    It goes out piece by piece at the node's pace, so that no transport has to hold a
    second copy of all of it.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.length = sum(map(len, pieces))
        self._pieces = pieces
        self._next = 0
        self._paused = False
        self._consumer: IConsumer | None = None
        self._finished: Deferred[None] | None = None

    @property
    def in_one(self) -> bytes | None:
        """All of it, where it lies in one piece, or is empty; None where it is in several."""
        pieces = self._pieces
        if len(pieces) > 1:
            return None
        return pieces[0] if pieces else b""

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        self._next = 0
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
        while not self._paused and self._consumer is not None and self._next < len(self._pieces):
            self._next += 1
            self._consumer.write(self._pieces[self._next - 1])
        if self._next == len(self._pieces) and self._finished is not None:
            finished, self._finished = self._finished, None
            self._consumer = None
            finished.callback(None)

    def stopProducing(self) -> None:
        """See IProducer."""
        self._consumer = None
        self._finished = None
