"""Deleting an object."""

from __future__ import annotations

from contextlib import suppress

from aosd.consistency.marks import Mark
from aosd.gateway.look import look
from aosd.gateway.sent import Sent, check_taken, remember
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.model.conditions import UNCONDITIONAL, Conditions, Verdict, check_write
from aosd.model.errors import ClusterError, PreconditionFailed
from aosd.model.node import NodeState
from aosd.model.ring import partition


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
        try:
            await store.journal.deleted(bucket, key, stamp)
        except ClusterError:
            await _outlived(store, bucket, key, stamp)
            raise
        sent = Sent()
        answers = await ask(store.could_hold(bucket, key), lambda node: node.delete(bucket, key))
        for name, outcome in answers.items():
            sent.answered(name, outcome if isinstance(outcome, Exception) else "")
        await remember(store, bucket, key, stamp, sent, written=True, delete=True)

    with cluster_errors():
        store.buckets.check(bucket)
        store.orders(bucket, key)
        await store.turns.take(bucket, key, act)


async def _outlived(store: Store, bucket: str, key: str, stamp: str) -> None:
    """Leave a mark for a delete that too few remember, and that counts all the same.

    No node was asked to carry it out: without the mark the copies would lie there, dead for some
    reads and not for others, until they are compared by the calendar.
    """
    candidates = store.could_hold(bucket, key)
    there = frozenset(each.name for each in candidates if each.state is not NodeState.DOWN)
    with suppress(ClusterError):
        mark = Mark(bucket, key, stamp, there, frozenset(), written=False)
        await store.marks.leave(mark, partition(bucket, key))
