"""No bytes at all, as a reading and as a body."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from aosd.model.objects import ObjectHead, Span
from aosd.ports import IBodySink, IBodySource, IReading


@implementer(IReading)
class NothingRead:
    """See IReading: an empty span of an object, for which no node has to be asked."""

    at_hand = True

    def __init__(self, head: ObjectHead, span: Span) -> None:
        self.head = head
        self.span = span

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        return succeed(None)

    def abandon(self) -> None:
        """See IReading."""


@implementer(IBodySource)
class NothingSent:
    """See IBodySource: an empty body."""

    length: int | None = 0

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        sink.body_ended()

    def pause(self) -> None:
        """See IBodySource."""

    def resume(self) -> None:
        """See IBodySource."""

    def discard(self) -> None:
        """See IBodySource."""
