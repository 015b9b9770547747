"""Signature V4 for the express lane: what stays the same for a day or a second is kept.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import digest
from time import gmtime, strftime

from aosd.model.node import Address, Credentials
from aosd.nodes.signing import REGION, UNSIGNED_PAYLOAD, folded, host_of, target

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+/[A-Za-z0-9/._~-]+")
UNSIGNED = UNSIGNED_PAYLOAD.encode()
_HOST, _DATE, _SHA256 = b"host", b"x-amz-date", b"x-amz-content-sha256"
_NAMES = b"host;x-amz-content-sha256;x-amz-date"
# RFC 2104: a key's bytes, and those that go before the inner text and the outer one.
_INNER, _OUTER = (bytes(each ^ pad for each in range(256)) for pad in (0x36, 0x5C))


class QuickSigner:
    """Signs for one node as nodes.signing.Signer does, straight into a request's head.

    `now` gives seconds since 1970.
    """

    def __init__(
        self, address: Address, credentials: Credentials, now: Callable[[], float]
    ) -> None:
        self._now = now
        self._host = host_of(address).encode("ascii")
        self._secret = b"AWS4" + credentials.secret_key.encode()
        self._access_key = credentials.access_key.encode()
        self._second = -1
        self._day = b""
        self._inner = self._outer = sha256()
        # These change with each second, the last three with each day.
        self._moment = b""
        self._canonical = b""
        self._before_hash = b""
        self._lines = b""
        self._credential = b""

    def sign(
        self,
        verb: bytes,
        path: bytes,
        query: bytes,
        amz_headers: Sequence[tuple[bytes, bytes]] = (),
        payload: bytes = UNSIGNED,
    ) -> bytes:
        """The lines of a head that say and sign who asks, from Host on, each with its CRLF.

        `amz_headers` (lower-case names, values in UTF-8 with no control characters but tabs;
        none of the signature's own) are among them. `path` and `query` are encoded as `target`
        does; `payload` is the body's SHA-256 in hex, or UNSIGNED-PAYLOAD.
        """
        second = int(self._now())
        if second != self._second:
            self._tick(second)
        if payload is not UNSIGNED:
            return self._sign_more(verb, path, query, amz_headers, payload)
        names = canonical = lines = b""
        for name, value in sorted(amz_headers):
            if name < _DATE:
                return self._sign_more(verb, path, query, amz_headers, payload)
            names += b";" + name
            canonical += b"%b:%b\n" % (name, _folded(value))
            lines += b"%b: %b\r\n" % (name, value)
        request = sha256(
            b"%b\n%b\n%b\n%b%b\n%b%b\n%b"
            % (
                verb,
                path,
                _sorted(query),
                self._canonical,
                canonical,
                _NAMES,
                names,
                UNSIGNED,
            )
        )
        return b"%b%b, Signature=%b\r\n%b" % (
            self._lines,
            names,
            self._signature(request.hexdigest()),
            lines,
        )

    def _signature(self, request: str) -> bytes:
        """The HMAC of a request with this hash. The key isn't hashed anew each time."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(self._before_hash + request.encode())
        outer.update(inner.digest())
        return outer.hexdigest().encode()

    def _sign_more(
        self,
        verb: bytes,
        path: bytes,
        query: bytes,
        amz_headers: Sequence[tuple[bytes, bytes]],
        payload: bytes,
    ) -> bytes:
        headers = [(_HOST, self._host), (_SHA256, payload), (_DATE, self._moment), *amz_headers]
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        headers.sort()
        names = b";".join([name for name, _ in headers])
        canonical = b"".join([b"%b:%b\n" % (name, _folded(value)) for name, value in headers])
        request = sha256(
            b"%b\n%b\n%b\n%b\n%b\n%b" % (verb, path, _sorted(query), canonical, names, payload)
        )
        return b"%bAuthorization: %bSignedHeaders=%b, Signature=%b\r\n" % (
            lines,
            self._credential,
            names,
            self._signature(request.hexdigest()),
        )

    def _tick(self, second: int) -> None:
        """Another second: another date to sign with, now and then of another day."""
        self._second = second
        moment = self._moment = strftime("%Y%m%dT%H%M%SZ", gmtime(second)).encode()
        day = moment[:8]
        scope = b"%b/%b/s3/aws4_request" % (day, REGION.encode())
        if day != self._day:
            self._day = day
            key = self._secret
            for each in scope.split(b"/"):
                key = digest(key, each, "sha256")
            key = key.ljust(sha256().block_size, b"\0")
            self._inner = sha256(key.translate(_INNER))
            self._outer = sha256(key.translate(_OUTER))
            self._credential = b"AWS4-HMAC-SHA256 Credential=%b/%b, " % (self._access_key, scope)
        self._canonical = b"host:%b\nx-amz-content-sha256:%b\nx-amz-date:%b\n" % (
            self._host,
            UNSIGNED,
            moment,
        )
        self._before_hash = b"AWS4-HMAC-SHA256\n%b\n%b\n" % (moment, scope)
        self._lines = (
            b"host: %b\r\nx-amz-content-sha256: %b\r\nx-amz-date: %b\r\n"
            b"Authorization: %bSignedHeaders=%b"
            % (self._host, UNSIGNED, moment, self._credential, _NAMES)
        )


def quick_target(bucket: str, key: str) -> bytes:
    """The path of a request, as `nodes.signing.target` gives it: most keys need no encoding."""
    plain = f"{bucket}/{key}"
    if _PLAIN.fullmatch(plain) and "/" not in bucket:
        return b"/" + plain.encode("ascii")
    return target(bucket, key, {})[0].encode("ascii")


def _folded(value: bytes) -> bytes:
    """See nodes.signing.folded."""
    if value.isascii() and b"  " not in value and b"\t" not in value:
        return value.strip()
    return folded(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _sorted(query: bytes) -> bytes:
    if b"&" not in query:
        return query
    return b"&".join(
        b"=".join(pair) for pair in sorted(each.split(b"=") for each in query.split(b"&"))
    )
