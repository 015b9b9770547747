"""Forecasts from the listings of real servers, beside what other clients list there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from aosd.model.node import Member
from aosd.model.ring import Ring
from aosd.nodes.s3 import S3Node
from aosd.repair.forecast import Forecast, Forecaster
from aosd.repair.rates import Rates
from aosd.streams.bodies import HeldBody
from aosd.testing.stores import MemoryPlacement
from tests.contract.servers import AlwaysWell, Server
from tests.integration.nodes import KINDS

NAMES = ("n1", "n2", "n3", "n4")
BUCKETS = ("object", "photos")
# Folders, and names that begin with theirs.
KEYS = [f"{folder}{number:04d}" for folder in ("", "f/", "f-/g/") for number in range(150)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_figures_are_those_of_the_listings(tmp_path: Path, kind: str) -> None:
    from twisted.internet import reactor

    clock: Any = reactor
    servers = {name: Server(kind, tmp_path / name, clock) for name in NAMES}
    try:
        nodes: dict[str, S3Node] = {}
        for name, server in servers.items():
            await server.start()
            nodes[name] = server.node(AlwaysWell())
            nodes[name].name = name
        await lay(nodes)
        present = ring("n1", "n2", "n3")
        placement = MemoryPlacement(list(nodes.values()))
        placement.ring = present
        forecaster = Forecaster(
            placement=placement,
            buckets=lambda: BUCKETS,
            replicas=2,
            clock=clock,
            rates=Rates(clock, keys_per_s=math.inf, bytes_per_s=math.inf),
            keys_per_s=10_000.0,
        )
        lie = {name: await listed(node) for name, node in nodes.items()}
        assert not lie["n4"]
        joined = await forecaster.forecast(present, ring(*NAMES))
        check(joined, present, ring(*NAMES), lie)
        assert joined.nodes["n4"].copies_out == 0
        drained = await forecaster.forecast(present, ring("n1", "n3"))
        check(drained, present, ring("n1", "n3"), lie)
        assert drained.nodes["n2"].copies_out == len(lie["n2"])
        assert drained.nodes["n2"].bytes_out == sum(lie["n2"].values())
        still = await forecaster.forecast(present, present)
        assert (still.keys, still.moved_copies) == (len(KEYS) * 2, 0)
        for node in nodes.values():
            await node.close()
    finally:
        for server in servers.values():
            await server.stop()


async def lay(nodes: dict[str, S3Node]) -> None:
    present = ring("n1", "n2", "n3")
    for node in nodes.values():
        for bucket in BUCKETS:
            await node.create_bucket(bucket)
    for bucket in BUCKETS:
        for number, key in enumerate(KEYS):
            for name in present.primaries(bucket, key, 2):
                await nodes[name].put(bucket, key, HeldBody([b"v" * (number % 7 + 1)]), ())


async def listed(node: S3Node) -> dict[tuple[str, str], int]:
    """What one node lists, page by page, and how long each is."""
    found: dict[tuple[str, str], int] = {}
    for bucket in BUCKETS:
        after, more = "", True
        while more:
            page = await node.list(bucket, "", after)
            found.update({(bucket, entry.key): entry.size_bytes for entry in page.entries})
            after, more = page.last or "", page.truncated
    return found


def check(
    told: Forecast, present: Ring, coming: Ring, lie: dict[str, dict[tuple[str, str], int]]
) -> None:
    everything = {name: size for there in lie.values() for name, size in there.items()}
    assert (told.keys, told.size_bytes) == (len(everything), sum(everything.values()))
    assert told.unlisted == ()
    for name, share in told.nodes.items():
        wanted = {each for each in everything if name in coming.primaries(*each, 2)}
        gets, gives = wanted - lie[name].keys(), lie[name].keys() - wanted
        assert (share.copies_in, share.copies_out) == (len(gets), len(gives)), name
        assert share.bytes_in == sum(everything[each] for each in gets), name
        assert share.bytes_out == sum(everything[each] for each in gives), name


def ring(*names: str) -> Ring:
    return Ring(Member(name, 1.0, name) for name in names)
