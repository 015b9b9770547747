"""Registers, and open uploads."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.consistency.registers import Registers
from aosd.consistency.uploads import OpenUpload, Uploads
from aosd.model.errors import NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.stamp import StampClock
from aosd.testing.faults import lands_late, late, refused
from tests.unit.memory_case import NOW_S, MemoryTestCase, stamp


class RegisterTests(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.registers = self.make()

    def make(self, run: str = "0000000a") -> Registers:
        return Registers(self.memory, StampClock(self.clock.seconds, run))

    def loaded(self) -> Registers:
        registers = self.make("0000000b")
        for node in self.nodes:
            registers.load(self.now(self.memory.read(node, "")))
        return registers

    def value(self, registers: Registers, name: str = "n1") -> object:
        register = registers.get("members", name)
        return None if register is None else dict(register.value)

    def test_what_was_set_last_stands(self) -> None:
        self.assertIsNone(self.registers.get("members", "n1"))
        for state in ("up", "returning", "up"):
            self.now(self.registers.set("members", "n1", {"state": state}))
        self.now(self.registers.set("members", "n0", {}))
        self.now(self.registers.set("buckets", "n1", {"live": True}))
        for registers in (self.registers, self.loaded()):
            self.assertEqual(self.value(registers), {"state": "up"})
            self.assertEqual([each.name for each in registers.all("members")], ["n0", "n1"])
            newest = registers.get("buckets", "n1")
            assert newest is not None
            self.assertEqual(registers.newest, newest.stamp)
        self.assertEqual(self.everywhere(), {"members/n0": 3, "members/n1": 3, "buckets/n1": 3})

    def test_the_newest_of_all_nodes_counts_in_any_order(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        old = self.records(self.nodes[0])
        self.clock.advance(1)
        self.now(self.registers.set("members", "n1", {"state": "new"}))
        new = self.records(self.nodes[0])
        for order in ((old, new), (new, old)):
            registers = self.make()
            for records in order:
                registers.load(records)
            self.assertEqual(self.value(registers), {"state": "new"})
            self.nodes[1].buckets[SYSTEM_BUCKET].clear()
            self.now(registers.give(self.nodes[1]))
            self.assertEqual(self.records(self.nodes[1]), new)

    def test_one_after_the_other(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[2].script("put", late(lambda: gate))
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        setting = self.run_(self.registers.set("members", "n1", {"state": "new"}))
        self.now(self.registers.set("members", "n2", {"state": "other"}))
        self.assertNoResult(setting)
        gate.callback(None)
        self.successResultOf(setting)
        for node in self.nodes:
            told = json.loads(self.records(node)["members/n1"])
            self.assertEqual(told["value"], {"state": "new"})

    def test_what_lands_late_is_overwritten_again(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[0].script("put", lands_late(lambda: gate))
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        self.now(self.registers.set("members", "n1", {"state": "new"}))
        new = self.records(self.nodes[1])
        gate.callback(None)
        self.assertNotEqual(self.records(self.nodes[0]), new)
        self.now(self.registers.tend())
        self.assertNotEqual(self.records(self.nodes[0]), new)
        self.clock.advance(1201)
        self.nodes[0].script("put", refused())
        self.now(self.registers.tend())
        self.now(self.registers.tend())
        self.assertEqual(self.records(self.nodes[0]), new)

    def test_giving_them_waits_for_one_that_is_set(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[2].script("put", late(lambda: gate))
        self.now(self.registers.set("members", "n1", {"state": "new"}))
        self.nodes[0].buckets[SYSTEM_BUCKET].clear()
        giving = self.run_(self.registers.give(self.nodes[0]))
        self.assertNoResult(giving)
        gate.callback(None)
        self.successResultOf(giving)

    def test_only_what_is_lacking_is_given(self) -> None:
        for name in ("n1", "n2", "n3"):
            self.now(self.registers.set("members", name, {"state": "old"}))
        node = self.nodes[0]
        old = self.records(node)
        self.now(self.registers.set("members", "n1", {"state": "new"}))
        new = self.records(node)
        there = node.buckets[SYSTEM_BUCKET]
        there["members/n1"] = replace(there["members/n1"], data=old["members/n1"])
        del there["members/n2"]
        before = node.requests["put"]
        self.now(self.registers.give(node))
        self.assertEqual(self.records(node), new)
        self.assertEqual(node.requests["put"] - before, 2)

    def test_one_that_only_one_node_has_comes_to_all(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        self.away = {"n1", "n2"}
        self.fails(self.registers.set("members", "n1", {"state": "new"}), NoQuorum)
        self.away = set()
        self.registers.load(self.records(self.nodes[0]))
        self.now(self.registers.tend())
        for node in self.nodes:
            self.assertEqual(self.records(node), self.records(self.nodes[0]))

    def test_one_that_couldnt_be_set_is_what_it_was_before(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        self.away = {"n1", "n2"}
        self.fails(self.registers.set("members", "n1", {"state": "new"}), NoQuorum)
        self.now(self.registers.tend())
        self.away = set()
        self.now(self.registers.tend())
        after = Registers(self.memory, StampClock(self.clock.seconds, "00000002"))
        for node in self.nodes:
            self.assertEqual(self.records(node), self.records(self.nodes[0]))
            after.load(self.records(node))
        register = after.get("members", "n1")
        assert register is not None
        self.assertEqual(register.value, {"state": "old"})

    def test_a_value_is_asked_for_when_its_turn_has_come(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        state = "old"
        self.run_(self.registers.set("members", "n1", {"state": "first"}))
        setting = self.run_(self.registers.set("members", "n1", lambda: {"state": state}))
        state = "new"
        gate.callback(None)
        self.successResultOf(setting)
        register = self.registers.get("members", "n1")
        assert register is not None
        self.assertEqual(register.value, {"state": "new"})

    def test_one_that_cant_be_set_isnt_in_the_way_of_the_next(self) -> None:
        self.away = {"n0", "n1"}
        self.fails(self.registers.set("members", "n1", {"state": "old"}), NoQuorum)
        self.away = set()
        self.now(self.registers.set("members", "n1", {"state": "new"}))

    def test_one_that_couldnt_be_set(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.registers.set("members", "n1", {"state": "new"}), NoQuorum)
        self.assertEqual(self.value(self.registers), {"state": "old"})

    def test_what_cant_be_read_is_passed_by(self) -> None:
        good = b'{"stamp": "%s", "value": {"a": 1}}' % stamp(1).encode()
        self.registers.load(
            {
                "members/n1": good,
                "members/n2": b"?",
                "members/n3": b"[]",
                "members/n4": good.replace(b"018", b"zzz"),
                "members/n5": b'{"stamp": 1, "value": 2}',
                "members/": good,
                "others/n6": good,
            }
        )
        self.assertEqual([each.name for each in self.registers.all("members")], ["n1"])
        self.assertEqual(self.registers.all("others"), [])


class UploadTests(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.uploads = Uploads(self.memory)
        self.told = {"bucket": "object", "key": "k", "uploads": {"n0": "id0", "n1": "id1"}}

    def loaded(self) -> Uploads:
        uploads = Uploads(self.memory)
        for node in self.nodes:
            uploads.load(self.now(self.memory.read(node, "uploads/")))
        return uploads

    def test_remembered_until_it_is_closed(self) -> None:
        self.now(self.uploads.opened(stamp(1), self.told))
        self.assertEqual(self.everywhere(), {f"uploads/{stamp(1)}": 3})
        expected = [OpenUpload(stamp(1), "object", "k", {"n0": "id0", "n1": "id1"})]
        for uploads in (self.uploads, self.loaded()):
            self.assertEqual(uploads.orphans(NOW_S), [])
            self.assertEqual(uploads.orphans(NOW_S + 1), expected)
        self.now(self.uploads.closed(stamp(1)))
        self.assertEqual(self.everywhere(), {})
        self.assertEqual(self.uploads.orphans(NOW_S + 1), [])
        self.now(self.uploads.closed(stamp(1)))

    def test_known_although_it_couldnt_be_written(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.uploads.opened(stamp(1), self.told), NoQuorum)
        self.assertEqual(len(self.uploads.orphans(NOW_S + 1)), 1)

    def test_one_that_couldnt_be_written_is_written_later(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused(), times=None)
        self.fails(self.uploads.opened(stamp(1), self.told), NoQuorum)
        self.uploads.give_up(stamp(1))
        self.assertEqual(self.uploads.unwritten(), {("n0", "id0"), ("n1", "id1")})
        self.fails(self.uploads.tend(), NoQuorum)
        for node in self.nodes:
            node.heal()
        self.now(self.uploads.tend())
        self.assertEqual(self.uploads.unwritten(), set())
        self.assertEqual(len(self.loaded().orphans(NOW_S + 1)), 1)
        self.now(self.uploads.closed(stamp(1)))

    def test_one_that_was_given_up_is_an_orphan_at_once(self) -> None:
        self.now(self.uploads.opened(stamp(1), self.told))
        self.uploads.give_up(stamp(1))
        self.assertEqual([each.id for each in self.uploads.orphans(0)], [stamp(1)])
        self.now(self.uploads.closed(stamp(1)))
        self.assertEqual(self.uploads.orphans(0), [])

    def test_what_cant_be_read_is_passed_by(self) -> None:
        good = b'{"bucket": "b", "key": "k", "uploads": {}}'
        self.uploads.load(
            {
                f"uploads/{stamp(1)}": good,
                f"uploads/{stamp(2)}": b"?",
                f"uploads/{stamp(3)}": b"{}",
                f"uploads/{stamp(4)}": b"[]",
                "uploads/no-stamp": good,
                f"others/{stamp(5)}": good,
            }
        )
        self.assertEqual([each.id for each in self.uploads.orphans(NOW_S + 9)], [stamp(1)])
