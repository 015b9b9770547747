"""A body's bytes on their way into a socket, sent from where they lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from aosd.streams.outgoing import Outgoing

_MOST_AT_ONCE = 16  # pieces a system call


@implementer(IPullProducer)
class Writer:
    """Gives the pieces of a body to the kernel, at once where it takes them, and copies none.

    A transport sends by another turn of the reactor, and joins what a node didn't take with
    what comes after it: once for each node that the body goes to. This one keeps references
    to what the kernel doesn't take, and pauses `producer` until all of it is gone; who writes
    in spite of that makes it keep more. `moved` is called when some of it went.

    It is the transport's pull producer, which is asked for more when there is room and
    nothing is left of what was written otherwise. `producer` is told to stop when the
    connection is lost. That a socket is broken is the transport's to find out and to say.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        producer: IPushProducer,
        moved: Callable[[], object],
    ) -> None:
        self._outgoing = outgoing
        self._producer = producer
        self._moved = moved
        self._kept: deque[bytes | memoryview] = deque()
        self._transport.registerProducer(self, False)

    def write(self, data: bytes) -> None:
        """Send it after what was written before."""
        kept = self._kept
        if kept:
            kept.append(data)
            return
        behind = self._outgoing.is_behind()
        kept.append(data)
        if not behind:
            self._send()
        if kept:
            self._transport.startWriting()
            self._producer.pauseProducing()

    def end(self) -> None:
        """Nothing else comes: the transport sends what is kept."""
        self._transport.unregisterProducer()
        while self._kept:
            self._leave()

    # -- the transport's side ---------------------------------------------------------------------

    def resumeProducing(self) -> None:
        """See IPullProducer: there is room."""
        kept = self._kept
        if not kept:
            return
        if self._send():
            self._moved()
        if kept:
            self._transport.startWriting()
        else:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """See IProducer: the connection is lost."""
        self._kept.clear()
        self._producer.stopProducing()

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _transport(self) -> Any:
        return self._outgoing.transport

    def _send(self) -> bool:
        """Whether the kernel took something."""
        kept, handle = self._kept, self._outgoing.socket
        try:
            if handle is None:
                raise ConnectionError
            if len(kept) == 1:
                left = handle.send(kept[0])
            else:
                left = handle.sendmsg(list(islice(kept, _MOST_AT_ONCE)))
        except BlockingIOError:
            return False
        except OSError:
            self._leave()
            return False
        sent = left > 0
        while kept and left >= len(kept[0]):
            left -= len(kept.popleft())
        if left:
            kept[0] = memoryview(kept[0])[left:]
        return sent

    def _leave(self) -> None:
        """Leave the next piece to the transport."""
        self._outgoing.write(bytes(self._kept.popleft()))
