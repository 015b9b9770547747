"""What the tests of the cluster's memory share: nodes, and Memory over them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.memory import Memory
from aosd.consistency.to_the_end import ToTheEnd
from aosd.model.node import NodeState
from aosd.model.objects import SYSTEM_BUCKET
from aosd.ports import Candidate
from aosd.testing.memory_node import MemoryNode

T = TypeVar("T")

NOW_S = 1_700_000_000


def stamp(number: int, seconds: float = 0.0) -> str:
    """The stamp so many seconds after NOW_S; `number` orders those of one moment."""
    return f"{int((NOW_S + seconds) * 1000):012x}-{number:04x}-0000000a"


class MemoryTestCase(SynchronousTestCase):
    """Three nodes, R = 2; `away` are the names of those that can't be asked.

    `returning`: of those that can, and haven't been compared since they were away.
    """

    replicas = 2
    count = 3

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.nodes = [
            MemoryNode(f"n{number}", now=self.clock.seconds) for number in range(self.count)
        ]
        self.away: set[str] = set()
        self.returning: set[str] = set()
        self.to_the_end = ToTheEnd()
        self.memory = Memory(
            self.members, self.replicas, self.to_the_end, self.clock.seconds, 1200.0
        )

    def tearDown(self) -> None:
        self.now(self.to_the_end.idle())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for node in self.nodes:
            self.assertEqual((node.open_readings, node.landing), (0, 0), node.name)
        self.assertEqual(self.flushLoggedErrors(), [])

    def members(self) -> list[Candidate]:
        return [
            Candidate(
                node.name,
                None if node.name in self.away else node,
                NodeState.RETURNING if node.name in self.returning else NodeState.UP,
            )
            for node in self.nodes
        ]

    def run_(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(work)

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(self.run_(work))

    def fails(self, work: Coroutine[Any, Any, Any], kind: type[Exception]) -> None:
        self.failureResultOf(self.run_(work), kind)

    def records(self, node: MemoryNode, prefix: str = "") -> dict[str, bytes]:
        """What lies on the node."""
        there = node.buckets.get(SYSTEM_BUCKET, {})
        return {key: copy.data for key, copy in there.items() if key.startswith(prefix)}

    def everywhere(self, prefix: str = "") -> dict[str, int]:
        """On how many nodes each record lies."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for key in self.records(node, prefix):
                found[key] = found.get(key, 0) + 1
        return found
