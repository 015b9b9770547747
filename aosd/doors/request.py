"""A request as doors see it, whichever way it came in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import Attribute, implementer

from aosd.ports import IBodySource


class RequestHeaders(Protocol):
    """The headers of a request. Names count alike in any case."""

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None:
        """A header's values, in their order; None when it isn't there."""

    def hasHeader(self, name: bytes) -> bool:
        """Whether it is there."""

    def getAllRawHeaders(self) -> Iterable[tuple[bytes, Sequence[bytes]]]:
        """Each header once, with its values; the names in any case."""

    def setRawHeaders(self, name: bytes, values: list[bytes]) -> None:
        """Let a header have these values, instead of those it had."""


class IDoorBody(IBodySource):
    """A request's body."""

    received_bytes: int = Attribute("How many bytes of it came.")
    ended: bool = Attribute("Whether all of it came.")


@implementer(IConsumer)
class DoorRequest(Protocol):
    """What doors use of a request, and nothing else. It is an IConsumer of its answer.

    `method`, `uri` (in origin form), `path` (the raw one) and `clientproto` are the client's
    bytes. `door` is the one it knocks at. `code` is the status of the answer, `sentLength`
    counts the answer's body; `aborted` tells that its connection was dropped. `began_s` is
    the clock's reading when its head was in.
    """

    method: bytes
    uri: bytes
    path: bytes
    clientproto: bytes
    door: str
    request_id: str
    began_s: float
    code: int
    sentLength: int
    startedWriting: int
    aborted: bool

    @property
    def body(self) -> IDoorBody:
        """The body, which flows when somebody starts it."""

    @property
    def requestHeaders(self) -> RequestHeaders:
        """The headers that the client sent."""

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether the client sent one of these headers, which are in lower case."""

    def setResponseCode(self, code: int) -> None:
        """Let the answer have this status; 200 without it."""

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Let a header of the answer have this value, instead of what it had."""

    def write(self, data: bytes) -> None:
        """Write a piece of the answer's body; the first call, be it of b"", sends the head."""

    def finish(self) -> None:
        """The answer is complete. To be called once, and by one."""

    def finish_after(self, answering: Deferred[None]) -> None:
        """Finish when `answering` fires, which never fails; it is cancelled when the client goes.

        To be called once, instead of `finish`.
        """

    def abort(self) -> None:
        """Drop the connection: the answer that has begun can't be finished honestly."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer. The producer is stopped at once when the client is gone."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def notifyFinish(self) -> Deferred[None]:
        """Fires when the answer is complete; errbacks when the client goes away before."""

    def isSecure(self) -> bool:
        """Whether it came by TLS."""

    def getClientAddress(self) -> object:
        """Who sent it: an IAddress."""
