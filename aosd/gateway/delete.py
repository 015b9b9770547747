"""Deleting an object."""

from __future__ import annotations

from aosd.gateway.store import Store, cluster_errors
from aosd.model.conditions import UNCONDITIONAL, Conditions, Verdict, check_write
from aosd.model.errors import PreconditionFailed


async def delete(
    store: Store, bucket: str, key: str, conditions: Conditions = UNCONDITIONAL
) -> None:
    """Delete the object from every node that is up; returns also when there was none.

    `conditions` are decided at the key's turn. Raises PreconditionFailed, or a ClusterError
    when a primary can't be asked; the object may be gone all the same then.
    """

    async def act() -> None:
        primaries = store.primaries(bucket, key)
        if conditions:
            present = await store.look(bucket, key)
            if check_write(conditions, present.etag if present else None) is not Verdict.PROCEED:
                raise PreconditionFailed("a condition of the request doesn't hold")
        for node in primaries:
            await node.delete(bucket, key)
        await store.ask(store.others(bucket, key), lambda node: node.delete(bucket, key))

    with cluster_errors():
        store.primaries(bucket, key)
        await store.turns.take(bucket, key, act)
