"""The matrix: each client does what it can, over http and over TLS."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

import pytest

from tests.integration.clients.client import Client
from tests.integration.clients.commands import AwsCli, Rclone, S3cmd, S5cmd
from tests.integration.clients.matrix import Column, Matrix
from tests.integration.clients.mounted import S3fs
from tests.integration.clients.place import BIG_BYTES, SCHEMES, Place, Reference, sha256
from tests.integration.clients.sdks import (
    Boto3,
    Boto3VirtualHost,
    JavaScript,
    JavaScriptVirtualHost,
    Library,
    MinioPy,
)

CLIENTS: tuple[type[Client], ...] = (
    Boto3,
    Boto3VirtualHost,
    AwsCli,
    MinioPy,
    JavaScript,
    JavaScriptVirtualHost,
    Rclone,
    S3cmd,
    S5cmd,
    S3fs,
)
ODD = "folder one/plus+space ü 雪.txt"
METADATA = {"who": "somebody", "what-for": "a=b; c"}
CONTENT_TYPE = "text/x-odd"

pytestmark = pytest.mark.timeout(180)


def each_that_has(column: Column) -> pytest.MarkDecorator:
    """Every client that has something for the column, at both endpoints."""
    return pytest.mark.parametrize(
        "client",
        [
            pytest.param((kind, scheme), id=f"{kind.__name__}-{scheme}")
            for kind in CLIENTS
            for scheme in SCHEMES
            if column not in kind.lacks
        ],
        indirect=True,
        scope="module",
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.txt"
    file.write_bytes(os.urandom(70_001))
    return file


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched"


@each_that_has(Column.PUT)
def test_put(client: Client, reference: Reference, matrix: Matrix, small: Path) -> None:
    empty = small.with_name("empty.txt")
    empty.touch()
    client.put(small, ODD)
    assert reference.sha256(client.bucket, ODD) == sha256(small)
    client.put(empty, "put/empty.txt")
    assert reference.sha256(client.bucket, "put/empty.txt") == sha256(empty)
    matrix.works(client.name, Column.PUT, client.scheme)


@pytest.mark.parametrize(
    "client",
    [pytest.param((JavaScript, scheme), id=scheme) for scheme in SCHEMES],
    indirect=True,
    scope="module",
)
def test_put_of_a_stream(client: JavaScript, reference: Reference, small: Path) -> None:
    """Its checksum comes after it, in a trailer."""
    client.put_stream(small, "put/streamed.bin")
    assert reference.sha256(client.bucket, "put/streamed.bin") == sha256(small)


@each_that_has(Column.GET)
def test_get(
    client: Client, reference: Reference, matrix: Matrix, small: Path, target: Path
) -> None:
    key = f"get/{ODD}"
    reference.put(client.bucket, key, small.read_bytes())
    client.get(key, target)
    assert sha256(target) == sha256(small)
    target.unlink()
    reference.put(client.bucket, "get/empty.txt", b"")
    client.get("get/empty.txt", target)
    assert target.read_bytes() == b""
    matrix.works(client.name, Column.GET, client.scheme)


@each_that_has(Column.LIST)
def test_list(client: Client, reference: Reference, matrix: Matrix) -> None:
    keys = {f"list/{name}" for name in ("a.txt", "b c.txt", "d+e.txt", "deep/er/ü.txt")}
    for key in (*keys, "lisp.txt", "listing.txt"):
        reference.put(client.bucket, key, key.encode())
    assert sorted(client.listing("list/")) == sorted(keys)
    matrix.works(client.name, Column.LIST, client.scheme)


@each_that_has(Column.DELETE)
def test_delete(client: Client, reference: Reference, matrix: Matrix) -> None:
    keys = [f"delete/{number}/one of+them.txt" for number in range(4)]
    for key in keys:
        reference.put(client.bucket, key, b"doomed")
    client.delete(keys[:1])
    assert reference.keys(client.bucket, "delete/") == set(keys[1:])
    client.delete(keys[1:3])
    assert reference.keys(client.bucket, "delete/") == set(keys[3:])
    if isinstance(client, Library):
        assert client.missing(keys[0]) in ("404", "NotFound", "NoSuchKey")
    matrix.works(client.name, Column.DELETE, client.scheme)


@each_that_has(Column.BIG)
def test_100_mib(
    client: Client, reference: Reference, matrix: Matrix, big: Path, target: Path
) -> None:
    key = "big/in parts.bin"
    client.upload(big, key)
    assert int(reference.head(client.bucket, key)["content-length"]) == BIG_BYTES
    assert reference.parts(client.bucket, key) > 1
    client.download(key, target)
    assert sha256(target) == sha256(big)
    matrix.works(client.name, Column.BIG, client.scheme)


@each_that_has(Column.COPY)
def test_copy(client: Client, reference: Reference, matrix: Matrix, small: Path) -> None:
    reference.put(client.bucket, f"copied from/{ODD}", small.read_bytes())
    client.copy(f"copied from/{ODD}", f"copied to/{ODD}")
    assert reference.sha256(client.bucket, f"copied to/{ODD}") == sha256(small)
    matrix.works(client.name, Column.COPY, client.scheme)


@pytest.mark.parametrize(
    "client",
    [pytest.param((kind, "http"), id=kind.__name__) for kind in (Boto3, AwsCli)],
    indirect=True,
    scope="module",
)
def test_a_large_object_is_copied_in_parts(
    client: Boto3 | AwsCli, reference: Reference, big: Path
) -> None:
    client.upload(big, "large/source.bin")
    client.copy_in_parts("large/source.bin", "large/copy.bin")
    assert reference.parts(client.bucket, "large/copy.bin") > 1
    assert reference.sha256(client.bucket, "large/copy.bin") == sha256(big)


@each_that_has(Column.PRESIGNED)
def test_presigned(
    client: Client, place: Place, reference: Reference, matrix: Matrix, small: Path
) -> None:
    key = f"presigned/{ODD}"
    reference.put(client.bucket, key, small.read_bytes())
    assert place.fetch(client.presign(key)) == small.read_bytes()
    if isinstance(client, Library):
        place.fetch(client.presign_put("presigned/put.bin"), small.read_bytes())
        assert reference.sha256(client.bucket, "presigned/put.bin") == sha256(small)
    matrix.works(client.name, Column.PRESIGNED, client.scheme)


@pytest.mark.parametrize(
    "client",
    [pytest.param((kind, "http"), id=kind.__name__) for kind in (Boto3, AwsCli, S3cmd)],
    indirect=True,
    scope="module",
)
def test_one_that_presigns_with_v2_is_told_what_to_do(
    client: Boto3 | AwsCli | S3cmd, place: Place
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        place.fetch(client.presign_by_default("presigned/any.txt"))
    said = refused.value.read().decode()
    assert refused.value.code in (400, 403)
    assert "signature_version" in said
    assert "s3v4" in said


@each_that_has(Column.METADATA)
def test_metadata(client: Client, reference: Reference, matrix: Matrix, small: Path) -> None:
    if isinstance(client, S3fs):
        expect_attributes_to_be_kept(client, reference, small)
        matrix.works(client.name, Column.METADATA, client.scheme)
        return
    key = "metadata/with some.txt"
    client.put_with_metadata(small, key, METADATA, CONTENT_TYPE)
    own, content_type = client.metadata(key)
    assert {name: own.get(name) for name in METADATA} == METADATA
    assert content_type == CONTENT_TYPE
    assert reference.sha256(client.bucket, key) == sha256(small)
    matrix.works(client.name, Column.METADATA, client.scheme)


def expect_attributes_to_be_kept(client: S3fs, reference: Reference, small: Path) -> None:
    key = "metadata/of a file.txt"
    client.put(small, key)
    file = client.mounted / key
    file.chmod(0o640)
    os.chown(file, 1234, 2345)
    os.utime(file, (1_600_000_000, 1_500_000_000))
    head = reference.head(client.bucket, key)
    told = {name: head[f"x-amz-meta-{name}"].partition(".")[0] for name in ("mode", "uid", "mtime")}
    assert told == {"mode": str(0o100640), "uid": "1234", "mtime": "1500000000"}
    assert reference.sha256(client.bucket, key) == sha256(small)


@each_that_has(Column.BUCKETS)
def test_the_bucket_is_removed_when_it_is_empty(
    client: Client, reference: Reference, matrix: Matrix
) -> None:
    """The last one of each client: its bucket is gone after it."""
    reference.empty(client.bucket)
    client.remove_bucket()
    assert not reference.has_bucket(client.bucket)
    matrix.works(client.name, Column.BUCKETS, client.scheme)
