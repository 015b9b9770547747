"""Buckets through the S3 door, on real servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration import s3
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.s3 import refused


@pytest.fixture(scope="module")
def s3c(s3_daemon: Daemon) -> Any:
    return s3.client(s3_daemon)


def names(s3c: Any, **arguments: Any) -> list[str]:
    return [each["Name"] for each in s3c.list_buckets(**arguments)["Buckets"]]


def on_nodes(nodes: list[RealNode], bucket: str) -> list[str]:
    return [each.name for each in nodes if each.client().bucket_exists(bucket_name=bucket)]


def test_a_buckets_life(s3c: Any, s3_nodes: list[RealNode]) -> None:
    name = "a.buckets-life.1"
    with refused("404", 404):
        s3c.head_bucket(Bucket=name)
    with refused("NoSuchBucket", 404):
        s3c.get_bucket_location(Bucket=name)
    with refused("NoSuchBucket", 404):
        s3c.delete_bucket(Bucket=name)
    assert s3c.create_bucket(Bucket=name)["Location"] == f"/{name}"
    assert on_nodes(s3_nodes, name) == ["n1", "n2", "n3"]
    assert name in names(s3c)
    assert names(s3c, Prefix="a.buckets") == [name]
    assert s3c.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
    assert s3c.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert "Status" not in s3c.get_bucket_versioning(Bucket=name)
    with refused("BucketAlreadyOwnedByYou", 409):
        s3c.create_bucket(Bucket=name)
    s3c.put_object(Bucket=name, Key="deep/in/it", Body=b"x")
    with refused("BucketNotEmpty", 409):
        s3c.delete_bucket(Bucket=name)
    # Taken back: it goes on as before.
    s3c.put_object(Bucket=name, Key="another", Body=b"x")
    assert s3.all_keys(s3c, name) == ["another", "deep/in/it"]
    for key in ("deep/in/it", "another"):
        s3c.delete_object(Bucket=name, Key=key)
    s3c.delete_bucket(Bucket=name)
    assert name not in names(s3c)
    assert on_nodes(s3_nodes, name) == []
    with refused("NoSuchBucket", 404):
        s3c.put_object(Bucket=name, Key="k", Body=b"x")
    s3c.create_bucket(Bucket=name)
    assert s3.all_keys(s3c, name) == []
    s3c.delete_bucket(Bucket=name)


def test_what_stands_in_the_request_to_create(s3c: Any) -> None:
    asked: dict[str, dict[str, Any]] = {
        "elsewhere": {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}},
        "unlocked": {"ObjectLockEnabledForBucket": False},
        "private-one": {"ACL": "private"},
    }
    for name, arguments in asked.items():
        s3c.create_bucket(Bucket=name, **arguments)
        s3c.delete_bucket(Bucket=name)
    with refused("NotImplemented", 501):
        s3c.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    with refused("NotImplemented", 501):
        s3c.create_bucket(Bucket="open-to-all", ACL="public-read-write")
    assert not {"locked", "open-to-all"} & set(names(s3c))


@pytest.mark.parametrize(
    "name",
    ["ab", "Upper", "a_b", "a..b", "1.2.3.4", "-ab", "xn--a", "a" * 64, "minio", "b-s3alias"],
)
def test_names_that_can_not_be(s3_daemon: Daemon, name: str) -> None:
    for verb in ("PUT", "GET", "DELETE"):
        answer = s3.send(s3_daemon.port, s3.signed(verb, f"/{name}"))
        assert s3.error_of(answer) == (400, "InvalidBucketName")


def test_pages_of_buckets(s3c: Any) -> None:
    made = [f"page-of-{number}" for number in range(5)]
    for name in made:
        s3c.create_bucket(Bucket=name)
    pages = s3c.get_paginator("list_buckets").paginate(
        Prefix="page-of-", PaginationConfig={"PageSize": 2}
    )
    assert [[each["Name"] for each in page["Buckets"]] for page in pages] == [
        made[:2],
        made[2:4],
        made[4:],
    ]
    for name in made:
        s3c.delete_bucket(Bucket=name)


def test_of_those_who_race_to_create_one_succeeds(s3c: Any) -> None:
    def create(_: int) -> str:
        try:
            s3c.create_bucket(Bucket="raced-for")
        except s3c.exceptions.BucketAlreadyOwnedByYou:
            return "there"
        return "created"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == ["created"] + ["there"] * 5
    s3c.delete_bucket(Bucket="raced-for")


def test_a_bucket_is_deleted_while_it_is_written_to(s3c: Any) -> None:
    """Either the object is there, and the bucket with it, or neither."""
    s3c.create_bucket(Bucket="contested")

    def put(number: int) -> bool:
        try:
            s3c.put_object(Bucket="contested", Key=f"k{number}", Body=b"x")
        except s3c.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] in ("NoSuchBucket", "ServiceUnavailable")
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(put, number) for number in range(12)]
        try:
            s3c.delete_bucket(Bucket="contested")
        except s3c.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "BucketNotEmpty"
            gone = False
        else:
            gone = True
        written = {f"k{number}" for number, each in enumerate(writing) if each.result()}
    if gone:
        assert not written
        with refused("NoSuchBucket", 404):
            s3c.list_objects_v2(Bucket="contested")
        return
    assert set(s3.all_keys(s3c, "contested")) == written
    for key in written:
        s3c.delete_object(Bucket="contested", Key=key)
    s3c.delete_bucket(Bucket="contested")
