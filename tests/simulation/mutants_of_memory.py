"""Broken in what is remembered: journal, marks, settled, clean stops, returns, clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import succeed

import aosd.certainty
import aosd.cluster.beginning
import aosd.consistency.memory
import aosd.gateway.finishing
import aosd.gateway.get
import aosd.gateway.look
import aosd.gateway.sent
import aosd.repair.mend
import aosd.testing.simulation.operations
import aosd.testing.simulation.requests
from aosd.certainty import Certainty
from aosd.cluster.beginning import Beginning
from aosd.cluster.breaker import Breaker
from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.consistency.journal import Journal
from aosd.consistency.lines import Line
from aosd.consistency.marks import Mark, Marks
from aosd.consistency.memory import Memory
from aosd.consistency.recall import Recall, StopNote
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.uploads import OpenUpload, Uploads
from aosd.gateway.sent import Sent, check_taken, remember
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.model.marker import Marker
from aosd.model.node import NodeState
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.stamp import StampClock
from aosd.model.versions import Newest, Version, newest
from aosd.ports import INode
from aosd.repair.marked import Marked
from aosd.repair.mend import Mender, _Mending
from aosd.repair.sweep import Sweep
from aosd.repair.walk import Windows
from aosd.streams.bodies import HeldBody
from tests.simulation import interrupted, remembering, traces, writing
from tests.simulation.mutation import Patches, mutant


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a coroutine that does something."""


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
    return [(Certainty, "may_forget", lambda *_: True)]


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


@mutant(remembering.killed_while_an_upload_begins)
def uploads_are_not_remembered() -> Patches:
    """What lies on a node: open multipart uploads stand in uploads/."""
    write = Memory.write

    async def no_uploads(self: Memory, key: str, *what: Any, **how: Any) -> None:
        if not key.startswith("uploads/"):
            await write(self, key, *what, **how)

    return [(Memory, "write", no_uploads)]


@mutant(remembering.killed_while_an_upload_begins)
def uploads_are_known_by_their_ids_alone() -> Patches:
    """Repair: orphaned uploads are aborted, those that no answer told of, too."""

    async def end(self: Uploads, orphan: OpenUpload, node: INode, before_s: float) -> None:
        self.ended(orphan.id, node.name)

    return [(Uploads, "_abort_unknown", end)]


@mutant(interrupted.mark_given_to_a_returning_node_lands_late)
def what_is_given_is_forgotten() -> Patches:
    """What lies on a node: of a record that was given, too, a late PUT is thought of."""

    async def give(self: Memory, node: INode, records: Mapping[str, bytes]) -> None:
        for key, data in records.items():
            await node.put(SYSTEM_BUCKET, key, HeldBody([data] if data else []), ())

    return [(Memory, "give", give)]


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

    return [(aosd.gateway.finishing, "remember", remembered)]


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

    return [(aosd.gateway.finishing, "remember", remembered)]


@mutant(
    interrupted.stopped_while_a_copy_is_unanswered, interrupted.swept_while_a_copy_is_unanswered
)
def no_mark_when_mending_is_cut_short() -> Patches:
    """Marks: mending's own unanswered requests leave one, also when nobody waits any more."""
    return [(aosd.repair.mend, "CancelledError", type("Never", (Exception,), {}))]


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


@mutant(traces.node_reboots_between_two_requests)
def settled_primaries_are_remembered_when_nodes_go() -> Patches:
    """Settled: primaries are found out anew when one of them went."""
    return [(Roster, "_changed", lambda self: None)]


@mutant(traces.returning_node_and_a_clean_stop)
def settled_primaries_are_remembered_when_doubted() -> Patches:
    """Settled: primaries are found out anew when one of them is doubted, or was swept."""
    patches = []
    for name in ("returned", "swept", "unwatched"):
        told = getattr(Settledness, name)

        def unsaid(self: Settledness, *what: Any, told: Any = told) -> None:
            before = self.changes
            told(self, *what)
            self.changes = before

        patches.append((Settledness, name, unsaid))
    return patches


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


@mutant(
    interrupted.power_is_lost_after_the_note_was_read,
    interrupted.snapshot_is_restored_after_the_note_was_read,
)
def notes_count_whatever_came_after() -> Patches:
    """Clean stop: a note counts only if its node was there ever since it was read."""
    control_lost = WatchedMember._control_lost

    def once_admitted(self: WatchedMember, announced: bool) -> None:
        if self.incarnation is not None:
            control_lost(self, announced)

    return [(WatchedMember, "_control_lost", once_admitted)]


# -- clean stop ------------------------------------------------------------------------------------


@mutant(traces.returning_node_and_a_clean_stop)
def note_does_not_name_what_is_unsettled() -> Patches:
    """Clean stop: the note names what is unsettled."""

    def nothing(run: str, *_: Any) -> StopNote:
        return StopNote(run)

    return [(aosd.certainty, "StopNote", nothing)]


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


# -- clocks ----------------------------------------------------------------------------------------


@mutant(remembering.wrong_clock_is_noticed)
def writes_taken_with_a_wrong_clock() -> Patches:
    """Clocks: over 5 s off the nodes' clocks, writes are refused."""
    return [(Certainty, "refusal", lambda self: "")]


@mutant(remembering.clock_goes_back_while_the_gateway_is_off)
def stamps_begin_with_the_clock_alone() -> Patches:
    """Clocks: a run's stamps start above every stamp in aos-system."""
    return [(StampClock, "observe", lambda self, stamp: True)]


@mutant(remembering.clock_goes_back_while_the_gateway_is_dead)
def no_leap_after_an_unclean_start() -> Patches:
    """Clocks: after an unclean start stamps start 10 s ahead."""
    return [(StampClock, "leap", lambda self, seconds: None)]
