"""Bodies between aosd and a node: watched on their way out, collected on their way in."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.objects import ObjectHead, Span
from aosd.nodes.http import hang_up
from aosd.nodes.response import Response
from aosd.ports import IReading
from aosd.streams.deadlines import IdleTimer
from aosd.streams.relay import Relay

_LOST_S = 1.0


@implementer(IBodyProducer)
class WatchedBody:
    """A request's body, watched: `expired` is called with words when the node is too slow.

    That is: it takes no byte for `stall_timeout_s` though there are some, or doesn't
    answer within `answer_timeout_s` of the last one.
    """

    def __init__(
        self,
        body: IBodyProducer,
        clock: IReactorTime,
        stall_timeout_s: float,
        answer_timeout_s: float,
        expired: Callable[[str], object],
    ) -> None:
        self.length = body.length
        self.finished = False
        self._body: IBodyProducer | None = body
        self._consumer: IConsumer | None = None
        self._stall = IdleTimer(
            clock, stall_timeout_s, lambda: expired(f"took no byte for {stall_timeout_s:g} s")
        )
        # Twisted's client doesn't tell when a node answers garbage and closes in mid-body.
        self._lost = IdleTimer(clock, _LOST_S, lambda: expired("closed the connection"))
        self._answer = IdleTimer(
            clock,
            answer_timeout_s,
            lambda: expired(f"didn't answer within {answer_timeout_s:g} s of the last byte"),
        )

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        assert self._body is not None
        self._consumer = consumer
        sending: Deferred[None] = self._body.startProducing(consumer)
        return sending.addCallback(self._was_sent)

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._body is not None:
            self._stall.start()
            self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._stall.stop()
        if self._body is not None:
            self._body.resumeProducing()

    def stopProducing(self) -> None:
        """See IProducer: the connection is gone."""
        self._stall.stop()
        if self._body is not None:
            self._lost.start()
            self._body.stopProducing()

    def answered(self) -> None:
        """The answer came, or won't: end the watch; what wasn't sent yet won't be."""
        body, consumer = self._body, self._consumer
        self.failed()
        if not self.finished and body is not None and consumer is not None:
            body.stopProducing()
            hang_up(consumer)

    def failed(self) -> None:
        """The request failed: end the watch.

        Also lets go of the body: the client's objects refer to each other in circles, and
        a part of many megabytes would lie there until the next collection of garbage.
        """
        self._stall.stop()
        self._answer.stop()
        self._lost.stop()
        self._body = self._consumer = None

    def _was_sent(self, result: None) -> None:
        self.finished = True
        self._stall.stop()
        self._answer.start()


@implementer(IReading)
class ResponseReading:
    """A node's answer to a GET; see IReading."""

    at_hand = False

    def __init__(
        self,
        response: Response,
        head: ObjectHead,
        span: Span,
        make_relay: Callable[[IConsumer, int | None], Relay],
    ) -> None:
        self.head = head
        self.span = span
        self._response = response
        self._make_relay = make_relay

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        relay = self._make_relay(consumer, self.span.length)
        self._response.deliverBody(relay)
        return relay.done

    def abandon(self) -> None:
        """See IReading."""
        drop_body(self._response, self._make_relay)


_CHEAP_TO_DRAIN_BYTES = 64 * 1024


@implementer(IConsumer)
class Nowhere:
    """Takes everything and keeps nothing."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""


def drop_body(response: Response, make_relay: Callable[[IConsumer, int | None], Relay]) -> None:
    """Do without a body: drained when it is short, so that its connection can be used again."""
    length = response.length
    relay = make_relay(Nowhere(), length if isinstance(length, int) else None)
    relay.done.addErrback(lambda _: None)
    if not isinstance(length, int) or length > _CHEAP_TO_DRAIN_BYTES:
        relay.done.cancel()
    response.deliverBody(relay)


@implementer(IConsumer)
class Collected:
    """Keeps all it gets, up to `limit_bytes`; past that `overflow` is called."""

    def __init__(self, limit_bytes: int, overflow: Callable[[], object]) -> None:
        self.data = bytearray()
        self.overflowed = False
        self._limit_bytes = limit_bytes
        self._overflow = overflow

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if len(self.data) + len(data) > self._limit_bytes:
            self.overflowed = True
            self._overflow()
        else:
            self.data += data
