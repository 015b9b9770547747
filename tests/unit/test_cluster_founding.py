"""The first start: which nodes a cluster is founded of, and by whom."""

from __future__ import annotations

from aosd.model.marker import MARKER_KEY, Marker
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase


class FoundingTests(ClusterTestCase):
    def test_all_nodes_that_are_found_found_it(self) -> None:
        gateway = self.begun()
        self.assertEqual(self.members(gateway), list(self.names))
        self.assertEqual([gateway.state(name) for name in self.names], [NodeState.UP] * 3)
        cluster = gateway.assembly.admission.cluster
        self.assertTrue(cluster)
        markers = [self.marker(name) for name in self.names]
        self.assertEqual({marker.cluster for marker in markers}, {cluster})
        self.assertEqual([marker.node for marker in markers], list(self.names))
        self.assertEqual(len({marker.incarnation for marker in markers}), 3)

    def test_it_is_settled_at_once(self) -> None:
        gateway = self.begun()
        self.assertEqual(self.why_unsettled(gateway), "")
        self.put(gateway, "k", b"v")
        self.assertEqual(self.read(gateway, "k"), b"v")
        self.assertTrue(self.settled(gateway))

    def test_not_before_it_is_quiet(self) -> None:
        gateway = self.begin("n1")
        self.pass_s(0.5)
        gateway.see("n1", "n2")
        self.pass_s(0.75)
        self.assertFalse(gateway.ready)
        gateway.see(*self.names)
        self.pass_s(0.75)
        self.assertFalse(gateway.ready)
        self.wait(5, lambda: gateway.ready)
        self.assertEqual(self.members(gateway), list(self.names))

    def test_who_doesnt_answer_is_waited_for_and_not_for_ever(self) -> None:
        self.unreach("n2")
        gateway = self.begin(*self.names, founding_wait_s=20.0)
        self.pass_s(19)
        self.assertFalse(gateway.ready)
        self.wait(10, lambda: gateway.ready)
        self.assertEqual(self.members(gateway), ["n1", "n3"])
        self.reachable("n2")
        self.wait(60, lambda: "n2" in gateway.roster.ring.members)

    def test_who_comes_in_that_time_is_a_founder(self) -> None:
        self.unreach("n2")
        gateway = self.begin(*self.names, founding_wait_s=20.0)
        self.pass_s(5)
        self.reachable("n2")
        self.wait(20, lambda: gateway.ready)
        self.assertEqual(self.members(gateway), list(self.names))

    def test_a_provider_that_hasnt_reported_is_waited_for(self) -> None:
        gateway = self.begin()
        self.pass_s(30)
        self.assertFalse(gateway.ready)
        gateway.see(*self.names)
        self.wait(5, lambda: gateway.ready)

    def test_nodes_that_cant_hold_copies_are_left_out(self) -> None:
        self.problems["n1"] = "its ETags are random"
        gateway = self.begun()
        self.assertEqual(self.members(gateway), ["n2", "n3"])
        self.assertEqual(gateway.why("n1"), "its ETags are random")
        self.assertIsNone(self.record(self.nodes["n1"], MARKER_KEY))

    def test_so_are_nodes_with_objects_of_others(self) -> None:
        self.nodes["n2"].buckets[OBJECT_BUCKET] = {"theirs": Copy(b"x", '"e"', 1.0)}
        gateway = self.begun()
        self.assertEqual(self.members(gateway), ["n1", "n3"])
        self.assertIn("didn't write", gateway.why("n2"))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n2"].buckets)

    def test_none_can_be_used(self) -> None:
        for name in self.names:
            self.problems[name] = "no"
        gateway = self.begin(*self.names)
        self.pass_s(60)
        self.assertFalse(gateway.ready)
        self.assertIn("no node can be used", gateway.assembly.ready()[1])

    def test_one_node_is_a_cluster_too(self) -> None:
        gateway = self.begun("n1")
        self.put(gateway, "k", b"v")
        self.assertEqual(self.read(gateway, "k"), b"v")


class RaceTests(ClusterTestCase):
    """Two gateways that begin at once: the lowest-named node says whose cluster it is."""

    def test_the_second_one_is_the_firsts(self) -> None:
        first, second = self.begin(*self.names), self.begin(*self.names)
        self.wait(60, lambda: first.ready)
        self.assertEqual(
            first.assembly.admission.cluster, second.assembly.admission.cluster or "not yet"
        )
        self.assertEqual(
            {self.marker(name).cluster for name in self.names}, {first.assembly.admission.cluster}
        )
        self.pass_s(20)
        # Only one of them may write, and both know it.
        self.assertFalse(first.ready)
        self.assertFalse(second.ready)

    def test_one_that_is_first_between_our_look_and_our_marker(self) -> None:
        theirs = Marker("theirs", "n1", "i1").to_bytes()

        def other(name: str) -> None:
            if name == "n1":
                there = self.nodes["n1"].buckets.setdefault(SYSTEM_BUCKET, {})
                there.setdefault(MARKER_KEY, Copy(theirs, '"m"', 1.0))
                self.nodes["n1"].buckets.setdefault(OBJECT_BUCKET, {})

        self.equipping = other
        gateway = self.begin(*self.names)
        self.pass_s(10)
        self.assertEqual(gateway.assembly.admission.cluster, "theirs")
        self.assertEqual(self.marker("n1").incarnation, "i1")

    def test_a_founder_that_died_half_way(self) -> None:
        """Markers on some, no member on record: it goes on as that cluster, of those nodes."""
        calls = 0

        def crash(name: str) -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                self.unreach(*self.names)

        self.equipping = crash
        gateway = self.begin(*self.names)
        self.pass_s(3)
        self.dies(gateway)
        self.equipping = lambda _: None
        self.reachable(*self.names)
        cluster = self.marker("n1").cluster
        gateway = self.begun()
        self.assertEqual(gateway.assembly.admission.cluster, cluster)
        self.wait(60, lambda: self.members(gateway) == list(self.names))
        self.put(gateway, "k", b"v")
        self.assertEqual(self.read(gateway, "k"), b"v")
