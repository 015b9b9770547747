"""Buckets on nodes: each one has those that there are, and loses those that were deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from twisted.logger import Logger

from aosd.consistency.buckets import CLOSED, DELETED, LIVE, Bucket, Buckets
from aosd.consistency.turns import Turns
from aosd.model.errors import AosdError, KeyConflict, NodeError, NodeFull
from aosd.model.objects import SYSTEM_BUCKET
from aosd.ports import INode


def turn_of(bucket: str) -> tuple[str, str]:
    """What turns of a bucket itself are taken by: its making and its delete don't overlap."""
    return SYSTEM_BUCKET, f"buckets/{bucket}"


class Presence:
    """Compares nodes' buckets with the records. Buckets that no record tells of are left alone.

    `may_forget` says of a bucket and the stamp of its delete whether nothing that was in it may
    lie anywhere any more.
    """

    _log = Logger()

    def __init__(self, buckets: Buckets, turns: Turns) -> None:
        self.may_forget: Callable[[str, str], bool] = lambda name, died: False
        self._buckets = buckets
        self._turns = turns
        # Deleted buckets that lie on nodes yet, as (bucket, node name).
        self._left: set[tuple[str, str]] = set()

    @property
    def left(self) -> list[str]:
        """The names of deleted buckets that lie on some node yet."""
        return sorted({name for name, _ in self._left})

    def swept(self) -> list[str]:
        """The names of buckets that a sweep has to go through, by name.

        Of a deleted one what lies there yet is dead, and is removed by the sweep.
        """
        there = {each.name for each in self._buckets.all() if each.state != DELETED}
        return sorted(there | {name for name, _ in self._left})

    async def level(self, node: INode) -> None:
        """Make the buckets that the node lacks, and remove what it has of deleted ones.

        One that isn't empty stays until a sweep has removed what is in it. Raises NodeError.
        """
        has = set(await node.list_buckets())
        lacks: NodeFull | None = None
        for bucket in self._buckets.all():
            name = bucket.name
            if bucket.state == DELETED and name in has:
                self._left.add((name, node.name))
                await self._remove(name, node)
                continue
            self._left.discard((name, node.name))
            if bucket.state != LIVE:
                continue
            try:
                if name not in has:
                    await node.create_bucket(name)
                self._buckets.lacking.discard((name, node.name))
            except NodeFull as error:
                lacks = error  # there may be others to remove
        if lacks is not None:
            raise lacks

    async def adopt(
        self, name: str, stamp: Callable[[], str], members: Iterable[INode] = ()
    ) -> None:
        """Let there be a bucket of this name, for a node that has one and is to be a member.

        To be called before it is one, or it might lose a bucket that was deleted elsewhere.
        What comes with it is older than any delete, and would be dead in a bucket that once
        was deleted: so that is forgotten, as soon as nothing is left for it to be true of.
        Of the `members` none may have a bucket that was deleted. Raises KeyConflict until then,
        and while the bucket is being deleted; NodeError, NoQuorum.
        """

        async def act() -> None:
            bucket = self._buckets.get(name) or Bucket(name, DELETED, "")
            if bucket.state == LIVE and not bucket.died:
                return
            if bucket.state == CLOSED:
                raise KeyConflict(f"the bucket {name} is being deleted")
            late = self._buckets.may_be_removed_late(name)
            if late or (bucket.died and not self.may_forget(name, bucket.died)):
                raise KeyConflict(f"what was in a bucket {name} that was deleted may lie on yet")
            if bucket.state != LIVE:
                for node in members:
                    if bucket.died and name in await node.list_buckets():
                        raise KeyConflict(f"node {node.name} has a bucket {name}, deleted, yet")
                bucket = Bucket(name, LIVE, stamp())
            await self._buckets.set(replace(bucket, died=""))

        await self._turns.take(*turn_of(name), act)

    async def _remove(self, name: str, node: INode) -> None:
        async def act() -> None:
            bucket = self._buckets.get(name)
            if bucket is None or bucket.state != DELETED:
                return  # made again meanwhile
            await self._buckets.remove_from(node, name)
            self._left.discard((name, node.name))

        try:
            await self._turns.take(*turn_of(name), act)
        except NodeError:
            raise
        except AosdError as error:
            self._log.debug("{name} not removed yet: {error}", name=name, error=error)
