"""A connection of the express lane."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.doors.cutter import HeadCutter, whole_head
from aosd.doors.express.handover import Handover
from aosd.doors.express.head import Head, parse_head
from aosd.doors.express.request import ExpressRequest
from aosd.doors.lingering import FLUSH_S, Lingering
from aosd.doors.load import refuse
from aosd.doors.site import HeadFirstSite
from aosd.doors.strict import TOO_SLOW, Problem
from aosd.streams.outgoing import Outgoing
from aosd.streams.splice import Flush

if TYPE_CHECKING:
    from aosd.doors.express.factory import ExpressSite

_MOST_HELD_BYTES = 64 * 1024
_LONG_BYTES = 256 * 1024  # a body as long as that is read by as much at once
_READ_BYTES = 64 * 1024  # what Twisted's transports read at once otherwise
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IPushProducer)
class ExpressChannel(Protocol):
    """Serves one request after the other; what it doesn't know it hands over.

    `site` is the standard lane's, which has what both share. What comes after the present
    request is held, at most some 64 KiB of it and what is read at once. To its transport it
    is the one producer: it passes pauses on to whoever writes the present answer, and starts
    no other meanwhile.
    """

    transport: Any
    outgoing: Outgoing
    peer: object

    def __init__(self, lane: ExpressSite, site: HeadFirstSite) -> None:
        self.site = site
        self.persistent = True
        self.secure = False
        self._lane = lane
        self._held = bytearray()
        self._heads = HeadCutter(self._held)
        self._current: ExpressRequest | Handover | None = None
        self._advancing = False
        self._producer: IPushProducer | None = None
        self._write_blocked = False
        self._body_holds = False
        self._reads = True
        self._reads_long = False
        self.closing = False
        self._gone = False
        self._quiet_since_s = 0.0
        self._quiet: IDelayedCall | None = None
        self._slow: IDelayedCall | None = None
        self._lingering: Lingering | None = None

    # -- the transport's side -------------------------------------------------------------------

    def connectionMade(self) -> None:
        """A client connected."""
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self.secure = ISSLTransport.providedBy(transport)
        self.outgoing = Outgoing(transport)
        self.peer = transport.getPeer()
        transport.registerProducer(self, True)
        clock = self.site.clock
        self._quiet_since_s = clock.seconds()
        self._quiet = clock.callLater(self._lane.keep_alive_s, self._check_quiet)
        self._lane.admit(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self.closing:
            if self._lingering is not None:
                self._lingering.take(data)
            return
        current = self._current
        if current is not None and current.wants:
            data = current.take(data)
        if not data or self.closing:
            return
        if self._current is None and not self._held and not self._write_blocked:
            data = self._begin_whole(data)
            if not data or self.closing:
                return
        self._held += data
        self._advance()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self._gone = self.closing = True
        self.outgoing.lost()
        self._held.clear()
        self._stop_timers()
        if self._lingering is not None:
            self._lingering.stop()
        self._lane.channels.discard(self)
        current, self._current = self._current, None
        if current is not None:
            current.lost(reason)
        self._lane.channel_left()

    def pauseProducing(self) -> None:
        """See IPushProducer: the client doesn't keep up with what is written."""
        self._write_blocked = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._write_blocked = False
        if self._producer is not None:
            self._producer.resumeProducing()
        self._advance()

    def stopProducing(self) -> None:
        """See IProducer: the client is gone."""
        if self._producer is not None:
            self._producer.stopProducing()

    # -- the request's side ---------------------------------------------------------------------

    def date(self) -> bytes:
        """See Connection."""
        return self._lane.date()

    def register(self, producer: IPushProducer) -> None:
        """See Connection."""
        self._producer = producer
        if self._write_blocked:
            producer.pauseProducing()

    def unregister(self) -> None:
        """See Connection."""
        self._producer = None

    def plain_socket(self) -> socket.socket | None:
        """See PlainLine."""
        return self.outgoing.socket

    def body_taken(self, count: int) -> None:
        """See PlainLine."""
        if isinstance(self._current, ExpressRequest):
            self._current.body_taken(count)

    def flushed(self) -> Deferred[None]:
        """See Connection."""
        done: Deferred[None] = Deferred(lambda _: None)
        self.transport.unregisterProducer()
        Flush(self.transport, lambda: self._was_flushed(done), self.stopProducing).begin()
        return done

    def send_continue(self) -> None:
        """See Line."""
        self.outgoing.send(_CONTINUE)

    def pause_reading(self) -> None:
        """See Line."""
        self._body_holds = True
        self._regulate()

    def resume_reading(self) -> None:
        """See Line."""
        self._body_holds = False
        self._regulate()

    def done(self) -> None:
        """See Connection."""
        self._current = None
        self._producer = None
        self._body_holds = False
        if not self.persistent:
            self.close()
            return
        if self._reads_long:
            self._read_by(_READ_BYTES)
        self._quiet_since_s = self.site.clock.seconds()
        if self._held:
            self._advance()
        else:
            self._regulate()

    def close(self) -> None:
        """See Connection."""
        if self.closing:
            return
        self.closing = True
        self._held.clear()
        self._stop_timers()
        self._quiet = self.site.clock.callLater(FLUSH_S, self.abort)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """See Connection."""
        self.closing = True
        self._held.clear()
        if not self._gone:
            self.transport.abortConnection()

    # -- the factory's side -----------------------------------------------------------------------

    def close_when_idle(self) -> None:
        """Take no further request; close now if none is under way."""
        self.persistent = False
        if self._current is None and not self._held:
            self.close()

    # -- inside ---------------------------------------------------------------------------------

    def _was_flushed(self, done: Deferred[None]) -> None:
        if self.closing:
            return
        self.transport.registerProducer(self, True)
        if self._write_blocked:
            self.resumeProducing()
        if not done.called:
            done.callback(None)

    def _advance(self) -> None:
        """Begin requests, as long as whole heads are held and none is under way."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._held and self._current is None and not self._write_blocked:
                if not self._begin_next():
                    break
        finally:
            self._advancing = False
        self._watch_head()
        self._regulate()

    def _begin_whole(self, data: bytes) -> bytes:
        """Begin a request whose head came in one piece, as most do; what isn't used of `data`."""
        end = whole_head(data)
        if not end:
            return data
        raw, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        self._advancing = True
        try:
            head = self._lane.heads.read(raw)
            if isinstance(head, Head):
                return self._begin(raw, head, rest)
            self._refuse(head)
        finally:
            self._advancing = False
        return b""

    def _begin_next(self) -> bool:
        """Whether a head was held, and its request begun."""
        head = self._heads.cut()
        if head is None:
            return False
        self._stop_watching_head()
        if isinstance(head, Problem):
            self._refuse(head)
            return False
        held = self._held
        rest = bytes(held)
        held.clear()
        rest = self._begin(head, parse_head(head), rest)
        if not self.closing:
            held += rest
        return not self.closing

    def _begin(self, raw: bytes, head: Head, rest: bytes) -> bytes:
        """Begin a request; what is left of what came after its head."""
        fields = head.fields
        length = fields.length
        serve = None
        if length is not None and length >= _LONG_BYTES:
            self._read_by(_LONG_BYTES)
        if length is not None and head.is_plain:
            request = ExpressRequest(self, head)
            serve = self._lane.routes.find(request)
        if serve is None:
            self._lane.standard.inc()
            handover = Handover(self, length)
            self._current = handover
            handover.begin(raw)
            return handover.take(rest) if rest and self._current is handover else rest
        self._lane.express.inc()
        if fields.closes:
            self.persistent = False
        self._current = request
        if length:
            is_whole = len(rest) >= length
            request.expect_body(length, rest[:length] if is_whole else b"")
            if is_whole:
                rest = rest[length:]
        request.begin(self.site.make_request_id())
        if length and not is_whole and rest:
            # First: once it is served, what else comes may go another way.
            rest = request.take(rest)
        if self.site.load.enter(request):
            serve(request)
        else:
            refuse(request)
        request.served()
        return rest

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request, in either lane's words, and close."""
        self.closing = True
        self._held.clear()
        self._stop_timers()
        self.outgoing.send(problem.answer())
        self._lingering = Lingering(self.transport, self.site.clock)

    def _regulate(self) -> None:
        """Read, or don't: what is held is bounded, and a body flows at its reader's pace."""
        if self.closing:
            return
        reads = not self._body_holds and len(self._held) <= _MOST_HELD_BYTES
        if reads != self._reads:
            self._reads = reads
            if reads:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _read_by(self, count: int) -> None:
        """Read so many bytes at once: what a long body costs is by piece as well as by byte."""
        self._reads_long = count > _READ_BYTES
        self.transport.bufferSize = count  # with TLS nobody looks at it

    def _watch_head(self) -> None:
        """Count the time of a head that hasn't come whole."""
        waits = bool(self._held) and self._current is None and not self.closing
        if waits and self._slow is None:
            timeout_s = self.site.client_idle_timeout_s
            self._slow = self.site.clock.callLater(timeout_s, self._head_is_slow)
        elif not waits:
            self._stop_watching_head()

    def _stop_watching_head(self) -> None:
        """It is whole: what is held after it is another head, with a time of its own."""
        slow, self._slow = self._slow, None
        if slow is not None:
            slow.cancel()

    def _head_is_slow(self) -> None:
        self._slow = None
        if self._write_blocked:
            self._watch_head()
        else:
            self._refuse(TOO_SLOW)

    def _check_quiet(self) -> None:
        """Close a connection that nothing was asked on for too long."""
        self._quiet = None
        left_s = keep_alive_s = self._lane.keep_alive_s
        if self._current is None and self._slow is None:
            left_s = self._quiet_since_s + keep_alive_s - self.site.clock.seconds()
        if left_s > 0:
            self._quiet = self.site.clock.callLater(left_s, self._check_quiet)
        else:
            self.close()

    def _stop_timers(self) -> None:
        for call in (self._quiet, self._slow):
            if call is not None and call.active():
                call.cancel()
        self._quiet = self._slow = None
