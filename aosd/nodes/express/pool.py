"""The express lane's connections to one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.web.client import URI

from aosd.nodes.connections import Confirm, ConfirmedEndpoint, Endpoints
from aosd.nodes.express.connection import NodeConnection
from aosd.nodes.http import IDLE_CONNECTION_S
from aosd.streams.splice import Pipes


class ConnectionPool:
    """Keeps up to `connections` idle ones, each for 20 s; those in use aren't counted.

    The one that was used last is used next, so that a quiet node has few. A new one carries
    no request before `confirm` has fired. `pipes` are what bodies are spliced through; `spliced`
    is told how many bytes were.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        connect_timeout_s: float,
        connections: int,
        confirm: Confirm,
        spliced: Callable[[int], object] = lambda count: None,
    ) -> None:
        self._connections = connections
        self._idle: list[NodeConnection] = []
        self._closed = False
        self.pipes = Pipes(spliced)
        endpoints = Endpoints(
            reactor, connect_timeout_s, lambda endpoint: ConfirmedEndpoint(endpoint, confirm)
        )
        self._endpoint = endpoints.endpointForURI(URI.fromBytes(url.encode("ascii")))
        self._factory = _Connections(reactor, self)

    def take(self) -> NodeConnection | None:
        """An idle connection; None when there is none."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    def open(self) -> Deferred[NodeConnection]:
        """A new one. Errbacks with what connecting, or `confirm`, failed with."""
        connecting: Deferred[Any] = self._endpoint.connect(self._factory)
        return connecting

    def close(self) -> Deferred[None]:
        """Close the idle ones; fires when they are. Those in use are closed when they end."""
        self._closed = True
        self.pipes.close()
        idle, self._idle = self._idle, []
        for each in idle:
            each.close()
        return DeferredList([each.closed for each in idle]).addCallback(lambda _: None)

    # -- the connections' side --------------------------------------------------------------------

    def freed(self, connection: NodeConnection) -> None:
        """A connection can carry another request."""
        if self._closed or len(self._idle) >= self._connections:
            connection.close()
            return
        self._idle.append(connection)
        connection.keep(IDLE_CONNECTION_S)

    def lost(self, connection: NodeConnection) -> None:
        """A connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)


class _Connections(Factory):
    """Makes the connections of a pool."""

    noisy = False

    def __init__(self, clock: Any, pool: ConnectionPool) -> None:
        self._clock = clock
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> NodeConnection:
        """See IProtocolFactory."""
        return NodeConnection(self._clock, self._pool.freed, self._pool.lost, self._pool.pipes)
