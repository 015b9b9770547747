"""The express lane's client without a socket: a reactor that connects to nobody."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import NodeError
from aosd.model.node import Address, Credentials
from aosd.nodes.express.node import ExpressNode
from aosd.nodes.wiring import Deadlines, Wiring
from aosd.observe.metrics import Metrics

T = TypeVar("T")

DEADLINES = Deadlines(first_byte_s=30.0, stall_s=10.0, answer_s=25.0, client_stall_s=40.0)
LAST_MODIFIED = b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def answer(status: bytes, *lines: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    head = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, told, head, body)


def found(body: bytes = b"", *lines: bytes, length: int | None = None) -> bytes:
    return answer(
        b"200 OK", b'ETag: "abc"', LAST_MODIFIED.strip(), *lines, body=body, length=length
    )


class Wire(StringTransport):
    """A connection to a node, seen from the node's side."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.aborted = False
        self.lost = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits."""

    def getHandle(self) -> None:
        """No socket."""

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def abortConnection(self) -> None:
        self.aborted = True
        self.stopReading()

    def stopReading(self) -> None:
        """As a transport that is being closed."""

    def says(self, *pieces: bytes) -> None:
        """The node sends something, if anybody reads it."""
        for piece in pieces:
            if self.producerState == "producing":
                self.protocol.dataReceived(piece)

    def breaks(self, reason: Exception | None = None) -> None:
        """The connection is gone; what writes is told first, as by Twisted's transports."""
        if self.lost:
            return
        self.lost = True
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason or ConnectionLost()))

    @property
    def over(self) -> bool:
        """Whether our side wants no more of it."""
        return self.aborted or bool(self.disconnecting)

    def end(self) -> None:
        """What was wanted closed is closed, a turn of the reactor later."""
        if self.over:
            self.breaks(ConnectionDone())


class Handle(socket.socket):
    """What is sent straight to the kernel goes the same way as what is written.

    `given` are the very objects that were sent by it, `broken` what happens in place of that.
    """

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.given: list[Any] = []
        self.broken: OSError | None = None
        self._kernel = kernel

    def send(self, data: Any, flags: int = 0) -> int:
        self.given.append(data)
        if self.broken is not None:
            raise self.broken
        count = self._kernel.take(data)
        if not count:
            raise BlockingIOError
        return count

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        """Several pieces by one call."""
        count = self.send(b"".join(buffers))
        self.given[-1] = buffers
        return count

    def recv(self, count: int, flags: int = 0) -> bytes:
        """The node says no last words."""
        return b""


class Kernel(FileDescriptor):
    """A connection by plain TCP, whose kernel has room for so many bytes more.

    `makes_room` lets it send more; `breaks` is what the reactor does when writing fails.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.connected = 1
        self.room = 0
        self.taken = b""
        self.handle = Handle(self)
        self.protocol: Any = None

    def makes_room(self, count: int) -> None:
        """There is room, and the reactor says so if anybody waits for it."""
        self.room += count
        if self in self.reactor.getWriters():
            self.doWrite()

    def breaks(self) -> None:
        """The connection is gone; what writes is told first."""
        reason = Failure(ConnectionLost())
        self.connectionLost(reason)
        self.protocol.connectionLost(reason)

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802
        return self.take(data[: self.SEND_LIMIT])

    def take(self, data: bytes) -> int:
        """Take what there is room for; returns how many bytes."""
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.taken += taken
        return len(taken)

    def getHandle(self) -> Handle:
        return self.handle

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits."""

    def abortConnection(self) -> None:
        """As Twisted's: it is gone a turn of the reactor later."""
        self.reactor.callLater(0, self.breaks)


class Well:
    """A breaker that remembers."""

    def __init__(self) -> None:
        self.failures: list[NodeError] = []
        self.answers: list[bool] = []
        self.heards = 0
        self.watches: list[Callable[[], None]] = []
        self.confirming: Callable[[], Deferred[None]] = lambda: succeed(None)

    def check(self) -> None:
        """Never open."""

    def answered(self, well: bool) -> None:
        self.answers.append(well)

    def heard(self) -> None:
        self.heards += 1

    def failed(self, error: NodeError) -> None:
        self.failures.append(error)

    def out_of_space(self) -> None:
        """Not looked at."""

    def watch(self, tripped: Callable[[], None]) -> None:
        self.watches.append(tripped)

    def unwatch(self, tripped: Callable[[], None]) -> None:
        self.watches.remove(tripped)

    def trip(self) -> None:
        for tripped in list(self.watches):
            tripped()

    def control_lost(self, announced: bool) -> None:
        """No probe is sent here."""

    def time_told(self, ahead_s: float) -> None:
        """Nor here."""

    def confirm(self) -> Deferred[None]:
        return self.confirming()


class ExpressCase(SynchronousTestCase):
    """A node whose connections are in the test's hands."""

    connections = 2
    most_waiting: int | None = None

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.health = Well()
        self.metrics = Metrics()
        self.wires: list[Wire] = []
        self.node = ExpressNode(
            Wiring(
                "n1",
                Address("http", "127.0.0.1", 9000),
                Credentials("access", "secret"),
                reactor=self.reactor,
                now=lambda: 1_700_000_000.0,
                health=self.health,  # type: ignore[arg-type]
                metrics=self.metrics,
                deadlines=DEADLINES,
                connections=self.connections,
                most_waiting=self.most_waiting,
            )
        )

    def connect(self) -> Wire:
        """The connection that is being opened is."""
        _, _, factory, _, _ = self.reactor.tcpClients[len(self.wires)]
        wire = Wire()
        self.wires.append(wire)
        wire.protocol = factory.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        return wire

    def begin(self, asking: Deferred[T] | Coroutine[Any, Any, T]) -> tuple[Deferred[T], Wire]:
        """Something was asked, over a new connection."""
        waiting: Deferred[T] = (
            asking if isinstance(asking, Deferred) else Deferred.fromCoroutine(asking)
        )
        return waiting, self.connect()

    def end(self) -> None:
        """Everything is closed, and nothing is left behind."""
        closing = self.node.close()
        for wire in self.wires:
            wire.end()
        self.successResultOf(closing)
        for wire in self.wires:
            wire.breaks()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.health.watches, [])

    def count(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(name, {"node": "n1", **labels})
        return value or 0.0
