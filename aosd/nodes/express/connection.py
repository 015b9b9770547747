"""One connection to a node: a request goes out, its answer comes in, and again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from aosd.nodes.express.answer import Answer, Head, NotHttp
from aosd.nodes.express.sending import Sending
from aosd.nodes.express.watchdog import Watchdog
from aosd.streams.bodies import HeldBody
from aosd.streams.outgoing import Outgoing
from aosd.streams.splice import Pipes

_LONGEST_HEAD_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_HEADS_BEGIN = b"HTTP/"
_SHORT_BYTES = 64 * 1024
NO_ANSWER = "didn't begin to answer within {:g} s"
_NO_ANSWER_TO_BODY = "didn't answer within {:g} s of the last byte"


class Broke(Exception):
    """The connection ended before the head of an answer was here; `reason` says how."""

    def __init__(self, reason: Failure) -> None:
        super().__init__(f"the connection broke: {reason.value!r}")
        self.reason = reason


class TookTooLong(Exception):
    """The node was too slow; says at what."""


class NodeConnection(Protocol):
    """A client's end of HTTP/1.1, for one request at a time.

    `freed` is called with it when it can carry another request, `lost` when it is gone.
    `state` is QUIESCENT or CONNECTION_LOST, as ConfirmedEndpoint looks at it.
    """

    outgoing: Outgoing

    def __init__(
        self,
        clock: IReactorTime,
        freed: Callable[[NodeConnection], object],
        lost: Callable[[NodeConnection], object],
        pipes: Pipes | None = None,
    ) -> None:
        self.state = "QUIESCENT"
        self.closed: Deferred[None] = Deferred()
        self._freed = freed
        self._lost = lost
        self._pipes = pipes or Pipes()
        self.clock = clock
        self._dog = Watchdog(clock, self._is_late)
        self._verb = ""
        self._waiting: Deferred[Answer] | None = None
        self._late = ""
        self._late_s = 0.0
        self._sending: Sending | None = None
        self._received = b""
        self._head: Head | None = None
        self._answer: Answer | None = None
        self._left = 0  # of a body whose length was told
        self._paused = False
        self._ending = False
        self._unsent = False

    # -- what the pool and the exchange do with it ------------------------------------------------

    def ask(
        self,
        waiting: Deferred[Answer],
        verb: str,
        head: bytes,
        body: IBodyProducer | None,
        *,
        began_s: float,
        first_byte_s: float,
        stall_s: float,
        answer_s: float,
    ) -> None:
        """Send a request; `waiting` fires with the head of its answer.

        `head` is the whole of it, with the empty line. Without a body an answer has to begin
        within `first_byte_s` of `began_s` (on the clock); with one the deadlines are those of
        Sending. It errbacks with Broke, NotHttp, TookTooLong, and with whatever
        the body failed with. `give_up` is for its canceller.
        """
        self._verb = verb
        self._waiting = waiting
        if body is None:
            self._late = NO_ANSWER
            self._late_s = first_byte_s
            self._dog.watch(began_s + first_byte_s)
            self.outgoing.send(head)
        elif (whole := _at_hand(body)) is not None:
            self._late = _NO_ANSWER_TO_BODY
            self._late_s = answer_s
            self._dog.watch_for(answer_s)
            self.outgoing.send(head + whole)
        else:
            self._sending = Sending(self, head, body, self._dog, stall_s, answer_s)
            self._sending.begin()

    def give_up(self) -> None:
        """The answer isn't wanted any more, and won't be told: the connection is dropped."""
        self._waiting = None
        self._stop_sending()
        self.abort()

    @property
    def usable(self) -> bool:
        """Whether it can carry a request, for all that is known."""
        return not self._ending

    def keep(self, idle_s: float) -> None:
        """It waits in the pool, for so long at most."""
        self._dog.watch_for(idle_s)

    def close(self) -> None:
        """Close it when it has nothing to do."""
        self._ending = True
        if self._waiting is None and self._answer is None:
            self._transport.loseConnection()

    # -- what a body on its way out does with it --------------------------------------------------

    def read_the_last(self) -> None:
        """Read what the kernel still has: the transport is about to close the socket."""
        try:
            while (plain := self.outgoing.socket) and (data := plain.recv(_READ_BYTES)):
                self.dataReceived(data)
        except OSError:
            return  # that was all

    def body_is_late(self) -> None:
        """The node takes no more of a body."""
        self._is_late()

    def writing_broke(self, why: str) -> None:
        """A body can't be written any more. The node may have said why before it hung up."""
        self.read_the_last()
        if self._waiting is not None:
            self._fail(Failure(Broke(Failure(ConnectionLost(why)))))

    @property
    def pipes(self) -> Pipes:
        """What bodies are spliced through."""
        return self._pipes

    def body_failed(self, failure: Failure) -> None:
        """A body ended with an error in place of its last byte."""
        self._fail(failure)

    # -- the answer's side ------------------------------------------------------------------------

    def pause(self) -> None:
        """See Line."""
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def resume(self) -> None:
        """See Line."""
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    def abort(self) -> None:
        """See Line; also for a connection that nobody may use any more."""
        self._ending = True
        self._transport.abortConnection()

    def plain_socket(self) -> socket.socket | None:
        """See Line."""
        return None if self._ending and self._answer is None else self.outgoing.socket

    def body_taken(self, count: int) -> None:
        """See Line."""
        self._left -= count

    def body_over(self) -> None:
        """See Line."""
        if self._answer is not None:
            self._end_answer(self._answer, b"")

    # -- the wire ---------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """See IProtocol."""
        self._transport.setTcpNoDelay(True)
        self.outgoing = Outgoing(self._transport)

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        if self._ending and self._answer is None and self._waiting is None:
            return
        if self._answer is not None:
            self._body_came(data)
        elif self._waiting is not None:
            self._head_came(data)
        else:
            self.abort()  # nobody asked

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        self.state = "CONNECTION_LOST"
        self._ending = True
        self.outgoing.lost()
        self._dog.stop()
        self._lost(self)
        self._stop_sending()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.ended(reason=reason)
        self._settle(Failure(Broke(reason)))
        self.closed.callback(None)

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _transport(self) -> Any:
        return self.transport

    def _head_came(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        try:
            while True:
                end = received.find(b"\r\n\r\n") + 4
                if end < 4:
                    if not received.startswith(_HEADS_BEGIN[: len(received)]):
                        raise NotHttp(f"it begins with {received[:16]!r}")
                    if len(received) > _LONGEST_HEAD_BYTES:
                        raise NotHttp("its head has no end")
                    self._received = received
                    return
                head = Head(received[:end], self._verb)
                received = received[end:]
                if head.code >= 200:
                    break
        except NotHttp as error:
            self._fail(Failure(error))
            return
        self._received = b""
        self._begin_answer(head, received)

    def _begin_answer(self, head: Head, rest: bytes) -> None:
        self._dog.rest()
        if self._sending is not None and not self._sending.finished:
            # What wasn't sent won't be; the other end would take the next head for it.
            self._unsent = True
        self._stop_sending()
        waiting, self._waiting = self._waiting, None
        self._head = head
        answer = self._answer = Answer(head, self)
        self._left = head.length or 0
        if head.length == 0 or rest:
            self._body_came(rest)
        assert waiting is not None
        waiting.callback(answer)

    def _body_came(self, data: bytes) -> None:
        head, answer = self._head, self._answer
        assert head is not None and answer is not None
        if head.length is not None:
            self._left -= len(data)
            if self._left > 0:
                answer.came(data)
            elif self._left == 0:
                self._end_answer(answer, data)
            else:
                self._ending = True
                self._end_answer(answer, data[: self._left])
        elif head.endless:
            answer.came(data)
        else:
            self._chunks_came(head, answer, data)

    def _chunks_came(self, head: Head, answer: Answer, data: bytes) -> None:
        try:
            head.feed(data)
        except NotHttp as error:
            if not head.ended:
                self._answer = None
                self.abort()
                answer.ended(reason=Failure(error))
                return
            self._ending = True  # something after the end
        body = b"".join(head.body)
        head.body.clear()
        if head.ended:
            head.close()
            self._end_answer(answer, body)
        elif body:
            answer.came(body)

    def _end_answer(self, answer: Answer, last: bytes) -> None:
        # It is freed before the last byte is told of: who asks again then finds it.
        head, self._head, self._answer = self._head, None, None
        assert head is not None
        self.resume()
        if self._ending or self._unsent:
            self.abort()
        elif not head.keep_alive:
            self._ending = True
            self._transport.loseConnection()
        else:
            self._freed(self)
        answer.ended(last)

    def _is_late(self) -> None:
        if self._waiting is None:
            self._ending = True
            self._transport.loseConnection()  # nobody needed it for long
            return
        sending = self._sending
        late = self._late.format(self._late_s) if sending is None else sending.late
        self._fail(Failure(TookTooLong(late)))

    def _fail(self, failure: Failure) -> None:
        self._stop_sending()
        self.abort()
        self._settle(failure)

    def _settle(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(failure)

    def _stop_sending(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stop()


def _at_hand(body: IBodyProducer) -> bytes | None:
    """A short body that is here already: what it takes to let one flow, it does without."""
    if isinstance(body, HeldBody) and body.length <= _SHORT_BYTES:
        return body.in_one
    return None
