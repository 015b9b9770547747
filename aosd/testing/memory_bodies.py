"""Bodies on their way into a MemoryNode and out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import ClientGone, NodeNonsense
from aosd.model.objects import ObjectHead, Span
from aosd.ports import IReading
from aosd.testing.bodies import Flow

Strike = Callable[[], Deferred[Any]]
"""Lets a fault happen: fires when all goes on, errbacks with what the request fails with."""


@implementer(IConsumer)
class Intake:
    """Takes a request's body whole; stands still for `strike` once `strike_at` bytes came.

    `whole` fires with the body. It errbacks with what the body or `strike` failed with; the
    body is stopped when it wasn't over then. Cancelling stops it too. A body that is
    shorter is struck at its end.
    """

    def __init__(
        self, node: str, body: IBodyProducer, strike_at: int | None, strike: Strike
    ) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._end())
        self._node = node
        self._body = body
        self._strike_at = strike_at
        self._strike = strike
        self._striking: Deferred[Any] | None = None
        self._data = bytearray()
        self._body_over = False
        self._settled = False

    def start(self) -> Deferred[bytes]:
        """Let it flow; returns `whole`."""
        self._body.startProducing(self).addCallbacks(self._body_ended, self._body_failed)
        return self.whole

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer; the body is known already."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if self._settled:
            return
        self._data += data
        if self._strike_at is not None and len(self._data) >= self._strike_at:
            self._body.pauseProducing()
            self._hold()

    def _hold(self) -> None:
        self._strike_at = None
        striking = self._striking = self._strike()
        striking.addCallbacks(self._go_on, self._fail)

    def _go_on(self, _: object) -> None:
        self._striking = None
        if self._body_over:
            self._finish()
        else:
            self._body.resumeProducing()

    def _body_ended(self, _: object) -> None:
        self._body_over = True
        if self._strike_at is not None:
            self._hold()
        elif self._striking is None:
            self._finish()

    def _body_failed(self, reason: Failure) -> None:
        self._body_over = True
        self._fail(reason)

    def _finish(self) -> None:
        told = self._body.length
        if len(self._data) != told:
            error = NodeNonsense(self._node, f"{len(self._data)} bytes came of {told}")
            self._fail(Failure(error))
        elif not self._settled:
            self._settled = True
            self.whole.callback(bytes(self._data))

    def _fail(self, reason: Failure) -> None:
        if not self._settled:
            self._end()
            self.whole.errback(reason)

    def _end(self) -> None:
        self._settled = True
        if self._striking is not None:
            self._striking.cancel()
        if not self._body_over:
            self._body.stopProducing()


@implementer(IReading, IPushProducer)
class MemoryReading:
    """See IReading. Stands still for `strike` after `strike_at` bytes, or at its end.

    `ended` is called once, when the body was delivered, failed, was given up or abandoned.
    """

    at_hand = False

    def __init__(
        self,
        head: ObjectHead,
        span: Span,
        data: bytes,
        piece_bytes: int,
        strike_at: int | None,
        strike: Strike,
        ended: Callable[[], object],
    ) -> None:
        self.head = head
        self.span = span
        self._data = data
        self._piece_bytes = piece_bytes
        self._strike_at = strike_at
        self._strike = strike
        self._striking: Deferred[Any] | None = None
        self._ended = ended
        self._flow: Flow | None = None
        self._consumer: IConsumer | None = None
        self._paused = False
        self._used = False
        self._done: Deferred[None] = Deferred(lambda _: self._end())

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        self._use()
        self._consumer = consumer
        consumer.registerProducer(self, True)
        # A consumer that is gone already stops its producer at once.
        if self._consumer is not None:
            self._send(self._data[: self._strike_at])
        return self._done

    def abandon(self) -> None:
        """See IReading."""
        self._use()
        self._ended()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True
        if self._flow is not None:
            self._flow.pause()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        if self._flow is not None:
            self._flow.go()

    def stopProducing(self) -> None:
        """See IProducer: the client is gone."""
        self._fail(Failure(ClientGone("the client went away before the end of the body")))

    def _use(self) -> None:
        assert not self._used, "a reading is delivered or abandoned, once"
        self._used = True

    def _send(self, data: bytes) -> None:
        assert self._consumer is not None
        self._flow = Flow(data, self._piece_bytes, self._consumer.write, self._sent)
        if not self._paused:
            self._flow.go()

    def _sent(self) -> None:
        if self._strike_at is None:
            self._end()
            self._done.callback(None)
            return
        rest, self._strike_at = self._data[self._strike_at :], None
        striking = self._striking = self._strike()
        striking.addCallbacks(lambda _: self._go_on(rest), self._fail)

    def _go_on(self, rest: bytes) -> None:
        self._striking = None
        self._send(rest)

    def _fail(self, reason: Failure) -> None:
        if self._consumer is not None:
            self._end()
            self._done.errback(reason)

    def _end(self) -> None:
        consumer, self._consumer = self._consumer, None
        assert consumer is not None
        if self._flow is not None:
            self._flow.stop()
        if self._striking is not None:
            self._striking.cancel()
        consumer.unregisterProducer()
        self._ended()


@implementer(IReading)
class ReadingAtHand:
    """See IReading. All of it came with its head."""

    at_hand = True

    def __init__(self, head: ObjectHead, span: Span, data: bytes) -> None:
        self.head = head
        self.span = span
        self._data = data

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        if self._data:
            consumer.write(self._data)
        return succeed(None)

    def abandon(self) -> None:
        """See IReading."""
