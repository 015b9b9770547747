"""A request's body on its way to a node, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.nodes.express.watchdog import Watchdog

if TYPE_CHECKING:
    from aosd.nodes.express.connection import NodeConnection

_SHORT_BYTES = 64 * 1024


class OtherLength(Exception):
    """A body has more or fewer bytes than it said."""


@implementer(IConsumer, IPushProducer)
class Sending:
    """What a body writes to, and what its connection's transport paces.

    The node is late when it takes no byte for `stall_s` though there are some, or doesn't
    answer within `answer_s` of the last one; `late` says which of them. `finished` when all
    bytes were written.

    The head goes out with the first bytes of the body, in one packet, unless a long body
    keeps them waiting.
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
            self._connection.send(head + data)
        else:
            if not self._registered:
                self._registered = True
                self._transport.registerProducer(self, True)
            self._transport.write(data)

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
            self._connection.send(head)

    def _unregister(self) -> None:
        if self._registered:
            self._registered = False
            self._transport.unregisterProducer()
