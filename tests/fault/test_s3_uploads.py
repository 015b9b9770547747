"""Uploads in parts and buckets of the S3 door while nodes go away and the gateway is killed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.fault.durable import Durable, running_durable
from tests.integration import s3
from tests.integration.bodies import MIB, body
from tests.integration.s3 import body_of, refused
from tests.integration.waiting import until

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("s1", "s2", "s3")
BUCKET = "survives"
LEAST = 5 * MIB


@pytest.fixture(scope="module")
def shared_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Durable]:
    with running_durable(
        tmp_path_factory.mktemp("uploads"), NAMES, environment=s3.ENVIRONMENT
    ) as durable:
        client(durable).create_bucket(Bucket=BUCKET)
        yield durable


@pytest.fixture
def trio(shared_trio: Durable) -> Durable:
    shared_trio.mend()
    return shared_trio


def client(trio: Durable) -> Any:
    """Of the gateway of the moment."""
    return s3.client(trio.port())


def go_away(trio: Durable, name: str) -> None:
    trio.nodes[name].kill()
    until(lambda: trio.state(name) == "down", f"{name} is down")


def come_back(trio: Durable, name: str) -> None:
    trio.nodes[name].start_again()
    trio.wait_until_quiet()


def begin(s3c: Any, key: str) -> dict[str, str]:
    told = s3c.create_multipart_upload(Bucket=BUCKET, Key=key, Metadata={"of": key})
    return {"Bucket": BUCKET, "Key": key, "UploadId": told["UploadId"]}


def put_part(s3c: Any, where: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
    told = s3c.upload_part(**where, PartNumber=number, Body=data)
    return {"PartNumber": number, "ETag": told["ETag"]}


def complete(s3c: Any, where: dict[str, str], listed: list[dict[str, Any]]) -> str:
    done = s3c.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})
    return str(done["ETag"])


def expect_object(trio: Durable, key: str, data: bytes, etag: str) -> None:
    """It is whole, and on two nodes that agree."""
    got = client(trio).get_object(Bucket=BUCKET, Key=key)
    assert got["ETag"] == etag
    assert hashlib.sha256(body_of(got)).digest() == hashlib.sha256(data).digest()
    copies = {}
    for name, node in trio.nodes.items():
        for each in node.client().list_objects(bucket_name=BUCKET, prefix=key, recursive=True):
            copies[name] = f'"{str(each.etag).strip(chr(34))}"'
    assert list(copies.values()) == [etag, etag], copies


def primaries(trio: Durable, key: str) -> list[str]:
    told = trio.daemon.ask("GET", f"/-/ring?key={key}&bucket={BUCKET}").json
    return [each["name"] for each in told["order"] if each["role"] == "primary"]


def test_the_gateway_is_killed_between_parts(trio: Durable) -> None:
    parts = [body(LEAST, 1), body(LEAST, 2), b"the end"]
    s3c = client(trio)
    where = begin(s3c, "gateway killed")
    listed = [put_part(s3c, where, 1, parts[0])]
    trio.daemon.kill()
    trio.start_gateway().wait_until_ready()
    s3c = client(trio)
    listed.append(put_part(s3c, where, 2, parts[1]))
    opened = s3c.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [each["UploadId"] for each in opened] == [where["UploadId"]]
    assert [each["PartNumber"] for each in s3c.list_parts(**where)["Parts"]] == [1, 2]
    listed.append(put_part(s3c, where, 3, parts[2]))
    etag = complete(s3c, where, listed)
    trio.daemon.kill()
    trio.start_gateway().wait_until_ready()
    s3c = client(trio)
    # Who was never answered asks again, and another gateway knows.
    assert complete(s3c, where, listed) == etag
    assert "Uploads" not in s3c.list_multipart_uploads(Bucket=BUCKET)
    trio.wait_until_quiet()
    expect_object(trio, "gateway killed", b"".join(parts), etag)


def test_a_node_goes_away_between_parts(trio: Durable) -> None:
    parts = [body(LEAST, number) for number in range(3)]
    key = "node-killed"
    s3c = client(trio)
    where = begin(s3c, key)
    away = primaries(trio, key)[0]
    listed = [put_part(s3c, where, 1, parts[0])]
    go_away(trio, away)
    listed += [put_part(s3c, where, number, parts[number - 1]) for number in (2, 3)]
    etag = complete(s3c, where, listed)
    assert (
        hashlib.sha256(body_of(s3c.get_object(Bucket=BUCKET, Key=key))).digest()
        == hashlib.sha256(b"".join(parts)).digest()
    )
    come_back(trio, away)
    expect_object(trio, key, b"".join(parts), etag)


def test_other_nodes_are_away_for_each_part(trio: Durable) -> None:
    """No node may have all parts but one: what it misses is copied."""
    parts = [body(LEAST, 10), body(LEAST, 11)]
    key = "rolling"
    s3c = client(trio)
    where = begin(s3c, key)
    first, second = primaries(trio, key)
    go_away(trio, first)
    listed = [put_part(s3c, where, 1, parts[0])]
    come_back(trio, first)
    go_away(trio, second)
    listed.append(put_part(s3c, where, 2, parts[1]))
    etag = complete(s3c, where, listed)
    come_back(trio, second)
    expect_object(trio, key, b"".join(parts), etag)


def test_a_delete_between_create_and_complete_while_a_node_is_away(trio: Durable) -> None:
    key = "deleted-between"
    s3c = client(trio)
    s3c.put_object(Bucket=BUCKET, Key=key, Body=b"older")
    where = begin(s3c, key)
    listed = [put_part(s3c, where, 1, b"newer")]
    away = primaries(trio, key)[1]
    go_away(trio, away)
    s3c.delete_object(Bucket=BUCKET, Key=key)
    etag = complete(s3c, where, listed)
    assert body_of(s3c.get_object(Bucket=BUCKET, Key=key)) == b"newer"
    come_back(trio, away)
    expect_object(trio, key, b"newer", etag)


def test_an_upload_that_is_aborted_while_a_node_is_away_leaves_nothing(trio: Durable) -> None:
    key = "aborted"
    s3c = client(trio)
    where = begin(s3c, key)
    put_part(s3c, where, 1, body(LEAST, 3))
    away = primaries(trio, key)[0]
    go_away(trio, away)
    s3c.abort_multipart_upload(**where)
    with refused("NoSuchUpload", 404):
        put_part(s3c, where, 2, b"x")
    come_back(trio, away)

    def left() -> list[str]:
        names = []
        for name, node in trio.nodes.items():
            told = node.client()._list_multipart_uploads(bucket_name=BUCKET, prefix=key)
            names += [name for _ in told.uploads]
        return names

    until(lambda: not left(), "no node has it open", 60)


# -- buckets --------------------------------------------------------------------------------------


def has_bucket(trio: Durable, name: str, bucket: str) -> bool:
    return bool(trio.nodes[name].client().bucket_exists(bucket_name=bucket))


def test_a_bucket_that_is_made_while_a_node_is_away(trio: Durable) -> None:
    s3c, name, away = client(trio), "made-meanwhile", "s2"
    go_away(trio, away)
    s3c.create_bucket(Bucket=name)
    keys = [f"k{number}" for number in range(8)]
    for key in keys:
        s3c.put_object(Bucket=name, Key=key, Body=key.encode())
    come_back(trio, away)
    until(lambda: has_bucket(trio, away, name), "the node has it", 60)
    for key in keys:
        assert body_of(s3c.get_object(Bucket=name, Key=key)) == key.encode()
    assert s3.all_keys(s3c, name) == keys
    assert len([key for key in keys if key in trio.nodes[away].stored_keys(name)]) > 0
    go_away(trio, away)
    for key in keys:
        s3c.delete_object(Bucket=name, Key=key)
    # Whether it is empty nobody knows without that node, or what it has is all deleted.
    until(lambda: deletes(s3c, name), "the bucket is deleted", 60)
    # Made again: what the node still has of the one before is none of it.
    s3c.create_bucket(Bucket=name)
    s3c.put_object(Bucket=name, Key="k0", Body=b"of the new one")
    come_back(trio, away)
    assert s3.all_keys(s3c, name) == ["k0"]
    assert body_of(s3c.get_object(Bucket=name, Key="k0")) == b"of the new one"
    for key in keys[1:]:
        with refused("NoSuchKey", 404):
            s3c.get_object(Bucket=name, Key=key)
    s3c.delete_object(Bucket=name, Key="k0")
    until(lambda: deletes(s3c, name), "the bucket is deleted", 60)
    for each in NAMES:
        until(lambda each=each: not has_bucket(trio, each, name), f"{each} hasn't got it", 60)


def deletes(s3c: Any, name: str) -> bool:
    try:
        s3c.delete_bucket(Bucket=name)
    except (ClientError, BotoCoreError) as error:
        response = getattr(error, "response", {})
        assert response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 503, error
        return False
    return True
