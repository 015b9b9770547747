"""The daemon broken on purpose, a clause of Consistency at a time: the simulation must notice.

Each has a trace that fails with it: one that seeds alone would find might hide again with the
next change of a seed's story. `python -m tests.simulation.mutants NAME` breaks the daemon so,
tells what noticed, and ends with 1 when nothing did; without a NAME it goes through all of
them. With --seeds 100 it tells what so many seeds make of them, instead of the traces.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, succeed

import aosd.assembly
import aosd.cluster.beginning
import aosd.consistency.memory
import aosd.gateway.get
import aosd.gateway.look
import aosd.gateway.put
import aosd.gateway.sent
import aosd.repair.mend
import aosd.testing.simulation.operations
import aosd.testing.simulation.requests
from aosd.assembly import Assembly
from aosd.cluster.admission import MEMBER, Admission
from aosd.cluster.beginning import Beginning
from aosd.cluster.breaker import Breaker
from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.consistency.copying import _Copying
from aosd.consistency.holders import Orders
from aosd.consistency.journal import Journal, Line
from aosd.consistency.ledger import Ledger
from aosd.consistency.marks import Mark, Marks
from aosd.consistency.recall import Recall, StopNote
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Flight
from aosd.gateway.get import _Opening
from aosd.gateway.look import Before
from aosd.gateway.put import _Writing
from aosd.gateway.sent import Sent, check_taken, is_enough, remember
from aosd.gateway.store import Doubts, Store, ask, cluster_errors
from aosd.model.errors import NoQuorum
from aosd.model.marker import Marker
from aosd.model.node import NodeState
from aosd.model.objects import ObjectHead
from aosd.model.quorum import absence
from aosd.model.stamp import StampClock
from aosd.model.versions import Newest, Version, newest, version_of
from aosd.ports import Candidate, IReading
from aosd.repair.keeper import Keeper
from aosd.repair.levelling import Levelling
from aosd.repair.marked import Marked
from aosd.repair.mend import Mender, _Mending
from aosd.repair.occasions import Occasions
from aosd.repair.plan import Plan, Remove, plan
from aosd.repair.sweep import Sweep
from aosd.repair.walk import Windows
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from aosd.streams.reader import BodyReader
from aosd.testing.simulation.play import play
from aosd.testing.simulation.reference import PromiseBroken
from tests.simulation import remembering, repairing, traces, writing

Patches = Sequence[tuple[Any, str, Any]]
"""What to replace: of a class or module, the attribute of that name, by this."""

Trace = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """A way to break the daemon: it leaves out what `clause` says; one of `traces` notices."""

    name: str
    clause: str
    patches: Callable[[], Patches]
    traces: tuple[Trace, ...]

    @contextmanager
    def at_large(self) -> Iterator[None]:
        """The daemon is broken so meanwhile."""
        with ExitStack() as broken:
            for where, what, by in self.patches():
                broken.enter_context(patch.object(where, what, by))
            yield


MUTANTS: dict[str, Mutant] = {}


def mutant(*noticed_by: Trace) -> Callable[[Callable[[], Patches]], Mutant]:
    """Register a mutant, which must be noticed by one of these traces."""

    def registered(patches: Callable[[], Patches]) -> Mutant:
        name = patches.__name__
        made = MUTANTS[name] = Mutant(name, patches.__doc__ or "", patches, noticed_by)
        return made

    return registered


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a coroutine that does something."""


# -- turns, restamping, conditions -----------------------------------------------------------------


