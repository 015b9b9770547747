"""`python -m bench`: aosd beside nginx before the same nodes, side by side."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import report
from bench.daemon import start_daemon
from bench.load import MIB, Payload
from bench.nginx import start_null_nodes, start_proxy
from bench.nodes import ports_of, start_nodes
from bench.processes import BenchError
from bench.rounds import Row, Target, figures, fill, measure
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.processes import peak_rss_bytes

_QUICK_MIB = 16
_FULL_MIB = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    asked = _parser().parse_args(arguments)
    # A plain kill has to end the children too: SystemExit unwinds the stack.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            _run(stack, asked)
    except (BenchError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure aosd and nginx before the same three S3 servers, in turns. Takes "
        "6 to 8 minutes on 2 cores, 6 GiB of disk (18 on SeaweedFS) and 1 GiB of /dev/shm; "
        "nothing is left behind.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="samples of each figure [5]")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round of 1 s and {_QUICK_MIB} MiB: shows that it runs, the figures mean little",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="where nodes keep data [the system's temp]"
    )
    return parser


def _run(stack: ExitStack, asked: argparse.Namespace) -> None:
    rounds, seconds, size_mib = asked.rounds, 3.0, _FULL_MIB
    if asked.quick:
        rounds, seconds, size_mib = 1, 1.0, _QUICK_MIB
    if rounds < 1:
        raise BenchError("--rounds must be 1 or more")
    home = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="aosd-bench-", dir=asked.directory))
    )
    payload = Payload.make(home / "files", size_mib * MIB)
    nodes = start_nodes(stack, home / "nodes")
    machine = report.machine(nodes[0].kind)
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)

    real_ports = ports_of(nodes)
    phases: dict[str, list[Row]] = {}
    peaks_mib: dict[str, dict[str, float]] = {}
    with ExitStack() as phase:
        null_ports = start_null_nodes(phase, home / "null", payload.file.parent, real_ports)
        targets = _targets(phase, home / "on-null", nodes, null_ports)
        wanted = figures(seconds, payload, get_key="benchbig", put_key="benchsink")
        phases["null nodes"] = measure("null nodes", targets, wanted, rounds, _tell)
        peaks_mib["null nodes"] = _peaks_mib(targets)
    with ExitStack() as phase:
        targets = _targets(phase, home / "on-real", nodes, real_ports)
        fill(targets)
        wanted = figures(seconds, payload, get_key="benchsink", put_key="benchsink")
        phases["real nodes"] = measure("real nodes", targets, wanted, rounds, _tell)
        peaks_mib["real nodes"] = _peaks_mib(targets)

    for name, rows in phases.items():
        print(f"\n{report.table(f'**{name}**, median of {rounds}', rows)}")
        told = ", ".join(f"{each} {peak:.0f} MiB" for each, peak in peaks_mib[name].items())
        print(f"most resident memory: {told}")
    print(f"\n{report.LEGEND}")
    if asked.json:
        result = {"machine": machine, "rounds": rounds, "peak_rss_mib": peaks_mib}
        result["phases"] = report.as_json(phases)
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


def _targets(
    stack: ExitStack, home: Path, nodes: Sequence[RealNode], ports: Sequence[int]
) -> list[Target]:
    home.mkdir()
    nodes_file = write_nodes_file(home / "nodes.toml", nodes, ports)
    daemon = start_daemon(stack, home / "aosd", nodes_file)
    nginx, nginx_port = start_proxy(stack, home / "nginx", ports)
    return [
        Target("aosd", "a", daemon.url, daemon.process),
        Target("nginx", "g", f"http://127.0.0.1:{nginx_port}/object/", nginx),
        Target("node", "d", f"http://127.0.0.1:{ports[0]}/object/", None),
    ]


def _peaks_mib(targets: Sequence[Target]) -> dict[str, float]:
    return {each.name: peak_rss_bytes(each.process.pid) / MIB for each in targets if each.process}


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
