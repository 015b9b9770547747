"""The body of a request, as it comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.doors.request import IDoorBody
from aosd.model.errors import RequestTimeout
from aosd.ports import IBodySink
from aosd.streams.deadlines import IdleTimer
from aosd.streams.nothing import NothingSent


class Line(Protocol):
    """The connection that a body comes by."""

    def pause_reading(self) -> None:
        """Read no more of the body for now."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def send_continue(self) -> None:
        """Tell a client that waits for it to send the body."""


@implementer(IDoorBody)
class RequestBody:
    """A body of `length` bytes, or of some length (None); see IBodySource.

    `expects`: its client waits for `100 Continue`. A client that sends nothing for
    `idle_timeout_s` while it is read fails it with RequestTimeout. Its bytes come by `data`;
    `end` or `fail` is the last that is called.
    """

    def __init__(
        self,
        line: Line,
        length: int | None,
        expects: bool,
        clock: IReactorTime,
        idle_timeout_s: float,
    ) -> None:
        self.length = length
        self.ended = False
        self.received_bytes = 0
        self._line = line
        self._expects = expects
        self._at_hand: Callable[[], object] | None = None
        self._sink: IBodySink | None = None
        self._early: list[bytes] = []
        self._discarded = False
        self._paused = True
        self._failure: Failure | None = None
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        # Only where something is waited for: the two of them hold each other.
        self._idle: IdleTimer | None = None

    # -- IBodySource ----------------------------------------------------------------------------

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        self._sink = sink
        self._paused = False
        if self._expects and not self.ended and not self.received_bytes:
            self._line.send_continue()
        self._expects = False
        early, self._early = self._early, []
        for data in early:
            sink.body_data(data)
        if self._failure is not None:
            self._tell_failure()
        elif self.ended:
            self._tell_end()
        elif not self._paused:
            self._flow()

    def pause(self) -> None:
        """See IBodySource."""
        self._paused = True
        self.hold()

    def resume(self) -> None:
        """See IBodySource."""
        self._paused = False
        if not self.ended and self._failure is None:
            self._flow()

    def discard(self) -> None:
        """See IBodySource."""
        self._sink = None
        self._discarded = True
        self._early.clear()
        self._rest()

    # -- the connection's side --------------------------------------------------------------------

    @property
    def is_given_up(self) -> bool:
        """Whether nobody wants the rest of it."""
        return self._discarded

    def is_at_hand(self, flow: Callable[[], object]) -> None:
        """All of it was read already, and there is nothing to wait for: `flow` has it told."""
        self._at_hand = flow

    def hold(self) -> None:
        """Read no more of it for now."""
        if self._idle is not None:
            self._idle.stop()
        if not self.ended and self._at_hand is None:
            self._line.pause_reading()

    def data(self, data: bytes) -> None:
        """Some bytes came."""
        self.received_bytes += len(data)
        if self._idle is not None:
            self._idle.touch()
        if self._sink is not None:
            self._sink.body_data(data)
        elif not self._discarded:
            self._early.append(data)
            self.hold()

    def end(self) -> None:
        """All of it came."""
        self.ended = True
        self._at_hand = None  # it holds this one
        self._rest()
        self._tell_end()

    def fail(self, error: Exception) -> None:
        """The rest won't come."""
        self._rest()
        if self._failure is None and not self.ended:
            self._failure = Failure(error)
            self._tell_failure()

    def drain(self) -> None:
        """Take whatever else comes, to nowhere."""
        self.discard()
        self._paused = False
        if not self.ended:
            self._line.resume_reading()

    # -- inside ---------------------------------------------------------------------------------

    def _tell_end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.body_ended()

    def _tell_failure(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None and self._failure is not None:
            sink.body_failed(self._failure)

    def _flow(self) -> None:
        if self._at_hand is not None:
            self._at_hand()
        else:
            if self._idle is None:
                self._idle = IdleTimer(self._clock, self._idle_timeout_s, self._client_is_silent)
            self._idle.start()
            self._line.resume_reading()

    def _rest(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.stop()

    def _client_is_silent(self) -> None:
        self.fail(RequestTimeout("no byte of the body came for too long"))


@implementer(IDoorBody)
class NoBody(NothingSent):
    """The body of a request that has none."""

    ended = True
    received_bytes = 0


NO_BODY = NoBody()
