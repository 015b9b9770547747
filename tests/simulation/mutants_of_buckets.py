"""Broken in what is done with buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aosd.assembly
import aosd.gateway.buckets
from aosd.consistency.buckets import DELETED, Bucket, Buckets
from aosd.consistency.presence import Presence
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.gateway.store import Store
from aosd.gateway.upload import Upload
from aosd.model.errors import NoSuchBucket
from aosd.ports import INode
from tests.simulation import bucketry
from tests.simulation.mutation import Patches, mutant


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a coroutine that does something."""


@mutant(bucketry.made_again_while_a_node_is_away)
def what_was_in_it_counts_again() -> Patches:
    """Buckets: nothing counts in one that is older than the delete of one of that name."""
    return [(Buckets, "died", lambda self, name: "")]


@mutant(bucketry.put_while_the_bucket_goes)
def written_to_while_it_goes() -> Patches:
    """Buckets: from its delete's beginning nothing is written to it."""
    return [(Buckets, "check", lambda self, name, since="": self.check_read(name))]


@mutant(bucketry.put_of_the_bucket_before)
def one_bucket_is_as_good_as_another() -> Patches:
    """Buckets: a write whose stamp left before the bucket was made isn't for this one."""
    check = Buckets.check
    return [(Buckets, "check", lambda self, name, since="": check(self, name))]


@mutant(bucketry.emptied_by_listings_alone)
def listings_tell_what_is_empty() -> Patches:
    """Buckets: a listing may be of some seconds ago; what was written since is known here."""
    return [(Writes, "of_late", lambda self, bucket: set())]


@mutant(bucketry.holders_are_away)
def empty_as_far_as_is_seen() -> Patches:
    """Buckets: that one is empty has to be known from all nodes but R - 1."""
    return [(Store, "check_absence", lambda *_: None)]


@mutant(bucketry.emptied_by_listings_alone, bucketry.holders_are_away)
def deleted_without_a_look() -> Patches:
    """Buckets: only an empty one is deleted."""
    return [(aosd.gateway.buckets, "_check_empty", _nothing)]


@mutant(bucketry.removed_late)
def made_while_it_may_yet_be_removed() -> Patches:
    """Buckets: none is made while a node may yet carry out the delete of the one before."""
    return [(Buckets, "may_be_removed_late", lambda self, name: False)]


@mutant(bucketry.removed_late_after_a_kill)
def made_while_the_run_before_may_remove_it() -> Patches:
    """Buckets: nor after a kill, where nobody knows whom the run before has asked."""
    return [(aosd.gateway.buckets, "is_after_a_kill", lambda *_: False)]


@mutant(bucketry.removed_late_after_a_stop)
def clean_stops_forget_removals() -> Patches:
    """Clean stop: no note while a node may yet carry out the delete of a bucket."""
    return [(Buckets, "may_any_be_removed_late", lambda self: False)]


@mutant(bucketry.killed_while_a_bucket_goes)
def nobody_ends_what_was_cut_short() -> Patches:
    """Buckets: a delete that a crash cut short is ended by the next run."""
    return [(aosd.assembly, "take_up", _nothing)]


@mutant(bucketry.restored_disk_has_a_bucket_that_is_gone)
def returning_nodes_keep_their_buckets() -> Patches:
    """Buckets: a node that was away loses those that were deleted meanwhile."""
    return [(Presence, "level", _nothing)]


@mutant(bucketry.deleted_while_a_node_is_away)
def dead_ones_are_not_swept() -> Patches:
    """Buckets: what a deleted bucket holds on a node that was away is dead, and goes."""

    def swept(self: Presence) -> list[str]:
        return sorted(each.name for each in self._buckets.all() if each.state != DELETED)

    return [(Presence, "swept", swept)]


@mutant(bucketry.killed_at_each_change, bucketry.restored_disk_has_a_bucket_that_is_gone)
def deletes_are_forgotten() -> Patches:
    """Buckets: a register each; a node that was away brings none back."""
    setting = Buckets.set

    async def set_(self: Buckets, bucket: Bucket) -> None:
        if bucket.state != DELETED:
            await setting(self, bucket)

    return [(Buckets, "set", set_)]


@mutant(bucketry.deleted_while_parts_come)
def nodes_blamed_for_a_deleted_bucket() -> Patches:
    """Buckets: whose upload went with its bucket is told that there is no bucket."""
    out = Upload._out

    def blamed(self: Upload, answers: Any) -> None:
        try:
            out(self, answers)
        except NoSuchBucket:
            raise next(each for each in answers.values() if not isinstance(each, str)) from None

    return [(Upload, "_out", blamed)]


@mutant(bucketry.upload_begins_late_in_the_next_bucket)
def silence_ends_uploads() -> Patches:
    """Uploads: one that may begin late on a node outlives its bucket, and is looked for."""
    abort_all = Uploads.abort_all

    async def aborted(self: Uploads, bucket: str, nodes: Mapping[str, INode], *_: Any) -> None:
        await abort_all(self, bucket, nodes)

    return [(Uploads, "abort_all", aborted)]
