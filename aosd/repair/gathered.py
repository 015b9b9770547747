"""Whether one node has a copy of everything: its listing beside those of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from aosd.consistency.buckets import has_none
from aosd.consistency.writes import Writes
from aosd.model.errors import AosdError
from aosd.model.objects import Entry
from aosd.ports import INode
from aosd.repair.walk import Walk, Windows

_BATCH_KEYS = 1000
_NAMED = 10
_MOST_HEADS = 10_000


@dataclass
class Gathered:
    """What all nodes list, and what the one doesn't have of it; some of that by its name.

    `lost` are nodes that couldn't be listed: then nothing is certain.
    """

    keys: int = 0
    size_bytes: int = 0
    lacking: int = 0
    lacking_bytes: int = 0
    names: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)


async def gathered(
    nodes: Mapping[str, INode],
    buckets: Sequence[str],
    name: str,
    writes: Writes,
    clock: IReactorTime,
    *,
    look: bool = False,
) -> Gathered:
    """Compare what the node `name` lists with what all of `nodes` do.

    A key that it doesn't list may be hidden there beneath another one, as MinIO does it: with
    `look` it is asked for such keys. An empty one that ends in `/`
    isn't expected of it. To be believed while nothing is written. What a node that
    can't be asked has isn't told, but the node is.
    """
    found = Gathered()
    windows = Windows(writes)
    try:
        for bucket in buckets:
            walk = Walk(nodes, bucket, "", windows, clock, found.lost.add)
            async for batch in walk.batches(_BATCH_KEYS):
                for each in batch:
                    one = max(each.entries.values(), key=lambda entry: entry.modified_s)
                    found.keys += 1
                    found.size_bytes += one.size_bytes
                    here = each.entries.get(name)
                    if here is not None and all(
                        _is_like(here, entry) for entry in each.entries.values()
                    ):
                        continue
                    if each.key.endswith("/") and not one.size_bytes:
                        continue  # some nodes have a folder in its place
                    looks = look and here is None and found.lacking < _MOST_HEADS
                    if looks and await _holds(nodes[name], bucket, one):
                        continue
                    found.lacking += 1
                    found.lacking_bytes += one.size_bytes
                    if len(found.names) < _NAMED:
                        found.names.append(f"{bucket}/{each.key}")
    finally:
        windows.end()
    return found


async def _holds(node: INode, bucket: str, entry: Entry) -> bool:
    try:
        head = await node.head(bucket, entry.key)
    except AosdError as error:
        if has_none(error):
            return False
        raise
    return (head.etag, head.size_bytes) == (entry.etag, entry.size_bytes)


def _is_like(one: Entry, other: Entry) -> bool:
    return (one.etag, one.size_bytes) == (other.etag, other.size_bytes)
