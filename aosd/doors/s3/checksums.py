"""Checksums that clients send with bodies: verified here, kept with whole objects.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace

from aosd.doors.heads import header_items
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.model.objects import OWN_METADATA, Headers
from aosd.ports import IBodySource
from aosd.streams.checked import Checked
from aosd.streams.checksums import ALGORITHMS, Algorithm

_HEADER = b"x-amz-checksum-"
_OWN = OWN_METADATA + b"checksum-"
_NOT_VALUES = frozenset({b"algorithm", b"mode", b"type"})
_FOREIGN = frozenset({"MD5", "SHA512", "XXHASH64", "XXHASH3", "XXHASH128"})
TYPE = b"x-amz-checksum-type"
FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a client says a body's checksum is; `value` None: a trailer will say."""

    algorithm: Algorithm
    value: bytes | None


def claim_of(call: Call) -> Claim | None:
    """The checksum that a request's headers claim or announce; None for none.

    Only headers count: a presigned URL may carry that of an empty body in its query. Raises
    S3Error for one that can't be, for several, and for kinds that aren't known here.
    """
    claims = [Claim(algorithm, _value(algorithm, text)) for algorithm, text in _claimed(call)]
    trailers = (call.header(b"x-amz-trailer") or "").lower().encode("latin-1").split(b",")
    claims.extend(
        Claim(_algorithm(name.strip()[len(_HEADER) :]), None)
        for name in trailers
        if name.strip().startswith(_HEADER)
    )
    if len(claims) > 1:
        raise _several()
    claim = claims[0] if claims else None
    told = call.header(b"x-amz-sdk-checksum-algorithm")
    if told and claim is not None and named(told) is not claim.algorithm:
        raise S3Error("InvalidRequest", "x-amz-sdk-checksum-algorithm names another checksum")
    return claim


def whole_claim_of(call: Call, count: int) -> tuple[Algorithm, bytes, bool] | None:
    """What a Complete of `count` parts claims of the object.

    The flag says that it is made of the parts' checksums: such a value ends in `-count`, though
    some clients leave that out. Raises S3Error.
    """
    found = _claimed(call)
    if not found:
        return None
    if len(found) > 1:
        raise _several()
    algorithm, text = found[0]
    value, dash, told = text.partition("-")
    if dash and told != str(count):
        raise S3Error("BadDigest", f"the checksum is of {told[:8]} parts, and not of {count}")
    return algorithm, _value(algorithm, value), bool(dash)


def type_of(call: Call, algorithm: Algorithm) -> str | None:
    """The kind of checksum that x-amz-checksum-type names; None without it. Raises S3Error."""
    kind = call.header(TYPE)
    if kind is None:
        return None
    if kind not in (FULL_OBJECT, COMPOSITE):
        raise S3Error("InvalidRequest", f"x-amz-checksum-type is {FULL_OBJECT} or {COMPOSITE}")
    if (kind == FULL_OBJECT and algorithm.joined is None) or (
        kind == COMPOSITE and algorithm.name == "CRC64NVME"
    ):
        raise S3Error("InvalidRequest", f"{algorithm.name} can't be {kind}")
    return kind


def named(name: str) -> Algorithm:
    """The algorithm of that name, in any case. Raises S3Error."""
    return _algorithm(name.strip().encode("latin-1", "replace"))


def watched(call: Call, claim: Claim) -> Checked:
    """The request's body, failing in place of its end when it isn't what was claimed."""
    body = call.body

    def claimed() -> bytes:
        return _trailer(body, claim.algorithm) if claim.value is None else claim.value

    return Checked(body, claim.algorithm, claimed)


def write(call: Call, claim: Claim | None, watched: Checked | None, kind: str = "") -> None:
    """Tell in the answer what the body's checksum is, where one was claimed."""
    if claim is None or watched is None or watched.checksum is None:
        return
    call.request.setHeader(*header(claim.algorithm, watched.checksum))
    if kind:
        call.request.setHeader(TYPE, kind.encode("ascii"))


def header_name(algorithm: Algorithm) -> bytes:
    """The header of requests and answers that carries such a checksum, in base64."""
    return _HEADER + algorithm.name.lower().encode("ascii")


def with_checked_body(call: Call) -> Call:
    """The same call, whose body fails when it isn't what a checksum claims."""
    claim = claim_of(call)
    return call if claim is None else replace(call, body=watched(call, claim))


def header(algorithm: Algorithm, checksum: bytes) -> tuple[bytes, bytes]:
    """That header and its value."""
    return header_name(algorithm), b64encode(checksum)


def element_name(algorithm: Algorithm) -> str:
    """The element of documents that carries such a checksum, in base64."""
    return f"Checksum{algorithm.name}"


def kept(algorithm: Algorithm, checksum: bytes) -> Headers:
    """The own metadata that keeps a whole object's checksum."""
    return ((_OWN + algorithm.name.lower().encode("ascii"), b64encode(checksum)),)


def kept_in(own: Headers) -> tuple[Algorithm, str] | None:
    """The checksum that an object was stored with, in base64."""
    for name, value in own:
        algorithm = ALGORITHMS.get(name[len(_OWN) :].decode("ascii", "replace").upper())
        if name.startswith(_OWN) and algorithm is not None:
            return algorithm, value.decode("ascii", "replace")
    return None


def decoded(algorithm: Algorithm, text: str) -> bytes | None:
    """A checksum from base64; None when it can't be one."""
    try:
        checksum = b64decode(text.encode("latin-1", "replace"), validate=True)
    except binascii.Error:
        return None
    return checksum if len(checksum) == algorithm.size_bytes else None


def _claimed(call: Call) -> list[tuple[Algorithm, str]]:
    return [
        (_algorithm(name[len(_HEADER) :]), value.decode("latin-1").strip())
        for name, value in header_items(call.request)
        if name.startswith(_HEADER) and name[len(_HEADER) :] not in _NOT_VALUES
    ]


def _several() -> S3Error:
    return S3Error("InvalidRequest", "one x-amz-checksum-* at most")


def _algorithm(name: bytes) -> Algorithm:
    text = name.decode("latin-1").upper()
    if text in _FOREIGN:
        raise S3Error("NotImplemented", f"checksums of kind {text} aren't known here")
    if text not in ALGORITHMS:
        raise S3Error("InvalidRequest", "the checksum's algorithm is none")
    return ALGORITHMS[text]


def _value(algorithm: Algorithm, text: str) -> bytes:
    checksum = decoded(algorithm, text.strip())
    if checksum is None:
        name = header_name(algorithm).decode("ascii")
        raise S3Error("InvalidRequest", f"Value for {name} header is invalid.")
    return checksum


def _trailer(body: IBodySource, algorithm: Algorithm) -> bytes:
    trailers: dict[bytes, bytes] = getattr(body, "trailers", {})
    text = trailers.get(header_name(algorithm))
    if text is None:
        raise S3Error("MalformedTrailerError", "the trailer that was announced didn't come")
    return _value(algorithm, text.decode("latin-1"))
