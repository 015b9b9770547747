"""Nodes that come later: those that join, those that are refused, and those that come back."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.model.errors import ChangeRefused, NoSuchKey
from aosd.model.marker import MARKER_KEY, Marker
from aosd.model.node import Credentials, NodeState, Sighting
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.standing import Act, Membership, Place, Standing
from aosd.testing.faults import late, refused, timed_out
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase, sighting

KEYS = tuple(f"k{number}" for number in range(40))


class JoiningTests(ClusterTestCase):
    """Three founders, and a fourth node."""

    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun("n1", "n2", "n3")
        for key in KEYS:
            self.put(self.gateway, key, key.encode())

    def join(self) -> None:
        self.gateway.see(*self.names)
        self.wait(10, lambda: "n4" in self.gateway.roster.ring.members)

    def test_the_former_ring_counts_until_all_is_copied(self) -> None:
        self.nodes["n4"].script("put", refused(), times=None)
        self.join()
        self.assertTrue(self.gateway.roster.changing)
        self.assertEqual(sorted(self.gateway.roster.former.members), ["n1", "n2", "n3"])
        self.pass_s(20)
        self.assertTrue(self.gateway.roster.changing)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), key.encode())
            self.assertFalse(self.settled(self.gateway, key))
        self.nodes["n4"].heal()
        self.wait(120, lambda: not self.gateway.roster.changing)

    def test_one_that_is_taken_in_while_all_are_looked_at_stays(self) -> None:
        self.problems["n4"] = "it is odd"
        self.gateway.see(*self.names)
        self.wait(10, lambda: "odd" in self.gateway.why("n4"))
        roster, standings = self.gateway.roster, self.gateway.assembly.standings
        taken = Standing("n4", Membership.MEMBER, Place(1.0, "n4"))

        def takes_in(_: object) -> None:
            roster.set_standings([*standings.all(), taken])

        self.patch(roster.watched["n1"], "seen", takes_in)
        self.discovery_sees_another("n1")
        self.assertEqual([each.name for each in roster.members()], list(self.names))
        roster.set_standings(standings.all())

    def discovery_sees_another(self, name: str) -> None:
        """This one is elsewhere now, and the fourth isn't to be seen any more."""
        there = [sighting(each) for each in ("n1", "n2", "n3")]
        moved = [
            replace(each, seen_as="elsewhere") if each.name == name else each for each in there
        ]
        self.gateway.discovery.see(*moved)

    def test_nobody_joins_while_another_gateway_uses_the_nodes(self) -> None:
        heartbeat = self.gateway.assembly.heartbeat
        heartbeat.other = "another"
        heartbeat._loop.stop()
        self.gateway.see(*self.names)
        self.pass_s(60)
        self.assertEqual(self.members(self.gateway), ["n1", "n2", "n3"])
        self.assertIn("another gateway", self.gateway.roster.watched["n4"].why)
        self.assertIsNone(self.record(self.nodes["n4"], MARKER_KEY))
        heartbeat.other = ""
        self.wait(60, lambda: self.members(self.gateway) == list(self.names))

    def test_then_the_coming_one_is_the_ring_and_everything_lies_right(self) -> None:
        self.join()
        self.wait(120, lambda: not self.gateway.roster.changing)
        self.assertEqual(self.members(self.gateway), list(self.names))
        self.wait(120, lambda: all(self.settled(self.gateway, key) for key in KEYS))
        for key in KEYS:
            holders = [
                name for name in self.names if key in self.nodes[name].buckets[OBJECT_BUCKET]
            ]
            self.assertEqual(holders, sorted(self.primaries(self.gateway, key)), key)
            self.assertEqual(self.read(self.gateway, key), key.encode())
        self.assertTrue(self.nodes["n4"].buckets[OBJECT_BUCKET])

    def test_nothing_is_removed_while_the_ring_changes(self) -> None:
        before = {name: set(self.nodes[name].buckets[OBJECT_BUCKET]) for name in ("n1", "n2", "n3")}
        self.gateway.see(*self.names)
        while not self.gateway.roster.changing:
            self.clock.advance(0.05)
        for _ in range(400):
            if not self.gateway.roster.changing:
                break
            for name, keys in before.items():
                self.assertLessEqual(keys, set(self.nodes[name].buckets[OBJECT_BUCKET]))
            self.clock.advance(0.05)

    def test_writes_meanwhile_go_to_both_rings_primaries(self) -> None:
        self.nodes["n4"].script("create_upload", refused(), times=None)
        self.gateway.see(*self.names)
        while not self.gateway.roster.changing:
            self.clock.advance(0.05)
        for key in KEYS:
            self.put(self.gateway, key, b"new")
            primaries = self.primaries(self.gateway, key)
            self.assertGreaterEqual(len(primaries), 2)
            for name in primaries:
                self.assertEqual(self.nodes[name].buckets[OBJECT_BUCKET][key].data, b"new")

    def test_one_that_goes_while_it_is_let_in_comes_back_as_a_member(self) -> None:
        gate: Deferred[None] = Deferred()
        for name in ("n1", "n2", "n3"):
            self.nodes[name].script("put", late(lambda: gate), times=None)
        self.gateway.see(*self.names)
        self.pass_s(3)
        self.gateway.discovery.see(
            *(sighting(name) for name in ("n1", "n2", "n3")),
            Sighting("n4", None, Credentials("a", "hush"), running=False),
        )
        for name in ("n1", "n2", "n3"):
            self.nodes[name].heal()
        gate.callback(None)
        self.pass_s(3)
        self.assertIn("n4", self.gateway.roster.ring.members)
        self.assertEqual(self.gateway.state("n4"), NodeState.DOWN)
        self.gateway.see(*self.names)
        self.wait(120, lambda: not self.gateway.roster.changing)
        self.assertEqual(self.gateway.state("n4"), NodeState.UP)

    def test_is_remembered_as_joining_over_a_restart(self) -> None:
        self.nodes["n4"].script("*", timed_out(), times=None)
        self.nodes["n4"].heal()
        self.gateway.see(*self.names)
        while not self.gateway.roster.changing:
            self.clock.advance(0.05)
        self.dies(self.gateway)
        second = self.begun()
        self.assertEqual(self.members(second), list(self.names))
        for key in KEYS:
            self.assertEqual(self.read(second, key), key.encode())

    def test_gets_the_clusters_memory(self) -> None:
        self.delete(self.gateway, KEYS[0])
        self.join()
        self.wait(120, lambda: not self.gateway.roster.changing)
        for prefix in ("members/", "journal/", "runs/"):
            there = {key for key in self.nodes["n1"].buckets[SYSTEM_BUCKET] if prefix in key}
            self.assertTrue(there)
            self.assertLessEqual(there, set(self.nodes["n4"].buckets[SYSTEM_BUCKET]))


