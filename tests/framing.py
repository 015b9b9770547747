"""aws-chunked bodies as clients make them, signed by the letter of the documentation."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from aosd.doors.s3.payload import ChunkKey

EMPTY = hashlib.sha256(b"").hexdigest()


def sign(key: ChunkKey, *lines: str) -> str:
    text = "\n".join([lines[0], key.timestamp, key.scope, *lines[1:]])
    return hmac.new(key.key, text.encode(), hashlib.sha256).hexdigest()


def framed(
    pieces: Sequence[bytes],
    key: ChunkKey | None = None,
    trailers: Sequence[tuple[str, str]] | None = None,
    style: str = "aws",
) -> bytes:
    """`pieces` as chunks (none of them empty), signed with `key`, and what follows them.

    The style `minio` is minio-go's: trailers end with LF, and an empty line follows them.
    """
    out = bytearray()
    previous = "" if key is None else key.seed
    for piece in [*pieces, b""]:
        out += f"{len(piece):x}".encode()
        if key is not None:
            digest = hashlib.sha256(piece).hexdigest()
            previous = sign(key, "AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, digest)
            out += b";chunk-signature=" + previous.encode()
        out += b"\r\n"
        if piece:
            out += piece + b"\r\n"
    lines = [f"{name}:{value}\n".encode() for name, value in trailers or ()]
    for line in lines:
        out += line if style == "minio" else line[:-1] + b"\r\n"
    if style == "minio" and trailers is not None:
        out += b"\r\n"
    if key is not None and trailers is not None:
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        signature = sign(key, "AWS4-HMAC-SHA256-TRAILER", previous, digest)
        out += f"x-amz-trailer-signature:{signature}\r\n".encode()
    return bytes(out + b"\r\n")
