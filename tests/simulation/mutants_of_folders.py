"""Broken in what keeps keys from being objects and folders at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aosd.consistency.folders import Claim, Folders
from aosd.gateway.nesting import _Check
from aosd.repair.beneath import Beneath
from aosd.repair.survey import Survey
from tests.simulation import nesting
from tests.simulation.mutation import Patches, mutant


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a coroutine that finds something out."""


async def _none(*_: Any, **__: Any) -> dict[str, bool]:
    return {}


@mutant(nesting.both_at_once_and_the_lower_one_is_slow)
def no_claims() -> Patches:
    """Claims: above and beneath a key that is being written nothing is.

    Nor is its turn looked for: that says the same of the keys that are remembered.
    """
    claim = Folders.claim

    def claimed(
        self: Folders, bucket: str, key: str, folders: Iterable[str], lingers: Callable[[], bool]
    ) -> Claim | None:
        made = claim(self, bucket, key, folders, lingers)
        return made or Claim(Folders(1024), (bucket, key), [], lambda: True)

    return [(Folders, "claim", claimed), (Folders, "lately_beneath", lambda *_: ())]


@mutant(nesting.beneath_an_object)
def ancestors_not_looked_at() -> Patches:
    """Folders: what a key lies in is no object."""
    return [(_Check, "_is_no_object", _nothing)]


@mutant(nesting.upper_one_was_deleted_and_lands_late)
def acknowledged_ones_have_landed() -> Patches:
    """Marks: what was acknowledged, and deleted, may land yet where it got no answer."""
    return [(_Check, "_may_land_dead", lambda self, name: False)]


@mutant(nesting.above_an_object)
def nothing_asked_beneath() -> Patches:
    """Folders: what may be a folder is asked for."""
    return [(_Check, "_is_no_folder", _nothing)]


@mutant(nesting.above_one_that_no_listing_shows_yet)
def listings_believed() -> Patches:
    """Folders: a listing may be of some seconds ago; what was written since is known here."""
    return [(Folders, "lately_beneath", lambda self, bucket, name: ())]


@mutant(nesting.folder_of_the_run_before)
def filter_counts_at_once() -> Patches:
    """Folders: before all were seen, each may be one."""
    may_be = Folders.may_be

    def told(self: Folders, bucket: str, name: str) -> bool:
        self.completed()
        return may_be(self, bucket, name)

    return [(Folders, "may_be", told)]


@mutant(nesting.folder_of_the_run_before)
def sweep_shows_nothing_to_the_filter() -> Patches:
    """Folders: a sweep shows all keys that there are."""
    return [(Survey, "seen", lambda self, bucket, key: None)]


@mutant(nesting.folder_lands_after_the_first_sweep)
def filter_complete_before_all_has_landed() -> Patches:
    """Folders: what the run before sent has landed by the sweep that counts."""

    def ended(self: Survey, *, whole: bool) -> None:
        if whole:
            self._folders.completed()

    return [(Survey, "ended", ended)]


@mutant(nesting.upper_one_failed_and_lands_late)
def late_objects_not_thought_of() -> Patches:
    """Folders: an object whose PUT failed may be there yet."""
    return [(_Check, "_may_land", lambda self, name: False)]


@mutant(nesting.lower_one_failed_and_lands_late)
def late_keys_beneath_not_thought_of() -> Patches:
    """Folders: a key beneath whose PUT failed may be there yet."""
    return [(_Check, "_check_marks", lambda self, beneath: None)]


@mutant(nesting.deleted_beneath_on_a_node_that_returns)
def copies_over_what_was_deleted() -> Patches:
    """Copies: what was deleted beneath a key goes before the key comes to the node."""
    return [(Beneath, "clear", _nothing)]


@mutant(nesting.deleted_beneath_on_a_node_that_is_written_over)
def objects_are_overwritten_unasked() -> Patches:
    """Folders: also what is an object already may have something dead beneath it."""
    ask = _Check._is_no_folder

    async def asked(self: _Check) -> None:
        if not await self._is_object(self._key):
            await ask(self)

    return [(_Check, "_is_no_folder", asked)]


@mutant(nesting.deleted_beneath_on_a_node_that_is_written_to)
def writes_over_what_was_deleted() -> Patches:
    """Folders: nothing is written above what was deleted, and lies there."""
    return [(_Check, "_copies", _none)]
