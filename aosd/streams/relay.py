"""One node's answer to a client, at the client's pace."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

from aosd.streams.deadlines import IdleTimer
from aosd.streams.relaying import Relaying


@implementer(IPushProducer)
class Relay(Relaying, Protocol):
    """Passes exactly `length` bytes on to `consumer`. See Relaying.

    `length` None means all until the answer says that it is over (chunked coding). The node is
    broken when it ends before, sends too much, or sends nothing for `idle_timeout_s` while it
    isn't paused: a slow reader is not the node's fault.
    """

    def __init__(
        self,
        consumer: IConsumer,
        length: int | None,
        clock: IReactorTime,
        idle_timeout_s: float,
        stall_timeout_s: float,
        broken: Callable[[str, bool], Exception],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(consumer, clock, stall_timeout_s, broken, heard)
        self._left = length
        self._idle = IdleTimer(clock, idle_timeout_s, self._node_is_silent)

    # -- the node's side --------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The body may flow."""
        if self._settled:
            self._drop()
            return
        self._idle.start()
        self._register(self)

    def dataReceived(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._settled:
            return
        self._idle.touch()
        self._heard()
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._node_broke("it sent more bytes than it had said")
                return
        self._consumer.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over, whole or not: the count tells."""
        if self._settled:
            return
        if self._left or (self._left is None and reason.check(ResponseDone) is None):
            left = "somewhere" if self._left is None else f"{self._left} bytes"
            self._node_broke(f"it stopped {left} before the end")
        else:
            self._settle()
            self.done.callback(None)

    # -- the client's side ------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if not self._settled:
            self._idle.stop()
            self._stall.start()
            self._producer().pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        if not self._settled:
            self._stall.stop()
            self._idle.start()
            self._producer().resumeProducing()

    # -- inside -----------------------------------------------------------------------------

    def _producer(self) -> IPushProducer:
        transport: IPushProducer = self.transport  # type: ignore[assignment]
        return transport

    def _node_is_silent(self) -> None:
        self._node_broke("it stopped sending", silent=True)

    def _settle(self) -> None:
        self._idle.stop()
        super()._settle()

    def _drop(self) -> None:
        if self.transport is not None:
            self._producer().stopProducing()
