"""S3Node against servers that misbehave: what each kind of bad answer comes out as."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from aosd.model.errors import (
    AosdError,
    DigestMismatch,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
    NoSuchKey,
    PreconditionFailed,
)
from aosd.model.node import Address, Credentials
from aosd.nodes.express.node import ExpressNode
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Deadlines, Wiring
from aosd.observe.metrics import Metrics
from aosd.streams.bodies import HeldBody
from aosd.testing.bodies import BytesBody, CollectingConsumer
from aosd.testing.contract.subject import raises
from tests.contract.servers import AlwaysWell

CASE_S = 20.0
HANG = None
"""An answer that never comes."""


def answer(status: str, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {told}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def error(status: str, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>words</Message></Error>"
    return answer(status, body=body.encode())


OBJECT = ("ETag: abc", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")


class BadServer(Factory):
    """Answers each request with the next of `answers`, by its head alone, and remembers it.

    An answer that is empty closes the connection, as does one that ends before its length.
    """

    noisy = False

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.heads: list[bytes] = []
        self.connections: set[Connection] = set()

    def buildProtocol(self, addr: Any) -> Protocol:
        return Connection(self)


class Connection(Protocol):
    def __init__(self, server: BadServer) -> None:
        self.server = server
        self.received = b""

    def connectionMade(self) -> None:
        self.server.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:  # type: ignore[override]
        self.server.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        head, end, _ = (self.received + data).partition(b"\r\n\r\n")
        if self.received is HEARD or not end:
            return
        self.received = HEARD
        self.server.heads.append(head)
        told = self.server.answers.pop(0)
        if told is not None:
            # One request a connection: what is left of a body mustn't look like the next.
            self.transport.write(told.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self.transport.loseConnection()


HEARD = b"heard"


class Bad:
    """The node, its server, and a second server that nobody should ever ask."""

    def __init__(self, reactor: Any, client: type[S3Node]) -> None:
        self.server, self.elsewhere = BadServer(), BadServer()
        self.health = AlwaysWell()
        self._ports = [
            reactor.listenTCP(0, each, interface="127.0.0.1")
            for each in (self.server, self.elsewhere)
        ]
        port, self.port_elsewhere = (each.getHost().port for each in self._ports)
        self.node = client(
            Wiring(
                "n1",
                Address("http", "127.0.0.1", port),
                Credentials("access", "secret"),
                reactor=reactor,
                now=reactor.seconds,
                health=self.health,
                metrics=Metrics(),
                deadlines=Deadlines(first_byte_s=0.3, stall_s=0.3, answer_s=0.3),
            )
        )

    async def stop(self) -> None:
        await self.node.close()
        for port in self._ports:
            await port.stopListening()
        for connection in self.server.connections:
            assert connection.transport is not None
            connection.transport.abortConnection()  # type: ignore[attr-defined]


@pytest_twisted.async_yield_fixture(params=[S3Node, ExpressNode], ids=["standard", "express"])
async def bad(request: pytest.FixtureRequest) -> AsyncIterator[Bad]:
    from twisted.internet import reactor

    bad = Bad(reactor, request.param)
    yield bad
    await bad.stop()


async def soon(waiting: Awaitable[Any]) -> Any:
    from twisted.internet import reactor

    async def wait() -> Any:
        return await waiting

    return await Deferred.fromCoroutine(wait()).addTimeout(CASE_S, reactor)


# Whether an answer speaks against the node, and so opens its breaker in the end.
BLAMED, CLEAR = True, False


@pytest.mark.parametrize(
    ("told", "kind", "blamed"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NodeNonsense, BLAMED),
        (b"", NodeUnavailable, BLAMED),
        (b"HTTP/1.1 200 O", NodeUnavailable, BLAMED),
        (HANG, NodeTimeout, BLAMED),
        (error("500 Oops", "InternalError"), NodeRefused, BLAMED),
        (answer("500 Oops", body=b"<html>no XML"), NodeRefused, BLAMED),
        (error("503 Slow Down", "SlowDown"), NodeRefused, BLAMED),
        (error("403 Forbidden", "SignatureDoesNotMatch"), NodeRefused, BLAMED),
        (error("404 Not Found", "NoSuchBucket"), NodeRefused, CLEAR),
        (error("507 Full", "XMinioStorageFull"), NodeFull, CLEAR),
        (error("404 Not Found", "NoSuchKey"), NoSuchKey, CLEAR),
        (answer("404 Not Found"), NoSuchKey, CLEAR),
        (answer("204 No Content", *OBJECT), NodeRefused, None),
        (answer("200 OK", body=b"no etag"), NodeNonsense, None),
        (answer("200 OK", "ETag: abc", body=b"no date"), NodeNonsense, None),
        (b"HTTP/1.1 200 OK\r\nETag: abc\r\n\r\nno length", NodeNonsense, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_bad_answers_to_a_get(
    bad: Bad, told: bytes | None, kind: type[AosdError], blamed: bool | None
) -> None:
    # A connection that breaks before any answer is tried once more.
    bad.server.answers = [told, told]
    await soon(raises(kind, bad.node.get("object", "a")))
    if blamed is not None:
        assert bool(bad.health.failures) is blamed, bad.health.failures


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest_twisted.ensureDeferred
async def test_redirects_are_not_followed(bad: Bad, status: str) -> None:
    where = f"Location: http://127.0.0.1:{bad.port_elsewhere}/object/a"
    requests: list[Callable[[], Awaitable[object]]] = [
        lambda: bad.node.get("object", "a"),
        lambda: bad.node.put("object", "a", BytesBody(b"data"), ()),
        lambda: bad.node.delete("object", "a"),
    ]
    for request in requests:
        bad.server.answers = [answer(status, where)]
        await soon(raises(NodeNonsense, request()))
    assert len(bad.server.heads) == 3
    assert bad.elsewhere.heads == []


@pytest_twisted.ensureDeferred
async def test_what_is_safe_is_tried_once_more(bad: Bad) -> None:
    bad.server.answers = [b"", answer("200 OK", *OBJECT)]
    head = await soon(bad.node.head("object", "a"))
    assert (head.etag, head.modified_s) == ('"abc"', 784111777)
    assert len(bad.server.heads) == 2


@pytest_twisted.ensureDeferred
async def test_a_write_is_never_repeated(bad: Bad) -> None:
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: bad.node.put("object", "a", HeldBody([b"da", b"ta"]), ()),
        lambda: bad.node.delete("object", "a"),
        lambda: bad.node.create_upload("object", "a", ()),
        lambda: bad.node.complete_upload("object", "a", "id", [(1, '"abc"')]),
    ]
    for count, write in enumerate(writes, 1):
        bad.server.answers = [b""]
        await soon(raises(NodeUnavailable, write()))
        assert len(bad.server.heads) == count


@pytest_twisted.ensureDeferred
async def test_a_body_that_flows_once_is_not_sent_again(bad: Bad) -> None:
    bad.server.answers = [b""]
    await soon(raises(NodeUnavailable, bad.node.put("object", "a", BytesBody(b"data"), ())))
    assert len(bad.server.heads) == 1


@pytest_twisted.ensureDeferred
async def test_a_node_that_answers_early_stops_the_body(bad: Bad) -> None:
    for told, kind in (
        (error("403 Forbidden", "AccessDenied"), NodeRefused),
        (error("400 Bad Request", "BadDigest"), DigestMismatch),
        (error("507 Full", "XMinioStorageFull"), NodeFull),
    ):
        bad.server.answers = [told]
        body = BytesBody(bytes(64 * 1024 * 1024))
        await soon(raises(kind, bad.node.put("object", "a", body, ())))
        assert body.stopped
        assert body.sent_bytes < body.length


@pytest_twisted.ensureDeferred
async def test_a_node_that_takes_no_byte_is_given_up(bad: Bad) -> None:
    bad.server.answers = [HANG]
    body = BytesBody(b"data")
    await soon(raises(NodeTimeout, bad.node.put("object", "a", body, ())))
    assert [type(each) for each in bad.health.failures] == [NodeTimeout]


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (answer("200 OK", *OBJECT, body=b"some", length=10), NodeUnavailable),
        (answer("200 OK", *OBJECT, body=b"", length=10), NodeUnavailable),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_body_that_ends_early_fails(bad: Bad, told: bytes, kind: type[NodeError]) -> None:
    bad.server.answers = [told]
    reading = await soon(bad.node.get("object", "a"))
    consumer = CollectingConsumer()
    await soon(raises(kind, reading.deliver(consumer)))
    assert consumer.ended
    assert b"some".startswith(consumer.data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>',
        b'{"objects": []}',
        b"\xff\xfe\x00",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_listing_that_is_none(bad: Bad, body: bytes) -> None:
    bad.server.answers = [answer("200 OK", body=body)]
    await soon(raises(NodeNonsense, bad.node.list("object")))


@pytest_twisted.ensureDeferred
async def test_a_complete_may_begin_well_and_fail(bad: Bad) -> None:
    bad.server.answers = [error("200 OK", "InternalError")]
    refused = await soon(
        raises(NodeRefused, bad.node.complete_upload("object", "a", "id", [(1, '"abc"')]))
    )
    assert refused.code == "InternalError"


@pytest_twisted.ensureDeferred
async def test_secrets_stay_in_the_signature(bad: Bad) -> None:
    bad.server.answers = [answer("200 OK", *OBJECT)]
    await soon(bad.node.head("object", "a b+c/d%2F"))
    (head,) = bad.server.heads
    assert head.startswith(b"HEAD /object/a%20b%2Bc/d%252F HTTP/1.1\r\n")
    assert b"secret" not in head
    assert b"accept-encoding: identity" in head.lower()


PARTS = ('ETag: "' + "0" * 32 + '-3"', *OBJECT[1:])
ETAG = PARTS[0].removeprefix("ETag: ")
WHOLE = answer("200 OK", *PARTS, length=30)
NO_SUCH_PART = answer("416 Range Not Satisfiable")


def attributes(total: int, *parts: tuple[int, int], etag: str = ETAG) -> bytes:
    told = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>"
        for number, size in parts
    )
    inside = f"<ObjectParts><PartsCount>{total}</PartsCount>{told}</ObjectParts>"
    body = f"<GetObjectAttributesResponse><ETag>{etag}</ETag>{inside}</GetObjectAttributesResponse>"
    return answer("200 OK", "Content-Type: application/xml", body=body.encode())


@pytest_twisted.ensureDeferred
async def test_parts_are_told_page_by_page(bad: Bad) -> None:
    pages = [attributes(3, (2, 10), (5, 15)), attributes(3, (7, 5))]
    bad.server.answers = [WHOLE, *pages]
    assert tuple(await soon(bad.node.part_sizes("object", "a", ETAG))) == (10, 15, 5)
    assert b"part-number-marker: 5" in bad.server.heads[-1].lower()
    assert bad.health.failures == []


@pytest.mark.parametrize(
    "told",
    [
        answer("200 OK", "Content-Type: text/plain", *PARTS, body=b"x" * 30),
        answer("200 OK", "Content-Type: text/xml", *PARTS, body=b"<Object>30 bytes</Object>     "),
        answer("200 OK", "Content-Type: application/xml", *PARTS, body=b"no XML"),
        error("501 Not Implemented", "NotImplemented"),
        error("405 No", "MethodNotAllowed"),
        attributes(3, (1, 1), (2, 1), (3, 1)),
        attributes(3, (1, 10)),
        attributes(2, (1, 10), (2, 20)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_parts_are_asked_for_one_by_one_where_that_isnt_known(bad: Bad, told: bytes) -> None:
    part = [answer("206 Partial", *PARTS, length=size) for size in (10, 20)]
    # One that stands still is asked for the rest only once.
    pages = [told] * (2 if told.count(b"<Part>") == 1 else 1)
    # Of three parts, numbered 2, 4 and 5, the last is empty.
    bad.server.answers = [WHOLE, *pages, NO_SUCH_PART, part[0], NO_SUCH_PART, part[1]]
    assert tuple(await soon(bad.node.part_sizes("object", "a", ETAG))) == (10, 20, 0)
    assert bad.server.answers == []


@pytest_twisted.ensureDeferred
async def test_parts_of_another_version_arent_told(bad: Bad) -> None:
    other = [each.replace("000", "111") for each in PARTS]
    for answers in (
        [answer("200 OK", *other, length=30)],
        [WHOLE, attributes(3, (1, 10), etag=other[0].removeprefix("ETag: "))],
        [WHOLE, error("501 No", "NotImplemented"), answer("206 Partial", *other, length=10)],
    ):
        bad.server.answers = list(answers)
        await soon(raises(PreconditionFailed, bad.node.part_sizes("object", "a", ETAG)))
    bad.server.answers = [answer("404 Not Found")]
    await soon(raises(NoSuchKey, bad.node.part_sizes("object", "a", ETAG)))
