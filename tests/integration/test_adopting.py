"""Nodes that hold objects already, put there by plain S3 clients, and join all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from tests.integration import s3
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import KINDS, RealNode, write_nodes_file
from tests.integration.waiting import until

MIB = 1024 * 1024
PHOTOS, LOGS = "photos", "some.logs"
ODD = ["ä ö/ü", "a+b&c=d%20e", "deep/er/and/deeper", "dots.../x", "~tilde", "q?x#y", "日本/語"]
TOKEN = "token-of-these-tests"
ADMIN = {"AOSD_OPERATOR_TOKEN": TOKEN}

pytestmark = pytest.mark.timeout(300)


class Original(NamedTuple):
    """An object as it was put on a node."""

    bucket: str
    key: str
    data: bytes
    etag: str
    modified: Any
    type: str
    metadata: dict[str, str]


def pair_of(node: RealNode) -> s3.Pair:
    return s3.Pair(node.credentials.access_key, node.credentials.secret_key)


@cache
def of_node(node: RealNode) -> Any:
    """A client of the node itself: one for all, as making one takes long."""
    return s3.client(node.port, pair_of(node))


def fill(node: RealNode, mark: str) -> list[Original]:
    """What somebody kept on a server before there was an aosd."""
    there = of_node(node)
    for bucket in (PHOTOS, LOGS, "object"):
        if bucket not in [each["Name"] for each in there.list_buckets()["Buckets"]]:
            there.create_bucket(Bucket=bucket)
    for number in range(30):
        there.put_object(Bucket=PHOTOS, Key=f"{mark}/{number:03}", Body=f"{mark} {number}".encode())
    for key in ODD:
        there.put_object(
            Bucket=LOGS,
            Key=f"{mark}-{key}",
            Body=key.encode(),
            ContentType="text/odd",
            Metadata={"who": "somebody", "mark": mark},
        )
    there.put_object(Bucket="object", Key=f"{mark}plain", Body=b"")
    there.put_object(Bucket=PHOTOS, Key=f"{mark}/large", Body=mark.encode() * MIB)
    upload = there.create_multipart_upload(
        Bucket=PHOTOS, Key=f"{mark}/parts", ContentType="video/x", Metadata={"parts": "3"}
    )["UploadId"]
    parts = []
    for number, size in enumerate((5 * MIB + 3, 6 * MIB, 11), 1):
        how = {"Bucket": PHOTOS, "Key": f"{mark}/parts", "UploadId": upload, "PartNumber": number}
        etag = there.upload_part(**how, Body=mark[:1].encode() * size)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    there.complete_multipart_upload(
        Bucket=PHOTOS, Key=f"{mark}/parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return [
        original(there, bucket, key)
        for bucket in (PHOTOS, LOGS, "object")
        for key in s3.all_keys(there, bucket)
    ]


def original(client: Any, bucket: str, key: str) -> Original:
    found = client.get_object(Bucket=bucket, Key=key)
    return Original(
        bucket,
        key,
        s3.body_of(found),
        found["ETag"],
        found["LastModified"],
        found["ContentType"],
        found["Metadata"],
    )


def assert_readable(daemon: Daemon, originals: list[Original]) -> None:
    """GET, HEAD and listings tell of them as they were."""
    door = s3.client(daemon)
    for each in originals:
        assert original(door, each.bucket, each.key) == each
        head = door.head_object(Bucket=each.bucket, Key=each.key)
        assert (head["ETag"], head["ContentLength"]) == (each.etag, len(each.data))
        assert head["LastModified"] == each.modified
    for bucket in {each.bucket for each in originals}:
        listed = s3.all_keys(door, bucket)
        assert {each.key for each in originals if each.bucket == bucket} <= set(listed)


def copies(nodes: list[RealNode], bucket: str, key: str) -> list[str]:
    """The names of the nodes that have it."""
    found = []
    for node in nodes:
        there = of_node(node)
        buckets = [each["Name"] for each in there.list_buckets()["Buckets"]]
        if bucket in buckets and key in s3.all_keys(there, bucket):
            found.append(node.name)
    return found


def assert_copied(nodes: list[RealNode], originals: list[Original]) -> None:
    """Two of each, the same in all that clients see, and no third one."""
    keys: dict[str, dict[str, list[RealNode]]] = {}
    for node in nodes:
        there = of_node(node)
        for bucket in (each["Name"] for each in there.list_buckets()["Buckets"]):
            for key in s3.all_keys(there, bucket):
                keys.setdefault(bucket, {}).setdefault(key, []).append(node)
    for each in originals:
        holders = keys[each.bucket][each.key]
        assert len(holders) == 2, each.key
        for node in holders:
            found = original(of_node(node), each.bucket, each.key)
            stamp = found.metadata.pop("aos-stamp", None)
            assert found._replace(modified=each.modified) == each
            if stamp is None:
                assert found.modified == each.modified
            else:
                seconds = f"{int(each.modified.timestamp()):011x}"
                assert stamp == f"-{seconds}-{each.etag.strip(chr(34))}"


def calm(daemon: Daemon) -> bool:
    """Whether no change is under way, and all lies where it belongs."""
    told = daemon.repair()
    return bool(told["settled"]) and not told.get("changing", False)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RealNode]]:
    """Starts nodes, by name and kind."""
    with ExitStack() as stack:

        def node(name: str, kind: str | None = None) -> RealNode:
            made = RealNode(name, tmp_path / name, kind=kind)
            stack.callback(made.end)
            made.start_again()
            return made

        yield node


def test_a_cluster_is_founded_on_a_node_with_objects(
    tmp_path: Path, start: Callable[..., RealNode], kind: str
) -> None:
    nodes = [start("n1", kind), start("n2"), start("n3")]
    originals = fill(nodes[0], "one") + fill(nodes[1], "two")
    file = write_nodes_file(tmp_path / "nodes.toml", nodes)
    environment = s3.ENVIRONMENT | ADMIN | {"AOSD_ADOPT": "n1 n2"}
    with running_daemon(tmp_path / "daemon", file, up=(), environment=environment) as daemon:
        daemon.wait_until_ready()
        assert_readable(daemon, originals)
        until(lambda: calm(daemon), "all has its copies", 120)
        assert_readable(daemon, originals)
        assert_copied(nodes, originals)
        # Any of them may go now.
        nodes[0].kill()
        until(lambda: daemon.states()["n1"] == "down", "it is down", 30)
        assert_readable(daemon, originals)


def test_without_consent_it_is_left_alone(tmp_path: Path, start: Callable[..., RealNode]) -> None:
    nodes = [start("n1"), start("n2"), start("n3")]
    originals = fill(nodes[0], "one")
    file = write_nodes_file(tmp_path / "nodes.toml", nodes)
    with running_daemon(tmp_path / "daemon", file, up=(), environment=s3.ENVIRONMENT) as daemon:
        daemon.wait_until_ready()
        assert "didn't write" in reason(daemon, "n1")
        names = [each["Name"] for each in of_node(nodes[0]).list_buckets()["Buckets"]]
        assert "aos-system" not in names
        assert copies(nodes, PHOTOS, originals[0].key) == ["n1"]


def act(daemon: Daemon, target: str, status: int) -> Any:
    """What an operator's POST is answered with."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = daemon.ask("POST", f"/-/nodes/{target}", headers, timeout_s=60.0)
    assert answer.status == status, answer.body
    return answer.json


