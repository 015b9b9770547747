"""Keys above and beneath each other, on real servers: what they hide, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from aosd.gateway.delete import delete
from aosd.gateway.put import put
from aosd.gateway.requests import Put
from aosd.gateway.store import Store
from aosd.model.errors import KeyConflict, NodeRefused
from aosd.model.objects import OBJECT_BUCKET
from aosd.nodes.s3 import S3Node
from aosd.streams.bodies import HeldBody
from aosd.testing.bodies import BytesSource
from aosd.testing.stores import MemoryPlacement, make_store
from tests.contract.servers import AlwaysWell, Server, on_path

PARENT = "XMinioParentIsObject"
DIRECTORY = "XMinioObjectExistsAsDirectory"


@pytest_twisted.ensureDeferred
async def test_keys_above_and_beneath_each_other(tmp_path: Path) -> None:
    from twisted.internet import reactor

    if not on_path("minio"):
        pytest.skip("no minio on PATH")
    servers = [Server(kind, tmp_path / kind, reactor) for kind in ("minio", "seaweedfs")]
    try:
        for server in servers:
            await server.start()
        minio, weed = (server.node(AlwaysWell()) for server in servers)
        minio.name, weed.name = "minio", "seaweedfs"
        await what_minio_hides(minio)
        await what_seaweedfs_makes_one_thing_of(weed)
        await refused_on_minio(minio, reactor)
        await refused_on_both(minio, weed, reactor)
        for node in (minio, weed):
            await node.close()
    finally:
        for server in servers:
            await server.stop()


async def what_minio_hides(node: S3Node) -> None:
    await lay(node, "f/a", "f/a/b", "f/a/", "f/c/", "f/c/d", "f/e", "f/e/g/")
    assert await listed(node, "f/") == ["f/a", "f/a/", "f/c/", "f/c/d", "f/e"]
    assert await listed(node, "f/a/") == ["f/a/"]
    # Who knows how its name goes on finds it, in a listing too.
    assert await listed(node, "f/a/b") == ["f/a/b"]
    assert (await node.head(OBJECT_BUCKET, "f/a/b")).size_bytes == 1
    await node.delete(OBJECT_BUCKET, "f/a")
    assert await listed(node, "f/a") == ["f/a/", "f/a/b"]


async def what_seaweedfs_makes_one_thing_of(node: S3Node) -> None:
    await lay(node, "f/a", "f/a/b", "f/c/", "f/e")
    assert await listed(node, "f/") == ["f/a", "f/a/b", "f/c/", "f/e"]
    with pytest.raises(NodeRefused) as refused:
        await lay(node, "f/e/")
    assert refused.value.status == 409
    await lay(node, "f/c")
    assert await listed(node, "f/c") == ["f/c"]


async def refused_on_minio(node: S3Node, clock: Any) -> None:
    store = a_store([node], {node.name: True}, clock)
    for complete in (False, True):
        there = f"on-{complete}".lower()
        for rest in ("a", "a/", "c/d/e", "c/d/", "c/d/f"):
            assert await written(store, f"{there}/{rest}") == "", rest
        assert await written(store, f"{there}/a/b") == PARENT
        assert await written(store, f"{there}/a/b/") == PARENT
        assert await written(store, f"{there}/c/d") == DIRECTORY
        assert await written(store, there) == DIRECTORY
        keys = [f"{there}/{rest}" for rest in ("a", "a/", "c/d/", "c/d/e", "c/d/f")]
        assert await listed(node, f"{there}/") == keys
        for key in keys:
            await delete(store, OBJECT_BUCKET, key)
        assert await written(store, there) == ""
        store.folders.completed()


async def refused_on_both(minio: S3Node, weed: S3Node, clock: Any) -> None:
    store = a_store([minio, weed], {minio.name: True, weed.name: False}, clock)
    assert await written(store, "both/a") == ""
    assert await written(store, "both/a/b") == PARENT
    assert await written(store, "both/a/") == PARENT
    assert await written(store, "both/c/") == ""
    assert await written(store, "both/c") == DIRECTORY
    for node in (minio, weed):
        assert await listed(node, "both/") == ["both/a", "both/c/"]


def a_store(nodes: list[S3Node], hides: dict[str, bool], clock: Any) -> Store:
    placement = MemoryPlacement(nodes)
    placement.hides.update(hides)
    return make_store(placement, clock, replicas=len(nodes))


async def written(store: Store, key: str) -> str:
    """Why a PUT is refused; "" when it isn't."""
    try:
        data = b"" if key.endswith("/") else b"x"
        await put(store, Put(OBJECT_BUCKET, key, BytesSource(data)))
    except KeyConflict as error:
        return error.code
    return ""


async def lay(node: S3Node, *keys: str) -> None:
    for key in keys:
        body = HeldBody([] if key.endswith("/") else [b"x"])
        await node.put(OBJECT_BUCKET, key, body, ())


async def listed(node: S3Node, prefix: str) -> list[str]:
    page = await node.list(OBJECT_BUCKET, prefix)
    return sorted(entry.key for entry in page.entries)
