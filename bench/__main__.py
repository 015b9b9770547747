"""`python -m bench`: aosd, its standard lane, nginx and a node, side by side."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import history, page, report
from bench.goals import judge
from bench.history import Run
from bench.load import MIB, Payload
from bench.parts import PARTS
from bench.processes import BenchError
from bench.rounds import Row
from bench.stage import Plan
from tests.integration.nodes import KINDS

_LEAST_ROUNDS = 7
_QUICK_MIB, _FULL_MIB = 16, 1024
_QUICK_KEYS, _FULL_KEYS = 2000, 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status: 0 also when goals are missed."""
    asked = _parser().parse_args(arguments)
    # A plain kill has to end the children too: SystemExit unwinds the stack.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _run(asked)
    except (BenchError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure aosd beside its standard lane, nginx and a node, in turns, and tell "
        "which goals are met. Takes three quarters of an hour on 2 cores, 8 GiB of disk and "
        "4 GiB of /dev/shm; what is measured goes to bench/history and docs/performance.md.",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=_LEAST_ROUNDS,
        help=f"samples of each figure [{_LEAST_ROUNDS}]; of fewer nothing is kept",
    )
    parser.add_argument(
        "--only",
        metavar="PART,…",
        default=",".join(PARTS),
        help=f"only these parts of {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round of 1 s, {_QUICK_MIB} MiB in place of 1 GiB, {_QUICK_KEYS:,} keys: shows "
        "that it runs; the figures mean little, and nothing is kept",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="where nodes keep data [the system's temp]"
    )
    return parser


def _run(asked: argparse.Namespace) -> None:
    parts = asked.only.split(",")
    if unknown := set(parts) - set(PARTS):
        raise BenchError(f"no part is called {', '.join(sorted(unknown))}")
    if asked.rounds < 1:
        raise BenchError("--rounds must be 1 or more")
    machine = report.machine(KINDS[0])
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="aosd-bench-", dir=asked.directory) as home:
        plan = _plan(asked, Path(home))
        for name in parts:
            with ExitStack() as stack:
                rows += PARTS[name](stack, plan)
    run = Run.of_now(machine, plan.rounds, rows)
    _tell(run)
    if asked.json:
        asked.json.write_text(run.as_json())
    if not asked.quick and plan.rounds >= _LEAST_ROUNDS:
        print(f"\nkept in {run.save()}")
        page.write(history.read())


def _plan(asked: argparse.Namespace, home: Path) -> Plan:
    size_bytes = (_QUICK_MIB if asked.quick else _FULL_MIB) * MIB
    return Plan(
        rounds=1 if asked.quick else asked.rounds,
        seconds=1.0 if asked.quick else 3.0,
        keys=_QUICK_KEYS if asked.quick else _FULL_KEYS,
        payload=Payload.make(home / "files", size_bytes),
        home=home,
        tell=lambda line: print(line, flush=True),
    )


def _tell(run: Run) -> None:
    judged = judge(run.rows)
    print(f"\n{report.rows_table(run.rows)}\n{report.goals_table(judged)}")
    if told := history.compared(judged, history.newest(history.read())):
        print(f"Compared with what was measured before:\n\n{told}")


if __name__ == "__main__":
    sys.exit(main())
