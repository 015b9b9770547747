"""What the S3 door does to a request, piece by piece, without a socket."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.web.http_headers import Headers

from aosd.doors.s3.canonical import signing_key
from aosd.doors.s3.chunks import decoded
from aosd.doors.s3.completions import completion_of
from aosd.doors.s3.listings import contents
from aosd.doors.s3.payload import ChunkKey, PayloadKind, payload_of
from aosd.doors.s3.signature import Authentic, authenticate
from aosd.doors.s3.xml_in import parse
from aosd.doors.s3.xml_out import document, url_encoded
from aosd.model.node import Address
from aosd.model.node import Credentials as NodeCredentials
from aosd.model.objects import Entry
from aosd.nodes.express.signing import QuickSigner, quick_target
from aosd.nodes.signing import UNSIGNED_PAYLOAD, Signer, target
from aosd.testing.bodies import BytesSource

KEYS = Credentials("bench", "bench-secret")
REGION = "us-east-1"
CHUNK_BYTES = 64 * 1024
_ETAG = '"5d41402abc4b2a76b9719d911017c592"'
_SAMPLE_S = 0.2


@dataclass(frozen=True)
class Piece:
    """A piece of work and what it took: the median of its samples."""

    name: str
    microseconds: float


def measure_pieces(rounds: int) -> list[Piece]:
    """Each piece `rounds` times, in turns."""
    pieces: dict[str, Callable[[], object]] = {
        "sign a request to a node": _signing(),
        "the same in the express lane": _quick_signing(),
        "verify a signature in the header (GET)": _header("GET"),
        "verify a signature in the header (PUT, 9 headers signed)": _header("PUT"),
        "verify a presigned URL": _presigned(),
        "decode and verify a signed chunk of 64 KiB": _chunk(),
        "write ListObjectsV2 of 1,000 keys": _listing(),
        "read DeleteObjects of 1,000 keys": _deletion(),
        "read CompleteMultipartUpload of 10,000 parts": _completion(),
    }
    samples: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(rounds):
        for name, work in pieces.items():
            samples[name].append(_microseconds(work))
    return [Piece(name, statistics.median(taken)) for name, taken in samples.items()]


def _microseconds(work: Callable[[], object]) -> float:
    work()
    count, began_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < _SAMPLE_S:
        work()
        count += 1
    return took_s / count * 1e6


def _signing() -> Callable[[], object]:
    address = Address("http", "127.0.0.1", 9000)
    signer = Signer(address, NodeCredentials("node", "node-secret"), time.time)
    path, query = target("photos", "2026/some picture.jpg", {})
    headers = {"x-amz-meta-aos-stamp": "0193594b3a7c-0000-1f2e3d4c"}
    return lambda: signer.sign("PUT", path, query, headers, UNSIGNED_PAYLOAD)


def _quick_signing() -> Callable[[], object]:
    address = Address("http", "127.0.0.1", 9000)
    signer = QuickSigner(address, NodeCredentials("node", "node-secret"), time.time)
    path = quick_target("photos", "2026/some picture.jpg")
    headers = ((b"x-amz-meta-aos-stamp", b"0193594b3a7c-0000-1f2e3d4c"),)
    return lambda: signer.sign(b"PUT", path, b"", headers)


def _secret_of(access_key: str) -> str | None:
    return KEYS.secret_key if access_key == KEYS.access_key else None


def _header(verb: str) -> Callable[[], object]:
    request = AWSRequest(verb, "http://127.0.0.1:3000/photos/2026/some%20picture.jpg", data=b"")
    request.headers["X-Amz-Content-Sha256"] = "UNSIGNED-PAYLOAD"
    if verb == "PUT":
        request.headers["Content-Type"] = "image/jpeg"
        for name in ("who", "where", "when"):
            request.headers[f"x-amz-meta-{name}"] = "somebody, somewhere, some time"
        request.headers["x-amz-checksum-crc32"] = "AAAAAA=="
    S3SigV4Auth(KEYS, "s3", REGION).add_auth(request)
    headers = _headers(request)
    uri, now_s = b"/photos/2026/some%20picture.jpg", time.time()
    return lambda: authenticate(verb.encode(), uri, headers, _secret_of, now_s)


def _presigned() -> Callable[[], object]:
    request = AWSRequest("GET", "http://127.0.0.1:3000/photos/2026/some%20picture.jpg")
    S3SigV4QueryAuth(KEYS, "s3", REGION, expires=3600).add_auth(request)
    uri, now_s = request.url.removeprefix("http://127.0.0.1:3000").encode(), time.time()
    headers = [(b"host", b"127.0.0.1:3000")]
    return lambda: authenticate(b"GET", uri, headers, _secret_of, now_s)


def _headers(request: Any) -> list[tuple[bytes, bytes]]:
    found = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return [*found, (b"host", b"127.0.0.1:3000")]


class _Nowhere:
    def body_data(self, data: bytes) -> None:
        """Dropped."""

    def body_ended(self) -> None:
        """Nobody waits."""

    def body_failed(self, reason: Any) -> None:
        reason.raiseException()


def _chunk() -> Callable[[], object]:
    day, moment = "20261126", "20261126T120000Z"
    scope = f"{day}/{REGION}/s3/aws4_request"
    key = ChunkKey(signing_key(KEYS.secret_key, day, REGION), moment, scope, "0" * 64)
    data, sent, previous = bytes(CHUNK_BYTES), b"", key.seed
    for chunk in (data, b""):
        previous = key.of_chunk(previous, hashlib.sha256(chunk).hexdigest())
        sent += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(chunk), previous.encode(), chunk)
    payload = payload_of(PayloadKind.SIGNED_CHUNKS.value)
    authentic = Authentic(KEYS.access_key, payload, False, key)
    headers = [(b"x-amz-decoded-content-length", b"%d" % CHUNK_BYTES)]

    def work() -> None:
        source = BytesSource(sent, piece_bytes=CHUNK_BYTES)
        decoded(source, authentic, headers).start(_Nowhere())

    return work


def _listing() -> Callable[[], object]:
    entries = [
        Entry(f"photos/2026/{n:06} ü.jpg", _ETAG, 12345, 1_700_000_000.0) for n in range(1000)
    ]
    return lambda: document("ListBucketResult", contents(entries, url_encoded, None))


def _deletion() -> Callable[[], object]:
    keys = "".join(f"<Object><Key>photos/2026/{n:06}.jpg</Key></Object>" for n in range(1000))
    data = f"<Delete><Quiet>true</Quiet>{keys}</Delete>".encode()
    return lambda: [each.findtext("Key") for each in parse(data, "Delete").iterfind("Object")]


class _Headless:
    """As much of a call as reading a Complete looks at: one without headers."""

    def __init__(self) -> None:
        self.request = self
        self.requestHeaders = Headers()

    def header(self, name: bytes) -> None:
        return None


def _completion() -> Callable[[], object]:
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{_ETAG}</ETag></Part>" for n in range(1, 10_001)
    )
    data = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    call: Any = _Headless()
    return lambda: completion_of(call, parse(data, "CompleteMultipartUpload"))
