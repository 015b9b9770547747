"""A store over nodes in memory, without discovery: for tests of use cases.

placement = MemoryPlacement([MemoryNode("n1"), MemoryNode("n2")])
store = make_store(placement, clock, replicas=2)   # everything is settled
placement.states["n2"] = NodeState.DOWN            # it can't be asked any more
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from aosd.consistency.buckets import Buckets
from aosd.consistency.copying import Copier
from aosd.consistency.journal import Journal
from aosd.consistency.ledger import Ledger
from aosd.consistency.marks import Marks
from aosd.consistency.memory import Memory
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.gateway.lanes import Lanes
from aosd.gateway.store import Limits, Store
from aosd.model.node import Member, NodeState
from aosd.model.ring import Ring
from aosd.model.seal import SEAL_KEY_BYTES, Seal
from aosd.model.stamp import StampClock
from aosd.ports import Candidate, INode, IPlacement
from aosd.streams.budget import MemoryBudget
from aosd.testing.memory_node import MemoryNode

_AWAY = (NodeState.DOWN, NodeState.SUSPECT)


@implementer(IPlacement)
class MemoryPlacement:
    """A ring over given nodes; `states` says which of them aren't up, by name.

    `hides` says of each whether an object on it hides what lies beneath; those in `stray_names`
    may hold any key.
    """

    def __init__(self, nodes: Sequence[INode]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.states: dict[str, NodeState] = {}
        self.hides: dict[str, bool | None] = {
            node.name: isinstance(node, MemoryNode) and node.disk.hides_beneath for node in nodes
        }
        self.ring = Ring(Member(name, 1.0, name) for name in self.nodes)
        self.former: Ring | None = None
        self.stray_names: set[str] = set()
        self._looks = 0

    @property
    def changes(self) -> int:
        """See IPlacement: tests change it without a word, so there is no knowing."""
        self._looks += 1
        return self._looks

    def orders(self, bucket: str, key: str) -> Sequence[Sequence[Candidate]]:
        """See IPlacement."""
        rings = [self.ring] if self.former is None else [self.ring, self.former]
        return [
            [self.candidate(name) for name in ring.order(bucket, key)]
            for ring in rings
            if ring.members
        ]

    def members(self) -> Sequence[Candidate]:
        """See IPlacement."""
        names = {*self.ring.members, *self.stray_names}
        return [self.candidate(name) for name in sorted(names)]

    def strays(self) -> Sequence[Candidate]:
        """See IPlacement."""
        return [self.candidate(name) for name in sorted(self.stray_names)]

    def candidate(self, name: str) -> Candidate:
        """The node as use cases see it."""
        state = self.states.get(name, NodeState.UP)
        node = None if state in _AWAY else self.nodes[name]
        return Candidate(name, node, state, name, state is NodeState.FULL, self.hides[name])


def make_store(
    placement: MemoryPlacement,
    clock: Clock,
    *,
    replicas: int,
    limits: Limits | None = None,
    budget_bytes: int = 1 << 28,
    gateway_id: str = "00000001",
    **more: Any,
) -> Store:
    """A store whose nodes are all settled; `more` replaces fields of Store."""
    to_the_end = ToTheEnd()
    memory = Memory(placement.members, replicas, to_the_end, clock.seconds, 1200.0)
    ledger = Ledger()
    journal = Journal(memory, ledger, clock, clock.seconds, may_forget=lambda _: True)
    marks = Marks(memory, clock.seconds)
    settledness = Settledness(clock.seconds, marks.marked)
    settledness.founded(placement.nodes)
    turns = Turns(clock, 20.0, to_the_end)
    writes = Writes(clock.seconds)
    budget = MemoryBudget(budget_bytes, clock)
    stamps = StampClock(clock.seconds, gateway_id)
    uploads = Uploads(memory, stamps.is_own)
    seal = Seal(bytes(SEAL_KEY_BYTES))
    buckets = Buckets(Registers(memory, stamps), clock.seconds, 1200.0)
    journal.died = buckets.died
    made: dict[str, Any] = {
        "placement": placement,
        "replicas": replicas,
        "turns": turns,
        "to_the_end": to_the_end,
        "stamps": stamps,
        "journal": journal,
        "marks": marks,
        "ledger": ledger,
        "uploads": uploads,
        "buckets": buckets,
        "seal": lambda: seal,
        "writes": writes,
        "settledness": settledness,
        "budget": budget,
        "lanes": Lanes(clock),
        "copying": Copier(
            turns=turns,
            writes=writes,
            journal=journal,
            budget=budget,
            uploads=uploads,
            stamps=stamps,
        ),
        "clock": clock,
        "limits": limits or Limits(),
    }
    return Store(**(made | more))
