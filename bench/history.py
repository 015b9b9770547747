"""What was measured before: a JSON file a run, so that a later change can be compared."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.goals import Judged, judge
from bench.load import Sample
from bench.rounds import Row

FOLDER = Path(__file__).with_name("history")
_FORMAT = 1


@dataclass(frozen=True)
class Run:
    """One run: when (UTC), of which commit, on which machine, and its rows, all or some."""

    when: str
    commit: str
    machine: Mapping[str, str]
    rounds: int
    rows: Sequence[Row]

    @staticmethod
    def of_now(machine: Mapping[str, str], rounds: int, rows: Sequence[Row]) -> Run:
        """A run that has just ended."""
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Run(when, _commit(), machine, rounds, rows)

    def as_json(self) -> str:
        told = {"format": _FORMAT, **dataclasses.asdict(self)}
        # For people who look: `read` judges anew.
        told["ratios"] = {each.goal.name: round(each.value, 4) for each in judge(self.rows)}
        return json.dumps(told, indent=1, ensure_ascii=False) + "\n"

    def save(self, folder: Path = FOLDER) -> Path:
        """Add it to those that are kept."""
        folder.mkdir(exist_ok=True)
        stamp = self.when.replace("-", "").replace(":", "")
        path = folder / f"{stamp}-{self.commit.removesuffix('+')}.json"
        path.write_text(self.as_json())
        return path


def read(folder: Path = FOLDER) -> list[Run]:
    """All runs that are kept, the newest last."""
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def newest(runs: Sequence[Run]) -> list[tuple[Judged, Run]]:
    """Of each goal the newest that is known, and the run that it is from; in the goals' order."""
    rows: dict[str, Row] = {}
    told_by: dict[str, Run] = {}
    for run in runs:
        for row in run.rows:
            rows[row.name], told_by[row.name] = row, run
    return [(each, told_by[each.goal.figure]) for each in judge(rows.values())]


def compared(now: Sequence[Judged], before: Sequence[tuple[Judged, Run]]) -> str:
    """A line for each goal that was measured before, too; a table in Markdown."""
    known = {judged.goal.name: (judged, run) for judged, run in before}
    lines = ["| | before | now | change | measured before at |", "|---|--:|--:|--:|---|"]
    for each in now:
        if each.goal.name not in known:
            continue
        last, run = known[each.goal.name]
        change = f"{(each.value / last.value - 1) * 100:+.0f} %" if last.value else ""
        values = f"{last.value:.3g} | {each.value:.3g}"
        lines.append(f"| {each.goal.name} | {values} | {change} | {run.when} {run.commit} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _read(path: Path) -> Run:
    told: dict[str, Any] = json.loads(path.read_text())
    if told["format"] != _FORMAT:
        raise ValueError(f"{path} has format {told['format']}, known is {_FORMAT}")
    rows = [
        Row(
            row["name"],
            row["unit"],
            row["cpu_unit"],
            {name: [Sample(**each) for each in row["samples"][name]] for name in row["samples"]},
        )
        for row in told["rows"]
    ]
    return Run(told["when"], told["commit"], told["machine"], told["rounds"], rows)


def _commit() -> str:
    """The commit, with a `+` if something was changed since; `unknown` outside of git."""
    try:
        commit = _git("rev-parse", "--short=8", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "aosd")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
