"""What becomes of a request to a simulated node, drawn by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum

STALE_S = (0.5, 3.0, 20.0)
MOST_STALE_S = max(STALE_S)


class Fate(StrEnum):
    """How a request ends that reaches a node which runs."""

    WELL = "well"
    SLOW = "slow"  # seconds on the way, there or back
    RESET = "reset"  # the connection breaks; nothing was done
    RESET_AFTER = "reset after"  # the connection breaks; it was carried out
    RESET_LATE = "reset late"  # the connection breaks; it is carried out later
    REFUSED = "refused"  # 500; nothing was done
    REFUSED_AFTER = "refused after"  # 500; it was carried out
    SILENT = "silent"  # no answer; nothing is done
    SILENT_AFTER = "silent after"  # no answer; it was carried out
    SILENT_LATE = "silent late"  # no answer; it is carried out up to 14 minutes later
    SHORT = "short"  # an answer's body breaks off (a GET), or a request's (a PUT)
    STALE = "stale"  # a listing of some seconds ago


@dataclass(frozen=True, slots=True)
class Destiny:
    """What becomes of a request; on the way for `there_s`, its answer for `back_s`."""

    fate: Fate
    there_s: float
    back_s: float


@dataclass
class Weather:
    """Chances of each fate but WELL; `quick_s` bounds how long a request is under way.

    What is `foretold` for a verb and a key comes first, once each.
    """

    chances: dict[Fate, float] = field(default_factory=dict)
    quick_s: float = 0.02
    foretold: list[tuple[str, str, Destiny]] = field(default_factory=list)

    def foretell(
        self, verb: str, key: str, fate: Fate, there_s: float = 0.001, back_s: float = 0.001
    ) -> None:
        """Let the next request of this kind meet this."""
        self.foretold.append((verb, key, Destiny(fate, there_s, back_s)))

    def draw(self, chance: random.Random, verb: str, key: str) -> Destiny:
        """What becomes of one request."""
        for each in self.foretold:
            if each[:2] == (verb, key):
                self.foretold.remove(each)
                return each[2]
        fate = self._fate(chance)
        there_s, back_s = _delays(fate, self.quick_s, chance)
        return Destiny(fate, there_s, back_s)

    def _fate(self, chance: random.Random) -> Fate:
        if not self.chances:
            return Fate.WELL
        left = chance.random()
        for fate, share in self.chances.items():
            left -= share
            if left < 0:
                return fate
        return Fate.WELL


def _delays(fate: Fate, quick_s: float, chance: random.Random) -> tuple[float, float]:
    there_s = chance.random() * quick_s
    back_s = chance.random() * quick_s
    if fate is Fate.SLOW:
        extra_s = chance.choice((0.2, 1.0, 3.0, 9.0, 25.0))
        if chance.random() < 0.5:
            there_s += extra_s
        else:
            back_s += extra_s
    elif fate in (Fate.RESET_LATE, Fate.SILENT_LATE):
        # A node refuses what was signed more than 15 minutes ago.
        there_s += chance.choice((0.1, 2.0, 35.0, 200.0, 850.0))
    return there_s, back_s
