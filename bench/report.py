"""What the reader sees: tables for people, and what they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence

from bench.goals import Judged
from bench.processes import program
from bench.rounds import Row


def machine(node_kind: str) -> dict[str, str]:
    """What the figures were taken on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    told = subprocess.run(
        [program("nginx", "nginx-light"), "-v"], check=True, capture_output=True, text=True
    )
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{round(memory_bytes / 1024**3)} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "nginx": told.stderr.strip().rpartition("/")[2],
        "nodes": {"minio": "MinIO", "seaweedfs": "SeaweedFS"}[node_kind],
    }


def goals_table(judged: Sequence[Judged]) -> str:
    """Which of the goals were met, in Markdown."""
    lines = [
        "| aosd, and what it is compared with | aosd | the other | ratio | must | goal | |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for each in judged:
        goal = each.goal
        value = f"{number(each.value)} {goal.unit}" if goal.against is None else ratio(each.value)
        others = "" if each.others is None else number(each.others)
        cells = [goal.name, number(each.own), others, value]
        cells += [_bound(goal.must, less=goal.less), _bound(goal.goal, less=goal.less)]
        lines.append(f"| {' | '.join([*cells, verdict(each)])} |")
    return "\n".join(lines) + "\n"


def rows_table(rows: Sequence[Row]) -> str:
    """All medians, in Markdown."""
    lines = [
        "| | who | median | CPU | p50, ms | p99, ms |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        for name, samples in row.samples.items():
            cells = [row.name, name, f"{number(row.median(name))} {row.unit}"]
            for of, unit in (("cpu", row.cpu_unit), ("p50_ms", ""), ("p99_ms", "")):
                known = all(getattr(each, of) is not None for each in samples)
                cells.append(f"{number(row.median(name, of))} {unit}".strip() if known else "")
            if all(each.late_p99_ms is not None for each in samples):
                cells[-1] += f" ({number(row.median(name, 'late_p99_ms'))} late)"
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def verdict(judged: Judged) -> str:
    """Whether it reached what it had to."""
    if judged.meets_must is None:
        return "reported"
    if not judged.meets_must:
        return "**missed**"
    return "met, and the goal" if judged.meets_goal else "met"


def number(value: float) -> str:
    """Three digits at least that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """A ratio."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bound(bound: float | None, *, less: bool) -> str:
    return "" if bound is None else f"{'≤' if less else '≥'} {bound:g}"
