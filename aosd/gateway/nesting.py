"""No key is an object and a folder at once, where a node would hide what lies beneath.

While there is an object `a`, MinIO lists no `a/b`. Repair goes by listings: what none shows
would be lost with the next disk, and a delete of it undone. So whichever comes second of two
such keys is refused, with the codes that MinIO has for it.

The key `a/`, with which many clients say that there is a folder, hides nothing and is never
hidden by what lies beside it. SeaweedFS makes one thing of `a` and `a/`: they are of two minds
only where all nodes are known to do as MinIO does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from aosd.consistency.folders import above
from aosd.gateway.look import before, look
from aosd.gateway.store import Doubts, Store, ask, gather
from aosd.model.errors import KeyConflict, NodeRefused, NoQuorum, NoSuchKey
from aosd.model.node import NodeState
from aosd.model.objects import ObjectHead, Page
from aosd.model.quorum import absence
from aosd.model.ring import partition
from aosd.ports import Candidate

T = TypeVar("T")

_PAGE_KEYS = 100
_AT_ONCE = 16
_NOT_FOUND = 404


async def unnested(
    store: Store, bucket: str, key: str, act: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    """What `act` gives, which lets a write of the key take effect; for who has the key's turn.

    Raises KeyConflict when an object lies above or beneath the key (`XMinioParentIsObject`,
    `XMinioObjectExistsAsDirectory`), or may do so in a moment (`OperationAborted`); and what
    `look` raises, when that can't be known now.
    """
    hides = [each.hides for each in store.placement.members()]
    if hides.count(False) == len(hides):
        store.folders.seen(bucket, key)
        return await act()
    folders, is_marker_apart = above(key), all(hides)
    if key.endswith("/") and is_marker_apart:
        del folders[-1]
    number = partition(bucket, key)
    # What is made up after the turn isn't known to count yet.
    claim = store.folders.claim(bucket, key, folders, lambda: store.settledness.holds(number))
    if claim is None:
        raise _aborted(f"a key above or beneath {key} is being written")
    try:
        await _Check(store, bucket, key, folders, is_marker_apart).run()
        return await act()
    finally:
        claim.end()


class _Check:
    """Whether a key may be written, whose claim is held."""

    def __init__(
        self, store: Store, bucket: str, key: str, folders: list[str], is_marker_apart: bool
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._folders = folders
        self._is_marker_apart = is_marker_apart

    async def run(self) -> None:
        store, bucket, key = self._store, self._bucket, self._key
        known = store.folders
        known.returned(store.settledness.last_return)
        for name in self._folders:
            if (bucket, name) not in known.free:
                await self._is_no_object(name)
                known.free.add((bucket, name))
        if key.endswith("/") or (bucket, key) in known.leaves or not known.may_be(bucket, key):
            return
        await self._is_no_folder()
        known.leaves.add((bucket, key))

    # -- above ------------------------------------------------------------------------------------

    async def _is_no_object(self, name: str) -> None:
        store, bucket = self._store, self._bucket
        if self._may_land(name):
            raise _aborted(f"a write of {name} may take effect yet")
        if await self._is_object(name):
            raise KeyConflict(f"{name} is an object", "XMinioParentIsObject")
        if store.turns.busy(bucket, name):
            # It is being deleted, and that isn't on record yet.
            raise _aborted(f"{name} is being changed")
        if self._may_land_dead(name):
            raise _aborted(f"a write of {name}, before it was deleted, may take effect yet")
        if await self._copies(name, store.could_hold(bucket, name)):
            raise _aborted(f"what was deleted of {name} isn't gone yet")

    # -- beneath ----------------------------------------------------------------------------------

    async def _is_no_folder(self) -> None:
        store, key = self._store, self._key
        beneath = f"{key}/"
        self._check_marks(beneath)
        # A page may be of some seconds ago.
        await self._are_gone(store.folders.lately_beneath(self._bucket, key))
        members = store.members()
        doubts = store.doubts(members)
        there = await self._copies(key, members)
        moves = store.writes.moves_in_all
        pages = await self._pages(members, beneath)
        if not any(there.values()):
            # A dead copy hides what lies beneath as well as a living one does. (Beneath one
            # that lives lies nothing but what is dead, on nodes that were away.)
            self._check_known(members, pages.keys() - there.keys(), doubts)
        # What moved meanwhile may be on no page.
        moved = store.writes.moved_since(self._bucket, moves)
        found = sorted(
            {entry.key for page in pages.values() for entry in page.entries}
            | {each for each in moved if each.startswith(beneath)}
        )
        if self._is_marker_apart and beneath in found:
            found.remove(beneath)
        await self._are_gone(found)
        if any(page.truncated for page in pages.values()):
            raise _aborted(f"there is much beneath {key} that was deleted")

    def _check_marks(self, beneath: str) -> None:
        for _, mark in self._store.marks.all():
            if mark.bucket == self._bucket and mark.key.startswith(beneath) and not mark.written:
                raise _aborted(f"a write of {mark.key} may take effect yet")

    async def _pages(self, members: Sequence[Candidate], beneath: str) -> dict[str, Page]:
        """The first keys that each node has there, of those that answer."""
        bucket = self._bucket
        answers = await ask(members, lambda node: node.list(bucket, beneath, "", _PAGE_KEYS))
        pages: dict[str, Page] = {}
        failed: list[Exception] = []
        for name, answer in answers.items():
            if isinstance(answer, Page):
                pages[name] = answer
            elif isinstance(answer, NodeRefused) and answer.status == _NOT_FOUND:
                pages[name] = Page((), (), truncated=False, last=None)
            else:
                failed.append(answer)
        if failed and not pages:
            raise failed[0]
        return pages

    async def _are_gone(self, names: Sequence[str]) -> None:
        # The first one is there, nearly always.
        for some in (
            names[:1],
            *(names[at : at + _AT_ONCE] for at in range(1, len(names), _AT_ONCE)),
        ):
            await gather([Deferred.fromCoroutine(self._is_gone(each)) for each in some])

    async def _is_gone(self, name: str) -> None:
        """Raise KeyConflict unless what was written, or a node listed, is there no more."""
        store, bucket = self._store, self._bucket
        if await self._is_object(name):
            raise KeyConflict(f"{name} is an object", "XMinioObjectExistsAsDirectory")
        if store.turns.busy(bucket, name):
            # It is being deleted, and lies there yet.
            raise _aborted(f"{name} is being changed")
        if await self._copies(name, store.could_hold(bucket, name)):
            # Hidden beneath this one, it would never be removed.
            raise _aborted(f"what was deleted of {name} isn't gone yet")

    # -- both -------------------------------------------------------------------------------------

    async def _is_object(self, name: str) -> bool:
        store, bucket = self._store, self._bucket
        try:
            return (await look(store, bucket, name)).head is not None
        except NoQuorum:
            known = before(store, bucket, name)
            if known.written > known.deleted:
                raise
        candidates = store.could_hold(bucket, name)
        answers = await ask(candidates, lambda node: node.head(bucket, name))
        heads = {each: head for each, head in answers.items() if isinstance(head, ObjectHead)}
        if any(store.version(bucket, name, head).stamp > known.deleted for head in heads.values()):
            return True
        absent = {each for each, answer in answers.items() if isinstance(answer, NoSuchKey)}
        self._check_known(candidates, absent | heads.keys(), known.doubts)
        return False

    def _check_known(
        self, candidates: Sequence[Candidate], answered: set[str], asked: Doubts
    ) -> None:
        """Raise NoQuorum unless as many answered as a 404 takes.

        Nodes that nobody watched before we started are believed: a write needs no more than R
        nodes after a kill either. Those that were seen to return count while all answer.
        """
        store, names = self._store, [each.name for each in candidates]
        if all(name in answered for name in names):
            return
        counted = answered - asked.lacking - store.doubts(candidates).lacking
        if len(counted) < absence(store.copies, len(names)):
            away = ", ".join(name for name in names if name not in counted)
            raise NoQuorum(f"whether there are keys above or beneath can't be known now: {away}")

    def _may_land(self, name: str) -> bool:
        # One that was acknowledged is known by its copies.
        return any(not mark.written for mark in self._store.marks.of(self._bucket, name))

    def _may_land_dead(self, name: str) -> bool:
        """Whether a write that others acknowledged may, and was deleted since.

        It would hide what lies beneath, where that isn't looked for. Not so on a node that is
        down: when that is back, all it has is compared.
        """
        store, bucket = self._store, self._bucket
        deleted = store.journal.delete_of(bucket, name) or ""
        up = {each.name for each in store.members() if each.state is not NodeState.DOWN}
        marks = store.marks.of(bucket, name)
        return any(mark.stamp < deleted and not mark.silent.isdisjoint(up) for mark in marks)

    async def _copies(self, name: str, candidates: Sequence[Candidate]) -> dict[str, bool]:
        """Who has a copy of a name that was deleted once, and whether it was written since.

        Of a name that never was, and where copies are known to agree, nobody is asked.
        """
        store, bucket = self._store, self._bucket
        deleted = store.journal.delete_of(bucket, name)
        if deleted is None or not store.why_unsettled(bucket, name):
            return {}
        answers = await ask(candidates, lambda node: node.head(bucket, name))
        return {
            each: store.version(bucket, name, head).stamp > deleted
            for each, head in answers.items()
            if isinstance(head, ObjectHead)
        }


def _aborted(why: str) -> KeyConflict:
    return KeyConflict(f"{why}: try again", "OperationAborted")
