"""An answer on its way in, and its head."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from typing import Protocol as Shape

import httptools
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from aosd.streams.splice import ISpliceSource

_NO_BODY = frozenset({204, 304})
_WHOLE = Failure(ResponseDone("the body is over"))
_KEPT_BYTES = 64 * 1024


class NotHttp(Exception):
    """What came isn't an answer in HTTP; says why."""


class AnswerHeaders:
    """The headers of an answer.

    `by_name`: names in lower case, in the order they came; the values of one that was said
    more than once are joined by commas.
    """

    __slots__ = ("by_name",)

    def __init__(self) -> None:
        self.by_name: dict[bytes, bytes] = {}

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None:
        """The value of the header `name`, whatever its case, in a list; None without it."""
        value = self.by_name.get(name.lower())
        return None if value is None else [value]

    def getAllRawHeaders(self) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """Each header with its value in a list."""
        return [(name, [value]) for name, value in self.by_name.items()]


class Head:
    """The head of an answer, parsed: `data` is the whole of it, with the empty line.

    `length` is that of the body in bytes: None when its end is told by chunked coding, or
    (`endless`) by nothing but the end of the connection. Chunks are to be fed to it, too:
    `body` has what came out of them, until `ended`. Raises NotHttp.
    """

    __slots__ = (
        "_by_name",
        "_llhttp",
        "body",
        "code",
        "ended",
        "endless",
        "headers",
        "keep_alive",
        "length",
    )

    def __init__(self, data: bytes, verb: str) -> None:
        self.headers: AnswerHeaders = AnswerHeaders()
        self._by_name = self.headers.by_name
        self.code = 0
        self.keep_alive = False
        self.endless = False
        self.ended = False
        self.length: int | None = None
        self.body: list[bytes] = []
        self._llhttp: Any = httptools.HttpResponseParser(self)
        self.feed(data)
        coding = self._by_name.get(b"transfer-encoding")
        if verb == "HEAD" or self.code in _NO_BODY or self.code < 200:
            self.length = 0
        elif coding is not None:
            if coding.lower() != b"chunked":
                raise NotHttp("a transfer coding that nobody asked for")
            return
        elif (told := self._by_name.get(b"content-length")) is not None:
            self.length = int(told)  # llhttp has looked at the digits
        else:
            self.endless = True
        self.close()

    def feed(self, data: bytes) -> None:
        """The next bytes of it. Raises NotHttp."""
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise NotHttp("it changed the protocol") from error
        except httptools.HttpParserError as error:
            raise NotHttp(str(error)) from error

    def close(self) -> None:
        """Nothing more will be fed: each of the two holds the other."""
        self._llhttp = None

    # -- what llhttp calls ------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the head, a trailer."""
        if self.code:
            return
        name = name.lower()
        headers = self._by_name
        if name in headers:
            headers[name] = b"%b,%b" % (headers[name], value)
        else:
            headers[name] = value

    def on_headers_complete(self) -> None:
        """That was the head."""
        self.code = self._llhttp.get_status_code()
        # Asked later, it would speak of the next message.
        self.keep_alive = self._llhttp.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Some bytes of a chunk."""
        self.body.append(data)

    def on_message_complete(self) -> None:
        """That was the last chunk, or there is no body."""
        self.ended = True


class Line(Shape):
    """What an answer needs of the connection that it comes over."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Drop the connection."""

    def plain_socket(self) -> socket.socket | None:
        """Its socket, when what comes is the body as it is."""

    def body_taken(self, count: int) -> None:
        """So many bytes of the body were read from the socket by somebody else."""

    def body_over(self) -> None:
        """All of the body was, up to its last byte."""


@implementer(IPushProducer, ISpliceSource)
class Answer:
    """The head of an answer, and the body as it comes; has what is used of an IResponse.

    The body is kept until somebody asks for it, 64 KiB of it and what is read at once; past
    that the connection isn't read. `over`: the last byte came; the connection carries other
    requests by then.
    """

    __slots__ = (
        "_kept",
        "_kept_bytes",
        "_line",
        "_paused",
        "_protocol",
        "_reason",
        "_stopped",
        "code",
        "headers",
        "length",
        "over",
    )

    def __init__(self, head: Head, line: Line) -> None:
        self.code = head.code
        self.headers = head.headers
        self.length: int | str = UNKNOWN_LENGTH if head.length is None else head.length
        self.over = False
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._line: Line | None = line
        self._paused = False
        self._stopped = False
        self._protocol: Protocol | None = None
        self._reason: Failure | None = None

    def take_whole(self) -> bytes | None:
        """The whole body, when all of it came before anybody asked for it; else None."""
        if not self.over or self._protocol is not None:
            return None
        kept, self._kept = self._kept, []
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def deliverBody(self, protocol: Protocol) -> None:
        """Let the body flow to `protocol`, whose transport pauses and ends it.

        It loses its connection with ResponseDone after the last byte.
        """
        self._protocol = protocol
        protocol.makeConnection(self)
        self.resumeProducing()

    def drop(self) -> None:
        """Do without what hasn't come of the body."""
        self._stopped = True
        self._kept.clear()
        if self._line is not None:
            self._line.abort()

    # -- see ISpliceSource ------------------------------------------------------------------------

    def source_socket(self) -> socket.socket | None:
        """See ISpliceSource."""
        if self._line is None or self._protocol is not None or not isinstance(self.length, int):
            return None
        return self._line.plain_socket()

    def take_over(self) -> list[bytes]:
        """See ISpliceSource."""
        assert self._line is not None
        self._line.pause()
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        return kept

    def taken(self, count: int) -> None:
        """See ISpliceSource."""
        if self._line is not None:
            self._line.body_taken(count)

    def give_back(self) -> None:
        """See ISpliceSource: all of it was read."""
        if self._line is not None:
            self._line.body_over()

    # -- the connection's side --------------------------------------------------------------------

    def came(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._stopped:
            return
        if self._protocol is None or self._paused or self._kept:
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._kept_bytes > _KEPT_BYTES and self._line is not None:
                self._line.pause()
        else:
            self._protocol.dataReceived(data)

    def ended(self, last: bytes = b"", reason: Failure = _WHOLE) -> None:
        """No more comes after `last`: it is whole, or the connection was lost for `reason`."""
        # First: whoever pauses at the last bytes mustn't pause the next request's answer.
        self._line = None
        self.over = reason is _WHOLE
        if last:
            self.came(last)
        self._reason = reason
        self._tell_end()

    # -- the reader's side ------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True
        if self._line is not None:
            self._line.pause()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        while kept and not self._paused and not self._stopped:
            assert self._protocol is not None
            self._protocol.dataReceived(kept.pop(0))
        self._kept = kept
        self._kept_bytes = sum(map(len, kept))
        self._tell_end()
        if self._line is not None and not self._paused:
            self._line.resume()

    def stopProducing(self) -> None:
        """See IProducer: the rest isn't wanted."""
        self.drop()

    def _tell_end(self) -> None:
        if self._reason is None or self._kept or self._protocol is None or self._stopped:
            return
        self._stopped = True
        self._protocol.connectionLost(self._reason)
