"""The S3 door as its clients see it: botocore's client, and signed requests that it can't send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from xml.etree.ElementTree import Element

import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.exceptions import ClientError
from defusedxml.ElementTree import fromstring

from aosd.doors.s3.canonical import signing_key
from aosd.doors.s3.payload import ChunkKey
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.wire import Answer, Wire

DOMAIN = "s3.example.test"
REGION = "us-east-1"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Pair(NamedTuple):
    """An access key and its secret."""

    access_key: str
    secret_key: str


ROOT = Pair("root-of-these-tests", "secret/of+the=root")
READER = Pair("reader", "secret-of-the-reader")
WRITER = Pair("writer", "secret-of-the-writer")
NOBODY = Pair("nobody", "secret-of-nobody")

ENVIRONMENT = {
    "AOSD_ACCESS_KEY": ROOT.access_key,
    "AOSD_SECRET_KEY": ROOT.secret_key,
    "AOSD_S3_DOMAIN": DOMAIN,
}


def client(daemon: Daemon | int, pair: Pair = ROOT, **config: Any) -> Any:
    """botocore's client with its defaults, but for the endpoint and retries."""
    port = daemon if isinstance(daemon, int) else daemon.port
    settings: dict[str, Any] = {
        "retries": {"max_attempts": 0},
        "read_timeout": 60,
        "signature_version": "s3v4",
        **config,
    }
    session = botocore.session.get_session()
    return session.create_client(
        "s3",
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=pair.access_key,
        aws_secret_access_key=pair.secret_key,
        config=Config(**settings),
    )


@contextmanager
def refused(code: str, status: int) -> Iterator[Any]:
    """What is inside must be refused, with this code and status; gives the error, once it is."""
    with pytest.raises(ClientError) as raised:
        yield raised
    told = raised.value.response
    assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def body_of(answer: Any) -> bytes:
    """The bytes of GetObject's answer."""
    with answer["Body"] as stream:
        data: bytes = stream.read()
        return data


def keys_of(answer: Any) -> list[str]:
    """The keys of a page of a listing."""
    return [each["Key"] for each in answer.get("Contents", [])]


def all_keys(s3: Any, bucket: str, **arguments: Any) -> list[str]:
    """The keys of all pages of a listing."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **arguments)
    return [key for page in pages for key in keys_of(page)]


# -- what no SDK sends ----------------------------------------------------------------------------


class Request(NamedTuple):
    """A request that is signed, to be sent as it is; `chunk_key` signs the chunks of its body."""

    verb: str
    target: str
    headers: dict[str, str]
    chunk_key: ChunkKey

    def head(self, length: int | None = None) -> bytes:
        """Its head, as bytes."""
        lines = [f"{self.verb} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def path_of(bucket: str, key: str = "") -> str:
    """The target of a key in path style, percent-encoded as the signature wants it."""
    return f"/{bucket}/{quote(key)}" if key else f"/{bucket}"


def signed(
    verb: str,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    pair: Pair = ROOT,
    host: str = "store",
    payload: str | None = None,
    ago_s: float = 0.0,
) -> Request:
    """A request with its signature in the header, `ago_s` before now.

    `payload` is x-amz-content-sha256; by default the digest of `body`.
    """
    text = urlencode(query or {}, quote_via=quote)
    target = f"{path}?{text}" if text else path
    request = AWSRequest(verb, f"http://{host}{target}", {"Host": host, **(headers or {})}, body)
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    timestamp = moment.strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = timestamp
    signer = _Signer(BotocoreCredentials(*pair), "s3", REGION)
    signer.payload_text = payload
    signer._modify_request_before_signing(request)
    if payload is not None:
        del request.headers["X-Amz-Content-SHA256"]
        request.headers["X-Amz-Content-SHA256"] = payload
    told = signer.string_to_sign(request, signer.canonical_request(request))
    signature = signer.signature(told, request)
    signer._inject_signature_to_request(request, signature)
    day = timestamp[:8]
    chunk_key = ChunkKey(
        signing_key(pair.secret_key, day, REGION),
        timestamp,
        f"{day}/{REGION}/s3/aws4_request",
        signature,
    )
    return Request(verb, target, {n: str(v) for n, v in request.headers.items()}, chunk_key)


def presigned(
    verb: str,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    pair: Pair = ROOT,
    expires_s: int = 600,
    ago_s: float = 0.0,
) -> Request:
    """A request whose signature is in its query."""
    text = urlencode(query or {}, quote_via=quote)
    target = f"{path}?{text}" if text else path
    request = AWSRequest(verb, f"http://store{target}", {"Host": "store"})
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
    signer = S3SigV4QueryAuth(BotocoreCredentials(*pair), "s3", REGION, expires=expires_s)
    signer._modify_request_before_signing(request)
    told = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(told, request))
    parts = urlsplit(request.url)
    nothing = ChunkKey(b"", "", "", "")
    return Request(verb, f"{parts.path}?{parts.query}", {"Host": "store"}, nothing)


def send(port: int, request: Request, body: bytes | None = None, timeout_s: float = 30.0) -> Answer:
    """One request on a connection of its own; `body` None: without one and without a length."""
    with Wire(port, timeout_s) as wire:
        return send_on(wire, request, body)


def send_on(wire: Wire, request: Request, body: bytes | None = None) -> Answer:
    """The same, on a connection that is there."""
    wire.send(request.head(None if body is None else len(body)))
    if body:
        # It may be refused on the way; the answer tells.
        with suppress(ConnectionError):
            wire.send(body)
    return wire.answer(request.verb)


def error_of(answer: Answer) -> tuple[int, str]:
    """The status and code of an error of this door."""
    assert answer.headers["content-type"] == "application/xml", answer
    return answer.status, answer.code


def result_of(answer: Answer, name: str) -> Element:
    """The document of a success, without its namespace, which is checked."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/xml", answer
    root = root_of(answer.body)
    assert root.tag == f"{{{NAMESPACE}}}{name}", answer.body
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def root_of(data: bytes) -> Element:
    root: Element = fromstring(data)
    return root


class _Signer(S3SigV4Auth):  # type: ignore[misc]
    """S3SigV4Auth that signs what it is told of the payload."""

    payload_text: str | None = None

    def payload(self, request: Any) -> str:
        return str(super().payload(request)) if self.payload_text is None else self.payload_text


def identities_file(path: Path, *more: str) -> Path:
    """The identities of these tests, written at once."""
    tables = [
        _table(READER, "readonly", "*"),
        _table(WRITER, "readwrite", "writers-*"),
        *more,
    ]
    aside = path.with_suffix(".new")
    aside.write_text("\n".join(tables))
    aside.replace(path)
    return path


def identity(pair: Pair, role: str, bucket: str = "*") -> str:
    """One identity's table."""
    return _table(pair, role, bucket)


def _table(pair: Pair, role: str, bucket: str) -> str:
    return (
        f'[[identities]]\naccess_key = "{pair.access_key}"\nsecret_key = "{pair.secret_key}"\n'
        f'role = "{role}"\nbuckets = ["{bucket}"]\n'
    )


def holders(nodes: Iterable[RealNode], bucket: str, key: str) -> list[str]:
    """The names of the nodes that have the key, asked themselves."""
    return [each.name for each in nodes if key in each.stored_keys(bucket)]
