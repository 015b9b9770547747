"""One request to a node and its answer: repeats, bodies, and whose fault it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from OpenSSL import SSL
from twisted.internet.defer import CancelledError
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
from twisted.web.iweb import IBodyProducer

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
from aosd.nodes.bodies import Collected
from aosd.nodes.response import Response
from aosd.nodes.wiring import Wiring
from aosd.streams.bodies import HeldBody
from aosd.streams.relay import Relay

_LARGEST_ANSWER_BYTES = 16 * 1024 * 1024  # 1,000 keys of 1,024 escaped bytes fit
_DIGEST_CODES = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_CLIENTS_FAULT = frozenset({"MetadataTooLarge", "InvalidArgument", "InvalidRequest"})
_FULL_CODES = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded"})


class Exchange(ABC):
    """Asks one node. Every failure comes out as an AosdError, and its breaker is told.

    More requests than may wait for an answer to begin are NodeUnavailable at once, which nobody
    blames the node for: it is slow, and whoever can be served by others is not to queue behind
    it.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.name = wiring.name
        self.answers = Answers(wiring.name)
        self._clock: IReactorTime = wiring.reactor
        self._health = wiring.health
        self._deadlines = wiring.deadlines
        self._metrics = wiring.metrics
        self._most_waiting = wiring.most_waiting
        self._waiting = 0

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
    ) -> Response:
        """The head of the answer, whatever its status; its body hasn't been read.

        A connection that breaks before any answer is tried once more where that is safe: a
        GET or HEAD, unless `repeat` is False. (A write that is repeated might take effect a
        second time, later, over what came after it.) `guarded` False asks although the
        breaker is open, and goes on when it opens: what a probe does.
        """
        if guarded:
            self._health.check()
            if self._most_waiting is not None and self._waiting >= self._most_waiting:
                raise NodeUnavailable(self.name, "too many requests wait for it")
        tries = 2 if repeat and verb in ("GET", "HEAD") else 1
        self._waiting += 1
        try:
            while True:
                tries -= 1
                try:
                    return await self._once(
                        verb, bucket, key, query or {}, headers, body, answer_s, guarded
                    )
                except Exception as error:  # noqa: BLE001 — translated below, whatever it is
                    failure = Failure(error)
                    translated = self._translate(failure)
                    broke = self._never_answered(error)
                    # A request that was given up looks like one whose connection broke.
                    if tries and broke and isinstance(translated, NodeUnavailable):
                        continue
                # A body that is read from another node may fail with that one's error.
                if isinstance(translated, NodeError) and translated.node == self.name:
                    self.blame(translated)
                raise translated from failure.value
        finally:
            self._waiting -= 1

    def blame(self, error: NodeError) -> None:
        """`error` speaks against the node: its breaker and the metrics are told."""
        self._metrics.node_errors.labels(self.name, type(error).__name__).inc()
        self._health.failed(error)

    async def read(self, response: Response) -> bytes:
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

    async def refuse(self, response: Response) -> AosdError:
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
            # Nodes have several words for it; S3 has two.
            signed = code == "XAmzContentSHA256Mismatch"
            return DigestMismatch(message, code if signed else "BadDigest")
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
        if is_failure(status):
            self.blame(error)
        return error

    # -- each client's own ------------------------------------------------------------------------

    @abstractmethod
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
        """One try of `ask`; its breaker has been asked, and is told of an answer."""

    @abstractmethod
    def _translate(self, failure: Failure) -> Exception:
        """What a failed try means, in our own errors."""

    @abstractmethod
    def _never_answered(self, error: Exception) -> bool:
        """Whether a try failed because its connection broke before any answer."""

    # -- what they share --------------------------------------------------------------------------

    def _tell_health(self, status: int, *, guarded: bool) -> None:
        """The node answered with this status."""
        if guarded:
            self._health.answered(not is_failure(status))
        else:
            # That a probe is answered doesn't undo what objects' requests failed with.
            self._health.heard()

    def _unreached(self, error: BaseException) -> NodeUnavailable | None:
        """What it means that there is no connection, or not any more; None for other errors."""
        if isinstance(error, ConnectTimeout):
            return NodeUnavailable(self.name, "no connection in time")
        if isinstance(error, (ConnectError, DNSLookupError)):
            return NodeUnavailable(self.name, f"no connection: {error}")
        if isinstance(error, SSL.Error):
            return NodeUnavailable(self.name, f"TLS failed: {error}")
        if isinstance(error, (ConnectionLost, ConnectionDone, ConnectionAborted)):
            return NodeUnavailable(self.name, "closed the connection without an answer")
        return None

    def _broken(self, why: str, silent: bool) -> Exception:
        return NodeTimeout(self.name, why) if silent else NodeUnavailable(self.name, why)


def is_held(body: IBodyProducer | None) -> bool:
    """Whether a request waits for nobody but the node: no body, or one that lies in memory."""
    return body is None or isinstance(body, HeldBody)


def is_failure(status: int) -> bool:
    """Whether a status says that the node doesn't work for us; lack of space doesn't."""
    return (status >= 500 and status != 507) or status in (401, 403)
