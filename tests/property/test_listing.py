"""A listing of several nodes, page by page, against a model: the sorted keys, grouped."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aosd.consistency import listed
from aosd.gateway.delete import delete
from aosd.gateway.list import Listing, list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Put, Written
from aosd.gateway.store import Store
from aosd.model.listing import begins_no_key
from aosd.model.objects import STAMP_HEADER, ObjectHead, Page
from aosd.testing.bodies import BytesSource
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

T = TypeVar("T")

BUCKET = "object"
OLDER, DELETED, NEWER = (f"0189594b3a7c-000{n}-0000000a" for n in (1, 2, 3))

# Names that folders' names begin, and signs around the ones where orders of text differ.
segments = st.one_of(
    st.sampled_from(["a", "a-", "a-b", "a.", "a0", "aa", "ab", "b", "0", "!", "é-", "\uff5e"]),
    st.text("ab-.0 é\U0001f600", min_size=1, max_size=3).filter(lambda text: text.strip(".")),
)
keys = st.lists(segments, min_size=1, max_size=3).map("/".join)
delimiters = st.sampled_from(["", "/", "/", "-", "a", "ab", "b/", "/a", "a/b", "é", "--"])
cuts = st.tuples(keys, st.integers(0, 6)).map(lambda each: each[0][: each[1]])


class Held(NamedTuple):
    """Who has a key, and whether it `was_deleted`; `lives`: written again after that."""

    holders: frozenset[int]
    was_deleted: bool
    lives: bool


holdings = st.dictionaries(
    keys,
    st.builds(
        Held,
        st.frozensets(st.integers(0, 3), min_size=1),
        st.sampled_from([False, False, True]),
        st.booleans(),
    ),
    max_size=25,
)


def utf8(key: str) -> bytes:
    return key.encode()


def now(work: Coroutine[Any, Any, T]) -> T:
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    (result,) = results
    if not isinstance(result, (Listing, Written, type(None))):
        result.raiseException()
    return result  # type: ignore[no-any-return]


class MovingNode(MemoryNode):
    """Before each page, or head, that it is asked for, things move.

    While there is a list of `late` ones, pages come when somebody calls what stands there.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.move: Callable[[], None] = lambda: None
        self.late: list[Callable[[], object]] | None = None

    def list(self, *args: Any, **how: Any) -> Deferred[Page]:
        self.move()
        page = super().list(*args, **how)
        if self.late is None:
            return page
        answer: Deferred[Page] = Deferred()

        def come() -> None:
            if not answer.called:
                page.chainDeferred(answer)

        self.late.append(come)
        return answer

    def head(self, *args: Any, **how: Any) -> Deferred[ObjectHead]:
        self.move()
        return super().head(*args, **how)


def make(held: Mapping[str, Held], trees: list[bool], settled: bool) -> Store:
    """A store whose nodes hold just this."""
    nodes = [
        MovingNode(f"n{each}", tree_order=tree, counts_passed=not tree)
        for each, tree in enumerate(trees)
    ]
    clock = Clock()
    clock.advance(1_700_000_000)
    store = make_store(MemoryPlacement(nodes), clock, replicas=2)
    for key, (holders, was_deleted, lives) in held.items():
        if was_deleted:
            now(store.journal.deleted(BUCKET, key, DELETED))
        stamp = NEWER if was_deleted and lives else OLDER
        for each in holders:
            copy = Copy(b"", '"e"', 5.0, ((STAMP_HEADER, stamp.encode()),))
            nodes[each % len(nodes)].buckets[BUCKET][key] = copy
    if not settled:
        store.settledness.ring_changed()
    return store


