"""What lies beneath a key on a node goes before the key comes to it: it would be hidden."""

from __future__ import annotations

from functools import partial

from aosd.consistency.folders import Folders
from aosd.model.errors import NodeRefused, NoSuchKey
from aosd.model.versions import version_of
from aosd.ports import INode, IPlacement
from aosd.repair.mend import Mender

_PAGE_KEYS = 100
_NOT_FOUND = 404


class Beneath:
    """Clears the way for copies on nodes that hide keys beneath others, or may do so.

    A node that was away while `a/b` was deleted has it yet when it returns; with a copy of
    `a` beside it, which was written meanwhile, no listing would ever show it again.
    """

    def __init__(self, placement: IPlacement, folders: Folders, mender: Mender) -> None:
        self._placement = placement
        self._folders = folders
        self._mender = mender

    async def clear(self, target: INode, bucket: str, key: str) -> None:
        """Return when nothing that was deleted lies beneath the key on `target`.

        Asks nobody where it is known that nothing does. Raises a NodeError: the node's, or a
        NodeRefused when something can't be removed yet.
        """
        hides = any(
            each.name == target.name and each.hides is not False
            for each in self._placement.members()
        )
        if not hides or key.endswith("/") or not self._folders.may_be(bucket, key):
            return
        while dead := await self._dead(target, bucket, key):
            for each in dead:
                await self._mender.mend(bucket, each, also=[target.name])
            if await self._dead(target, bucket, key) == dead:
                why = f"what was deleted beneath {key} isn't gone from it yet"
                raise NodeRefused(target.name, why, 409, "OperationAborted")

    async def _dead(self, target: INode, bucket: str, key: str) -> list[str]:
        """What the node lists beneath the key, and is older than a delete of it."""
        try:
            page = await target.list(bucket, f"{key}/", "", _PAGE_KEYS)
        except NodeRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return []
        dead: list[str] = []
        for entry in page.entries:
            deleted = self._mender.journal.delete_of(bucket, entry.key)
            if deleted is None:
                continue
            try:
                head = await target.head(bucket, entry.key)
            except NoSuchKey:
                continue
            counts_as = partial(self._mender.journal.counts_as, bucket, entry.key)
            if version_of(head, counts_as).stamp < deleted:
                dead.append(entry.key)
        return dead
