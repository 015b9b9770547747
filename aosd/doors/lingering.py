"""How a connection ends whose request was answered before its body was in."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aosd.doors.body import RequestBody

_MOST_S = 2.0
_MOST_BYTES = 1024 * 1024


class Lingering:
    """Takes some of the rest of `body`, to nowhere, so that its client gets to read the answer.

    A connection that is closed with bytes unread is reset, and an answer on its way is lost
    with it (RFC 9112, section 9.6). When the rest is too long, or takes too long to come,
    `give_up` is called.
    """

    def __init__(
        self, body: RequestBody, clock: IReactorTime, give_up: Callable[[], object]
    ) -> None:
        self._body = body
        self._clock = clock
        self._give_up = give_up
        self._until_bytes = body.received_bytes + _MOST_BYTES
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """The answer is complete."""
        self._call = self._clock.callLater(_MOST_S, self._give_up)
        self._body.drain()

    def came(self) -> None:
        """Some more of the body came."""
        if self._body.received_bytes > self._until_bytes and self.end():
            self._give_up()

    def end(self) -> bool:
        """The rest came, or the client is gone; False when it was given up before."""
        call = self._call
        if call is None or not call.active():
            return False
        call.cancel()
        return True