def test_one_is_adopted_by_a_cluster(
    tmp_path: Path, start: Callable[..., RealNode], kind: str
) -> None:
    nodes = [start("n1"), start("n2"), start("n3", kind)]
    originals = fill(nodes[2], "new")
    clash = f"new/{1:03}"
    there = of_node(nodes[2])
    # Only who knows its name finds the second one on MinIO.
    for key in ("nest", "nest/x"):
        there.put_object(Bucket=PHOTOS, Key=key, Body=key.encode())
    file = write_nodes_file(tmp_path / "nodes.toml", nodes[:2])
    environment = s3.ENVIRONMENT | ADMIN
    with running_daemon(
        tmp_path / "daemon", file, up=("n1", "n2"), environment=environment
    ) as daemon:
        door = s3.client(daemon)
        door.create_bucket(Bucket=PHOTOS)
        door.put_object(Bucket=PHOTOS, Key=clash, Body=b"ours")
        door.put_object(Bucket=PHOTOS, Key="gone", Body=b"ours")
        there.put_object(Bucket=PHOTOS, Key="gone", Body=b"theirs")
        door.delete_object(Bucket=PHOTOS, Key="gone")
        # A bucket that was deleted in the cluster is there again with the node.
        door.create_bucket(Bucket=LOGS)
        door.delete_bucket(Bucket=LOGS)
        write_nodes_file(file, nodes)
        until(lambda: "didn't write" in reason(daemon, "n3"), "it is there, and waits", 60)
        told = act(daemon, "n3/adopt?dry_run=1", 200)
        conflicts = {each["key"]: (each["wins"], each["loses"]) for each in told["conflicts"]}
        expected = {clash: ("cluster", "n3"), "gone": ("cluster", "n3")}
        if kind == "seaweedfs" and nodes[0].kind == "minio":
            # It tells of both, and the others would hide one.
            expected["nest/x"] = ("", "")
        assert conflicts == expected
        assert told["conflicts_in_all"] == len(expected)
        assert "aos-system" not in [each["Name"] for each in there.list_buckets()["Buckets"]]
        act(daemon, "n3/adopt", 202)
        until(lambda: daemon.states().get("n3") in ("up", "returning"), "it joins", 60)
        mine = [each for each in originals if each.key != clash]
        assert_readable(daemon, mine)
        for _ in range(2):
            assert s3.body_of(door.get_object(Bucket=PHOTOS, Key=clash)) == b"ours"
            with s3.refused("NoSuchKey", 404):
                door.get_object(Bucket=PHOTOS, Key="gone")
            for key in ("nest", "nest/x"):
                assert s3.body_of(door.get_object(Bucket=PHOTOS, Key=key)) == key.encode()
            until(lambda: calm(daemon), "all has its copies", 120)
        assert_readable(daemon, mine)
        assert_copied(nodes, mine)
        assert copies(nodes, PHOTOS, "gone") == []
        for name in copies(nodes, PHOTOS, clash):
            node = next(each for each in nodes if each.name == name)
            assert original(of_node(node), PHOTOS, clash).data == b"ours"
        for key in ("nest", "nest/x"):
            assert sum(has(node, key) for node in nodes) == 2
        # What is written and deleted from now on is as anywhere.
        door.put_object(Bucket=PHOTOS, Key=mine[0].key, Body=b"newer")
        door.delete_object(Bucket=PHOTOS, Key=mine[1].key)
        assert s3.body_of(door.get_object(Bucket=PHOTOS, Key=mine[0].key)) == b"newer"
        assert copies(nodes, PHOTOS, mine[1].key) == []
        door.delete_object(Bucket=PHOTOS, Key="nest/x")
        assert not any(has(node, "nest/x") for node in nodes)


def has(node: RealNode, key: str) -> bool:
    """Whether the node has it, be it listed or not."""
    try:
        of_node(node).head_object(Bucket=PHOTOS, Key=key)
    except ClientError:
        return False
    return True


def reason(daemon: Daemon, name: str) -> str:
    """What /-/nodes tells of a node."""
    return str({each["name"]: each["reason"] for each in daemon.nodes()["nodes"]}.get(name))


def test_buckets_that_stand_in_the_way(tmp_path: Path, start: Callable[..., RealNode]) -> None:
    nodes = [start("n1"), start("n2"), start("n3")]
    fill(nodes[2], "new")
    there = of_node(nodes[2])
    there.create_bucket(Bucket="kept")
    there.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    file = write_nodes_file(tmp_path / "nodes.toml", nodes)
    environment = s3.ENVIRONMENT | {"AOSD_ADOPT": "n3"}
    with running_daemon(tmp_path / "daemon", file, up=(), environment=environment) as daemon:
        daemon.wait_until_ready()
        assert reason(daemon, "n3") == "versioning is on in its bucket kept"
        names = [each["Name"] for each in there.list_buckets()["Buckets"]]
        assert "aos-system" not in names
