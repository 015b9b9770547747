"""Broken in what an operator asks for: draining, removing, undoing, adopting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aosd.cluster.acts
import aosd.cluster.changes
import aosd.cluster.emptying
import aosd.cluster.standings
import aosd.model.standing
from aosd.certainty import Certainty
from aosd.cluster.admission import Admission
from aosd.cluster.emptying import Emptying
from aosd.cluster.losses import Losses
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.begun import Begun
from aosd.consistency.marks import Marks
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.uploads import Uploads
from aosd.membership import Members
from aosd.model.standing import Membership, Standing
from aosd.repair.keeper import Keeper
from aosd.repair.mend import _Mending
from aosd.repair.pausing import Pausing
from tests.simulation import adopting, moving, repairing
from tests.simulation.mutation import Patches, mutant


async def _no_reason(*_: Any, **__: Any) -> str:
    """Instead of a coroutine that says why not."""
    return ""


# -- draining --------------------------------------------------------------------------------------


@mutant(moving.an_upload_is_open_across_a_drain)
def drained_though_an_upload_is_open() -> Patches:
    """Draining: a node isn't drained as long as an upload is open on it."""
    return [(Uploads, "open_on", lambda self, node: 0)]


@mutant(moving.a_write_lands_late_on_a_draining_node)
def drained_though_a_write_may_land() -> Patches:
    """Draining: nor as long as a write that it didn't answer may take effect."""
    why_not = Emptying._why_not

    async def but_for_marks(self: Emptying, name: str, node: Any) -> str:
        why = await why_not(self, name, node)
        return "" if why.startswith("a write that it didn't answer") else why

    return [(Emptying, "_why_not", but_for_marks)]


@mutant(moving.a_drained_node_has_what_others_refused)
def drained_though_others_lack_a_register() -> Patches:
    """Draining: nor as long as too few of the others have what it has of the cluster's memory."""
    return [(Registers, "lacking", lambda self, names: "")]


@mutant(moving.a_write_of_a_killed_gateway_lands_on_a_draining_node)
def drained_within_the_window_of_a_killed_run() -> Patches:
    """Draining: nor as long as requests of the run before may take effect."""
    why_not = Emptying._why_not

    async def but_for_late_ones(self: Emptying, name: str, node: Any) -> str:
        why = await why_not(self, name, node)
        return "" if why.startswith("requests of the run before") else why

    return [(Emptying, "_why_not", but_for_late_ones)]


@mutant(moving.a_long_put_flows_across_a_drain)
def drained_though_a_put_flows_to_it() -> Patches:
    """Draining: nor before what began when a ring had it is over."""
    return [(Begun, "are_over", lambda self, before: True)]


@mutant(adopting.what_was_hidden_on_a_node_that_is_adopted)
def drained_with_a_hidden_key_left() -> Patches:
    """Draining: not before its own listing is empty; keys come to light as others go."""

    async def nothing(node: Any, most: int) -> list[str]:
        return []

    return [(aosd.cluster.emptying, "first_keys", nothing)]


@mutant(repairing.joining_nodes_refuse_their_copies)
def change_over_before_all_is_copied() -> Patches:
    """Ring: a change isn't over before each key has its copies where the coming ring looks."""
    change_over = Members.change_over

    def at_once(self: Members, unmended: int, removed: int = 0) -> Any:
        return change_over(self, 0, removed)

    async def all_compared(self: Keeper, stamp: str, broken: Any, result: Any, shape: Any) -> None:
        if self._membership.changing:
            await self._membership.change_over(0, 0)

    return [
        (Members, "change_over", at_once),
        (Keeper, "_all_compared", all_compared),
        (Marks, "lacking", lambda self, *_: frozenset()),  # or that would keep it from being seen
    ]


@mutant(moving.a_drained_disk_falls_back)
def drained_node_joins_again_with_what_it_holds() -> Patches:
    """Draining: a drained node joins again only empty."""
    return [(Emptying, "check_empty", _no_reason)]


@mutant(moving.nothing_is_forgotten_while_a_change_stands_still)
def journal_forgets_while_the_ring_changes() -> Patches:
    """Journal: no entry goes while a ring change is under way, as nothing is removed then."""
    return [(Certainty, "may_forget", lambda *_: True)]


@mutant(moving.repair_is_paused_while_a_node_is_drained)
def pause_is_not_heeded() -> Patches:
    """Repair: while it is paused, a change of the ring stands still."""
    return [(Pausing, "paused", property(lambda self: False))]


# -- one change after the other --------------------------------------------------------------------


@mutant(moving.two_drains_and_a_kill)
def queue_is_lost_at_restart() -> Patches:
    """Changes: what waits stands in the registers."""
    value = Standing.value

    def without_queue(self: Standing) -> Mapping[str, Any]:
        return value(replace(self, queued=None))

    return [(Standing, "value", without_queue)]


