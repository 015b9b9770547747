"""Broken in what is done with clients' uploads, copies and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aosd.consistency.uploads
import aosd.gateway.completing
import aosd.gateway.rewrite
from aosd.consistency.copying import _Copying
from aosd.consistency.memory import Memory
from aosd.consistency.uploads import Uploads
from aosd.gateway.completing import _Completing
from aosd.gateway.put import Writing
from aosd.gateway.store import Store
from aosd.model.objects import Headers
from aosd.model.stamp import StampClock
from aosd.testing.simulation.operations import TAGS
from tests.simulation import copying, moving, uploading
from tests.simulation.mutation import Patches, mutant


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a coroutine that does something."""


# -- uploads ---------------------------------------------------------------------------------------


@mutant(
    uploading.deleted_between_create_and_complete, uploading.overwritten_between_create_and_complete
)
def uploads_keep_their_stamp() -> Patches:
    """Restamping: a Complete is newer than all that came since the Create."""
    return [(_Completing, "_restamp", _nothing)]


@mutant(uploading.completed_again_after_a_put)
def completed_as_often_as_asked() -> Patches:
    """Uploads: what was completed isn't completed again, whatever a node has open yet."""
    return [(Uploads, "is_over", lambda self, upload: False)]


@mutant(uploading.completed_again_in_vain_while_a_put_flows)
def restampings_in_vain_are_told_to_nobody() -> Patches:
    """Restamping: what is on its way is newer than one that couldn't be put on record, too."""

    async def restamp(self: Store, bucket: str, key: str, stamp: str) -> None:
        await self.journal.restamped(bucket, key, stamp, self.stamps.next())

    return [(Store, "restamp", restamp)]


@mutant(uploading.completed_after_an_abort)
def aborted_ones_go_on() -> Patches:
    """Uploads: nothing is taken of one that was aborted, whatever a node has open yet."""
    return [(Uploads, "is_over", lambda self, upload: False)]


@mutant(uploading.aborted_while_a_node_is_away)
def nobody_tends_uploads() -> Patches:
    """Uploads: who couldn't be told that one is over is told when it is back."""
    return [(Uploads, "tend", _nothing)]


@mutant(
    moving.a_record_of_an_upload_that_ended_comes_back, moving.an_upload_that_ended_is_open_again
)
def ended_ones_come_back_for_a_week() -> Patches:
    """Uploads: one that ended in this run holds up no drain, whatever a node tells of it."""

    tend = Uploads.tend

    async def by_age(self: Uploads, nodes: Any, before_s: float, *_: Any, **__: Any) -> None:
        """Nobody is asked, nor anything ended sooner, which would keep this from being seen."""
        await tend(self, nodes, before_s)

    return [
        (StampClock, "is_own", lambda self, stamp: False),
        (aosd.consistency.uploads, "_MOST_ENDED", 0),
        (Uploads, "tend", by_age),
    ]


@mutant(uploading.abort_that_nobody_remembers)
def aborts_nobody_remembers() -> Patches:
    """Uploads: an abort that a node didn't hear of is acknowledged when others remember it."""
    over = Uploads.over

    async def over_somehow(self: Uploads, upload: str, *, surely: bool = False) -> None:
        await over(self, upload)

    return [(Uploads, "over", over_somehow)]


@mutant(uploading.each_node_lacks_a_part)
def parts_here_and_there() -> Patches:
    """Uploads: a part is acknowledged while there is a node that has all before it."""
    return [(Uploads, "lacking", lambda self, upload, number: set())]


@mutant(uploading.part_is_replaced_while_it_completes)
def nodes_with_other_parts_get_no_copy() -> Patches:
    """Uploads: a node whose parts were replaced meanwhile is one that lacks the object."""
    return [(aosd.gateway.completing, "_OTHER_PARTS", "")]


@mutant(uploading.copied_to_a_node_that_has_it_open)
def copies_end_uploads() -> Patches:
    """Uploads: one is ended on each of its nodes, also on those that got a copy."""
    end = _Completing._end_elsewhere

    async def end_elsewhere(self: _Completing) -> None:
        uploads, upload = self._store.uploads, self._upload
        uploads.adopt(self._stamp, upload.bucket, upload.key, upload.ids)
        for name in self._sent.etags:
            uploads.ended(self._stamp, name)
        await end(self)

    return [(_Completing, "_end_elsewhere", end_elsewhere)]


@mutant(uploading.disk_of_before_remembers_it, uploading.power_is_lost_after_an_abort)
def records_come_back() -> Patches:
    """Uploads: one that is over, and comes back with a disk of before, is ended again."""
    load = Uploads.load

    def loaded(self: Uploads, records: Mapping[str, bytes], node: str = "") -> None:
        ended = {f"uploads/{each}" for each in self._ended}
        load(self, {key: data for key, data in records.items() if key not in ended}, node)

    return [(Uploads, "load", loaded)]


@mutant(
    uploading.power_is_lost_after_one_of_the_aborts,
    uploading.power_is_lost_after_a_refused_complete,
)
def ends_are_lost() -> Patches:
    """Uploads: one that is open on a node again, after a power loss, is ended there again."""
    return [(Uploads, "_reopen", lambda self, told, node: None)]


@mutant(uploading.power_is_lost_before_the_record_goes)
def records_go_too_early() -> Patches:
    """Uploads: the record of one that is open on a node again stays until it has ended there."""
    return [(Memory, "keep", lambda self, key: None)]


# -- copies and tags -------------------------------------------------------------------------------


@mutant(
    copying.touched_while_a_put_comes,
    copying.touched_while_it_is_deleted,
    copying.tagged_while_a_put_comes,
)
def written_over_what_came_between() -> Patches:
    """Turns: what changes an object writes nothing when another write came between."""
    decide = Writing._decide

    async def decided(self: Writing, *, at_turn: bool = True) -> None:
        if self._request.over is None:
            await decide(self, at_turn=at_turn)

    return [(Writing, "_decide", decided)]


@mutant(copying.tagged_in_its_parts)
def tagged_in_one_piece() -> Patches:
    """Tags: an object that was uploaded in parts goes in the same parts again."""
    return [(aosd.gateway.rewrite, "count_of_parts", lambda etag: None)]


@mutant(copying.tags_go_with_copies)
def copies_lose_tags() -> Patches:
    """Copies: what aosd keeps of an object goes with its copies."""
    headers = _Copying._headers

    def without(self: _Copying, whole: bool = True) -> Headers:
        return tuple(each for each in headers(self, whole) if each[0] != TAGS)

    return [(_Copying, "_headers", without)]
