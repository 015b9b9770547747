"""Many small objects, and how fast all their keys are listed, by S3's ListObjectsV2."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import quote
from xml.sax.saxutils import unescape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.load import Sample
from bench.processes import BenchError
from tests.integration.nodes import BUCKET

_REGION = "us-east-1"
_AT_ONCE = 16
_NEXT = re.compile(rb"<NextContinuationToken>([^<]*)</NextContinuationToken>")


def fill(port: int, keys: int) -> None:
    """PUT so many objects to whoever takes them unsigned there, some at once."""

    def write(first: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(first, keys, _AT_ONCE):
            _ask(connection, "PUT", f"/{BUCKET}/listed{number:07}", {}, b"x")
        connection.close()

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(write, range(_AT_ONCE)))


def list_all(port: int, credentials: Credentials, keys: int) -> Sample:
    """Page after page, on one connection; the rate is in pages of 1,000 keys a second.

    The client counts keys and looks for the next page's token, and parses nothing else, so
    that the figure is the server's. BenchError: there aren't as many `keys`.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    began_s, counted, token = time.perf_counter(), 0, ""
    while True:
        more = f"continuation-token={quote(token, safe='')}&" if token else ""
        path = f"/{BUCKET}?{more}list-type=2"
        page = _ask(connection, "GET", path, _signed(port, path, credentials))
        counted += page.count(b"<Key>")
        found = _NEXT.search(page)
        if found is None:
            break
        token = unescape(found[1].decode())
    took_s = time.perf_counter() - began_s
    connection.close()
    if counted != keys:
        raise BenchError(f"{counted} keys were listed of {keys}")
    return Sample(rate=counted / 1000 / took_s, cpu=None)


def _signed(port: int, path: str, credentials: Credentials) -> dict[str, str]:
    request = AWSRequest("GET", f"http://127.0.0.1:{port}{path}")
    S3SigV4Auth(credentials, "s3", _REGION).add_auth(request)
    return dict(request.headers.items())


def _ask(
    connection: HTTPConnection,
    verb: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> bytes:
    connection.request(verb, path, body, dict(headers))
    answer = connection.getresponse()
    data = answer.read()
    if answer.status not in (200, 201):
        raise BenchError(f"{verb} {path}: {answer.status} {data[:200]!r}")
    return data
