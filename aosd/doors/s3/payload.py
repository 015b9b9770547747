"""What a signed request says of its body: a digest, nothing, or chunks with signatures.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from aosd.doors.s3.errors import S3Error

_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class PayloadKind(Enum):
    """The forms of x-amz-content-sha256; a digest in hex is SHA256."""

    SHA256 = "a SHA-256 in hex"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def is_framed(self) -> bool:
        """Whether the body comes in aws-chunked framing, whatever Content-Encoding says."""
        return self not in (PayloadKind.SHA256, PayloadKind.UNSIGNED)

    @property
    def has_signed_chunks(self) -> bool:
        """Whether each chunk carries a signature."""
        return self in (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER)

    @property
    def has_trailers(self) -> bool:
        """Whether trailers may follow the last chunk."""
        return self in (PayloadKind.SIGNED_CHUNKS_TRAILER, PayloadKind.UNSIGNED_CHUNKS_TRAILER)


class Payload(NamedTuple):
    """What was signed of the body: its kind, and the digest (32 bytes) where it is SHA256."""

    kind: PayloadKind
    sha256: bytes | None = None


UNSIGNED = Payload(PayloadKind.UNSIGNED)

_KINDS = {kind.value: Payload(kind) for kind in PayloadKind if kind is not PayloadKind.SHA256}


def payload_of(text: str) -> Payload:
    """Read a value of x-amz-content-sha256. Raises S3Error for what it can't be."""
    payload = _KINDS.get(text)
    if payload is not None:
        return payload
    if _SHA256_HEX.fullmatch(text) is not None:
        return Payload(PayloadKind.SHA256, bytes.fromhex(text))
    if text.startswith("STREAMING-AWS4-ECDSA-"):
        raise S3Error(
            "NotImplemented", "Chunks signed with AWS4-ECDSA (SigV4A) are not implemented."
        )
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, "
        "or a valid sha256 value.",
    )


@dataclass(frozen=True, slots=True)
class ChunkKey:
    """What signatures of chunks are made with; the request's own signature is the `seed`.

    Each signature covers the one before it, so that chunks can't change places.
    """

    key: bytes = field(repr=False)
    timestamp: str
    scope: str
    seed: str

    def of_chunk(self, previous: str, sha256_hex: str) -> str:
        """The signature, in hex, of a chunk whose bytes have this digest."""
        return self._signature("AWS4-HMAC-SHA256-PAYLOAD", previous, _EMPTY_SHA256, sha256_hex)

    def of_trailers(self, previous: str, sha256_hex: str) -> str:
        """The signature, in hex, of trailers with this digest (of lines that end with LF)."""
        return self._signature("AWS4-HMAC-SHA256-TRAILER", previous, sha256_hex)

    def _signature(self, *lines: str) -> str:
        text = "\n".join((lines[0], self.timestamp, self.scope, *lines[1:]))
        return hmac.digest(self.key, text.encode(), "sha256").hex()
