"""From what is known of a key's copies to what is to be done about them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aosd.model.objects import ObjectHead
from aosd.model.versions import CountsAs, Newest, Version, is_foreign, newest, version_of


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the version that counts from one of `sources` (the first is best) to `target`."""

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the copy on `node`, which is of `version`."""

    node: str
    version: Version


@dataclass(frozen=True, slots=True)
class Report:
    """Leave what lies on `node`, and tell people why."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order.

    `version` is the one that counts (None: there is no object). `agreed`: it lies on all
    primaries and nowhere else, but for what is reported; while the ring changes nothing is
    removed, and it suffices that it lies on all of them. `holders` have that version. `kept`
    are nodes with a dead copy that stays for as long.
    """

    copies: tuple[Copy, ...]
    removals: tuple[Remove, ...]
    reports: tuple[Report, ...]
    version: Version | None
    agreed: bool
    holders: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def plan(
    *,
    primaries: Sequence[str],
    heads: Mapping[str, ObjectHead | None],
    deleted: str | None,
    counts_as: CountsAs,
    changing: bool = False,
    settled: bool = False,
    late: frozenset[str] = frozenset(),
    movable: frozenset[str] = frozenset(),
    leaving: frozenset[str] = frozenset(),
) -> Plan:
    """How to bring a key's copies to its `primaries` (those of every ring that counts).

    `heads` has every node that could be asked, with what it has (None: nothing); a node that
    isn't in it is unknown. `deleted` is the newest delete on record. `changing`: a ring
    change is under way, and nothing is removed. `settled`: nothing explains a copy off the
    primaries. A request of before may still take effect on a node in `late`: its copy is no
    reason to remove another one. What has no stamp is ours to move on nodes in `movable`; on
    others, off the primaries, only where a primary has that very version: it was copied from it.
    Those `leaving` are primaries in the former ring alone: what nobody wrote to it, but came with
    a node, needn't come to them first, as that node is asked for it until all is over.

    The steps may be taken one at a time, and any of them may fail: the newest version never
    loses a copy but to those on the primaries, and only by a plan that found it on all of
    them. So copies that were just made are looked at before anything is removed for them.
    """
    reports: list[Report] = []
    versions = {name: version_of(head, counts_as) for name, head in heads.items() if head}
    copied = {versions[name] for name in primaries if name in versions}
    for name, head in heads.items():
        if head is None or head.stamp is not None or name in primaries or name in movable:
            continue
        if versions[name] not in copied:
            # Somebody else's: it isn't ours to move, or to remove.
            reports.append(Report(name, "an object without a stamp where none belongs"))
            del versions[name]
    found = newest(versions, deleted)
    if found.version is not None and is_foreign(found.version.stamp):
        primaries = [name for name in primaries if name not in leaving]
    sizes = {name: head.size_bytes for name in found.holders if (head := heads[name]) is not None}
    if len(set(sizes.values())) > 1:
        return _with_two_sizes(primaries, heads, found, sizes, reports)
    strays = [name for name in (*found.holders, *found.older) if name not in primaries]
    copies: list[Copy] = []
    removals: list[Remove] = []
    if found.version is not None:
        sources = sorted(found.holders, key=lambda name: (name not in primaries, name in late))
        lacking = [name for name in primaries if name in heads and name not in found.holders]
        copies = [Copy(tuple(sources), name) for name in lacking]
    # A dead copy on a primary is overwritten where something counts.
    dead = [name for name in found.dead if found.version is None or name not in primaries]
    if not changing:
        removals += [Remove(name, versions[name]) for name in dead]
    if settled:
        reports += [Report(name, "a copy where none belongs") for name in strays]
    elif not changing and all(name in found.holders and name not in late for name in primaries):
        removals += [Remove(name, versions[name]) for name in strays]
    if found.version is None:
        agreed = all(name in heads for name in primaries) and (changing or not versions)
    elif changing:
        agreed = set(primaries) <= set(found.holders)
    else:
        agreed = set(primaries) == versions.keys() - (set(strays) if settled else set())
        agreed = agreed and not copies
    return Plan(
        tuple(copies),
        tuple(removals),
        tuple(reports),
        found.version,
        agreed,
        found.holders,
        kept=tuple(dead) if changing else (),
    )


def _with_two_sizes(
    primaries: Sequence[str],
    heads: Mapping[str, ObjectHead | None],
    found: Newest,
    sizes: Mapping[str, int],
    reports: Sequence[Report],
) -> Plan:
    """One of the copies is damaged, and nobody can tell which: all are kept and reported.

    Who lacks it gets it as most have it, or as the longest is: it may be about to be asked.
    """
    told = [*reports, *(Report(name, "one version has two sizes") for name in found.holders)]
    counts = Counter(sizes.values())
    likeliest = max(counts, key=lambda size: (counts[size], size))
    sources = tuple(name for name in found.holders if sizes[name] == likeliest)
    lacking = [name for name in primaries if name in heads and name not in found.holders]
    copies = tuple(Copy(sources, name) for name in lacking)
    agreed = set(primaries) <= set(found.holders)
    return Plan(copies, (), tuple(told), found.version, agreed, found.holders)
