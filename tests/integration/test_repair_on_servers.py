"""Copying and walking between real servers of both kinds, which differ in what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from aosd.consistency.copying import Copier
from aosd.consistency.memory import Memory
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.model.objects import STAMP_HEADER, Headers
from aosd.model.stamp import StampClock
from aosd.nodes.s3 import S3Node
from aosd.ports import Candidate
from aosd.repair.walk import Walk, Windows
from aosd.streams.bodies import HeldBody
from aosd.streams.budget import MemoryBudget
from tests.contract.servers import AlwaysWell, Server, on_path

MIB = 1024 * 1024
STAMP = "0193594b3a7c-0001-0000000a"
# Folders among names that begin with theirs, more of these than a page holds.
KEYS = sorted(
    ["x-1", "x.txt", "x/1", "x/2", "x-2/k", "x0", "w", "zz", "y/a/b", "y/a-b", "y/a.c/d"]
    + [f"m-{each:03}" for each in range(60)]
    + [f"d/s-{each:02}" for each in range(50)]
    + ["m/1", "d/s/1", "d/t", "d/s-/q"]
)


class Nothing:
    """A journal without a line."""

    def delete_of(self, bucket: str, key: str) -> str | None:
        return None

    def counts_as(self, bucket: str, key: str, stamp: str) -> str:
        return stamp


@pytest_twisted.ensureDeferred
async def test_between_servers_of_both_kinds(tmp_path: Path) -> None:
    from twisted.internet import reactor

    if not on_path("minio"):
        pytest.skip("no minio on PATH")
    servers = [Server(kind, tmp_path / kind, reactor) for kind in ("minio", "seaweedfs")]
    try:
        for server in servers:
            await server.start()
        nodes = [server.node(AlwaysWell()) for server in servers]
        for node, server in zip(nodes, servers, strict=True):
            node.name = server.kind
        await copied_as_they_are(nodes[0], nodes[1], reactor)
        await copied_as_they_are(nodes[1], nodes[0], reactor)
        await walked_alike(nodes, reactor)
        for node in nodes:
            await node.close()
    finally:
        for server in servers:
            await server.stop()


async def copied_as_they_are(source: S3Node, target: S3Node, clock: Any) -> None:
    members = [Candidate(target.name, target)]
    memory = Memory(lambda: members, 1, ToTheEnd(), clock.seconds, 1200.0)
    copier = Copier(
        turns=Turns(clock, 20.0, ToTheEnd()),
        uploads=Uploads(memory),
        stamps=StampClock(clock.seconds, "0000000a"),
        writes=Writes(),
        journal=Nothing(),
        budget=MemoryBudget(64 * MIB, clock),
    )
    keys: list[str] = []
    users: Headers = ((b"content-type", b"text/x"), (b"x-amz-meta-who", b"me"))
    for stamp in (STAMP, None):
        headers = users if stamp is None else (*users, (STAMP_HEADER, stamp.encode()))
        for size_bytes in (0, 1000, 9 * MIB):
            key = f"{source.name}-{stamp}-{size_bytes}"
            keys.append(key)
            body = HeldBody([b"v" * size_bytes] if size_bytes else [])
            await source.put("object", key, body, headers)
            await copied(copier, source, target, key, stamp)
        key = f"{source.name}-{stamp}-parts"
        keys.append(key)
        sizes = (5 * MIB + 3, 7 * MIB, 11)
        upload = await source.create_upload("object", key, headers)
        etags = [
            await source.put_part("object", key, upload, number, HeldBody([b"v" * size]))
            for number, size in enumerate(sizes, 1)
        ]
        await source.complete_upload("object", key, upload, tuple(enumerate(etags, 1)))
        await copied(copier, source, target, key, stamp)
        for number, size in enumerate(sizes, 1):
            assert (await target.head("object", key, number)).size_bytes == size
    for key in keys:
        await source.delete("object", key)
        await target.delete("object", key)


async def copied(
    copier: Copier, source: S3Node, target: S3Node, key: str, stamp: str | None
) -> None:
    head = await source.head("object", key)
    assert await copier.copy(source, target, "object", key, head)
    found = await target.head("object", key)
    assert (found.etag, found.size_bytes) == (head.etag, head.size_bytes)
    assert sorted(found.headers) == sorted(head.headers)
    assert found.stamp == stamp if stamp else found.stamp


async def walked_alike(nodes: list[S3Node], clock: Any) -> None:
    for node in nodes:
        for key in KEYS:
            await node.put("object", key, HeldBody([b"v"]), ())
    for page_keys in (2, 3, 7, 10, 31, 61, 1000):
        for after in ("", "x-2/k", "x-1", "m-010", "y/a-b", "m/1", "d/s/1", "d/s-03", "d/s-/q"):
            windows = Windows(Writes())
            by_name = {node.name: node for node in nodes}
            walk = Walk(by_name, "object", after, windows, clock, pytest.fail, page_keys)
            found: list[tuple[str, int]] = []
            async for batch in walk.batches(50):
                found += [(each.key, len(each.entries)) for each in batch]
            windows.end()
            assert found == [(key, 2) for key in KEYS if key > after], (page_keys, after)