@mutant(writing.put_while_a_delete_is_on_its_way)
def no_turns() -> Patches:
    """Turns: what takes effect takes turns."""

    async def take(
        self: Turns, bucket: str, key: str, act: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        return await self._to_the_end.run(act())

    return [(Turns, "take", take)]


@mutant(traces.slow_put_ends_after_delete_and_put)
def no_restamping() -> Patches:
    """Restamping: of a body that found something newer at its turn."""

    async def restamped(self: _Writing, stamp: str, flight: Flight) -> str:
        return stamp

    return [(_Writing, "_restamped", restamped)]


@mutant(writing.two_creations_at_once)
def conditions_decided_before_the_turn() -> Patches:
    """Turns: at its turn, not before, a condition is decided."""
    decide = _Writing._decide

    async def early(self: _Writing, *, at_turn: bool = True) -> None:
        if not at_turn:
            await decide(self, at_turn=False)

    return [(_Writing, "_decide", early)]


@mutant(writing.second_creation_while_the_first_is_made_up)
def settled_while_a_write_is_made_up() -> Patches:
    """Settled: no write was sent to nodes of which not all took it, and isn't marked yet."""
    return [
        (Settledness, "hold", lambda self, partition: None),
        (Settledness, "release", lambda self, partition: None),
    ]


@mutant(writing.wrong_digest_where_nodes_check_none)
def digests_not_checked() -> Patches:
    """Turns: at its turn a digest is checked; not all nodes do it."""
    return [(Digests, "check", lambda self: None)]


@mutant(writing.client_leaves_in_mid_body)
def a_body_that_ends_early_is_completed() -> Patches:
    """How bytes travel: a client that goes away aborts; nothing truncated is ever stored."""
    return [
        (Fanout, "body_failed", lambda self, reason: self.body_ended()),
        (BodyReader, "body_failed", lambda self, reason: self.body_ended()),
    ]


# -- the journal -----------------------------------------------------------------------------------


@mutant(traces.delete_removes_the_good_copy_first)
def journal_after_the_deletes() -> Patches:
    """Journal: a delete stands in it before the first DELETE is sent to a node."""

    async def delete(store: Store, bucket: str, key: str) -> None:
        async def act() -> None:
            check_taken(store)
            stamp = store.stamps.next()
            store.writes.effect(bucket, key, stamp)
            sent = Sent()
            could_hold = store.could_hold(bucket, key)
            answers = await ask(could_hold, lambda node: node.delete(bucket, key))
            await store.journal.deleted(bucket, key, stamp)
            for name, outcome in answers.items():
                sent.answered(name, outcome if isinstance(outcome, Exception) else "")
            await remember(store, bucket, key, stamp, sent, written=True, delete=True)

        with cluster_errors():
            await store.turns.take(bucket, key, act)

    return [(aosd.testing.simulation.operations, "delete", delete)]


@mutant(traces.copy_beats_absence_after_power_loss)
def journal_in_memory_only() -> Patches:
    """Journal: a delete stands on the nodes."""

    async def deleted(self: Journal, bucket: str, key: str, stamp: str) -> None:
        self._take([Line(stamp, bucket, key)])

    return [(Journal, "deleted", deleted)]


@mutant(remembering.restamped_just_before_a_kill)
def restampings_in_memory_only() -> Patches:
    """Journal: every restamping stands on the nodes before the last bytes."""

    async def restamped(self: Journal, bucket: str, key: str, was: str, counts_as: str) -> None:
        self._take([Line(counts_as, bucket, key, was)])

    return [(Journal, "restamped", restamped)]


@mutant(traces.rolled_back_node_is_away_for_eight_days)
def journal_forgets_while_a_member_is_away() -> Patches:
    """Journal: no entry goes while a member is away."""
    return [(Assembly, "_may_forget", lambda *_: True)]


@mutant(remembering.delete_comes_back_without_its_restamping)
def journal_forgets_without_a_horizon() -> Patches:
    """Journal: what is forgotten is void wherever a record of it is left."""
    return [(Journal, "_void_before", lambda self, limit: None)]


@mutant(
    traces.rolled_back_copy_of_what_was_deleted_since, traces.delete_removes_the_good_copy_first
)
def reads_ignore_the_journal() -> Patches:
    """Reads: stamps, marks and journal are compared."""

    def alive(versions: Mapping[str, Version | None], deleted: str | None) -> Newest:
        return newest(versions, None)

    return [(aosd.gateway.look, "newest", alive)]


@mutant(traces.journal_on_a_wiped_and_a_rolled_back_node)
def returning_node_is_not_given_the_memory() -> Patches:
    """What lies on a node: a returning one is given what it lacks before it counts."""
    return [(Recall, "level", _nothing)]


@mutant(remembering.only_a_wiped_and_a_new_node_are_there)
def node_is_marked_before_it_knows_who_belongs() -> Patches:
    """What lies on a node: at start the memory is read from all members but R - 1."""
    return [(Registers, "records", lambda _: {})]


@mutant(remembering.delete_that_one_node_remembers)
def memory_acknowledged_by_one_node() -> Patches:
    """What lies on a node: the memory is acknowledged by R, and by two at least."""
    return [(aosd.consistency.memory, "memory_acks", lambda replicas, members: min(members, 1))]


@mutant(remembering.delete_that_two_nodes_remember)
def memory_read_from_one_node() -> Patches:
    """What lies on a node: at start the memory is read from all members but R - 1."""
    return [(aosd.cluster.beginning, "memory_missing", lambda replicas, members: members - 1)]


@mutant(remembering.register_lands_late)
def registers_are_not_tended() -> Patches:
    """What lies on a node: of a register the newest stands, whatever lands late."""
    return [(Registers, "tend", _nothing)]


@mutant(remembering.upload_that_is_left_open)
def uploads_are_not_remembered() -> Patches:
    """What lies on a node: open multipart uploads stand in uploads/."""
    return [(Uploads, "opened", _nothing)]


# -- marks -----------------------------------------------------------------------------------------


@mutant(traces.put_lands_after_its_delete)
def marks_cleared_at_once() -> Patches:
    """Marks: one doesn't go before the late-write window is over."""
    return [(Marked, "_late_until_s", lambda self, mark: 0.0)]


@mutant(traces.put_lands_after_its_delete)
def no_mark_for_silence() -> Patches:
    """Marks: when a node gave no answer to a write."""
    leave = Marks.leave

    async def but_for_silence(self: Marks, mark: Mark, partition: int) -> None:
        if not mark.silent:
            await leave(self, mark, partition)

    return [(Marks, "leave", but_for_silence)]


@mutant(writing.refused_by_all_and_stored_by_one)
def no_mark_for_errors_of_a_node() -> Patches:
    """Marks: when one believed up refused a write; it may have taken it all the same."""
    return [(Sent, "refused_late", property(lambda self: set()))]


@mutant(writing.copy_lands_late)
def no_mark_for_silence_towards_mending() -> Patches:
    """Marks: mending's own unanswered requests leave one too."""
    note = _Mending._note
    return [(_Mending, "_note", lambda self, error, sent: note(self, error, sent=False))]


@mutant(writing.refused_by_a_primary)
def no_mark_for_refusals() -> Patches:
    """Marks: when one believed up refused a write, or a copy ends up off the primaries."""
    leave = Marks.leave

    async def but_for_refusals(self: Marks, mark: Mark, partition: int) -> None:
        if mark.silent:
            await leave(self, mark, partition)

    return [(Marks, "leave", but_for_refusals)]


@mutant(remembering.mark_outlives_a_gateway)
def marks_in_memory_only() -> Patches:
    """Marks: they lie on the nodes before the answer."""

    async def leave(self: Marks, mark: Mark, partition: int) -> None:
        self._take(mark, partition)

    return [(Marks, "leave", leave)]


@mutant(writing.suspect_primary_is_passed_by)
def no_mark_when_a_suspect_is_passed_by() -> Patches:
    """Marks: for a suspect node, which a write passes by, as if it had refused."""

    async def remembered(
        store: Store, bucket: str, key: str, stamp: str, sent: Sent, **how: Any
    ) -> None:
        primaries = store.primaries(bucket, key)
        passed = [
            each
            for each in primaries
            if each.state is NodeState.SUSPECT
            and each.name not in sent.errors
            and each.name not in sent.etags
        ]
        if passed and not sent.errors:
            store.writes.effect(bucket, key, stamp)
            return
        await remember(store, bucket, key, stamp, sent, **how)

    return [(aosd.gateway.put, "remember", remembered)]


@mutant(traces.put_aimed_at_a_ring_that_is_gone)
def no_mark_when_targets_are_primaries_no_more() -> Patches:
    """Settled: a PUT whose targets are no longer the primaries when it ends leaves a mark."""

    async def remembered(
        store: Store, bucket: str, key: str, stamp: str, sent: Sent, **how: Any
    ) -> None:
        primaries = store.primaries(bucket, key)
        if not sent.errors and all(each.state is NodeState.UP for each in primaries):
            store.writes.effect(bucket, key, stamp)
            return
        await remember(store, bucket, key, stamp, sent, **how)

    return [(aosd.gateway.put, "remember", remembered)]


# -- settled ---------------------------------------------------------------------------------------


@mutant(traces.put_lands_after_its_delete)
def settledness_ignores_marks() -> Patches:
    """Settled is a partition with no mark."""
    return [(Marks, "marked", lambda self, partition: False)]


@mutant(traces.node_reboots_between_two_requests)
def settledness_ignores_returns() -> Patches:
    """Settled: covered by a sweep that began after the last return."""
    return [(Settledness, "returned", lambda self, name: None)]


@mutant(remembering.copy_is_left_behind_by_a_change)
def settledness_ignores_ring_changes() -> Patches:
    """Settled: covered by a sweep that began after the last ring change."""
    return [(Settledness, "ring_changed", lambda self: None)]


@mutant(traces.sweep_passes_while_a_put_is_on_its_way)
def sweep_judges_from_pages_of_before() -> Patches:
    """Settled: judged from a page if no write took effect since, or by HEADs at its turn."""

    async def look(self: _Mending, only: frozenset[str] | None = None) -> None:
        self._place(only)
        await self._ask_all()

    return [
        (Windows, "touched", lambda self, window, bucket, key: False),
        (Mender, "is_busy", lambda self, bucket, key: False),
        (_Mending, "look", look),
    ]


@mutant(traces.same_bytes_again_after_a_delete)
def returning_node_compared_by_etag() -> Patches:
    """Repair: stamps are compared for a returning node, not ETags."""
    begun = Sweep.__init__

    def by_etag(self: Sweep, **how: Any) -> None:
        begun(self, **{**how, "compare": frozenset(), "agreed_since_s": float("inf")})

    return [(Sweep, "__init__", by_etag)]


@mutant(remembering.returning_node_cannot_be_listed)
def sweep_covers_whom_it_could_not_ask() -> Patches:
    """Settled: a sweep speaks for nodes whose listings were compared whole."""
    run = Sweep.run

    async def all_covered(self: Sweep) -> Any:
        swept = await run(self)
        swept.covered |= self._lost
        return swept

    return [(Sweep, "run", all_covered)]


@mutant(traces.put_lands_long_after_a_kill)
def no_wait_after_an_unclean_start() -> Patches:
    """Settled: after an unclean start, 20 minutes after its nodes answered."""
    unwatched = Settledness.unwatched
    return [(Settledness, "unwatched", lambda self, name, late_until_s: unwatched(self, name, 0.0))]


# -- clean stop ------------------------------------------------------------------------------------


@mutant(traces.returning_node_and_a_clean_stop)
def note_does_not_name_what_is_unsettled() -> Patches:
    """Clean stop: the note names what is unsettled."""

    def nothing(run: str, *_: Any) -> StopNote:
        return StopNote(run)

    return [(aosd.assembly, "StopNote", nothing)]


@mutant(remembering.note_left_over_and_nobody_else_answers)
def note_of_any_run_counts() -> Patches:
    """Clean stop: a note with the run's id counts, of the last run alone."""
    begin_run = Beginning._begin_run

    async def of_any_run(self: Beginning, names: list[str]) -> None:
        last = self._recall.registers.get("runs", "last")
        for name, note in self._notes.items():
            if note is not None and last is not None:
                self._notes[name] = replace(note, run=last.value["run"])
        await begin_run(self, names)

    return [(Beginning, "_begin_run", of_any_run)]


@mutant(traces.put_lands_long_after_a_kill)
def every_start_is_clean() -> Patches:
    """Clean stop: any start without a note is unclean."""
    begin_run = Beginning._begin_run

    async def clean(self: Beginning, names: list[str]) -> None:
        last = self._recall.registers.get("runs", "last")
        if last is not None:
            self._notes.update(dict.fromkeys(self._read, StopNote(last.value["run"])))
        await begin_run(self, names)

    return [(Beginning, "_begin_run", clean)]


# -- nodes that were away --------------------------------------------------------------------------


@mutant(traces.node_reboots_between_two_requests)
def control_connection_breaks_ignored() -> Patches:
    """Trace 7: a node that was restarted is noticed by the control connection."""
    return [(WatchedMember, "_control_lost", lambda self, announced: None)]


@mutant(traces.node_reboots_between_two_requests)
def connections_are_not_confirmed() -> Patches:
    """Trace 7: a new connection carries no request before a probe over the control connection."""
    return [(Breaker, "confirm", lambda self: succeed(None))]


@mutant(remembering.disk_is_emptied)
def wiped_disks_are_not_noticed() -> Patches:
    """What lies on a node: the incarnation in its marker tells a wiped disk."""
    answered = WatchedMember._answered

    def blind(self: WatchedMember, marker: bytes | None) -> None:
        if self.incarnation is not None:
            marker = Marker("", self.member.name, self.incarnation).to_bytes()
        answered(self, marker)

    return [(WatchedMember, "_answered", blind)]


# -- what counts, reads ----------------------------------------------------------------------------


@mutant(remembering.absence_by_one_node_of_three)
def absence_needs_no_quorum() -> Patches:
    """404 and listings: an answer from all but R - 1 of the nodes that could hold the key."""
    return [(Store, "check_absence", lambda self, *_: None)]


@mutant(remembering.absence_by_a_node_that_lost_it)
def returning_nodes_count_for_absence() -> Patches:
    """404 and listings: returning nodes aren't counted."""

    def check(self: Store, candidates: Sequence[Candidate], answered: set[str], _: Doubts) -> None:
        if len(answered) < absence(self.replicas, len(candidates)):
            raise NoQuorum("too few answered")

    return [(Store, "check_absence", check)]


@mutant(remembering.absence_by_a_node_that_lost_it_unwatched)
def unwatched_nodes_count_for_absence() -> Patches:
    """404 and listings: what nobody watched may have lost something."""
    return [(Settledness, "is_unwatched", lambda self, name: False)]


@mutant(traces.both_holders_are_away)
def newest_known_write_is_not_minded() -> Patches:
    """Reads: a copy older than the newest write known is not answered."""

    def nothing_written(store: Store, bucket: str, key: str) -> Before:
        nobody = Doubts(frozenset(), frozenset())
        return Before("", store.journal.delete_of(bucket, key) or "", "", nobody)

    return [
        (aosd.gateway.look, "before", nothing_written),
        (aosd.gateway.get, "before", nothing_written),
        (Store, "check_newest", lambda self, *_: None),
    ]


@mutant(remembering.only_the_stale_primary_answers)
def newest_is_taken_from_any_answer() -> Patches:
    """Reads: where a newer one can't be excluded, there is no answer."""
    return [(Store, "check_newest", lambda self, *_: None)]


@mutant(remembering.the_other_primary_goes_when_one_is_back)
def handoffs_are_not_asked() -> Patches:
    """404 and listings: the nodes that could hold the key are primaries and handoffs."""
    return [(Store, "could_hold", lambda self, bucket, key: self.primaries(bucket, key))]


@mutant(writing.body_goes_on_from_another_node)
def bodies_go_on_from_another_version() -> Patches:
    """How bytes travel: a GET goes on from another copy with the same stamp."""
    read = _Opening._read

    async def any_version(
        self: _Opening, candidate: Candidate, wanted: Any, version: ObjectHead | None
    ) -> IReading:
        return await read(self, candidate, wanted, None)

    return [(_Opening, "_read", any_version)]


# -- writes ----------------------------------------------------------------------------------------


@mutant(writing.put_that_one_node_took)
def acknowledged_with_a_copy_less() -> Patches:
    """A 2xx PUT or DELETE is on R nodes."""

    def enough(store: Store, bucket: str, key: str, names: set[str]) -> bool:
        return bool(names) and is_enough(
            replace(store, replicas=max(store.replicas - 1, 1)), bucket, key, names
        )

    return [(aosd.gateway.put, "is_enough", enough)]


@mutant(writing.late_writes_land_on_all_targets)
def writes_go_where_older_ones_may_land() -> Patches:
    """Marks: what a silent node was sent may take effect yet, over what is newer."""
    return [(aosd.gateway.sent, "_maybe_late", lambda store, bucket, key: frozenset())]


@mutant(remembering.many_nodes_join_at_once)
def writes_go_to_the_coming_ring_alone() -> Patches:
    """The ring: while it changes, reads look at both placements, writes go to both rings."""

    def coming(self: Roster, bucket: str, key: str) -> Orders:
        return (self._candidates(self.ring.order(bucket, key)),) if self.ring.members else ()

    return [(Roster, "orders", coming)]


@mutant(remembering.many_nodes_join_at_once)
def a_node_joins_at_once() -> Patches:
    """The ring: a new node is in the coming ring only, until what is its has been copied."""
    register = Admission.register

    async def member(self: Admission, member: Any, incarnation: str, _state: str = "") -> None:
        await register(self, member, incarnation, MEMBER)

    return [(Admission, "register", member)]


@mutant(writing.delete_carried_out_late)
def deletes_are_repeated() -> Patches:
    """Trap 5: a DELETE is never sent again by itself: the first may land after the second."""
    repeated = aosd.testing.simulation.requests._REPEATED | {"delete"}
    return [(aosd.testing.simulation.requests, "_REPEATED", repeated)]


# -- repair ----------------------------------------------------------------------------------------


@mutant(traces.mending_removes_while_a_put_lands)
def removes_without_looking_again() -> Patches:
    """Repair: a HEAD just before a copy is removed, at the key's turn."""

    async def at_once(self: _Mending, removals: Sequence[Remove]) -> None:
        for each in removals:
            await self._remove(each)

    return [(_Mending, "_take_turn", at_once)]


@mutant(writing.copy_on_its_way_is_overtaken)
def copies_without_looking_at_the_target() -> Patches:
    """Turns: of mending and of copies a second look, at the turn."""

    async def look(self: _Copying) -> None:
        return None

    return [(_Copying, "_look_at_target", look), (_Copying, "_second_look", look)]


@mutant(writing.copy_stands_in_for_a_primary)
def strays_go_before_the_primaries_have_it() -> Patches:
    """Repair: a handoff's copy goes only when the primaries have it."""

    def planned(*, primaries: Sequence[str], heads: Any, counts_as: Any, **how: Any) -> Plan:
        made = plan(primaries=primaries, heads=heads, counts_as=counts_as, **how)
        there = {each.node for each in made.removals}
        more = tuple(
            Remove(name, version_of(head, counts_as))
            for name, head in heads.items()
            if head is not None and name not in primaries and name not in there
        )
        return replace(made, removals=(*made.removals, *more))

    return [(aosd.repair.mend, "plan", planned)]


@mutant(writing.late_delete_where_a_stray_is_left)
def removes_because_of_what_a_silent_node_has() -> Patches:
    """Repair: a copy isn't removed for one that a late request may change."""
    return [
        (aosd.repair.mend, "plan", lambda *, late, **how: plan(late=frozenset(), **how)),
    ]


@mutant(repairing.node_refuses_its_memory_and_others_go_on)
def one_that_cannot_be_levelled_ends_the_sweep() -> Patches:
    """Repair: a node that can't be given the memory holds up no other."""
    level = Levelling.level

    async def all_or_none(self: Levelling, *who: Any) -> Any:
        if uneven := await level(self, *who):
            raise CancelledError(uneven)
        return uneven

    return [(Levelling, "level", all_or_none)]


@mutant(repairing.joining_nodes_refuse_their_copies)
def ring_changes_before_all_is_copied() -> Patches:
    """The ring: a change is over when all that the coming ring wants was copied."""
    run = Sweep.run

    async def as_if_mended(self: Sweep) -> Any:
        swept = await run(self)
        swept.unheld = 0
        return swept

    return [(Sweep, "run", as_if_mended), (Keeper, "_is_lacking", lambda _: False)]


@mutant(repairing.full_node_for_hours)
def full_node_is_marked_again_and_again() -> Patches:
    """Marks: for a full node one for the partition."""
    return [(Marks, "keep", lambda *_: False)]


@mutant(repairing.full_node_for_hours)
def sweeps_in_vain_do_not_wait() -> Patches:
    """Repair: the sweep gentle by default."""
    return [(Occasions, "began", lambda _: None)]


@mutant(repairing.full_again_while_its_marks_are_cleared)
def mark_is_cleared_though_it_was_doubted_again() -> Patches:
    """Marks: one goes when every node that could hold the key was looked at, and not before."""

    async def all_of_them(self: Marks, is_settled: Callable[[int, Mark], bool]) -> None:
        for number, mark in [each for each in self._taken_up if is_settled(*each)]:
            await self.clear(number, mark)

    return [(Marks, "settle_taken_up", all_of_them)]


@mutant(repairing.a_node_is_added_beside_a_full_one)
def ring_changes_when_nothing_is_in_doubt() -> Patches:
    """The ring: what can't be helped holds no change up."""
    return [(Keeper, "_is_lacking", lambda self: len(self._marks) > 0)]


@mutant(repairing.clean_restarts_while_a_node_is_away)
def note_says_that_all_lack_something() -> Patches:
    """Clean stop: the note names what is unsettled, and who was away."""

    def all_unsettled(run: str, unsettled: frozenset[str], *rest: Any) -> StopNote:
        return StopNote(run, unsettled, unsettled, *rest[1:])

    return [(aosd.assembly, "StopNote", all_unsettled)]


@mutant(repairing.delete_that_a_node_refuses_for_days)
def journal_forgets_what_is_marked() -> Patches:
    """Journal: no entry goes while a copy that it speaks of may be left."""
    return [(Ledger, "has_before", lambda *_: False)]


@mutant(repairing.new_disk_and_the_gateway_ends)
def new_disk_counts_as_one_nobody_watched() -> Patches:
    """Return: a new incarnation is one, also when it is found at a start."""
    register = Beginning._register

    async def unwatched(self: Beginning, member: Any) -> None:
        with patch.object(self._settled, "returned", lambda _: None):
            await register(self, member)

    return [(Beginning, "_register", unwatched), (Admission, "was_returning", lambda _: [])]


@mutant(repairing.return_is_remembered_by_the_next_run)
def next_run_forgets_who_is_returning() -> Patches:
    """Return: `members/` remembers who is returning."""
    return [(Admission, "was_returning", lambda _: [])]


# -- clocks ----------------------------------------------------------------------------------------


@mutant(remembering.wrong_clock_is_noticed)
def writes_taken_with_a_wrong_clock() -> Patches:
    """Clocks: over 5 s off the nodes' clocks, writes are refused."""
    return [(Assembly, "_refusal", lambda self: "")]


@mutant(remembering.clock_goes_back_while_the_gateway_is_off)
def stamps_begin_with_the_clock_alone() -> Patches:
    """Clocks: a run's stamps start above every stamp in aos-system."""
    return [(StampClock, "observe", lambda self, stamp: True)]


@mutant(remembering.clock_goes_back_while_the_gateway_is_dead)
def no_leap_after_an_unclean_start() -> Patches:
    """Clocks: after an unclean start stamps start 10 s ahead."""
    return [(StampClock, "leap", lambda self, seconds: None)]


# -- hunting ---------------------------------------------------------------------------------------

_NO_NOTICE = re.compile(r"an unexpected error|failed oddly|after [0-9.e]+ s: not ")
"""A mutant that stumbles hasn't broken the promise; nor has a scene that couldn't be set."""


@dataclass
class Hunt:
    """What `noticed` a mutant, "" for nothing; and what came to nothing: it `stumbled` there."""

    noticed: str
    stumbled: list[str]


def hunt(mutant: Mutant, seeds: int = 0) -> Hunt:
    """Try its traces, or so many seeds instead, until it is noticed."""
    tries: list[tuple[str, Callable[[], object]]] = [
        (f"seed {seed}", partial(play, seed)) for seed in range(seeds)
    ] or [(each.__name__, each) for each in mutant.traces]
    stumbled: list[str] = []
    for name, attempt in tries:
        # Garbage is collected between stories, so that they don't depend on it.
        gc.collect()
        gc.disable()
        with mutant.at_large():
            try:
                attempt()
            except PromiseBroken as broken:
                if not _NO_NOTICE.search(str(broken)):
                    return Hunt(f"{name}: {broken}", stumbled)
                stumbled.append(f"{name}: {broken}")
            except Exception as error:
                stumbled.append(f"{name}: {error!r}")
    return Hunt("", stumbled)


def main() -> int:
    """Hunt for some mutants, or for all; returns the exit status: 1 when one survived."""
    parser = argparse.ArgumentParser(description="Break the daemon, and see who notices.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which mutants (all)")
    parser.add_argument("--seeds", type=int, default=0, help="by so many seeds, not by traces")
    options = parser.parse_args()
    if unknown := set(options.names) - MUTANTS.keys():
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of text is part of the story.
        command = [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    # Coroutines of gateways that were killed are never finished: Python tells of each.
    sys.unraisablehook = lambda _: None
    survivors = 0
    for name in options.names or MUTANTS:
        began_s = time.monotonic()
        found = hunt(MUTANTS[name], options.seeds)
        survivors += not found.noticed
        took_s = time.monotonic() - began_s
        sys.stdout.write(f"{name} ({took_s:.1f} s): {found.noticed or 'SURVIVED'}\n")
        for each in found.stumbled:
            sys.stdout.write(f"    stumbled in {each}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
