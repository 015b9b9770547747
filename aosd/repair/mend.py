"""Mending one key: look at its copies, copy what is missing, remove what doesn't belong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.consistency.begun import Begun
from aosd.consistency.copying import Copier
from aosd.consistency.holders import could_hold, hiding, primaries
from aosd.consistency.journal import Journal
from aosd.consistency.marks import Mark, Marks
from aosd.consistency.settled import Settledness
from aosd.consistency.turns import Turns
from aosd.consistency.writes import Writes
from aosd.model.errors import (
    ClusterError,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NoNodes,
    NoQuorum,
    NoSuchKey,
    SlowDown,
)
from aosd.model.node import NodeState
from aosd.model.objects import ObjectHead
from aosd.model.ring import partition
from aosd.model.stamp import StampClock
from aosd.model.versions import version_of
from aosd.ports import Candidate, IPlacement
from aosd.repair.plan import Copy, Plan, Remove, Report, plan

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done for a key, and what is known of it now.

    `missing` is how many primaries lacked it, `copied` and `removed` the nodes that got a
    copy and that lost one, `size_bytes` what was copied in all. `looked_at_all`: every node
    that could hold the key told what it has; those in `unknown` couldn't be asked (one that
    could and failed has left a mark). `agreed`: as Plan tells; the copies are on the primaries
    and agree, but for what is in `reports`. `held`: the version that counts has its number of
    copies where they would be looked for in the ring that is, or that is coming. `kept`: a copy
    that is dead lies somewhere, and stays until the ring's change is over.

    If nothing can be done before one of some nodes can be asked, or has space, these are in
    `waits_for` and `waits_for_space`.
    """

    looked_at_all: bool
    agreed: bool
    held: bool = True
    kept: bool = False
    missing: int = 0
    copied: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()
    size_bytes: int = 0
    unknown: frozenset[str] = frozenset()
    waits_for: frozenset[str] = frozenset()
    waits_for_space: frozenset[str] = frozenset()


class Mender:
    """Mends keys, any number at a time.

    `is_late` says of a mark whether requests of before may still take effect on its silent
    nodes: as long as they may, no copy is removed on the strength of what those have.
    """

    def __init__(
        self,
        *,
        placement: IPlacement,
        replicas: int,
        copier: Copier,
        turns: Turns,
        writes: Writes,
        journal: Journal,
        marks: Marks,
        stamps: StampClock,
        settled: Settledness,
    ) -> None:
        self.is_late: Callable[[Mark], bool] = lambda mark: False
        self.begun = Begun()
        self.placement = placement
        self.replicas = replicas
        self.copier = copier
        self.turns = turns
        self.writes = writes
        self.journal = journal
        self.marks = marks
        self.stamps = stamps
        self.settled = settled

    async def mend(self, bucket: str, key: str, also: Iterable[str] = ()) -> Mended:
        """Bring the key's copies to where they belong.

        Looks at all nodes that could hold it, and at those named in `also`. What can't be
        done now leaves a mark, unless one says so already, or the node is down (its return
        is swept). Raises NoNodes while no ring is known.
        """
        with self.begun.under_way():
            return await _Mending(self, bucket, key, frozenset(also)).run()

    async def is_right(self, bucket: str, key: str, names: Collection[str]) -> bool:
        """Whether these nodes, who are the primaries, all have one version that isn't dead.

        False also when one of them can't be asked. The others aren't looked at.
        """
        looking = _Mending(self, bucket, key, frozenset(names))
        try:
            await looking.look(only=frozenset(names))
        except SlowDown:
            return False
        found = looking.plan()
        return found.agreed and found.version is not None and not looking.failed

    def agree(self, bucket: str, key: str, stamps: Iterable[str]) -> bool:
        """Whether these stamps of copies are of one version, the newest known of the key."""
        journal = self.journal
        versions = {journal.counts_as(bucket, key, stamp) for stamp in stamps}
        known = max(
            journal.delete_of(bucket, key) or "", self.marks.newest_written(bucket, key) or ""
        )
        return len(versions) == 1 and versions.pop() >= known

    def is_busy(self, bucket: str, key: str) -> bool:
        """Whether a change of the key is taking effect."""
        return self.turns.busy(bucket, key)


