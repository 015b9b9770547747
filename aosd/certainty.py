"""What is certain: whether writes may be taken, what may be forgotten, how a run may end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from twisted.logger import Logger

from aosd.cluster.member import CLOCK_REFUSAL_S
from aosd.cluster.roster import Roster
from aosd.consistency.heartbeat import Heartbeat
from aosd.consistency.memory import Memory
from aosd.consistency.recall import STOPPED_KEY, StopNote
from aosd.consistency.to_the_end import ToTheEnd
from aosd.gateway.store import Store
from aosd.model.errors import AosdError


@dataclass(frozen=True)
class Certainty:
    """Knows of all that a run is in the middle of, or doubts; `run` is its id.

    `expects` says whether a node is about to join with what it held before.
    """

    run: str
    roster: Roster
    heartbeat: Heartbeat
    memory: Memory
    to_the_end: ToTheEnd
    store: Store
    expects: Callable[[], bool]
    _log: ClassVar = Logger()

    def refusal(self) -> str:
        """Why no writes are taken now, such as while our clock may be wrong; "" when they are."""
        if other := self.heartbeat.other:
            return f"another gateway ({other}) uses these nodes: only one may write"
        if self.store.stamps.is_behind:
            return "the nodes remember writes of more than 15 minutes ahead of our clock"
        watched = self.roster.watched.values()
        for each in watched:
            if abs(each.clock_ahead_s) > CLOCK_REFUSAL_S:
                break
        else:
            return ""  # asked by every write, twice, and nearly always so
        told = [each.clock_ahead_s for each in watched if each.candidate.node is not None]
        wrong = [each for each in told if abs(each) > CLOCK_REFUSAL_S]
        if 2 * len(wrong) > len(told):
            # One node that differs has a wrong clock; when most do, ours may be wrong.
            return f"the nodes' clocks are {wrong[0]:+.0f} s from ours: stamps can't be trusted"
        return ""

    def may_forget(self, limit: str) -> bool:
        """Whether no copy is left, nor may come, that the journal speaks of before `limit`."""
        return not self.expects() and self._are_gone(limit)

    def _are_gone(self, limit: str) -> bool:
        """Whether members have no copy that was deleted before, for all that is known."""
        members = self.roster.members()
        names = [each.name for each in members]
        if (
            self.roster.changing
            or self.store.marks.broken
            or any(each.state.away for each in members)
        ):
            return False
        if self.refusal():
            return False  # by a clock that jumped ahead, all would be old
        doubtful = (mark for _, mark in self.store.marks.all() if mark.key)
        return self.store.settledness.is_covered(*names) and not any(
            self.store.ledger.has_before(mark.bucket, mark.key, limit) for mark in doubtful
        )

    def may_forget_bucket(self, name: str, died: str) -> bool:
        """Whether no copy of what was in a bucket before it was deleted may be left anywhere.

        A node that is to join with a bucket of that name waits for this itself.
        """
        doubtful = any(mark.bucket == name for _, mark in self.store.marks.all())
        return not doubtful and self._are_gone(died)

    def may_land(self) -> bool:
        """Whether a node may yet write a record."""
        self.memory.maybe_late()  # forgets what can't come any more
        return bool(len(self.to_the_end)) or self.memory.may_land("")

    async def leave_note(self) -> None:
        """Leave the note of a clean stop, of what is known for sure and when all is written."""
        settled = self.store.settledness
        if len(self.store.turns) or settled.is_held:
            self._log.warn("no note of a clean stop: something is in flight")
            return
        if self.store.journal.failed or self.store.marks.failed:
            self._log.warn("no note of a clean stop: something wasn't written")
            return
        if self.memory.may_land("runs/"):
            # Landing late, it would say that a run of before was the last one.
            self._log.warn("no note of a clean stop: a node may yet remember an older run")
            return
        if self.store.buckets.may_any_be_removed_late():
            self._log.warn("no note of a clean stop: a node may yet remove a bucket")
            return
        if not self.heartbeat.alone:
            # Its end would say nothing of what the other one does.
            self._log.warn("no note of a clean stop: another gateway may be there")
            return
        if self.roster.changing or not settled.is_anything_known():
            return
        members = self.roster.names
        together = settled.is_covered(*members)
        # Of nodes that no one sweep speaks for, none is certain.
        away = {each.name for each in self.roster.members() if each.node is None}
        lacking = away | {each for each in members if settled.may_lack(each, members)}
        unwatched = {each for each in members if settled.is_unwatched(each)}
        try:
            note = StopNote(
                self.run,
                frozenset(lacking | unwatched if together else members),
                frozenset(lacking),
                frozenset(unwatched),
                settled.late_for_s(*members),
                self.store.stamps.reading,
            )
            await self.memory.write(STOPPED_KEY, note.to_bytes())
        except AosdError as error:
            self._log.warn("no note of a clean stop: {error}", error=error)
