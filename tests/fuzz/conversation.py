"""One connection to a lane: bytes in, and all that came of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from aosd.doors.express.factory import ExpressSite
from aosd.doors.express.routes import Routes
from aosd.doors.load import Load
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.identities import Identities
from aosd.doors.site import HeadFirstSite
from aosd.model.node import Credentials
from aosd.model.objects import OBJECT_BUCKET, STAMP_HEADER, SYSTEM_BUCKET
from aosd.observe.access import AccessLog
from aosd.observe.metrics import Metrics
from aosd.testing.memory_node import MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store
from tests.unit import test_doors_express as express
from tests.unit.test_doors_site import Root, Sink, Transport, answer

NOW_S = 1_700_000_000
DOMAIN = "s3.example.org"
# Needn't be sent when some of the body is there, as portions have it (RFC 9110, section 10.1.1).
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SILENCE_S = 200  # longer than any timeout of a connection
_MOST_PORTIONS = 500  # what comes in more takes too long
_OWN = re.compile(rb"(?im)^(?:date|last-modified|server|x-amz-request-id):[^\r]*\r\n")


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    """Made once: it takes longer than a short conversation."""
    return Metrics()


class Recorder:
    """Takes whatever is asked, and answers with the path when the body is over.

    What begins with /handed isn't of the express lane.
    """

    def __init__(self, clock: Clock) -> None:
        self.resource: Any = Root(self._take)
        self.routes: Any = express.Routes(self._take)
        self.door_of: Callable[[Any], str] = lambda request: "plain"
        self._requests: list[tuple[Any, Sink]] = []
        self._answered = 0

    def _take(self, request: Any) -> None:
        sink = Sink()
        self._requests.append((request, sink))
        request.body.start(sink)

    def settle(self) -> None:
        """Answer those whose bodies are over."""
        while self._answered < len(self._requests):
            request, sink = self._requests[self._answered]
            if not (sink.ended or sink.failure):
                break
            self._answered += 1
            request.setResponseCode(200 if sink.ended else 400)
            answer(request, request.path)

    def seen(self) -> list[Any]:
        """Verb, target, body, whether that is whole, whether it failed, headers: of each."""
        return [
            (
                *(request.method, request.uri, sink.data, sink.ended, sink.failure is not None),
                sorted((n.lower(), list(v)) for n, v in request.requestHeaders.getAllRawHeaders()),
            )
            for request, sink in self._requests
        ]

    def check(self) -> None:
        """Nothing can be left behind."""


class StoreInMemory:
    """The plain door and the S3 door, over a store on one node in memory."""

    def __init__(self, clock: Clock) -> None:
        self._node = MemoryNode("n1", now=clock.seconds)
        self._store = make_store(MemoryPlacement([self._node]), clock, replicas=1)
        self._clock = clock
        plain = PlainDoor(self._store)
        identities = Identities(lambda: Credentials("access", "secret"), [])
        s3 = S3Door(self._store, identities, DOMAIN, clock.seconds)
        self.resource = Doors(plain, None, s3, DOMAIN)
        self.routes = Routes(self.resource, plain, s3, DOMAIN)
        self.door_of = self.resource.door_of
        self._node.disk.put(OBJECT_BUCKET, "a", b"0123456789", ())

    def settle(self) -> None:
        """It answers by itself."""

    def seen(self) -> list[Any]:
        """The objects on the node, but for their stamps: a lane may begin a request later."""
        return [
            (
                bucket,
                key,
                copy.data,
                sorted(each for each in copy.headers if each[0] != STAMP_HEADER),
            )
            for bucket, keys in sorted(self._node.buckets.items())
            for key, copy in sorted(keys.items())
            if bucket != SYSTEM_BUCKET
        ]

    def check(self) -> None:
        """Fail when something is left behind."""
        assert self._node.open_readings == 0
        assert self._node.uploads == {}
        assert self._store.budget.used_bytes == 0
        assert len(self._store.turns) == 0


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
        self.told.append((request.door, request.method, request.path, request.code))


class _Wire(Transport):
    """A client's connection as the reactor has it; a slow one takes a write at a time."""

    def __init__(self, slow: bool) -> None:
        super().__init__()
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
    byte, but waits until it is closed.
    """

    sizes: Sequence[int] = (100_000,)
    pause_s: float = 0.0
    slow: bool = False
    stays: bool = False


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
    channel, wire = site.buildProtocol(None), _Wire(manner.slow)
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
        if wire.disconnecting:
            break
        if not wire.reads:
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
