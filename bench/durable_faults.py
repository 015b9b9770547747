"""The fault table: what was broken under load, and what clients saw of it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault.copies import expect_load_in_place
from tests.fault.durable import Durable, running_durable
from tests.fault.load import Load, Mix
from tests.integration.waiting import until

NAMES = ("n1", "n2", "n3")
QUIET_S = 300.0


@dataclass(frozen=True)
class Fault:
    """`strike` returns when what it broke is there again, and clients go on all the while."""

    name: str
    strike: Callable[[Durable, Load, str], None]


def killed(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].kill()
    load.wait_for(100)
    durable.nodes[name].start_again()


def killed_until_down(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].kill()
    until(lambda: durable.state(name) == "down", f"{name} is down", 60)
    load.wait_for(300)
    durable.nodes[name].start_again()


def terminated(durable: Durable, load: Load, name: str) -> None:
    durable.terminate(name)
    durable.nodes[name].start_again()


def frozen(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].freeze()
    load.wait_for(300)
    durable.nodes[name].thaw()


def emptied(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].kill()
    durable.empty(name)
    durable.nodes[name].start_again()


def gateway_killed(durable: Durable, load: Load, name: str) -> None:
    durable.daemon.kill()
    durable.start_gateway()
    durable.daemon.wait_until_ready()


def gateway_and_node_killed(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].kill()
    durable.daemon.kill()
    durable.start_gateway()
    durable.daemon.wait_until_ready()
    load.wait_for(100)
    durable.nodes[name].start_again()


def rolled(durable: Durable, load: Load, name: str) -> None:
    for each in NAMES:
        until(lambda: durable.daemon.nodes()["next_may_go"], "the next one may go", QUIET_S)
        durable.terminate(each)
        durable.nodes[each].start_again()


def gateway_restarted_without_a_node(durable: Durable, load: Load, name: str) -> None:
    durable.nodes[name].kill()
    until(lambda: durable.state(name) == "down", f"{name} is down", 60)
    durable.daemon.stop()
    durable.start_gateway()
    durable.daemon.wait_until_ready()
    load.wait_for(300)
    durable.nodes[name].start_again()


def node_added(durable: Durable, load: Load, name: str) -> None:
    durable.add(f"n{len(durable.nodes) + 1}")


FAULTS = (
    Fault("node killed (SIGKILL), back at once", killed),
    Fault("node killed, down for a while", killed_until_down),
    Fault("node restarted (SIGTERM)", terminated),
    Fault("all nodes restarted, one after the other", rolled),
    Fault("node frozen (SIGSTOP)", frozen),
    Fault("node came back empty", emptied),
    Fault("node added", node_added),
    Fault("gateway killed", gateway_killed),
    Fault("gateway restarted while a node is away", gateway_restarted_without_a_node),
    Fault("gateway and a node killed at once", gateway_and_node_killed),
)


def fault_table(home: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each kind of fault, `rounds` times each."""
    return [_row(home / f"fault{n}", fault, rounds) for n, fault in enumerate(FAULTS)]


def _row(home: Path, fault: Fault, rounds: int) -> dict[str, Any]:
    chance = random.Random(fault.name)
    times = 2 if fault.strike is node_added and rounds > 1 else rounds
    during = 0
    until_back_s: list[float] = []
    mix = Mix(put_long=6, put_chunked=4)
    with running_durable(home, NAMES, expected=("",)) as durable:
        load = Load(durable.port, keys=150, workers=6, mix=mix, most=1_000_000, most_s=3600)
        with load:
            load.wait_for(500)
            for _ in range(times):
                load.wait_for(chance.randint(1, 150))
                before = len(load.tally.requests)
                fault.strike(durable, load, chance.choice(NAMES))
                back_s = time.monotonic()
                durable.wait_until_quiet(QUIET_S)
                until_back_s.append(time.monotonic() - back_s)
                during += len(load.tally.requests) - before
        durable.wait_until_quiet(QUIET_S)
        lost = 0
        try:
            load.read_back()
            expect_load_in_place(durable, load)
        except AssertionError as error:
            lost = str(error).count(" is lost") + str(error).count(" is nowhere")
            print(f"  {fault.name}: {error}", flush=True)
        tally = load.tally
        for each in tally.failures[:5]:
            print(f"  {fault.name}: {each}", flush=True)
        row = {
            "broken under load": fault.name,
            "times": times,
            "requests during it": during,
            "acknowledged writes": tally.acknowledged,
            "client errors": len(tally.failures),
            "lost": lost,
            "wrong": len(tally.wrong),
            "until all copies were back, s (median / most)": (
                f"{statistics.median(until_back_s):.1f} / {max(until_back_s):.1f}"
            ),
        }
    print(f"  {row}", flush=True)
    return row
