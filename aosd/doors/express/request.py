"""A request of the express lane."""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, RESPONSES
from zope.interface import implementer

from aosd.doors.body import NO_BODY, NoBody, RequestBody
from aosd.doors.express.body import ExpressBody, PlainLine
from aosd.doors.express.head import ExpressHeaders, Head
from aosd.doors.lingering import Patience
from aosd.doors.site import HeadFirstSite
from aosd.model.errors import ClientGone
from aosd.streams.outgoing import Outgoing
from aosd.streams.splice import ISpliceTarget

_STATUS_LINES = {code: b"HTTP/1.1 %d %b\r\n" % (code, reason) for code, reason in RESPONSES.items()}


class Connection(PlainLine, Protocol):
    """The connection that a request came by."""

    site: HeadFirstSite
    transport: Any
    outgoing: Outgoing
    peer: object
    secure: bool
    persistent: bool
    closing: bool

    def date(self) -> bytes:
        """The present time, as HTTP has it."""

    def register(self, producer: IPushProducer) -> None:
        """Let a producer write to the client, at the client's pace."""

    def unregister(self) -> None:
        """It has written all."""

    def flushed(self) -> Deferred[None]:
        """Fires when all that was written has left user space; never, when it is lost before."""

    def close(self) -> None:
        """Close when all is written."""

    def abort(self) -> None:
        """Drop it at once."""

    def done(self) -> None:
        """The request is over: answered, and its body is in."""


