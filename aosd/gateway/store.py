"""What all use cases share: where keys belong, what is known of them, whom to ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aosd.consistency.buckets import Buckets
from aosd.consistency.copying import Copier
from aosd.consistency.folders import Folders, Recent
from aosd.consistency.holders import Orders, could_hold, hiding, primaries
from aosd.consistency.journal import Journal
from aosd.consistency.known import KnownPlaces, Place
from aosd.consistency.ledger import Ledger
from aosd.consistency.marks import Marks
from aosd.consistency.settled import Settledness
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.gateway.lanes import Lanes
from aosd.gateway.rests import Rests
from aosd.model.errors import (
    ClusterError,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeTimeout,
    NoNodes,
    NoQuorum,
    UpstreamNonsense,
    UpstreamTimeout,
)
from aosd.model.node import NodeState
from aosd.model.objects import ObjectHead
from aosd.model.quorum import absence
from aosd.model.ring import partition
from aosd.model.seal import Seal
from aosd.model.stamp import StampClock
from aosd.model.versions import Version, version_of
from aosd.ports import Candidate, INode, IPlacement
from aosd.streams.budget import MemoryBudget
from aosd.streams.deadlines import cancelled

T = TypeVar("T")

MIB = 1024 * 1024
_NEW_LATENCY_PART = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of bodies, in bytes.

    Up to `held_bytes` a body of known length is read whole before it is sent; over
    `single_put_bytes` it goes as parts, of `part_bytes` growing to `part_bytes_max`. One
    whose metadata is complete only at its end is read whole up to `late_bytes`. All parts of
    a client's upload but the last have `least_part_bytes` or more.
    """

    held_bytes: int = MIB
    single_put_bytes: int = 5 * 1024 * MIB
    part_bytes: int = 8 * MIB
    part_bytes_max: int = 64 * MIB
    late_bytes: int = 8 * MIB
    least_part_bytes: int = 5 * MIB


@dataclass
class Traffic:
    """How busy and how quick nodes are, by name, as reads through this gateway see them."""

    in_flight: Counter[str] = field(default_factory=Counter)
    latency_s: dict[str, float] = field(default_factory=dict)

    def took(self, name: str, seconds: float) -> None:
        """A node answered after `seconds`."""
        before = self.latency_s.get(name, seconds)
        self.latency_s[name] = before + _NEW_LATENCY_PART * (seconds - before)


@dataclass(frozen=True, slots=True)
class Doubts:
    """Nodes that may lack what they acknowledged: they returned, or nobody watched them."""

    lacking: frozenset[str]
    unwatched: frozenset[str]


