"""A client's body to two nodes over real sockets, with a real reactor of each test's own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from aosd.doors.express.body import ExpressBody
from aosd.nodes.express.answer import Answer
from aosd.nodes.express.connection import Broke, NodeConnection, TookTooLong
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from tests.integration.bodies import KIB, MIB, body

_DEADLINE_S = 30.0
_LENGTH = 32 * MIB
_PIECE = 256 * KIB
_HEAD = b"PUT / HTTP/1.1\r\n\r\n"
_STORED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


class Node:
    """The far end of a connection: takes a head and a body once `may_take` is set, and answers.

    After `leaves_after` bytes it says `last_words` and hangs up, with the rest unread.
    """

    def __init__(self) -> None:
        self.ours, self.theirs = _connected(32 * KIB)
        self.may_take = Event()
        self.came = bytearray()
        self.leaves_after = _LENGTH
        self.last_words = _STORED
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self.may_take.set()
        with suppress(OSError):
            self.theirs.shutdown(socket.SHUT_RDWR)
        self._thread.join(_DEADLINE_S)
        self.theirs.close()
        self.ours.close()

    @property
    def body(self) -> bytes:
        return bytes(self.came.removeprefix(_HEAD))

    def _serve(self) -> None:
        self.may_take.wait(_DEADLINE_S)
        with suppress(OSError):
            while len(self.came) < len(_HEAD) + self.leaves_after:
                data = self.theirs.recv(64 * KIB)
                if not data:
                    return
                self.came += data
            self.theirs.sendall(self.last_words)
            if self.leaves_after < _LENGTH:
                self.theirs.close()


class Inlet(Protocol):
    """The connection that the body comes by. `waits` is called each time it isn't read."""

    body: ExpressBody

    def __init__(self, waits: Callable[[], object], looks: Callable[[], object]) -> None:
        self._waits = waits
        self._looks = looks

    def connectionMade(self) -> None:
        self._transport.bufferSize = _PIECE
        self._transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.body.data(data)
        self._looks()
        if self.body.received_bytes == self.body.length:
            self.body.end()

    def pause_reading(self) -> None:
        self._transport.pauseProducing()
        self._waits()

    def resume_reading(self) -> None:
        self._transport.resumeProducing()

    def send_continue(self) -> None:
        """Nobody waits for it."""

    def plain_socket(self) -> None:
        """Nothing is spliced."""

    def body_taken(self, count: int) -> None:
        raise AssertionError("nothing is spliced")

    @property
    def _transport(self) -> Any:
        return self.transport


class Run:
    """A body from a client to two nodes; the test holds the far ends."""

    def __init__(self) -> None:
        self.data = body(_LENGTH)
        self.client, self._inlet_end = _connected()
        self.nodes = (Node(), Node())
        self.most_underway = 0
        self.waits = 0
        self._sender = Thread(target=self._send)
        self._body: Any = None

    def go(self, stall_s: float = _DEADLINE_S, waits: Callable[[], object] = int) -> list[Any]:
        """What became of it at each node: the code of an answer, or an error."""
        reactor = EPollReactor()
        over: list[Any] = []

        def waited() -> None:
            self.waits += 1
            waits()

        def begin() -> None:
            inlet = _adopt(reactor, self._inlet_end, Inlet(waited, self._look))
            inlet.body = self._body = ExpressBody(inlet, _LENGTH, False, reactor, _DEADLINE_S)
            fanout = Fanout(self._body, len(self.nodes), Digests({}))
            fanout.last_in_hand.addCallbacks(lambda _: fanout.release(), lambda _: None)
            asking = []
            for node, branch in zip(self.nodes, fanout.branches, strict=True):
                made = NodeConnection(reactor, lambda _: None, lambda _: None)
                line = _adopt(reactor, node.ours, made)
                waiting: Deferred[Answer] = Deferred()
                waiting.addCallbacks(lambda answer: answer.code, _error_of)
                asking.append(waiting)
                line.ask(
                    waiting,
                    "PUT",
                    _HEAD,
                    branch,
                    began_s=0.0,
                    first_byte_s=0.0,
                    stall_s=stall_s,
                    answer_s=_DEADLINE_S,
                )
            everything = DeferredList(asking)
            everything.addCallback(lambda results: over.extend(each for _, each in results))
            everything.addCallback(lambda _: reactor.callLater(0, reactor.stop))
            self._sender.start()

        reactor.callWhenRunning(begin)
        reactor.callLater(_DEADLINE_S, reactor.stop)
        reactor.run(installSignalHandlers=False)
        assert over, "it didn't end"
        return over

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self._inlet_end.close()
        self.client.close()
        self._sender.join(_DEADLINE_S)

    def _send(self) -> None:
        with suppress(OSError):
            self.client.sendall(self.data)

    def _look(self) -> None:
        slowest = min(len(node.came) for node in self.nodes)
        self.most_underway = max(self.most_underway, self._body.received_bytes - slowest)


def _error_of(failure: Failure) -> Exception:
    error = failure.value
    assert isinstance(error, Exception)
    return error


def _adopt(reactor: Any, end: socket.socket, protocol: Any) -> Any:
    """Give the reactor a connection, and it a protocol."""
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_INET, factory)
    return protocol


def _connected(buffer_bytes: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection; what the kernel keeps for it is bounded, if that is told."""
    with socket.socket() as server:
        one = socket.socket()
        if buffer_bytes is not None:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        server.bind(("127.0.0.1", 0))
        server.listen()
        one.connect(server.getsockname())
        other, _ = server.accept()
    return one, other


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.close()


def test_each_node_gets_all_of_it(run: Run) -> None:
    for node in run.nodes:
        node.may_take.set()
    assert run.go() == [200, 200]
    assert all(node.body == run.data for node in run.nodes)


def test_a_slow_node_sets_the_pace_and_nothing_piles_up(run: Run) -> None:
    fast, slow = run.nodes
    fast.may_take.set()
    assert run.go(waits=slow.may_take.set) == [200, 200]
    assert all(node.body == run.data for node in run.nodes)
    assert run.waits > 10
    # The piece that is being sent, the one that is held for the turn, and the kernel's.
    assert run.most_underway < 2 * _PIECE + 512 * KIB


def test_a_node_that_takes_nothing_is_given_up_and_the_other_goes_on(run: Run) -> None:
    well, stuck = run.nodes
    well.may_take.set()
    stored, error = run.go(stall_s=0.3)
    assert stored == 200
    assert isinstance(error, TookTooLong)
    assert "took no byte" in str(error)
    assert well.body == run.data


def test_a_node_that_leaves_in_the_middle(run: Run) -> None:
    well, leaves = run.nodes
    leaves.leaves_after, leaves.last_words = MIB, b""
    for node in run.nodes:
        node.may_take.set()
    stored, error = run.go()
    assert stored == 200
    assert isinstance(error, Broke)
    assert well.body == run.data


def test_a_node_that_says_why_and_leaves(run: Run) -> None:
    well, refuses = run.nodes
    refuses.leaves_after, refuses.last_words = MIB, _REFUSED
    for node in run.nodes:
        node.may_take.set()
    assert run.go() == [200, 403]
    assert well.body == run.data
