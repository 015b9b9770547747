"""The express lane's factory."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString
from zope.interface import implementer

from aosd.doors.draining import Draining
from aosd.doors.express.channel import ExpressChannel
from aosd.doors.express.head import Heads
from aosd.doors.express.routes import Routes
from aosd.doors.site import HeadFirstSite
from aosd.observe.metrics import Metrics


@implementer(IProtocolNegotiationFactory)
class ExpressSite(Draining[ExpressChannel], Factory):
    """A site whose connections are the express lane's; `site` serves what isn't of it.

    Clock, observer, ids and times are those of `site`, so that nobody can tell the lanes
    apart.
    """

    noisy = False

    def __init__(self, site: HeadFirstSite, routes: Routes, metrics: Metrics) -> None:
        super().__init__()
        self.site = site
        self.routes = routes
        self.heads = Heads()
        self.keep_alive_s = site.keep_alive_s
        self.express = metrics.lane_requests.labels("express")
        self.standard = metrics.lane_requests.labels("standard")
        self._date = b""
        self._date_s = -1

    def buildProtocol(self, addr: IAddress | None) -> ExpressChannel:
        """A channel for a new connection."""
        return ExpressChannel(self, self.site)

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802 — Twisted's
        """See IProtocolNegotiationFactory: what the other lane speaks, which is HTTP/1.1."""
        return [each for each in self.site.acceptableProtocols() if each == b"http/1.1"]

    def date(self) -> bytes:
        """The present time, as HTTP has it; made once a second."""
        now_s = int(self.site.clock.seconds())
        if now_s != self._date_s:
            self._date_s = now_s
            self._date = datetimeToString()
        return self._date
