"""What serves a port: makes its connections' channels, and has what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as WebRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from aosd.doors.draining import Draining
from aosd.doors.heads_first import HeadFirstChannel, HeadFirstRequest
from aosd.doors.load import Load
from aosd.doors.request import DoorRequest
from aosd.observe.access import AccessLog


class HeadFirstSite(Draining[HeadFirstChannel], Site):
    """A site whose requests are dispatched when their heads are in."""

    noisy = False
    requestFactory = HeadFirstRequest

    def __init__(
        self,
        resource: IResource,
        *,
        clock: IReactorTime,
        observer: AccessLog,
        make_request_id: Callable[[], str],
        door_of: Callable[[HeadFirstRequest], str],
        client_idle_timeout_s: float,
        load: Load,
        keep_alive_s: float = 60.0,
    ) -> None:
        Draining.__init__(self)
        Site.__init__(self, resource, timeout=keep_alive_s, reactor=clock)
        self.keep_alive_s = keep_alive_s
        self.clock = clock
        self.observer = observer
        self.load = load
        self.make_request_id = make_request_id
        self.door_of = door_of
        self.client_idle_timeout_s = client_idle_timeout_s

    def over(self, request: DoorRequest) -> None:
        """A request that had begun was answered, or its client is gone; to be told once."""
        self.load.leave(request)
        self.observer.ended(request)

    def buildProtocol(self, addr: object) -> Any:
        """A channel for a new connection: HTTP/1.1 and nothing else."""
        return self.make_channel(HeadFirstChannel)

    def make_channel(self, kind: type[HeadFirstChannel]) -> Any:
        """A channel of a kind, not connected yet."""
        channel: Any = kind()
        channel.factory = self
        channel.site = self
        channel.requestFactory = self.requestFactory
        channel.timeOut = self.timeOut
        channel.callLater = self.clock.callLater
        return channel

    def log(self, request: WebRequest) -> None:
        """The observer writes the access log."""

    def startFactory(self) -> None:
        """No log file, no log clock."""

    def stopFactory(self) -> None:
        """Nothing to close."""
