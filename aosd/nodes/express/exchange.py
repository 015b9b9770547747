"""Requests to a node by the express lane: signing, deadlines, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from aosd.model.errors import AosdError, NodeError, NodeNonsense, NodeTimeout, NodeUnavailable
from aosd.model.objects import Headers
from aosd.nodes.exchange import Exchange, is_held
from aosd.nodes.express.answer import Answer, NotHttp
from aosd.nodes.express.connection import NO_ANSWER, Broke, NodeConnection, TookTooLong
from aosd.nodes.express.pool import ConnectionPool
from aosd.nodes.express.signing import UNSIGNED, QuickSigner, quick_target
from aosd.nodes.response import Response
from aosd.nodes.signing import target
from aosd.nodes.wiring import Wiring
from aosd.streams.splice_relay import SpliceRelay, splice_target

_NO_QUERY: Mapping[str, str] = {}
_WITH_LENGTH = frozenset({"PUT", "POST"})
_READS = frozenset({"GET", "HEAD"})
_MOST_SIGNED = 1024


class _Waiting(Deferred[Answer]):
    """Fires with the answer to a request of the node `name`; what gives it up calls `stop`.

    `too_late` is why, when it wasn't who waits.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_forget)
        self.name = name
        self.too_late: NodeError | None = None
        self.given_up = False
        self.stop: Callable[[], object] | None = None

    def give_up(self, error: NodeError) -> None:
        """Wait no more, for this reason."""
        self.too_late = error
        self.cancel()

    def tripped(self) -> None:
        """The node's breaker opened."""
        self.give_up(NodeUnavailable(self.name, "its breaker opened meanwhile"))

    def unreached(self, failure: Failure) -> None:
        """There is no connection."""
        # Connecting fails in its own ways when it is given up: none is the node's fault.
        if not self.given_up and not self.called:
            self.errback(failure)


def _forget(waiting: Deferred[Answer]) -> None:
    assert isinstance(waiting, _Waiting)
    waiting.given_up = True
    if waiting.stop is not None:
        waiting.stop()


