"""One node's answer to a client, at the client's pace."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

from aosd.model.errors import ClientGone
from aosd.streams.deadlines import IdleTimer


@implementer(IPushProducer)
class Relay(Protocol):
    """Passes exactly `length` bytes on to `consumer`, which it is registered with.

    `length` None means all until the answer says that it is over (chunked coding).

    `done` fires when all were written; it errbacks with ClientGone when the consumer wants
    no more or takes nothing for `stall_timeout_s`, and with `broken(why)` when the node
    ends before, sends too much, or sends nothing for `idle_timeout_s` while it isn't
    paused: a slow reader is not the node's fault. Cancelling drops the node's connection.
    `heard` is called whenever bytes come.
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
        self.done: Deferred[None] = Deferred(lambda _: self._end())
        self._consumer = consumer
        self._left = length
        self._broken = broken
        self._heard = heard
        self._settled = False
        self._registered = False
        self._idle = IdleTimer(clock, idle_timeout_s, self._node_is_silent)
        self._stall = IdleTimer(clock, stall_timeout_s, self._client_is_stuck)

    # -- the node's side --------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The body may flow."""
        if self._settled:
            self._drop_connection()
            return
        self._idle.start()
        self._registered = True
        self._consumer.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._settled:
            return
        self._idle.touch()
        self._heard()
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._fail(self._broken("it sent more bytes than it had said", False))
                return
        self._consumer.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over, whole or not: the count tells."""
        if self._settled:
            return
        if self._left or (self._left is None and reason.check(ResponseDone) is None):
            left = "somewhere" if self._left is None else f"{self._left} bytes"
            self._fail(self._broken(f"it stopped {left} before the end", False))
            return
        self._left = 0
        self._end()
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

    def stopProducing(self) -> None:
        """The client is gone: the node's connection is released at once."""
        self._fail(ClientGone("the client went away before the end of the body"))

    # -- inside -----------------------------------------------------------------------------

    def _producer(self) -> IPushProducer:
        transport: IPushProducer = self.transport  # type: ignore[assignment]
        return transport

    def _node_is_silent(self) -> None:
        self._fail(self._broken("it stopped sending", True))

    def _client_is_stuck(self) -> None:
        self._fail(ClientGone("the client takes no more bytes"))

    def _fail(self, error: Exception) -> None:
        if not self._settled:
            self._end()
            self._drop_connection()
            self.done.errback(Failure(error))

    def _end(self) -> None:
        """Release timers and producer; drops the connection when the body isn't over."""
        self._settled = True
        self._idle.stop()
        self._stall.stop()
        if self._registered:
            self._registered = False
            self._consumer.unregisterProducer()
        if self._left != 0:
            self._drop_connection()

    def _drop_connection(self) -> None:
        if self.transport is not None:
            self._producer().stopProducing()
