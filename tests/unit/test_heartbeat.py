"""The heartbeat: of two gateways on the same nodes both know, and a dead one is forgotten."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.heartbeat import Heartbeat
from aosd.consistency.memory import Memory
from aosd.consistency.to_the_end import ToTheEnd
from aosd.model.node import NodeState
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.faults import late, refused
from aosd.testing.memory_node import MemoryNode
from aosd.testing.stores import MemoryPlacement


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = [MemoryNode(f"n{each}") for each in (1, 2, 3)]
        self.placement = MemoryPlacement(self.nodes)
        self.beating: list[Heartbeat] = []

    def tearDown(self) -> None:
        for each in self.beating:
            self.stop(each)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.there(), set())
        self.assertEqual(self.flushLoggedErrors(), [])

    def begin(self, run: str) -> Heartbeat:
        memory = Memory(self.placement.members, 2, ToTheEnd(), self.clock.seconds, 1200.0)
        heartbeat = Heartbeat(memory, self.placement.members, self.clock, run, lambda: "")
        heartbeat.start()
        self.beating.append(heartbeat)
        return heartbeat

    def stop(self, heartbeat: Heartbeat) -> None:
        self.beating = [each for each in self.beating if each is not heartbeat]
        self.successResultOf(Deferred.fromCoroutine(heartbeat.stop()))

    def dies(self, heartbeat: Heartbeat) -> None:
        """Without a word."""
        self.beating.remove(heartbeat)
        heartbeat._loop.stop()

    def there(self) -> set[str]:
        return {key for node in self.nodes for key in node.buckets[SYSTEM_BUCKET]}

    def test_alone(self) -> None:
        heartbeat = self.begin("run1")
        self.assertEqual(self.there(), {"gateways/run1"})
        self.clock.pump([5.0] * 20)
        self.assertEqual(heartbeat.other, "")

    def test_two_know_of_each_other_and_one_remains(self) -> None:
        first = self.begin("run1")
        self.clock.advance(5)
        second = self.begin("run2")
        self.clock.pump([5.0] * 3)
        self.assertEqual((first.other, second.other), ("run2", "run1"))
        self.stop(second)
        self.clock.advance(5)
        self.assertEqual(first.other, "")

    def test_a_dead_predecessor_delays_nothing_and_is_removed(self) -> None:
        self.dies(self.begin("run1"))
        second = self.begin("run2")
        for _ in range(8):
            self.clock.advance(5)
            self.assertEqual(second.other, "")
        self.assertEqual(self.there(), {"gateways/run2"})

    def test_a_dead_ones_last_beat_comes_late(self) -> None:
        first = self.begin("run1")
        self.clock.advance(5)
        old = {node: node.buckets[SYSTEM_BUCKET]["gateways/run1"] for node in self.nodes}
        self.clock.advance(5)
        last = self.nodes[0].buckets[SYSTEM_BUCKET]["gateways/run1"]
        self.dies(first)
        for node in self.nodes:
            node.buckets[SYSTEM_BUCKET]["gateways/run1"] = old[node]
        second = self.begin("run2")
        self.clock.advance(5)
        self.nodes[0].buckets[SYSTEM_BUCKET]["gateways/run1"] = last
        for _ in range(9):
            self.clock.advance(5)
            self.assertEqual(second.other, "")

    def test_alone_is_who_never_saw_another(self) -> None:
        first = self.begin("run1")
        self.assertTrue(first.alone)
        second = self.begin("run2")
        self.assertFalse(second.alone)
        self.clock.advance(5)
        self.assertFalse(first.alone)
        self.clock.pump([5.0] * 2)
        self.stop(second)
        self.clock.pump([5.0] * 9)
        self.assertEqual(first.other, "")
        self.assertFalse(first.alone, "it may have said that its run was the last one")

    def test_a_dead_predecessor_is_nobody_after_an_interval(self) -> None:
        self.dies(self.begin("run1"))
        second = self.begin("run2")
        self.assertFalse(second.alone)
        self.clock.advance(5)
        self.assertTrue(second.alone)
        self.clock.pump([5.0] * 6)
        self.assertEqual(self.there(), {"gateways/run2"})

    def test_one_that_dies_later_is_forgotten(self) -> None:
        first, second = self.begin("run1"), self.begin("run2")
        self.clock.pump([5.0] * 3)
        self.assertEqual(second.other, "run1")
        self.dies(first)
        self.clock.pump([5.0] * 4)
        self.assertEqual(second.other, "run1")
        self.clock.pump([5.0] * 4)
        self.assertEqual(second.other, "")
        self.assertEqual(self.there(), {"gateways/run2"})

    def test_is_seen_on_one_node_too(self) -> None:
        first, second = self.begin("run1"), self.begin("run2")
        for node in self.nodes[1:]:
            node.script("*", refused(), times=None)
        self.clock.pump([5.0] * 3)
        self.assertEqual((first.other, second.other), ("run2", "run1"))
        for node in self.nodes:
            node.heal()

    def test_an_old_record_on_a_node_that_was_away_moves_nobody(self) -> None:
        first = self.begin("run1")
        self.clock.pump([5.0] * 3)
        left = self.nodes[2].snapshot()
        self.stop(first)
        self.placement.states["n3"] = NodeState.DOWN
        second = self.begin("run2")
        self.clock.pump([5.0] * 3)
        self.nodes[2].restore(left)
        self.placement.states.clear()
        for _ in range(8):
            self.clock.advance(5)
            self.assertEqual(second.other, "")
        self.assertEqual(self.there(), {"gateways/run2"})

    def test_stops_while_a_node_thinks(self) -> None:
        gate: Deferred[None] = Deferred()
        heartbeat = self.begin("run1")
        for node in self.nodes:
            node.script("list", late(lambda: gate))
        self.clock.advance(5)
        self.beating.clear()
        stopping = Deferred.fromCoroutine(heartbeat.stop())
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
