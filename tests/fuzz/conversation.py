"""One connection to a lane: bytes in, and all that came of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from aosd.doors.express.factory import ExpressSite
from aosd.doors.load import Load
from aosd.doors.site import HeadFirstSite
from aosd.observe.access import AccessLog
from aosd.observe.metrics import Metrics
from tests.fuzz.behind import Recorder
from tests.unit.test_doors_site import Transport

NOW_S = 1_700_000_000
# Needn't be sent when some of the body is there, as portions have it (RFC 9110, section 10.1.1).
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SILENCE_S = 200  # longer than any timeout of a connection
_MOST_PORTIONS = 500  # what comes in more takes too long
_OWN = re.compile(rb"(?im)^(?:date|last-modified|server|x-amz-request-id):[^\r]*\r\n")


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    """Made once: it takes longer than a short conversation."""
    return Metrics()


class _Observer(AccessLog):
    """Remembers what it is told of each request that is over."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, _metrics(), written=False)
        self.told: list[Any] = []
        self.under_way = 0

    def began(self, request: Any) -> None:
        super().began(request)
        self.under_way += 1

    def ended(self, request: Any) -> None:
        super().ended(request)
        self.under_way -= 1
        came = request.body.received_bytes if request.body.ended else -1
        self.told.append(
            (*(request.door, request.method, request.path, request.code), request.sentLength, came)
        )


class _Wire(Transport):
    """A client's connection as the reactor has it; a slow one takes a write at a time.

    `by_tls`: what comes is told after it was closed, too, as the reactor's is not.
    """

    def __init__(self, slow: bool, by_tls: bool) -> None:
        super().__init__()
        if by_tls:
            alsoProvides(self, ISSLTransport)
        self.late = b""
        self._slow = slow
        self._full = False

    def write(self, data: bytes) -> None:
        if self.disconnecting:
            self.late += data
            return
        super().write(data)
        if self._slow and data and not self._full and self.producer is not None:
            self._full = True
            self.producer.pauseProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits."""

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def resumeProducing(self) -> None:
        if not self.disconnecting:
            super().resumeProducing()

    def unregisterProducer(self) -> None:
        # Twice is nothing, unlike to StringTransport.
        self.producer = None

    def taken(self) -> None:
        """The client took what was written."""
        while self._full:
            self._full = False
            if self.producer is not None:
                self.producer.resumeProducing()

    @property
    def reads(self) -> bool:
        return self.producerState == "producing"


@dataclass(frozen=True)
class Manner:
    """How bytes come: in portions of these sizes, in turn, `pause_s` apart.

    `slow`: the client takes what is written a while later; `stays`: it doesn't leave after the last
    byte, but waits until it is closed; `by_tls`: the connection is encrypted.
    """

    sizes: Sequence[int] = (100_000,)
    pause_s: float = 0.0
    slow: bool = False
    stays: bool = False
    by_tls: bool = False


@dataclass(frozen=True)
class Told:
    """What came of it: `seen` by what is behind the lane, `said` to the client, and the log's.

    `closes`: the lane closed it, at the last byte or before. `aborted`: not gently, at any time.
    `late` was written after that.
    """

    seen: list[Any]
    said: list[list[bytes]]
    closes: bool
    aborted: bool
    counted: list[Any]
    raw: bytes = field(compare=False)
    late: bytes = field(compare=False)
    stuck: bool = field(compare=False)
    log: list[str] = field(compare=False)


@contextmanager
def _log() -> Iterator[list[str]]:
    """What is logged meanwhile that nobody should see: warnings and worse."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if event.get("status") == 401:
            return  # who hasn't the operator's token is to be seen
        if event.get("isError") or level >= LogLevel.warn:
            failure = event.get("log_failure")
            found.append(failure.getTraceback() if failure is not None else formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)


def converse(lane: str, data: bytes, manner: Manner, behind: Any = Recorder) -> Told:
    """Send `data` to a lane (`express` or `standard`) with `behind` behind it."""
    clock = Clock()
    clock.advance(NOW_S)
    served = behind(clock)
    observer, load = _Observer(clock), Load(1024, 1024)
    standard = HeadFirstSite(
        served.resource,
        clock=clock,
        observer=observer,
        make_request_id=lambda: "ID",
        door_of=served.door_of,
        client_idle_timeout_s=25.0,
        load=load,
    )
    site: Any = standard
    if lane == "express":
        site = ExpressSite(standard, served.routes, _metrics())
    channel, wire = site.buildProtocol(None), _Wire(manner.slow, manner.by_tls)
    with _log() as log:
        channel.makeConnection(wire)
        stuck = _send(channel, wire, clock, served, data, manner)
        closes = bool(wire.disconnecting)
        if manner.stays:
            for _ in range(_SILENCE_S):
                if wire.disconnecting:
                    break
                wire.taken()
                clock.advance(1)
                served.settle()
            stuck = stuck or not wire.disconnecting
        raw, aborted = wire.value(), wire.aborted
        channel.connectionLost(Failure(ConnectionDone()))
        clock.advance(0)
    assert clock.getDelayedCalls() == []
    assert observer.under_way == load.under_way == 0
    assert not site.channels
    assert not standard.channels
    served.check()
    final = _OWN.sub(b"", raw).replace(_CONTINUE, b"")
    said = [sorted(each.split(b"\r\n")) for each in final.split(b"HTTP/1.1 ")]
    return Told(
        *(served.seen(), said, closes, aborted, observer.told),
        *(raw, wire.late, stuck, log),
    )


def _send(
    channel: Any, wire: _Wire, clock: Clock, served: Any, data: bytes, manner: Manner
) -> bool:
    """Send all that is taken; whether the lane stopped reading for good."""
    at = turn = 0
    while at < len(data):
        for _ in range(_SILENCE_S):
            if wire.reads or wire.disconnecting:
                break
            wire.taken()
            clock.advance(1)
            served.settle()
        if wire.aborted or (wire.disconnecting and not manner.by_tls):
            break
        if not wire.reads and not wire.disconnecting:
            return True
        size = manner.sizes[turn % len(manner.sizes)] if turn < _MOST_PORTIONS else len(data)
        turn += 1
        channel.dataReceived(data[at : at + size])
        at += size
        served.settle()
        clock.advance(manner.pause_s)
        served.settle()
        if turn % 2:
            wire.taken()
    written = -1
    while written < len(wire.value()):
        written = len(wire.value())
        wire.taken()
        served.settle()
    return False
