"""A gateway and a node whose clocks disagree by more than signatures allow."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import NAMES
from tests.fault.bad_node import Does, Fault, refusal
from tests.fault.conftest import DEADLINES, Fragile
from tests.integration.daemon import ROOT, Daemon
from tests.integration.nodes import running_nodes, write_nodes_file
from tests.integration.waiting import until

# What Python runs before anything else, where it is found: the whole daemon is an hour ahead.
AHEAD = """
import time
_true = time.time
time.time = lambda: _true() + 3600
"""


def test_a_gateway_that_is_an_hour_ahead(tmp_path: Path) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text(AHEAD)
    environment = {"PYTHONPATH": f"{early}:{ROOT}"}
    with running_nodes(tmp_path, NAMES) as nodes:
        file = write_nodes_file(tmp_path / "nodes.toml", nodes)
        daemon = Daemon(tmp_path / "daemon", [f"--nodes=static:{file}", *DEADLINES], environment)
        try:
            daemon.wait_until_it_lives()
            # The node's word for it, or ours where it takes what is signed an hour ahead.
            words = ("RequestTimeTooSkewed", "clock")
            until(
                lambda: [
                    each
                    for each in daemon.nodes()["nodes"]
                    if any(word in each["reason"] for word in words)
                ],
                "the reason is told",
            )
            answer = daemon.ask("PUT", "/object/skewed", {}, b"x")
            assert (answer.status, answer.code) == (503, "ServiceUnavailable")
            assert daemon.ask("GET", "/-/ready").status == 503
            daemon.stop()
        finally:
            daemon.kill()


def reason(daemon: Daemon, name: str) -> str:
    return str(next(each["reason"] for each in daemon.nodes()["nodes"] if each["name"] == name))


def test_a_node_whose_clock_goes_wrong_and_is_set_right(fragile: Fragile, key: str) -> None:
    """It refuses everything: as good as away, until it doesn't."""
    daemon = fragile.daemon
    assert daemon.ask("PUT", f"/object/{key}", {}, b"old").status == 201
    primary = daemon.primary(key)
    skewed = refusal(403, "RequestTimeTooSkewed")
    fragile.proxies[primary].misbehave(Fault(Does.ANSWERS, answer=skewed))
    answer = daemon.ask("GET", f"/object/{key}")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    until(lambda: daemon.states()[primary] != "up", "it isn't asked any more")
    until(lambda: "RequestTimeTooSkewed" in reason(daemon, primary), "the reason is told")
    assert daemon.ask("GET", f"/object/{key}").status == 503
    other = daemon.key_on(next(name for name in NAMES if name != primary), "unskewed")
    assert daemon.ask("PUT", f"/object/{other}", {}, b"x").status == 201
    # Another node stands in for it.
    assert daemon.ask("PUT", f"/object/{key}", {}, b"new").status == 201
    assert daemon.ask("GET", f"/object/{key}").body == b"new"
    fragile.behave()
    assert daemon.ask("GET", f"/object/{key}").body == b"new"
    until(lambda: key in fragile.nodes[primary].stored_keys(), "it has its copy")
