"""`python -m bench.membership`: what changes of the members take, for docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.durability import Row, table
from bench.processes import BenchError
from tests.fault.foreign import put_foreign
from tests.fault.load import NO_ANSWER, Load, Mix
from tests.fault.operator import REPLICAS, Operated
from tests.integration.bodies import KIB
from tests.integration.nodes import BUCKET, RealNode
from tests.integration.processes import peak_rss_bytes, reset_peak
from tests.integration.waiting import until
from tests.integration.wire import Wire

NAMES = ("n1", "n2", "n3")
_MIB = 1024 * KIB
_BODY = bytes(range(256)) * 4
_CLIENTS = 16
_LONG_S = 4 * 3600.0
_STEP = 10_000
# Clients that are there to see errors, not to fill the machine.
_MIX = Mix(put_long=1, put_chunked=0, listing=2)
_PAUSE_S = 0.02


class Bench:
    """Three nodes with `keys` objects on them, and the acts that are measured."""

    def __init__(self, home: Path, keys: int, flags: Sequence[str]) -> None:
        self.keys = keys
        self.rows: list[Row] = []
        self.cluster = Operated(
            # Settings as users have them, but for 20 minutes' wait after a doubtful answer.
            home,
            NAMES,
            [
                f"--replicas={REPLICAS}",
                "--access-log=false",
                "--late-write-window-s=1",
                *flags,
            ],
        )

    def begin(self) -> None:
        self.cluster.start()
        began_s = time.monotonic()
        fill(self.cluster, self.keys)
        told = sum(len(node.stored_keys()) for node in self.cluster.nodes.values())
        if told != REPLICAS * self.keys:
            raise BenchError(f"{told} copies of {self.keys} keys")
        tell(f"{self.keys} keys of {len(_BODY)} bytes in {time.monotonic() - began_s:.0f} s")
        self.cluster.wait_until_quiet(_LONG_S)

    # -- what is measured -------------------------------------------------------------------------

    def add(self) -> None:
        """A fourth, empty node joins by itself."""
        with self._measured("add a fourth node"):
            self.cluster.add("n4")
            self._wait_for("n4", "member")

    def drain(self) -> None:
        """One of them is emptied, and then removed."""
        name = NAMES[0]
        with self._measured("drain one", *self._foretold(name, "drain")):
            self.cluster.act(name, "drain")
            self._wait_for(name, "drained")
            self.cluster.act(name, "remove")
            self.cluster.let_go(name)

    def adopt(self) -> None:
        """One that holds as many objects as the cluster has been given joins."""
        node = RealNode("n5", self.cluster.folder / "n5")
        node.start_again()
        # From here on it ends with the others.
        self.cluster.gone[node.name] = node
        began_s = time.monotonic()
        for first in range(0, self.keys, _STEP):
            numbers = range(first, min(first + _STEP, self.keys))
            put_foreign(node, BUCKET, {f"theirs{n}": _BODY for n in numbers})
        tell(f"{self.keys} objects put on n5 in {time.monotonic() - began_s:.0f} s")
        self.cluster.write_file(node)
        until(lambda: "adopt" in self._reason(node.name), "it is seen", 120)
        told = self._foretold(node.name, "adopt")
        with self._measured("adopt a node with as many objects", *told):
            began_s = time.monotonic()
            self.cluster.act(node.name, "adopt")
            self.cluster.nodes[node.name] = self.cluster.gone.pop(node.name)
            until(lambda: self._reads(f"theirs{self.keys - 1}"), "its objects are read", 600)
            tell(f"its objects were read {time.monotonic() - began_s:.1f} s after that")
            self._wait_for(node.name, "member")
            until(lambda: not self._node(node.name)["adopted"], "nothing is left to do", _LONG_S)

    @contextmanager
    def _measured(self, name: str, foretold: str = "-") -> Iterator[None]:
        """A row: how long it took with clients at work, and what they saw."""
        daemon = self.cluster.daemon
        made = daemon.metric("aosd_copies_made_total")
        size_bytes = daemon.metric("aosd_repair_bytes_total")
        idle = self._latencies(f"idle{len(self.rows)}")
        reset_peak(daemon.pid)
        load = self._load(f"busy{len(self.rows)}x")
        with load:
            load.wait_for(20)
            began_s = time.monotonic()
            yield
            until(lambda: not self.cluster.changes()["changing"], "it is over", _LONG_S)
            over_s = time.monotonic()
            self.cluster.wait_until_quiet(_LONG_S)
            quiet_s = time.monotonic()
        load.expect_nothing_wrong()
        load.read_back()
        copies = daemon.metric("aosd_copies_made_total") - made
        took_s = over_s - began_s
        self.rows.append(
            {
                "what": name,
                "seconds": round(took_s),
                "foretold, s": foretold,
                "settled after, s": round(quiet_s - began_s),
                "copies made": f"{copies:,.0f}",
                "copies/s": round(copies / took_s),
                "MiB copied": round((daemon.metric("aosd_repair_bytes_total") - size_bytes) / _MIB),
                "clients' requests": f"{len(load.tally.requests):,}",
                "errors": len(load.tally.failures),
                "GET p50 / p99, ms": latency(load),
                "before it": idle,
                "RSS at most, MiB": round(peak_rss_bytes(daemon.pid) / _MIB),
            }
        )
        tell(f"{self.rows[-1]}")
        for each in load.tally.failures[:5]:
            tell(f"error: {each}")

    def _load(self, prefix: str) -> Load:
        return Load(
            self.cluster.port,
            prefix,
            keys=40,
            workers=4,
            mix=_MIX,
            most=10_000_000,
            most_s=_LONG_S,
            pause_s=_PAUSE_S,
        )

    def _latencies(self, prefix: str) -> str:
        """What the same clients see while nothing changes."""
        with self._load(prefix) as load:
            load.wait_for(400, 300)
        load.expect_no_failures()
        return latency(load)

    def _foretold(self, name: str, act: str) -> tuple[str]:
        began_s = time.monotonic()
        told = self.cluster.forecast(name, act)
        took_s = time.monotonic() - began_s
        shown = {each: told[each] for each in ("keys", "moved_keys", "moved_bytes", "seconds")}
        tell(f"the forecast of {act} took {took_s:.1f} s: {shown}")
        return (str(round(told["seconds"])),)

    def _wait_for(self, name: str, membership: str) -> None:
        self.cluster.wait_for(name, membership, _LONG_S)

    def _node(self, name: str) -> Mapping[str, Any]:
        told = self.cluster.daemon.nodes()["nodes"]
        return next((each for each in told if each["name"] == name), {})

    def _reason(self, name: str) -> str:
        return str(self._node(name).get("reason", ""))

    def _reads(self, key: str) -> bool:
        return self.cluster.daemon.ask("GET", f"/object/{key}").status == 200


def latency(load: Load) -> str:
    """The median and the 99th percentile of a load's GETs, in ms."""
    took_ms = [
        (each.ended_s - each.began_s) * 1000
        for each in load.tally.requests
        if each.verb == "GET" and each.status != NO_ANSWER
    ]
    if len(took_ms) < 2:
        return "-"
    return f"{statistics.median(took_ms):.1f} / {statistics.quantiles(took_ms, n=100)[98]:.0f}"


