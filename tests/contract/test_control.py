"""The control connection of nodes, and how new ordinary connections wait to be confirmed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from aosd.model.errors import NodeError, NodeTimeout, NodeUnavailable
from aosd.model.node import Address, Credentials
from aosd.nodes.express.node import ExpressNode
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Deadlines, Wiring
from aosd.observe.metrics import Metrics
from aosd.streams.bodies import HeldBody
from aosd.testing.bodies import BytesBody, CollectingConsumer
from aosd.testing.contract.subject import raises
from tests.contract.servers import AlwaysWell, Server, on_path

CASE_S = 30.0
MARKER = b'{"node": "n1"}'


async def soon(waiting: Awaitable[Any]) -> Any:
    from twisted.internet import reactor

    async def wait() -> Any:
        return await waiting

    return await Deferred.fromCoroutine(wait()).addTimeout(CASE_S, reactor)


# -- real servers ---------------------------------------------------------------------------------


@pytest.fixture(params=["seaweedfs", "minio"])
def kind(request: pytest.FixtureRequest) -> str:
    if not on_path(request.param):
        pytest.skip(f"no {request.param} on PATH")
    return str(request.param)


@pytest_twisted.async_yield_fixture
async def server(kind: str, tmp_path: Path) -> AsyncIterator[Server]:
    from twisted.internet import reactor

    server = Server(kind, tmp_path, reactor)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_real_server_is_noticed_at_once(server: Server) -> None:
    # SeaweedFS takes its time to end when it is asked to.
    for number in (signal.SIGKILL, signal.SIGTERM)[: 2 if server.kind == "minio" else 1]:
        health = AlwaysWell()
        node = server.node(health)
        assert b'"incarnation"' in await soon(node.probe())
        await soon(node.head("aos-system", "node.json"))
        lost = health.next_loss()
        server.signal(number)
        # Nothing is asked meanwhile: it is the connection that tells.
        await soon(lost)
        assert health.losses == [False]
        await soon(raises(NodeError, node.probe()))
        assert health.losses == [False]
        await soon(node.close())
        await soon(server.answers())


@pytest_twisted.ensureDeferred
async def test_a_real_server_that_stands_still(server: Server) -> None:
    health = AlwaysWell()
    node = server.node(health, Deadlines(first_byte_s=0.3))
    await soon(node.probe())
    lost = health.next_loss()
    await soon(server.stand_still())
    try:
        await soon(raises(NodeTimeout, node.probe()))
        await soon(lost)
        assert health.losses == [False]
    finally:
        server.signal(signal.SIGCONT)
    node = server.node(health)
    assert b'"incarnation"' in await soon(node.probe())
    await soon(node.close())
    assert health.losses == [False]


# -- a server that does as it is told -------------------------------------------------------------


class ToldServer(Factory):
    """Answers each request with the next of `answers`, or as a node would; remembers all."""

    noisy = False

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.heads: list[bytes] = []
        self.connections: list[Connection] = []
        self.opened = 0
        self._awaited: list[tuple[int, Deferred[None]]] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        return Connection(self)

    def when_open(self, count: int) -> Deferred[None]:
        """Fires when exactly so many connections are open."""
        waiting: Deferred[None] = Deferred()
        self._awaited.append((count, waiting))
        self.changed()
        return waiting

    def changed(self) -> None:
        due = [each for each in self._awaited if each[0] == len(self.connections)]
        self._awaited = [each for each in self._awaited if each not in due]
        for _, waiting in due:
            waiting.callback(None)


class Connection(Protocol):
    def __init__(self, server: ToldServer) -> None:
        self.server = server
        self.received = b""

    def connectionMade(self) -> None:
        self.server.opened += 1
        self.server.connections.append(self)
        self.server.changed()

    def connectionLost(self, reason: object = None) -> None:  # type: ignore[override]
        self.server.connections.remove(self)
        self.server.changed()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.server.heads.append(head)
            told = self.server.answers.pop(0) if self.server.answers else answer()
            if told is not None:
                self.transport.write(told)


def answer(*headers: str, status: str = "HTTP/1.1 200 OK", body: bytes = MARKER) -> bytes:
    lines = [status, f"Content-Length: {len(body)}", *OBJECT, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


OBJECT = ("ETag: abc", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")
SILENCE = None


class Told:
    """A node and the server behind it."""

    def __init__(self, reactor: Any, client: type[S3Node], tls: Any = None) -> None:
        self.server = ToldServer()
        self.health = AlwaysWell()
        if tls is None:
            self._port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        else:
            self._port = reactor.listenSSL(0, self.server, tls, interface="127.0.0.1")
        self.node = client(
            Wiring(
                "n1",
                Address("https" if tls else "http", "127.0.0.1", self._port.getHost().port),
                Credentials("access", "secret"),
                reactor=reactor,
                now=reactor.seconds,
                health=self.health,
                metrics=Metrics(),
                deadlines=Deadlines(first_byte_s=5.0, stall_s=5.0, answer_s=5.0),
            )
        )

    def break_all(self) -> None:
        for connection in self.server.connections:
            connection.transport.abortConnection()  # type: ignore[union-attr]

    async def stop(self) -> None:
        await self.node.close()
        await self._port.stopListening()
        self.break_all()
        await soon(self.server.when_open(0))


@pytest.fixture(params=[S3Node, ExpressNode], ids=["standard", "express"])
def client(request: pytest.FixtureRequest) -> type[S3Node]:
    made: type[S3Node] = request.param
    return made


@pytest_twisted.async_yield_fixture
async def told(client: type[S3Node]) -> AsyncIterator[Told]:
    from twisted.internet import reactor

    told = Told(reactor, client)
    yield told
    await told.stop()


@pytest_twisted.ensureDeferred
async def test_probes_share_one_connection_of_their_own(told: Told) -> None:
    refusal = answer(status="HTTP/1.1 403 Forbidden", body=b"")
    told.server.answers = [answer(), refusal, answer(status="HTTP/1.1 404 Not Found", body=b"")]
    assert await soon(told.node.probe()) == MARKER
    await soon(raises(NodeError, told.node.probe()))
    assert await soon(told.node.probe()) is None
    probing = [told.node.probe() for _ in range(5)]
    assert [await soon(each) for each in probing] == [MARKER] * 5
    assert told.server.opened == 1
    reading = await soon(told.node.get("object", "a"))
    reading.abandon()
    assert told.server.opened == 2
    await soon(told.node.probe())
    assert told.server.opened == 2
    assert told.health.losses == []
    lost = told.health.next_loss()
    told.break_all()
    await soon(lost)
    await soon(told.server.when_open(0))
    assert told.health.losses == [False]


@pytest.mark.parametrize("ends_at_once", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_close_that_was_announced(told: Told, ends_at_once: bool) -> None:
    await soon(told.node.probe())
    told.server.answers = [answer("Connection: Close" if ends_at_once else "connection: close")]
    lost = told.health.next_loss()
    assert await soon(told.node.probe()) == MARKER
    if ends_at_once:
        # Twisted's client closes only for the word in lower case; here it's the server.
        told.break_all()
    await soon(lost)
    assert told.health.losses == [True]
    await soon(told.node.probe())
    lost = told.health.next_loss()
    told.break_all()
    await soon(lost)
    assert told.health.losses == [True, False]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_never_answered_is_no_loss(told: Told) -> None:
    for told_first in (SILENCE, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"):
        told.server.answers = [told_first]
        probing = told.node.probe()
        await soon(told.server.when_open(1))
        if told_first is SILENCE:
            told.break_all()
        await soon(raises(NodeError, probing))
        await soon(told.server.when_open(0))
    assert told.health.losses == []


@pytest_twisted.ensureDeferred
async def test_a_probe_that_is_given_up_loses_it(told: Told) -> None:
    await soon(told.node.probe())
    told.server.answers = [SILENCE]
    lost = told.health.next_loss()
    probing = told.node.probe()
    waiting = told.node.probe()
    while len(told.server.heads) < 2:
        await soon(_turn())
    probing.cancel()
    await soon(raises(CancelledError, probing))
    assert await soon(waiting) == MARKER
    await soon(lost)
    assert told.health.losses == [False]
    # One that waits for its turn may be given up too, and breaks nothing.
    told.server.answers = [SILENCE]
    first, second = told.node.probe(), told.node.probe()
    second.cancel()
    await soon(raises(CancelledError, second))
    assert told.health.losses == [False]
    first.cancel()
    await soon(raises(CancelledError, first))
    await soon(told.server.when_open(0))


@pytest_twisted.ensureDeferred
async def test_an_answer_cut_short_is_a_loss(told: Told) -> None:
    told.server.answers = [answer()[:-3]]
    probing = told.node.probe()
    lost = told.health.next_loss()
    await soon(told.server.when_open(1))
    while not told.server.heads:
        await soon(_turn())
    told.server.connections[0].transport.loseConnection()  # type: ignore[union-attr]
    await soon(raises(NodeError, probing))
    await soon(lost)
    assert told.health.losses == [False]


@pytest_twisted.ensureDeferred
async def test_closing_it_ourselves_is_no_loss(told: Told) -> None:
    await soon(told.node.probe())
    await soon(told.node.close())
    await soon(told.server.when_open(0))
    # With a probe under way: it ends by itself, and leaves no connection behind.
    told.server.answers = [SILENCE]
    probing = told.node.probe()
    await soon(told.server.when_open(1))
    await soon(told.node.close())
    while not told.server.heads[1:]:
        await soon(_turn())
    told.server.connections[0].transport.write(answer())  # type: ignore[union-attr]
    assert await soon(probing) == MARKER
    await soon(told.server.when_open(0))
    assert told.health.losses == []
    # And it can be used afterwards, and is watched again.
    assert await soon(told.node.probe()) == MARKER
    lost = told.health.next_loss()
    told.break_all()
    await soon(lost)


@pytest_twisted.ensureDeferred
async def test_an_open_breaker_doesnt_end_a_probe(told: Told) -> None:
    await soon(told.node.probe())
    told.server.answers = [SILENCE, SILENCE]
    probing, asking = told.node.probe(), told.node.head("object", "a")
    while len(told.server.heads) < 3:
        await soon(_turn())
    told.health.trip()
    await soon(raises(NodeUnavailable, asking))
    told.server.connections[0].transport.write(answer())  # type: ignore[union-attr]
    assert await soon(probing) == MARKER
    assert told.health.losses == []


async def _turn() -> None:
    """One turn of the reactor."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0)  # type: ignore[arg-type]


