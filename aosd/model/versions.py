"""Which of a key's copies count: the newest stamp, unless a newer delete is on record. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aosd.model.objects import ObjectHead
from aosd.model.stamp import is_stamp

_FOREIGN = re.compile(r"-([0-9a-f]{11})-", re.ASCII)

CountsAs = Callable[[str], str]
"""What a copy's stamp counts as (see Journal.counts_as)."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """What makes copies the same: the effective stamp, then the ETag (quoted).

    The greater one is the newer one; of equal stamps with different bytes the greater ETag.
    """

    stamp: str
    etag: str


@dataclass(frozen=True, slots=True)
class Newest:
    """What the copies of a key amount to; each node with a copy is in exactly one of three.

    `version` None: there is no object. `holders` have exactly that version, `dead` have
    copies older than the key's delete, `older` other copies. Names in the order given.
    """

    version: Version | None
    holders: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


def foreign_stamp(modified_s: int, etag: str) -> str:
    """The stamp that an object counts as having which aosd didn't write.

    `-` sorts below all digits, so every real stamp is newer; among each other the last
    modified one is (the node's whole seconds), then the greater ETag.
    """
    return f"-{modified_s:011x}-{etag.strip(chr(34))}"


def is_foreign(stamp: str) -> bool:
    """Whether it is that of an object which aosd didn't write."""
    return stamp.startswith("-")


def foreign_time_s(stamp: str) -> int | None:
    """The Last-Modified that a foreign object's stamp tells; None when it is no such stamp."""
    found = _FOREIGN.match(stamp)
    return None if found is None else int(found[1], 16)


def version_of(head: ObjectHead, counts_as: CountsAs) -> Version:
    """The version that a copy is of.

    A copy of a foreign object carries the original's stamp written out: both are one version.
    A stamp in no form of ours is none: who writes to a node directly could make it anything.
    """
    stamp = told_stamp(head.stamp or "", head.modified_s, head.etag)
    return Version(counts_as(stamp) if is_stamp(stamp) else stamp, head.etag)


def told_stamp(stamp: str, modified_s: float, etag: str) -> str:
    """What a copy that tells this stamp ("": it has none) has as its own, or the foreign one's.

    `modified_s` is the node's Last-Modified, of which whole seconds count.
    """
    if is_stamp(stamp) or stamp.startswith("-"):
        return stamp
    return foreign_stamp(int(modified_s), etag)


def newest(versions: Mapping[str, Version | None], deleted: str | None) -> Newest:
    """What these copies, by node name, amount to (None: the node has none).

    `deleted` is the stamp of the key's newest delete on record. A copy beats absence.
    """
    limit = deleted or ""
    live = {name: each for name, each in versions.items() if each and each.stamp >= limit}
    dead = tuple(name for name, each in versions.items() if each and each.stamp < limit)
    version = max(live.values(), default=None)
    return Newest(
        version,
        tuple(name for name, each in live.items() if each == version),
        dead,
        tuple(name for name, each in live.items() if each != version),
    )
