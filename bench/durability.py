"""`python -m bench.durability`: what durability does and costs, for docs/durability.md."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bench import load
from bench.durable_faults import fault_table
from bench.load import MIB, Payload, Sample
from bench.processes import BenchError
from tests.fault.durable import Durable
from tests.integration.bodies import pieces
from tests.integration.processes import peak_rss_bytes, reset_peak, rss_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, ask, ask_chunked

NAMES = ("n1", "n2", "n3")
_LONG_S = 3600.0
_CLIENTS = 16
_SMALL = bytes(range(256)) * 4

Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much is done of each thing."""

    rounds: int = 5
    seconds: float = 3.0
    size_mib: int = 256
    sweep_keys: int = 100_000
    requests: int = 200
    fault_rounds: int = 5
    away_s: float = 600.0


QUICK = Scale(1, 1.0, 16, 2_000, 20, 1, 10.0)


@contextmanager
def cluster(home: Path, name: str, *flags: str) -> Iterator[Durable]:
    """Three nodes and a gateway, with the settings that users have but for `flags`."""
    durable = Durable(home / name, NAMES, ["--access-log=false", *flags])
    try:
        durable.start()
        yield durable
    finally:
        durable.end()


@dataclass(frozen=True)
class Watched:
    """A gateway's processor time, as bench.load asks for it."""

    pid: int

    @property
    def cpu_s(self) -> float:
        return time.clock_gettime((~self.pid << 3) | 2)


# -- R = 2 beside R = 1 -----------------------------------------------------------------------


def costs(home: Path, scale: Scale) -> list[Row]:
    """Throughput and latency of two copies beside one, in turns."""
    payload = Payload.make(home / "files", scale.size_mib * MIB)
    with cluster(home, "one", "--replicas=1") as one, cluster(home, "two", "--replicas=2") as two:
        both = {1: one, 2: two}

        def small(verb: str, it: Durable) -> Sample:
            process: Any = Watched(it.daemon.pid)
            return load.small(verb, f"{_url(it)}benchkey", scale.seconds, process)

        def put(it: Durable, *, chunked: bool = False) -> Sample:
            process: Any = Watched(it.daemon.pid)
            name = f"{_url(it)}benchbig{'c' if chunked else ''}"
            return load.put_large(name, payload.file, process, chunked=chunked)

        def get(it: Durable) -> Sample:
            return load.get_large(f"{_url(it)}benchbig", payload.size_bytes, None)

        figures: list[tuple[str, str, Callable[[Durable], Sample]]] = [
            ("PUT 1 KiB by 32", "requests/s", lambda it: small("PUT", it)),
            ("GET 1 KiB by 32", "requests/s", lambda it: small("GET", it)),
            (f"PUT {payload.name}", "MiB/s", put),
            (f"PUT {payload.name} chunked", "MiB/s", lambda it: put(it, chunked=True)),
            (f"GET {payload.name}", "MiB/s", get),
        ]
        for each in both.values():
            load.fill(f"{_url(each)}benchkey")
        samples: dict[tuple[str, int], list[Sample]] = {}
        for number in range(scale.rounds):
            for name, _, measure in figures:
                for replicas in (1, 2) if number % 2 else (2, 1):
                    sample = measure(both[replicas])
                    samples.setdefault((name, replicas), []).append(sample)
                    print(f"  {name}, R = {replicas}: {sample.rate:.1f}", flush=True)
        for each in both.values():
            if not each.repair()["settled"]:
                raise BenchError(f"not settled after the load: {each.repair()}")
    return [_cost_row(name, unit, samples[name, 1], samples[name, 2]) for name, unit, _ in figures]


