"""What the tests of the S3 door share: botocore's own client, joined to the door in memory."""

from __future__ import annotations

import io
import time
from typing import Any, ClassVar

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from urllib3 import HTTPHeaderDict
from urllib3.response import HTTPResponse

from aosd.doors.express.factory import ExpressSite
from aosd.doors.express.routes import Routes
from aosd.doors.load import Load
from aosd.doors.operations.report import Oversight
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.identities import Identities
from aosd.doors.site import HeadFirstSite
from aosd.identity_tables import IdentityTable
from aosd.model.node import Credentials
from aosd.observe.access import AccessLog
from tests.unit.cluster_case import ClusterTestCase
from tests.unit.door_case import operations_door

ENDPOINT = "http://127.0.0.1:3000"
DOMAIN = "s3.example.org"
ROOT = Credentials("root-key", "root-secret")
READER = Credentials("reader-key", "reader-secret")
WRITER = Credentials("writer-key", "writer-secret")
TABLES = [
    IdentityTable.model_validate(
        {
            "access_key": who.access_key,
            "secret_key": who.secret_key,
            "role": role,
            "buckets": (pattern,),
        }
    )
    for who, role, pattern in ((READER, "readonly", "*"), (WRITER, "readwrite", "photos-*"))
]


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class S3TestCase(ClusterTestCase):
    """`self.s3` is the root's client. All nodes are up, and the cluster is settled.

    `express`: requests come by the express lane.
    """

    express = True
    settings: ClassVar[dict[str, Any]] = {
        "replay_bytes": 100,
        "part_bytes": 1000,
        "part_bytes_max": 1000,
    }

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begin(**self.settings)
        self.door = S3Door(self.gateway.store, Identities(lambda: ROOT, TABLES), DOMAIN, time.time)
        plain = PlainDoor(self.gateway.store)
        self.doors = Doors(
            plain,
            operations_door(self.gateway, Oversight(self.gateway.assembly, self.replicas)),
            self.door,
            DOMAIN,
        )
        self.standard = HeadFirstSite(
            self.doors,
            clock=self.clock,
            observer=AccessLog(self.clock, self.gateway.metrics, written=False),
            make_request_id=lambda: "0123456789ABCDEF",
            door_of=self.doors.door_of,
            client_idle_timeout_s=25.0,
            load=Load(100, 100),
        )
        self.site: Any = self.standard
        if self.express:
            routes = Routes(self.doors, plain, self.door, DOMAIN)
            self.site = ExpressSite(self.standard, routes, self.gateway.metrics)
        self.open: list[Any] = []
        self.gateway.see(*self.names)
        self.wait(10, lambda: self.gateway.ready)
        self.pass_s(1)
        self.s3 = self.client(ROOT)

    def tearDown(self) -> None:
        for channel in self.open:
            channel.connectionLost(Failure(ConnectionLost()))
        super().tearDown()
        for node in self.nodes.values():
            self.assertEqual(node.open_readings, 0)

    def client(self, who: Credentials | None, **config: Any) -> Any:
        """A client of `who`'s; None: one that doesn't sign."""
        session = botocore.session.Session()
        session.set_config_variable("region", "us-east-1")
        if who is None:
            config["signature_version"] = botocore.UNSIGNED
        made = session.create_client(
            "s3",
            endpoint_url=ENDPOINT,
            aws_access_key_id=who.access_key if who else "x",
            aws_secret_access_key=who.secret_key if who else "x",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )
        made._endpoint.http_session = self
        return made

    def assert_refused(self, code: str, status: int, call: Any, **arguments: Any) -> ClientError:
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        response = caught.exception.response
        told = (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
        self.assertEqual(told, (code, status), response)
        error: ClientError = caught.exception
        return error

    # -- what botocore asks of its HTTP session ---------------------------------------------------

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request that botocore prepared."""
        target = "/" + request.url.split("/", 3)[3] if request.url.count("/") > 2 else "/"
        host = request.url.split("/")[2]
        lines = [f"{request.method} {target} HTTP/1.1".encode(), b"host: " + host.encode()]
        chunked = False
        for name, value in request.headers.items():
            if name.lower() in ("expect", "host"):
                continue
            chunked = chunked or name.lower() == "transfer-encoding"
            data = value if isinstance(value, bytes) else str(value).encode("utf-8")
            lines.append(name.encode() + b": " + data)
        body = request.body if request.body is not None else b""
        if not isinstance(body, bytes | bytearray):
            body = body.encode() if isinstance(body, str) else body.read()
        if chunked:
            body = b"".join((b"%x\r\n" % len(body), body, b"\r\n")) if body else b""
            body += b"0\r\n\r\n"
        status, headers, answer = self.exchange(
            b"\r\n".join(lines) + b"\r\n\r\n" + bytes(body), request.method
        )
        raw = HTTPResponse(
            body=io.BytesIO(answer),
            headers=headers,
            status=status,
            preload_content=False,
            decode_content=False,
            request_method=request.method,
        )
        response = AWSResponse(request.url, status, headers, raw)
        if not request.stream_output:
            response.content  # noqa: B018 — reads it, as botocore's own session does
        return response

    def close(self) -> None:
        """Nothing is open."""

    def exchange(self, data: bytes, verb: str = "GET") -> tuple[int, HTTPHeaderDict, bytes]:
        """A request's bytes; its answer's status, headers and body."""
        channel = self.site.buildProtocol(None)
        transport = Transport()
        channel.makeConnection(transport)
        self.open.append(channel)
        # In pieces, as they come from a network.
        for first in range(0, len(data), 1400):
            channel.dataReceived(data[first : first + 1400])
        for _ in range(400):
            answer = transport.value()
            if _is_whole(answer, verb) or transport.aborted:
                break
            self.clock.advance(0.25)
        self.assertFalse(transport.aborted, "the connection was aborted")
        head, _, body = answer.partition(b"\r\n\r\n")
        first_line, *lines = head.split(b"\r\n")
        headers = HTTPHeaderDict()
        for line in lines:
            name, _, value = line.partition(b": ")
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        if headers.get("transfer-encoding") == "chunked":
            body = _joined(body)
            headers.discard("transfer-encoding")
        return int(first_line.split()[1]), headers, body


def _is_whole(answer: bytes, verb: str) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    status = int(head.split()[1])
    if verb == "HEAD" or status in (204, 304):
        return True
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    _, _, rest = lower.partition(b"content-length: ")
    return bool(rest) and len(body) >= int(rest.split(b"\r\n")[0])


def _joined(body: bytes) -> bytes:
    data = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        data += rest[:length]
        body = rest[length + 2 :]
    return data