class RefusalTests(ClusterTestCase):
    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun("n1", "n2", "n3")

    def refused(self, why: str) -> None:
        self.gateway.see(*self.names)
        self.pass_s(5)
        self.assertEqual(self.gateway.state("n4"), NodeState.DOWN)
        self.assertIn(why, self.gateway.why("n4"))
        self.pass_s(60)
        self.assertIn(why, self.gateway.why("n4"))
        self.assertEqual(self.members(self.gateway), ["n1", "n2", "n3"])
        self.assertFalse(self.gateway.roster.changing)
        self.assertTrue(self.gateway.ready)

    def cant_be_adopted(self, why: str) -> None:
        """And whoever asks for it, or what it would take, is told so."""
        changes = self.gateway.assembly.changes
        failure = self.failureResultOf(Deferred.fromCoroutine(changes.adopt("n4")), ChangeRefused)
        self.assertIn(why, str(failure.value))
        with self.assertRaises(ChangeRefused):
            changes.outlook.proposed(Act.JOIN, "n4")

    def lay(self, marker: Marker) -> None:
        self.nodes["n4"].buckets[SYSTEM_BUCKET] = {MARKER_KEY: Copy(marker.to_bytes(), '"m"', 1.0)}
        self.nodes["n4"].buckets[OBJECT_BUCKET] = {}

    def test_a_cloned_volume(self) -> None:
        self.lay(self.marker("n2"))
        self.refused("n2")
        self.cant_be_adopted("n2")
        self.assertEqual(self.marker("n4").node, "n2")

    def test_one_of_another_cluster(self) -> None:
        self.lay(Marker("another", "n4", "i"))
        self.refused("another")
        self.cant_be_adopted("another")

    def test_one_of_another_cluster_that_has_objects(self) -> None:
        """Nor does ours, which has none, take it for empty."""
        self.lay(Marker("another", "n4", "i"))
        self.nodes["n4"].buckets[OBJECT_BUCKET] = {"theirs": Copy(b"x", '"e"', 1.0)}
        self.refused("another, which has objects, and ours has none: started again")
        self.stop(self.gateway)
        second = self.begin(*self.names)
        self.pass_s(30)
        self.assertEqual(second.assembly.admission.cluster, "another")

    def test_one_of_another_cluster_that_has_objects_elsewhere(self) -> None:
        self.put(self.gateway, "k", b"v")
        self.lay(Marker("another", "n4", "i"))
        value = {"state": "member", "weight": 1.0, "zone": "n5", "incarnation": "j"}
        register = json.dumps({"stamp": "0189594b3a7c-0001-0000000a", "value": value}).encode()
        self.nodes["n4"].buckets[SYSTEM_BUCKET]["members/n5"] = Copy(register, '"r"', 1.0)
        self.refused("another")

    def test_objects_that_this_cluster_didnt_write(self) -> None:
        self.nodes["n4"].buckets[OBJECT_BUCKET] = {"theirs": Copy(b"x", '"e"', 1.0)}
        self.refused("didn't write")
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n4"].buckets)
        self.assertEqual(list(self.nodes["n4"].buckets[OBJECT_BUCKET]), ["theirs"])

    def test_one_that_cant_hold_copies(self) -> None:
        self.problems["n4"] = "versioning is on"
        self.refused("versioning is on")

    def test_once_what_stood_in_its_way_is_gone_it_joins(self) -> None:
        self.problems["n4"] = "versioning is on"
        self.gateway.see(*self.names)
        self.pass_s(5)
        self.problems.clear()
        self.wait(60, lambda: "n4" in self.gateway.roster.ring.members)

    def test_at_the_start_a_stranger_doesnt_name_the_cluster(self) -> None:
        """A blank cluster's marker on one node, objects on the others: it gives way to them."""
        self.put(self.gateway, "k", b"v")
        cluster = self.gateway.assembly.admission.cluster
        self.stop(self.gateway)
        self.lay(Marker("another", "n4", "i"))
        gateway = self.begun()
        self.assertEqual(gateway.assembly.admission.cluster, cluster)
        self.assertEqual(self.members(gateway), ["n1", "n2", "n3"])
        self.wait(60, lambda: "n4" in gateway.roster.ring.members)
        self.assertEqual(self.marker("n4").cluster, cluster)