@implementer(IConsumer, ISpliceTarget)
class ExpressRequest:
    """See DoorRequest. It registers push producers only."""

    __slots__ = (
        "_answering",
        "_at_hand",
        "_chunked",
        "_connection",
        "_ends_late",
        "_finished",
        "_gone",
        "_headers",
        "_left",
        "_notify",
        "_patience",
        "_told",
        "aborted",
        "began_s",
        "body",
        "clientproto",
        "code",
        "door",
        "method",
        "path",
        "requestHeaders",
        "request_id",
        "sentLength",
        "startedWriting",
        "uri",
    )

    def __init__(self, connection: Connection, head: Head) -> None:
        self.method = head.method
        self.uri = head.target
        self.path = head.target.partition(b"?")[0]
        self.clientproto = b"HTTP/1.1"
        self.requestHeaders = ExpressHeaders(head.fields.values)
        self.body: RequestBody | NoBody = NO_BODY
        self.door = "none"
        self.request_id = ""
        self.began_s = 0.0
        self.code = 200
        self.sentLength = 0
        self.startedWriting = 0
        self.aborted = False
        self._connection = connection
        self._headers: dict[bytes, bytes] = {}
        self._chunked = False
        self._finished = False
        self._gone = False
        self._told = False
        self._notify: list[Deferred[None]] = []
        self._answering: Deferred[None] | None = None
        self._left = 0
        self._at_hand = b""
        # All of the body came, and that it is over hasn't been told.
        self._ends_late = False
        self._patience: Patience | None = None

    # -- the connection's side ------------------------------------------------------------------

    def expect_body(self, length: int, at_hand: bytes) -> None:
        """Its body has `length` bytes; `at_hand` are all of them, if they were read already."""
        expect = self.requestHeaders.getRawHeaders(b"expect")
        expects = expect is not None and expect[0].lower() == b"100-continue"
        connection = self._connection
        site = connection.site
        body = ExpressBody(connection, length, expects, site.clock, site.client_idle_timeout_s)
        self.body = body
        self._left = length
        if at_hand:
            self._at_hand = at_hand
            body.is_at_hand(self._flow)
        else:
            body.hold()

    def begin(self, request_id: str) -> None:
        """It is served from now on."""
        site = self._connection.site
        self.began_s = site.clock.seconds()
        self.request_id = request_id
        site.observer.began(self)

    def served(self) -> None:
        """Somebody wanted the body that is at hand, and it came; or nobody will."""
        self._flow()
        if self._ends_late:
            self._end_body()

    def take(self, data: bytes) -> bytes:
        """Take what of `data` is the body's; what is left is somebody else's."""
        left = self._left
        body = self.body
        if not left or isinstance(body, NoBody):
            return data
        rest = b""
        if len(data) > left:
            data, rest = data[:left], data[left:]
        self._left = left - len(data)
        body.data(data)
        if self._left:
            if self._patience is not None:
                self._patience.took(len(data))
        else:
            self._end_body()
        return rest

    def body_taken(self, count: int) -> None:
        """So many bytes of its body went another way; never the last."""
        self._left -= count

    @property
    def wants(self) -> bool:
        """Whether some of its body hasn't come."""
        return self._left > 0

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._gone = True
        if self._patience is not None:
            self._patience.end()
        if isinstance(self.body, RequestBody):
            self.body.fail(ClientGone("the client went away"))
        notify, self._notify = self._notify, []
        for each in notify:
            each.errback(reason)
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
        self._tell()

    # -- the door's side ------------------------------------------------------------------------

    def has_any(self, names: frozenset[bytes]) -> bool:
        """See DoorRequest."""
        return self.requestHeaders.has_any(names)

    def setResponseCode(self, code: int) -> None:
        """See DoorRequest."""
        self.code = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        """See DoorRequest."""
        self._headers[name.lower()] = value

    def write(self, data: bytes) -> None:
        """See DoorRequest."""
        if self._gone or self._finished:
            return
        outgoing = self._connection.outgoing
        if self.startedWriting:
            if data and self._has_body():
                self.sentLength += len(data)
                if self._chunked:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                outgoing.send(data)
            return
        head = self._head()
        if not data or not self._has_body():
            outgoing.send(head)
            return
        self.sentLength += len(data)
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        # Short: joining costs less than a second piece. Otherwise the copy would cost more.
        if len(data) <= 16384:
            outgoing.send(head + data)
        else:
            outgoing.send(head)
            outgoing.send(data)

    def finish(self) -> None:
        """See DoorRequest.

        With the body still on its way no other request can follow: the connection is closed,
        once the client could read the answer.
        """
        if self.aborted or self._gone or self._finished:
            return
        connection, body = self._connection, self.body
        if not self.startedWriting:
            self.write(b"")
        if self._chunked:
            connection.outgoing.send(b"0\r\n\r\n")
        self._finished = True
        lingers = not body.ended
        if lingers and isinstance(body, RequestBody):
            self._patience = Patience(connection.site.clock, self.abort)
            self._patience.begin()
            body.drain()
        notify, self._notify = self._notify, []
        for each in notify:
            each.callback(None)
        self._tell()
        if not lingers:
            connection.done()

    def finish_after(self, answering: Deferred[None]) -> None:
        """See DoorRequest."""
        self._answering = answering
        answering.addCallback(self._answered)

    def abort(self) -> None:
        """See DoorRequest."""
        self.aborted = True
        if not self._gone:
            self._connection.abort()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if self._gone:
            producer.stopProducing()
        else:
            self._connection.register(producer)

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._connection.unregister()

    def target_socket(self) -> socket.socket | None:
        """See ISpliceTarget."""
        if self._gone or self._finished or self._chunked or not self.startedWriting:
            return None
        return self._connection.plain_socket() if self._has_body() else None

    def flushed(self) -> Deferred[None]:
        """See ISpliceTarget."""
        return self._connection.flushed()

    def spliced(self, count: int) -> None:
        """See ISpliceTarget."""
        self.sentLength += count

    def notifyFinish(self) -> Deferred[None]:
        """See DoorRequest."""
        notified: Deferred[None] = Deferred()
        self._notify.append(notified)
        return notified

    def isSecure(self) -> bool:
        """See DoorRequest."""
        return self._connection.secure

    def getClientAddress(self) -> object:
        """See DoorRequest."""
        return self._connection.peer

    # -- inside ---------------------------------------------------------------------------------

    def _flow(self) -> None:
        """Let the body come that is at hand.

        Who refuses it for what it is goes on only when it has all come. It is to say then what
        it says of any other such body: that the connection is closed, as that isn't over.
        """
        data, self._at_hand = self._at_hand, b""
        body = self.body
        if not data or self._gone or isinstance(body, NoBody):
            return
        was_given_up = body.is_given_up
        self._left = 0
        body.data(data)
        if body.is_given_up and not was_given_up:
            self._ends_late = True
        else:
            self._end_body()

    def _end_body(self) -> None:
        self._ends_late = False
        body = self.body
        if isinstance(body, NoBody) or self._gone:
            return
        self._connection.resume_reading()
        body.end()
        if self._patience is not None and self._patience.end():
            self._connection.done()

    def _has_body(self) -> bool:
        return self.method != b"HEAD" and self.code not in NO_BODY_CODES

    def _head(self) -> bytes:
        self.startedWriting = 1
        connection, headers, code = self._connection, self._headers, self.code
        status = _STATUS_LINES.get(code)
        if status is None:
            status = b"HTTP/1.1 %d Unknown Status\r\n" % code
        pieces = [
            status,
            b"server: aosd\r\ndate: ",
            connection.date(),
            b"\r\nx-amz-request-id: ",
            self.request_id.encode("ascii"),
        ]
        for name, value in headers.items():
            pieces += (b"\r\n", name, b": ", value)
        if b"content-length" not in headers and self._has_body():
            self._chunked = True
            pieces.append(b"\r\ntransfer-encoding: chunked")
        closes = not (connection.persistent and self.body.ended)
        if closes:
            connection.persistent = False
            pieces.append(b"\r\nconnection: close")
        pieces.append(b"\r\n\r\n")
        head = b"".join(pieces)
        lines = len(headers) + 5 + self._chunked + closes
        if head.count(b"\n") == lines == head.count(b"\r"):
            return head
        # A value has a line's end in it, which would make two headers of one.
        for name, value in headers.items():
            headers[name] = b" ".join(value.splitlines())
        return self._head()

    def _answered(self, _: None) -> None:
        self._answering = None
        if not self.aborted:
            self.finish()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._connection.site.over(self)
