"""One request to a node and its answer: signing, deadlines, repeats, and whose fault it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure

# The client's exports leave out the one error that says «this isn't HTTP».
from twisted.web._newclient import ParseError
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers as WireHeaders
from twisted.web.iweb import IBodyProducer, IResponse

from aosd.model.errors import (
    AosdError,
    BadRequest,
    DigestMismatch,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
    NoSuchKey,
    TooLarge,
)
from aosd.model.objects import Headers
from aosd.nodes.answers import Answers
from aosd.nodes.bodies import Collected, WatchedBody
from aosd.nodes.http import reasons
from aosd.nodes.signing import UNSIGNED_PAYLOAD, Signer, target
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth
from aosd.streams.bodies import HeldBody
from aosd.streams.relay import Relay

T = TypeVar("T")

_LARGEST_ANSWER_BYTES = 16 * 1024 * 1024  # 1,000 keys of 1,024 escaped bytes fit
_DIGEST_CODES = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_CLIENTS_FAULT = frozenset({"MetadataTooLarge", "InvalidArgument", "InvalidRequest"})
_FULL_CODES = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded"})


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a node may take, in seconds; never one for all.

    `first_byte_s` of an answer to a request without a body; `stall_s` without taking or
    giving a byte; `answer_s` after a body's last byte; `complete_s` for a Complete;
    `client_stall_s` that a client may take nothing of a download.
    """

    first_byte_s: float = 30.0
    stall_s: float = 10.0
    answer_s: float = 30.0
    complete_s: float = 300.0
    client_stall_s: float = 300.0


