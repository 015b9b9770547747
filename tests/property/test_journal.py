"""The journal keeps every line that it acknowledged, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from aosd.consistency.journal import Journal
from aosd.consistency.ledger import Ledger
from aosd.consistency.memory import Memory
from aosd.consistency.to_the_end import ToTheEnd
from aosd.model.errors import NoQuorum
from aosd.model.stamp import StampClock
from aosd.ports import Candidate
from aosd.testing.faults import NO_FAULT, Fault, late, refused, timed_out
from aosd.testing.memory_node import MemoryNode

T = TypeVar("T")

BUCKET = "object"
KEEP_S = 7 * 86400.0
KEYS = st.sampled_from(["a", "b", "c"])
METHODS = st.sampled_from(["put", "put", "delete", "get"])
_MOST_S = 30.0


class JournalMachine(RuleBasedStateMachine):
    """Three nodes, R = 2; one fails at a time, answers late, and the gateway may die.

    `deletes` and `restamps` are what was acknowledged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.nodes = [MemoryNode(f"n{n}", now=self.clock.seconds) for n in range(3)]
        self.stamps = StampClock(self.clock.seconds, "0000000a")
        self.deletes: dict[str, list[str]] = {}
        self.restamps: dict[tuple[str, str], str] = {}
        self.runs = 0
        self.start([])

    def start(self, read: list[MemoryNode]) -> None:
        self.runs += 1
        self.memory = Memory(
            lambda: [Candidate(node.name, node) for node in self.nodes],
            2,
            ToTheEnd(),
            self.clock.seconds,
            1200.0,
        )
        self.ledger = Ledger()
        self.journal = Journal(
            self.memory,
            self.ledger,
            self.clock,
            self.clock.seconds,
            keep_s=KEEP_S,
            may_forget=lambda _: True,
            most_lines=3,
        )
        for node in read:
            self.now(self.load(node, self.memory, self.journal))

    async def load(self, node: MemoryNode, memory: Memory, journal: Journal) -> None:
        await journal.load(await memory.read(node, "journal/"))

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result; what is late comes meanwhile."""
        results: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(results.append)
        for _ in range(10):
            if results:
                break
            self.clock.advance(_MOST_S)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result  # type: ignore[no-any-return]

    def went_well(self, work: Coroutine[Any, Any, None], then: Callable[[], Any]) -> None:
        """`then` is told when it is acknowledged, if ever."""
        run = self.runs

        def stands(_: None) -> None:
            if run == self.runs:
                then()

        Deferred.fromCoroutine(work).addCallback(stands).addErrback(
            lambda failure: failure.trap(NoQuorum) and None
        )

    def fate(self, fate: str, seconds: float) -> Fault:
        def gate() -> Deferred[None]:
            return deferLater(self.clock, seconds, lambda: None)

        return {
            "well": NO_FAULT,
            "refused": refused(),
            "lost": timed_out(),
            "done but lost": timed_out(carried_out=True),
            "late": late(gate),
            "late answer": late(gate, carried_out=True),
        }[fate]

    # -- what happens ---------------------------------------------------------------------------

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        stamp = self.stamps.next()
        self.went_well(
            self.journal.deleted(BUCKET, key, stamp),
            lambda: self.deletes.setdefault(key, []).append(stamp),
        )

    @rule(key=KEYS)
    def restamp(self, key: str) -> None:
        was, counts_as = self.stamps.next(), self.stamps.next()

        def stands() -> None:
            self.restamps[key, was] = counts_as

        self.went_well(self.journal.restamped(BUCKET, key, was, counts_as), stands)

    @rule()
    def tend(self) -> None:
        Deferred.fromCoroutine(self.journal.tend()).addErrback(
            lambda failure: failure.trap(NoQuorum) and None
        )

    @rule(seconds=st.sampled_from([0.001, 1.0, 30.0, 60.0, 130.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def days_pass(self) -> None:
        self.clock.advance(3 * 86400.0)
        limit = f"{int((self.clock.seconds() - KEEP_S) * 1000):012x}"
        self.deletes = {
            key: kept
            for key, stamps in self.deletes.items()
            if (kept := [each for each in stamps if each >= limit])
        }
        self.restamps = {each: to for each, to in self.restamps.items() if to >= limit}

    @rule(
        node=st.integers(0, 2),
        method=METHODS,
        fates=st.lists(
            st.sampled_from(["well", "refused", "lost", "done but lost", "late", "late answer"]),
            min_size=1,
            max_size=4,
        ),
        seconds=st.sampled_from([0.5, 5.0, _MOST_S]),
    )
    def node_fails(self, node: int, method: str, fates: list[str], seconds: float) -> None:
        for fate in fates:
            self.nodes[node].script(method, self.fate(fate, seconds))

    @precondition(lambda self: self.runs < 6)
    @rule(missing=st.integers(0, 2), backwards=st.booleans())
    def gateway_dies(self, missing: int, backwards: bool) -> None:
        """What it had sent may land yet; the next one reads all nodes but one."""
        for node in self.nodes:
            node.heal()
        read = [node for number, node in enumerate(self.nodes) if number != missing]
        self.start(read[::-1] if backwards else read)

    # -- what holds -----------------------------------------------------------------------------

    def check(self, journal: Journal) -> None:
        for key, stamps in self.deletes.items():
            known = journal.delete_of(BUCKET, key)
            assert known is not None, (key, stamps)
            assert known >= max(stamps), (key, stamps)
        for (key, was), counts_as in self.restamps.items():
            assert journal.counts_as(BUCKET, key, was) == counts_as, (key, was)

    @invariant()
    def every_acknowledged_line_is_known(self) -> None:
        self.check(self.journal)

    @invariant()
    def any_two_nodes_tell_all_of_it(self) -> None:
        for missing in range(3):
            ledger = Ledger()
            journal = Journal(
                self.memory, ledger, self.clock, self.clock.seconds, may_forget=lambda _: False
            )
            for number, node in enumerate(self.nodes):
                if number != missing:
                    there = node.buckets["aos-system"]
                    work = journal.load({name: copy.data for name, copy in there.items()})
                    results: list[Any] = []
                    Deferred.fromCoroutine(work).addBoth(results.append)
                    assert results == [None]
            self.check(journal)
            ledger.close()

    def teardown(self) -> None:
        self.ledger.close()


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
