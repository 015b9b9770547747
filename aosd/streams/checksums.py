"""The checksums that S3 knows of bodies, computed as they flow.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from awscrt import checksums as aws  # type: ignore[import-untyped]


class Running(Protocol):
    """A checksum under way."""

    def update(self, data: bytes, /) -> None:
        """The next bytes."""

    def digest(self) -> bytes:
        """The checksum of what came so far."""


class _Crc:
    def __init__(self, step: Callable[[bytes, int], int], size_bytes: int) -> None:
        self._step = step
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes, "big")


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a checksum.

    `name` is as S3 writes it (CRC32C); `size_bytes` the length of a checksum. `joined` makes
    the checksum of two runs of bytes of theirs and of the length of the second; None where
    that can't be.
    """

    name: str
    size_bytes: int
    begin: Callable[[], Running]
    joined: Callable[[int, int, int], int] | None = None

    def of(self, data: bytes) -> bytes:
        """The checksum of bytes that are all there."""
        running = self.begin()
        running.update(data)
        return running.digest()

    def composite(self, checksums: Sequence[bytes]) -> bytes:
        """The checksum of parts' checksums, in their order: COMPOSITE, as S3 calls it."""
        return self.of(b"".join(checksums))

    def full(self, parts: Sequence[tuple[bytes, int]]) -> bytes:
        """The checksum of a whole from its parts' (checksum, length in bytes), in order.

        Only where `joined` isn't None: FULL_OBJECT, as S3 calls it.
        """
        assert self.joined is not None
        value = 0
        for checksum, length in parts:
            value = self.joined(value, int.from_bytes(checksum, "big"), length)
        return value.to_bytes(self.size_bytes, "big")


ALGORITHMS = {
    each.name: each
    for each in (
        Algorithm("CRC32", 4, lambda: _Crc(zlib.crc32, 4), aws.combine_crc32),
        Algorithm("CRC32C", 4, lambda: _Crc(aws.crc32c, 4), aws.combine_crc32c),
        Algorithm("CRC64NVME", 8, lambda: _Crc(aws.crc64nvme, 8), aws.combine_crc64nvme),
        Algorithm("SHA1", 20, lambda: hashlib.sha1(usedforsecurity=False)),
        Algorithm("SHA256", 32, hashlib.sha256),
    )
}
"""By name."""
