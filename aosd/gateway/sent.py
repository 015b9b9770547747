"""What became of a write on each of the nodes, and what has to be remembered of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from aosd.consistency.folders import above
from aosd.consistency.marks import Mark
from aosd.gateway.store import Store, cluster_error
from aosd.model.errors import (
    DigestMismatch,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NoQuorum,
    RequestError,
)
from aosd.model.node import NodeState
from aosd.model.ring import partition
from aosd.ports import Candidate


@dataclass
class Sent:
    """The nodes that a write reached: their ETags, or what they failed with, by name."""

    etags: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def answered(self, name: str, outcome: str | Exception) -> None:
        """A node stored it, or not."""
        if isinstance(outcome, str):
            self.etags[name] = outcome
            self.errors.pop(name, None)
        else:
            self.errors[name] = outcome
            self.etags.pop(name, None)

    @property
    def differs(self) -> bool:
        """Whether nodes that stored it have made different things of it."""
        return len(set(self.etags.values())) > 1

    @property
    def silent(self) -> set[str]:
        """Who gave no answer: the write may take effect there yet."""
        return {
            name
            for name, error in self.errors.items()
            if isinstance(error, NodeError) and not isinstance(error, NodeRefused)
        }

    @property
    def refused_late(self) -> set[str]:
        """Who answered with an error of its own: it may have stored it all the same."""
        return {
            name
            for name, error in self.errors.items()
            if isinstance(error, NodeRefused) and not error.is_final
        }


def check_taken(store: Store, *, begun: bool = False) -> None:
    """Raise NoQuorum while no writes are taken at all; one that has `begun` may end longer."""
    if why := store.refusal() or ("" if begun else store.closing()):
        raise NoQuorum(why, retry_after_s=5)


def targets(store: Store, bucket: str, key: str) -> list[Candidate]:
    """Whom a write goes to: in every ring that counts the first R that can take it.

    A node on which an older write of the key may take effect yet comes last: that one would
    land on this one, and were it so on all its nodes, this one would be gone. While writes of
    a run that was killed may do so, whose keys nobody knows, one more node gets it. Raises
    NoQuorum when there are fewer than R, NoNodes when there is no ring.
    """
    chosen: dict[str, Candidate] = {}
    late = _maybe_late(store, bucket, key)
    for order in store.orders(bucket, key):
        wanted = min(store.replicas, len(order))
        more = 1 if is_after_a_kill(store, order[:wanted]) else 0
        usable = [each for each in order[: 2 * store.replicas] if _takes_writes(each)]
        if late:
            usable.sort(key=lambda each: each.name in late)
        if len(usable) < wanted:
            raise _too_few(order[: 2 * store.replicas], wanted)
        for each in usable[: wanted + more]:
            chosen[each.name] = each
    return list(chosen.values())


def is_after_a_kill(store: Store, candidates: Sequence[Candidate]) -> bool:
    """Whether requests of a run before, which ended uncleanly, may take effect on them yet."""
    return store.settledness.late_for_s(*[each.name for each in candidates]) > 0


def standbys(
    store: Store, bucket: str, key: str, chosen: Collection[str], count: int
) -> list[Candidate]:
    """`count` more nodes of each ring that take writes, where there are so many."""
    found: dict[str, Candidate] = {}
    for order in store.orders(bucket, key):
        left = [
            each
            for each in order[: 2 * store.replicas]
            if _takes_writes(each) and each.name not in chosen
        ]
        found.update((each.name, each) for each in left[:count])
    return list(found.values())


def spares(
    store: Store, bucket: str, key: str, sent: Sent, among: Collection[str] | None = None
) -> list[Candidate]:
    """Who can stand in where too few have the write for sure: in each ring, not tried yet.

    Of `among` only, if they are given.
    """
    chosen: dict[str, Candidate] = {}
    late = _maybe_late(store, bucket, key)
    for order in store.orders(bucket, key):
        there = order[: 2 * store.replicas]
        if late:
            there = sorted(there, key=lambda each: each.name in late)
        wanted = min(store.replicas, len(order))
        have = {each.name for each in there if each.name in sent.etags or each.name in chosen}
        for each in there:
            if len(have - late) >= wanted or (each.name in late and len(have) >= wanted):
                break
            untried = each.name not in sent.etags and each.name not in sent.errors
            if among is not None and each.name not in among:
                continue
            if untried and each.name not in chosen and _takes_writes(each):
                chosen[each.name] = each
                have.add(each.name)
    return list(chosen.values())


def is_enough(store: Store, bucket: str, key: str, names: set[str]) -> bool:
    """Whether these nodes are R in every ring that counts, handoffs counted."""
    for order in store.orders(bucket, key):
        have = [each for each in order[: 2 * store.replicas] if each.name in names]
        if len(have) < min(store.replicas, len(order)):
            return False
    return True


async def remember(
    store: Store,
    bucket: str,
    key: str,
    stamp: str,
    sent: Sent,
    *,
    written: bool,
    delete: bool = False,
) -> None:
    """Leave the marks that a write asks for, before it is answered, be it 2xx or 5xx.

    That is for nodes without an answer, for primaries that lack it and aren't down (what is
    down returns, and is swept, but for what lies hidden there), and for copies off the
    primaries where those are all there. Raises NoQuorum when a mark can't be written.
    """
    if not sent.etags and not sent.silent and not sent.refused_late and not written:
        return  # nobody took it, and nobody will
    store.writes.effect(bucket, key, stamp, delete=delete)
    primaries = store.primaries(bucket, key)
    have = sent.etags.keys()
    lacking = {
        each.name: each
        for each in primaries
        if each.name not in have and each.state is not NodeState.DOWN
    }
    full: set[str] = set()
    silent: set[str] = set()
    doubtful: set[str] = set()
    if lacking or sent.errors:  # that not all is well, then
        full = {
            name
            for name, each in lacking.items()
            if each.full or isinstance(sent.errors.get(name), NodeFull)
        }
        silent = sent.silent
        doubtful = (lacking.keys() - full) | silent | sent.refused_late
    strays = have - {each.name for each in primaries}
    if sent.differs:
        doubtful |= have
    if delete and _may_lie_hidden(store, bucket, key):
        # No sweep would find it when such a node is back.
        doubtful |= {each.name for each in store.hiding(key) if each.name not in have}
    extra = is_after_a_kill(store, primaries)  # a sweep follows, which finds those
    if not delete and (doubtful or all(each.name in have for each in primaries)) and not extra:
        doubtful |= strays
    number = partition(bucket, key)
    if written and not delete:
        # Once one is remembered, so is each that follows: the newest one is known then.
        known = store.ledger.write_of(bucket, key) is not None
        if known or doubtful or full or store.why_unsettled(bucket, key):
            store.ledger.wrote(bucket, key, stamp)
    if doubtful:
        mark = Mark(bucket, key, stamp, frozenset(doubtful), frozenset(silent), written)
        await store.marks.leave(mark, number)
    if full and not store.marks.keep(number, full):
        mark = Mark("", "", stamp, frozenset(full), frozenset(), written)
        await store.marks.leave(mark, number)


def failure(sent: Sent, message: str) -> Exception:
    """What to tell the client of a write that too few nodes took."""
    for kind in (RequestError, NodeFull, NodeError):
        for error in sent.errors.values():
            if isinstance(error, kind) and isinstance(error, NodeError):
                return cluster_error(error)
            if isinstance(error, kind):
                return error
    return NoQuorum(message)


def agreed_etag(sent: Sent) -> str:
    """The ETag that all nodes gave; NodeNonsense when they differ."""
    etags = set(sent.etags.values())
    if len(etags) != 1:
        raise NodeNonsense(next(iter(sent.etags)), f"the nodes' ETags differ: {sorted(etags)}")
    return etags.pop()


def refused_by_digest(sent: Sent) -> DigestMismatch | None:
    """The node's word that the body isn't what the client said."""
    for error in sent.errors.values():
        if isinstance(error, DigestMismatch):
            return error
    return None


def _may_lie_hidden(store: Store, bucket: str, key: str) -> bool:
    """Whether what the key lies in may be an object, for all that is known."""
    return any((bucket, name) not in store.folders.free for name in above(key))


def _maybe_late(store: Store, bucket: str, key: str) -> set[str]:
    """Nodes that an earlier write of the key got no answer from."""
    return {name for mark in store.marks.of(bucket, key) for name in mark.silent}


def _takes_writes(candidate: Candidate) -> bool:
    return candidate.node is not None and not candidate.full


def _too_few(order: Sequence[Candidate], wanted: int) -> NoQuorum:
    away: list[str] = []
    full: list[str] = []
    for each in order:
        if each.full:
            full.append(each.name)
        elif each.node is None:
            away.append(each.name)
    if full and not away:
        return NoQuorum(f"no space left on {', '.join(full)}", retry_after_s=30)
    return NoQuorum(f"{wanted} nodes are needed for this key; away: {', '.join(away + full)}")
