"""Listing: one page of what all nodes hold, in S3's order, each key once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aosd.gateway.store import Store, cluster_errors, gather
from aosd.model.errors import NoNodes, NoQuorum
from aosd.model.listing import merge_pages
from aosd.model.objects import Entry
from aosd.ports import INode

_PAGE_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """A page; `more` says whether there are keys after the last entry."""

    entries: tuple[Entry, ...]
    more: bool


async def list_objects(
    store: Store,
    bucket: str,
    *,
    prefix: str = "",
    after: str = "",
    limit: int = _PAGE_KEYS,
    wanted: Callable[[str], bool],
) -> Listing:
    """Up to `limit` (1 to 1,000) keys without a `/`, after `after` (exclusive), that are `wanted`.

    Raises NoNodes, or NoQuorum while a node is away: what lies on it can't be listed.
    """
    nodes = _all_nodes(store)
    found: list[Entry] = []
    # One more than asked for tells whether there are more.
    page_keys = min(limit + 1, _PAGE_KEYS)
    with cluster_errors():
        while True:
            # One level of the tree: within it every server's order is S3's.
            pages = await gather(
                [node.list(bucket, prefix, after, page_keys, "/") for node in nodes]
            )
            merged = merge_pages(
                {node.name: page for node, page in zip(nodes, pages, strict=True)}, after
            )
            for entry in merged.entries:
                if not wanted(entry.key):
                    continue
                if len(found) == limit:
                    return Listing(tuple(found), more=True)
                found.append(entry)
            if not merged.truncated or merged.last is None:
                return Listing(tuple(found), more=False)
            after = merged.last


def _all_nodes(store: Store) -> list[INode]:
    members = store.placement.members()
    if not members:
        raise NoNodes("no nodes are known yet")
    away = [member.name for member in members if member.node is None]
    if away:
        raise NoQuorum(f"can't list while {', '.join(away)} is away")
    return [member.node for member in members if member.node is not None]
