"""All nodes are restarted, one after the other, while clients work: none of them notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.copies import expect_load_in_place
from tests.fault.durable import Durable, running_durable
from tests.fault.load import Load, Mix
from tests.integration.waiting import until

NAMES = ("o1", "o2", "o3")
NEXT_S = 150.0

Stop = Callable[[Durable, str], None]


def terminated(durable: Durable, name: str) -> None:
    durable.terminate(name)


def killed(durable: Durable, name: str) -> None:
    durable.nodes[name].kill()


def roll(durable: Durable, load: Load, stop: Stop) -> None:
    """One restart of each node; the next one when /-/nodes says so."""
    for name in durable.nodes:
        until(lambda: durable.daemon.nodes()["next_may_go"], "the next one may go", NEXT_S)
        load.wait_for(100)
        stop(durable, name)
        load.wait_for(50)
        told = durable.daemon.nodes()
        assert not told["next_may_go"], told
        assert told["wait_for"], told
        durable.nodes[name].start_again()
        load.wait_for(50)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stop", [killed], ids=lambda stop: stop.__name__)
def test_a_rolling_restart(tmp_path: Path, stop: Stop) -> None:
    with running_durable(tmp_path, NAMES) as durable:
        with Load(durable.port, keys=40) as load:
            roll(durable, load, stop)
        load.expect_no_failures()
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stop", [killed, terminated], ids=lambda stop: stop.__name__)
def test_rolling_restarts_again_and_again(tmp_path: Path, stop: Stop) -> None:
    mix = Mix(put_long=8, put_chunked=6)
    with running_durable(tmp_path, NAMES) as durable:
        with Load(durable.port, keys=200, workers=8, mix=mix, most_s=1500) as load:
            for _ in range(4):
                roll(durable, load, stop)
        load.expect_no_failures()
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)
