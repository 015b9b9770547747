"""Bodies for tests: from bytes, and back into bytes, with a hand on the brake.

body = BytesBody(b"some bytes", piece_bytes=4)
node.put("object", "key", body, ())

taken = CollectingConsumer(pause_after_bytes=100)
reading.deliver(taken)  # stops at 100 bytes, until
taken.resume()
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.ports import IBodySink, IBodySource

PIECE_BYTES = 65_536


class Flow:
    """Lets bytes out piece by piece, in one go, as long as nobody pauses or stops it."""

    def __init__(
        self,
        data: bytes,
        piece_bytes: int,
        write: Callable[[bytes], object],
        ended: Callable[[], object],
    ) -> None:
        self.sent_bytes = 0
        self._data = data
        self._piece_bytes = piece_bytes
        self._write = write
        self._ended = ended
        self._paused = False
        self._over = False
        self._flowing = False

    def go(self) -> None:
        """Start, or go on after a pause."""
        self._paused = False
        if self._flowing:
            return  # resumed from within a write: the loop that wrote goes on
        self._flowing = True
        while not self._paused and not self._over:
            piece = self._data[self.sent_bytes : self.sent_bytes + self._piece_bytes]
            if piece:
                self.sent_bytes += len(piece)
                self._write(piece)
            else:
                self._over = True
                self._ended()
        self._flowing = False

    def pause(self) -> None:
        """Nothing more until `go`."""
        self._paused = True

    def stop(self) -> None:
        """Nothing more for ever; safe at any time."""
        self._over = True


@implementer(IBodyProducer)
class BytesBody:
    """A request body that flows once, in pieces of `piece_bytes`, at its consumer's pace.

    With `fails` it fails with that error in place of the byte `fails_at`; its `length`
    is that of the whole `data` all the same, as with a client that goes away. `stopped`
    says whether its consumer stopped it, `sent_bytes` how far it came.
    """

    def __init__(
        self,
        data: bytes,
        *,
        piece_bytes: int = PIECE_BYTES,
        fails_at: int = 0,
        fails: Exception | None = None,
    ) -> None:
        self.length = len(data)
        self.stopped = False
        self._flow = Flow(
            data if fails is None else data[:fails_at], piece_bytes, self._write, self._ended
        )
        self._fails = fails
        self._consumer: IConsumer | None = None
        self._finished: Deferred[None] | None = None

    @property
    def sent_bytes(self) -> int:
        """How many bytes its consumer got so far."""
        return self._flow.sent_bytes

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        assert self._consumer is None, "a body flows once"
        self._consumer = consumer
        finished = self._finished = Deferred(lambda _: self.stopProducing())
        self._flow.go()
        return finished

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._flow.pause()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._flow.go()

    def stopProducing(self) -> None:
        """See IProducer."""
        self.stopped = True
        self._finished = None
        self._flow.stop()

    def _write(self, data: bytes) -> None:
        assert self._consumer is not None
        self._consumer.write(data)

    def _ended(self) -> None:
        finished, self._finished = self._finished, None
        assert finished is not None
        if self._fails is None:
            finished.callback(None)
        else:
            finished.errback(Failure(self._fails))


@implementer(IConsumer)
class CollectingConsumer:
    """Keeps what it gets; pauses its producer each `pause_after_bytes`, until `resume`.

    `late_bytes` counts what came while it was paused: a transport under way may pass on a
    little, a producer that doesn't listen passes on everything. `ended` says whether the
    producer has unregistered.
    """

    def __init__(self, pause_after_bytes: int | None = None) -> None:
        self.data = bytearray()
        self.producer: IPushProducer | None = None
        self.paused = False
        self.pauses = 0
        self.late_bytes = 0
        self.pause_after_bytes = pause_after_bytes
        self._since_resumed_bytes = 0
        self._waiting: list[Deferred[None]] = []

    @property
    def ended(self) -> bool:
        """Whether no producer is registered."""
        return self.producer is None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer."""
        assert self.producer is None, "a producer is registered already"
        assert streaming, "a pull producer"
        self.producer = producer  # type: ignore[assignment]

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        assert self.producer is not None, "no producer is registered"
        self.producer = None

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        self.data += data
        self._since_resumed_bytes += len(data)
        limit_bytes = self.pause_after_bytes
        if self.paused:
            self.late_bytes += len(data)
        elif limit_bytes is not None and self._since_resumed_bytes >= limit_bytes:
            self.pause()

    def pause(self) -> None:
        """Take no more for now."""
        assert self.producer is not None
        self.paused = True
        self.pauses += 1
        self.producer.pauseProducing()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def resume(self) -> None:
        """Go on, up to the next pause."""
        self.paused = False
        self._since_resumed_bytes = 0
        if self.producer is not None:
            self.producer.resumeProducing()

    def stop(self) -> None:
        """Want no more for ever, as a client that went away."""
        assert self.producer is not None
        self.producer.stopProducing()

    def when_paused(self) -> Deferred[None]:
        """Fires at the next pause; at once when it is paused."""
        waiting: Deferred[None] = Deferred()
        if self.paused:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting


@implementer(IBodySource)
class BytesSource:
    """A client's body that hasn't started to flow: what a door hands to a use case.

    Flows in pieces of `piece_bytes`, to the end or, with `fails`, up to `fails_at`.
    With `told` False the client didn't say how long it is. `discarded` tells whether the
    use case wanted no more of it.
    """

    def __init__(
        self,
        data: bytes,
        *,
        told: bool = True,
        piece_bytes: int = PIECE_BYTES,
        fails_at: int = 0,
        fails: Exception | None = None,
    ) -> None:
        self.length = len(data) if told else None
        self.discarded = False
        self._flow = Flow(
            data if fails is None else data[:fails_at], piece_bytes, self._write, self._ended
        )
        self._fails = fails
        self._sink: IBodySink | None = None

    @property
    def started(self) -> bool:
        """Whether somebody began to read it."""
        return self._sink is not None

    @property
    def sent_bytes(self) -> int:
        """How many bytes its sink got so far."""
        return self._flow.sent_bytes

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        assert self._sink is None, "a body is started once"
        self._sink = sink
        self._flow.go()

    def pause(self) -> None:
        """See IBodySource."""
        self._flow.pause()

    def resume(self) -> None:
        """See IBodySource."""
        if self._sink is not None:
            self._flow.go()

    def discard(self) -> None:
        """See IBodySource."""
        self.discarded = True
        self._flow.stop()

    def _write(self, data: bytes) -> None:
        assert self._sink is not None
        self._sink.body_data(data)

    def _ended(self) -> None:
        assert self._sink is not None
        if self._fails is None:
            self._sink.body_ended()
        else:
            self._sink.body_failed(Failure(self._fails))
