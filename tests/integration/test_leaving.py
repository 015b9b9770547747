"""A daemon leaves real servers: plain objects are left, which any S3 client reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration import s3
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import KINDS, RealNode, write_nodes_file
from tests.integration.waiting import until

TOKEN = "token-of-these-tests"
ENVIRONMENT = {**s3.ENVIRONMENT, "AOSD_OPERATOR_TOKEN": TOKEN}
MIB = 1024 * 1024
PART = b"p" * (5 * MIB)


@dataclass(frozen=True)
class Plain:
    """An object as a client gave it."""

    data: bytes
    content_type: str = "binary/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)


OBJECTS = {
    ("object", "plain1"): Plain(b"of the plain door", "text/plain"),
    ("photos", "a"): Plain(b"data"),
    ("photos", "empty"): Plain(b"", "text/x-nothing", {"who": "me"}),
    ("photos", "2026/11/cat.jpg"): Plain(b"j" * 300_000, "image/jpeg", {"place": "Rome, at noon"}),
    ("photos", "with space+plus%41&amp;<'>\"=~"): Plain(b"odd"),
    ("photos", "grüße/日本語/\U0001f600"): Plain(b"more than ASCII", "text/plain", {"a-b": "c d"}),
    ("photos", "parts"): Plain(PART + PART + b"end", "video/mp4", {"of": "three"}),
    **{("photos", f"many/{number:03}"): Plain(b"%d" % number) for number in range(50)},
}


@pytest.fixture(params=KINDS)
def left_nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[RealNode]]:
    """Three nodes: one of the kind, the others of the first one."""
    kinds = (request.param, KINDS[0], KINDS[0])
    nodes = [
        RealNode(f"n{each}", tmp_path / f"n{each}", kind=kinds[each - 1]) for each in (1, 2, 3)
    ]
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_until_it_answers()
        yield nodes
    finally:
        for node in nodes:
            node.end()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("gather", ["", "n1"])
def test_plain_objects_are_left(left_nodes: list[RealNode], gather: str, tmp_path: Path) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", left_nodes)
    names = [each.name for each in left_nodes]
    with running_daemon(tmp_path / "first", file, up=names, environment=ENVIRONMENT) as daemon:
        write_all(daemon)
        plan = leave(daemon, gather, "dry_run=1")
        assert (plan["nodes"], plan["refusal"]) == (names, "")
        assert (plan["uploads"], plan["uploads_in_all"]) == (["photos/never-ended"], 1)
        assert (plan["gather"] or {}).get("keys", len(OBJECTS)) == len(OBJECTS)
        assert (plan["forecast"]["keys"], plan["no_forecast"]) == (len(OBJECTS), "")
        assert set(plan["forecast"]["nodes"]) == set(names)
        leave(daemon, gather)
        until(lambda: leaving(daemon)["phase"] == "left", "the cluster is left", 90)
        ready = daemon.ask("GET", "/-/ready")
        assert ready.status == 503
        assert "this cluster was left" in ready.json["reason"]
        assert daemon.ask("GET", "/object/plain1").status == 503
        assert daemon.ask("PUT", "/object/plain2", body=b"x").status == 503
    before = what_lies_there(left_nodes)
    for name, held in before.items():
        assert set(held) <= {"object", "photos", "nothing-in-it"}, name
    for node in left_nodes:
        assert "nothing-in-it" in before[node.name]
    copies = {name: [n for n in names if name[1] in before[n].get(name[0], ())] for name in OBJECTS}
    for (bucket, key), holders in copies.items():
        assert len(holders) == 2, (bucket, key)
        assert not gather or gather in holders
    for node in left_nodes:
        client = plain_client(node)
        for (bucket, key), wanted in OBJECTS.items():
            if node.name in copies[bucket, key]:
                assert_plain(client, bucket, key, wanted)
    founds_nothing(file, tmp_path / "second")
    assert what_lies_there(left_nodes) == before
    taken_in_again(left_nodes, file, tmp_path / "third")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["leaving: cleaning", "node n1 holds plain objects alone"])
def test_a_run_that_is_killed_while_it_cleans_is_gone_on_with(
    left_nodes: list[RealNode], when: str, tmp_path: Path
) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", left_nodes)
    names = [each.name for each in left_nodes]
    first = Daemon(tmp_path / "first", [f"--nodes=static:{file}"], ENVIRONMENT)
    try:
        first.wait_until_up(*names)
        for number in range(20):
            assert first.ask("PUT", f"/object/k{number}", body=b"%d" % number).status == 201
        leave(first, "")
        until(lambda: when in first.log, when, 60)
    finally:
        first.kill()
    clients = [plain_client(node) for node in left_nodes]

    def has_memory() -> list[Any]:
        listed = (client.list_buckets()["Buckets"] for client in clients)
        return [each for each in listed if "aos-system" in [found["Name"] for found in each]]

    with running_daemon(tmp_path / "second", file, environment=ENVIRONMENT) as second:
        until(lambda: not has_memory(), "nothing of aosd is left", 60)
        assert second.ask("GET", "/-/ready").status == 503
    assert not has_memory()
    keys = sorted(key for client in clients for key in s3.all_keys(client, "object"))
    assert keys == sorted([f"k{number}" for number in range(20)] * 2)


def founds_nothing(file: Path, folder: Path) -> None:
    with running_daemon(folder, file, environment=ENVIRONMENT) as daemon:
        reached = "it holds objects"
        until(
            lambda: all(reached in each["reason"] for each in daemon.nodes()["nodes"]),
            "all nodes were met",
        )
        assert daemon.ask("GET", "/-/ready").status == 503
        assert daemon.nodes()["cluster"] is None


def taken_in_again(nodes: list[RealNode], file: Path, folder: Path) -> None:
    """By a daemon that may: with the stamps that they have."""
    stamps = stamps_of(nodes)
    names = [each.name for each in nodes]
    environment = {**ENVIRONMENT, "AOSD_ADOPT": " ".join(names)}
    with running_daemon(folder, file, up=names, environment=environment) as daemon:
        client = s3.client(daemon)
        for (bucket, key), wanted in OBJECTS.items():
            answer = client.get_object(Bucket=bucket, Key=key)
            assert s3.body_of(answer) == wanted.data, key
            assert (answer["ContentType"], answer["Metadata"]) == (
                wanted.content_type,
                wanted.metadata,
            )
        listed = [key for bucket, key in OBJECTS if bucket == "photos"]
        assert s3.all_keys(client, "photos") == sorted(listed, key=str.encode)
        # Not a copy was written anew, but for those that belong elsewhere in the new ring.
        assert stamps_of(nodes) == stamps


def stamps_of(nodes: list[RealNode]) -> dict[tuple[str, str], set[str]]:
    """The stamps of all copies, by bucket and key."""
    found: dict[tuple[str, str], set[str]] = {}
    for node in nodes:
        client = plain_client(node)
        there = {bucket: s3.all_keys(client, bucket) for bucket in ("object", "photos")}
        for bucket, key in OBJECTS:
            if key in there[bucket]:
                metadata = client.head_object(Bucket=bucket, Key=key)["Metadata"]
                found.setdefault((bucket, key), set()).add(metadata["aos-stamp"])
    return found


def write_all(daemon: Daemon) -> None:
    client = s3.client(daemon)
    client.create_bucket(Bucket="photos")
    client.create_bucket(Bucket="nothing-in-it")
    for (bucket, key), each in OBJECTS.items():
        given = {"ContentType": each.content_type, "Metadata": each.metadata}
        if bucket == "object":
            headers = {"Content-Type": each.content_type}
            assert daemon.ask("PUT", f"/object/{key}", headers, each.data).status == 201
        elif len(each.data) <= MIB:
            client.put_object(Bucket=bucket, Key=key, Body=each.data, **given)
        else:
            upload(client, bucket, key, each, given)
    # One that is overwritten and one that is deleted: neither comes back.
    client.put_object(Bucket="photos", Key="gone", Body=b"gone")
    client.delete_object(Bucket="photos", Key="gone")
    client.put_object(Bucket="photos", Key="a", Body=b"older")
    client.put_object(Bucket="photos", Key="a", Body=OBJECTS["photos", "a"].data)
    client.create_multipart_upload(Bucket="photos", Key="never-ended")


def upload(client: Any, bucket: str, key: str, wanted: Plain, given: dict[str, Any]) -> None:
    where = {"Bucket": bucket, "Key": key}
    where["UploadId"] = client.create_multipart_upload(**where, **given)["UploadId"]
    parts = []
    for number, data in enumerate((PART, PART, b"end"), 1):
        etag = client.upload_part(**where, PartNumber=number, Body=data)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


def leave(daemon: Daemon, gather: str, query: str = "") -> Any:
    if gather:
        query = f"gather={gather}&{query}".rstrip("&")
    target = f"/-/leave?{query}".rstrip("?")
    answer = daemon.ask("POST", target, {"Authorization": f"Bearer {TOKEN}"}, timeout_s=60)
    assert answer.status == (200 if "dry_run" in query else 202), answer
    return answer.json


def leaving(daemon: Daemon) -> dict[str, Any]:
    told: dict[str, Any] = daemon.ask("GET", "/-/changes").json["leaving"]
    return told


def plain_client(node: RealNode) -> Any:
    return s3.client(node.port, s3.Pair(node.credentials.access_key, node.credentials.secret_key))


def what_lies_there(nodes: list[RealNode]) -> dict[str, dict[str, list[str]]]:
    """The keys of each bucket of each node."""
    found = {}
    for node in nodes:
        client = plain_client(node)
        buckets = [each["Name"] for each in client.list_buckets()["Buckets"]]
        found[node.name] = {each: s3.all_keys(client, each) for each in buckets}
    return found


def assert_plain(client: Any, bucket: str, key: str, wanted: Plain) -> None:
    answer = client.get_object(Bucket=bucket, Key=key)
    metadata = {n: v for n, v in answer["Metadata"].items() if not n.startswith("aos-")}
    assert s3.body_of(answer) == wanted.data, key
    assert answer["ContentType"] == wanted.content_type, key
    assert metadata == wanted.metadata, key
