"""A circuit breaker a node: who fails again and again isn't asked for a while."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from aosd.model.errors import NodeError, NodeUnavailable
from aosd.ports import IHealth

_FULL_S = 30.0  # how long a refusal for lack of space is remembered


@implementer(IHealth)
class Breaker:
    """Opens after `failures` consecutive ones (or when it is tripped); a probe closes it.

    While it is open the node isn't asked. `probe_due` says when the next probe may go:
    after a back-off that doubles from `backoff_s` to `backoff_max_s`, less up to a quarter
    of it at random, so that many gateways don't knock at the same time.
    """

    def __init__(
        self,
        node: str,
        clock: IReactorTime,
        chance: random.Random,
        *,
        failures: int,
        backoff_s: float,
        backoff_max_s: float,
    ) -> None:
        self.open = False
        # It refused a write for lack of space lately.
        self.full = False
        self.why = ""
        self.alive_at_s = clock.seconds()
        self.clock_ahead_s = 0.0
        self._node = node
        self._clock = clock
        self._chance = chance
        self._limit = failures
        self._backoff_s = backoff_s
        self._backoff_max_s = backoff_max_s
        self._failures = 0
        self._next_backoff_s = backoff_s
        self._probe_at_s = 0.0
        self._full_until_s = 0.0
        self._watches: dict[Callable[[], None], None] = {}  # in the order they came
        self.on_control_lost: Callable[[bool], None] = lambda _: None
        self.on_confirm: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.on_changed: Callable[[], object] = lambda: None

    # -- as requests see it -------------------------------------------------------------------

    def check(self) -> None:
        """See IHealth."""
        if self.open:
            raise NodeUnavailable(self._node, f"not asked now: {self.why}")

    def answered(self, well: bool) -> None:
        """See IHealth. Doesn't close an open breaker: only a probe does."""
        if well:
            self._failures = 0
        self.alive_at_s = self._clock.seconds()

    def heard(self) -> None:
        """See IHealth."""
        self.alive_at_s = self._clock.seconds()

    def failed(self, error: NodeError) -> None:
        """See IHealth."""
        self._failures += 1
        if self._failures >= self._limit:
            self.trip(str(error))

    def watch(self, tripped: Callable[[], None]) -> None:
        """See IHealth."""
        self._watches[tripped] = None

    def unwatch(self, tripped: Callable[[], None]) -> None:
        """See IHealth."""
        self._watches.pop(tripped, None)

    def out_of_space(self) -> None:
        """See IHealth."""
        self._full_until_s = self._clock.seconds() + _FULL_S
        if not self.full:
            self.full = True
            self.on_changed()

    def control_lost(self, announced: bool) -> None:
        """See IHealth; whoever probes wants to know."""
        self.on_control_lost(announced)

    def time_told(self, ahead_s: float) -> None:
        """See IHealth."""
        self.clock_ahead_s = ahead_s

    def confirm(self) -> Deferred[None]:
        """See IHealth."""
        return self.on_confirm()

    # -- as probing sees it -------------------------------------------------------------------

    def trip(self, why: str) -> None:
        """Open it now; requests that wait for a first byte are told."""
        self.why = why
        if self.open:
            return
        self.open = True
        self.on_changed()
        self._next_backoff_s = self._backoff_s
        self._probe_at_s = self._clock.seconds() + self._jittered()
        watches, self._watches = self._watches, {}
        for tripped in watches:
            tripped()

    def tick(self) -> None:
        """Time has passed: what it refused for lack of space may have been long ago."""
        if self.full and self._clock.seconds() >= self._full_until_s:
            self.full = False
            self.on_changed()

    def probe_due(self) -> bool:
        """Whether an open breaker's node may be probed again."""
        return self._clock.seconds() >= self._probe_at_s

    def probe_failed(self, why: str) -> None:
        """A probe of an open one failed: wait longer."""
        self.why = why
        self._next_backoff_s = min(self._next_backoff_s * 2, self._backoff_max_s)
        self._probe_at_s = self._clock.seconds() + self._jittered()

    def hurry(self) -> None:
        """Something new was seen of the node: probe it at the next chance."""
        self._next_backoff_s = self._backoff_s
        self._probe_at_s = 0.0

    def close(self) -> None:
        """A probe was answered."""
        was_open, self.open = self.open, False
        if was_open:
            self.on_changed()
        self.why = ""
        self._failures = 0
        self.alive_at_s = self._clock.seconds()

    def _jittered(self) -> float:
        return self._next_backoff_s * self._chance.uniform(0.75, 1.0)
