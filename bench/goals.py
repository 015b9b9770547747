"""What the express lane has to reach: a line each, as a ratio to somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.rounds import Row

GET_SMALL = "GET 1 KiB by 32"
PUT_SMALL = "PUT 1 KiB by 32"
PACED = "GET 1 KiB at half of the top rate"
GET_LONG = "GET 1 GiB"
PUT_LONG = "PUT 1 GiB"
READERS = "64 slow readers of 1 GiB"
LISTING = "list 100,000 keys"
LOGGED = ", access logs on"
REAL = ", real nodes"

AOSD, STANDARD, NGINX, NODE = "aosd", "standard lane", "nginx", "node"
ONCE, TWICE = "aosd, R = 1", "aosd, R = 2"
SAME_RATE = "nginx at aosd's rate"


@dataclass(frozen=True)
class Goal:
    """One line: `of` (of a Sample) in `figure` asked of `target`, as a multiple of `against`'s.

    With no `against` it is the value itself, in `unit`. `must` and `goal` are bounds: the
    least of it, or where `less` is better the most. A line with neither is told without judging.
    """

    name: str
    figure: str
    target: str = AOSD
    against: str | None = NGINX
    of: str = "rate"
    unit: str = ""
    must: float | None = None
    goal: float | None = None
    less: bool = False


@dataclass(frozen=True)
class Judged:
    """A goal, and what was measured: `value` is the median of the rounds' values."""

    goal: Goal
    value: float
    own: float
    others: float | None

    @property
    def meets_must(self) -> bool | None:
        """None: there is nothing to meet."""
        return self._meets(self.goal.must)

    @property
    def meets_goal(self) -> bool | None:
        """None: there is nothing to meet."""
        return self._meets(self.goal.goal)

    def _meets(self, bound: float | None) -> bool | None:
        if bound is None:
            return None
        return self.value <= bound if self.goal.less else self.value >= bound


GOALS = (
    Goal("1 KiB GET, own standard lane", GET_SMALL, against=STANDARD, must=5, goal=8),
    Goal("1 KiB GET, nginx", GET_SMALL, must=0.4, goal=0.5),
    Goal("1 KiB PUT, nginx", PUT_SMALL, must=0.3, goal=0.5),
    Goal("1 GiB GET, nginx tuned", GET_LONG, must=0.85, goal=1),
    Goal("1 GiB GET, the node itself", GET_LONG, against=NODE, must=0.7, goal=0.8),
    Goal("CPU of a 1 GiB GET, nginx tuned", GET_LONG, of="cpu", must=0.9, goal=0.75, less=True),
    Goal("1 GiB PUT, nginx", PUT_LONG, must=0.85, goal=1),
    Goal("1 GiB PUT, R = 2, own R = 1", PUT_LONG, TWICE, AOSD, must=0.5, goal=0.6),
    Goal("p99 of 1 KiB GET at half rate, nginx", PACED, of="p99_ms", must=3, goal=2, less=True),
    Goal("RSS added by 64 slow readers", READERS, against=None, unit="MiB", must=64, less=True),
    Goal("listing, R = 1, one node", LISTING, ONCE, NODE, must=0.5, goal=0.7),
    Goal("listing, R = 2, one node", LISTING, TWICE, NODE),
    Goal("p99 of 1 KiB GET, nginx at its rate", PACED, against=SAME_RATE, of="p99_ms", less=True),
    Goal("1 KiB PUT, own standard lane", PUT_SMALL, against=STANDARD),
    Goal("1 KiB GET, own standard lane" + REAL, GET_SMALL + REAL, against=STANDARD),
    Goal("1 KiB GET, nginx" + REAL, GET_SMALL + REAL, must=0.4, goal=0.5),
    Goal("1 KiB PUT, nginx" + REAL, PUT_SMALL + REAL, must=0.3, goal=0.5),
    Goal("1 KiB GET, own standard lane" + LOGGED, GET_SMALL + LOGGED, against=STANDARD),
    Goal("1 KiB GET, nginx" + LOGGED, GET_SMALL + LOGGED),
    Goal("1 KiB PUT, nginx" + LOGGED, PUT_SMALL + LOGGED),
)


def judge(rows: Iterable[Row], goals: Sequence[Goal] = GOALS) -> list[Judged]:
    """Those of the goals that these rows tell of."""
    by_name = {row.name: row for row in rows}
    judged = []
    for goal in goals:
        row = by_name.get(goal.figure)
        if row is None:
            continue
        own = row.median(goal.target, goal.of)
        if goal.against is None:
            judged.append(Judged(goal, own, own, None))
        else:
            value = row.ratio(goal.target, goal.against, goal.of)
            judged.append(Judged(goal, value, own, row.median(goal.against, goal.of)))
    return judged