class _Mending:
    """One key being mended."""

    _log = Logger()

    def __init__(self, mender: Mender, bucket: str, key: str, also: frozenset[str]) -> None:
        self.failed: set[str] = set()
        self._mender = mender
        self._bucket = bucket
        self._key = key
        self._also = also
        self._candidates: dict[str, Candidate] = {}
        self._outside: frozenset[str] = frozenset()
        self._primaries: tuple[str, ...] = ()
        self._order: tuple[str, ...] = ()
        self._leaving: frozenset[str] = frozenset()
        self._changing = False
        self._heads: dict[str, ObjectHead | None] = {}
        self._missing = 0
        self._copied: list[str] = []
        self._removed: list[str] = []
        self._reports: list[Report] = []
        self._size_bytes = 0
        self._doubtful: set[str] = set()
        self._silent: set[str] = set()
        self._full: set[str] = set()
        # Nodes that were sent a copy or a DELETE, and haven't answered.
        self._sending: set[str] = set()

    async def run(self) -> Mended:
        """See Mender.mend."""
        try:
            await self.look()
            self._missing = len(self.plan().copies)
            if not await self._copy_all():
                await self.look()
                await self._copy_all()
            if self._changing and self._full:
                await self._stand_in()
            if removals := self.plan().removals:
                await self._take_turn(removals)
        except (SlowDown, NoQuorum):
            self._doubtful.update(self._candidates)
        except CancelledError:
            # What has its turn goes on to its end, and nobody hears whether it got an answer.
            self._silent |= self._sending
            self._doubtful |= self._sending
            if self._silent or self._doubtful:
                await self._remember(self.plan())
            raise
        found = self.plan()
        await self._remember(found)
        unknown = frozenset(self._candidates.keys() - self._heads.keys() - self.failed)
        return Mended(
            looked_at_all=self._candidates.keys() == self._heads.keys(),
            agreed=found.agreed and not self._doubtful,
            held=self._is_held(found),
            kept=bool(found.kept),
            missing=self._missing,
            copied=tuple(self._copied),
            removed=tuple(self._removed),
            reports=(*found.reports, *self._reports),
            size_bytes=self._size_bytes,
            unknown=unknown,
            waits_for=frozenset() if self._doubtful or self._full else unknown,
            waits_for_space=frozenset() if self._doubtful or unknown else frozenset(self._full),
        )

    def _is_held(self, found: Plan) -> bool:
        order, replicas = self._order, self._mender.replicas
        there = sum(name in found.holders for name in order[: 2 * replicas])
        return found.version is None or there >= min(replicas, len(order))

    # -- looking --------------------------------------------------------------------------------

    async def look(self, only: frozenset[str] | None = None) -> None:
        """Ask all for their heads, at a moment when no write of the key is taking effect."""
        mender, bucket, key = self._mender, self._bucket, self._key
        self._place(only)
        watch = mender.writes.watch()
        try:
            if not mender.turns.busy(bucket, key):
                await self._ask_all()
                if not watch.touched(bucket, key) and not mender.turns.busy(bucket, key):
                    return
        finally:
            watch.end()
        # A write acknowledged by one node and not yet by the next: only its turn tells.
        await mender.turns.take(bucket, key, self._ask_all)

    def _place(self, only: frozenset[str] | None = None) -> None:
        """Find out whom to ask, and where copies belong, as of now."""
        mender = self._mender
        orders = mender.placement.orders(self._bucket, self._key)
        if not orders:
            raise NoNodes("no nodes are known yet")
        members = {each.name: each for each in mender.placement.members()}
        # Who hides a key is waited for where a mark says so, and not for each key.
        hidden = [each for each in hiding(self._key, members.values()) if each.node is not None]
        strays = (*mender.placement.strays(), *hidden)
        # One that was removed is in the former ring, and is never asked again.
        there = could_hold(orders, mender.replicas, strays)
        asked = {each.name: each for each in there if each.name in members}
        self._outside = self._also - asked.keys()
        for name in self._also & members.keys():
            asked.setdefault(name, members[name])
        if only is not None:
            asked = {name: each for name, each in asked.items() if name in only}
        self._candidates = asked
        wanted = primaries(orders, mender.replicas)
        self._primaries = tuple(each.name for each in wanted if each.name in members)
        self._order = tuple(each.name for each in orders[0])
        self._leaving = frozenset(self._primaries) - set(self._order[: mender.replicas])
        self._changing = len(orders) > 1

    async def _ask_all(self) -> None:
        asked = [(each.name, each.node) for each in self._candidates.values() if each.node]
        waiting: list[Deferred[ObjectHead]] = [
            node.head(self._bucket, self._key) for _, node in asked
        ]
        outcomes: Any = await DeferredList(waiting, consumeErrors=True)
        self._heads = {}
        self.failed = set()
        for (name, _), (_, outcome) in zip(asked, outcomes, strict=True):
            if not isinstance(outcome, Failure):
                self._heads[name] = outcome
                continue
            error = outcome.value
            if isinstance(error, NoSuchKey) or (
                isinstance(error, NodeRefused) and error.status == _NOT_FOUND
            ):
                self._heads[name] = None
            elif isinstance(error, NodeError):
                self.failed.add(name)
            else:
                outcome.raiseException()

    def plan(self) -> Plan:
        """What the heads known now ask for, by all that is remembered of the key now."""
        mender, bucket, key = self._mender, self._bucket, self._key
        why_unsettled = mender.settled.why_not(
            mender.placement.orders(bucket, key),
            partition(bucket, key),
            mender.replicas,
            mender.placement.strays(),
        )
        # Who wasn't compared since the ring changed may have been a primary in the former one.
        holders = [name for name, head in self._heads.items() if head is not None]
        explained = bool(why_unsettled) or not mender.settled.is_covered(*holders)
        # Copies that requests of a run that was killed may replace are no reason to remove others.
        late = {name for name in self._candidates if mender.settled.late_for_s(name)}
        for mark in mender.marks.of(bucket, key):
            if mender.is_late(mark):
                late |= mark.silent
        return plan(
            primaries=self._primaries,
            heads=self._heads,
            deleted=mender.journal.delete_of(bucket, key),
            counts_as=self._counts_as,
            changing=self._changing or len(mender.placement.orders(bucket, key)) > 1,
            settled=not explained,
            late=frozenset(late),
            movable=self._movable(),
            leaving=self._leaving,
        )

    def _movable(self) -> frozenset[str]:
        """On whom what has no stamp is the cluster's.

        Also long after they came with objects: an original that a change of the ring has put
        off its node, and that was overwritten or deleted before it could be removed, is like
        none of the copies any more.
        """
        foreign = frozenset(name for name, each in self._candidates.items() if each.foreign)
        return frozenset(foreign).union(each.name for each in self._mender.placement.strays())

    def _counts_as(self, stamp: str) -> str:
        return self._mender.journal.counts_as(self._bucket, self._key, stamp)

    # -- copying --------------------------------------------------------------------------------

    async def _copy_all(self) -> bool:
        """Make the copies that are missing; False when things changed meanwhile."""
        for copy in self.plan().copies:
            target = self._candidates[copy.target]
            if target.full:
                self._full.add(target.name)
            elif not await self._copy(copy, target):
                return False
        return True

    async def _stand_in(self) -> None:
        """Let handoffs of the coming ring have what full nodes can't take.

        Else the change would never be over, nor anything removed before that to give them room.
        """
        for name in self._order[: 2 * self._mender.replicas]:
            found = self.plan()
            if self._is_held(found) or not found.copies:
                return
            target = self._candidates[name]
            has_space = not target.full and name not in self._full
            if name in self._heads and name not in found.holders and has_space:
                await self._copy(Copy(found.copies[0].sources, name), target)

    async def _copy(self, copy: Copy, target: Candidate) -> bool:
        """False when a second look found something else; True when done, or not possible now."""
        for name in copy.sources:
            source, head = self._candidates[name].node, self._heads[name]
            if source is None or target.node is None or head is None:
                continue
            sent = partial(self._sending.add, target.name)
            try:
                done = await self._mender.copier.copy(
                    source, target.node, self._bucket, self._key, head, sent
                )
                self._sending.discard(target.name)
            except NodeError as error:
                self._sending.discard(target.name)
                at_target = error.node == target.name
                self._note(error, sent=at_target)
                if at_target:
                    return True
                continue
            if done:
                self._heads[target.name] = head
                self._copied.append(target.name)
                self._size_bytes += head.size_bytes
            return done
        return True

    def _note(self, error: NodeError, sent: bool) -> None:
        """Remember what a failed request means; `sent`: it was to change the node."""
        self._log.info("mending {key}: {error}", key=self._key, error=error, node=error.node)
        if isinstance(error, NodeFull):
            self._full.add(error.node)
            return
        self._doubtful.add(error.node)
        if sent and not isinstance(error, NodeRefused):
            # It may take effect yet.
            self._silent.add(error.node)
        if isinstance(error, NodeNonsense):
            self._reports.append(Report(error.node, str(error)))

    # -- removing -------------------------------------------------------------------------------

    async def _take_turn(self, removals: Iterable[Remove]) -> None:
        mender, bucket, key = self._mender, self._bucket, self._key
        wanted = {each.node: each.version for each in removals}

        async def act() -> None:
            self._sending.update(wanted)
            await remove_all()
            self._sending.difference_update(wanted)

        async def remove_all() -> None:
            while wanted:
                # All again, before each one: what justifies a removal must be there still.
                self._place()
                await self._ask_all()
                found = self.plan()
                todo = [each for each in found.removals if each.node in wanted]
                changed = [
                    each
                    for each in wanted
                    if (head := self._heads.get(each)) is not None
                    and version_of(head, self._counts_as) != wanted[each]
                ]
                if changed:
                    self._doubtful.update(changed)
                    return
                if not todo:
                    return
                if found.version is not None:
                    mender.writes.moves(bucket, key)
                if not await self._remove(todo[0]):
                    return
                del wanted[todo[0].node]

        await mender.turns.take(bucket, key, act)

    async def _remove(self, removal: Remove) -> bool:
        node = self._candidates[removal.node].node
        if node is None:
            return False
        self._mender.writes.effect(self._bucket, self._key, removal.version.stamp)
        try:
            await node.delete(self._bucket, self._key)
        except NodeError as error:
            self._note(error, sent=True)
            return False
        self._heads[removal.node] = None
        self._removed.append(removal.node)
        return True

    # -- remembering ----------------------------------------------------------------------------

    async def _remember(self, found: Plan) -> None:
        """Leave a mark for what couldn't be done, or isn't known, unless there is one."""
        mender, bucket, key = self._mender, self._bucket, self._key
        number = partition(bucket, key)
        lacking = {each.target for each in found.copies} - self._full
        self._doubtful |= lacking | self.failed
        # One that answered only when others were removed has something to remove yet.
        self._doubtful |= {each.node for each in found.removals}
        if self._copied or self._removed or found.copies or found.removals:
            # Others were changed, or are to be. Who is down returns, and is swept; who is
            # suspect may answer again as if nothing had been.
            self._doubtful |= {
                name
                for name, each in self._candidates.items()
                if name not in self._heads and each.state is NodeState.SUSPECT
            }
        if not self._changing:
            # What can't be removed yet, where nobody but a sweep would look for it again.
            left = {name for name in self._outside if self._heads.get(name) is not None}
            self._doubtful |= left - {report.node for report in found.reports}
        known: set[str] = set()
        silent_before: set[str] = set()
        lacking_before: set[str] = set()
        for mark in mender.marks.of(bucket, key):
            known |= mark.nodes
            silent_before |= mark.silent
            lacking_before |= mark.lacking
        nodes, silent = frozenset(self._doubtful), frozenset(self._silent)
        if silent:
            # What waits for requests of before to end waits for this one's too.
            mender.marks.doubt_again(bucket, key, silent)
        may_lack = self._may_lack(found)
        try:
            if silent - silent_before or nodes - known or may_lack - lacking_before:
                mark = Mark(
                    bucket,
                    key,
                    mender.stamps.next(),
                    nodes,
                    silent,
                    written=False,
                    lacking=may_lack,
                )
                await mender.marks.leave(mark, number)
            full = frozenset(self._full)
            short = full & self._short(found)
            if full and not mender.marks.keep(number, full, short):
                stamp = mender.stamps.next()
                mark = Mark("", "", stamp, full, frozenset(), written=False, lacking=short)
                await mender.marks.leave(mark, number)
        except ClusterError as error:
            # The partition isn't settled then, before a sweep has compared it again.
            self._log.warn("no mark could be left: {error}", error=error)

    def _may_lack(self, found: Plan) -> frozenset[str]:
        """Those that a sweep may speak for from now on, and that nobody knows to lack nothing."""
        may_lack, short = self._mender.settled.may_lack, self._short(found) - self._full
        if not self.failed:
            return short
        return short.union(each for each in self._heads if may_lack(each, self._candidates))

    def _short(self, found: Plan) -> frozenset[str]:
        """Those that lack a copy of what has fewer than it should."""
        if found.version is None or len(found.holders) >= self._mender.replicas:
            return frozenset()
        return frozenset(each.target for each in found.copies)
