"""An answer on its way in, and its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Shape

import httptools
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

_NO_BODY = frozenset({204, 304})
_WHOLE = Failure(ResponseDone("the body is over"))
_KEPT_BYTES = 64 * 1024


class NotHttp(Exception):
    """What came isn't an answer in HTTP; says why."""


class AnswerHeaders:
    """The headers of an answer, names in lower case, in the order they came."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None:
        """The values of the header `name`, whatever its case; None without any."""
        name = name.lower()
        return [value for each, value in self.lines if each == name] or None

    def getAllRawHeaders(self) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """Each header with its values."""
        gathered: dict[bytes, list[bytes]] = {}
        for name, value in self.lines:
            gathered.setdefault(name, []).append(value)
        return list(gathered.items())


class Head:
    """The head of an answer, parsed: `data` is the whole of it, with the empty line.

    `length` is that of the body in bytes: None when its end is told by chunked coding, or
    (`endless`) by nothing but the end of the connection. Raises NotHttp.
    """

    __slots__ = ("code", "endless", "headers", "keep_alive", "length", "parser")

    def __init__(self, data: bytes, verb: bytes) -> None:
        self.headers = AnswerHeaders()
        self.code = 0
        self.keep_alive = False
        self.endless = False
        self.length: int | None = None
        self.parser = _Parser(self.headers.lines)
        try:
            self.parser.feed(data)
        except httptools.HttpParserUpgrade as error:
            raise NotHttp("it changed the protocol") from error
        except httptools.HttpParserError as error:
            raise NotHttp(str(error)) from error
        self.code = self.parser.code
        self.keep_alive = self.parser.keep_alive
        coding = told = None
        for name, value in self.headers.lines:
            if name == b"content-length":
                told = value
            elif name == b"transfer-encoding":
                coding = value if coding is None else coding + b"," + value
        if verb == b"HEAD" or self.code in _NO_BODY or self.code < 200:
            self.length = 0
        elif coding is not None:
            if coding.lower() != b"chunked":
                raise NotHttp("a transfer coding that nobody asked for")
        elif told is not None:
            self.length = int(told)  # llhttp has looked at the digits
        else:
            self.endless = True
        if coding is None or self.length is not None:
            self.parser.close()


class _Parser:
    """llhttp, and what it calls."""

    __slots__ = ("_lines", "_llhttp", "body", "code", "ended", "keep_alive")

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        self.code = 0
        self.keep_alive = False
        self.ended = False
        self.body: list[bytes] = []
        self._lines: list[tuple[bytes, bytes]] | None = lines
        self._llhttp = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._llhttp.feed_data(data)

    def close(self) -> None:
        """Let go: each of the two holds the other."""
        del self._llhttp

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._lines is not None:  # llhttp tells trailers as headers, too
            self._lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._lines = None
        self.code = self._llhttp.get_status_code()
        # Asked later, it would speak of the next message.
        self.keep_alive = self._llhttp.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.ended = True


class Line(Shape):
    """What an answer needs of the connection that it comes over."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Drop the connection."""


@implementer(IPushProducer)
class Answer:
    """The head of an answer, and the body as it comes; has what is used of an IResponse.

    The body is kept until somebody asks for it, 64 KiB of it and what is read at once; past
    that the connection isn't read. `over`: the last byte came; the connection carries other
    requests by then. `whole` is all of the body, for who has time for no Deferred.
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

    @property
    def whole(self) -> bytes | None:
        """The whole body when all of it came before anybody asked for it."""
        if not self.over or self._protocol is not None:
            return None
        kept = self._kept
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

    def ended(self, reason: Failure = _WHOLE) -> None:
        """No more comes: the body is whole, or the connection was lost for `reason`."""
        self.over = reason is _WHOLE
        self._line = None
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
