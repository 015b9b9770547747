"""Signature V4 for requests to nodes, by the minio package.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, quote

from minio.credentials.credentials import Credentials as MinioCredentials
from minio.signer import sign_v4_s3

from aosd.model.node import Address, Credentials

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
REGION = "us-east-1"
_UNRESERVED = "-._~"


def target(bucket: str, key: str, query: Mapping[str, str]) -> tuple[str, str]:
    """The path and the query of a request, percent-encoded the one way that S3 signs."""
    path = "/" + quote(bucket, safe=_UNRESERVED)
    if key:
        path += "/" + quote(key, safe=_UNRESERVED + "/")
    encoded = (
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(query.items())
    )
    return path, "&".join(encoded)


def host_of(address: Address) -> str:
    """What the Host header of a request to it says, and signs."""
    host = address.url.partition("://")[2]
    if address.port == {"http": 80, "https": 443}[address.scheme]:
        # Twisted's Agent leaves a default port out of the Host header it sends.
        return host.rpartition(":")[0]
    return host


def folded(value: str) -> str:
    """A header's value as nodes sign it: one space for any white space, and none at the ends.

    Amazon's rules know spaces. MinIO and SeaweedFS, by Go's strings.Fields, count whatever
    Unicode calls white space, and answer 403 where a no-break space was signed as it is.
    """
    return " ".join(value.split())


class Signer:
    """Signs for one node. `now` gives seconds since 1970."""

    def __init__(
        self, address: Address, credentials: Credentials, now: Callable[[], float]
    ) -> None:
        self.host = host_of(address)
        self._scheme = address.scheme
        self._credentials = MinioCredentials(credentials.access_key, credentials.secret_key)
        self._now = now

    def sign(
        self, verb: str, path: str, query: str, amz_headers: Mapping[str, str], payload: str
    ) -> dict[str, Any]:
        """The headers to send: `amz_headers` (all of them are signed) and the signature.

        `payload` is the body's SHA-256 in hex, or UNSIGNED_PAYLOAD.
        """
        moment = datetime.fromtimestamp(self._now(), UTC)
        headers: dict[str, Any] = {
            **{name: folded(value) for name, value in amz_headers.items()},
            "host": self.host,
            "x-amz-content-sha256": payload,
            "x-amz-date": moment.strftime("%Y%m%dT%H%M%SZ"),
        }
        signed: dict[str, Any] = sign_v4_s3(
            method=verb,
            url=SplitResult(self._scheme, self.host, path, query, ""),
            region=REGION,
            headers=headers,
            credentials=self._credentials,
            content_sha256=payload,
            date=moment,
        )
        return {**signed, **amz_headers}
