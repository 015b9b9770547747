"""Requests to a node by treq: signing, deadlines, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

# The client's exports leave out the one error that says «this isn't HTTP».
from twisted.web._newclient import ParseError
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers as WireHeaders
from twisted.web.iweb import IBodyProducer

from aosd.model.errors import AosdError, NodeError, NodeNonsense, NodeTimeout, NodeUnavailable
from aosd.model.objects import Headers
from aosd.nodes.bodies import WatchedBody
from aosd.nodes.exchange import Exchange, is_held
from aosd.nodes.http import reasons
from aosd.nodes.response import Response
from aosd.nodes.signing import UNSIGNED_PAYLOAD, Signer, target
from aosd.nodes.wiring import Wiring

T = TypeVar("T")


class TreqExchange(Exchange):
    """See Exchange."""

    def __init__(self, wiring: Wiring, client: HTTPClient) -> None:
        super().__init__(wiring)
        self._base_url = wiring.address.url
        self._signer = Signer(wiring.address, wiring.credentials, wiring.now)
        self._client = client

    async def _once(
        self,
        verb: str,
        bucket: str,
        key: str,
        query: Mapping[str, str],
        headers: Headers,
        body: IBodyProducer | None,
        answer_s: float | None,
        guarded: bool,
    ) -> Response:
        path, query_text = target(bucket, key, query)
        wire = WireHeaders()
        amz: dict[str, str] = {}
        payload = UNSIGNED_PAYLOAD
        for name, value in headers:
            if name == b"x-amz-content-sha256":
                payload = value.decode("ascii")
            elif name.startswith(b"x-amz-"):
                amz[name.decode("ascii")] = value.decode("utf-8")
            else:
                wire.addRawHeader(name, value)
        for signed_name, signed_value in self._signer.sign(
            verb, path, query_text, amz, payload
        ).items():
            if signed_name != "host":
                wire.addRawHeader(signed_name.encode("ascii"), signed_value.encode("utf-8"))
        url = self._base_url + path + ("?" + query_text if query_text else "")
        self._metrics.node_requests.labels(self.name, verb).inc()
        began_s = self._clock.seconds()
        answer_s = self._deadlines.answer_s if answer_s is None else answer_s
        watched = None
        first_byte_s = self._deadlines.first_byte_s
        if body is not None:
            # Its own watch ends it; this is only the time to connect and to begin.
            watched = WatchedBody(
                body, self._clock, self._deadlines.stall_s, answer_s, lambda why: give_up(why)
            )
        waiting: Deferred[Any] = self._client.request(
            verb,
            url,
            headers=wire,
            data=watched,
            allow_redirects=False,
            unbuffered=True,
            reactor=cast(Any, self._clock),
        )
        too_late: list[NodeError] = []

        def give_up(why: str) -> None:
            too_late.append(NodeTimeout(self.name, why))
            waiting.cancel()

        def tripped() -> None:
            too_late.append(NodeUnavailable(self.name, "its breaker opened meanwhile"))
            waiting.cancel()

        timer = None
        if watched is None:
            timer = self._clock.callLater(
                first_byte_s, give_up, f"didn't begin to answer within {first_byte_s:g} s"
            )
        # A client's body on its way is judged by its own progress; who only waits isn't kept
        # waiting for a node that is silent. (A probe is what finds out whether it is.)
        if watches := guarded and is_held(body):
            self._health.watch(tripped)
        try:
            response: Response = await _given_up_as_such(waiting)
        except Exception as error:
            if watched is not None:
                watched.failed()
            if too_late:
                raise too_late[0] from error
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if watches:
                self._health.unwatch(tripped)
        if watched is not None:
            watched.answered()
        self._tell_health(response.code, guarded=guarded)
        self._metrics.node_seconds.labels(self.name, verb).observe(self._clock.seconds() - began_s)
        return response

    def _translate(self, failure: Failure) -> Exception:
        """What a failed request means, in our own errors. The only place that knows treq's."""
        causes = reasons(failure)
        for error in causes:
            if isinstance(error, (AosdError, CancelledError)):
                return error
        for error in causes:
            if isinstance(error, (ParseError, ValueError)):
                return NodeNonsense(self.name, f"its answer isn't HTTP: {error}")
            if (unreached := self._unreached(error)) is not None:
                return unreached
        if isinstance(causes[0], (ResponseFailed, RequestTransmissionFailed)):
            return NodeUnavailable(self.name, f"the connection broke: {causes[-1]!r}")
        return NodeNonsense(self.name, f"{type(causes[0]).__name__}: {causes[0]}")

    def _never_answered(self, error: Exception) -> bool:
        return isinstance(error, (ResponseNeverReceived, RequestTransmissionFailed))


def _given_up_as_such(waiting: Deferred[T]) -> Deferred[T]:
    """`waiting`, but failing with CancelledError when it is cancelled through what's returned.

    The client fails in many ways when it is cancelled, by what it was at: connecting, sending,
    waiting. None of them is the node's fault.
    """
    given_up = False

    def give_up(_: Deferred[T]) -> None:
        nonlocal given_up
        given_up = True
        waiting.cancel()

    def settled(result: T | Failure) -> None:
        if not outer.called:
            failed = isinstance(result, Failure)
            outer.callback(Failure(CancelledError()) if failed and given_up else result)

    outer: Deferred[T] = Deferred(give_up)
    waiting.addBoth(settled)
    return outer
