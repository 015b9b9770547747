"""How far the ring change under way is, and how long it will take yet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorTime

from aosd.observe.metrics import Metrics
from aosd.repair.mend import Mended
from aosd.repair.rates import Rates
from aosd.repair.sweep import Sweep


class Change(NamedTuple):
    """A ring change under way.

    Its `phase` is "copying" or "emptying" ("": there is none); `nodes` are those that move;
    `since` is the stamp it began with ("": unknown).
    """

    phase: str = ""
    nodes: tuple[str, ...] = ()
    since: str = ""


class Progress:
    """Follows the change and the sweeps that are run for it.

    `change` gives the one that is under way now; `expected_keys` are as many as the last whole
    sweep compared (0: unknown), and `expects` takes the count of a forecast where none has.
    What isn't known is told as None.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rates: Rates,
        metrics: Metrics,
        *,
        change: Callable[[], Change],
        expected_keys: Callable[[], int],
        paused: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._rates = rates
        self._change = change
        self._expected_keys = expected_keys
        self._paused = paused
        self._forecast_keys = 0
        self._present = Change()
        self._newest_since = ""
        self._sweep: Sweep | None = None
        self._begin()
        metrics.change_keys.set_function(lambda: self._keys() if self._present.phase else 0)
        metrics.change_seconds_left.set_function(self._seconds_left_or_nan)

    # -- what happens -----------------------------------------------------------------------------

    def follow(self) -> None:
        """Look at the change; often, as nobody tells when one begins or is over."""
        before, self._present = self._present, self._change()
        if not self._present.phase:
            return
        since = self._present.since
        again = self._present.phase == "copying" and since > self._newest_since
        if not before.phase or again:
            self._begin()
        self._newest_since = max(self._newest_since, since)

    def expects(self, keys: int) -> None:
        """A forecast has found so many keys: that is believed until a whole sweep has counted."""
        self._forecast_keys = keys

    def sweep_began(self, sweep: Sweep) -> None:
        """One is run, for whatever reason."""
        self._sweep = sweep
        self._rates.began()

    def mended(self, mended: Mended) -> None:
        """What that sweep did for a key."""
        self._rates.mended(mended)
        if self._present.phase:
            self._copies += len(mended.copied)
            self._removed += len(mended.removed)
            self._size_bytes += mended.size_bytes

    def keys(self, count: int) -> None:
        """That it has looked at so many more keys."""
        self._rates.keys(count)

    def sweep_ended(self) -> None:
        """It is over, or was cut short."""
        self._sweep = None

    # -- what is told -----------------------------------------------------------------------------

    def told(self) -> dict[str, Any]:
        """For JSON.

        `keys` of about `of_keys` (null: unknown) were compared by the sweep that runs, or is to
        run, for this change; `copies`, `removed` and `bytes` were copied and removed in
        `seconds`, since the change began or this run first knew of it. `seconds_left` is for the
        sweep that runs: another one follows, to remove or to look again; null while it is
        paused, none runs or nothing is known.
        """
        self.follow()
        phase, nodes, _ = self._present
        rate, left = self._rate(), self._seconds_left()
        return {
            "phase": phase,
            "nodes": list(nodes),
            "keys": self._keys(),
            "of_keys": self._of_keys(),
            "copies": self._copies if phase else 0,
            "removed": self._removed if phase else 0,
            "bytes": self._size_bytes if phase else 0,
            "seconds": round(self._clock.seconds() - self._began_s, 1) if phase else 0.0,
            "rate_keys_per_s": None if rate is None else round(rate, 1),
            "seconds_left": None if left is None else round(left, 1),
            "paused": self._paused(),
        }

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._began_s = self._clock.seconds()
        self._copies = self._removed = self._size_bytes = 0

    def _keys(self) -> int:
        return 0 if self._sweep is None else self._sweep.so_far.keys

    def _of_keys(self) -> int | None:
        expected = self._expected_keys() or self._forecast_keys
        return max(expected, self._keys()) if expected else None

    def _rate(self) -> float | None:
        return None if self._sweep is None else self._rates.keys_per_s()

    def _seconds_left(self) -> float | None:
        of_keys, rate = self._of_keys(), self._rate()
        if of_keys is None or not rate or not self._present.phase or self._paused():
            return None
        return (of_keys - self._keys()) / rate

    def _seconds_left_or_nan(self) -> float:
        if not self._present.phase:
            return 0.0
        left = self._seconds_left()
        return math.nan if left is None else left
