"""Deleting an object."""

from __future__ import annotations

from aosd.gateway.look import look
from aosd.gateway.sent import Sent, check_taken, remember
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.model.conditions import UNCONDITIONAL, Conditions, Verdict, check_write
from aosd.model.errors import PreconditionFailed


async def delete(
    store: Store, bucket: str, key: str, conditions: Conditions = UNCONDITIONAL
) -> None:
    """Delete the object; returns also when there was none.

    The delete stands in the journal, on enough nodes, before any copy is removed: copies
    that can't be reached are dead from then on. `conditions` are decided at the key's turn.
    Raises NoSuchBucket, PreconditionFailed, or a ClusterError; the object may be gone all the
    same then.
    """

    async def act() -> None:
        check_taken(store)
        store.buckets.check(bucket)
        if conditions:
            present = (await look(store, bucket, key, at_turn=True)).head
            if check_write(conditions, present.etag if present else None) is not Verdict.PROCEED:
                raise PreconditionFailed(
                    "a condition of the request doesn't hold", absent=present is None
                )
        stamp = store.stamps.next()
        store.writes.effect(bucket, key, stamp, delete=True)
        await store.journal.deleted(bucket, key, stamp)
        sent = Sent()
        answers = await ask(store.could_hold(bucket, key), lambda node: node.delete(bucket, key))
        for name, outcome in answers.items():
            sent.answered(name, outcome if isinstance(outcome, Exception) else "")
        await remember(store, bucket, key, stamp, sent, written=True, delete=True)

    with cluster_errors():
        store.buckets.check(bucket)
        store.orders(bucket, key)
        await store.turns.take(bucket, key, act)
