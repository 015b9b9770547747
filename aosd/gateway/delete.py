"""Deleting an object."""

from __future__ import annotations

from aosd.gateway.store import Store, cluster_errors


async def delete(store: Store, bucket: str, key: str) -> None:
    """Delete the object from every node that is up; returns also when there was none.

    Raises a ClusterError when a primary can't be asked; the object may be gone all the
    same.
    """

    async def act() -> None:
        primaries = store.primaries(bucket, key)
        for node in primaries:
            await node.delete(bucket, key)
        await store.ask(store.others(bucket, key), lambda node: node.delete(bucket, key))

    with cluster_errors():
        store.primaries(bucket, key)
        await store.turns.take(bucket, key, act)
