"""Settled: where copies lie on their primaries alone and agree, for all that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aosd.model.node import NodeState
from aosd.ports import Candidate

_PASSES = 16


@dataclass(frozen=True, slots=True)
class Pass:
    """A sweep under way; `number` orders it among returns and ring changes."""

    number: int
    began_s: float


class Settledness:
    """What is known of nodes and partitions: when they were doubted, when they were swept.

    Returns, ring changes and the beginnings of sweeps are numbered in one sequence: a sweep
    speaks for what happened before it began. `clock` gives seconds that never go back;
    `marked` says whether a partition has a mark, or lost one.
    """

    def __init__(self, clock: Callable[[], float], marked: Callable[[int], bool]) -> None:
        self._clock = clock
        self._marked = marked
        self._number = 0
        self._changed = 0
        self._returned: dict[str, int] = {}
        # Since when a node is there that came with nothing: its first return, in the end.
        self._came: dict[str, int] = {}
        # Which return was a node's coming, with all that it ever had of ours.
        self._joined: dict[str, int] = {}
        self._coming: set[str] = set()
        self._doubted: dict[str, int] = {}
        self._doubted_s: dict[str, float] = {}
        # Sweeps that were completed, the newest first, and whom each one covered.
        self._passes: list[tuple[Pass, frozenset[str]]] = []
        self._late_until_s: dict[str, float] = {}
        self._unwatched: set[str] = set()
        self._held: Counter[int] = Counter()
        self.sweeps = 0
        # Grows with all that says of nodes whether they are settled, or were away.
        self.changes = 0

    # -- what happens -----------------------------------------------------------------------------

    def founded(self, names: Iterable[str]) -> None:
        """These nodes hold nothing, or were left settled by a clean stop."""
        self.swept(Pass(self._next(), float("inf")), names)

    def returned(self, name: str) -> None:
        """The node was away, or may have been restarted: nothing it has is certain."""
        self._returned[name] = self._next()
        if name in self._coming:
            self._coming.discard(name)
            self._joined[name] = self._returned[name]
            if name in self._came:
                self._came[name] = self._returned[name]
        self._doubt(name)

    def comes(self, name: str, *, empty: bool = True, ours: bool = False) -> None:
        """It is about to join; if `empty`, it has nothing that others lost.

        Nor has it lost anything, unless it has objects and its marker is `ours`: then it had
        some of ours before.
        """
        self._coming.discard(name)
        self._came.pop(name, None)
        if empty:
            self._came[name] = self._next()
        if empty or not ours:
            self._coming.add(name)
        self.changes += 1

    def unwatched(self, name: str, late_until_s: float) -> None:
        """Nobody watched the node before we started, and no note of a clean stop counts.

        Requests of the gateway before us may take effect on it until `late_until_s`.
        """
        self._unwatched.add(name)
        self.late(name, late_until_s)
        self._doubt(name)

    def late(self, name: str, until_s: float) -> None:
        """Requests of a run before us may take effect on it until then."""
        self._late_until_s[name] = until_s
        self.changes += 1

    def ring_changed(self) -> None:
        """A change of the ring begins, or is over."""
        self._changed = self._next()

    def hold(self, partition: int) -> None:
        """A write there was sent to its nodes, and not all of them took it: to be released."""
        self._held[partition] += 1

    def release(self, partition: int) -> None:
        """What there was to remember of it is on record."""
        self._held[partition] -= 1
        if not self._held[partition]:
            del self._held[partition]

    def holds(self, partition: int) -> bool:
        """Whether there is such a write."""
        return partition in self._held

    @property
    def is_held(self) -> bool:
        """Whether there is such a write anywhere."""
        return bool(self._held)

    def begin(self) -> Pass:
        """A sweep begins."""
        return Pass(self._next(), self._clock())

    def swept(self, done: Pass, covered: Iterable[str]) -> None:
        """A sweep is complete for the partitions that lie on these nodes alone."""
        together = frozenset(covered)
        # One that covered no others says nothing more.
        older = [each for each in self._passes if not each[1] <= together]
        self._passes = [(done, together), *older][:_PASSES]
        self._unwatched -= together
        self.changes += 1
        for name in together:
            if self.is_covered(name):
                self._doubted_s.pop(name, None)
        self.sweeps += 1

    # -- what is known ----------------------------------------------------------------------------

    def is_anything_known(self) -> bool:
        """Whether any node was swept."""
        return bool(self._passes)

    def is_returning(self, name: str) -> bool:
        """Whether it is known to have been away, and no sweep since then is complete."""
        returned = self._returned.get(name, 0)
        return bool(returned) and not any(
            done.number > returned for done, covered in self._passes if name in covered
        )

    def may_lack(self, name: str, others: Iterable[str]) -> bool:
        """Whether it returned, and wasn't compared with all of the others in one sweep since.

        What it lost may lie on one of them, which was away when it was swept. Not on one that
        came later, and with nothing.
        """
        returned = self._returned.get(name, 0)
        names = {name, *(each for each in others if self._came.get(each, 0) <= returned)}
        return returned != self._joined.get(name, 0) and not any(
            done.number > returned and covered >= names for done, covered in self._passes
        )

    @property
    def last_return(self) -> int:
        """Another number after each return, or possible return, of any node."""
        return max(self._doubted.values(), default=0)

    def is_unwatched(self, name: str) -> bool:
        """Whether it may have lost something while nobody watched."""
        return name in self._unwatched

    def doubt(self, name: str) -> int:
        """Which doubt about the node was the last one; 0: there was none."""
        return self._doubted.get(name, 0)

    def is_doubted(self, name: str) -> bool:
        """Whether it was doubted itself, and no sweep has covered it since.

        One that began while requests of runs before us could take effect doesn't count.
        """
        doubt, late_s = self.doubt(name), self._late_until_s.get(name, 0.0)
        return bool(doubt) and not any(
            done.number > doubt and done.began_s >= late_s
            for done, covered in self._passes
            if name in covered
        )

    def uncertain_since_s(self, name: str) -> float | None:
        """Since when no sweep has covered the node; None when one has, since it was doubted."""
        return self._doubted_s.get(name)

    def late_for_s(self, *names: str) -> float:
        """For how long requests of runs before us may take effect on any of these."""
        if not self._late_until_s:
            return 0.0  # asked by each write, several times
        until_s = max((self._late_until_s.get(name, 0.0) for name in names), default=0.0)
        return max(until_s - self._clock(), 0.0)

    def is_since(self, sweep: Pass, name: str) -> bool:
        """Whether the node wasn't doubted again since the sweep began."""
        return sweep.number > self._doubted.get(name, 0)

    def is_covered(self, *names: str) -> bool:
        """Whether one sweep speaks for these nodes as they are now, all of them together."""
        needed = max((self._doubted.get(name, 0) for name in names), default=0)
        late_s = max((self._late_until_s.get(name, 0.0) for name in names), default=0.0)
        return any(
            done.number > max(self._changed, needed)
            and done.began_s >= late_s
            and covered.issuperset(names)
            for done, covered in self._passes
        )

    def sweep_helps(self, *names: str) -> bool:
        """Whether a sweep of these nodes that begins now could make more of them certain."""
        if any(self.is_returning(name) or self.is_unwatched(name) for name in names):
            return True
        now_s = self._clock()
        # While requests of a run before may take effect, a sweep doesn't settle anything.
        ripe = [name for name in names if self._late_until_s.get(name, 0.0) <= now_s]
        young = [name for name in names if not self._is_newer_than_the_change(name)]
        return not self.is_covered(*ripe) or bool(young)

    def why_not(
        self,
        orders: Sequence[Sequence[Candidate]],
        partition: int,
        replicas: int,
        strays: Sequence[Candidate] = (),
    ) -> str:
        """Why the partition with these orders isn't settled; "" when it is.

        `strays`: those that may hold any key (see IPlacement).
        """
        return self.why_nodes_not(orders, replicas, strays) or self.why_writes_not(partition)

    def why_nodes_not(
        self,
        orders: Sequence[Sequence[Candidate]],
        replicas: int,
        strays: Sequence[Candidate] = (),
    ) -> str:
        """The same, for all that nodes and rings say: so until `changes`, or placement's, grow."""
        if len(orders) != 1:
            return "the ring is changing" if orders else "the ring isn't known yet"
        if strays:
            return f"keys of others may lie on node {', '.join(each.name for each in strays)}"
        order = orders[0]
        for candidate in order[:replicas]:
            if candidate.state not in (NodeState.UP, NodeState.FULL):
                return f"node {candidate.name} is {candidate.state}"
        # What a handoff that is down may have matters when it is back: that is a return.
        names = [
            candidate.name
            for place, candidate in enumerate(order[: 2 * replicas])
            if place < replicas or candidate.state is not NodeState.DOWN
        ]
        if not self.is_covered(*names):
            return f"no sweep has compared the nodes {', '.join(names)} yet"
        return ""

    def why_writes_not(self, partition: int) -> str:
        """The same, for all that is known of writes."""
        if partition in self._held:
            return "a write isn't on all its nodes yet"
        if self._marked(partition):
            return "a mark says that copies may differ"
        return ""

    # -- inside -----------------------------------------------------------------------------------

    def _is_newer_than_the_change(self, name: str) -> bool:
        """Whether a sweep that began after the last ring change covers the node."""
        return any(done.number > self._changed for done, covered in self._passes if name in covered)

    def _doubt(self, name: str) -> None:
        self._doubted[name] = self._next()
        self._doubted_s.setdefault(name, self._clock())

    def _next(self) -> int:
        self._number += 1
        self.changes += 1
        return self._number
