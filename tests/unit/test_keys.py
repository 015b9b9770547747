"""The cluster's keys: made once, remembered, never shown."""

from __future__ import annotations

import json
import random

from aosd.consistency.keys import ClusterKeys, fresh_keys, read_pair
from aosd.consistency.registers import Registers
from aosd.model.errors import NoNodes, NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.stamp import StampClock
from aosd.testing.faults import refused
from tests.unit.cluster_case import ClusterTestCase
from tests.unit.memory_case import MemoryTestCase

RECORD = "keys/cluster"


class KeysTests(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.keys = self.make(1)

    def make(self, seed: int, *names: str) -> ClusterKeys:
        """Those of a run that has read the nodes of these names."""
        self.clock.advance(1)
        self.registers = Registers(self.memory, StampClock(self.clock.seconds, f"{seed:08x}"))
        for node in self.nodes:
            if node.name in names:
                self.registers.load(self.records(node))
        return ClusterKeys(self.registers, random.Random(seed))

    def told(self) -> tuple[object, str, str]:
        return self.keys.pair, self.keys.token, self.keys.seal().seal(b"x")

    def test_not_known_before(self) -> None:
        self.assertIsNone(self.keys.pair)
        self.assertRaises(NoNodes, self.keys.seal)
        self.assertRaises(NoNodes, lambda: self.keys.token)

    def test_made_on_every_node(self) -> None:
        self.now(self.keys.confirm())
        pair = self.keys.pair
        assert pair is not None
        self.assertRegex(pair.access_key, r"\AAOSD[A-Z0-9]{16}\Z")
        self.assertRegex(pair.secret_key, r"\A[A-Za-z0-9]{40}\Z")
        self.assertRegex(self.keys.token, r"\A[A-Za-z0-9]{43}\Z")
        self.assertIs(self.keys.seal(), self.keys.seal())
        self.assertEqual(self.everywhere(), {RECORD: 3})
        for node in self.nodes:
            self.assertEqual(read_pair(json.loads(self.records(node)[RECORD])["value"]), pair)

    def test_those_of_a_run_after_are_the_same(self) -> None:
        self.now(self.keys.confirm())
        before = self.told()
        self.keys = self.make(2, "n1")
        self.assertEqual(self.told(), before)
        self.now(self.keys.confirm())
        self.assertEqual(self.told(), before)

    def test_two_clusters_have_nothing_in_common(self) -> None:
        one, two = (fresh_keys(random.SystemRandom()) for _ in range(2))
        self.assertFalse(set(one.values()) & set(two.values()))
        self.assertEqual(len(set(one.values())), 4)

    def test_tried_again_it_makes_no_others(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.keys.confirm(), NoQuorum)
        self.assertIsNone(self.keys.pair)
        first = read_pair(json.loads(self.records(self.nodes[2])[RECORD])["value"])
        self.now(self.keys.confirm())
        self.assertEqual(self.keys.pair, first)

    def test_what_one_node_alone_has_comes_to_the_others(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.keys.confirm(), NoQuorum)
        self.keys = self.make(2, "n1", "n2")
        before = self.told()
        self.now(self.keys.confirm())
        self.keys = self.make(3, "n0", "n1")
        self.assertEqual(self.told(), before)

    def test_the_newest_counts_and_is_given_to_the_others(self) -> None:
        self.away = {"n0"}
        self.now(self.keys.confirm())
        self.keys = other = self.make(2)
        self.away = {"n2"}
        self.now(other.confirm())
        after = self.told()
        for names in (("n0", "n2"), ("n2", "n0")):
            self.keys = self.make(3, *names)
            self.assertEqual(self.told(), after)
        self.away = set()
        self.now(self.registers.give(self.nodes[2]))
        self.assertEqual(self.records(self.nodes[2]), self.records(self.nodes[0]))

    def test_what_cant_be_read_is_made_anew(self) -> None:
        good = fresh_keys(random.Random(5))
        for name, value in (
            ("seal", "AAAA"),
            ("seal", "?"),
            ("token", ""),
            ("access_key", 7),
            ("secret_key", None),
        ):
            self.now(self.registers.set("keys", "cluster", {**good, name: value}))
            self.assertIsNone(self.keys.pair)
            self.now(self.keys.confirm())
            self.assertIsNotNone(self.keys.pair)
        self.assertIsNone(read_pair({}))

    def test_no_repr_tells_them(self) -> None:
        self.now(self.keys.confirm())
        value = json.loads(self.records(self.nodes[0])[RECORD])["value"]
        register = self.registers.get("keys", "cluster")
        shown = repr(register) + str(register) + repr(self.keys) + repr(vars(self.keys))
        for name in ("secret_key", "seal", "token"):
            self.assertNotIn(value[name], shown)


class ClusterTests(ClusterTestCase):
    """When they are made, and who gets them."""

    def keys_on(self, *names: str) -> set[str]:
        found = (self.record(self.nodes[name], RECORD) for name in names or self.names)
        return {json.dumps(json.loads(data)["value"]) if data else "" for data in found}

    def test_made_when_the_cluster_is_founded(self) -> None:
        gateway = self.begin(*self.names)
        self.assertRaises(NoNodes, gateway.store.seal)
        self.wait(60, lambda: gateway.ready)
        [told] = self.keys_on()
        pair = gateway.assembly.keys.pair
        assert pair is not None
        self.assertEqual(json.loads(told)["secret_key"], pair.secret_key)
        self.assertEqual(gateway.store.seal().open(gateway.store.seal().seal(b"id")), b"id")

    def test_they_stay_from_run_to_run(self) -> None:
        self.stop(self.begun())
        [before] = self.keys_on()
        gateway = self.begun()
        self.assertEqual(self.keys_on(), {before})
        self.dies(gateway)
        self.begun()
        self.assertEqual(self.keys_on(), {before})

    def test_a_cluster_of_an_earlier_version_gets_them(self) -> None:
        self.stop(self.begun())
        for node in self.nodes.values():
            del node.buckets[SYSTEM_BUCKET][RECORD]
        gateway = self.begun()
        [told] = self.keys_on()
        self.assertTrue(told)
        self.assertIsNotNone(gateway.assembly.keys.pair)

    def test_not_ready_without_them(self) -> None:
        self.stop(self.begun())
        for node in self.nodes.values():
            del node.buckets[SYSTEM_BUCKET][RECORD]
        for name in self.names[:2]:
            self.nodes[name].script("put", refused(), times=None)
        gateway = self.begin(*self.names)
        self.pass_s(20)
        self.assertFalse(gateway.ready)
        self.assertIsNone(gateway.assembly.keys.pair)
        for name in self.names[:2]:
            self.nodes[name].heal()
        self.wait(60, lambda: gateway.ready)
        self.assertEqual(len(self.keys_on()), 1)

    def test_who_joins_and_who_returns_gets_them(self) -> None:
        self.unreach("n3")
        gateway = self.begun("n1", "n2")
        [told] = self.keys_on("n1", "n2")
        self.reachable("n3")
        gateway.see(*self.names)
        self.wait(120, lambda: "n3" in self.members(gateway))
        self.assertEqual(self.keys_on(), {told})
        self.nodes["n2"].buckets[SYSTEM_BUCKET].pop(RECORD)
        self.unreach("n2")
        self.pass_s(30)
        self.reachable("n2")
        self.wait(120, lambda: self.keys_on() == {told})
