"""Requests signed by botocore, as they come out of twisted.web: for tests of the S3 door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aosd.doors.s3.claims import seconds_of

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "s3.example.org:9000"


class Signed(NamedTuple):
    """A request as a door sees it, and when it was signed, in seconds since 1970."""

    verb: bytes
    uri: bytes
    headers: list[tuple[bytes, bytes]]
    now_s: float


def secret_of(access_key: str) -> str | None:
    return SECRET if access_key == ACCESS_KEY else None


def in_header(
    verb: str,
    uri: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timestamp: str = "20260102T030405Z",
    region: str = "us-east-1",
    **context: Any,
) -> Signed:
    """Sign as S3SigV4Auth does, at a time of ours."""
    request = AWSRequest(verb, f"http://{HOST}{uri}", {"Host": HOST, **(headers or {})}, body)
    request.context.update(context, timestamp=timestamp)
    _sign(S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", region), request)
    return _seen(request, timestamp)


def presigned(
    verb: str,
    uri: str,
    headers: Mapping[str, str] | None = None,
    expires_s: int = 3600,
    timestamp: str = "20260102T030405Z",
    region: str = "us-east-1",
) -> Signed:
    """Sign as S3SigV4QueryAuth does, at a time of ours."""
    request = AWSRequest(verb, f"http://{HOST}{uri}", {"Host": HOST, **(headers or {})})
    request.context["timestamp"] = timestamp
    signer = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET), "s3", region, expires=expires_s)
    _sign(signer, request)
    return _seen(request, timestamp)


def signature_of(
    signer: SigV4Auth, verb: str, url: str, headers: Mapping[str, str], timestamp: str
) -> str:
    """The signature that `signer` gives a request whose headers are all there."""
    request = AWSRequest(verb, url, headers)
    request.context["timestamp"] = timestamp
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _sign(signer: SigV4Auth, request: AWSRequest) -> None:
    """What add_auth does, but for its reading the clock."""
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))


def _seen(request: AWSRequest, timestamp: str) -> Signed:
    parts = urlsplit(request.url)
    uri = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = [
        # botocore's HTTP client sends header values as UTF-8; twisted trims them.
        (name.lower().encode(), str(value).encode().strip(b" \t"))
        for name, value in request.headers.items()
    ]
    return Signed(request.method.encode(), uri.encode(), headers, seconds_of(timestamp))
