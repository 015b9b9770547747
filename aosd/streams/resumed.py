"""A reading that goes on from another copy when its node fails."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.model.errors import ClientGone, NodeError
from aosd.model.objects import ObjectHead, Span
from aosd.ports import IReading
from aosd.streams.splice import ISpliceTarget

Again = Callable[[ObjectHead, Span], "Deferred[IReading]"]
"""Fires with a reading of the span from another copy of the same version; errbacks with a
NodeError when there is none."""


@implementer(IReading, IPushProducer, IConsumer, ISpliceTarget)
class ResumedReading:
    """See IReading. `again` is asked for the rest whenever a node fails in mid-body.

    The consumer sees one producer throughout, which pauses and resumes whoever sends now.
    """

    at_hand = False

    def __init__(self, first: IReading, again: Again) -> None:
        self.head = first.head
        self.span = first.span
        self._reading = first
        self._again = again
        self._consumer: IConsumer | None = None
        self._sender: IPushProducer | None = None
        self._written = 0
        self._paused = False
        self._going: Deferred[object] | None = None
        self._done: Deferred[None] = Deferred(lambda _: self._give_up(None))
        self._settled = False

    # -- IReading ---------------------------------------------------------------------------------

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        self._consumer = consumer
        # A consumer that is gone already stops its producer at once.
        consumer.registerProducer(self, True)
        if self._settled:
            self._reading.abandon()
        else:
            self._flow(self._reading)
        return self._done

    def abandon(self) -> None:
        """See IReading."""
        self._reading.abandon()

    # -- the client's side ------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True
        if self._sender is not None:
            self._sender.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        if self._sender is not None:
            self._sender.resumeProducing()

    def stopProducing(self) -> None:
        """See IProducer: the client is gone."""
        self._give_up(Failure(ClientGone("the client went away before the end of the body")))

    # -- whoever sends now ------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer."""
        self._sender = producer  # type: ignore[assignment]
        if self._paused and self._sender is not None:
            self._sender.pauseProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._sender = None

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if not self._settled and self._consumer is not None:
            self._written += len(data)
            self._consumer.write(data)

    def target_socket(self) -> socket.socket | None:
        """See ISpliceTarget."""
        target = self._target()
        return None if target is None else target.target_socket()

    def flushed(self) -> Deferred[None]:
        """See ISpliceTarget."""
        target = self._target()
        return Deferred() if target is None else target.flushed()

    def spliced(self, count: int) -> None:
        """See ISpliceTarget."""
        self._written += count
        target = self._target()
        if target is not None:
            target.spliced(count)

    # -- inside -----------------------------------------------------------------------------------

    def _target(self) -> ISpliceTarget | None:
        target: ISpliceTarget | None = ISpliceTarget(self._consumer, None)
        return target

    def _flow(self, reading: IReading) -> None:
        flowing = reading.deliver(self)
        self._going = flowing  # type: ignore[assignment]
        flowing.addCallbacks(self._ended, self._broke)

    def _ended(self, _: None) -> None:
        if not self._settled:
            self._settle()
            self._done.callback(None)

    def _broke(self, failure: Failure) -> None:
        if self._settled:
            failure.trap(CancelledError, Exception)
            return
        left = self.span.length - self._written
        if left <= 0:
            self._ended(None)
            return
        if failure.check(NodeError) is None:
            self._fail(failure)
            return
        going = self._again(self.head, Span(self.span.first + self._written, left))
        self._going = going  # type: ignore[assignment]
        going.addCallbacks(self._go_on, lambda reason: self._nobody(reason, failure))

    def _go_on(self, reading: IReading) -> None:
        if self._settled:
            reading.abandon()
        else:
            self._flow(reading)

    def _nobody(self, reason: Failure, failure: Failure) -> None:
        """Nobody else has it: it failed as it did first."""
        if self._settled:
            reason.trap(CancelledError, Exception)
            return
        self._fail(failure if reason.check(NodeError) else reason)

    def _give_up(self, why: Failure | None) -> None:
        """The client is gone, or whoever waits has given up (then `why` is None)."""
        if self._settled:
            return
        self._settle()
        if self._going is not None:
            self._going.cancel()
        if why is not None:
            self._done.errback(why)

    def _fail(self, failure: Failure) -> None:
        self._settle()
        self._done.errback(failure)

    def _settle(self) -> None:
        self._settled = True
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.unregisterProducer()
