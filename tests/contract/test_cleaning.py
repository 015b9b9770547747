"""Taking aosd away from real S3 servers: what is left are plain objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted

from aosd.model.errors import NodeError, NodeNonsense
from aosd.model.marker import Marker, read_marker
from aosd.nodes.asking import Answer, Asking
from aosd.nodes.cleaning import clean
from aosd.nodes.provision import equip, introduce
from tests.contract.servers import Server
from tests.contract.test_introductions import contents, deed

OURS = Marker("c1", "embedded-1", "i1")
OTHER = Marker("c1", "embedded-2", "i2")
RECORDS = {
    "members/embedded-1": b"{}",
    "buckets/photos": b'{"stamp": "s", "value": {"state": "live"}}',
    "buckets/empty": b'{"stamp": "s", "value": {"state": "live"}}',
}


@pytest_twisted.async_yield_fixture
async def server(running: Server) -> AsyncIterator[Server]:
    """A node of a cluster: three buckets, two of them without an object, and its memory."""
    for bucket, keys in (await running.call(contents)).items():
        objects = [("DELETE", bucket, key) for key in keys]
        await running.call(deed(*objects, ("DELETE", bucket)))
    await running.call(equip, OURS.to_bytes(), None, RECORDS)
    await running.call(deed(("PUT", "photos", "a/b"), body=b"data"))
    yield running


@pytest_twisted.ensureDeferred
async def test_all_that_is_aosds_own_goes_and_objects_stay(server: Server) -> None:
    uploads = {"uploads": ""}
    await server.call(deed(("POST", "aos-system", "probe/1"), query=uploads))
    for _ in range(2):
        await server.call(clean, "c1")
        assert await server.call(contents) == {"empty": [], "object": [], "photos": ["a/b"]}
    found = await server.call(introduce, probe=True)
    assert (found.marker, found.objects) == (None, True)


@pytest_twisted.ensureDeferred
async def test_thousands_of_records(server: Server) -> None:
    marks = [f"marks/{each % 7:05d}/{each:032x}/s" for each in range(2500)]
    await server.call(deed(*(("PUT", "aos-system", mark) for mark in marks), body=b"{}"))
    await server.call(clean, "c1")
    assert "aos-system" not in await server.call(contents)


@pytest_twisted.ensureDeferred
async def test_a_node_that_was_emptied_is_as_it_was_before(server: Server) -> None:
    await server.call(deed(("PUT", "theirs")))
    await server.call(clean, "c1", True)
    assert await server.call(contents) == {"photos": ["a/b"], "theirs": []}


@pytest_twisted.ensureDeferred
async def test_it_goes_on_where_it_was_cut_short(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, allowed = Asking.ask, 10**9

    def ask(self: Asking, *args: Any, **more: Any) -> Answer:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise NodeNonsense(self.name, "cut short")
        return real(self, *args, **more)

    monkeypatch.setattr(Asking, "ask", ask)
    before = (await server.call(contents))["aos-system"]
    lefts = []
    for most in range(1, 30):
        allowed = most
        with suppress(NodeNonsense):
            await server.call(clean, "c1")
        ended, allowed = allowed >= 0, 10**9
        there = (await server.call(contents)).get("aos-system")
        marker = (await server.call(introduce, probe=False)).marker
        lefts.append(marker is not None and read_marker(server.name, marker).left)
        # The marker says so before anything goes, and is the last to go.
        assert there == before or lefts[-1] or not there
        if ended:
            break
    assert ended and there is None
    assert True in lefts


@pytest_twisted.ensureDeferred
async def test_nodes_of_others_are_left_alone(server: Server) -> None:
    before = await server.call(contents)
    with pytest.raises(NodeError, match="of cluster c1"):
        await server.call(clean, "c2")
    await server.call(deed(("PUT", "aos-system", "node.json"), body=OTHER.to_bytes()))
    with pytest.raises(NodeError, match="node embedded-2"):
        await server.call(clean, "c1")
    assert await server.call(contents) == before
