"""Requests dispatched when their head is in, before their body.

The only file that touches what twisted.web keeps to itself. twisted.web reads a request's
whole body, to a temporary file when it is long, before it calls any code of ours. Here a
request is dispatched from `Request.gotLength`, which the channel calls when the head is
complete; the body then flows to whoever starts it. What is used beyond the public
interface, of twisted.web.http 26.10:

- `HTTPChannel._command`, `_path`, `_version`: a request gets them only after its body.
- `HTTPChannel._send100Continue`: sent when the body is started instead.
- `HTTPChannel._respondToBadRequestAndDisconnect`: a malformed chunk is told to whoever
  reads the body, who can answer it in the door's own form.
- `HTTPChannel.line_mode`, `length`: a head comes next, and a body is in chunks.
- `HTTPChannel._savedTimeOut`, `_networkProducer`: the idle time of a body is counted by
  the body, and only while it isn't paused.
- `HTTPChannel.writeHeaders`: header names leave in lower case. S3 clients take the case of
  `x-amz-meta-` names as they come.

`tests/unit/test_doors_site.py` guards each of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request

from aosd.doors.body import RequestBody
from aosd.doors.cutter import HeadCutter
from aosd.doors.framing import ChunkScanner
from aosd.doors.lingering import FLUSH_S, Lingering, Patience
from aosd.doors.load import refuse
from aosd.doors.strict import TOO_SLOW, Problem
from aosd.model.errors import ClientGone, IncompleteBody

if TYPE_CHECKING:
    from aosd.doors.site import HeadFirstSite

_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


def _origin_form(target: bytes) -> bytes:
    """A request's target without scheme and authority (RFC 9112, section 3.2.2)."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