def _cost_row(name: str, unit: str, one: Sequence[Sample], two: Sequence[Sample]) -> Row:
    def latency(samples: Sequence[Sample]) -> str:
        if samples[0].p50_ms is None:
            return "-"
        p50 = statistics.median(each.p50_ms or 0.0 for each in samples)
        p99 = statistics.median(each.p99_ms or 0.0 for each in samples)
        return f"{p50:.0f} / {p99:.0f} ms"

    return {
        "": name,
        "unit": unit,
        "R = 1": round(statistics.median(each.rate for each in one)),
        "R = 2": round(statistics.median(each.rate for each in two)),
        "R = 2 / R = 1": round(
            statistics.median(b.rate / a.rate for a, b in zip(one, two, strict=True)), 2
        ),
        "p50 / p99, R = 1": latency(one),
        "p50 / p99, R = 2": latency(two),
    }


def _url(durable: Durable) -> str:
    return f"http://127.0.0.1:{durable.port()}/object/"


# -- requests to nodes ------------------------------------------------------------------------


def node_requests(home: Path, scale: Scale) -> list[Row]:
    """Requests to nodes for each client request by verb, settled and not."""
    # The gateway's own are few then: what is left of them is measured and taken off.
    with cluster(home, "counted", "--replicas=2", "--probe-interval-s=5") as durable:
        settled = _counted(durable, scale.requests, "settled")
        if not durable.repair()["settled"]:
            raise BenchError(f"not settled any more: {durable.repair()}")
        # Nothing is settled before 20 minutes are over.
        durable.daemon.kill()
        durable.start_gateway()
        durable.daemon.wait_until_ready()
        unsettled = _counted(durable, scale.requests, "unsettled")
        if durable.repair()["settled"]:
            raise BenchError("it is settled all the same")
    return [
        {"client request": name, "settled": settled[name], "not settled": unsettled[name]}
        for name in settled
    ]


