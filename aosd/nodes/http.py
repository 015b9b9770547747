"""The HTTP client to one node: treq over an Agent with a pool of its own."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from aosd.nodes.connections import Confirm, ConfirmedEndpoint, Endpoints, make_pool

STORED_ENCODING = b"x-aosd-stored-content-encoding"
"""Where a response carries the Content-Encoding that the node sent."""

IDLE_CONNECTION_S = 20  # less than any server keeps one


@implementer(IAgent)
class UntouchedAgent:
    """An agent whose answers' bytes come as they lie on the node.

    treq asks for gzip and unpacks what says it is gzip; an object that was stored with
    `Content-Encoding: gzip` has to come back as it was stored. So nothing is asked for,
    and the header that treq would act on travels under another name.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See IAgent."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_hide_encoding)


def _hide_encoding(response: IResponse) -> IResponse:
    stored = response.headers.getRawHeaders(b"Content-Encoding")
    if stored is not None:
        response.headers.removeHeader(b"Content-Encoding")
        response.headers.setRawHeaders(STORED_ENCODING, stored)
    return response


def make_client(
    reactor: Any, *, connect_timeout_s: float, connections: int, confirm: Confirm
) -> tuple[HTTPClient, HTTPConnectionPool]:
    """A treq client and its pool, which keeps up to `connections` idle ones.

    A new connection carries no request before `confirm` has fired.
    """
    pool = make_pool(reactor, connections=connections, idle_s=IDLE_CONNECTION_S)
    endpoints = Endpoints(
        reactor, connect_timeout_s, lambda endpoint: ConfirmedEndpoint(endpoint, confirm)
    )
    return client_over(Agent.usingEndpointFactory(reactor, endpoints, pool)), pool


def client_over(agent: IAgent) -> HTTPClient:
    """A treq client that leaves bytes as they are."""
    return HTTPClient(UntouchedAgent(agent))


def hang_up(consumer: IConsumer) -> None:
    """Drop the connection under `consumer`, which Twisted's client gave to a body producer.

    A node that answers before it has read the body leaves the rest of it unsent, and
    Twisted then waits for the producer for ever: it offers no way to tell it that the rest
    won't come without logging an error. The consumer is a
    wrapper (`_newclient.LengthEnforcingConsumer`); the transport lies beneath it.
    """
    transport: Any = getattr(consumer, "_consumer", consumer)
    transport.unregisterProducer()
    transport.abortConnection()


def reasons(failure: Failure) -> list[BaseException]:
    """What an Agent's failure was made of, outermost first."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [failure.value] if failure.value is not None else []
    while waiting:
        error = waiting.pop(0)
        found.append(error)
        for inner in getattr(error, "reasons", None) or ():
            cause = inner.value if isinstance(inner, Failure) else inner
            if isinstance(cause, BaseException):
                waiting.append(cause)
    return found
