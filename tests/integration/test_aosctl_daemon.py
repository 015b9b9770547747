"""aosctl beside a daemon that runs: an operator's day, on real nodes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aosd.model.objects import SYSTEM_BUCKET
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.processes import clean_environment, heed_interrupts
from tests.integration.test_aosctl import PROGRAM, aosctl
from tests.integration.waiting import until

NAMES = ("n1", "n2", "n3", "n4")
KEYS = [f"key{number}" for number in range(60)]


class Operator:
    """Sits on the daemon's host, with its environment, and calls aosctl."""

    def __init__(self, folder: Path, nodes: list[RealNode]) -> None:
        self.nodes = {each.name: each for each in nodes}
        self.file = folder / "nodes.toml"
        write_nodes_file(self.file, nodes)
        self.daemon = Daemon(folder / "daemon", [f"--nodes=static:{self.file}"])
        self.folder = folder
        self.environment = {
            "AOSD_HTTP": f"tcp:{self.daemon.port}:interface=127.0.0.1",
            "AOSD_NODES": f"static:{self.file}",
        }

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = aosctl(self.folder, *words, environment=self.environment)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def told(self, *words: str, code: int = 0) -> Any:
        """The one JSON document."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def refused(self, *words: str, code: int) -> str:
        """The one line that says why not."""
        done = self.run(*words, code=code)
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        return line

    def node(self, name: str) -> dict[str, Any]:
        return next(each for each in self.told("nodes")["nodes"] if each["name"] == name)

    def objects_of(self, name: str) -> set[str]:
        return self.nodes[name].stored_keys("object")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """One that may be interrupted."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=self.folder,
            env={**clean_environment(), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,  # noqa: PLW1509 - no thread holds what that needs
        )


