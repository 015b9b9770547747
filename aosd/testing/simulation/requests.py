"""One request to a simulated node: on its way, carried out, answered; or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import (
    AosdError,
    NodeError,
    NodeFull,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
)
from aosd.model.objects import SYSTEM_BUCKET
from aosd.streams.bodies import HeldBody
from aosd.testing.memory_disk import MemoryDisk
from aosd.testing.simulation.weather import STALE_S, Destiny, Fate

if TYPE_CHECKING:
    from aosd.testing.simulation.line import Line

CONNECT_S = 1.5
ANSWER_S = 30.0
STALL_S = 10.0

_WRITES = frozenset({"put", "put_part", "create_upload", "complete_upload", "create_bucket"})
# Counted where they make a difference.
_OF_SOME_VERBS = frozenset({Fate.WELL, Fate.SHORT, Fate.STALE})
_OF_UPLOADS = frozenset({"create_upload", "put_part", "complete_upload", "abort_upload"})
_OF_BUCKETS = frozenset({"create_bucket", "delete_bucket"})
_CHANGES = frozenset({"put", "delete", "complete_upload", "abort_upload", *_OF_BUCKETS})
# What the client sends again when a connection breaks before any answer.
_REPEATED = frozenset({"head", "get", "list", "list_buckets"})

Act = Callable[[MemoryDisk, bytes], Any]


@implementer(IConsumer)
class Request:
    """`answer` fires with what the node answers, or fails with a NodeError.

    Cancelling it, a deadline, a breaker that opens, and the gateway's death end the wait;
    what was sent whole may be carried out all the same.
    """

    def __init__(
        self,
        line: Line,
        verb: str,
        bucket: str,
        key: str,
        act: Act,
        body: IBodyProducer | None,
        answer_s: float | None,
    ) -> None:
        self.answer: Deferred[Any] = Deferred(lambda _: self._over())
        self.verb = verb
        self.bucket = bucket
        self.key = key
        self._line = line
        self._node = line.node
        self._clock = line.clock
        self._act = act
        self._body = body
        self._answer_s = ANSWER_S if answer_s is None else answer_s
        self._data = bytearray()
        self._ended = False
        self._sending = False
        self._sent = False
        self._done = False
        self._epoch = 0
        self._signed_s = 0.0
        self._sent_s = 0.0
        self._destiny = Destiny(Fate.WELL, 0.0, 0.0)
        self._tries = 2 if verb in _REPEATED else 1
        self._timer: IDelayedCall | None = None
        self._cut_at: int | None = None
        self._paused = False

    # -- connecting -------------------------------------------------------------------------------

    def start(self) -> None:
        """Find a connection, and go."""
        self._line.requests[self] = None
        if _is_held(self._body):
            self._line.health.watch(self._tripped)
        if self._body is None:
            self._set_timer(self._answer_s)
        self._try()

    def _try(self) -> None:
        self._tries -= 1
        self._sent = self._sending = False
        self._data.clear()
        line, node = self._line, self._node
        if line.take_connection():
            self._epoch = line.pool_epoch
            self._go()
            return
        if not node.running or node.frozen:
            # One that lost power says nothing; one that doesn't run refuses.
            wait_s = CONNECT_S if node.frozen or node.chance.random() < 0.5 else 0.001
            self._later(wait_s, self._no_connection)
            return
        self._epoch = node.epoch
        self._later(node.chance.random() * 0.002, self._confirm)

    def _no_connection(self) -> None:
        self._fail(NodeUnavailable(self._line.name, "no connection"))

    def _confirm(self) -> None:
        if self._ended:
            return
        confirming = self._line.health.confirm()
        confirming.addCallbacks(lambda _: self._go(), self._not_confirmed)

    def _not_confirmed(self, failure: Failure) -> None:
        if not self._ended:
            self._fail(NodeUnavailable(self._line.name, failure.getErrorMessage()))

    # -- sending ----------------------------------------------------------------------------------

    def _go(self) -> None:
        if self._ended:
            return
        node = self._node
        self._signed_s, self._sent_s = self._clock.now(), self._clock.seconds()
        self._destiny = node.weather.draw(node.chance, self.verb, self.key)
        if self._body is None:
            self._was_sent()
            return
        if self._destiny.fate is Fate.SHORT:
            self._cut_at = node.chance.randrange(max(1, self._body.length))
        self._sending = True
        self._body.startProducing(self).addCallbacks(self._body_ended, self._body_failed)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See IConsumer; the body is known already."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        if self._ended or self._clock.dead:
            return
        self._data += data
        if self._cut_at is not None and len(self._data) > self._cut_at:
            self._cut_at = None
            self._node.tally["request cut short"] += 1
            self._later(0.0, self._breaks)
        elif self._stuck and not self._paused and self._body is not None:
            self._paused = True
            self._body.pauseProducing()
            self._set_timer(STALL_S)
            if self._node.frozen:
                self._node.when_awake(self._go_on)

    @property
    def _stuck(self) -> bool:
        return self._node.frozen or not self._node.running

    def _go_on(self) -> None:
        # What was sent whole all the same waits for its answer by now.
        if not self._ended and self._paused and self._sending and self._body is not None:
            self._paused = False
            self._set_timer(None)
            self._body.resumeProducing()

    def _body_ended(self, _: object) -> None:
        self._sending = False
        if not self._ended and not self._clock.dead:
            self._set_timer(self._answer_s)
            self._was_sent()

    def _body_failed(self, failure: Failure) -> None:
        self._sending = False
        if not self._ended:
            self._over()
            self.answer.errback(failure)

    def _was_sent(self) -> None:
        """All of it is on its way; from here on it may be carried out whatever happens."""
        if self._cut_at is not None:
            self._cut_at = None
            self._node.tally["request cut short"] += 1
            self._later(0.0, self._breaks)
            return
        self._sent = True
        node, fate = self._node, self._destiny.fate
        there_s, back_s = self._destiny.there_s, self._destiny.back_s
        epoch, number = self._epoch, self._tries
        data = bytes(self._data)
        if fate is Fate.RESET_LATE:
            self._later(there_s / 10, self._breaks)

        def arrive() -> None:
            node.when_awake(lambda: self._arrived(epoch, number, data, back_s, fate))

        # The world's own clock: a request under way outlives who sent it.
        node.clock.callLater(there_s, arrive)

    # -- at the node ------------------------------------------------------------------------------

    def _arrived(self, epoch: int, number: int, data: bytes, back_s: float, fate: Fate) -> None:
        node, line = self._node, self._line
        waits = not self._ended and not self._clock.dead and number == self._tries
        if not node.running:
            return
        if epoch != node.epoch:
            # The connection belongs to a process that is gone.
            if waits:
                line.forget_connections()
                self._breaks()
            return
        if not waits and self.verb not in _CHANGES and self.verb not in _WRITES:
            return
        if fate not in _OF_SOME_VERBS:
            node.tally[f"request {fate}"] += 1
        if fate is Fate.SILENT or fate is Fate.RESET:
            if waits and fate is Fate.RESET:
                self._breaks()
            return
        outcome: Any
        if fate is Fate.REFUSED:
            outcome = NodeRefused(node.name, "InternalError: by chance", 500, "InternalError")
        else:
            try:
                outcome = self._outcome(data, waits, fate)
            except AosdError as error:
                outcome = error
        if not waits or self._ended:
            return
        if fate is Fate.REFUSED_AFTER:
            outcome = NodeRefused(node.name, "InternalError: by chance", 500, "InternalError")
        if fate is Fate.RESET_AFTER:
            self._later(back_s, self._breaks)
        elif fate not in (Fate.SILENT_AFTER, Fate.SILENT_LATE, Fate.RESET_LATE):
            self._later(back_s, self._answered, outcome, fate)

    def _outcome(self, data: bytes, waits: bool, fate: Fate) -> Any:
        node = self._node
        if waits and self._sent_s > node.barred_since_s and self.bucket not in ("", SYSTEM_BUCKET):
            node.misused = f"{self.verb} {self.bucket}/{self.key}"
        try:
            node.check_signature(self._signed_s)
        except NodeRefused:
            node.tally["refused: signed long ago"] += 1
            raise
        if self.verb in _WRITES and node.full:
            node.tally["refused: full"] += 1
            raise NodeFull(node.name, "no space left", 507, "XMinioStorageFull")
        if self.verb == "list" and fate is Fate.STALE:
            return node.stale_page(node.chance.choice(STALE_S), lambda disk: self._act(disk, data))
        if self.verb in _OF_BUCKETS:
            return node.carry_out_on_bucket(
                self.bucket, lambda disk: self._act(disk, data), lambda: not waits
            )
        if self.verb not in _CHANGES and self.verb not in _OF_UPLOADS:
            return self._act(node.disk, data)

        def carry_out() -> Any:
            return node.carry_out(
                self.bucket, self.key, lambda disk: self._act(disk, data), lambda: not waits
            )

        return node.carry_out_on_upload(carry_out) if self.verb in _OF_UPLOADS else carry_out()

    # -- answers ----------------------------------------------------------------------------------

    def _answered(self, outcome: Any, fate: Fate) -> None:
        line, health = self._line, self._line.health
        if self._ended:
            return
        bad = isinstance(outcome, NodeRefused) and not isinstance(outcome, NodeFull)
        failing = bad and (outcome.status >= 500 or outcome.status in (401, 403))
        health.answered(not failing)
        self._over()
        if self.verb == "create_upload" and isinstance(outcome, str):
            self._node.told[outcome] = self._clock
        if self.verb == "get" and not isinstance(outcome, Exception):
            self.answer.callback((outcome, fate, self._epoch))
            return
        line.give_back(self._epoch)
        if isinstance(outcome, NodeFull):
            health.out_of_space()
        elif failing:
            health.failed(outcome)
        if isinstance(outcome, Exception):
            self.answer.errback(outcome)
        else:
            self.answer.callback(outcome)

    def broke(self) -> None:
        """The node's process ended."""
        self._later(self._node.chance.random() * 0.01, self._breaks)

    def _breaks(self) -> None:
        """The connection broke before any answer: sent again, if that is safe."""
        if self._ended:
            return
        if self._tries and not self._sending:
            self._try()
        else:
            self._fail(NodeUnavailable(self._line.name, "the connection broke"))

    def _tripped(self) -> None:
        if not self._ended:
            self._over()
            error = NodeUnavailable(self._line.name, "its breaker opened meanwhile")
            self._line.health.failed(error)
            self.answer.errback(error)

    def _fail(self, error: NodeError) -> None:
        if self._ended:
            return
        self._over()
        self._line.health.failed(error)
        self.answer.errback(error)

    # -- inside -----------------------------------------------------------------------------------

    def _later(self, delay_s: float, act: Callable[..., None], *args: object) -> None:
        """On the gateway's own clock: nothing of it happens when that is killed."""
        self._clock.callLater(delay_s, self._unless_over, act, *args)

    def _unless_over(self, act: Callable[..., None], *args: object) -> None:
        if not self._ended:
            act(*args)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._clock.callLater(seconds, self._too_late, seconds)

    def _too_late(self, seconds: float) -> None:
        self._timer = None
        self._fail(NodeTimeout(self._line.name, f"no answer within {seconds:g} s"))

    def _over(self) -> None:
        self._ended = True
        self._line.requests.pop(self, None)
        self._set_timer(None)
        self._line.health.unwatch(self._tripped)
        if self._sending and self._body is not None:
            self._sending = False
            self._body.stopProducing()


def _is_held(body: IBodyProducer | None) -> bool:
    return body is None or isinstance(body, HeldBody)
