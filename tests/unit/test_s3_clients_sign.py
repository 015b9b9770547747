"""What whole clients send, caught before it leaves: their signatures, their framing."""

from __future__ import annotations

import base64
import io
import zlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.session import Session
from minio.credentials.credentials import Credentials as MinioCredentials
from minio.signer import presign_v4
from twisted.trial.unittest import SynchronousTestCase
from urllib3 import HTTPResponse

from aosd.doors.s3.chunks import decoded
from aosd.doors.s3.claims import seconds_of
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import PayloadKind
from aosd.doors.s3.signature import Authentic, authenticate
from aosd.model.node import Address, Credentials
from aosd.nodes.signing import UNSIGNED_PAYLOAD, Signer, target
from aosd.testing.bodies import BytesSource
from tests.signers import ACCESS_KEY, SECRET, Signed, secret_of
from tests.unit.test_s3_chunks import Sink

KEYS = ("plain", "a b+c%d", "é/漢/🚀", "//x//", "a/./b/../c", "(x)!*'~;=@:$,&#?", "end/")


class Caught:
    """A botocore client whose requests are caught; each answered 200 with nothing."""

    def __init__(self, endpoint: str, **config: Any) -> None:
        session = Session()
        session.set_credentials(ACCESS_KEY, SECRET)
        self.client: Any = session.create_client(
            "s3", region_name="eu-west-1", endpoint_url=endpoint, config=Config(**config)
        )
        self.requests: list[tuple[Signed, bytes]] = []
        self.client.meta.events.register("before-send.s3", self._send)

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body: Any = request.body or b""
        body = body if isinstance(body, bytes) else body.read()
        headers = [
            (name.lower().encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in request.headers.items()
        ]
        self.requests.append((seen(request.method, request.url, headers), body))
        answer = HTTPResponse(io.BytesIO(b""), preload_content=False)
        return AWSResponse(request.url, 200, {}, answer)

    def take(self) -> tuple[Signed, bytes]:
        [caught] = self.requests
        self.requests.clear()
        return caught


def seen(verb: str, url: str, headers: list[tuple[bytes, bytes]]) -> Signed:
    parts = urlsplit(url)
    uri = parts.path + (f"?{parts.query}" if parts.query else "")
    if b"host" not in dict(headers):
        headers = [(b"host", parts.netloc.encode()), *headers]
    # A client signs by the clock of the machine; here it is the moment that it says.
    query = dict(parse_qsl(parts.query))
    date = dict(headers).get(b"x-amz-date", b"").decode() or query["X-Amz-Date"]
    return Signed(verb.encode(), uri.encode(), headers, seconds_of(date))


class BotocoreTests(SynchronousTestCase):
    def verify(self, signed: Signed) -> Authentic:
        found = authenticate(*signed[:3], secret_of, signed.now_s)
        assert found is not None
        return found

    def test_operations(self) -> None:
        for style in ("path", "virtual"):
            caught = Caught("http://s3.example.org:9000", s3={"addressing_style": style})
            for key in KEYS:
                caught.client.get_object(Bucket="bucket", Key=key, Range="bytes=0-9")
                self.verify(caught.take()[0])
                caught.client.put_object(
                    Bucket="bucket", Key=key, Body=b"x", Metadata={"a": "b  c "}
                )
                self.verify(caught.take()[0])
                caught.client.list_objects_v2(Bucket="bucket", Prefix=key, Delimiter="/")
                self.verify(caught.take()[0])
            caught.client.list_buckets()
            self.verify(caught.take()[0])

    def test_presigned(self) -> None:
        caught = Caught("http://s3.example.org", signature_version="s3v4")
        for key in KEYS:
            for operation in ("get_object", "put_object"):
                url = caught.client.generate_presigned_url(
                    operation, {"Bucket": "bucket", "Key": key}, ExpiresIn=60
                )
                verb = operation[:3].upper()
                self.assertTrue(self.verify(seen(verb, url, [])).presigned)

    def test_a_stream_over_tls(self) -> None:
        caught = Caught("https://s3.example.org")
        data = bytes(range(256)) * 1000
        caught.client.put_object(
            Bucket="b-b", Key="k", Body=io.BytesIO(data), ChecksumAlgorithm="CRC32"
        )
        signed, body = caught.take()
        found = self.verify(signed)
        self.assertEqual(found.payload.kind, PayloadKind.UNSIGNED_CHUNKS_TRAILER)
        source = decoded(BytesSource(body, told=False, piece_bytes=1000), found, signed.headers)
        self.assertEqual(source.length, len(data))
        sink = Sink()
        source.start(sink)
        self.assertEqual((sink.ends, bytes(sink.data)), (["ended"], data))
        crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))
        self.assertEqual(getattr(source, "trailers", None), {b"x-amz-checksum-crc32": crc})


class MinioTests(SynchronousTestCase):
    now_s = 1767323045.0

    def verify(self, signed: Signed) -> Authentic:
        found = authenticate(*signed[:3], secret_of, signed.now_s)
        assert found is not None
        return found

    def test_in_the_header(self) -> None:
        signer = Signer(
            Address("http", "s3.example.org", 9000),
            Credentials(ACCESS_KEY, SECRET),
            lambda: self.now_s,
        )
        for key in KEYS:
            path, query = target("bucket", key, {"prefix": key, "delimiter": "/", "list-type": "2"})
            headers = signer.sign("GET", path, query, {"x-amz-meta-a": "b"}, UNSIGNED_PAYLOAD)
            seen_headers = [
                (name.lower().encode(), value.encode()) for name, value in headers.items()
            ]
            found = self.verify(
                Signed(b"GET", f"{path}?{query}".encode(), seen_headers, self.now_s)
            )
            self.assertEqual(found.payload.kind, PayloadKind.UNSIGNED)

    def test_white_space_beyond_ascii(self) -> None:
        """As minio-go signs it: such as in the name of a screenshot that a Mac made."""
        signer = Signer(
            Address("http", "s3.example.org", 9000),
            Credentials(ACCESS_KEY, SECRET),
            lambda: self.now_s,
        )
        path, query = target("bucket", "key", {})
        for value in ("caf\u00e9\u00a0x", "9.41\u202fAM", "\u3000a \u2003 b\u3000", "a\u0085b"):
            headers = signer.sign("PUT", path, query, {"x-amz-meta-a": value}, UNSIGNED_PAYLOAD)
            seen_headers = [
                (name.lower().encode(), told.encode()) for name, told in headers.items()
            ]
            self.verify(Signed(b"PUT", path.encode(), seen_headers, self.now_s))
            other = [(name, told.replace(b"a", b"A")) for name, told in seen_headers]
            with self.assertRaises(S3Error):
                self.verify(Signed(b"PUT", path.encode(), other, self.now_s))

    def test_presigned(self) -> None:
        for key in KEYS:
            path, query = target("bucket", key, {})
            url = presign_v4(
                method="GET",
                url=urlsplit(f"http://s3.example.org{path}?{query}"),
                region="us-east-1",
                credentials=MinioCredentials(ACCESS_KEY, SECRET),
                date=datetime.fromtimestamp(self.now_s, UTC),
                expires=60,
            )
            self.assertIn("X-Amz-Signature", dict(parse_qsl(url.query)))
            self.assertTrue(self.verify(seen("GET", url.geturl(), [])).presigned)
