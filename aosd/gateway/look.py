"""Looking at a key: which version counts, and who has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.consistency.buckets import has_none
from aosd.consistency.folders import above
from aosd.consistency.marks import Mark
from aosd.gateway.store import Doubts, Store, ask
from aosd.model.errors import ClusterError, NodeError, NoQuorum, NoSuchKey
from aosd.model.objects import ObjectHead
from aosd.model.ring import partition
from aosd.model.versions import newest
from aosd.ports import Candidate, INode

LOOKS = 10
"""How often a key is looked at that changes meanwhile."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Located:
    """The head of the version that counts (None: there is no object), and who has it."""

    head: ObjectHead | None
    holders: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Before:
    """What was known of a key when a read of it began.

    `own` is the newest write of this run's that is remembered: there is none, or it is the
    newest of all that were acknowledged. `moves` is how many there had been, of all keys.
    """

    written: str
    deleted: str
    own: str
    doubts: Doubts
    moves: int


def before(store: Store, bucket: str, key: str) -> Before:
    """The newest write and the newest delete known now ("" for none)."""
    own = store.ledger.write_of(bucket, key) or ""
    marked = store.marks.newest_written(bucket, key) or ""
    return Before(
        max(own, marked),
        store.journal.delete_of(bucket, key) or "",
        own,
        store.doubts(store.could_hold(bucket, key), bucket, key),
        store.writes.moves_in_all,
    )


async def look(
    store: Store, bucket: str, key: str, *, at_turn: bool = False, newest: bool = False
) -> Located:
    """The version of the key that counts.

    One request where copies are known to agree; otherwise, or with `newest`, or when it may lie
    hidden, one to each node that could hold the key. `at_turn`: the caller has the key's turn.
    Raises NoQuorum when too few nodes answer for it to be certain, and NodeError when none does.
    """
    settled, hidden = not store.why_unsettled(bucket, key), False
    if settled and not newest and (at_turn or not store.turns.busy(bucket, key)):
        candidates = store.preferred(store.primaries(bucket, key))
        for candidate in candidates:
            assert candidate.node is not None
            try:
                located = Located(await candidate.node.head(bucket, key), (candidate,))
            except NoSuchKey:
                located = Located(None)
            except NodeError:
                continue
            if store.speaks_for(bucket, key, candidate.name):
                hidden = store.may_be_hidden(bucket, key, candidate.name, located.head)
                if not hidden:
                    return located
            break  # the node was away while it was asked, or isn't to be asked any more
    for _ in range(LOOKS):
        known = before(store, bucket, key)
        candidates = list(store.could_hold(bucket, key))
        answers = await ask(candidates, lambda node: node.head(bucket, key))
        if not store.writes.has_moved(bucket, key, known.moves):
            break
    else:
        raise NoQuorum("the object is moving")
    located = judge(store, bucket, key, known, candidates, answers)
    if located.head is None:
        await check_nothing_hidden(store, bucket, key, answers)
    elif hidden:
        await bring_to_light(store, bucket, key, located.holders)
    return located


async def check_nothing_hidden(
    store: Store, bucket: str, key: str, answers: Mapping[str, ObjectHead | Exception]
) -> None:
    """Raise NoQuorum when the key may lie hidden on a node alone, and that didn't answer.

    That is so when what it lies in is an object, or was one: else listings would have shown it,
    and others have copies.
    """
    told = {
        name for name, each in answers.items() if isinstance(each, ObjectHead) or has_none(each)
    }
    away = [each.name for each in store.hiding(key) if each.name not in told]
    for name in above(key) if away else ():
        known = before(store, bucket, name)
        candidates = list(store.could_hold(bucket, name))
        found = await ask(candidates, partial(_head, bucket, name))
        was = store.journal.own_delete_of(bucket, name) is not None
        if was or judge(store, bucket, name, known, candidates, found).head is not None:
            raise NoQuorum(f"what lies beneath {name} can't be known now: {', '.join(away)}")


def _head(bucket: str, key: str, node: INode) -> Deferred[ObjectHead]:
    return node.head(bucket, key)


async def bring_to_light(store: Store, bucket: str, key: str, holders: Iterable[Candidate]) -> None:
    """Leave a mark of a key that no listing may show, unless its primaries all have it.

    When none can be left, it is found again by whoever asks next.
    """
    names = frozenset(each.name for each in holders)
    if names.issuperset(each.name for each in store.primaries(bucket, key)):
        store.compared.add((bucket, key))
        return
    if store.refusal():
        return
    mark = Mark(bucket, key, store.stamps.next(), names, frozenset(), written=False)
    try:
        await store.marks.leave(mark, partition(bucket, key))
    except ClusterError as error:
        _log.info("{key} came to light: {error}", key=key, error=error)


def judge(
    store: Store,
    bucket: str,
    key: str,
    known: Before,
    candidates: list[Candidate],
    answers: Mapping[str, ObjectHead | Exception],
) -> Located:
    """What the answers of all that could be asked amount to."""
    heads = {name: each for name, each in answers.items() if isinstance(each, ObjectHead)}
    absent = {name for name, each in answers.items() if has_none(each)}
    failed = [each for name, each in answers.items() if name not in heads.keys() | absent]
    if failed and not heads and not absent and isinstance(failed[0], Exception):
        raise failed[0]
    found = newest(
        {name: store.version(bucket, key, head) for name, head in heads.items()},
        store.journal.delete_of(bucket, key),
    )
    if found.version is None:
        # What was known at the start may have been deleted since.
        deleted = store.journal.delete_of(bucket, key) or ""
        if known.written > deleted:
            raise NoQuorum("the newest write of this key can't be reached now")
        store.check_absence(candidates, heads.keys() | absent, known.doubts)
        return Located(None)
    if found.version.stamp < known.written:
        raise NoQuorum("the newest write of this key can't be reached now")
    holders = tuple(each for each in candidates if each.name in found.holders)
    if not known.own or found.version.stamp < known.own:
        answered = heads.keys() | absent
        store.check_newest(bucket, key, holders, candidates, answered, known.doubts)
    return Located(heads[holders[0].name], holders)
