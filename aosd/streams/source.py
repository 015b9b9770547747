"""A node's answer as a body to be sent to other nodes."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.ports import IBodySink, IBodySource, IReading


@implementer(IBodySource, IConsumer)
class ReadingSource:
    """The body of a reading, at the pace of whoever it flows to. See IBodySource.

    It owns the reading: `discard` gives it up, whether or not it was started.
    """

    def __init__(self, reading: IReading) -> None:
        self.length: int | None = reading.span.length
        self._reading = reading
        self._sink: IBodySink | None = None
        self._producer: IPushProducer | None = None
        self._paused = False
        self._delivering: Deferred[None] | None = None
        self._over = False

    # -- whoever it flows to ----------------------------------------------------------------------

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        self._sink = sink
        delivering = self._reading.deliver(self)
        self._delivering = delivering
        delivering.addCallbacks(self._ended, self._failed)

    def pause(self) -> None:
        """See IBodySource."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume(self) -> None:
        """See IBodySource."""
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def discard(self) -> None:
        """See IBodySource."""
        if self._over:
            return
        self._over = True
        if self._sink is None:
            self._reading.abandon()
        elif self._delivering is not None:
            self._delivering.cancel()

    # -- the reading ------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer."""
        self._producer = producer  # type: ignore[assignment]
        if self._paused and self._producer is not None:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if not self._over and self._sink is not None and data:
            self._sink.body_data(data)

    def _ended(self, _: None) -> None:
        if not self._over:
            self._over = True
            assert self._sink is not None
            self._sink.body_ended()

    def _failed(self, failure: Failure) -> None:
        if self._over:
            failure.trap(CancelledError, Exception)
            return
        self._over = True
        assert self._sink is not None
        self._sink.body_failed(failure)
