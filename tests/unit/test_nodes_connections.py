"""Connections that are watched or wait to be confirmed, without a socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI

from aosd.nodes.connections import (
    ConfirmedEndpoint,
    Endpoints,
    WatchedConnection,
    announces_close,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"


class AnnouncementTests(SynchronousTestCase):
    def test_what_says_that_it_is_the_last(self) -> None:
        for head, last in (
            (b"HTTP/1.1 200 OK", False),
            (b"HTTP/1.1 200 OK\r\nConnection: close", True),
            (b"HTTP/1.1 200 OK\r\nA: b\r\nconnection:Close", True),
            (b"HTTP/1.1 200 OK\r\nConnection: upgrade , CLOSE", True),
            (b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nConnection: close", True),
            (b"HTTP/1.1 200 OK\r\nConnection: keep-alive", False),
            (b"HTTP/1.1 200 OK\r\nX-Connection: close", False),
            (b"HTTP/1.1 200 close\r\nServer: close", False),
            (b"HTTP/1.0 200 OK", True),
            (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", False),
        ):
            self.assertEqual(announces_close(head), last, head)


class WatchedConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lost: list[tuple[bool, bool]] = []
        self.inner_lost = 0
        test = self

        class Inner(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                test.assertEqual(test.lost, [])  # who waits is told first
                test.inner_lost += 1

        self.connection = WatchedConnection(WrappingFactory(None), Inner(), self.ended)
        self.connection.makeConnection(StringTransport())

    def ended(self, connection: WatchedConnection) -> None:
        self.lost.append((connection.answered, connection.announced))

    def lose(self) -> tuple[bool, bool]:
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.inner_lost, 1)
        (told,) = self.lost
        return told

    def ask(self, *pieces: bytes) -> None:
        self.connection.writeSequence([b"GET / HTTP/1.1\r\n", b"\r\n"])
        for piece in pieces:
            self.connection.dataReceived(piece)

    def test_nothing_came(self) -> None:
        self.ask()
        self.assertEqual(self.lose(), (False, False))

    def test_half_a_head_is_no_answer(self) -> None:
        self.ask(HEAD[:-1])
        self.assertEqual(self.lose(), (False, False))

    def test_an_answer_in_the_smallest_pieces(self) -> None:
        self.ask(*(bytes([byte]) for byte in LAST))
        self.assertEqual(self.lose(), (True, True))

    def test_a_body_announces_nothing(self) -> None:
        self.ask(HEAD, b"\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        self.assertEqual(self.lose(), (True, False))

    def test_the_last_answer_counts(self) -> None:
        self.ask(LAST + b"data")
        self.connection.write(b"GET / HTTP/1.1\r\n\r\n")
        self.connection.dataReceived(HEAD)
        self.assertEqual(self.lose(), (True, False))

    def test_what_isnt_http_is_no_answer(self) -> None:
        self.ask(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        self.assertEqual(self.lose(), (False, False))

    def test_a_head_without_end_is_given_up(self) -> None:
        self.ask(HEAD[:-2], b"x" * 70_000, b"\r\n\r\n")
        self.assertEqual(self.lose(), (False, False))


class ScriptedEndpoint:
    """Connects at once to nobody."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.protocol = Protocol()
        self.protocol.state = "QUIESCENT"  # type: ignore[attr-defined]
        self.transport.aborted = False  # type: ignore[attr-defined]

    def connect(self, factory: Any) -> Deferred[Any]:
        self.transport.abortConnection = self.abort  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)

    def abort(self) -> None:
        self.transport.aborted = True  # type: ignore[attr-defined]


class ConfirmedEndpointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.inner: Any = ScriptedEndpoint()
        self.gate: Deferred[None] = Deferred()
        endpoint = ConfirmedEndpoint(self.inner, lambda: self.gate)
        self.connecting: Deferred[Any] = endpoint.connect(None)  # type: ignore[arg-type]

    def test_waits(self) -> None:
        self.assertNoResult(self.connecting)
        self.gate.callback(None)
        self.assertIs(self.successResultOf(self.connecting), self.inner.protocol)
        self.assertFalse(self.inner.transport.aborted)

    def test_is_refused(self) -> None:
        self.gate.errback(Failure(ValueError("no")))
        self.failureResultOf(self.connecting, ValueError)
        self.assertTrue(self.inner.transport.aborted)

    def test_is_given_up(self) -> None:
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.assertTrue(self.inner.transport.aborted)

    def test_is_lost_meanwhile(self) -> None:
        self.inner.protocol.state = "CONNECTION_LOST"
        self.gate.callback(None)
        self.failureResultOf(self.connecting, ConnectionLost)


class EndpointsTests(SynchronousTestCase):
    def test_each_is_made_once(self) -> None:
        made: list[object] = []

        def wrap(endpoint: Any) -> Any:
            made.append(endpoint)
            return endpoint

        endpoints = Endpoints(Clock(), 1.5, wrap)
        for where in (b"http://127.0.0.1:1/a", b"http://127.0.0.1:2/a", b"http://[::1]:1/a"):
            first, second = (endpoints.endpointForURI(URI.fromBytes(where)) for _ in range(2))
            self.assertIs(first, second)
        self.assertEqual(len(made), 3)
