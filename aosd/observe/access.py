"""One event a request: the access log, and the metrics by door, verb and status."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.observe.metrics import Metrics

_VERBS = frozenset({b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS"})
_OTHER = b"other"


class _Body(Protocol):
    @property
    def received_bytes(self) -> int: ...


class Observed(Protocol):
    """What is told of a request; doors' requests have it."""

    door: str
    request_id: str
    began_s: float
    method: bytes
    path: bytes
    code: int
    sentLength: int
    aborted: bool
    startedWriting: int

    @property
    def body(self) -> _Body:
        """Its body."""

    def getClientAddress(self) -> object:
        """Who sent it."""


class _Counts(NamedTuple):
    """Where requests of one door, verb and status are counted."""

    left: Callable[[], object]
    ended: Callable[[], object]
    took: Callable[[float], object]
    received: Callable[[float], object]
    sent: Callable[[float], object]


class AccessLog:
    """A site's observer. The query isn't logged: it may carry a signature."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, metrics: Metrics, written: bool) -> None:
        self._clock = clock
        self._metrics = metrics
        self._written = written
        # So that no label is looked up with each request.
        self._began: dict[str, Callable[[], object]] = {}
        self._counts: dict[tuple[str, bytes, int], _Counts] = {}

    def began(self, request: Observed) -> None:
        """A request's head is in."""
        door = request.door
        began = self._began.get(door)
        if began is None:
            began = self._began[door] = self._metrics.in_flight.labels(door).inc
        began()

    def ended(self, request: Observed) -> None:
        """It was answered, or its client is gone; status 0 tells the latter."""
        door = request.door
        took_s = self._clock.seconds() - request.began_s
        status = request.code if request.startedWriting and not request.aborted else 0
        sent_bytes = request.sentLength
        received_bytes = request.body.received_bytes
        # A verb is the client's own word: a label must not grow without bound.
        verb = request.method if request.method in _VERBS else _OTHER
        counts = self._counts.get((door, verb, status)) or self._counts_of(door, verb, status)
        counts.left()
        counts.ended()
        counts.took(took_s)
        if received_bytes:
            counts.received(received_bytes)
        if sent_bytes:
            counts.sent(sent_bytes)
        if self._written:
            self._log.info(
                "{request} {client} {verb} {path} {status} in {received} out {sent} {took_ms} ms",
                request=request.request_id,
                client=getattr(request.getClientAddress(), "host", "-"),
                door=door,
                verb=request.method.decode("ascii", "replace")[:16],
                path=request.path.decode("latin-1").encode("unicode_escape").decode("ascii"),
                status=status,
                received=received_bytes,
                sent=sent_bytes,
                took_ms=round(took_s * 1000, 1),
            )

    def _counts_of(self, door: str, verb: bytes, status: int) -> _Counts:
        metrics, name = self._metrics, verb.decode("ascii")
        made = self._counts[door, verb, status] = _Counts(
            metrics.in_flight.labels(door).dec,
            metrics.requests.labels(door, name, status).inc,
            metrics.request_seconds.labels(door, name).observe,
            metrics.bytes_in.labels(door).inc,
            metrics.bytes_out.labels(door).inc,
        )
        return made
