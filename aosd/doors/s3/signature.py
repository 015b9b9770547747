"""Who signed a request: AWS Signature V4, in the header or in a presigned URL.

Pure: nothing is read but the head of the request. Any region is accepted, since a client of
an endpoint of one's own may be set to any. The body isn't looked at: what was signed of it
is in `Authentic`, and whoever reads it holds it against that.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
and https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

from aosd.doors.s3.canonical import (
    Pair,
    canonical_headers,
    canonical_request,
    decoded,
    scope_of,
    signature,
    signing_key,
    spellings,
    split_query,
)
from aosd.doors.s3.claims import (
    DIGEST_HEADER,
    Claim,
    Headers,
    header_claim,
    is_presigned,
    is_presigned_v2,
    not_spoken,
    query_claim,
    seconds_of,
    token_refused,
    value_of,
)
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import UNSIGNED, ChunkKey, Payload, payload_of

SecretOf = Callable[[str], str | None]
"""The secret key of an access key; None when there is no such access key."""

_SKEW_S = 15 * 60


class Authentic(NamedTuple):
    """A request that was signed by whoever has the secret key of `access_key`.

    `payload` is what was signed of the body, `chunks` what its chunks are verified with
    (None where they aren't signed), `presigned` whether the signature came in the URL.
    """

    access_key: str
    payload: Payload
    presigned: bool
    chunks: ChunkKey | None


class _Head(NamedTuple):
    """A request's head as it came; `pairs` are those of the query that were signed."""

    verb: bytes
    path: bytes
    pairs: Sequence[Pair]
    headers: Headers


def authenticate(
    verb: bytes, uri: bytes, headers: Headers, secret_of: SecretOf, now_s: float
) -> Authentic | None:
    """Verify the signature of a request; None when it has none at all.

    `uri` is the target as it was sent: path and query; `now_s` seconds since 1970. Raises
    S3Error for a signature that is malformed, wrong, too old or too new, of an unknown key
    or of a kind that isn't spoken here, and for headers that had to be signed and aren't.
    """
    path, _, query = uri.partition(b"?")
    head = _Head(verb, path, split_query(query), headers)
    names = {decoded(name) for name, _ in head.pairs}
    in_header = [value for name, value in headers if name == b"authorization"]
    in_query, in_query_v2 = is_presigned(names), is_presigned_v2(names)
    if len(in_header) + in_query + in_query_v2 > 1:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
            "Signature query string parameter or the Authorization header should be specified",
        )
    if in_query_v2:
        raise not_spoken("signature version 2")
    if in_header:
        return _of_header(head, in_header[0], secret_of, now_s)
    if in_query:
        return _of_query(head, secret_of, now_s)
    return None


def _of_header(head: _Head, authorization: bytes, secret_of: SecretOf, now_s: float) -> Authentic:
    claim = header_claim(authorization, head.headers)
    digest = value_of(head.headers, DIGEST_HEADER)
    if digest is None:
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    payload = payload_of(digest)
    if abs(now_s - seconds_of(claim.timestamp)) > _SKEW_S:
        raise S3Error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
    # The digest is a line of its own in what is signed, whether its header is or not.
    _check_signed(head.headers, (*claim.signed, DIGEST_HEADER))
    return _verified(claim, head, digest, payload, secret_of)


def _of_query(head: _Head, secret_of: SecretOf, now_s: float) -> Authentic:
    claim = query_claim(head.pairs)
    signed_s = seconds_of(claim.timestamp)
    if signed_s - now_s > _SKEW_S:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if claim.expires_s is None or now_s > signed_s + claim.expires_s:
        raise S3Error("AccessDenied", "Request has expired")
    digest, may_come = claim.digest, claim.signed
    in_header = value_of(head.headers, DIGEST_HEADER)
    if digest is None and DIGEST_HEADER in claim.signed:
        digest = in_header
    elif in_header == UNSIGNED.kind.value:
        # It says nothing more than a presigned URL says without it.
        may_come = (*claim.signed, DIGEST_HEADER)
    _check_signed(head.headers, may_come)
    payload = UNSIGNED if digest is None else payload_of(digest)
    pairs = [pair for pair in head.pairs if decoded(pair[0]) != b"X-Amz-Signature"]
    return _verified(
        claim, head._replace(pairs=pairs), digest or UNSIGNED.kind.value, payload, secret_of
    )


def _check_signed(headers: Headers, signed: Sequence[bytes]) -> None:
    """Host and all x-amz- headers have to be signed: they say what the request does.

    Whoever got a presigned URL could make a PUT of it a copy of anything otherwise.
    """
    for name, _ in headers:
        if name == b"x-amz-security-token":
            raise token_refused()
        if name.startswith(b"x-amz-") and name not in signed:
            raise _not_signed(name)
    if b"host" not in signed:
        raise _not_signed(b"host")


def _not_signed(name: bytes) -> S3Error:
    return S3Error(
        "AccessDenied",
        "There were headers present in the request which were not signed: "
        + name.decode("latin-1"),
    )


def _verified(
    claim: Claim, head: _Head, digest: str, payload: Payload, secret_of: SecretOf
) -> Authentic:
    """The end of it: whether whoever has the secret key signed exactly this."""
    secret = secret_of(claim.access_key)
    if secret is None:
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        )
    key = signing_key(secret, claim.date, claim.region)
    scope = scope_of(claim.date, claim.region)
    try:
        all_lines = canonical_headers(head.headers, claim.signed)
    except KeyError as error:
        name = error.args[0].decode()
        raise S3Error(
            "SignatureDoesNotMatch", f"The header {name} was signed, but did not arrive."
        ) from error
    for lines, (path, query) in product(all_lines, spellings(head.path, head.pairs)):
        request = canonical_request(head.verb, path, query, lines, claim.signed, digest.encode())
        if hmac.compare_digest(signature(key, claim.timestamp, scope, request), claim.signature):
            chunks = None
            if payload.kind.has_signed_chunks:
                chunks = ChunkKey(key, claim.timestamp, scope, claim.signature)
            return Authentic(claim.access_key, payload, claim.expires_s is not None, chunks)
    raise S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
    )