@contextmanager
def _ending(child: subprocess.Popen[Any]) -> Iterator[None]:
    """It is over afterwards, also when a test isn't content."""
    with child:
        try:
            yield
        finally:
            child.kill()


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With four nodes and some objects, all of them where they belong."""
    folder = tmp_path_factory.mktemp("operator")
    with running_nodes(folder / "nodes", NAMES) as nodes:
        found = Operator(folder, nodes)
        try:
            found.daemon.wait_until_up(*NAMES)
            for key in KEYS:
                answer = found.daemon.ask("PUT", f"/object/{key}", body=key.encode())
                assert answer.status == 201
            found.daemon.wait_until_settled()
            yield found
            found.daemon.stop()
        finally:
            found.daemon.kill()


def test_what_is_shown(operator: Operator) -> None:
    assert [each["membership"] for each in operator.told("nodes")["nodes"]] == ["member"] * 4
    lines = operator.run("nodes").stdout.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "IS", "A", "WEIGHT", "URL"]
    assert lines[1].split() == ["n1", "up", "member", "1", operator.nodes["n1"].url]
    assert operator.run("changes").stdout == "nothing is changing\n"
    assert "every copy is where it belongs" in operator.run("repair", "status").stdout
    order = operator.daemon.order(KEYS[0])
    told = operator.told("explain", f"object/{KEYS[0]}")
    assert sorted(told["version"]["holders"]) == sorted(order[:2])
    page = operator.run("explain", f"object/{KEYS[0]}").stdout
    assert "Nothing is to be done." in page
    assert operator.told("explain", "object/none")["version"] is None


def test_the_doctor(operator: Operator) -> None:
    told = operator.told("doctor")
    assert told["healthy"] is True
    assert [each["name"] for each in told["nodes"]] == list(NAMES)
    operator.nodes["n4"].kill()
    try:
        written = operator.run("doctor", code=4).stdout
        assert "n4: start the server" in written
        assert written.endswith("not healthy\n")
    finally:
        operator.nodes["n4"].start_again()
        operator.daemon.wait_until_up(*NAMES)
        operator.daemon.wait_until_settled()


def test_said_instead_of_found(operator: Operator) -> None:
    url = f"http://127.0.0.1:{operator.daemon.port}/"
    elsewhere = {"AOSD_URL": url}
    assert aosctl(operator.folder, "nodes", environment=elsewhere).returncode == 0
    wrong = operator.refused("--token", "wrong-wrong-wrong", "repair", "pause", code=1)
    assert "doesn't take this token" in wrong
    assert "no daemon answers at http://127.0.0.1:1 " in operator.refused(
        "nodes", "--url", "127.0.0.1:1", code=3
    )
    node = operator.nodes["n1"].url
    assert "is no operations door" in operator.refused("nodes", f"--url={node}", code=3)
    assert "aosctl nodes lists them" in operator.refused("node", "drain", "n9", code=1)
    # One that is started again would have to know the variable, too.
    assert "AOSD_URL" not in operator.daemon.log


def test_a_node_is_drained_comes_back_and_is_weighed(operator: Operator) -> None:
    held = len(operator.objects_of("n2"))
    forecast = operator.told("node", "drain", "n2", "--dry-run")
    assert forecast["keys"] == len(KEYS)
    assert forecast["nodes"]["n2"]["copies_out"] == held
    assert operator.node("n2")["membership"] == "member"
    shown = operator.run("node", "drain", "n2", "--dry-run").stdout
    assert f"{len(KEYS)} keys in all" in shown

    done = operator.run("node", "drain", "n2")
    assert done.stdout == "n2: drained: it holds nothing\n"
    assert operator.objects_of("n2") == set()
    assert operator.node("n2")["membership"] == "drained"

    document = operator.told("node", "undrain", "n2")
    assert document["node"] == "n2"
    assert operator.node("n2")["membership"] == "member"
    assert len(operator.objects_of("n2")) == held

    operator.run("node", "weight", "n2", "2", "--no-wait")
    operator.run("changes", "--wait")
    assert operator.node("n2")["weight"] == 2
    operator.run("node", "weight", "n2", "1")
    # What is too many goes with the next sweep, when the ring is what it is.
    until(lambda: len(operator.objects_of("n2")) == held, "n2 has its share", 60)


def test_an_interrupted_wait_changes_nothing(operator: Operator) -> None:
    assert "paused" in operator.run("repair", "pause").stdout
    waiting = operator.start("node", "zone", "n3", "rack1")
    with _ending(waiting):
        assert waiting.stderr is not None
        # What waits may be told of first, while the machine is busy.
        assert any("paused" in line for line in iter(waiting.stderr.readline, ""))
        waiting.send_signal(signal.SIGINT)
        written, said = waiting.communicate(timeout=20)
    assert (waiting.returncode, written) == (130, "")
    assert "aosctl node undo n3 takes it back" in said.splitlines()[-1]
    assert operator.node("n3")["coming"]["zone"] == "rack1"
    operator.run("node", "undo", "n3")
    assert operator.node("n3")["coming"] is None
    operator.run("repair", "start")
    assert operator.node("n3")["zone"] == "n3"


def test_a_bar_on_a_terminal(operator: Operator) -> None:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "node", "weight", "n3", "3"],
        cwd=operator.folder,
        env={**clean_environment(), **operator.environment, "TERM": "xterm", "COLUMNS": "80"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    with _ending(running):
        written = b""
        try:
            while some := os.read(ours, 65536):
                written += some
        except OSError:
            pass  # so Linux says that the other side is closed
        os.close(ours)
        assert running.wait(timeout=60) == 0
    assert "━".encode() in written
    assert b"n3: weighs 3" in written
    operator.run("node", "weight", "n3", "1")


@pytest.mark.timeout(300)
def test_a_node_with_objects_is_adopted(operator: Operator, tmp_path: Path) -> None:
    with running_nodes(tmp_path, ["n5"]) as [fifth]:
        fifth.put("brought", b"from before")
        fifth.put(KEYS[0], b"other bytes")
        operator.nodes["n5"] = fifth
        write_nodes_file(operator.file, list(operator.nodes.values()))
        until(lambda: "n5: " in operator.run("nodes").stdout, "n5 is seen", 30)
        assert operator.node("n5")["membership"] is None

        [conflict] = operator.told("node", "adopt", "n5", "--dry-run")["conflicts"]
        assert (conflict["key"], conflict["wins"]) == (KEYS[0], "cluster")
        shown = operator.run("node", "adopt", "n5", "--dry-run").stdout
        assert "1 key is there twice with different bytes" in shown
        assert f"object/{KEYS[0]}  cluster  n5" in shown
        assert "--yes does it" in operator.refused("node", "adopt", "n5", code=2)

        taken_back_while_it_waits(operator, "n5")
        operator.run("node", "adopt", "n5", "--yes")
        assert operator.node("n5")["membership"] == "member"
        for key, data in (("brought", b"from before"), (KEYS[0], KEYS[0].encode())):
            assert operator.daemon.ask("GET", f"/object/{key}").body == data
        assert len(operator.told("explain", "object/brought")["version"]["holders"]) == 2

        # It goes as it came, and leaves the others what it brought.
        operator.run("node", "drain", "n5")
        operator.run("node", "remove", "n5", "--yes")
        del operator.nodes["n5"]
        write_nodes_file(operator.file, list(operator.nodes.values()))
    assert operator.daemon.ask("DELETE", "/object/brought").status == 204


def taken_back_while_it_waits(operator: Operator, name: str) -> None:
    """An adoption, behind a drain that stands still; who waits for it is told."""
    operator.run("repair", "pause")
    operator.run("node", "drain", "n4", "--no-wait")
    waiting = operator.start("node", "adopt", name, "--yes")
    until(lambda: "waits for the change" in operator.node(name)["reason"], "it waits", 30)
    assert operator.node(name)["consented"] is True
    done = operator.run("node", "undo", name).stdout
    assert done == f"{name}: taken back: it isn't taken in\n"
    written, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, written) == (1, "")
    assert f"the adoption of {name} was taken back" in said.splitlines()[-1]
    operator.run("node", "undo", "n4")
    operator.run("repair", "start")
    assert operator.node(name)["membership"] is None


def test_a_removed_node(operator: Operator) -> None:
    assert "drain it first" in operator.refused("node", "remove", "n4", "--yes", code=1)
    assert "--yes does it" in operator.refused("node", "remove", "n4", code=2)
    operator.run("node", "drain", "n4")
    operator.run("node", "remove", "n4", "--yes")
    assert SYSTEM_BUCKET not in {each.name for each in operator.nodes["n4"].client().list_buckets()}
    for key in KEYS:
        assert operator.daemon.ask("GET", f"/object/{key}").body == key.encode()


def test_the_cluster_is_left(operator: Operator) -> None:
    """The last one, of course."""
    plan = operator.told("leave", "--gather", "n1", "--dry-run")
    assert plan["refusal"] == ""
    assert plan["forecast"]["nodes"]["n1"]["copies_in"] == plan["gather"]["lacking_keys"]
    done = operator.run("leave", "--gather", "n1", "--yes")
    assert done.stdout == "left: the nodes hold plain objects, and nothing of aosd\n"
    assert operator.objects_of("n1") == set(KEYS)
    for name in ("n1", "n2", "n3"):
        buckets = {each.name for each in operator.nodes[name].client().list_buckets()}
        assert SYSTEM_BUCKET not in buckets
    until(lambda: operator.run("changes").stdout == "leaving, left\n", "it says so", 10)


def test_without_a_daemon_the_doctor_looks_itself(tmp_path: Path) -> None:
    with running_nodes(tmp_path / "nodes", ("n1", "n2")) as nodes:
        file = tmp_path / "nodes.toml"
        write_nodes_file(file, nodes)
        nodes[1].kill()
        words = ("doctor", "--json", f"--nodes=static:{file}", "--http=tcp:1")
        done = aosctl(tmp_path, *words)
        assert done.returncode == 4
        told = json.loads(done.stdout)
        found = {each["name"]: each["checks"][0]["ok"] for each in told["nodes"]}
        assert found == {"n1": True, "n2": False}
        assert told["cluster"][0]["what"] == "daemon"
