"""Nodes that hold somebody's objects are taken in, while clients work; and all is left again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fault.copies import expect_load_in_place
from tests.fault.foreign import client_of, plain_client, problems_of, put_foreign
from tests.fault.load import Load
from tests.fault.operator import CHANGED_S, REPLICAS, Operated, running_operated
from tests.fault.still import let_a_second_pass
from tests.integration.bodies import KIB, body
from tests.integration.nodes import BUCKET, RealNode
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

NAMES = ("a1", "a2", "a3")
PHOTOS = "theirphotos"
TOLD_S = 60.0


def theirs(prefix: str, count: int, seed: int = 0) -> dict[str, bytes]:
    return {f"{prefix}{n:04d}": body(KIB + n, seed + n) for n in range(count)}


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with running_operated(tmp_path_factory.mktemp("adopting"), NAMES) as operated:
        yield operated


@pytest.fixture
def strangers(crew: Operated) -> Iterator[list[RealNode]]:
    """Two nodes that run, and aren't in the file."""
    names = [f"x{1 + len(crew.nodes) + number}" for number in range(2)]
    nodes = [RealNode(name, crew.folder / name) for name in names]
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_until_it_answers()
        yield nodes
    finally:
        for node in nodes:
            if node.name not in crew.nodes:
                node.end()


def s3_client(crew: Operated) -> Any:
    """A client of the gateway's S3 door."""
    pair = crew.aosctl_json("credentials", f"--nodes=static:{crew.file}")
    url = f"http://127.0.0.1:{crew.port()}"
    return plain_client(url, pair["access_key"], pair["secret_key"])


def take_in(crew: Operated, node: RealNode) -> None:
    """Put it in the file, and wait until the gateway says that somebody has to say `adopt`."""
    crew.write_file(node)
    until(lambda: "adopt" in why_not(crew, node.name), "it says what to do", TOLD_S)


def why_not(crew: Operated, name: str) -> str:
    told = crew.daemon.nodes()["nodes"]
    return next((str(each["reason"]) for each in told if each["name"] == name), "")


def copies_of(crew: Operated, bucket: str, keys: Mapping[str, bytes]) -> dict[str, int]:
    """How many members list each key of a bucket."""
    counts = dict.fromkeys(keys, 0)
    for node in crew.nodes.values():
        for key in node.stored_keys(bucket):
            if key in counts:
                counts[key] += 1
    return counts


def test_two_nodes_with_objects_are_adopted_under_load(
    crew: Operated, strangers: list[RealNode]
) -> None:
    first, second = strangers
    ours = theirs("shared", 3, 900)
    older, newer = theirs("twice", 20, 100), theirs("twice", 20, 200)
    alone, photos = theirs("alone", 150), theirs("p", 50, 300)
    with Load(crew.port, "adopts", keys=40, workers=3) as load:
        load.wait_for(50)
        for key, data in ours.items():
            assert crew.daemon.ask("PUT", f"/object/{key}", {}, data).status == 201
        put_foreign(first, BUCKET, {**alone, **older, **theirs("shared", 3, 700)})
        put_foreign(first, PHOTOS, photos)
        let_a_second_pass()
        put_foreign(second, BUCKET, newer)

        take_in(crew, first)
        foretold = crew.forecast(first.name, "adopt")
        against = {(each["bucket"], each["key"]): each["wins"] for each in foretold["conflicts"]}
        assert against == {(BUCKET, key): "cluster" for key in ours}
        assert foretold["conflicts_in_all"] == len(ours)
        assert first.name not in crew.the_ring().members

        crew.aosctl("node", "adopt", first.name, "--yes", "--no-wait")
        crew.nodes[first.name] = first
        s3 = s3_client(crew)
        until(lambda: crew.state(first.name) == "up", "it is in", TOLD_S)
        # At once, whether or not anything has been copied.
        assert problems_of(s3, BUCKET, {**alone, **older}) == []
        assert problems_of(s3, PHOTOS, photos) == []
        crew.wait_until_changed()

        take_in(crew, second)
        foretold = crew.forecast(second.name, "adopt")
        against = {(each["bucket"], each["key"]): each["wins"] for each in foretold["conflicts"]}
        assert against == {(BUCKET, key): second.name for key in newer}
        crew.act(second.name, "adopt")
        crew.nodes[second.name] = second
        until(lambda: crew.state(second.name) == "up", "it is in", TOLD_S)
        assert problems_of(s3, BUCKET, {**alone, **newer}) == []
        crew.wait_until_changed()
        load.wait_for(50)
    load.expect_no_failures()
    crew.wait_until_quiet()
    load.read_back()
    expect_load_in_place(crew, load)
    # The cluster's own win over what was there without it, whenever that was written.
    for key, data in ours.items():
        assert crew.daemon.ask("GET", f"/object/{key}").body == data
    for bucket, objects in ((BUCKET, {**alone, **newer}), (PHOTOS, photos)):
        assert problems_of(s3, bucket, objects) == []
        assert set(copies_of(crew, bucket, objects).values()) == {REPLICAS}
    told = {each["name"]: each for each in crew.daemon.nodes()["nodes"]}
    assert not any(told[each.name]["adopted"] for each in strangers)


def test_left_with_a_copy_of_everything_on_one_node(crew: Operated) -> None:
    """`leave --gather`, after the load: one node that has it all, as plain objects."""
    objects = theirs("gathered", 60, 500)
    name = NAMES[0]
    for key, data in objects.items():
        assert crew.daemon.ask("PUT", f"/object/{key}", {}, data).status == 201
    crew.wait_until_quiet()
    s3 = s3_client(crew)
    wanted = {
        bucket["Name"]: {
            each["Key"]: s3.get_object(Bucket=bucket["Name"], Key=each["Key"])["Body"].read()
            for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        }
        for bucket in s3.list_buckets()["Buckets"]
    }
    assert set(objects) <= set(wanted[BUCKET])
    crew.aosctl("leave", "--gather", name, "--yes")

    def has_left() -> bool:
        leaving = crew.changes()["leaving"]
        return leaving is not None and leaving["phase"] == "left"

    until(has_left, "it is left", CHANGED_S)
    for node in crew.nodes.values():
        assert "aos-system" not in {
            each["Name"] for each in client_of(node).list_buckets()["Buckets"]
        }
    node = client_of(crew.nodes[name])
    for bucket, keys in wanted.items():
        for key, data in keys.items():
            assert node.get_object(Bucket=bucket, Key=key)["Body"].read() == data, (bucket, key)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_cluster_is_founded_on_a_node_with_objects(tmp_path: Path) -> None:
    """`--adopt` from the start: one server that somebody had becomes three."""
    objects = theirs("grown", 200)
    lone = Operated(tmp_path, ("one",), [])
    try:
        node = lone.nodes["one"]
        node.start_again()
        put_foreign(node, BUCKET, objects)
        lone._flags = ["--replicas=2", "--adopt=one", *lone._flags]
        lone.start()
        for name in ("two", "three"):
            lone.add(name)
        until(lambda: lone.daemon.states() == dict.fromkeys(lone.nodes, "up"), "up", TOLD_S)
        lone.wait_until_quiet()
        assert problems_of(s3_client(lone), BUCKET, objects) == []
        assert set(copies_of(lone, BUCKET, objects).values()) == {REPLICAS}
        lone.daemon.stop()
    finally:
        lone.end()
