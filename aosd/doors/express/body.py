"""The body of a request of the express lane."""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from aosd.doors.body import Line, RequestBody
from aosd.model.errors import RequestTimeout
from aosd.streams.splice import ISpliceBody


class PlainLine(Line, Protocol):
    """A connection whose socket may be read past it."""

    def plain_socket(self) -> socket.socket | None:
        """The socket, when what comes by it is the body as it is."""

    def body_taken(self, count: int) -> None:
        """So many bytes of the body were read from the socket by somebody else."""


@implementer(ISpliceBody)
class ExpressBody(RequestBody):
    """A body of `length` bytes that can be spliced away. See RequestBody."""

    def __init__(
        self,
        line: PlainLine,
        length: int,
        expects: bool,
        clock: IReactorTime,
        idle_timeout_s: float,
    ) -> None:
        super().__init__(line, length, expects, clock, idle_timeout_s)
        self.idle_timeout_s = idle_timeout_s
        self._plain_line = line

    def source_socket(self) -> socket.socket | None:
        """See ISpliceSource."""
        if self.ended or self._at_hand or self._failure is not None or self._sink is None:
            return None
        return self._plain_line.plain_socket()

    def take_over(self) -> list[bytes]:
        """See ISpliceSource: its sink has all that had been read."""
        self.hold()
        return []

    def taken(self, count: int) -> None:
        """See ISpliceSource."""
        self.received_bytes += count
        self._plain_line.body_taken(count)

    def give_back(self) -> None:
        """See ISpliceSource."""
        if self._sink is not None:
            self.resume()

    def drop(self) -> None:
        """See ISpliceSource."""
        self.discard()

    def fell_silent(self) -> None:
        """See ISpliceBody."""
        self.fail(RequestTimeout("no byte of the body came for too long"))
