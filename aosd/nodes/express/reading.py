"""A node's answer to a GET, by the express lane."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from aosd.model.objects import ObjectHead, Span
from aosd.nodes.bodies import drop_body
from aosd.nodes.express.answer import Answer
from aosd.ports import IReading
from aosd.streams.relay import Relay
from aosd.streams.splice_relay import SpliceRelay


@implementer(IReading)
class AnswerReading:
    """See IReading. A short body, which came with its head, is written in one piece.

    A long one is spliced where `make_splice` says how.
    """

    __slots__ = ("_make_relay", "_make_splice", "answer", "head", "span")

    def __init__(
        self,
        answer: Answer,
        head: ObjectHead,
        span: Span,
        make_relay: Callable[[IConsumer, int | None], Relay],
        make_splice: Callable[[IConsumer, Answer, int], SpliceRelay | None],
    ) -> None:
        self.head = head
        self.span = span
        self.answer = answer
        self._make_relay = make_relay
        self._make_splice = make_splice

    @property
    def at_hand(self) -> bool:
        """See IReading."""
        return self.answer.over

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading. No producer is registered for a body that is here already."""
        whole = self.answer.take_whole()
        if whole is not None:
            if whole:
                consumer.write(whole)
            return succeed(None)
        spliced = self._make_splice(consumer, self.answer, self.span.length)
        if spliced is not None:
            spliced.begin()
            return spliced.done
        relay = self._make_relay(consumer, self.span.length)
        self.answer.deliverBody(relay)
        return relay.done

    def abandon(self) -> None:
        """See IReading."""
        if not self.answer.over:
            drop_body(self.answer, self._make_relay)
