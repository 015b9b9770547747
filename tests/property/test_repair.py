"""The plan: whatever fails, nothing is lost by it, and it comes to an end."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from aosd.model.objects import ObjectHead
from aosd.model.versions import newest, version_of
from aosd.repair.plan import Copy, Plan, Remove, plan

NODES = ("n1", "n2", "n3", "n4", "n5")
STAMPS = tuple(f"0193594b3a7c-000{n}-0000000a" for n in range(5))
RESTAMPED = STAMPS[3]

Heads = dict[str, ObjectHead | None]


def counts_as(stamp: str) -> str:
    """One of the stamps counts as a newer one."""
    return RESTAMPED if stamp == STAMPS[1] else stamp


@st.composite
def copies(draw: st.DrawFn) -> ObjectHead | None:
    stamp = draw(st.sampled_from([*STAMPS[:3], None, "nothing"]))
    if stamp == "nothing":
        return None
    etag = draw(st.sampled_from(['"aa"', '"bb"']))
    return ObjectHead(etag, 1, draw(st.sampled_from([5, 6])), stamp)


@st.composite
def states(draw: st.DrawFn) -> Heads:
    return {name: draw(copies()) for name in NODES}


deletes = st.sampled_from([None, *STAMPS])
primary_sets = st.sets(st.sampled_from(NODES), min_size=1, max_size=3).map(sorted)


def holders(
    heads: Mapping[str, ObjectHead | None], deleted: str | None
) -> tuple[tuple[str, str] | None, set[str]]:
    """The newest version alive, and who has it: said again, in other words than the plan's."""
    alive = {
        name: (version.stamp, version.etag)
        for name, head in heads.items()
        if head is not None and (version := version_of(head, counts_as)).stamp >= (deleted or "")
    }
    top = max(alive.values(), default=None)
    return top, {name for name, each in alive.items() if each == top}


def planned(heads: Heads, unknown: set[str], primaries: list[str], **how: object) -> Plan:
    seen = {name: head for name, head in heads.items() if name not in unknown}
    return plan(primaries=primaries, heads=seen, counts_as=counts_as, **how)  # type: ignore[arg-type]


def ours(heads: Heads, primaries: list[str], movable: frozenset[str] = frozenset()) -> Heads:
    """What may be moved and removed: not what has no stamp, where it doesn't belong.

    But for what a primary has as well, and what lies on a node in `movable`.
    """
    copied = {version_of(head, counts_as) for name in primaries if (head := heads.get(name))}
    return {
        name: head
        for name, head in heads.items()
        if head is None
        or head.stamp is not None
        or name in primaries
        or name in movable
        or version_of(head, counts_as) in copied
    }


