"""A node whose disk is full: others take its writes; it reads and deletes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NAMES, UP
from tests.fault.bad_node import Does, Fault, refusal
from tests.fault.conftest import DEADLINES, meant, running_fragile
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.wire import ask_chunked

BACK_S = 240.0  # that it is full is remembered for half a minute; some servers take their time
pytestmark = pytest.mark.timeout(600)

SMALL_DISK = {"minio": 96 * MIB, "seaweedfs": 192 * MIB}


def _mount(folder: Path, size: int, *options: str) -> bool:
    """Mount memory as a disk of so many bytes, or give it that many; whether that worked."""
    how = ",".join((*options, f"size={size}"))
    mounting = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
    return subprocess.run(mounting, check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_node(tmp_path: Path) -> Iterator[RealNode]:
    """A node on a disk of its own, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "n1"
    folder.mkdir()
    node = RealNode("n1", tmp_path / "probe")
    if not _mount(folder, SMALL_DISK[node.kind]):
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
def filling(small_node: RealNode, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with that node and two that have space."""
    with running_nodes(tmp_path, NAMES[1:]) as spacious:
        file = write_nodes_file(tmp_path / "nodes.toml", [small_node, *spacious])
        with running_daemon(tmp_path / "daemon", file, *DEADLINES, up=NAMES) as daemon:
            yield daemon


def test_a_disk_that_fills_up(filling: Daemon, small_node: RealNode) -> None:
    """Writes go to who has space, reads and deletes go on; then the copies move."""
    data = body(4 * MIB)
    stored = []
    for number in range(100):
        key = filling.key_on("n1", f"fill{number}x")
        assert filling.ask("PUT", f"/object/{key}", {}, data, 30.0).status == 201
        stored.append(key)
        # SeaweedFS says no more than that it is an internal error; MinIO does, too, of the body
        # in which its disk fills up, and tells the reason of the next.
        if key not in small_node.stored_keys() and (
            small_node.kind != "minio" or filling.states()["n1"] == "full"
        ):
            break
    else:
        raise AssertionError("the disk doesn't fill up")
    first = stored[0]
    assert first in small_node.stored_keys()
    # An object that lies on the full node is replaced: what is read is the new one.
    new = body(MIB, 1)
    assert filling.ask("PUT", f"/object/{first}", {}, new, 30.0).status == 201
    for _ in range(4):
        assert filling.ask("GET", f"/object/{first}").body == new
    chunked = ask_chunked(filling.port, f"/object/{stored[1]}", pieces(body(9 * MIB)))
    assert chunked.status == 201
    assert filling.ask("GET", f"/object/{stored[1]}").body == body(9 * MIB)
    for key in stored[2:]:
        assert filling.ask("GET", f"/object/{key}").body == data
    listed = filling.ask("GET", "/object?prefix=fill").json["objects"]
    assert [each["id"] for each in listed] == sorted(stored)
    assert filling.ask("GET", "/-/ready").status == 200
    # There is room again, and what belongs there comes there.
    for key in stored[2:]:
        assert filling.ask("DELETE", f"/object/{key}").status == 204
    # Servers give back what was deleted when they like: SeaweedFS when it compacts, for which
    # it needs space, MinIO sometimes late. So the disk grows, too.
    assert _mount(small_node.folder, 2 * SMALL_DISK[small_node.kind], "remount")
    filling.wait_for_states(UP, BACK_S)
    filling.wait_until_settled(BACK_S)
    for key in stored[:2]:
        assert set(filling.order(key)[:2]) == {
            name
            for name, copy in filling.ask("GET", f"/-/ring?key={key}").json["copies"].items()
            if copy is not None
        }
    assert small_node.stored_keys() == set(stored[:2])


@pytest.mark.parametrize(
    "answer",
    [refusal(507, "XMinioStorageFull"), refusal(507, "InsufficientStorage")],
    ids=["MinIO", "other"],
)
@pytest.mark.parametrize("size", [KIB, 4 * MIB])
def test_a_node_that_says_so(tmp_path: Path, key: str, answer: bytes, size: int) -> None:
    """It speaks against the disk, and opens no breaker."""
    with running_fragile(tmp_path) as fragile:
        daemon, proxy = fragile.daemon, fragile.proxy_of(key)
        assert daemon.ask("PUT", f"/object/{key}", {}, b"old").status == 201
        proxy.misbehave(Fault(Does.ANSWERS_EARLY, meant("PUT", key), answer))
        for _ in range(5):
            assert daemon.ask("PUT", f"/object/{key}", {}, body(size)).status == 201
        asked = [line for line in proxy.requests if line.startswith(f"PUT /object/{key} ")]
        assert len(asked) == 2, "it isn't asked again for a while"
        assert daemon.states()[daemon.primary(key)] == "full"
        # Its copy is the old one.
        for _ in range(4):
            assert daemon.ask("GET", f"/object/{key}").body == body(size)
        other = daemon.key_on(daemon.primary(key), "other")
        assert daemon.ask("PUT", f"/object/{other}", {}, b"x").status == 201
        assert daemon.ask("DELETE", f"/object/{key}").status == 204
        assert daemon.ask("GET", f"/object/{key}").status == 404
        assert key not in fragile.node_of(key).stored_keys()
