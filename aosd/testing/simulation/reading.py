"""A body on its way from a simulated node, which may end on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from aosd.model.errors import NodeError, NodeUnavailable
from aosd.model.objects import Span
from aosd.ports import IReading
from aosd.testing.memory_disk import Copy
from aosd.testing.simulation.weather import Fate

if TYPE_CHECKING:
    from aosd.testing.simulation.line import Line

_PIECE_BYTES = 16
_STALL_S = 10.0


@implementer(IReading, IPushProducer)
class BrittleReading:
    """See IReading. What of `copy` is in `span`, piece by piece, as long as the node lives."""

    at_hand = False

    def __init__(self, line: Line, copy: Copy, span: Span, fate: Fate, epoch: int) -> None:
        self.head = copy.head
        self.span = span
        self._data = copy.data[span.first : span.first + span.length]
        self._line = line
        self._epoch = epoch
        self._ends_at = len(self._data) + 1
        if fate is Fate.SHORT:
            self._ends_at = line.node.chance.randrange(len(self._data) + 1)
        self._slow = fate is Fate.SLOW
        self._sent = 0
        self._consumer: IConsumer | None = None
        self._paused = False
        self._broken: NodeError | None = None
        self._over = False
        self._going = False
        self._done: Deferred[None] = Deferred(lambda _: self._end())
        line.readings[self] = None

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See IReading."""
        assert self._consumer is None and not self._over
        self._consumer = consumer
        consumer.registerProducer(self, True)
        if not self._over:
            self._go()
        return self._done

    def abandon(self) -> None:
        """See IReading."""
        assert self._consumer is None and not self._over
        self._end()

    def broke(self, error: NodeError) -> None:
        """The connection broke; told when what came before it was taken."""
        self._broken = error
        if self._consumer is not None and not self._over:
            self._line.clock.callLater(0.001, self._fail)

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        self._go()

    def stopProducing(self) -> None:
        """See IProducer."""
        if not self._over:
            self._end()
            self._done.errback(NodeUnavailable(self._line.name, "stopped"))

    def _go(self) -> None:
        if self._going:
            return
        self._going = True
        try:
            while not self._over and not self._paused and self._step():
                pass
        finally:
            self._going = False

    def _step(self) -> bool:
        """One piece; whether another may follow at once."""
        assert self._consumer is not None
        if self._broken is not None:
            self._fail()
            return False
        if self._line.node.frozen:
            self._line.clock.callLater(_STALL_S, self._stalled, self._sent)
            self._line.node.when_awake(self._go)
            return False
        if self._sent == len(self._data):
            self._end()
            self._line.give_back(self._epoch)
            self._done.callback(None)
            return False
        until = min(self._sent + _PIECE_BYTES, self._ends_at)
        piece = self._data[self._sent : until]
        self._sent = min(until, len(self._data))
        if self._sent >= self._ends_at:
            self._line.node.tally["answer cut short"] += 1
            self._broken = NodeUnavailable(self._line.name, "the connection broke")
        if piece:
            self._consumer.write(piece)
        if self._slow and not self._over:
            self._line.clock.callLater(0.7, self._go)
            return False
        return True

    def _stalled(self, sent: int) -> None:
        if self._sent == sent and not self._paused:
            self._broken = NodeUnavailable(self._line.name, "no byte came")
            self._fail()

    def _fail(self) -> None:
        if not self._over and self._broken is not None and not self._paused:
            error = self._broken
            self._end()
            self._line.health.failed(error)
            self._done.errback(error)

    def _end(self) -> None:
        self._over = True
        self._line.readings.pop(self, None)
        if self._consumer is not None:
            self._consumer.unregisterProducer()