class Exchange:
    """Asks one node. Every failure comes out as an AosdError, and its breaker is told."""

    def __init__(
        self,
        name: str,
        base_url: str,
        signer: Signer,
        client: HTTPClient,
        clock: IReactorTime,
        health: IHealth,
        deadlines: Deadlines,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.answers = Answers(name)
        self._base_url = base_url
        self._signer = signer
        self._client = client
        self._clock = clock
        self._health = health
        self._deadlines = deadlines
        self._metrics = metrics

    async def ask(
        self,
        verb: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Headers = (),
        body: IBodyProducer | None = None,
        answer_s: float | None = None,
        repeat: bool = True,
        guarded: bool = True,
    ) -> IResponse:
        """The head of the answer, whatever its status; its body hasn't been read.

        A connection that breaks before any answer is tried once more where that is safe: a
        GET or HEAD, unless `repeat` is False. (A write that is repeated might take effect a
        second time, later, over what came after it.) `guarded` False asks although the
        breaker is open, and goes on when it opens: what a probe does.
        """
        if guarded:
            self._health.check()
        tries = 2 if repeat and verb in ("GET", "HEAD") else 1
        while True:
            tries -= 1
            try:
                return await self._once(
                    verb, bucket, key, query or {}, headers, body, answer_s, guarded
                )
            except Exception as error:  # noqa: BLE001 — translated below, whatever it is
                failure = Failure(error)
                translated = self._translate(failure)
                broke = isinstance(error, (ResponseNeverReceived, RequestTransmissionFailed))
                # A request that was given up looks like one whose connection broke.
                if tries and broke and isinstance(translated, NodeUnavailable):
                    continue
            # A body that is read from another node may fail with that one's error.
            if isinstance(translated, NodeError) and translated.node == self.name:
                self.blame(translated)
            raise translated from failure.value

    def blame(self, error: NodeError) -> None:
        """`error` speaks against the node: its breaker and the metrics are told."""
        self._metrics.node_errors.labels(self.name, type(error).__name__).inc()
        self._health.failed(error)

    async def read(self, response: IResponse) -> bytes:
        """The whole body of an answer that must be short (16 MiB)."""

        def overflow() -> None:
            relay.done.cancel()

        collected = Collected(_LARGEST_ANSWER_BYTES, overflow)
        relay = self.relay(collected, response.length if isinstance(response.length, int) else None)
        response.deliverBody(relay)
        try:
            await relay.done
        except CancelledError as error:
            if collected.overflowed:
                raise NodeNonsense(self.name, "its answer is longer than any should be") from error
            raise
        except NodeError as error:
            self.blame(error)
            raise
        return bytes(collected.data)

    def relay(self, consumer: IConsumer, length: int | None) -> Relay:
        """A relay of this node's body to `consumer`, with its deadlines."""
        return Relay(
            consumer,
            length,
            self._clock,
            self._deadlines.stall_s,
            self._deadlines.client_stall_s,
            self._broken,
            self._health.heard,
        )

    async def refuse(self, response: IResponse) -> AosdError:
        """What an answer that isn't a success means; reads its body."""
        status = response.code
        try:
            data = await self.read(response) if response.length else b""
        except NodeError:
            data = b""  # the status says enough
        code, message = self.answers.error(data, status)
        told = response.headers.getRawHeaders(b"x-minio-error-code")
        if told and not data:
            code = told[0].decode("latin-1")
        error: AosdError
        if status == 404 and code not in ("NoSuchBucket", "NoSuchUpload"):
            return NoSuchKey("no such object")
        if code in _DIGEST_CODES:
            return DigestMismatch(message)
        if code in _CLIENTS_FAULT:
            return BadRequest(message, code)
        if code == "EntityTooLarge":
            return TooLarge(message)
        words = f"{code}: {message}"
        if status == 507 or code in _FULL_CODES:
            self._health.out_of_space()
            self._metrics.node_errors.labels(self.name, NodeFull.__name__).inc()
            return NodeFull(self.name, words, status, code)
        if 300 <= status < 400 or status < 200:
            error = NodeNonsense(self.name, f"answered {status}")
        else:
            error = NodeRefused(self.name, words, status, code)
        if _is_failure(status):
            self.blame(error)
        return error

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
    ) -> IResponse:
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
        unwatch = self._health.watch(tripped) if guarded and _is_held(body) else None
        try:
            response: IResponse = await _given_up_as_such(waiting)
        except Exception as error:
            if watched is not None:
                watched.failed()
            if too_late:
                raise too_late[0] from error
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if unwatch is not None:
                unwatch()
        if watched is not None:
            watched.answered()
        if guarded:
            self._health.answered(not _is_failure(response.code))
        else:
            # That a probe is answered doesn't undo what objects' requests failed with.
            self._health.heard()
        self._metrics.node_seconds.labels(self.name, verb).observe(self._clock.seconds() - began_s)
        return response

    def _broken(self, why: str, silent: bool) -> Exception:
        return NodeTimeout(self.name, why) if silent else NodeUnavailable(self.name, why)

    def _translate(self, failure: Failure) -> Exception:
        """What a failed request means, in our own errors. The only place that knows treq's."""
        causes = reasons(failure)
        for error in causes:
            if isinstance(error, (AosdError, CancelledError)):
                return error
        for error in causes:
            if isinstance(error, (ParseError, ValueError)):
                return NodeNonsense(self.name, f"its answer isn't HTTP: {error}")
            if isinstance(error, ConnectTimeout):
                return NodeUnavailable(self.name, "no connection in time")
            if isinstance(error, (ConnectError, DNSLookupError)):
                return NodeUnavailable(self.name, f"no connection: {error}")
            if isinstance(error, SSL.Error):
                return NodeUnavailable(self.name, f"TLS failed: {error}")
            if isinstance(error, (ConnectionLost, ConnectionDone, ConnectionAborted)):
                return NodeUnavailable(self.name, "closed the connection without an answer")
        if isinstance(causes[0], (ResponseFailed, RequestTransmissionFailed)):
            return NodeUnavailable(self.name, f"the connection broke: {causes[-1]!r}")
        return NodeNonsense(self.name, f"{type(causes[0]).__name__}: {causes[0]}")


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


def _is_held(body: IBodyProducer | None) -> bool:
    """Whether a request waits for nobody but the node: no body, or one that lies in memory."""
    return body is None or isinstance(body, HeldBody)


def _is_failure(status: int) -> bool:
    """Whether a status says that the node doesn't work for us; lack of space doesn't."""
    return (status >= 500 and status != 507) or status in (401, 403)