class YieldTests(ClusterTestCase):
    """A cluster that was founded by mistake, when nothing else was to be seen."""

    count = 4

    def test_its_node_joins_the_one_that_has_objects(self) -> None:
        alone = self.begun("n4")
        mistaken = alone.assembly.admission.cluster
        self.stop(alone)
        gateway = self.begun("n1", "n2", "n3")
        cluster = gateway.assembly.admission.cluster
        self.assertNotEqual(cluster, mistaken)
        self.put(gateway, "k", b"v")
        gateway.see(*self.names)
        self.wait(120, lambda: gateway.state("n4") is NodeState.UP)
        self.wait(120, lambda: not gateway.roster.changing)
        self.assertEqual(self.members(gateway), list(self.names))
        self.assertEqual(self.marker("n4").cluster, cluster)
        self.assertEqual(self.read(gateway, "k"), b"v")

    def test_of_two_without_objects_neither_does(self) -> None:
        self.stop(self.begun("n4"))
        gateway = self.begun("n1", "n2", "n3")
        gateway.see(*self.names)
        self.pass_s(60)
        self.assertEqual(self.members(gateway), ["n1", "n2", "n3"])
        self.assertIn("another cluster", gateway.why("n4"))


class ReturnTests(ClusterTestCase):
    """Members that were away, or may have been."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun()
        for key in KEYS:
            self.put(self.gateway, key, b"v")

    def test_a_restart_is_a_return_until_it_is_swept(self) -> None:
        self.nodes["n1"].restart()
        self.assertIn(self.gateway.state("n1"), (NodeState.DOWN, NodeState.RETURNING))
        self.assertFalse(any(self.settled(self.gateway, key) for key in KEYS))
        self.wait(60, lambda: self.gateway.state("n1") is NodeState.UP)
        self.assertTrue(all(self.settled(self.gateway, key) for key in KEYS))

    def test_a_rollback_is_noticed_and_mended(self) -> None:
        snapshot = self.nodes["n1"].snapshot()
        self.put(self.gateway, "k0", b"new")
        self.delete(self.gateway, "k1")
        self.put(self.gateway, "later", b"new")
        self.nodes["n1"].restore(snapshot)
        self.nodes["n1"].restart()
        self.assertEqual(self.read(self.gateway, "k0"), b"new")
        self.assertEqual(self.read(self.gateway, "later"), b"new")
        self.failureResultOf(self.getting(self.gateway, "k1"), NoSuchKey)
        self.wait(60, lambda: self.gateway.state("n1") is NodeState.UP)
        there = self.nodes["n1"].buckets[OBJECT_BUCKET]
        self.assertNotIn("k1", there)
        for key in ("k0", "later"):
            self.assertEqual(self.read(self.gateway, key), b"new")
            if "n1" in self.primaries(self.gateway, key):
                self.assertEqual(there[key].data, b"new")

    def test_silence_is_suspect_then_down_and_then_a_return(self) -> None:
        self.unreach("n2")
        self.wait(3, lambda: self.gateway.state("n2") is not NodeState.UP)
        self.pass_s(15)
        self.assertEqual(self.gateway.state("n2"), NodeState.DOWN)
        for key in KEYS:
            self.put(self.gateway, key, b"meanwhile")
        self.assertEqual(len(self.gateway.store.marks), 0)
        self.reachable("n2")
        self.wait(20, lambda: self.gateway.state("n2") is not NodeState.DOWN)
        self.wait(60, lambda: self.gateway.state("n2") is NodeState.UP)
        for key in KEYS:
            holders = [
                name
                for name in self.names
                if (copy := self.nodes[name].buckets[OBJECT_BUCKET].get(key)) is not None
                and copy.data == b"meanwhile"
            ]
            self.assertEqual(holders, sorted(self.primaries(self.gateway, key)), key)

    def test_an_announced_close_is_none(self) -> None:
        """Probed again at once, and answered."""
        health = self.nodes["n1"].health
        assert health is not None
        health.control_lost(True)
        self.assertEqual(self.gateway.state("n1"), NodeState.UP)
        self.assertTrue(all(self.settled(self.gateway, key) for key in KEYS))

    def test_another_disk_is_filled_again(self) -> None:
        before = self.marker("n3").incarnation
        self.nodes["n3"].wipe()
        self.wait(10, lambda: self.gateway.state("n3") is not NodeState.UP)
        for key in KEYS[:3]:
            self.assertEqual(self.read(self.gateway, key), b"v")
        self.wait(120, lambda: self.gateway.state("n3") is NodeState.UP)
        self.assertNotEqual(self.marker("n3").incarnation, before)
        for key in KEYS:
            self.assertEqual(
                key in self.nodes["n3"].buckets[OBJECT_BUCKET],
                "n3" in self.primaries(self.gateway, key),
            )
        self.assertEqual(self.members(self.gateway), list(self.names))

    def test_one_that_isnt_seen_any_more_stays_a_member(self) -> None:
        self.gateway.see("n1", "n2")
        self.pass_s(5)
        self.assertEqual(self.gateway.state("n3"), NodeState.DOWN)
        self.assertEqual(self.members(self.gateway), list(self.names))
        for key in KEYS:
            self.put(self.gateway, key, b"meanwhile")
        self.gateway.see(*self.names)
        self.wait(60, lambda: self.gateway.state("n3") is NodeState.UP)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), b"meanwhile")

    def test_two_away_at_once_come_back_one_by_one(self) -> None:
        self.unreach("n1")
        self.pass_s(15)
        self.put(self.gateway, "k0", b"new")
        self.unreach("n2")
        self.pass_s(15)
        self.reachable("n1")
        self.pass_s(20)
        # n1 was away when k0 was written: what it has isn't the newest.
        self.assertNotEqual(self.gateway.state("n1"), NodeState.DOWN)
        self.assertEqual(self.read(self.gateway, "k0"), b"new")
        self.reachable("n2")
        self.wait(120, lambda: all(self.settled(self.gateway, key) for key in KEYS))
        self.assertEqual(self.read(self.gateway, "k0"), b"new")
