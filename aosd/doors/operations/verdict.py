"""What all that is known of a key comes to, in words for whoever looks for an object. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aosd.doors.operations.moments import moment_of
from aosd.model.objects import ObjectHead
from aosd.model.stamp import is_stamp
from aosd.model.versions import Newest, is_foreign


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a key.

    `heads` has every node that told what it has; those that could hold the key and didn't are
    in `unknown`. `primaries` are those of every ring that counts, and `leaving` those of them that
    the coming one hasn't; `emptied` are nodes whose copies are on their way to others, `foreign`
    those that came with objects: what has no stamp there is the cluster's. While `changing`, copies
    are made and none is removed. `why` says why the partition isn't settled ("": it is),
    `bucket_gone` why the bucket isn't served.
    """

    primaries: Sequence[str]
    heads: Mapping[str, ObjectHead | None]
    unknown: Sequence[str]
    found: Newest
    deleted: str | None
    restamped: Mapping[str, str]
    leaving: Collection[str] = ()
    emptied: Collection[str] = ()
    foreign: Collection[str] = ()
    changing: bool = False
    why: str = ""
    marked: bool = False
    turn_taken: bool = False
    paused: bool = False
    bucket_gone: str = ""

    @property
    def lacking(self) -> list[str]:
        """The primaries that told, and are to get the version that counts."""
        version, there = self.found.version, set(self.found.holders)
        if version is not None and is_foreign(version.stamp):
            there.update(self.leaving)  # the node that it came with is asked as long
        return [name for name in self.primaries if name in self.heads and name not in there]

    @property
    def astray(self) -> list[str]:
        """Nodes off the primaries that have a copy which isn't dead."""
        there = (*self.found.holders, *self.found.older)
        return [name for name in there if name not in self.primaries]

    @property
    def others(self) -> list[str]:
        """Those of them whose copy is none of the cluster's, and kept."""
        ours = {*self.foreign, *self.emptied}
        return [name for name in self.astray if _is_foreign(self.heads[name]) and name not in ours]

    @property
    def off(self) -> list[str]:
        """The rest of them, but for those that are emptied anyhow."""
        kept = {*self.others, *self.emptied}
        return [name for name in self.astray if name not in kept]

    @property
    def has_two_sizes(self) -> bool:
        """Whether copies of the version that counts differ in length."""
        heads = (self.heads[name] for name in self.found.holders)
        return len({head.size_bytes for head in heads if head is not None}) > 1


def verdict(facts: Facts) -> str:
    """Which version counts and why; what will be done about the copies, and when."""
    said = [facts.bucket_gone] if facts.bucket_gone else []
    if facts.turn_taken:
        said.append("A write or delete of it takes effect just now: ask again in a moment.")
    said += _counts(facts)
    todo = list(_to_do(facts))
    said += todo
    if todo:
        said += _when(facts)
    stays = [] if facts.has_two_sizes else list(_stays(facts))
    said += stays
    if not todo and not stays and facts.found.version is not None and not facts.unknown:
        said.append("Nothing is to be done.")
    return " ".join(said)


def _counts(facts: Facts) -> Iterable[str]:
    found, deleted = facts.found, facts.deleted
    if found.version is None:
        yield from _absent(facts)
        return
    stamp = found.version.stamp
    if is_stamp(stamp):
        why = "it has the newest stamp" if found.older or found.dead else "it is the only one"
        against = (
            f"the delete on record, of {moment_of(deleted)}, is older"
            if deleted
            else "no delete of it is on record"
        )
        yield f"The version written at {moment_of(stamp)} counts: {why}, and {against}."
    else:
        yield (
            "aosd didn't write it: it counts as of its Last-Modified, "
            f"{moment_of(stamp)}, below everything that aosd writes."
        )
    for was, counts_as in facts.restamped.items():
        if counts_as == stamp:
            yield (
                f"Its copies are stamped {moment_of(was)}, when the upload began, and count as "
                "later: something newer had come before it ended."
            )
    if any(_same_stamp(facts, name) for name in found.older):
        yield "Copies have the same stamp and different bytes: the greater ETag counts."
    yield f"It lies on {_names(found.holders)}."
    if facts.unknown:
        yield f"{_names(facts.unknown)} gave no answer, and may have a newer one."


def _absent(facts: Facts) -> Iterable[str]:
    if facts.deleted:
        yield f"It was deleted at {moment_of(facts.deleted)}."
        if facts.found.dead:
            yield f"What is left on {_names(facts.found.dead)} is older, and counts no more."
        else:
            yield "No node that told has a copy left."
    else:
        yield "There is no such object: no node that told has it, and no delete is on record."
    if facts.unknown:
        yield f"{_names(facts.unknown)} gave no answer, and may have one."


def _to_do(facts: Facts) -> Iterable[str]:
    found = facts.found
    if facts.has_two_sizes:
        yield "Its copies have two sizes: one is damaged. All are kept, and reported by /-/repair."
        return
    if found.version is not None and facts.lacking:
        yield f"It belongs on {_names(facts.lacking)} too, and will be copied there."
    if emptied := [name for name in facts.astray if name in facts.emptied]:
        yield f"It will be moved off {_names(emptied)}."
    off = facts.off
    gone = [*off, *_dead(facts)]
    if off and not facts.why:
        yield f"Nothing explains the copy on {_names(off)}: it is kept, and reported by /-/repair."
        gone = _dead(facts)
    if gone and not facts.changing:
        needs = "" if not off else ", once all the others are there"
        yield f"The copy on {_names(gone)} will be removed{needs}."
    if kept := facts.others:
        yield f"aosd didn't write what {_names(kept)} has, where it doesn't belong: it is kept."


def _stays(facts: Facts) -> Iterable[str]:
    """What isn't where it will belong, and is removed later."""
    if not facts.changing:
        return
    there = (*facts.found.holders, *facts.found.older)
    former = [name for name in there if name in facts.leaving]
    if gone := [*facts.off, *_dead(facts), *former]:
        yield f"The copy on {_names(gone)} stays until the ring's change is over."


def _dead(facts: Facts) -> list[str]:
    """Nodes whose dead copy won't be overwritten."""
    found = facts.found
    return [name for name in found.dead if found.version is None or name not in facts.primaries]


def _when(facts: Facts) -> Iterable[str]:
    if facts.marked:
        yield "A mark asks for it: that is within seconds, once its nodes answer."
    elif facts.paused:
        yield "Repair is paused: nothing is done before it is started again."
    elif facts.why:
        yield f"The next sweep does it ({facts.why})."


def _is_foreign(head: ObjectHead | None) -> bool:
    return head is not None and head.stamp is None


def _same_stamp(facts: Facts, name: str) -> bool:
    head, version = facts.heads[name], facts.found.version
    if head is None or head.stamp is None or version is None:
        return False
    return facts.restamped.get(head.stamp, head.stamp) == version.stamp


def _names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"node {names[0]}"
    return f"nodes {', '.join(names[:-1])} and {names[-1]}"
