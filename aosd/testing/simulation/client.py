"""A client's side of requests: bodies that come slowly, consumers that take slowly."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.model.errors import ClientGone
from aosd.ports import IBodySink, IBodySource


@implementer(IBodySource)
class SlowBody:
    """Comes in pieces of `piece_bytes`, one each `gap_s` (0: all at once).

    With `told` False its length isn't said. The client goes away after `gone_at` bytes.
    `gateway_lives` ends it too.
    """

    def __init__(
        self,
        clock: Clock,
        gateway_lives: Callable[[], bool],
        data: bytes,
        *,
        piece_bytes: int = 16,
        gap_s: float = 0.0,
        told: bool = True,
        gone_at: int | None = None,
    ) -> None:
        self.length = len(data) if told else None
        self._clock = clock
        self._gateway_lives = gateway_lives
        self._data = data
        self._piece_bytes = piece_bytes
        self._gap_s = gap_s
        self._gone_at = gone_at
        self._sent = 0
        self._sink: IBodySink | None = None
        self._paused = False
        self._over = False
        self._flowing = False

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        assert self._sink is None
        self._sink = sink
        self._flow()

    def pause(self) -> None:
        """See IBodySource."""
        self._paused = True

    def resume(self) -> None:
        """See IBodySource."""
        self._paused = False
        if not self._gap_s:
            self._flow()

    def discard(self) -> None:
        """See IBodySource."""
        self._over = True

    def _flow(self) -> None:
        if self._flowing:
            return
        self._flowing = True
        try:
            while self._step():
                pass
        finally:
            self._flowing = False

    def _step(self) -> bool:
        """One piece; whether the next may follow at once."""
        if self._over or self._sink is None or not self._gateway_lives():
            return False
        if self._paused:
            if self._gap_s:
                self._clock.callLater(self._gap_s, self._flow)
            return False
        if self._gone_at is not None and self._sent >= self._gone_at:
            self._over = True
            self._sink.body_failed(Failure(ClientGone("the client went away")))
            return False
        if self._sent == len(self._data):
            self._over = True
            self._sink.body_ended()
            return False
        piece = self._data[self._sent : self._sent + self._piece_bytes]
        self._sent += len(piece)
        self._sink.body_data(piece)
        if self._gap_s:
            self._clock.callLater(self._gap_s, self._flow)
            return False
        return True
