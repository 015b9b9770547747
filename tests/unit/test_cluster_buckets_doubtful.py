"""Buckets whose record only one node took: what is written to them is in no danger of that."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.consistency.buckets import LIVE
from aosd.gateway.buckets import create_bucket
from aosd.gateway.get import head
from aosd.gateway.requests import Get
from aosd.model.errors import ClusterError
from aosd.testing.faults import refused
from tests.unit.test_cluster_buckets import NAME, BucketsTestCase


class OneNodeTests(BucketsTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("n2", "n3"):
            self.nodes[name].script("put", refused(), times=None)
        creating = Deferred.fromCoroutine(create_bucket(self.gateway.store, NAME))
        self.failureResultOf(creating, ClusterError)
        for name in ("n2", "n3"):
            self.nodes[name].heal()
        self.assertEqual(self.recorded(), ["n1"])

    def recorded(self) -> list[str]:
        """The nodes that remember the bucket."""
        return [each for each in self.names if self.record(self.nodes[each], f"buckets/{NAME}")]

    def is_there_without_n1(self) -> None:
        """It is when n1 has lost its disk, and another run begins."""
        self.write("k")
        self.dies(self.gateway)
        self.nodes["n1"].wipe()
        self.gateway = self.begun(*self.founders)
        self.assertEqual(self.state_of(), LIVE)
        self.assertTrue(self.now(head(self.gateway.store, Get(NAME, "k"))))

    def test_the_next_run_finds_it(self) -> None:
        self.stop(self.gateway)
        self.gateway = self.begun(*self.founders)
        self.assertEqual(self.state_of(), LIVE)
        self.is_there_without_n1()

    def test_a_run_after_a_kill_finds_it(self) -> None:
        self.dies(self.gateway)
        self.gateway = self.begun(*self.founders)
        self.assertEqual(self.state_of(), LIVE)
        self.is_there_without_n1()

    def test_its_node_returns(self) -> None:
        self.goes("n1")
        self.reachable("n1")
        self.wait(120, lambda: self.state_of() == LIVE)
        self.is_there_without_n1()
