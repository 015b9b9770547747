"""A gateway and a node whose clocks disagree by more than signatures allow."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import NAMES
from tests.fault.bad_node import Does, Fault, refusal
from tests.fault.conftest import DEADLINES, UP, Fragile
from tests.integration.daemon import ROOT, Daemon
from tests.integration.nodes import RealNode
from tests.integration.waiting import until

# What Python runs before anything else, where it is found: the whole daemon is an hour ahead.
AHEAD = """
import time
_true = time.time
time.time = lambda: _true() + 3600
"""


def test_a_gateway_that_is_an_hour_ahead(
    nodes: list[RealNode], nodes_file: Path, tmp_path: Path
) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text(AHEAD)
    environment = {"PYTHONPATH": f"{early}:{ROOT}"}
    daemon = Daemon(tmp_path / "daemon", [f"--nodes=static:{nodes_file}", *DEADLINES], environment)
    try:
        daemon.wait_until_it_lives()
        if nodes[0].kind != "minio":
            # SeaweedFS doesn't look at the time of a signed header: nothing is wrong for it.
            daemon.wait_for_states(UP)
            daemon.stop()
            return
        until(
            lambda: set(daemon.states().values()) <= {"suspect", "down"} and daemon.states(),
            "no node is trusted",
        )
        until(
            lambda: all(
                "RequestTimeTooSkewed" in each["reason"] for each in daemon.nodes()["nodes"]
            ),
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
    daemon = fragile.daemon
    assert daemon.ask("PUT", f"/object/{key}", {}, b"old").status == 201
    primary = daemon.primary(key)
    skewed = refusal(403, "RequestTimeTooSkewed")
    fragile.proxies[primary].misbehave(Fault(Does.ANSWERS, answer=skewed))
    for verb, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
        answer = daemon.ask(verb, f"/object/{key}", {}, body)
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    until(lambda: daemon.states()[primary] == "suspect", "it isn't asked any more")
    until(lambda: "RequestTimeTooSkewed" in reason(daemon, primary), "the reason is told")
    other = daemon.key_on(next(name for name in NAMES if name != primary), "unskewed")
    assert daemon.ask("PUT", f"/object/{other}", {}, b"x").status == 201
    fragile.behave()
    assert daemon.ask("GET", f"/object/{key}").body == b"old"
