"""`python -m bench.profile`: where a lane's time goes, as a flame graph by py-spy."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import load
from bench.flame import flame_graph
from bench.load import MIB, Payload
from bench.processes import BenchError
from bench.stage import Plan, stage

_WARM_S = 2.0
_HERTZ = 500
# Frames below the reactor's loop are the same in every stack.
_BENEATH = re.compile(r"^.*?;[^;]*\bmainLoop \([^;]*;")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("lane", choices=["express", "standard"])
    parser.add_argument("method", choices=["GET", "PUT"])
    parser.add_argument("svg", type=Path, help="where the flame graph is written")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long it looks [10]")
    asked = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            collapsed = _collapsed(stack, asked.lane == "express", asked.method, asked.seconds)
    except (BenchError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    title = f"{asked.lane} lane, {asked.method} of 1 KiB by {load.CONNECTIONS} on null nodes"
    asked.svg.write_text(flame_graph(collapsed, title))
    return 0


def _collapsed(stack: ExitStack, express: bool, method: str, seconds: float) -> list[str]:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aosd-bench-")))
    payload = Payload.make(home / "files", MIB)
    plan = Plan(1, seconds, 0, payload, home, print)
    daemon = stage(stack, plan, express=express).daemon
    load.small(method, f"{daemon.url}benchkey", _WARM_S, daemon.process)
    told = home / "stacks"
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(daemon.pid)]
    command += ["--rate", str(_HERTZ), "--duration", str(round(seconds))]
    command += ["--format", "raw", "--function", "--output", str(told)]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    load.small(method, f"{daemon.url}benchkey", seconds + 1, daemon.process)
    said, _ = watching.communicate(timeout=60)
    if watching.returncode:
        raise BenchError(f"py-spy (pip install py-spy; as root): {said.decode()[-300:]}")
    lines = told.read_text().splitlines()
    # The one thread that works; others only wait.
    return [_BENEATH.sub("", line) for line in lines if "twisted/internet" in line]


if __name__ == "__main__":
    sys.exit(main())