# -- confirming -----------------------------------------------------------------------------------


class Gate:
    """A confirmation that a test gives or refuses."""

    def __init__(self, told: Told) -> None:
        self.waiting: list[Deferred[None]] = []
        self.gave_up = 0
        told.health.confirming = self._wait

    def _wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(self._given_up)
        self.waiting.append(waiting)
        return waiting

    def _given_up(self, _: object) -> None:
        self.gave_up += 1

    async def asked(self, count: int = 1) -> None:
        while len(self.waiting) < count:
            await soon(_turn())


@pytest_twisted.ensureDeferred
async def test_no_request_goes_over_a_connection_that_isnt_confirmed(told: Told) -> None:
    gate = Gate(told)
    asking = told.node.head("object", "a")
    await gate.asked()
    await soon(told.server.when_open(1))
    # The control connection isn't held up: it is what confirms.
    assert await soon(told.node.probe()) == MARKER
    assert [head[:4] for head in told.server.heads] == [b"GET "]
    told.server.answers = [answer(body=b"")]
    gate.waiting[0].callback(None)
    await soon(asking)
    # One that is used again needs no confirming.
    for _ in range(5):
        told.server.answers = [answer(body=b"")]
        await soon(told.node.head("object", "a"))
    assert (told.health.confirmed, told.server.opened) == (1, 2)


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_refused_is_closed(told: Told) -> None:
    told.health.confirming = lambda: fail(NodeUnavailable("n1", "no probe was answered"))
    body = BytesBody(b"data")
    for asking in (
        told.node.head("object", "a"),
        told.node.put("object", "a", HeldBody([b"data"]), ()),
        told.node.put("object", "a", body, ()),
    ):
        error = await soon(raises(NodeUnavailable, asking))
        assert "no probe was answered" in str(error)
        await soon(told.server.when_open(0))
    assert (body.sent_bytes, told.server.heads) == (0, [])