class HeadFirstRequest(Request):
    """A request that is rendered when its head is in.

    `body` is its body; `door` the door it knocks at, for logs and metrics.
    """

    defaultContentType = None  # no Content-Type was meant

    def __init__(self, channel: HeadFirstChannel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self.door = "none"
        self.request_id = ""
        self.aborted = False
        self.began_s = 0.0
        self._site = channel.site  # twisted forgets the channel when a request is over
        self.body = self._body(0, expects=False)
        self._dispatched = False
        self._told = False
        self._patience: Patience | None = None

    # -- the channel's side ---------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        """The head is complete; `length` is the body's, None for a chunked one."""
        channel: Any = self.channel
        expect = self.requestHeaders.getRawHeaders(b"Expect", [b""])[0]
        expects = expect.lower() == b"100-continue" and channel._version == b"HTTP/1.1"
        self.body = self._body(length, expects)
        self.method, self.uri = channel._command, _origin_form(channel._path)
        self.clientproto = channel._version
        self.path = self.uri.partition(b"?")[0]
        self.args = {}
        if length != 0:
            # From here on the body counts its own idle time.
            channel.suspend_timeout()
            self.body.hold()
            self._dispatch()

    def handleContentChunk(self, data: bytes) -> None:
        """Some bytes of the body."""
        self.body.data(data)
        if self._patience is not None:
            self._patience.took(len(data))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request came."""
        self.body.end()
        if not self._dispatched:
            self._dispatch()
        elif self._patience is not None and self._patience.end():
            super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, whatever was under way."""
        if self._patience is not None:
            self._patience.end()
        self.body.fail(ClientGone("the client went away"))
        super().connectionLost(reason)
        self._tell()

    # -- the door's side ------------------------------------------------------------------------

    def has_any(self, names: frozenset[bytes]) -> bool:
        """See DoorRequest."""
        return any(map(self.requestHeaders.hasHeader, names))

    def finish(self) -> None:
        """The answer is complete.

        With the body still on its way the channel can't go on to another request: the
        connection is closed, once the client could read the answer.
        """
        if self.aborted:
            return
        if self.body.ended:
            if not self.startedWriting and not self._disconnected:
                self.write(b"")
            # First: the request that is pipelined behind it begins within what comes next.
            self._tell()
            super().finish()
            return
        if self._patience is not None or self._disconnected:
            return
        if not self.startedWriting:
            self.write(b"")
        self._patience = Patience(self._site.clock, self.abort)
        self._patience.begin()
        self.body.drain()
        self._tell()

    def finish_after(self, answering: Deferred[None]) -> None:
        """See DoorRequest."""
        gone = False

        def left(_: object) -> None:
            nonlocal gone
            gone = True
            answering.cancel()

        def over(_: object) -> None:
            if not gone and not self.aborted:
                self.finish()

        self.notifyFinish().addErrback(left)
        answering.addCallback(over)

    def abort(self) -> None:
        """Drop the connection: the answer that has begun can't be finished honestly."""
        self.aborted = True
        if not self._disconnected:
            channel: Any = self.channel
            channel.abort()

    def getRequestHostname(self) -> bytes:
        """The same for all: Klein, which routes by path alone, fails for what IDNA doesn't take."""
        return b"aosd"

    # -- inside ---------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write a piece of the answer; says so when the connection is closed after it."""
        if not self.startedWriting and not self.body.ended and not self._disconnected:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            self.channel.persistent = False
        super().write(data)

    def _dispatch(self) -> None:
        self._dispatched = True
        site = self._site
        self.door = site.door_of(self)
        self.began_s = site.clock.seconds()
        self.request_id = site.make_request_id()
        self.responseHeaders.setRawHeaders(b"x-amz-request-id", [self.request_id.encode()])
        site.observer.began(self)
        self.process()

    def render(self, resource: IResource) -> None:
        """Render the resource that was found; see twisted.web.server.Request."""
        self.responseHeaders.setRawHeaders(b"server", [b"aosd"])
        if self._site.load.enter(self):
            super().render(resource)
        else:
            refuse(self)

    def _body(self, length: int | None, expects: bool) -> RequestBody:
        site = self._site
        channel: Any = self.channel
        return RequestBody(channel, length, expects, site.clock, site.client_idle_timeout_s)

    def _tell(self) -> None:
        if self._dispatched and not self._told:
            self._told = True
            self._site.over(self)


class HeadFirstChannel(HTTPChannel):
    """The channel that goes with HeadFirstRequest.

    twisted.web sees a head when it is whole and nobody could read it in two ways, and a
    chunked body as far as it is beyond doubt.
    """

    site: HeadFirstSite
    transport: Any
    _broken = False
    _cutting = False
    _head_is_timed = False
    _chunks: ChunkScanner | None = None
    _lingering: Lingering | None = None
    _flushing: IDelayedCall | None = None
    abortTimeout = None  # type: ignore[assignment]  # `loseConnection` sees to it, whyever it is called

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()
        self._heads = HeadCutter(self._held)

    def connectionMade(self) -> None:
        """A client connected."""
        super().connectionMade()
        self.site.admit(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """A client left."""
        if self._lingering is not None:
            self._lingering.stop()
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
        self.site.channels.discard(self)
        super().connectionLost(reason)
        self.site.channel_left()

    def dataReceived(self, data: bytes) -> None:
        """Bytes came; none is looked at after what was malformed."""
        if self._broken:
            if self._lingering is not None:
                self._lingering.take(data)
            return
        if self._cutting:
            # twisted.web gives back what came after a request while it is given the request's
            # end: it only keeps then what it is fed, and can't say yet whether that is a head.
            self._held += data
            return
        self._cutting = True
        try:
            if self.line_mode or self._held or self._chunks:
                self._held += data
            else:
                super().dataReceived(data)
            while self._held and not self._broken and self._feed_next():
                pass
        finally:
            self._cutting = False

    def feed(self, data: bytes) -> None:
        """Take bytes that somebody else has cut and checked, instead of dataReceived's."""
        if not self._broken:
            super().dataReceived(data)

    def _feed_next(self) -> bool:
        """Feed what comes next of what is held; whether there may be more to feed."""
        held = self._held
        if self.line_mode:
            return self._feed_head()
        chunks = self._chunks
        data = bytes(held)
        count = len(data) if chunks is None else chunks.feed(data)
        if chunks is not None and (chunks.ended or chunks.problem is not None):
            self._chunks = None
        del held[:count]
        if count:
            super().dataReceived(data[:count])
        if chunks is not None and chunks.problem is not None:
            self._respondToBadRequestAndDisconnect()
        return True

    def _feed_head(self) -> bool:
        """Feed a head that is whole and in order; False when there is none."""
        head = self._heads.cut()
        if isinstance(head, Problem):
            self._refuse(head)
            return False
        self._time_head(head is None and bool(self._held))
        if head is None:
            return False
        super().dataReceived(head)
        self._chunks = ChunkScanner() if self.length is None else None
        return not self.transport.disconnecting

    def _time_head(self, waits: bool) -> None:
        """Count the time of a head that hasn't come whole; without one, the connection's own."""
        if waits != self._head_is_timed:
            self._head_is_timed = waits
            # Not self.timeOut: that is whatever was set last.
            site = self.site
            self.setTimeout(site.client_idle_timeout_s if waits else site.keep_alive_s)

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request, in either lane's words, and close."""
        self._broken = True
        self._held.clear()
        self.setTimeout(None)
        self.transport.write(problem.answer())
        self._lingering = Lingering(self.transport, self.site.clock)

    def timeoutConnection(self) -> None:
        """Nothing came for too long, or a head took too long."""
        if self._head_is_timed and not self._broken:
            self._refuse(TOO_SLOW)
        else:
            super().timeoutConnection()

    def loseConnection(self) -> None:
        """Close when all is written; a client that doesn't take it is dropped."""
        super().loseConnection()
        if self._flushing is None:
            self._flushing = self.site.clock.callLater(FLUSH_S, self.abort)

    def suspend_timeout(self) -> None:
        """Count no idle time until the request is done; keep-alive gets it back then."""
        timeout_s = self.setTimeout(None)
        self._timeout_to_restore = timeout_s

    def allContentReceived(self) -> None:
        """A body is over."""
        saved = self.__dict__.pop("_timeout_to_restore", None)
        if saved is not None:
            # What follows saves the present timeout, to set it again after the answer.
            self.setTimeout(saved)
        super().allContentReceived()

    def pause_reading(self) -> None:
        """Read no more of a body for now."""
        self._networkProducer.pauseProducing()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._networkProducer.resumeProducing()

    def send_continue(self) -> None:
        """Ask for the body."""
        super()._send100Continue()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()

    def close_when_idle(self) -> None:
        """Take no further request; close now if none is under way."""
        self.persistent = False
        if not self.requests and self._lingering is None:
            self.loseConnection()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The head of an answer, names in lower case."""
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            name = name.lower()
            lines.extend(b"%b: %b\r\n" % (name, value) for value in values)
        lines.append(b"\r\n")
        self.transport.writeSequence(lines)

    def _send100Continue(self) -> None:
        """Not now: `send_continue` does, when the body is started."""

    def _respondToBadRequestAndDisconnect(self) -> None:
        request = self.requests[-1] if self.requests else None
        if isinstance(request, HeadFirstRequest) and request._dispatched:
            self._broken = True
            request.body.fail(IncompleteBody("the body's chunks are malformed"))
        else:
            super()._respondToBadRequestAndDisconnect()
