"""A request's body on its way to a node, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.nodes.express.watchdog import Watchdog
from aosd.nodes.express.writing import Writer
from aosd.streams.splice import (
    SPLICED_FROM_BYTES,
    Flush,
    ISpliceBody,
    ISplicer,
    SourceBroke,
    Splice,
    TargetBroke,
    splices,
)

if TYPE_CHECKING:
    from aosd.nodes.express.connection import NodeConnection

_SHORT_BYTES = 64 * 1024


class OtherLength(Exception):
    """A body has more or fewer bytes than it said."""


@implementer(IConsumer, IPushProducer, ISplicer)
class Sending:
    """What a body writes to, and what its connection's transport paces.

    The node is late when it takes no byte for `stall_s` though there are some, or doesn't
    answer within `answer_s` of the last one; `late` says which of them. `finished` when all
    bytes were written.

    The head goes out with the first bytes of the body, in one packet, unless a long body
    keeps them waiting. By a plain socket what comes after them is sent by a Writer.
    """

    def __init__(
        self,
        connection: NodeConnection,
        head: bytes,
        body: IBodyProducer,
        dog: Watchdog,
        stall_s: float,
        answer_s: float,
    ) -> None:
        self.finished = False
        self.late = ""
        self._connection = connection
        self._head = head
        self._body: IBodyProducer | None = body
        self._left: int = body.length
        self._dog = dog
        self._stall_s = stall_s
        self._answer_s = answer_s
        self._registered = False
        self._writer: Writer | None = None
        self._splicing: Deferred[None] | None = None

    def begin(self) -> None:
        """Let the body flow."""
        body = self._body
        assert body is not None
        self._dog.rest()
        waits = self._left <= _SHORT_BYTES
        producing: Deferred[None] = body.startProducing(self)
        producing.addCallbacks(self._was_sent, self._broke)
        if not waits:
            self._flush_head()

    def stop(self) -> None:
        """The answer is here, or won't come: nothing more is sent."""
        self._dog.rest()
        splicing, self._splicing = self._splicing, None
        if splicing is not None:
            splicing.cancel()
        self._unregister()
        body, self._body = self._body, None
        if body is not None and not self.finished:
            body.stopProducing()

    # -- the body's side --------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer. A request's body is paced as IBodyProducer says, without this."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if self._body is None:
            return
        self._left -= len(data)
        if self._left < 0:
            self._fail(Failure(OtherLength("a body has more bytes than it said")))
        elif self._head:
            head, self._head = self._head, b""
            self._connection.outgoing.send(head + data)
        else:
            if not self._registered:
                self._register()
            if self._writer is not None:
                self._writer.write(data)
            else:
                self._connection.outgoing.write(data)

    def splice_from(self, source: ISpliceBody, count: int) -> Deferred[None] | None:
        """See ISplicer."""
        connection = self._connection
        if self._body is None or count < SPLICED_FROM_BYTES or not splices():
            return None
        if connection.plain_socket() is None or source.source_socket() is None:
            return None
        source.take_over()
        self._flush_head()
        self._unregister()
        flushing: Deferred[None] = Deferred(lambda _: None)
        flush = Flush(
            self._transport, lambda: self._was_flushed(flushing), connection.read_the_last
        )
        self._registered = True
        self.late = f"took no byte for {self._stall_s:g} s"
        self._dog.watch_for(self._stall_s)
        splicing = flushing.addCallback(lambda _: self._splice(source, count))
        splicing.addBoth(self._was_spliced)
        self._splicing = splicing
        flush.begin()
        return splicing

    # -- the transport's side ---------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._body is not None and not self.finished:
            self.late = f"took no byte for {self._stall_s:g} s"
            self._dog.watch_for(self._stall_s)
            self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        if self._body is not None and not self.finished:
            self._dog.rest()
            self._body.resumeProducing()

    def stopProducing(self) -> None:
        """See IProducer: writing broke. The node may have said why before it hung up."""
        self._connection.read_the_last()

    # -- splicing ---------------------------------------------------------------------------------

    def _was_flushed(self, flushing: Deferred[None]) -> None:
        self._registered = False
        if not flushing.called:
            flushing.callback(None)

    def _splice(self, source: ISpliceBody, count: int) -> Deferred[None]:
        connection = self._connection
        self._dog.rest()
        source_socket, target_socket = source.source_socket(), connection.plain_socket()
        if source_socket is None:
            return fail(SourceBroke("it is gone"))
        if target_socket is None:
            return fail(TargetBroke("it is gone"))
        splice = Splice(
            connection.clock,
            connection.pipes,
            source_socket,
            target_socket,
            count,
            taken=source.taken,
            spliced=self._spliced,
            source_timeout_s=source.idle_timeout_s,
            target_timeout_s=self._stall_s,
        )
        splice.begin()
        return splice.done

    def _spliced(self, count: int) -> None:
        self._left -= count

    def _was_spliced(self, result: Failure | None) -> Failure | None:
        self._splicing = None
        if self._body is None:
            return result
        self._dog.rest()
        error = result.value if isinstance(result, Failure) else None
        if not isinstance(error, TargetBroke):
            self._body.resumeProducing()
        elif error.late:
            self._connection.body_is_late()
        else:
            self._connection.writing_broke(str(error))
        return result

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _transport(self) -> Any:
        return self._connection.transport

    def _was_sent(self, _: None) -> None:
        if self._body is None:
            return
        if self._left > 0:
            self._fail(Failure(OtherLength("a body has fewer bytes than it said")))
            return
        self.finished = True
        self._flush_head()
        self._unregister()
        self.late = f"didn't answer within {self._answer_s:g} s of the last byte"
        self._dog.watch_for(self._answer_s)

    def _broke(self, failure: Failure) -> None:
        if self._body is not None:
            self.finished = True  # it has ended, in its own way
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._connection.body_failed(failure)

    def _flush_head(self) -> None:
        head, self._head = self._head, b""
        if head:
            self._connection.outgoing.send(head)

    def _register(self) -> None:
        self._registered = True
        if self._connection.plain_socket() is None:
            self._transport.registerProducer(self, True)
        else:
            self._writer = Writer(self._connection.outgoing, self, self._moved)

    def _unregister(self) -> None:
        if not self._registered:
            return
        self._registered = False
        writer, self._writer = self._writer, None
        if writer is None:
            self._transport.unregisterProducer()
        else:
            writer.end()

    def _moved(self) -> None:
        self._dog.watch_for(self._stall_s)
