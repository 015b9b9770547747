"""One event a request: the access log, and the metrics by door, verb and status."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.observe.metrics import Metrics

_VERBS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})


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


class AccessLog:
    """A site's observer. The query isn't logged: it may carry a signature."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, metrics: Metrics, written: bool) -> None:
        self._clock = clock
        self._metrics = metrics
        self._written = written

    def began(self, request: Observed) -> None:
        """A request's head is in."""
        self._metrics.in_flight.labels(request.door).inc()

    def ended(self, request: Observed) -> None:
        """It was answered, or its client is gone; status 0 tells the latter."""
        door = request.door
        verb = request.method.decode("ascii", "replace")
        took_s = self._clock.seconds() - request.began_s
        status = request.code if request.startedWriting and not request.aborted else 0
        sent_bytes = request.sentLength
        received_bytes = request.body.received_bytes
        metrics = self._metrics
        # A verb is the client's own word: a label must not grow without bound.
        verb_label = verb if verb in _VERBS else "other"
        metrics.in_flight.labels(door).dec()
        metrics.requests.labels(door, verb_label, status).inc()
        metrics.request_seconds.labels(door, verb_label).observe(took_s)
        metrics.bytes_in.labels(door).inc(received_bytes)
        metrics.bytes_out.labels(door).inc(sent_bytes)
        if self._written:
            self._log.info(
                "{request} {client} {verb} {path} {status} in {received} out {sent} {took_ms} ms",
                request=request.request_id,
                client=getattr(request.getClientAddress(), "host", "-"),
                door=door,
                verb=verb[:16],
                path=request.path.decode("latin-1").encode("unicode_escape").decode("ascii"),
                status=status,
                received=received_bytes,
                sent=sent_bytes,
                took_ms=round(took_s * 1000, 1),
            )