@pytest_twisted.ensureDeferred
async def test_a_request_given_up_while_it_waits(told: Told) -> None:
    gate = Gate(told)
    asking = told.node.head("object", "a")
    await gate.asked()
    asking.cancel()
    await soon(raises(CancelledError, asking))
    await soon(told.server.when_open(0))
    assert gate.gave_up == 1
    asking = told.node.head("object", "a")
    await gate.asked(2)
    told.health.trip()
    await soon(raises(NodeUnavailable, asking))
    await soon(told.server.when_open(0))
    assert (gate.gave_up, told.server.heads) == (2, [])


@pytest_twisted.ensureDeferred
async def test_a_connection_lost_while_it_waits(told: Told) -> None:
    gate = Gate(told)
    asking = told.node.put("object", "a", HeldBody([b"data"]), ())
    await gate.asked()
    await soon(told.server.when_open(1))
    told.break_all()
    await soon(told.server.when_open(0))
    await soon(_turn())
    gate.waiting[0].callback(None)
    await soon(raises(NodeUnavailable, asking))
    assert told.server.heads == []


@pytest_twisted.ensureDeferred
async def test_over_tls_too(
    client: type[S3Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twisted.internet import reactor

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=node"
    files = ["-keyout", str(key), "-out", str(certificate)]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words.split(), *files, *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    told = Told(reactor, client, DefaultOpenSSLContextFactory(str(key), str(certificate)))
    try:
        gate = Gate(told)
        asking = told.node.head("object", "a")
        await gate.asked()
        assert await soon(told.node.probe()) == MARKER
        assert [head[:4] for head in told.server.heads] == [b"GET "]
        told.server.answers = [answer(body=b"")]
        gate.waiting[0].callback(None)
        await soon(asking)
        assert [head[:4] for head in told.server.heads] == [b"GET ", b"HEAD"]
        # A body, there and back.
        told.server.answers = [answer(body=b""), answer(body=b"x" * 1_000_000)]
        await soon(told.node.put("object", "a", HeldBody([b"data"]), ()))
        taken = CollectingConsumer(pause_after_bytes=300_000)
        delivering = (await soon(told.node.get("object", "a"))).deliver(taken)
        for _ in range(3):
            await soon(taken.when_paused())
            taken.resume()
        await soon(delivering)
        assert taken.data == b"x" * 1_000_000
        told.health.confirming = lambda: succeed(None)
        lost = told.health.next_loss()
        told.break_all()
        await soon(lost)
        assert told.health.losses == [False]
    finally:
        await told.stop()
