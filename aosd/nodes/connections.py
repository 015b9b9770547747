"""Connections to one node: new ones wait to be confirmed, the control connection is watched."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from aosd.observe.logs import hush

T = TypeVar("T")

Confirm = Callable[[], Deferred[None]]
"""See IHealth.confirm."""

Wrap = Callable[[IStreamClientEndpoint], IStreamClientEndpoint]

_LONGEST_HEAD_BYTES = 64 * 1024
_CONTROL_IDLE_S = 7 * 86_400  # a probe comes each second: what is closed is closed by others


def make_pool(reactor: Any, *, connections: int, idle_s: int) -> HTTPConnectionPool:
    """A pool of up to `connections` idle ones, each kept for `idle_s`.

    Nothing is repeated behind our back: what is safe to repeat is for the caller to say.
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = connections
    pool.cachedConnectionTimeout = idle_s
    pool.retryAutomatically = False
    hush(pool)
    return pool


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Where to connect: as Agent has it, wrapped, and with no resolver for IP addresses.

    An endpoint is made once: the Agent asks for it with each request, although nearly all
    go over a connection of the pool, and what TLS trusts takes milliseconds to load. A
    host's name is looked up at each connect all the same.
    """

    def __init__(self, reactor: Any, connect_timeout_s: float, wrap: Wrap) -> None:
        self._reactor = reactor
        self._timeout_s = connect_timeout_s
        self._wrap = wrap
        self._made: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See IAgentEndpointFactory."""
        where = (uri.scheme, uri.host, uri.port)
        if where not in self._made:
            self._made[where] = self._wrap(self._endpoint(uri))
        return self._made[where]

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii").strip("[]")
        endpoint: IStreamClientEndpoint
        if isIPAddress(host):
            endpoint = TCP4ClientEndpoint(self._reactor, host, uri.port, timeout=self._timeout_s)
        elif isIPv6Address(host):
            endpoint = TCP6ClientEndpoint(self._reactor, host, uri.port, timeout=self._timeout_s)
        else:
            endpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=self._timeout_s)
        if uri.scheme == b"https":
            creator = BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port)
            endpoint = wrapClientTLS(creator, endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
class ConfirmedEndpoint:
    """An endpoint whose connections aren't handed out before `confirm` has fired.

    The node might have been restarted since it was probed last; whoever opens a connection
    is the first to meet the new one. When `confirm` fails or is given up the connection is
    aborted.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, confirm: Confirm) -> None:
        self._endpoint = endpoint
        self._confirm = confirm

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        protocol: Any = await self._endpoint.connect(factory)
        try:
            await self._confirm()
        except BaseException:
            protocol.transport.abortConnection()
            raise
        if protocol.state == "CONNECTION_LOST":
            # Its turn came too late. (Handed out, it would refuse the request.)
            raise ConnectionLost("closed before it was used")
        confirmed: IProtocol = protocol
        return confirmed


class WatchedConnection(ProtocolWrapper):
    """A connection that reads along: whether an answer came, and announced that it is the last.

    `ended` is called with it when it is lost, after what it wraps was told. `ours` is for
    whoever closes it on purpose.
    """

    def __init__(
        self,
        factory: Any,
        wrapped: IProtocol,
        ended: Callable[[WatchedConnection], object],
    ) -> None:
        super().__init__(factory, wrapped)
        self.answered = False
        self.announced = False
        self.ours = False
        self._ended = ended
        self._head: bytes | None = b""

    def write(self, data: bytes) -> None:
        """A request goes out: what comes next is the head of its answer."""
        self._head = b""
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See write."""
        self._head = b""
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        if self._head is not None:
            self._read_along(self._head + data)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        super().connectionLost(reason)
        self._ended(self)

    def _read_along(self, received: bytes) -> None:
        # Twisted's client keeps the Connection header to itself.
        head, ended, _ = received.partition(b"\r\n\r\n")
        if ended and head.startswith(b"HTTP/"):
            self.answered = True
            self.announced = announces_close(head)
        self._head = None if ended or len(head) > _LONGEST_HEAD_BYTES else head


def announces_close(head: bytes) -> bool:
    """Whether an answer with this head is the last of its connection (RFC 9112, 9.3)."""
    status, *lines = head.lower().split(b"\r\n")
    said: set[bytes] = set()
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"connection":
            said.update(option.strip() for option in value.split(b","))
    if status.startswith(b"http/1.0"):
        return b"keep-alive" not in said
    return b"close" in said


@implementer(IStreamClientEndpoint)
class _WatchedEndpoint:
    """An endpoint whose connections are watched: `made` makes each from what wraps it."""

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        made: Callable[[Any, IProtocol], WatchedConnection],
    ) -> None:
        self._endpoint = endpoint
        self._made = made

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint; fires with what `factory` built."""
        wrapping = WrappingFactory(factory)
        wrapping.noisy = False
        wrapping.protocol = self._made
        connecting: Deferred[Any] = self._endpoint.connect(wrapping)
        return connecting.addCallback(lambda watched: watched.wrappedProtocol)


class ControlConnection:
    """The one connection that probes go over. `lost` is called when it breaks.

    That is: once for each connection that has brought an answer and was then closed by
    anyone but `close`; by us too, when a probe is given up, since nobody knows what becomes
    of the node meanwhile. It is called with whether the node's last answer had announced
    the end, and what was under way has failed by then.

    `agent` is for the one request that `use` is called with. The connection is kept while
    nothing is asked.
    """

    def __init__(
        self, reactor: Any, connect_timeout_s: float, lost: Callable[[bool], object]
    ) -> None:
        self._lost = lost
        self._open: set[WatchedConnection] = set()
        self._turn = DeferredLock()
        self._closed = False
        self._pool = make_pool(reactor, connections=1, idle_s=_CONTROL_IDLE_S)
        endpoints = Endpoints(
            reactor, connect_timeout_s, lambda endpoint: _WatchedEndpoint(endpoint, self._made)
        )
        self.agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    async def use(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `ask` returns; one after the other, so that one connection is enough."""
        await self._turn.acquire()
        self._closed = False
        try:
            return await ask()
        finally:
            if self._closed:
                # It was idle for a moment at most, and might not have been there before.
                self.close()
            self._turn.release()

    def close(self) -> Deferred[None]:
        """Close it, and tell nobody. What is under way ends by itself."""
        self._closed = True
        for each in self._open:
            each.ours = True
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _made(self, factory: Any, wrapped: IProtocol) -> WatchedConnection:
        made = WatchedConnection(factory, wrapped, self._ended)
        self._open.add(made)
        return made

    def _ended(self, connection: WatchedConnection) -> None:
        self._open.discard(connection)
        if connection.answered and not connection.ours:
            self._lost(connection.announced)