@mutant(moving.two_drains_and_a_kill)
def queue_is_never_begun() -> Patches:
    """Changes: what waits begins when the change under way is over."""

    async def tend(self: Any) -> None:
        await self._emptying.tend()

    return [(aosd.cluster.changes.Changes, "tend", tend)]


@mutant(moving.a_drain_is_undone_when_half_is_done)
def undoing_a_drain_leaves_it_out() -> Patches:
    """Undo: a node that no ring has any more joins once more."""
    undrained = aosd.cluster.acts._undrained

    def member_at_once(standing: Standing, since: str) -> Standing:
        if standing.membership is Membership.DRAINING:
            return replace(standing, queued=None)
        return undrained(standing, since)

    return [(aosd.cluster.acts, "_undrained", member_at_once)]


@mutant(
    moving.a_drain_is_asked_for_again_after_its_undoing_failed,
    moving.a_removal_is_asked_for_again_after_its_undoing_failed,
)
def so_already_is_taken_on_trust() -> Patches:
    """Undo: what is asked for and is so already stands, whatever couldn't be set before."""
    return [(Registers, "is_sure", lambda self, kind, name: True)]


# -- removing --------------------------------------------------------------------------------------


@mutant(moving.the_last_copy_is_on_a_node_that_is_away)
def removed_with_the_last_copy() -> Patches:
    """Removing: not a node that may have the last copy of something."""
    return [(Losses, "why_not", _no_reason)]


@mutant(moving.the_last_copy_is_on_a_node_that_is_away)
def removed_without_asking_the_others() -> Patches:
    """Removing: not before all others have said that they are there, and were all the time."""
    return [(Losses, "_confirm_all_but", _no_reason)]


@mutant(moving.a_node_is_replaced_by_a_new_one)
def new_node_is_believed_to_have_lost_something() -> Patches:
    """Removing: a node that came empty lacks nothing that it had."""
    return [(Settledness, "comes", lambda self, name, **_: None)]


@mutant(adopting.a_node_is_lost_before_another_is_adopted)
def adopted_node_is_believed_to_have_lost_something() -> Patches:
    """Adopting: a node that came with objects lacks nothing of ours that it had."""
    return [(Settledness, "comes", lambda self, name, **_: None)]


@mutant(moving.a_removed_node_comes_back_with_what_it_had)
def removed_node_is_let_in_again() -> Patches:
    """What lies on a node: removed ones are remembered, and come back only empty."""
    return [(Admission, "_kept_out", lambda *_, **__: "")]


@mutant(moving.a_removed_node_leaves_uploads_behind)
def uploads_of_removed_nodes_are_kept() -> Patches:
    """What lies on a node: nothing is open on one that was removed."""
    return [(Members, "is_gone", lambda self, name: False)]


@mutant(moving.an_upload_comes_back_when_its_node_is_drained)
def uploads_of_drained_nodes_are_kept() -> Patches:
    """What lies on a node: nothing is open on one that was drained."""
    is_gone = Members.is_gone

    def if_removed(self: Members, name: str) -> bool:
        standing = self.changes.standing(name)
        drained = standing is not None and standing.membership is Membership.DRAINED
        return is_gone(self, name) and not drained

    return [(Members, "is_gone", if_removed)]


# -- adopting --------------------------------------------------------------------------------------


@mutant(adopting.what_a_node_brings_is_readable_at_once)
def strays_are_not_asked() -> Patches:
    """Adopting: who came with objects is asked for every key until all have their copies."""
    return [(Roster, "strays", lambda self: ())]


@mutant(adopting.an_adoption_is_undone, adopting.what_a_node_brings_is_readable_at_once)
def adopted_is_forgotten() -> Patches:
    """Adopting: that it came with objects is remembered, however its joining goes on."""
    enter = Standings.enter

    async def as_any_other(self: Standings, *how: Any, **more: Any) -> None:
        await enter(self, *how, **{**more, "adopted": False})

    return [(Standings, "enter", as_any_other)]


@mutant(adopting.what_a_node_brings_is_readable_at_once)
def what_was_brought_is_not_moved() -> Patches:
    """Adopting: what has no stamp is ours to move on a node that came with objects."""
    return [(_Mending, "_movable", lambda self: frozenset())]


@mutant(adopting.who_brought_them_is_away)
def absence_without_who_brought_it() -> Patches:
    """404: one that came with objects, which may have no copies yet, has to answer."""
    strays = Roster.strays

    def none_is_adopted(self: Roster) -> Any:
        return tuple(each._replace(adopted=False) for each in strays(self))

    return [(Roster, "strays", none_is_adopted)]