@dataclass(frozen=True)
class Store:
    """The object store, as use cases see it.

    `seal` gives what upload ids are sealed with; a ClusterError while it isn't known.
    `refusal` says why writes aren't taken now, "" when they are; `closing` why none begins,
    while those under way go on to their end; `absent` why nothing is served at all yet. `lanes`
    are for what comes by the thousand in one request. `zone` is the gateway's own: its nodes are
    read from first.
    """

    placement: IPlacement
    replicas: int
    turns: Turns
    to_the_end: ToTheEnd
    stamps: StampClock
    journal: Journal
    marks: Marks
    ledger: Ledger
    uploads: Uploads
    buckets: Buckets
    seal: Callable[[], Seal]
    writes: Writes
    settledness: Settledness
    budget: MemoryBudget
    lanes: Lanes
    copying: Copier
    clock: IReactorTime
    limits: Limits = Limits()
    refusal: Callable[[], str] = lambda: ""
    closing: Callable[[], str] = lambda: ""
    absent: Callable[[], str] = lambda: ""
    zone: str | None = None
    traffic: Traffic = field(default_factory=Traffic)
    folders: Folders = field(default_factory=Folders)
    # Originals on nodes that may hide them, of which all primaries were found to have copies.
    compared: Recent = field(default_factory=Recent)
    rests: Rests = field(default_factory=Rests)
    known: KnownPlaces = field(default_factory=KnownPlaces)

    # -- whom to ask ------------------------------------------------------------------------------

    def orders(self, bucket: str, key: str) -> Orders:
        """The key's orders in the rings that count; NoNodes when nothing is served yet.

        That is so until all is known that the cluster remembers, and the note of a clean
        stop is used up: a ring alone says nothing of deletes, marks and returns.
        """
        return self._served(bucket, key).orders

    def members(self) -> Sequence[Candidate]:
        """All members; NoNodes when nothing is served yet."""
        members = self.placement.members()
        if (why := self.absent()) or not members:
            raise NoNodes(why or "no nodes are known yet")
        return members

    def primaries(self, bucket: str, key: str) -> tuple[Candidate, ...]:
        """Those of every ring that counts, each once; NoNodes as `orders`."""
        return self._served(bucket, key).primaries

    def could_hold(self, bucket: str, key: str) -> tuple[Candidate, ...]:
        """Everyone who may have a copy: see `holders.could_hold`, and those that may hide one."""
        strays = (*self.placement.strays(), *self.hiding(key))
        return could_hold(self.orders(bucket, key), self.replicas, strays)

    def hiding(self, key: str) -> tuple[Candidate, ...]:
        """Those that may have the key though no listing shows it: see `holders.hiding`."""
        # Asked for each key that isn't settled, or is missing.
        return hiding(key, self.placement.members()) if "/" in key else ()

    def may_be_hidden(self, bucket: str, key: str, name: str, head: ObjectHead | None) -> bool:
        """Whether what node `name`, a primary, has of the key (None: nothing) isn't all there is.

        No listing may show it, and so no sweep has seen to its copies: that node lacks one, or
        has the original and is alone with it.
        """
        if head is None:
            return bool(self.hiding(key))
        if head.stamp is not None or (bucket, key) in self.compared:
            return False
        return any(each.name == name for each in self.hiding(key))

    @property
    def settling(self) -> tuple[int, int]:
        """Changes whenever a partition may have become settled."""
        return self.settledness.sweeps, self.marks.cleared

    def is_settled(self, bucket: str, key: str) -> bool:
        """Whether one primary's answer about the key is final."""
        return bool(self.settled_primaries(bucket, key))

    def why_unsettled(self, bucket: str, key: str) -> str:
        """Why the key's partition isn't settled; "" when it is."""
        unsettled = self._served(bucket, key).unsettled
        return unsettled or self.settledness.why_writes_not(partition(bucket, key))

    def settled_primaries(self, bucket: str, key: str) -> tuple[Candidate, ...]:
        """The key's primaries, where it `is_settled`; none where it isn't."""
        if why := self.absent():
            raise NoNodes(why)
        return () if self.turns.busy(bucket, key) else self._settled_primaries(bucket, key)

    def speaks_for(self, bucket: str, key: str, name: str) -> bool:
        """Whether the node's answer about the key, that came just now, is final.

        Where it is settled now, another ring may have come to count since the node was asked.
        """
        # Asked by each GET: a generator would cost more than what it looks through.
        for each in self._settled_primaries(bucket, key):  # noqa: SIM110
            if each.name == name:
                return True
        return False

    def preferred(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Whom to read from: the own zone, who has least in flight, who was quickest."""
        if len(candidates) == 1:
            return [each for each in candidates if each.node is not None]
        traffic = self.traffic
        return sorted(
            (each for each in candidates if each.node is not None),
            key=lambda each: (
                each.state is NodeState.RETURNING,
                self.zone is not None and each.zone != self.zone,
                traffic.in_flight[each.name],
                traffic.latency_s.get(each.name, 0.0),
            ),
        )

    def doubts(self, candidates: Sequence[Candidate], bucket: str = "", key: str = "") -> Doubts:
        """Who of them may lack something now: the key, or of all keys any."""
        doubts = self._doubts(candidates)
        return Doubts(doubts.lacking | self.marks.lacking(bucket, key), doubts.unwatched)

    def check_absence(
        self, candidates: Sequence[Candidate], answered: set[str], asked: Doubts
    ) -> None:
        """Raise NoQuorum unless so many answered that no acknowledged copy can be missed.

        Nodes that may lack something, and those that nobody watched before we started,
        count only while all answer: nothing more can be known then. That is so of what was
        known when they were `asked` (they may have been mended since), and of what is known
        now (they may have turned out to have been away). One that came with objects which
        may have no copies yet has to answer.
        """
        names = [each.name for each in candidates]
        if all(name in answered for name in names):
            return
        for each in self.placement.strays():
            if each.adopted and each.name not in answered:
                raise NoQuorum(f"what it may hold can't be known now: {each.name}")
        now = self._doubts(candidates)
        doubtful = asked.lacking | asked.unwatched | now.lacking | now.unwatched
        counted = {name for name in names if name in answered and name not in doubtful}
        self._check_count(names, counted, "what it may hold")

    def check_newest(
        self,
        bucket: str,
        key: str,
        holders: Iterable[Candidate],
        candidates: Sequence[Candidate],
        answered: set[str],
        asked: Doubts,
    ) -> None:
        """Raise NoQuorum unless what `holders` have is the newest acknowledged version.

        A primary that was there all the time, or has been swept since, lacks only writes
        that are remembered to have passed it by. For others it takes as many answers as a
        404.
        """
        names = [each.name for each in candidates]
        now = self._doubts(candidates)
        lacking = asked.lacking | now.lacking
        certain = {each.name for each in self.primaries(bucket, key)}
        certain -= lacking | asked.unwatched | now.unwatched
        if any(each.name in certain for each in holders):
            return
        if all(name in answered for name in names):
            return
        self._check_count(names, answered - lacking, "whether there is a newer one")

    def _doubts(self, candidates: Sequence[Candidate]) -> Doubts:
        """Who of them may lack something now, but for what marks tell."""
        settledness, names = self.settledness, [each.name for each in candidates]
        return Doubts(
            frozenset(name for name in names if settledness.may_lack(name, names)),
            frozenset(name for name in names if settledness.is_unwatched(name)),
        )

    def _settled_primaries(self, bucket: str, key: str) -> tuple[Candidate, ...]:
        place = self._place(bucket, key)
        if place.unsettled or self.settledness.why_writes_not(partition(bucket, key)):
            return ()
        return place.primaries

    def _served(self, bucket: str, key: str) -> Place:
        if why := self.absent():
            raise NoNodes(why)
        return self._place(bucket, key)

    def _place(self, bucket: str, key: str) -> Place:
        number = partition(bucket, key)
        found = self.known.of(number, self.placement.changes + self.settledness.changes)
        if found is None:
            orders, strays = self.placement.orders(bucket, key), self.placement.strays()
            if not orders:
                raise NoNodes("no nodes are known yet")
            found = Place(
                tuple(tuple(order) for order in orders),
                primaries(orders, self.replicas),
                self.settledness.why_nodes_not(orders, self.replicas, strays),
            )
            found = self.known.keep(number, found)
        return found

    @property
    def copies(self) -> int:
        """How many nodes at least took each write that was acknowledged.

        While a ring with fewer nodes than there are replicas grows, or shrinks to one, it is as
        many as the smaller one has.
        """
        sizes = (len(order) for order in self.placement.orders("", ""))
        return min(self.replicas, min(sizes, default=0))

    def _check_count(self, names: Sequence[str], counted: set[str], what: str) -> None:
        if len(counted) < absence(self.copies, len(names)):
            away = ", ".join(name for name in names if name not in counted)
            raise NoQuorum(f"{what} can't be known now: {away}")

    def version(self, bucket: str, key: str, head: ObjectHead) -> Version:
        """The version that a copy is of, by all that is on record of its key."""
        return version_of(head, lambda stamp: self.journal.counts_as(bucket, key, stamp))

    async def restamp(self, bucket: str, key: str, stamp: str) -> None:
        """Let what is stamped so be newer than all there is; NoQuorum when that doesn't stand.

        It counts then all the same, and may lie on some node: writes that are on their way have
        to be newer than that, be it on record or not.
        """
        counts_as = self.stamps.next()
        self.writes.effect(bucket, key, counts_as)
        await self.journal.restamped(bucket, key, stamp, counts_as)


async def gather(waiting: Sequence[Deferred[T]]) -> list[T]:
    """All results in order, or the first one's error, once all have ended."""
    outcomes = await DeferredList(waiting, consumeErrors=True)
    results: list[T] = []
    for _, outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
        results.append(outcome)
    return results


Question = Callable[[INode], "Deferred[T] | Coroutine[Any, Any, T]"]
"""What a node is asked, and how its answer comes."""


async def ask(candidates: Sequence[Candidate], question: Question[T]) -> dict[str, T | Exception]:
    """Ask all of them that can be asked, at once: each one's answer or error, by its name."""
    asked = [(each.name, question(each.node)) for each in candidates if each.node is not None]
    if len(asked) == 1:
        # What it takes to wait for several costs more than a small request's other half.
        ((only, answering),) = asked
        try:
            return {only: await answering}
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 — it is an answer, too
            return {only: error}
    outcomes = await DeferredList(
        [ensureDeferred(waiting) for _, waiting in asked], consumeErrors=True
    )
    answers: dict[str, T | Exception] = {}
    for (name, _), (_, outcome) in zip(asked, outcomes, strict=True):
        if not isinstance(outcome, Failure):
            answers[name] = outcome
        elif cancelled(outcome):
            outcome.raiseException()  # it was we who gave it up
        elif isinstance(outcome.value, Exception):
            answers[name] = outcome.value
        else:
            outcome.raiseException()
    return answers


def cluster_errors() -> AbstractContextManager[None]:
    """Turn what one node did wrong into what the cluster can't do. Only the gateway does so."""
    return _CLUSTER_ERRORS


class _ClusterErrors(AbstractContextManager[None]):
    """See `cluster_errors`. Each request goes through it: a generator takes ten times as long."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, NodeError):
            raise cluster_error(error) from error


_CLUSTER_ERRORS = _ClusterErrors()


def cluster_error(error: NodeError) -> ClusterError:
    """What one node's failure means to the client, when no other could stand in."""
    match error:
        case NodeTimeout():
            return UpstreamTimeout(str(error))
        case NodeNonsense():
            return UpstreamNonsense(str(error))
        case NodeFull():
            return NoQuorum(f"no space left: {error}", retry_after_s=30)
        case _:
            return NoQuorum(str(error))
