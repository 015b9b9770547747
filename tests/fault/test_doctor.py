"""What the doctor finds while clocks are wrong, or disks full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NAMES
from tests.fault.conftest import DEADLINES
from tests.fault.test_full_disk import small_node
from tests.integration.bodies import MIB, body
from tests.integration.daemon import ROOT, Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.waiting import until

__all__ = ["small_node"]

TOKEN = "the-operator's-own-token"
ENVIRONMENT = {"AOSD_OPERATOR_TOKEN": TOKEN}

pytestmark = pytest.mark.timeout(300)

# What Python runs before anything else, where it is found: the whole daemon is ahead.
AHEAD = """
import time
_true = time.time
time.time = lambda: _true() + {ahead_s}
"""


def doctor(daemon: Daemon) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The cluster's checks, and those of each node by its name."""
    shown = {"Authorization": f"Bearer {TOKEN}"}
    answer = daemon.ask("POST", "/-/doctor", shown, timeout_s=60.0)
    assert answer.status == 200, answer.body
    nodes = {
        each["name"]: {check["what"]: check for check in each["checks"]}
        for each in answer.json["nodes"]
    }
    return {check["what"]: check for check in answer.json["cluster"]}, nodes


@pytest.mark.parametrize(("ahead_s", "ok"), [(3, True), (60, False)])
def test_clocks(tmp_path: Path, ahead_s: int, ok: bool) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text(AHEAD.format(ahead_s=ahead_s))
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{early}:{ROOT}"}
    with running_nodes(tmp_path, NAMES) as nodes:
        file = write_nodes_file(tmp_path / "nodes.toml", nodes)
        daemon = Daemon(tmp_path / "daemon", [f"--nodes=static:{file}", *DEADLINES], environment)
        try:
            daemon.wait_until_it_lives()
            until(lambda: len(daemon.states()) == len(NAMES), "its nodes are seen")
            cluster, found = doctor(daemon)
            for name in NAMES:
                clock = found[name]["clock"]
                assert clock["ok"] is ok
                assert clock["found"] == f"its clock is -{ahead_s} s from ours"
                assert "NTP" in clock["do"]
            if not ok:
                until(
                    lambda: "clocks" in doctor(daemon)[0]["ready"]["found"],
                    "writes are refused for it",
                )
            daemon.stop()
        finally:
            daemon.kill()


@pytest.fixture
def filling(small_node: RealNode, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with one node on a small disk, and two that have space."""
    with running_nodes(tmp_path, NAMES[1:]) as spacious:
        file = write_nodes_file(tmp_path / "nodes.toml", [small_node, *spacious])
        with running_daemon(
            tmp_path / "daemon", file, *DEADLINES, up=NAMES, environment=ENVIRONMENT
        ) as daemon:
            yield daemon


def test_a_disk_that_fills_up(filling: Daemon, small_node: RealNode) -> None:
    if small_node.kind != "minio":
        pytest.skip("others don't tell, and take small objects for long")
    _, found = doctor(filling)
    assert (found["n1"]["probe"]["ok"], found["n1"]["space"]["ok"]) == (True, True)
    for number in range(60):
        key = filling.key_on("n1", f"fill{number}x")
        assert filling.ask("PUT", f"/object/{key}", {}, body(4 * MIB), 30.0).status == 201
        if filling.states()["n1"] == "full":
            break
    # A small object may still fit where a large one doesn't.
    (small_node.folder / "filler").write_bytes(b"")
    with (small_node.folder / "filler").open("ab", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(64 * 1024))
        except OSError:
            pass
    until(lambda: doctor(filling)[1]["n1"]["space"]["ok"] is False, "it is found to be full", 60)
    _, found = doctor(filling)
    assert found["n1"]["space"]["do"]
    assert found["n2"]["space"]["ok"] is not False
