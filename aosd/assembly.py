"""Everything between discovery and doors, wired: used by the daemon, and by the simulation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import succeed
from twisted.logger import Logger

from aosd.certainty import Certainty
from aosd.cluster.admission import Admission, Equip
from aosd.cluster.adopting import Adopting
from aosd.cluster.advancing import Advancing
from aosd.cluster.beginning import Beginning, BeginningTimes
from aosd.cluster.breaker import Breaker
from aosd.cluster.changes import Changes
from aosd.cluster.cleaning import Clean, Cleaning
from aosd.cluster.emptying import Emptying
from aosd.cluster.leaving import Leaving, Space
from aosd.cluster.losses import Losses
from aosd.cluster.member import Introduce, MakeNode, WatchedMember
from aosd.cluster.outlook import Outlook
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.cluster.unfinished import Unfinished
from aosd.comparing import Comparing
from aosd.consistency.buckets import Buckets
from aosd.consistency.copying import Copier
from aosd.consistency.heartbeat import Heartbeat
from aosd.consistency.journal import Journal
from aosd.consistency.keys import ClusterKeys
from aosd.consistency.ledger import Ledger
from aosd.consistency.marks import Marks
from aosd.consistency.memory import Memory
from aosd.consistency.presence import Presence
from aosd.consistency.recall import Recall
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.gateway.buckets import take_up
from aosd.gateway.lanes import Lanes
from aosd.gateway.store import Limits, Store
from aosd.membership import Members
from aosd.model.errors import NodeError
from aosd.model.node import Member
from aosd.model.stamp import StampClock
from aosd.observe.metrics import Metrics
from aosd.ports import IDiscovery
from aosd.repair.beneath import Beneath
from aosd.repair.forecast import Forecaster
from aosd.repair.forecasts import Forecasts
from aosd.repair.keeper import Keeper
from aosd.repair.mend import Mender
from aosd.settings import Settings
from aosd.streams.budget import MemoryBudget


class Assembly:
    """One gateway without its doors: `store` is for use cases, the rest keeps it going.

    `now` gives seconds since 1970, `clock` everything else; `make_id` gives 16 hex digits,
    new ones each time.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        clock: Any,
        now: Callable[[], float],
        providers: Sequence[IDiscovery],
        make_node: MakeNode,
        introduce: Introduce,
        equip: Equip,
        chance: random.Random,
        metrics: Metrics,
        make_id: Callable[[], str],
        clean: Clean = lambda *how: succeed(None),
        space: Space = lambda *where: succeed(None),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._make_node = make_node
        self._introduce = introduce
        self._chance = chance
        self._metrics = metrics
        self._stopping = False
        self.run = make_id()
        replicas = settings.replicas
        self.roster = roster = Roster(
            providers, self._make_member, clock, metrics, settings.probe_interval_s
        )
        self.to_the_end = to_the_end = ToTheEnd()
        stamps = StampClock(now, self.run[:8])
        self.memory = memory = Memory(
            roster.members, replicas, to_the_end, clock.seconds, settings.late_write_window_s
        )
        self.ledger = ledger = Ledger()
        self.journal = journal = Journal(
            memory,
            ledger,
            clock,
            now,
            keep_s=settings.journal_keep_s,
            may_forget=lambda limit: self.certainty.may_forget(limit),
        )
        self.marks = marks = Marks(memory, clock.seconds)
        registers = Registers(memory, stamps)
        uploads = Uploads(memory, stamps.is_own)
        self.buckets = buckets = Buckets(
            registers,
            clock.seconds,
            settings.late_write_window_s,
            absent=self._absent,
        )
        journal.died = buckets.died
        turns = Turns(clock, settings.turn_timeout_s, to_the_end)
        self.presence = presence = Presence(buckets, turns)
        presence.may_forget = lambda *which: self.certainty.may_forget_bucket(*which)
        self.keys = keys = ClusterKeys(registers)
        self.settled = settled = Settledness(clock.seconds, marks.marked)
        self.recall = recall = Recall(
            memory, registers, journal, marks, uploads, stamps, presence.level
        )
        self.standings = standings = Standings(roster, registers, settled)
        adopting = Adopting(roster, presence, stamps.next)
        self.admission = admission = Admission(
            roster, registers, standings, adopting, settled, equip, make_id
        )
        self.beginning = Beginning(
            roster,
            admission,
            standings,
            adopting,
            recall,
            keys,
            settled,
            stamps,
            clock,
            replicas,
            self.run,
            make_id,
            BeginningTimes(settings.founding_wait_s, settings.late_write_window_s),
        )
        self.heartbeat = Heartbeat(memory, roster.members, clock, self.run, lambda: stamps.reading)
        admission.contested = lambda: bool(self.heartbeat.other)
        writes = Writes(clock.seconds)
        budget = MemoryBudget(settings.body_memory_bytes, clock, settings.turn_timeout_s)
        copier = Copier(
            turns=turns,
            writes=writes,
            journal=journal,
            budget=budget,
            uploads=uploads,
            stamps=stamps,
        )
        self.store = Store(
            placement=roster,
            replicas=replicas,
            turns=turns,
            to_the_end=to_the_end,
            stamps=stamps,
            journal=journal,
            marks=marks,
            ledger=ledger,
            uploads=uploads,
            buckets=buckets,
            seal=keys.seal,
            writes=writes,
            settledness=settled,
            budget=budget,
            lanes=Lanes(clock),
            copying=copier,
            clock=clock,
            limits=Limits(
                held_bytes=settings.replay_bytes,
                single_put_bytes=settings.single_put_bytes,
                part_bytes=settings.part_bytes,
                part_bytes_max=settings.part_bytes_max,
            ),
            refusal=self._refusal,
            closing=lambda: self.leaving.closing,
            absent=self._absent,
            zone=settings.zone,
        )
        self.certainty = certainty = Certainty(
            self.run,
            roster,
            self.heartbeat,
            memory,
            to_the_end,
            self.store,
            admission.expects,
        )
        mender = Mender(
            placement=roster,
            replicas=replicas,
            copier=copier,
            turns=turns,
            writes=writes,
            journal=journal,
            marks=marks,
            stamps=stamps,
            settled=settled,
        )
        emptying = Emptying(
            roster,
            standings,
            registers,
            settled,
            marks,
            uploads,
            (turns.begun, writes.begun, mender.begun),
            clock,
        )
        losses = Losses(roster, standings, settled, journal, marks, replicas)
        self.outlook = outlook = Outlook(
            roster,
            standings,
            stamps,
            losses,
            emptying,
            absent=self._absent,
            bars=lambda name: self.leaving.absent or admission.bars(name),
            contested=admission.contested,
        )
        self.changes = changes = Changes(
            roster,
            standings,
            stamps,
            outlook,
            emptying,
            lambda name, address, credentials: clean(
                name, address, credentials, admission.cluster, True
            ),
            self._absent,
            admission.welcome,
        )
        admission.waits = changes.join_waits
        members = Members(roster, changes, self.heartbeat, certainty.refusal)
        copier.clear_beneath = Beneath(roster, self.store.folders, mender).clear
        self.keeper = Keeper(
            placement=roster,
            membership=members,
            replicas=replicas,
            mender=mender,
            recall=recall,
            settled=settled,
            writes=writes,
            clock=clock,
            now=now,
            buckets=presence.swept,
            tend_buckets=self._tend_buckets,
            metrics=metrics,
            late_write_window_s=settings.late_write_window_s,
            sweep_interval_s=settings.sweep_interval_s,
            keys_per_s=settings.sweep_keys_per_s,
            bytes_per_s=settings.repair_bytes_per_s,
            folders=self.store.folders,
        )
        self.progress = self.keeper.progress
        forecaster = Forecaster(
            placement=roster,
            buckets=presence.swept,
            replicas=replicas,
            clock=clock,
            rates=self.keeper.rates,
            keys_per_s=settings.sweep_keys_per_s,
            found=self.progress.expects,
        )
        comparing = Comparing(roster, buckets, journal, writes, clock)
        self.forecasts = Forecasts(
            outlook,
            forecaster,
            lambda name: roster.watched[name].node if name in roster.watched else None,
            outlook.awaited,
            comparing.conflicts,
            self.store.absent,
        )
        self.cleaning = cleaning = Cleaning(
            roster,
            registers,
            clean,
            quiet=self._quiet,
            landing=certainty.may_land,
            absent=lambda: self.beginning.why,
            cluster=lambda: self.admission.cluster,
        )
        self.beginning.left = lambda: cleaning.has_begun
        self.leaving = Leaving(
            roster=roster,
            registers=registers,
            uploads=uploads,
            unfinished=Unfinished(
                roster=roster,
                settled=settled,
                marks=marks,
                memory=memory,
                buckets=buckets,
                presence=presence,
                writes=writes,
                turns=turns,
                to_the_end=to_the_end,
                trouble=certainty.refusal,
                queued=lambda: [name for name, _ in changes.queue()],
                paused=lambda: self.keeper.paused,
            ),
            cleaning=cleaning,
            changes=changes,
            outlook=outlook,
            gathered=comparing.gathered,
            forecast=forecaster.forecast,
            marks=lambda: len(marks),
            unexplained=lambda: (self.keeper.last or {}).get("reported", 0),
            absent=self._absent,
            space=space,
        )
        self._advancing = Advancing(
            self.beginning, admission, changes, self.leaving, cleaning, self._became_ready
        )
        roster.ticked = self._advancing.advance
        metrics.body_memory_bytes.set_function(lambda: budget.used_bytes)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start discovery; what follows begins as nodes are found."""
        self.roster.start()

    def _became_ready(self) -> None:
        if self.beginning.is_new and not self.roster.strays():
            self.store.folders.completed()
        self.heartbeat.start()
        self.keeper.start()

    async def stop(self) -> None:
        """Stop what runs by itself, and leave the note of a clean stop; then discovery."""
        self._stopping = True
        self._advancing.stop()
        await self.store.rests.stop()
        if self.beginning.ready and not self.cleaning.is_quiet:
            await self._quiet()
            if not self.cleaning.has_begun:
                await self.certainty.leave_note()
        await self.roster.stop_discovery()
        self.ledger.close()

    async def _quiet(self) -> None:
        """Write nothing to nodes any more of one's own accord."""
        if self.beginning.ready:
            await self.keeper.stop()
            await self.heartbeat.stop()

    # -- what others ask --------------------------------------------------------------------------

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served, and what is missing."""
        if self._stopping:
            return False, "shutting down"
        if why := self.leaving.closing or self._absent():
            return False, why
        if why := self._refusal():
            return False, why
        if all(candidate.node is None for candidate in self.roster.members()):
            return False, "no node is up"
        return True, ""

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way."""
        return self.roster.changing

    def _refusal(self) -> str:
        return self.certainty.refusal()

    def _absent(self) -> str:
        return self.leaving.absent or self.beginning.why

    async def _tend_buckets(self) -> None:
        """End deletes of buckets that were cut short; nodes have what there is, and no more."""
        await take_up(self.store)
        for each in self.roster.members():
            if each.node is not None:
                try:
                    await self.presence.level(each.node)
                except NodeError as error:
                    self._log.info("its buckets aren't levelled: {error}", error=error)

    def _make_member(self, member: Member) -> WatchedMember:
        settings = self._settings
        breaker = Breaker(
            member.name,
            self._clock,
            self._chance,
            failures=settings.breaker_failures,
            backoff_s=settings.breaker_backoff_s,
            backoff_max_s=settings.breaker_backoff_max_s,
        )
        return WatchedMember(
            member,
            self._clock,
            breaker,
            self._make_node,
            self._introduce,
            self.settled,
            self._metrics,
            met=lambda: self._clock.callLater(0, self._advancing.advance),
            consented=member.name in settings.adopt,
            probe_timeout_s=settings.probe_timeout_s,
            down_after_s=settings.node_down_after_s,
        )
