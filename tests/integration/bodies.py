"""Bodies of any length that aren't all alike."""

from __future__ import annotations

import random
from collections.abc import Iterator

KIB = 1024
MIB = 1024 * KIB


def body(size_bytes: int, seed: int = 0) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size_bytes)


def pieces(data: bytes, piece_bytes: int = 256 * KIB) -> Iterator[bytes]:
    """What a client may make chunks of."""
    for first in range(0, len(data), piece_bytes):
        yield data[first : first + piece_bytes]
