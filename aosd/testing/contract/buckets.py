# ruff: noqa: D103 — the name of a case says what it shows
"""Buckets: made, listed, removed when they are empty."""

from __future__ import annotations

from aosd.model.errors import BucketNotEmpty, NodeRefused, NoSuchKey
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.bodies import BytesBody
from aosd.testing.contract.subject import Cases, Subject, raises

BUCKETS = Cases()


@BUCKETS.add
async def a_bucket_can_be_made_twice(subject: Subject) -> None:
    node, bucket = subject.node, "made-twice.in-the-contract"
    for _ in range(2):
        await node.create_bucket(bucket)
        names = list(await node.list_buckets())
        assert names.count(bucket) == 1, names
        assert {subject.bucket, SYSTEM_BUCKET} <= set(names), names
        assert not (await node.list(bucket)).entries
        await raises(NoSuchKey, node.head(bucket, "a"))
    await node.delete_bucket(bucket)


@BUCKETS.add
async def making_a_bucket_again_leaves_what_is_in_it(subject: Subject) -> None:
    node, bucket = subject.node, "made-again-in-the-contract"
    await node.create_bucket(bucket)
    etag = await node.put(bucket, "a", BytesBody(b"data"), ())
    await node.create_bucket(bucket)
    assert (await node.head(bucket, "a")).etag == etag
    await node.delete(bucket, "a")
    await node.delete_bucket(bucket)


@BUCKETS.add
async def an_empty_bucket_can_be_removed_twice(subject: Subject) -> None:
    node, bucket = subject.node, "removed-in-the-contract"
    await node.create_bucket(bucket)
    for _ in range(2):
        await node.delete_bucket(bucket)
        assert bucket not in await node.list_buckets()
        error = await raises(NodeRefused, node.list(bucket))
        assert error.code == "NoSuchBucket", error.code
    error = await raises(NodeRefused, node.put(bucket, "a", BytesBody(b"data"), ()))
    assert error.code == "NoSuchBucket", error.code
    assert bucket not in await node.list_buckets()
    await node.delete(bucket, "a")


@BUCKETS.add
async def a_full_bucket_stays(subject: Subject) -> None:
    node, bucket = subject.node, "full-in-the-contract"
    await node.create_bucket(bucket)
    for key in ("a", "b/c"):
        await node.put(bucket, key, BytesBody(b"data"), ())
        await raises(BucketNotEmpty, node.delete_bucket(bucket))
        assert bucket in await node.list_buckets()
        assert [entry.key for entry in (await node.list(bucket)).entries] == [key]
        await node.delete(bucket, key)
    await node.delete_bucket(bucket)


@BUCKETS.add
async def what_was_in_a_removed_bucket_does_not_come_back(subject: Subject) -> None:
    node, bucket = subject.node, "came-back-in-the-contract"
    await node.create_bucket(bucket)
    await node.put(bucket, "a/b", BytesBody(b"data"), ())
    await node.delete(bucket, "a/b")
    upload = await node.create_upload(bucket, "u", ())
    await node.put_part(bucket, "u", upload, 1, BytesBody(b"part"))
    await node.abort_upload(bucket, "u", upload)
    await node.delete_bucket(bucket)
    await node.create_bucket(bucket)
    assert not (await node.list(bucket)).entries
    await raises(NoSuchKey, node.head(bucket, "a/b"))
    assert not await node.list_uploads(bucket, "u")
    await node.delete_bucket(bucket)
