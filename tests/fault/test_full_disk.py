"""A node whose disk is full: writes are refused, reads and deletes go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.fault.bad_node import Does, Fault, refusal
from tests.fault.conftest import DEADLINES, Fragile
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.wire import ask_chunked

SMALL_DISK = {"minio": 96 * MIB, "seaweedfs": 192 * MIB}


@pytest.fixture
def small_node(tmp_path: Path) -> Iterator[RealNode]:
    """A node on a disk of its own, in memory; named as one of the others, whom it stands for."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "n1"
    folder.mkdir()
    node = RealNode("n1", tmp_path / "probe")
    size = SMALL_DISK[node.kind]
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        node = RealNode("n1", folder)
        try:
            node.start()
            node.wait_until_it_answers()
            yield node
        finally:
            node.end()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def filling(small_node: RealNode, nodes: list[RealNode], tmp_path: Path) -> Iterator[Daemon]:
    file = write_nodes_file(tmp_path / "nodes.toml", [small_node, *nodes[1:]])
    with running_daemon(tmp_path / "daemon", file, *DEADLINES, up=NAMES) as daemon:
        yield daemon


def test_a_disk_that_fills_up(filling: Daemon, small_node: RealNode) -> None:
    first = filling.key_on("n1", "first")
    data = body(4 * MIB)
    assert filling.ask("PUT", f"/object/{first}", {}, data).status == 201
    stored = []
    number = 0
    while True:
        number += 1
        assert number < 100, "the disk doesn't fill up"
        key = filling.key_on("n1", f"fill{number}x")
        answer = filling.ask("PUT", f"/object/{key}", {}, data, 30.0)
        if answer.status != 201:
            break
        stored.append(key)
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert stored
    if small_node.kind == "minio":
        # SeaweedFS says no more than that it is an internal error.
        assert "space" in answer.json["error"]
        assert filling.states() == {"n1": "full", "n2": "up", "n3": "up"}
    # What was refused isn't there, not even half of it.
    assert filling.ask("GET", f"/object/{key}").status == 404
    assert filling.ask("PUT", f"/object/{first}", {}, data, 30.0).status == 503
    chunked = ask_chunked(filling.port, f"/object/{first}", pieces(body(9 * MIB)))
    assert chunked.status == 503
    # Reads go on, the old object among them; so do the listing and the other nodes.
    assert filling.ask("GET", f"/object/{first}").body == data
    assert filling.ask("GET", f"/object/{stored[-1]}").body == data
    listed = filling.ask("GET", "/object?prefix=fill").json["objects"]
    assert [each["id"] for each in listed] == sorted(stored)
    other = filling.key_on("n2", "other")
    assert filling.ask("PUT", f"/object/{other}", {}, data).status == 201
    assert filling.ask("GET", "/-/ready").status == 200
    # Deletes make room, and writes go on.
    for key in stored:
        assert filling.ask("DELETE", f"/object/{key}").status == 204
    assert filling.ask("PUT", f"/object/{first}", {}, body(MIB)).status == 201


@pytest.mark.parametrize(
    "answer",
    [refusal(507, "XMinioStorageFull"), refusal(507, "InsufficientStorage")],
    ids=["MinIO", "other"],
)
@pytest.mark.parametrize("size", [KIB, 4 * MIB])
def test_a_node_that_says_so(fragile: Fragile, key: str, answer: bytes, size: int) -> None:
    daemon = fragile.daemon
    assert daemon.ask("PUT", f"/object/{key}", {}, b"old").status == 201
    fragile.misbehave(key, Fault(Does.ANSWERS_EARLY, answer=answer), "PUT")
    for _ in range(5):
        # Again and again: it speaks against the disk, and opens no breaker.
        refused = daemon.ask("PUT", f"/object/{key}", {}, body(size))
        assert (refused.status, refused.code) == (503, "ServiceUnavailable")
    assert daemon.states()[daemon.primary(key)] == "full"
    assert daemon.ask("GET", f"/object/{key}").body == b"old"
    fragile.proxy_of(key).behave()
    assert daemon.ask("PUT", f"/object/{key}", {}, b"new").status == 201
