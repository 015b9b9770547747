"""How the connections of a port begin and end, whichever lane they are of."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger


class Channel(Protocol):
    """A connection."""

    def close_when_idle(self) -> None:
        """Take no further request; close now if none is under way."""

    def abort(self) -> None:
        """Drop it at once."""


C = TypeVar("C", bound=Channel)


class Draining(Generic[C]):
    """For factories: `channels` are the open connections; whoever leaves calls channel_left.

    There are `most_channels` at most, None for as many as come: clients that ask for nothing
    mustn't use up the descriptors that requests need for their nodes.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.channels: set[C] = set()
        self.most_channels: int | None = None
        self._told = False
        self._empty: list[Deferred[None]] = []

    def admit(self, channel: C) -> None:
        """A connection came; it is dropped at once when there are too many."""
        self.channels.add(channel)
        most = self.most_channels
        if most is None or len(self.channels) <= most:
            return
        if not self._told:
            self._told = True
            self._log.warn("{most} connections are open; no more are taken", most=most)
        channel.abort()

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
        if self._told and len(self.channels) < (self.most_channels or 0) * 3 // 4:
            self._told = False
        if not self.channels:
            waiting, self._empty = self._empty, []
            for done in waiting:
                done.callback(None)
