"""The listing: all nodes' keys as one sorted sequence of ids, in pages."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file

COUNT = 2_500
NAMES = ("l1", "l2", "l3")
NO_IDS = ["a-b", "a/b", "dir/deep/er", "under_score", "x.y", "z" * 33, "ü"]


@pytest.fixture(scope="module")
def ids() -> list[str]:
    """Sorted by their bytes, as S3 does."""
    letters = random.Random(5)
    found: set[str] = {"0", "Z", "a", "A1", "A10", "A2", "z" * 32}
    while len(found) < COUNT:
        length = letters.randint(2, 32)
        found.add("".join(letters.choices(string.ascii_letters + string.digits, k=length)))
    return sorted(found)


@pytest.fixture(scope="module")
def listed_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    with running_nodes(tmp_path_factory.mktemp("listed"), NAMES) as running:
        yield running


@pytest.fixture(scope="module")
def full(
    listed_nodes: list[RealNode], ids: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon whose nodes hold all of `ids`, and keys that are no ids."""
    folder = tmp_path_factory.mktemp("listing")
    nodes_file = write_nodes_file(folder / "nodes.toml", listed_nodes)
    with running_daemon(folder / "daemon", nodes_file, "--access-log=false", up=NAMES) as daemon:

        def put(each: str) -> int:
            return daemon.ask("PUT", f"/object/{each}", {}, each.encode()).status

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(put, ids)) == {201}
        for node in listed_nodes:
            for each in NO_IDS:
                node.put(each, b"not from the plain door")
        yield daemon


def walk(daemon: Daemon, query: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    after = ""
    while True:
        asked = "&".join(filter(None, [query, f"limit={limit}", after and f"after={after}"]))
        answer = daemon.ask("GET", f"/object?{asked}")
        assert answer.status == 200
        page = answer.json
        assert set(page) == {"objects", "next"}
        yield page["objects"]
        if page["next"] is None:
            return
        assert len(page["objects"]) == limit
        assert page["next"] == page["objects"][-1]["id"]
        after = page["next"]


@pytest.mark.parametrize("limit", [1000, 999, 313])
def test_pages_hold_each_id_once_in_order(full: Daemon, ids: list[str], limit: int) -> None:
    pages = list(walk(full, "", limit))
    assert [each["id"] for page in pages for each in page] == ids
    assert len(pages) == -(-COUNT // limit)


def test_every_node_has_a_share(full: Daemon, listed_nodes: list[RealNode], ids: list[str]) -> None:
    shares = [node.stored_keys() & set(ids) for node in listed_nodes]
    assert sum(map(len, shares)) == 2 * COUNT
    assert min(map(len, shares)) > COUNT / 3


def test_the_default_is_a_thousand(full: Daemon, ids: list[str]) -> None:
    page = full.ask("GET", "/object").json
    assert [each["id"] for each in page["objects"]] == ids[:1000]
    assert page["next"] == ids[999]


def test_small_pages(full: Daemon, ids: list[str]) -> None:
    start = ids[1200]
    for limit in (1, 2, 7):
        page = full.ask("GET", f"/object?limit={limit}&after={start}").json
        assert [each["id"] for each in page["objects"]] == ids[1201 : 1201 + limit]


@pytest.mark.parametrize("prefix", ["A", "A1", "a", "zz", "z" * 32, "q9q9q9q9"])
def test_prefixes(full: Daemon, ids: list[str], prefix: str) -> None:
    found = [each["id"] for page in walk(full, f"prefix={prefix}", 10) for each in page]
    assert found == [each for each in ids if each.startswith(prefix)]


def test_prefix_and_after_together(full: Daemon, ids: list[str]) -> None:
    under = [each for each in ids if each.startswith("m")]
    for after in (under[3], "m", "a", "zzz"):
        found = full.ask("GET", f"/object?prefix=m&after={after}").json
        assert [each["id"] for each in found["objects"]] == [e for e in under if e > after]
        assert found["next"] is None


def test_after_need_not_be_an_id_that_is_there(full: Daemon, ids: list[str]) -> None:
    after = ids[700] + "0" if len(ids[700]) < 32 else ids[700]
    page = full.ask("GET", f"/object?after={after}&limit=1").json
    assert page["objects"][0]["id"] == next(each for each in ids if each > after)


def test_what_an_entry_tells(full: Daemon, ids: list[str]) -> None:
    for entry in full.ask("GET", "/object?limit=5").json["objects"]:
        data = entry["id"].encode()
        assert set(entry) == {"id", "etag", "size", "last_modified"}
        assert entry["size"] == len(data)
        assert entry["etag"] == f'"{md5(data, usedforsecurity=False).hexdigest()}"'
        age = datetime.now(UTC) - datetime.fromisoformat(entry["last_modified"])
        assert timedelta(seconds=-60) < age < timedelta(hours=1)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1e2",
        "prefix=a-b",
        "prefix=a%2Fb",
        "after=..",
        "after=a%00b",
        "prefix=%ff",
        "unknown=1",
        f"prefix={'a' * 33}",
    ],
)
def test_queries_that_are_refused(full: Daemon, query: str) -> None:
    refused = full.ask("GET", f"/object?{query}")
    assert refused.status == 400
    assert refused.code == "InvalidArgument"


def test_an_empty_store_has_an_empty_listing(nodes_file: Path, daemon: Daemon, key: str) -> None:
    assert daemon.ask("GET", f"/object?prefix={key}").json == {"objects": [], "next": None}
