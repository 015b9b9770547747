"""The express lane's factory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString

from aosd.doors.express.channel import ExpressChannel
from aosd.doors.express.routes import Routes
from aosd.doors.site import HeadFirstSite
from aosd.observe.metrics import Metrics


class ExpressSite(Factory):
    """A site whose connections are the express lane's; `site` serves what isn't of it.

    Clock, observer, ids and times are those of `site`, so that nobody can tell the lanes
    apart.
    """

    noisy = False

    def __init__(self, site: HeadFirstSite, routes: Routes, metrics: Metrics) -> None:
        self.site = site
        self.routes = routes
        self.keep_alive_s = site.keep_alive_s
        self.express = metrics.lane_requests.labels("express")
        self.standard = metrics.lane_requests.labels("standard")
        self.channels: set[ExpressChannel] = set()
        self._empty: list[Deferred[None]] = []
        self._date = b""
        self._date_s = -1

    def buildProtocol(self, addr: IAddress | None) -> ExpressChannel:
        """A channel for a new connection."""
        return ExpressChannel(self, self.site)

    def date(self) -> bytes:
        """The present time, as HTTP has it; made once a second."""
        now_s = int(self.site.clock.seconds())
        if now_s != self._date_s:
            self._date_s = now_s
            self._date = datetimeToString()
        return self._date

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