def _counted(durable: Durable, count: int, prefix: str) -> dict[str, str]:
    small, long, streamed = b"x" * 1024, b"x" * (3 * MIB), b"x" * (20 * MIB)
    port = durable.port()

    def key(number: int) -> str:
        return f"/object/{prefix}{number}"

    few = max(1, count // 20)
    actions: list[tuple[str, int, Callable[[int], int]]] = [
        ("PUT 1 KiB", count, lambda n: ask(port, "PUT", key(n), {}, small).status),
        ("GET", count, lambda n: ask(port, "GET", key(n)).status),
        ("HEAD", count, lambda n: ask(port, "HEAD", key(n)).status),
        ("GET of what isn't there", count, lambda n: ask(port, "GET", f"{key(n)}no").status),
        ("listing", few, lambda n: ask(port, "GET", f"/object?prefix={prefix}").status),
        ("PUT over an older one", count, lambda n: ask(port, "PUT", key(n), {}, small).status),
        (
            "PUT If-None-Match: *",
            count,
            lambda n: ask(port, "PUT", f"{key(n)}new", {"If-None-Match": "*"}, small).status,
        ),
        ("PUT 3 MiB", few, lambda n: ask(port, "PUT", f"{key(n)}long", {}, long).status),
        (
            "PUT 20 MiB chunked",
            few,
            lambda n: ask_chunked(port, f"{key(n)}chunked", pieces(streamed)).status,
        ),
        ("DELETE", count, lambda n: ask(port, "DELETE", key(n)).status),
    ]
    found = {}
    for name, times, act in actions:
        idle = _idle_rate(durable)
        before, began_s = _node_counts(durable), time.monotonic()
        for number in range(times):
            status = act(number)
            if status >= 400 and status != 404:
                raise BenchError(f"{name}: {status}")
        took_s = time.monotonic() - began_s
        after = _node_counts(durable)
        told = []
        for verb in sorted(after):
            each = (after[verb] - before.get(verb, 0) - idle.get(verb, 0) * took_s) / times
            if each > 0.02:
                told.append(f"{each:.2f} {verb}".replace(".00 ", " "))
        found[name] = ", ".join(told)
        print(f"  {prefix}: {name}: {found[name]}", flush=True)
    return found


def _idle_rate(durable: Durable) -> dict[str, float]:
    """What the gateway asks nodes by itself, a second."""
    before, began_s = _node_counts(durable), time.monotonic()
    until(lambda: time.monotonic() - began_s > 5, "five seconds are over")
    took_s = time.monotonic() - began_s
    return {verb: (n - before.get(verb, 0)) / took_s for verb, n in _node_counts(durable).items()}


def _node_counts(durable: Durable) -> dict[str, float]:
    counts: dict[str, float] = {}
    for line in durable.daemon.ask("GET", "/-/metrics").body.decode().splitlines():
        if line.startswith("aosd_node_requests_total{"):
            labels, _, value = line.rpartition(" ")
            verb = labels.partition('verb="')[2].partition('"')[0]
            counts[verb] = counts.get(verb, 0) + float(value)
    return counts


# -- the sweep --------------------------------------------------------------------------------


def sweeps(home: Path, scale: Scale) -> list[Row]:
    """Keys a second, and memory: over what lies right, after a return, onto an empty disk."""
    flags = ("--replicas=2", "--late-write-window-s=1", "--sweep-keys-per-s=1000000")
    with cluster(home, "swept", *flags) as durable:
        began_s = time.monotonic()
        _fill(durable, scale.sweep_keys)
        took_s = time.monotonic() - began_s
        print(f"  {scale.sweep_keys} keys in {took_s:.0f} s", flush=True)
        # From now on there are sweeps by the calendar: before, they would compete with it.
        durable.daemon.stop()
        durable.start_gateway({"AOSD_SWEEP_INTERVAL_S": "30"})
        durable.wait_until_quiet(_LONG_S)
        rows = [
            _sweep_row(durable, "by the calendar, nothing was written", scale.sweep_keys),
        ]
        durable.nodes["n2"].kill()
        durable.nodes["n2"].start_again()
        rows.append(_return_row(durable, "a node was restarted"))
        durable.nodes["n3"].kill()
        durable.empty("n3")
        durable.nodes["n3"].start_again()
        rows.append(_return_row(durable, "a node came back empty"))
    return rows


def _fill(durable: Durable, keys: int) -> None:
    """So many keys of 1 KiB, each written once."""

    def put(wire: Wire, number: int) -> None:
        wire.send_request("PUT", f"/object/swept{number}", body=_SMALL)
        answer = wire.answer("PUT")
        if answer.status != 201:
            raise BenchError(f"PUT: {answer.status} {answer.body!r}")

    _by_clients(durable, lambda worker: range(worker, keys, _CLIENTS), put)
    listed = sum(len(node.stored_keys()) for node in durable.nodes.values())
    print(f"  {listed} copies on the nodes", flush=True)
    if listed != 2 * keys:
        raise BenchError(f"{listed} copies of {keys} keys")


def _sweep_row(durable: Durable, name: str, keys: int) -> Row:
    """The next sweep that begins by itself and finds that nothing has to be compared."""
    before = rss_bytes(durable.daemon.pid)

    def is_it() -> bool:
        told = durable.repair()["last_sweep"]
        return told is not None and told["keys"] >= keys and told["compared"] == 0

    reset_peak(durable.daemon.pid)
    until(is_it, f"a sweep ended: {name}", _LONG_S)
    return _swept(durable, name, before, None)


def _return_row(durable: Durable, name: str) -> Row:
    reset_peak(durable.daemon.pid)
    before, began_s = rss_bytes(durable.daemon.pid), time.monotonic()
    durable.wait_until_quiet(_LONG_S)
    return _swept(durable, name, before, time.monotonic() - began_s)


def _swept(durable: Durable, name: str, before: int, took_s: float | None) -> Row:
    told = durable.repair()["last_sweep"]
    print(f"  {name}: {told}", flush=True)
    sweep_s = told["ended_s"] - told["began_s"]
    return {
        "sweep": name,
        "keys": told["keys"],
        "compared by HEAD": told["compared"],
        "copies made": told["made"],
        "seconds": round(sweep_s, 1),
        "keys/s": round(told["keys"] / sweep_s),
        "until settled, s": round(took_s, 1) if took_s is not None else "-",
        "RSS before, MiB": round(before / MIB),
        "RSS at most, MiB": round(peak_rss_bytes(durable.daemon.pid) / MIB),
    }


# -- an hour with a node away -----------------------------------------------------------------


def away(home: Path, scale: Scale) -> list[Row]:
    """Writes and deletes at full rate while a node is away; then the gateway is killed."""
    with cluster(home, "away", "--replicas=2") as durable:
        process: Any = Watched(durable.daemon.pid)
        durable.nodes["n3"].kill()
        until(lambda: durable.state("n3") == "down", "it is down", 60)
        reset_peak(durable.daemon.pid)
        before = rss_bytes(durable.daemon.pid)
        puts = deletes = 0.0
        ends_s = time.monotonic() + scale.away_s
        step_s = min(10.0, scale.away_s / 4)
        while time.monotonic() < ends_s:
            puts += step_s * load.small("PUT", f"{_url(durable)}w", step_s, process, 20_000).rate
            deletes += _delete_for(durable, step_s)
        repair = durable.repair()
        peak = peak_rss_bytes(durable.daemon.pid)
        durable.daemon.kill()
        began_s = time.monotonic()
        durable.start_gateway()
        durable.daemon.wait_until_ready()
        ready_s = time.monotonic() - began_s
        print(f"  {repair}", flush=True)
        return [
            {
                "seconds": round(scale.away_s),
                "PUTs": round(puts),
                "DELETEs": round(deletes),
                "marks": repair["marks"],
                "journal": repair["journal"],
                "RSS before, MiB": round(before / MIB),
                "RSS at most, MiB": round(peak / MIB),
                "ready again, s": round(ready_s, 1),
                "RSS then, MiB": round(rss_bytes(durable.daemon.pid) / MIB),
            }
        ]


def _delete_for(durable: Durable, seconds: float) -> float:
    """DELETE by several clients for some seconds; how many."""
    ends_s = time.monotonic() + seconds

    def numbers(worker: int) -> Iterator[int]:
        for number in count(worker, _CLIENTS):
            if time.monotonic() >= ends_s:
                return
            yield 1 + number % 20_000

    def delete(wire: Wire, number: int) -> None:
        wire.send_request("DELETE", f"/object/w{number}")
        answer = wire.answer("DELETE")
        if answer.status != 204:
            raise BenchError(f"DELETE: {answer.status} {answer.body!r}")

    return float(_by_clients(durable, numbers, delete))


def _by_clients(
    durable: Durable,
    numbers: Callable[[int], Iterable[int]],
    act: Callable[[Wire, int], object],
) -> int:
    """Several clients, each on a connection and with its `numbers`; how often they acted."""

    def work(worker: int) -> int:
        done = 0
        with Wire(durable.port(), 60.0) as wire:
            for number in numbers(worker):
                act(wire, number)
                done += 1
        return done

    with ThreadPoolExecutor(_CLIENTS) as threads:
        return sum(threads.map(work, range(_CLIENTS)))


# -- all of it --------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[[Path, Scale], list[Row]]] = {
    "requests": node_requests,
    "costs": costs,
    "faults": lambda home, scale: fault_table(home, scale.fault_rounds),
    "sweeps": sweeps,
    "away": away,
}


def table(rows: Sequence[Row]) -> str:
    """Rows of the same columns, in Markdown."""
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(row[each]) for each in columns)} |" for row in rows]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.durability", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)} [all]")
    parser.add_argument("--quick", action="store_true", help="shows that it runs")
    parser.add_argument("--away-s", type=float, help="how long the node is away [600]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there too")
    asked = parser.parse_args(arguments)
    unknown = set(asked.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    scale = QUICK if asked.quick else Scale()
    if asked.away_s:
        scale = Scale(**{**vars(scale), "away_s": asked.away_s})
    found = {}
    for name in asked.sections or SECTIONS:
        with tempfile.TemporaryDirectory(prefix="aosd-durability-") as home:
            print(f"{name}:", flush=True)
            found[name] = SECTIONS[name](Path(home), scale)
        print(f"\n{table(found[name])}\n", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
