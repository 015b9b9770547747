"""A listing of several nodes, page by page, against the sorted set of what they hold."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from aosd.model.listing import merge_pages
from aosd.model.objects import Entry, Page

# Signs around the ones where orders of text differ: UTF-16's and folders'.
keys = st.text(st.sampled_from("-/0aé\uff5e\U00010000"), min_size=1, max_size=4)
entries = st.tuples(st.integers(1, 3).map(float), st.sampled_from(['"x"', '"y"']))
holdings = st.dictionaries(keys, entries, max_size=12)


def utf8(key: str) -> bytes:
    return key.encode()


def page(held: dict[str, tuple[float, str]], after: str, limit: int, chance: random.Random) -> Page:
    """A node's page, its entries in any order."""
    names = sorted((key for key in held if utf8(key) > utf8(after)), key=utf8)
    found = [Entry(key, held[key][1], 1, held[key][0]) for key in names[:limit]]
    chance.shuffle(found)
    return Page(
        tuple(found),
        truncated=len(names) > limit,
        last=names[:limit][-1] if names else None,
    )


@given(
    st.lists(st.tuples(holdings, st.integers(1, 5)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_every_key_comes_once_in_order(
    nodes: list[tuple[dict[str, tuple[float, str]], int]], chance: random.Random
) -> None:
    found: list[Entry] = []
    after, rounds = "", 0
    while True:
        merged = merge_pages(
            {
                str(number): page(held, after, limit, chance)
                for number, (held, limit) in enumerate(nodes)
            },
            after,
        )
        found += merged.entries
        rounds += 1
        if not merged.truncated:
            break
        assert merged.last is not None and utf8(merged.last) > utf8(after)
        assert merged.entries, "a round that brings nothing"
        after = merged.last
    everything = {key for held, _ in nodes for key in held}
    assert [entry.key for entry in found] == sorted(everything, key=utf8)
    assert rounds <= len(everything) + 1
    for entry in found:
        copies = [held[entry.key] for held, _ in nodes if entry.key in held]
        assert entry.etag == max(copies)[1]
        assert entry.modified_s == min(time for time, etag in copies if etag == entry.etag)
