"""Writes what was measured into docs/performance.md, and the plot beside it.

Run as `python -m bench.page` it does so from what is kept, without measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import history
from bench.chart import chart
from bench.history import Run
from bench.report import goals_table, rows_table

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PLOT = "performance-goals.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(runs: Sequence[Run], page: Path = PAGE) -> None:
    """Let the page tell the newest of each figure. ValueError: it has no place for that."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    (page.parent / PLOT).write_text(chart([judged for judged, _ in history.newest(runs)]))
    page.write_text(f"{before}{BEGIN}\n{_measured(runs)}{END}{after}")


def _measured(runs: Sequence[Run]) -> str:
    found = history.newest(runs)
    rows = {row.name: row for run in runs for row in run.rows}
    when = {row.name: run for run in runs for row in run.rows}
    used = sorted({id(run): run for run in when.values()}.values(), key=lambda run: run.when)
    pieces = [
        goals_table([judged for judged, _ in found]),
        f"![How near each goal is]({PLOT})\n",
        "All medians:\n",
        rows_table(list(rows.values())),
        "Measured:\n",
    ]
    told = []
    for run in used:
        names = [name for name, its in when.items() if its is run]
        machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
        what = "all" if len(used) == 1 else "; ".join(names)
        told.append(f"- {run.when}, commit {run.commit}, {run.rounds} rounds ({machine}): {what}\n")
    return "\n".join([*pieces, "".join(told)])


if __name__ == "__main__":
    write(history.read())
