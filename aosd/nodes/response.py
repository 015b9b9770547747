"""What is used of a node's answer, whichever client it came by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class ResponseHeaders(Protocol):
    """The headers of an answer; names in any case."""

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None:
        """The values of one header, None without any."""

    def getAllRawHeaders(self) -> Iterable[tuple[bytes, Sequence[bytes]]]:
        """Each header with its values."""


class Response(Protocol):
    """An answer whose head is here: what twisted.web.iweb.IResponse has, as far as it is used.

    `length` is that of the body in bytes; no int when the node doesn't tell it.
    """

    @property
    def code(self) -> int:
        """The status."""

    @property
    def length(self) -> int | str:
        """See above."""

    @property
    def headers(self) -> ResponseHeaders:
        """The headers."""

    def deliverBody(self, protocol: Any) -> None:
        """Let the body flow to an IProtocol, which loses its connection at the end."""
