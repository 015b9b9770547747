"""Who isn't let in, and why: other clusters' nodes, clones, objects of others, a second gateway."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.fault.copies import SYSTEM_BUCKET, expect_in_place
from tests.fault.durable import Durable, running_durable
from tests.integration.nodes import BUCKET, RealNode
from tests.integration.waiting import until

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("m1", "m2", "m3")
TOLD_S = 40.0


@pytest.fixture(scope="module")
def shared_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Durable]:
    with running_durable(tmp_path_factory.mktemp("members"), NAMES) as durable:
        yield durable


@pytest.fixture
def trio(shared_trio: Durable) -> Iterator[Durable]:
    shared_trio.mend()
    yield shared_trio
    # What a test added is gone from the file again.
    shared_trio.write_file()


def expect_refused(trio: Durable, stranger: RealNode, *words: str) -> None:
    """/-/nodes says why, the ring is what it was, and the node isn't written to."""
    ring = trio.daemon.nodes()["ring"]

    def reason() -> str:
        told = trio.daemon.nodes()
        where = [each["reason"] for each in told["nodes"] if each["name"] == stranger.name]
        where += [each["problem"] for each in told["unusable"] if stranger.name in each["where"]]
        return "; ".join(where)

    until(lambda: all(word in reason() for word in words), f"the reason has {words}", TOLD_S)
    before = stranger.stored_keys()
    for number in range(20):
        assert trio.daemon.ask("PUT", f"/object/refused{number}", {}, b"x").status == 201
    told = trio.daemon.nodes()
    assert (told["ring"], told["changing"]) == (ring, False)
    assert all(word in reason() for word in words)
    assert stranger.name not in {each["name"] for each in trio.ring("refused0")["order"]}
    assert stranger.stored_keys() == before
    assert trio.daemon.ask("GET", "/-/ready").status == 200


@pytest.fixture
def stranger(trio: Durable) -> Iterator[RealNode]:
    node = RealNode("m4", trio.folder / f"stranger{len(list(trio.folder.iterdir()))}")
    try:
        yield node
    finally:
        # One that was taken in ends with the others.
        if node not in trio.nodes.values():
            node.end()


def test_a_node_of_another_cluster(trio: Durable, stranger: RealNode) -> None:
    with running_durable(trio.folder / "other", ("m4", "x2")) as other:
        assert other.daemon.ask("PUT", "/object/theirs", {}, b"x").status == 201
        cluster = other.daemon.nodes()["cluster"]
        assert cluster != trio.daemon.nodes()["cluster"]
        trio.write_file(other.nodes["m4"])
        expect_refused(trio, other.nodes["m4"], "another cluster", cluster)


def test_a_cloned_volume(trio: Durable, stranger: RealNode) -> None:
    """Another name with the disk of a member, marker and all."""
    assert trio.daemon.ask("PUT", "/object/cloned", {}, b"x").status == 201
    trio.wait_until_quiet()
    original = trio.nodes["m1"]
    original.kill()
    for data in ("data", "master"):
        if (original._folder / data).exists():
            shutil.copytree(
                original._folder / data, stranger._folder / data, dirs_exist_ok=True, symlinks=True
            )
    original.start_again()
    # The clone has the member's credentials, too.
    clone = RealNode("m1", stranger._folder)
    clone.name = "m4"
    try:
        clone.start_again()
        trio.write_file(clone)
        expect_refused(trio, clone, "m1")
    finally:
        clone.end()


def test_a_node_with_objects_of_somebody_else(trio: Durable, stranger: RealNode) -> None:
    stranger.start_again()
    stranger.put("somebodys", b"their own")
    trio.write_file(stranger)
    expect_refused(trio, stranger, "objects that this cluster didn't write")
    # Without them it is as good as any.
    stranger.client().remove_object(bucket_name=BUCKET, object_name="somebodys")
    until(lambda: trio.state("m4") == "up", "it is taken in", 150.0)
    trio.nodes["m4"] = stranger
    trio.wait_until_quiet()
    expect_in_place(trio, {}, "nothingofthat")
    # It stays a member; the nodes of the tests that follow are these four.


def test_two_gateways_at_once(trio: Durable) -> None:
    """One that sees another's heartbeat refuses writes, says so, and goes on reading."""
    assert trio.daemon.ask("PUT", "/object/twice", {}, b"one").status == 201
    first = trio.daemon
    second = trio.start_gateway()
    try:
        both = (first, second)
        wary = until(
            lambda: [
                each for each in both if "gateway" in each.ask("GET", "/-/ready").json["reason"]
            ],
            "one of them says that it isn't alone",
            TOLD_S,
        )
        for each in wary:
            ready = each.ask("GET", "/-/ready")
            assert (ready.status, ready.json["ready"]) == (503, False)
            for verb, data in (("PUT", b"two"), ("DELETE", None)):
                answer = each.ask(verb, "/object/twice", {}, data)
                assert (answer.status, answer.code) == (503, "ServiceUnavailable")
                assert "gateway" in answer.json["error"]
            assert each.ask("GET", "/object/twice").body == b"one"
    finally:
        trio.daemons.remove(second)
        second.stop()
    until(lambda: first.ask("GET", "/-/ready").status == 200, "it is alone again", TOLD_S)
    assert first.ask("PUT", "/object/twice", {}, b"three").status == 201
    assert first.ask("GET", "/object/twice").body == b"three"


def test_what_the_nodes_remember(trio: Durable) -> None:
    """Each has a marker of its own, of one cluster."""
    markers = set()
    for node in trio.nodes.values():
        told = node.client().get_object(bucket_name=SYSTEM_BUCKET, object_name="node.json")
        markers.add(told.read())
        told.release_conn()
    assert len(markers) == len(trio.nodes)
    assert all(trio.daemon.nodes()["cluster"].encode() in each for each in markers)
