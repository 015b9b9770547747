"""Buckets over real servers of both kinds: made, written to where they are missing, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest_twisted

from aosd.consistency.presence import Presence
from aosd.gateway.buckets import buckets, create_bucket, delete_bucket, set_bucket_setting
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.gateway.store import Store
from aosd.model.errors import BucketNotEmpty, NoSuchBucket, NoSuchKey
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Wiring
from aosd.observe.metrics import Metrics
from aosd.testing.bodies import BytesSource
from aosd.testing.contract.subject import raises
from aosd.testing.stores import MemoryPlacement, make_store
from tests.contract.servers import AlwaysWell, Server, on_path

MIB = 1024 * 1024
NAME = "some.photos-of-2026"
# Held whole, flowing, in parts.
BODIES = ((1000, True), (2 * MIB, True), (9 * MIB, False))


@pytest_twisted.ensureDeferred
async def test_buckets_on_servers_of_both_kinds(tmp_path: Path) -> None:
    from twisted.internet import reactor

    kinds = ("minio", "seaweedfs") if on_path("minio") else ("seaweedfs", "seaweedfs")
    servers = [
        Server(kind, tmp_path / f"{kind}-{number}", reactor) for number, kind in enumerate(kinds)
    ]
    try:
        for server in servers:
            await server.start()
        nodes = [_node(f"n{number}", each, reactor) for number, each in enumerate(servers)]
        made: Any = reactor
        store = make_store(MemoryPlacement(nodes), made, replicas=2)
        await lives_and_dies(store, nodes)
        await is_made_where_it_is_missing(store, nodes)
        await goes_where_it_was_left(store, nodes)
        for node in nodes:
            await node.close()
    finally:
        for server in servers:
            await server.stop()


def _node(name: str, server: Server, reactor: Any) -> S3Node:
    assert server.address is not None and server.credentials is not None
    return S3Node(
        Wiring(
            name,
            server.address,
            server.credentials,
            reactor=reactor,
            now=reactor.seconds,
            health=AlwaysWell(),
            metrics=Metrics(),
        )
    )


async def write(store: Store, key: str, size_bytes: int, told: bool = True) -> None:
    source = BytesSource(b"v" * size_bytes, told=told)
    await put(store, Put(NAME, key, source))
    assert (await head(store, Get(NAME, key))).head.size_bytes == size_bytes


async def lives_and_dies(store: Store, nodes: list[S3Node]) -> None:
    for _ in range(2):
        await create_bucket(store, NAME)
        await set_bucket_setting(store, NAME, "cors", {"rules": []})
        assert [each.name for each in buckets(store)] == ["object", NAME]
        for node in nodes:
            assert NAME in await node.list_buckets()
        keys = [f"k-{each}" for each in range(len(BODIES))]
        for key, (size_bytes, told) in zip(keys, BODIES, strict=True):
            await write(store, key, size_bytes, told)
            await raises(BucketNotEmpty, delete_bucket(store, NAME))
        listing = await list_objects(store, NAME, wanted=lambda _: True)
        assert [entry.key for entry in listing.entries] == keys
        for key in keys:
            await raises(BucketNotEmpty, delete_bucket(store, NAME))
            await delete(store, NAME, key)
        await delete_bucket(store, NAME)
        for node in nodes:
            assert NAME not in await node.list_buckets()
        await raises(NoSuchBucket, write(store, "k", 1000))
        await raises(NoSuchBucket, get(store, Get(NAME, "k")))


async def is_made_where_it_is_missing(store: Store, nodes: list[S3Node]) -> None:
    await create_bucket(store, NAME)
    for missing in (nodes[:1], nodes[1:], nodes):
        for node in missing:
            await node.delete_bucket(NAME)
        await raises(NoSuchKey, head(store, Get(NAME, "k")))
        await raises(NoSuchKey, get(store, Get(NAME, "k")))
        assert not (await list_objects(store, NAME, wanted=lambda _: True)).entries
        await write(store, "k", 1000)
        for node in nodes:
            assert (await node.head(NAME, "k")).size_bytes == 1000
        await delete(store, NAME, "k")
        for node in missing:
            await node.delete_bucket(NAME)
        await write(store, "k", 9 * MIB, told=False)
        await delete(store, NAME, "k")
    await delete_bucket(store, NAME)


async def goes_where_it_was_left(store: Store, nodes: list[S3Node]) -> None:
    presence = Presence(store.buckets, store.turns)
    await create_bucket(store, "another")
    for node in nodes:
        await node.create_bucket(NAME)
        await node.delete_bucket("another")
        await presence.level(node)
        names = await node.list_buckets()
        assert "another" in names and NAME not in names, names
    await delete_bucket(store, "another")