@given(
    states(),
    deletes,
    primary_sets,
    st.sets(st.sampled_from(NODES)),
    st.booleans(),
    st.booleans(),
    st.frozensets(st.sampled_from(NODES)),
    st.frozensets(st.sampled_from(NODES)),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
@settings(max_examples=1000, deadline=None)
def test_whatever_fails_nothing_is_lost(
    heads: Heads,
    deleted: str | None,
    primaries: list[str],
    unknown: set[str],
    changing: bool,
    settled: bool,
    late: frozenset[str],
    movable: frozenset[str],
    works: list[bool],
) -> None:
    """Each step may fail; nodes may be unknown, whatever lies on them."""
    first = planned(
        heads,
        unknown,
        primaries,
        deleted=deleted,
        changing=changing,
        settled=settled,
        late=late,
        movable=movable,
    )
    seen = {name: head for name, head in heads.items() if name not in unknown}
    top, had = holders(ours(seen, primaries, movable), deleted)
    steps: list[Copy | Remove] = [*first.copies, *first.removals]
    if changing:
        assert not first.removals
    told = {each.node for each in first.reports}
    for step, well in zip(steps, works, strict=False):
        if not well:
            continue
        if isinstance(step, Copy):
            assert step.target in primaries
            assert step.target not in unknown
            assert had.issuperset(step.sources)
            heads[step.target] = heads[step.sources[0]]
        else:
            node = step.node
            head = heads[node]
            assert head is not None
            assert node not in told, "what is reported is kept"
            dead = version_of(head, counts_as).stamp < (deleted or "")
            if not dead:
                assert node not in primaries
                assert set(primaries) <= had - late, "a stray goes when the primaries have it"
                assert first.version is not None
                assert version_of(head, counts_as) <= first.version
            heads[node] = None
    assert {node for node in told if heads[node] is None} == set()
    after, have = holders(ours(heads, primaries, movable), deleted)
    if top is not None and not settled:
        assert after is not None and after >= top
        if after == top:
            kept = had & set(primaries)
            assert kept <= have
            assert len(have) >= min(len(had), len(primaries))


@given(states(), deletes, primary_sets, st.booleans(), st.frozensets(st.sampled_from(NODES)))
@settings(max_examples=1000, deadline=None)
def test_it_comes_to_the_newest_on_the_primaries_alone(
    heads: Heads,
    deleted: str | None,
    primaries: list[str],
    settled: bool,
    movable: frozenset[str],
) -> None:
    top, _ = holders(ours(heads, primaries, movable), deleted)
    reports: set[str] = set()
    foreign: set[str] = set()
    for _ in range(3):
        # What a primary had, and has no more, explains nothing any more.
        foreign = heads.keys() - ours(heads, primaries, movable).keys()
        now = planned(heads, set(), primaries, deleted=deleted, settled=settled, movable=movable)
        reports = {each.node for each in now.reports}
        if now.agreed:
            assert not now.copies and not now.removals
            break
        for copy in now.copies:
            heads[copy.target] = heads[copy.sources[-1]]
        for removal in now.removals:
            heads[removal.node] = None
    assert now.agreed
    after, have = holders({name: each for name, each in heads.items() if name not in reports}, None)
    if not settled:
        assert reports == foreign
        assert after == top
        assert have == (set(primaries) if top else set())
        assert {name for name, each in heads.items() if each} == have | foreign
    elif after is not None:
        assert have == set(primaries)


@given(states(), deletes, primary_sets, st.sets(st.sampled_from(NODES), min_size=1))
@settings(max_examples=500, deadline=None)
def test_agreed_is_never_said_without_all_primaries(
    heads: Heads, deleted: str | None, primaries: list[str], unknown: set[str]
) -> None:
    now = planned(heads, unknown, primaries, deleted=deleted)
    seen = {name: each for name, each in heads.items() if name not in unknown}
    seen = ours(seen, primaries)
    top, have = holders(seen, deleted)
    lying = {name for name, each in seen.items() if each}
    right = not unknown & set(primaries) and have == lying == (set(primaries) if top else set())
    assert now.agreed == right


@given(states(), deletes, primary_sets, st.sets(st.sampled_from(NODES)))
@settings(max_examples=500, deadline=None)
def test_while_the_ring_changes_all_primaries_suffice(
    heads: Heads, deleted: str | None, primaries: list[str], unknown: set[str]
) -> None:
    now = planned(heads, unknown, primaries, deleted=deleted, changing=True)
    seen = {name: each for name, each in heads.items() if name not in unknown}
    top, have = holders(ours(seen, primaries), deleted)
    right = not unknown & set(primaries) and (top is None or set(primaries) <= have)
    assert now.agreed == right
    assert not now.removals


@given(st.dictionaries(st.sampled_from(NODES), st.sampled_from(STAMPS)), deletes)
@settings(max_examples=200, deadline=None)
def test_newest_puts_each_copy_into_one_of_three(
    stamps: dict[str, str], deleted: str | None
) -> None:
    versions = {
        name: version_of(ObjectHead('"e"', 1, 5, each), counts_as) for name, each in stamps.items()
    }
    found = newest(versions, deleted)
    assert sorted([*found.holders, *found.dead, *found.older]) == sorted(stamps)
