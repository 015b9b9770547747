"""Nodes come and go while clients work: each acknowledged write is read back, from its place."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.fault.copies import expect_load_in_place
from tests.fault.durable import Durable, running_durable
from tests.fault.load import Load, Mix
from tests.integration.waiting import until

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("u1", "u2", "u3")
JOINED_S = 150.0


def test_a_node_is_added_under_load(tmp_path: Path) -> None:
    """It is taken in by itself; its share of the keys moves to it, and from the others."""
    with running_durable(tmp_path, NAMES) as durable:
        before = durable.daemon.nodes()["ring"]
        with Load(durable.port, keys=80) as load:
            load.wait_for(600)
            durable.add("u4")
            until(lambda: durable.daemon.states().get("u4"), "it was found", JOINED_S)
            until(lambda: durable.state("u4") == "up", "it is up", JOINED_S)
            load.wait_for(200)
            until(lambda: not durable.daemon.nodes()["changing"], "it has its share", JOINED_S)
            load.wait_for(100)
        load.expect_no_failures()
        assert durable.daemon.nodes()["ring"] != before
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)
        # Two copies each on four nodes: it is primary of half of the keys.
        moved = [key for key in load.keys if "u4" in durable.roles(key, "primary")]
        assert len(load.keys) / 5 < len(moved) < len(load.keys) * 4 / 5


def test_a_node_that_stands_still_under_load(tmp_path: Path) -> None:
    """Nothing but time tells that it is away; reads and writes go on all the same."""
    with running_durable(tmp_path, NAMES) as durable:
        with Load(durable.port, keys=40) as load:
            load.wait_for(100)
            durable.nodes["u1"].freeze()
            try:
                load.wait_for(150)
                until(lambda: durable.state("u1") == "down", "it is known to be down")
                load.wait_for(150)
            finally:
                durable.nodes["u1"].thaw()
            load.wait_for(100)
        load.expect_no_failures()
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)


def shortly(durable: Durable, name: str) -> None:
    """So short that it is only suspected, if at all."""
    node = durable.nodes[name]
    node.freeze()
    began_s = time.monotonic()
    until(lambda: time.monotonic() - began_s > 1.5, "a moment is over")
    node.thaw()


def long_frozen(durable: Durable, name: str) -> None:
    durable.nodes[name].freeze()
    until(lambda: durable.state(name) == "down", f"{name} is down")
    durable.nodes[name].thaw()


def killed_at_once_back(durable: Durable, name: str) -> None:
    durable.nodes[name].kill()
    durable.nodes[name].start_again()


def killed_for_long(durable: Durable, name: str) -> None:
    durable.nodes[name].kill()
    until(lambda: durable.state(name) == "down", f"{name} is down")
    durable.nodes[name].start_again()


def emptied(durable: Durable, name: str) -> None:
    durable.nodes[name].kill()
    durable.empty(name)
    durable.nodes[name].start_again()


FAULTS = (shortly, long_frozen, killed_at_once_back, killed_for_long, emptied)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_faults_of_all_kinds_under_load(tmp_path: Path, seed: int) -> None:
    """One after the other, each when the cluster says that the next node may go."""
    chance = random.Random(seed)
    mix = Mix(put_long=6, put_chunked=4)
    with running_durable(tmp_path, NAMES) as durable:
        with Load(
            durable.port, keys=150, workers=6, mix=mix, seed=seed, most=400_000, most_s=3000
        ) as load:
            for number in range(15):
                fault = FAULTS[number % len(FAULTS)]
                until(lambda: durable.daemon.nodes()["next_may_go"], "one may go", JOINED_S)
                load.wait_for(chance.randint(1, 200))
                fault(durable, chance.choice(NAMES))
                load.wait_for(chance.randint(1, 200))
                load.expect_nothing_wrong()
        load.expect_no_failures()
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nodes_are_added_one_after_the_other_under_load(tmp_path: Path) -> None:
    """From three to six; a node is killed while one joins."""
    with running_durable(tmp_path, NAMES) as durable:
        with Load(durable.port, keys=300, workers=6) as load:
            load.wait_for(2000)
            for name in ("u4", "u5", "u6"):
                durable.add(name)
                until(lambda: durable.daemon.states().get(name) == "up", "it is up", JOINED_S)  # noqa: B023
                if name == "u5":
                    durable.nodes["u1"].kill()
                    load.wait_for(200)
                    durable.nodes["u1"].start_again()
                durable.wait_until_quiet()
        load.expect_no_failures()
        load.read_back()
        expect_load_in_place(durable, load)
