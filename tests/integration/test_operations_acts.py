"""The operations door of a running daemon: who may change something, and what it finds wrong."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from aosd.model.marker import MARKER_KEY, Marker
from aosd.model.objects import SYSTEM_BUCKET
from tests.conftest import NAMES, UP
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.waiting import until
from tests.integration.wire import Answer, Wire, head

TOKEN = "the-operator's-own-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def own_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Nodes that no other test stopped a daemon on while some were away.

    What that one had on the way may land for some minutes, and nothing is settled before.
    """
    with running_nodes(tmp_path_factory.mktemp("own"), NAMES) as running:
        yield running


@pytest.fixture(scope="module")
def operated(
    own_nodes: list[RealNode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon whose operator has set a token."""
    folder = tmp_path_factory.mktemp("operated")
    with running_daemon(
        folder / "daemon",
        write_nodes_file(folder / "nodes.toml", own_nodes),
        up=NAMES,
        environment={"AOSD_OPERATOR_TOKEN": TOKEN},
    ) as daemon:
        daemon.wait_until_settled()
        yield daemon


def post(daemon: Daemon, target: str, **headers: str) -> Answer:
    return daemon.ask("POST", target, {**BEARER, **headers}, timeout_s=60.0)


def test_who_may_change_something(operated: Daemon) -> None:
    before = operated.ask("GET", "/-/changes").json
    for shown in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {TOKEN}"}):
        for target in ("/-/nodes/n1/drain", "/-/leave", "/-/doctor", "/-/repair/pause"):
            answer = operated.ask("POST", target, shown)
            assert (answer.status, answer.code) == (401, "Unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert operated.ask("GET", "/-/changes").json == before
    assert TOKEN not in operated.log
    assert "nope" not in operated.log


def test_what_can_not_be_asked(operated: Daemon) -> None:
    for target, status, code in (
        ("/-/nodes/nobody/drain", 404, "NoSuchNode"),
        ("/-/nodes/nobody/drain?dry_run=1", 404, "NoSuchNode"),
        ("/-/nodes/n1/explode", 404, "NotFound"),
        ("/-/nodes/n1/weight?to=1000", 400, "InvalidArgument"),
        ("/-/nodes/n1/weight", 400, "InvalidArgument"),
        ("/-/nodes/n1/remove", 409, "ChangeRefused"),
        ("/-/nodes/n1/undo", 409, "ChangeRefused"),
        ("/-/nodes/n1/adopt", 409, "ChangeRefused"),
    ):
        answer = post(operated, target)
        assert (answer.status, answer.code) == (status, code), (target, answer.body)
    for verb, target, allowed in (
        ("GET", "/-/nodes/n1/drain", "POST"),
        ("DELETE", "/-/doctor", "POST"),
        ("POST", "/-/changes", "GET, HEAD"),
    ):
        answer = operated.ask(verb, target, BEARER)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert operated.ask("GET", "/-/changes").json["changing"] is False


def test_bodies_are_refused_and_the_connection_ends_well(operated: Daemon) -> None:
    for length, body in ((5, b"a=b&c"), (1 << 20, b"x" * 1000)):
        with Wire(operated.port) as wire:
            wire.send(head("POST", "/-/doctor", BEARER, length) + body)
            answer = wire.answer()
            assert (answer.status, answer.code) == (400, "InvalidRequest")
    with Wire(operated.port) as wire:
        wire.send(head("POST", "/-/doctor", {**BEARER, "Expect": "100-continue"}, 5))
        assert wire.answer().status == 400
    with Wire(operated.port) as wire:
        for _ in range(2):
            wire.send(head("POST", "/-/nodes/nobody/drain", BEARER))
            assert wire.answer().status == 404


def test_an_act_and_its_undoing(operated: Daemon) -> None:
    """Paused, so that it can't be over before it is undone."""
    assert post(operated, "/-/repair/pause").json["paused"] is True
    try:
        answer = post(operated, "/-/nodes/n1/weight?to=2")
        assert answer.status == 202
        told = answer.json
        assert (told["node"], told["queued"]) == ("n1", False)
        assert told["standing"]["coming"] == {"weight": 2.0, "zone": "n1"}
        changes = operated.ask("GET", "/-/changes").json
        assert (changes["changing"], changes["phase"], changes["paused"]) == (True, "copying", True)
        assert changes["progress"]["phase"] == "copying"
        queued = post(operated, "/-/nodes/n2/zone?to=rack1").json
        assert queued["queued"] is True
        (waiting,) = operated.ask("GET", "/-/changes").json["queue"]
        assert (waiting["node"], waiting["act"], waiting["zone"]) == ("n2", "rezone", "rack1")
        assert waiting["asked_at"].endswith("Z")
        nodes = {each["name"]: each for each in operated.nodes()["nodes"]}
        assert nodes["n1"]["coming"] == {"weight": 2.0, "zone": "n1"}
        assert nodes["n2"]["queued"]["act"] == "rezone"
        assert {each["membership"] for each in nodes.values()} == {"member"}
        assert all(abs(each["clock_ahead_s"]) < 2 for each in nodes.values())
        found = post(operated, "/-/doctor").json
        checks = {each["what"]: each for each in found["cluster"]}
        assert "n1" in checks["change"]["found"]
        assert "paused" in checks["repair"]["found"]
        assert post(operated, "/-/nodes/n2/undo").status == 202
        assert post(operated, "/-/nodes/n1/undo").status == 202
        until(lambda: not operated.ask("GET", "/-/changes").json["changing"], "nothing changes")
    finally:
        assert post(operated, "/-/repair/start").json["paused"] is False
    operated.wait_until_settled()


def test_a_dry_run_changes_nothing(operated: Daemon, key: str) -> None:
    operated.ask("PUT", f"/object/{key}", {}, b"x" * 1000)
    before = operated.ask("GET", "/-/changes").json
    for act in ("drain", "weight?to=2", "zone?to=r"):
        both = "&" if "?" in act else "?"
        answer = post(operated, f"/-/nodes/n1/{act}{both}dry_run=1")
        assert answer.status == 200, answer.body
        told = answer.json
        assert told["keys"] >= 1
        assert set(told["nodes"]) == set(NAMES)
        assert {"moved_keys", "moved_bytes", "seconds", "refusal"} <= told.keys()
    assert operated.ask("GET", "/-/changes").json == before


def test_the_cluster_has_a_token_of_its_own(
    daemon: Daemon, nodes: list[RealNode], tmp_path: Path
) -> None:
    """Who can read a node's memory has it."""
    record = nodes[0].client().get_object(bucket_name=SYSTEM_BUCKET, object_name="keys/cluster")
    token = json.loads(record.read())["value"]["token"]
    shown = {"Authorization": f"Bearer {token}"}
    assert daemon.ask("POST", "/-/nodes/nobody/drain", shown).code == "NoSuchNode"
    assert daemon.ask("POST", "/-/nodes/nobody/drain", BEARER).status == 401
    assert token not in daemon.log


def test_all_that_is_known_of_a_key(operated: Daemon, key: str) -> None:
    stored = operated.ask("PUT", f"/object/{key}", {}, b"xyz").json
    told = operated.ask("GET", f"/-/explain?key={key}").json
    order = [each["name"] for each in told["order"]]
    assert [told["copies"][name] and told["copies"][name]["is"] for name in order] == [
        "newest",
        "newest",
        None,
    ]
    assert told["version"]["etag"] == stored["etag"]
    assert f"nodes {order[0]} and {order[1]}" in told["verdict"]
    operated.ask("DELETE", f"/object/{key}")
    gone = operated.ask("GET", f"/-/explain?key={key}").json
    assert gone["version"] is None
    assert f"deleted at {gone['deleted_at']}" in gone["verdict"]
    assert operated.ask("GET", f"/-/explain?key={key}&bucket=aos-system").status == 400


# -- the doctor -----------------------------------------------------------------------------------


def doctor(daemon: Daemon) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The findings, and the nodes' checks by name and by what they are of."""
    answer = post(daemon, "/-/doctor")
    assert answer.status == 200, answer.body
    told = answer.json
    for each in told["nodes"]:
        for check in each["checks"]:
            assert set(check) == {"what", "ok", "found", "do"}
            assert check["ok"] is not False or check["do"]
    return told, {
        each["name"]: {check["what"]: check for check in each["checks"]} for each in told["nodes"]
    }


def test_a_cluster_that_is_well(operated: Daemon, own_nodes: list[RealNode]) -> None:
    told, by_name = doctor(operated)
    assert told["healthy"] is True, told
    assert list(by_name) == list(NAMES)
    for checks in by_name.values():
        assert {checks[what]["ok"] for what in ("reachable", "credentials", "clock")} == {True}
        assert (checks["marker"]["found"], checks["probe"]["ok"]) == ("ours", True)
    for node in own_nodes:
        # Nothing is left behind.
        assert not [each for each in node.stored_keys(SYSTEM_BUCKET) if each.startswith("probe/")]
        assert node.credentials.secret_key not in json.dumps(told)
    assert {each["what"] for each in told["cluster"]} >= {"ready", "gateways", "marks", "sweep"}


def test_what_is_wrong_with_nodes(tmp_path: Path) -> None:
    """One has other credentials, one is another cluster's, one is stopped."""
    with running_nodes(tmp_path, (*NAMES, "n4", "n5", "n6")) as nodes:
        node_of = {node.name: node for node in nodes}
        node_of["n4"].credentials = replace(node_of["n4"].credentials, secret_key="another-one")
        client, marker = node_of["n5"].client(), Marker("elsewhere", "n5", "i5").to_bytes()
        client.make_bucket(bucket_name=SYSTEM_BUCKET)
        client.put_object(
            bucket_name=SYSTEM_BUCKET,
            object_name=MARKER_KEY,
            data=BytesIO(marker),
            length=len(marker),
        )
        node_of["n6"].signal(signal.SIGKILL)
        node_of["n6"].process.wait(10)
        file = write_nodes_file(tmp_path / "nodes.toml", nodes[: len(NAMES)])
        flag = "--discovery-interval-s=0.5"
        environment = {"AOSD_OPERATOR_TOKEN": TOKEN}
        with running_daemon(
            tmp_path / "daemon", file, flag, up=NAMES, environment=environment
        ) as daemon:
            write_nodes_file(file, nodes)
            until(lambda: len(daemon.states()) == len(nodes), "all are seen")
            assert UP.items() <= daemon.states().items()
            told, by_name = doctor(daemon)
            assert told["healthy"] is False
            for name in NAMES:
                assert by_name[name]["probe"]["ok"] is True
            assert by_name["n4"]["credentials"]["ok"] is False
            assert "secret key" in by_name["n4"]["credentials"]["found"]
            assert by_name["n4"]["probe"]["ok"] is None
            assert by_name["n5"]["marker"]["ok"] is False
            assert "another cluster, elsewhere" in by_name["n5"]["marker"]["found"]
            assert by_name["n5"]["probe"]["ok"] is None
            assert by_name["n6"]["reachable"]["ok"] is False
            assert "Connection refused" in by_name["n6"]["reachable"]["found"]
            # A member that stops is one of the cluster's own troubles, too.
            node_of["n3"].kill()
            until(lambda: daemon.states()["n3"] == "down", "it is down")
            told, by_name = doctor(daemon)
            assert by_name["n3"]["reachable"]["ok"] is False
            checks = {each["what"]: each for each in told["cluster"]}
            assert checks["members"]["ok"] is False
            assert "n3 is down" in checks["members"]["found"]
