"""Listings of real servers side by side, each in its own order, with awkward keys."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock

from aosd.gateway.list import list_objects
from aosd.gateway.store import Store
from aosd.model.objects import OBJECT_BUCKET
from aosd.nodes.s3 import S3Node
from aosd.testing.bodies import BytesBody
from aosd.testing.stores import MemoryPlacement, make_store
from tests.contract.servers import AlwaysWell, Server, on_path

KINDS = [kind for kind in ("minio", "seaweedfs") if on_path(kind)]
COUNT = 3_000
NAMES = ["a", "b", "a-b", "a.b", "a b", "a+b", "a%b", "a%2Fb", "a&b", "é", "\U0001d11e", "~", "0"]


def awkward_keys() -> list[str]:
    """Of which none is a folder of another one: MinIO lists only the one or the other."""
    chance = random.Random(7)
    # More than a page of names that stand before a folder which they begin with.
    found = {f"img-{number:04}.jpg" for number in range(1_200)} | {"img/1", "img/2", "img0"}
    while len(found) < COUNT:
        folders = [chance.choice(NAMES) for _ in range(chance.randint(0, 3))]
        found.add("/".join([*folders, f"{chance.choice(NAMES)} {chance.randint(0, 999)}"]))
    return sorted(found, key=str.encode)


KEYS = awkward_keys()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two servers of different kinds, where both are there; each key on one or on both."""
    from twisted.internet import reactor

    folder = tmp_path_factory.mktemp("nodes")
    servers = [Server(kind, folder / f"{kind}{n}", reactor) for n, kind in enumerate(KINDS)]
    nodes: list[S3Node] = []

    async def start() -> Store:
        for number, server in enumerate(servers):
            await server.start()
            node = server.node(AlwaysWell())
            node.name, node.sorts = f"n{number}", server.kind == "minio"
            nodes.append(node)
        chance = random.Random(8)
        puts = [
            (node, key)
            for key in KEYS
            for node in chance.sample(nodes, chance.randint(1, len(nodes)))
        ]
        for first in range(0, len(puts), 64):
            some = puts[first : first + 64]
            outcomes = await DeferredList(
                [node.put(OBJECT_BUCKET, key, BytesBody(b"x"), ()) for node, key in some]
            )
            for (_, key), (well, outcome) in zip(some, outcomes, strict=True):
                assert well, (key, outcome)
        clock = cast(Clock, reactor)
        return make_store(MemoryPlacement(nodes), clock, replicas=len(nodes))

    async def stop() -> None:
        for each in (*nodes, *servers):
            await (
                each.close() if isinstance(each, S3Node) else Deferred.fromCoroutine(each.stop())
            )

    try:
        yield pytest_twisted.blockon(Deferred.fromCoroutine(start()))
    finally:
        pytest_twisted.blockon(Deferred.fromCoroutine(stop()))


def expected(prefix: str, delimiter: str) -> list[str]:
    names: dict[str, None] = {}
    for key in KEYS:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
            names[prefix + head + delimiter if found else key] = None
    return list(names)


@pytest.mark.parametrize(
    ("prefix", "delimiter", "limit"),
    [
        ("", "", 1000),
        ("", "", 137),
        ("", "/", 1000),
        ("", "/", 7),
        ("", "-", 1000),
        ("", " ", 5),
        ("", "b/", 50),
        ("a", "", 1000),
        ("a/", "/", 10),
        ("a b", "/", 10),
        ("a/a", "", 20),
        ("a/a", "a", 3),
        ("img", "/", 1000),
        ("img/", "/", 1),
        ("é/", "", 9),
        ("nothing", "/", 10),
    ],
)
@pytest_twisted.ensureDeferred
async def test_all_pages(store: Store, prefix: str, delimiter: str, limit: int) -> None:
    found: list[str] = []
    after, more = "", True
    while more:
        asked: dict[str, Any] = {"after": after, "limit": limit, "delimiter": delimiter}
        page = await Deferred.fromCoroutine(
            list_objects(store, OBJECT_BUCKET, prefix=prefix, **asked)
        )
        names = [*(each.key for each in page.entries), *page.prefixes]
        assert len(names) <= limit
        found += sorted(names, key=str.encode)
        after, more = page.last, page.more
    assert found == expected(prefix, delimiter)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest_twisted.ensureDeferred
async def test_a_page_may_begin_anywhere(store: Store, delimiter: str) -> None:
    """Also in a folder that more names stand before than a page has."""
    for after in ("img/1", "img/", "img-0500.jpg", "a/a/b", "a/b/", "a b/~", "é", *KEYS[5::400]):
        page = await Deferred.fromCoroutine(
            list_objects(store, OBJECT_BUCKET, after=after, limit=20, delimiter=delimiter)
        )
        names = sorted([*(each.key for each in page.entries), *page.prefixes], key=str.encode)
        later: dict[str, None] = {}
        for key in KEYS:
            head, slash, _ = key.partition(delimiter or "\0")
            name = head + delimiter if slash else key
            if key.encode() > after.encode() and name != after:
                later[name] = None
        assert names == list(later)[:20], after
