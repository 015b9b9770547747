"""What a node holds of clients' objects, as its own listings tell."""

from __future__ import annotations

from aosd.model.objects import SYSTEM_BUCKET
from aosd.ports import INode


async def first_keys(node: INode, most: int) -> list[str]:
    """Up to `most` (1 to 1,000) of the keys on a node, as `bucket/key`, bucket by bucket.

    None: it holds nothing, but for what it hides. Raises NodeError.
    """
    found: list[str] = []
    for bucket in await node.list_buckets():
        if bucket == SYSTEM_BUCKET:
            continue
        page = await node.list(bucket, limit=most)
        found += [f"{bucket}/{entry.key}" for entry in page.entries]
        if len(found) >= most:
            break
    return found[:most]
