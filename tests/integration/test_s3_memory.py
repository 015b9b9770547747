"""The daemon's memory while long bodies come to the S3 door in chunks that are signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from aosd.doors.s3.payload import ChunkKey
from tests.framing import EMPTY, sign
from tests.integration import s3
from tests.integration.bodies import MIB, body
from tests.integration.daemon import Daemon
from tests.integration.processes import peak_rss_bytes, reset_peak, rss_bytes
from tests.integration.wire import Wire

LONG_BYTES = 300 * MIB
PIECE = body(MIB, 1)
GROWTH_BOUND_BYTES = 96 * MIB  # parts of 8 MiB on their way to two nodes, and what Python keeps


def signed_chunks(key: ChunkKey, count: int) -> Iterator[bytes]:
    """PIECE, that many times, as the chunks of one body."""
    digest = hashlib.sha256(PIECE).hexdigest()
    previous = key.seed
    for _ in range(count):
        previous = sign(key, "AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, digest)
        yield b"%x;chunk-signature=%b\r\n" % (len(PIECE), previous.encode()) + PIECE + b"\r\n"
    nothing = hashlib.sha256(b"").hexdigest()
    last = sign(key, "AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, nothing)
    yield b"0;chunk-signature=%b\r\n\r\n" % last.encode()


@pytest.mark.slow
def test_signed_chunks_are_decoded_in_little_memory(s3_daemon: Daemon, bucket: str) -> None:
    count = LONG_BYTES // len(PIECE)
    path = s3.path_of(bucket, "long")
    headers = {"X-Amz-Decoded-Content-Length": str(LONG_BYTES)}
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    request = s3.signed("PUT", path, headers=headers, payload=payload)
    length = sum(map(len, signed_chunks(request.chunk_key, count)))
    before_bytes = rss_bytes(s3_daemon.pid)
    reset_peak(s3_daemon.pid)
    with Wire(s3_daemon.port, 60) as wire:
        wire.send(request.head(length))
        for each in signed_chunks(request.chunk_key, count):
            wire.send(each)
        answer = wire.answer("PUT")
    assert answer.status == 200, answer
    growth_bytes = peak_rss_bytes(s3_daemon.pid) - before_bytes
    assert growth_bytes < GROWTH_BOUND_BYTES, f"{growth_bytes / MIB:.0f} MiB"
    head = s3.send(s3_daemon.port, s3.signed("HEAD", path))
    assert head.headers["content-length"] == str(LONG_BYTES)
    s3.client(s3_daemon).delete_object(Bucket=bucket, Key="long")