class ExpressExchange(Exchange):
    """See Exchange."""

    def __init__(self, wiring: Wiring, pool: ConnectionPool) -> None:
        super().__init__(wiring)
        self._signer = QuickSigner(wiring.address, wiring.credentials, wiring.now)
        self._pool = pool
        self._now = wiring.now
        self._second = -1
        self._signed: dict[tuple[str, str, str], bytes] = {}
        # By verb, so that no label is looked up with each request.
        self._counters: dict[str, tuple[Callable[[], object], Callable[[float], object]]] = {}

    async def read(self, response: Response) -> bytes:
        """See Exchange; most short answers are here with their heads."""
        if isinstance(response, Answer) and (whole := response.take_whole()) is not None:
            return whole
        return await super().read(response)

    def splice_relay(self, consumer: IConsumer, answer: Answer, length: int) -> SpliceRelay | None:
        """What splices a body of `length` bytes to `consumer`; None when that can't be."""
        if answer.length != length or answer.source_socket() is None:
            return None
        target = splice_target(consumer, length)
        if target is None:
            return None

        def otherwise(left: int) -> Deferred[None]:
            relay = self.relay(consumer, left)
            answer.deliverBody(relay)
            return relay.done

        return SpliceRelay(
            consumer,
            answer,
            target,
            length,
            self._clock,
            self._pool.pipes,
            self._deadlines.stall_s,
            self._deadlines.client_stall_s,
            self._broken,
            self._health.heard,
            otherwise,
        )

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
        if headers or query or body is not None or verb not in _READS:
            head = self._head(verb, bucket, key, query, headers, body)
        else:
            head = self._head_of_read(verb, bucket, key)
        count, observe = self._counters.get(verb) or self._counters_of(verb)
        count()
        began_s = self._clock.seconds()
        waiting = _Waiting(self.name)
        asked = (waiting, verb, head, body, began_s, answer_s)
        # See TreqExchange: who only waits isn't kept waiting for a node that is silent.
        if watches := guarded and is_held(body):
            self._health.watch(waiting.tripped)
        timer = None
        try:
            connection = self._pool.take()
            if connection is not None:
                self._send(connection, *asked)
            else:
                opening = self._pool.open()
                waiting.stop = opening.cancel
                opening.addCallback(self._send, *asked).addErrback(waiting.unreached)
                if body is None:
                    first_byte_s = self._deadlines.first_byte_s
                    late = NodeTimeout(self.name, NO_ANSWER.format(first_byte_s))
                    timer = self._clock.callLater(first_byte_s, waiting.give_up, late)
            answer = await waiting
        except Exception as error:
            if waiting.too_late is not None:
                raise waiting.too_late from error
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if watches:
                self._health.unwatch(waiting.tripped)
        self._tell_health(answer.code, guarded=guarded)
        observe(self._clock.seconds() - began_s)
        return answer

    def _send(
        self,
        connection: NodeConnection,
        waiting: _Waiting,
        verb: str,
        head: bytes,
        body: IBodyProducer | None,
        began_s: float,
        answer_s: float | None,
    ) -> None:
        """Send a request by a connection, if nobody gave it up while that was opened."""
        if waiting.given_up:
            connection.abort()
            return
        # First: a body may have who gives up a request as soon as it begins to flow.
        waiting.stop = connection.give_up
        deadlines = self._deadlines
        connection.ask(
            waiting,
            verb,
            head,
            body,
            began_s=began_s,
            first_byte_s=deadlines.first_byte_s,
            stall_s=deadlines.stall_s,
            answer_s=deadlines.answer_s if answer_s is None else answer_s,
        )

    def _head_of_read(self, verb: str, bucket: str, key: str) -> bytes:
        """All of a GET or HEAD that says nothing but what is to be read.

        It goes out in the same words again while the second lasts that it is signed for: a key
        that many ask for is signed for once.
        """
        second = int(self._now())
        if second != self._second or len(self._signed) >= _MOST_SIGNED:
            self._second = second
            self._signed.clear()
        asked = (verb, bucket, key)
        head = self._signed.get(asked)
        if head is None:
            head = self._signed[asked] = self._head(verb, bucket, key, _NO_QUERY, (), None)
        return head

    def _head(
        self,
        verb: str,
        bucket: str,
        key: str,
        query: Mapping[str, str],
        headers: Headers,
        body: IBodyProducer | None,
    ) -> bytes:
        """All of a request but its body."""
        path = quick_target(bucket, key)
        asked = target(bucket, key, query)[1].encode("ascii") if query else b""
        lines = b"accept-encoding: identity\r\n"
        amz: list[tuple[bytes, bytes]] = []
        payload = UNSIGNED
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                value = b" ".join(value.splitlines())  # as Twisted's client has it
            if name == b"x-amz-content-sha256":
                payload = value
            elif name.startswith(b"x-amz-"):
                amz.append((name, value))
            else:
                lines += b"%b: %b\r\n" % (name, value)
        if body is not None:
            lines += b"content-length: %d\r\n" % body.length
        elif verb in _WITH_LENGTH:
            lines += b"content-length: 0\r\n"
        method = verb.encode("ascii")
        signed = self._signer.sign(method, path, asked, amz, payload)
        if asked:
            path = b"%b?%b" % (path, asked)
        return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, path, signed, lines)

    def _counters_of(self, verb: str) -> tuple[Callable[[], object], Callable[[float], object]]:
        metrics = self._metrics
        made = self._counters[verb] = (
            metrics.node_requests.labels(self.name, verb).inc,
            metrics.node_seconds.labels(self.name, verb).observe,
        )
        return made

    def _translate(self, failure: Failure) -> Exception:
        """What a failed try means, in our own errors. The only place that knows this client's."""
        error: Any = failure.value
        if isinstance(error, (AosdError, CancelledError)):
            return error
        if isinstance(error, TookTooLong):
            return NodeTimeout(self.name, str(error))
        if isinstance(error, NotHttp):
            return NodeNonsense(self.name, f"its answer isn't HTTP: {error}")
        if isinstance(error, Broke):
            error = error.reason.value
        if (unreached := self._unreached(error)) is not None:
            return unreached
        if isinstance(failure.value, Broke):
            return NodeUnavailable(self.name, f"the connection broke: {error!r}")
        return NodeNonsense(self.name, f"{type(error).__name__}: {error}")

    def _never_answered(self, error: Exception) -> bool:
        return isinstance(error, Broke)
