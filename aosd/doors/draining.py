"""How the connections of a port end, whichever lane they are of."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred


class Channel(Protocol):
    """A connection."""

    def close_when_idle(self) -> None:
        """Take no further request; close now if none is under way."""

    def abort(self) -> None:
        """Drop it at once."""


C = TypeVar("C", bound=Channel)


class Draining(Generic[C]):
    """For factories: `channels` are the open connections; whoever leaves calls channel_left."""

    def __init__(self) -> None:
        self.channels: set[C] = set()
        self._empty: list[Deferred[None]] = []

    def drain(self) -> Deferred[None]:
        """Close idle connections; fires when those with a request under way are closed too."""
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        for channel in list(self.channels):
            channel.close_when_idle()
        self.channel_left()
        return done

    def abort(self) -> None:
        """Drop every connection."""
        for channel in list(self.channels):
            channel.abort()

    def channel_left(self) -> None:
        """A connection is gone."""
        if not self.channels:
            waiting, self._empty = self._empty, []
            for done in waiting:
                done.callback(None)