def fill(cluster: Operated, keys: int) -> None:
    """So many objects, through the gateway."""

    def put(worker: int) -> None:
        with Wire(cluster.port(), 60.0) as wire:
            for number in range(worker, keys, _CLIENTS):
                wire.send_request("PUT", f"/object/ours{number}", {}, _BODY)
                answer = wire.answer("PUT")
                if answer.status != 201:
                    raise BenchError(f"PUT: {answer.status} {answer.body!r}")

    with ThreadPoolExecutor(_CLIENTS) as threads:
        list(threads.map(put, range(_CLIENTS)))


def machine(kind: str) -> str:
    """What the figures were taken on."""
    cpu = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{os.cpu_count()} cores ({cpu}), "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"nodes: {kind}, load average at the start: {os.getloadavg()[0]:.1f}"
    )


ACTS: dict[str, Callable[[Bench], None]] = {
    "add": Bench.add,
    "drain": Bench.drain,
    "adopt": Bench.adopt,
}


def tell(line: str) -> None:
    print(f"  {line}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, in this order, on one cluster; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.membership", description=__doc__)
    parser.add_argument("acts", nargs="*", help=f"of {', '.join(ACTS)} [all]")
    parser.add_argument("--keys", type=int, default=100_000, help="objects at first [100000]")
    parser.add_argument("--flag", action="append", default=[], help="one more for the daemon")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there too")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.acts) - set(ACTS):
        parser.error(f"no such act: {', '.join(sorted(unknown))}")
    # A plain kill has to end the nodes, too: SystemExit unwinds the stack.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="aosd-membership-") as home:
        bench = Bench(Path(home), asked.keys, asked.flag)
        try:
            told = machine(bench.cluster.nodes[NAMES[0]].kind)
            print(f"{told}\n", flush=True)
            bench.begin()
            for name, act in ACTS.items():
                if not asked.acts or name in asked.acts:
                    act(bench)
            print(f"\n{told}\n\n{table(bench.rows)}\n", flush=True)
        except (BenchError, AssertionError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            bench.cluster.end()
    if asked.json:
        asked.json.write_text(json.dumps({"machine": told, "rows": bench.rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