def group_of(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that a key is told as."""
    if not delimiter or not key.startswith(prefix):
        return None
    head, found, _ = key[len(prefix) :].partition(delimiter)
    return prefix + head + delimiter if found else None


def expected(living: list[str], prefix: str, after: str, delimiter: str) -> list[str]:
    names: dict[str, None] = {}
    passed = group_of(after, prefix, delimiter) == after
    for key in living:
        group = group_of(key, prefix, delimiter)
        if key.startswith(prefix) and utf8(key) > utf8(after) and not (passed and group == after):
            names[group or key] = None
    return list(names)


@given(
    holdings,
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.one_of(st.just(""), cuts),
    st.one_of(st.just(""), keys, cuts),
    delimiters,
    st.integers(1, 9),
    st.booleans(),
)
@example({"a/a": Held(frozenset({0}), False, True)}, [True], "a", "a", "", 1, False)
@settings(max_examples=400, deadline=None)
def test_pages_are_the_sorted_names_of_what_lives(
    held: dict[str, Held],
    trees: list[bool],
    prefix: str,
    after: str,
    delimiter: str,
    limit: int,
    settled: bool,
) -> None:
    if settled:
        held = {key: each for key, each in held.items() if not each.was_deleted or each.lives}
    store = make(held, trees, settled)
    living = sorted(
        (key for key, each in held.items() if not each.was_deleted or each.lives), key=utf8
    )
    assert pages(store, prefix, after, delimiter, limit) == expected(
        living, prefix, after, delimiter
    )


class Move(NamedTuple):
    """After so many pages and heads, copies of the `number`th key go `to` there alone."""

    page: int
    number: int
    to: int


@given(
    st.dictionaries(keys, st.integers(0, 3), min_size=1, max_size=25),
    st.lists(st.booleans(), min_size=2, max_size=4),
    st.one_of(st.just(""), cuts),
    st.one_of(st.just(""), keys, cuts),
    delimiters,
    st.integers(1, 9),
    st.lists(st.builds(Move, st.integers(0, 12), st.integers(0, 24), st.integers(0, 3))),
)
@example(
    # It is on neither node's page, and then is missed by name, too.
    {"a": 1},
    [False, False],
    "",
    "",
    "",
    1,
    [Move(1, 0, 0), Move(2, 0, 1), Move(3, 0, 0)],
)
@settings(max_examples=400, deadline=None)
def test_keys_that_move_meanwhile_are_told_all_the_same(
    places: dict[str, int],
    trees: list[bool],
    prefix: str,
    after: str,
    delimiter: str,
    limit: int,
    moves: list[Move],
) -> None:
    held = {key: Held(frozenset({place}), False, True) for key, place in places.items()}
    store = make(held, trees, settled=False)
    nodes = [each.node for each in store.members()]
    living = sorted(places, key=utf8)
    waiting = sorted(moves)
    made = 0

    def move() -> None:
        nonlocal made
        while waiting and waiting[0].page <= made:
            _, number, to = waiting.pop(0)
            key = living[number % len(living)]
            target = nodes[to % len(nodes)].buckets[BUCKET]
            for node in nodes:
                if (there := node.buckets[BUCKET]) is not target and key in there:
                    target[key] = there[key]
                    store.writes.moves(BUCKET, key)
                    del there[key]
        made += 1

    for node in nodes:
        node.move = move
    wanted = expected(living, prefix, after, delimiter)
    assert pages(store, prefix, after, delimiter, limit) == wanted


class Change(NamedTuple):
    """Before so many pages, a key is written, or deleted."""

    page: int
    key: str
    data: bytes | None


@given(
    st.dictionaries(keys, st.integers(0, 3), min_size=1, max_size=25),
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.one_of(st.just(""), cuts),
    st.integers(1, 4),
    st.lists(
        st.builds(
            Change, st.integers(0, 8), keys, st.one_of(st.none(), st.binary(min_size=1, max_size=2))
        ),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_each_page_tells_what_was_acknowledged_before_it_was_asked_for(
    places: dict[str, int],
    trees: list[bool],
    prefix: str,
    limit: int,
    changes: list[Change],
    settled: bool,
    late: bool,
    by_tokens: bool,
) -> None:
    """`late`: what nodes list is as it was when they were asked, but comes when it is needed.

    `by_tokens`: all pages but the first are as it was when the second was asked for.
    """
    store = make({}, trees, settled)
    there: dict[str, int] = {}
    to_come: list[Callable[[], object]] = []

    def ends(work: Coroutine[Any, Any, T]) -> T:
        working = Deferred.fromCoroutine(work)
        while not working.called:
            to_come.pop(0)()
        return now(_result(working))

    def change(key: str, data: bytes | None) -> None:
        # What lies beneath an object, or over one, isn't taken.
        if any(
            each.startswith(f"{key}/") or key.startswith(f"{each}/") for each in there
        ) or begins_no_key(f"{key}/"):
            return
        if data is None:
            ends(delete(store, BUCKET, key))
            there.pop(key, None)
        else:
            ends(put(store, Put(BUCKET, key, BytesSource(data))))
            there[key] = len(data)

    for key, size in places.items():
        change(key, bytes(size))
    for each in store.members():
        assert isinstance(each.node, MovingNode)
        each.node.late = to_come if late else None
    waiting = sorted(changes, key=lambda each: each.page)
    number, after, more = 0, "", True
    with patch.object(listed, "_COLD_PAGES", 1 if by_tokens else 4):
        while more:
            while waiting and waiting[0].page <= number:
                change(*waiting.pop(0)[1:])
            left = sorted(key for key in there if key.startswith(prefix) and key > after)
            page = ends(list_objects(store, BUCKET, prefix=prefix, after=after, limit=limit))
            found = [(each.key, each.size_bytes) for each in page.entries]
            assert found == [(key, there[key]) for key in left[:limit]]
            assert page.more == (len(left) > limit)
            number, after, more = number + 1, page.last, page.more
    now(store.rests.stop())
    assert not store.rests.going_on


async def _result(working: Deferred[T]) -> T:
    return await working


def pages(store: Store, prefix: str, after: str, delimiter: str, limit: int) -> list[str]:
    """All names of a listing, and each of its pages is as it should be."""
    found: list[str] = []
    more = True
    while more:
        page = now(
            list_objects(
                store,
                BUCKET,
                prefix=prefix,
                after=after,
                limit=limit,
                delimiter=delimiter,
            )
        )
        entries = [each.key for each in page.entries]
        for each in (entries, page.prefixes):
            assert list(each) == sorted(each, key=utf8)
        names = sorted([*entries, *page.prefixes], key=utf8)
        assert len(names) == limit if page.more else len(names) <= limit
        assert page.last == (names[-1] if page.more else "")
        found += names
        after, more = page.last, page.more
    return found
