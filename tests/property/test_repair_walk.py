"""The walk through all nodes' listings: whatever order they list in, each key comes once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aosd.consistency.writes import Writes
from aosd.repair.walk import Walk, Windows
from aosd.testing.memory_node import Copy, MemoryNode

segments = st.one_of(
    st.sampled_from(
        ["a", "a-", "a-b", "a-b-c", "a.", "a.c", "a0", "aa", "0", "0-", "!", "! ", "é-"]
    ),
    st.text("ab-./0 é\U0001f600", min_size=1, max_size=3).filter(
        lambda text: "/" not in text and text not in (".", "..")
    ),
)
keys = st.lists(segments, min_size=1, max_size=3).map("/".join)
holdings = st.dictionaries(keys, st.sets(st.sampled_from([0, 1, 2]), min_size=1), max_size=25)


def utf8(key: str) -> bytes:
    return key.encode()


def walked(
    nodes: list[MemoryNode], after: str, page_keys: int, batch_keys: int, rolls: bool = False
) -> list[tuple[str, set[str]]]:
    """All that the walk gives; with `rolls` every page is stale by the time it is needed."""
    clock = Clock()
    windows = Windows(Writes())
    walk = Walk(
        {node.name: node for node in nodes}, "object", after, windows, clock, lost, page_keys
    )
    found: list[tuple[str, set[str]]] = []

    async def go() -> None:
        async for batch in walk.batches(batch_keys):
            assert 0 < len(batch) <= batch_keys
            found.extend((each.key, set(each.entries)) for each in batch)
            for each in batch:
                assert not windows.is_stale(each.window)
            for _ in range(4 if rolls else 0):
                windows.roll()

    going = Deferred.fromCoroutine(go())
    results: list[object] = []
    going.addBoth(results.append)
    assert results == [None], results
    return found


def lost(name: str) -> None:
    raise AssertionError(name)


@given(
    holdings,
    st.one_of(st.just(""), keys),
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_each_key_once_in_order_with_all_who_have_it(
    held: dict[str, set[int]],
    after: str,
    page_keys: int,
    batch_keys: int,
    trees: list[bool],
    rolls: bool,
) -> None:
    nodes = [
        MemoryNode(f"n{each}", tree_order=tree, counts_passed=not tree and page_keys > 1)
        for each, tree in enumerate(trees)
    ]
    for key, holders in held.items():
        for each in holders:
            nodes[each].buckets["object"][key] = Copy(b"", '"e"', 5.0)
    expected = [
        (key, {f"n{each}" for each in held[key]})
        for key in sorted(held, key=utf8)
        if utf8(key) > utf8(after)
    ]
    assert walked(nodes, after, page_keys, batch_keys, rolls) == expected
