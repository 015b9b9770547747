"""Broken in what is done with copies: turns, reads, writes, repair."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError

import aosd.certainty
import aosd.cluster.beginning
import aosd.consistency.memory
import aosd.gateway.delete
import aosd.gateway.finishing
import aosd.gateway.get
import aosd.gateway.look
import aosd.gateway.sent
import aosd.repair.mend
import aosd.testing.simulation.operations
import aosd.testing.simulation.requests
from aosd.cluster.beginning import Beginning
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.copying import _Copying
from aosd.consistency.holders import Orders
from aosd.consistency.ledger import Ledger
from aosd.consistency.marks import Mark, Marks
from aosd.consistency.recall import StopNote
from aosd.consistency.settled import Settledness
from aosd.consistency.turns import Turns
from aosd.consistency.writes import Flight, Writes
from aosd.gateway.get import _Opening
from aosd.gateway.look import Before
from aosd.gateway.put import Writing
from aosd.gateway.sent import is_enough
from aosd.gateway.store import Doubts, Store
from aosd.model.errors import NoQuorum
from aosd.model.objects import ObjectHead
from aosd.model.quorum import absence
from aosd.model.standing import Membership
from aosd.model.versions import version_of
from aosd.ports import Candidate, IReading
from aosd.repair.keeper import Keeper
from aosd.repair.levelling import Levelling
from aosd.repair.mend import _Mending
from aosd.repair.occasions import Occasions
from aosd.repair.plan import Plan, Remove, plan
from aosd.repair.sweep import Sweep
from aosd.repair.walk import Windows
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from aosd.streams.reader import BodyReader
from tests.simulation import remembering, repairing, traces, writing
from tests.simulation.mutation import Patches, mutant


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

    async def restamped(self: Writing, stamp: str, flight: Flight) -> str:
        return stamp

    return [(Writing, "_restamped", restamped)]


@mutant(writing.two_creations_at_once)
def conditions_decided_before_the_turn() -> Patches:
    """Turns: at its turn, not before, a condition is decided."""
    decide = Writing._decide

    async def early(self: Writing, *, at_turn: bool = True) -> None:
        if not at_turn:
            await decide(self, at_turn=False)

    return [(Writing, "_decide", early)]


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


# -- what counts, reads ----------------------------------------------------------------------------


@mutant(remembering.absence_by_one_node_of_three)
def absence_needs_no_quorum() -> Patches:
    """404 and listings: an answer from all but R - 1 of the nodes that could hold the key."""
    return [(Store, "check_absence", lambda self, *_: None)]


@mutant(repairing.keys_move_while_they_are_listed)
def moves_are_not_heeded() -> Patches:
    """404 and listings: a key that moves while nodes are listed is looked for by its name."""
    return [(Writes, "moves", lambda self, *_: None)]


@mutant(
    remembering.one_key_is_not_told_while_a_wiped_node_is_swept,
    remembering.a_wiped_node_has_no_space,
)
def a_sweep_speaks_for_what_it_could_not_compare() -> Patches:
    """404 and listings: nor one of which a key couldn't be compared with others, of that key."""
    return [(Marks, "lacking", lambda self, *_: frozenset())]


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
        deleted = store.journal.delete_of(bucket, key) or ""
        return Before("", deleted, "", nobody, store.writes.moves_in_all)

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
        self: _Opening, candidate: Candidate, wanted: Any, version: ObjectHead | None = None
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

    return [(aosd.gateway.finishing, "is_enough", enough)]


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
    enter = Standings.enter

    async def member(self: Standings, member: Any, incarnation: str, *_: Any, **more: Any) -> None:
        await enter(self, member, incarnation, Membership.MEMBER, **more)

    return [(Standings, "enter", member)]


@mutant(repairing.lost_before_any_page_shows_it)
def swept_by_pages_alone() -> Patches:
    """Repair: what was written shortly before a sweep is looked at, listed or not."""
    return [(Windows, "of_late", lambda self, bucket: set())]


@mutant(writing.delete_that_too_few_remember)
def deletes_in_vain_leave_no_mark() -> Patches:
    """Marks: what a delete made dead, that couldn't be put on record, is looked at."""

    async def nothing(*_: Any) -> None:
        """Leave none."""

    return [(aosd.gateway.delete, "_outlived", nothing)]


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
    """The ring: a change is over when all that the coming ring wants was copied.

    Marks that tell who lacks it would keep that from being seen.
    """
    run = Sweep.run

    async def as_if_mended(self: Sweep) -> Any:
        swept = await run(self)
        swept.unheld = 0
        return swept

    return [
        (Sweep, "run", as_if_mended),
        (Keeper, "_is_lacking", lambda _: False),
        (Marks, "lacking", lambda self, *_: frozenset()),
    ]


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

    return [(aosd.certainty, "StopNote", all_unsettled)]


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

    return [(Beginning, "_register", unwatched), (Standings, "were_returning", lambda _: set())]


@mutant(repairing.return_is_remembered_by_the_next_run)
def next_run_forgets_who_is_returning() -> Patches:
    """Return: `members/` remembers who is returning."""
    return [
        (Standings, "were_returning", lambda _: set()),
        (Marks, "lacking", lambda self, *_: frozenset()),  # or that would keep it from being seen
    ]
