"""The digests that a client claimed for its body, computed as it flows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from aosd.model.errors import DigestMismatch


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


_ALGORITHMS: dict[str, Callable[[], _Hash]] = {
    "Content-MD5": lambda: hashlib.md5(usedforsecurity=False),
    "x-amz-content-sha256": hashlib.sha256,
}


class Digests:
    """What a body must hash to: {header name: digest}; nothing to do when it is empty."""

    def __init__(self, expected: dict[str, bytes]) -> None:
        self._expected = [(name, _ALGORITHMS[name](), value) for name, value in expected.items()]

    @property
    def wanted(self) -> bool:
        """Whether the body has to be looked at."""
        return bool(self._expected)

    def update(self, data: bytes) -> None:
        """The next bytes of the body."""
        for _, running, _ in self._expected:
            running.update(data)

    def check(self) -> None:
        """To be called after the last byte, once. Raises DigestMismatch."""
        for name, running, value in self._expected:
            if running.digest() != value:
                raise DigestMismatch(
                    f"the body doesn't have the digest that {name} says",
                    "XAmzContentSHA256Mismatch" if name == "x-amz-content-sha256" else "BadDigest",
                )
