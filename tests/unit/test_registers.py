"""Registers, and open uploads."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred

from aosd.consistency.registers import Registers
from aosd.consistency.uploads import Uploads
from aosd.model.errors import NodeFull, NodeRefused, NodeTimeout, NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.stamp import StampClock
from aosd.repair.pausing import Pausing
from aosd.testing.faults import full, lands_late, late, refused, timed_out
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

    def test_it_is_sure_once_enough_nodes_have_it_and_no_other(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        self.assertTrue(self.registers.is_sure("members", "n1"))
        for node in self.nodes[1:]:
            node.script("put", refused())
        self.fails(self.registers.set("members", "n1", {"state": "new"}), NoQuorum)
        self.assertFalse(self.registers.is_sure("members", "n1"))
        self.assertTrue(self.registers.is_sure("members", "n2"))
        follower = self.loaded()  # one node told it
        self.assertFalse(follower.is_sure("members", "n1"))
        for registers in (self.registers, follower):
            self.now(registers.set("members", "n1", {"state": "old"}))
            self.assertTrue(registers.is_sure("members", "n1"))

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

    def test_who_refused_one_or_was_passed_by_is_given_it(self) -> None:
        self.nodes[0].script("put", full())
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        self.away = {"n1"}
        self.now(self.registers.set("members", "n2", {"state": "old"}))
        self.assertEqual(self.everywhere(), {"members/n1": 2, "members/n2": 2})
        self.now(self.registers.tend())
        self.assertEqual(self.everywhere(), {"members/n1": 3, "members/n2": 2})
        self.away = set()
        self.nodes[1].script("put", refused())
        for there in (2, 3):
            self.now(self.registers.tend())
            self.assertEqual(self.everywhere()["members/n2"], there)
        before = [node.requests["put"] for node in self.nodes]
        self.now(self.registers.tend())
        self.assertEqual([node.requests["put"] for node in self.nodes], before)

    def test_who_has_a_newer_one_isnt_given_the_one_that_it_refused(self) -> None:
        self.nodes[0].script("put", refused())
        for state in ("old", "new"):
            self.now(self.registers.set("members", "n1", {"state": state}))
        before = self.nodes[0].requests["put"]
        self.now(self.registers.tend())
        self.assertEqual(self.nodes[0].requests["put"], before)

    def test_one_that_is_refused_again_as_it_is_given_is_owed_yet(self) -> None:
        node = self.nodes[0]
        node.script("put", refused())
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        gate: Deferred[None] = Deferred()
        node.script("put", late(lambda: gate))
        tending = self.run_(self.registers.tend())
        setting = self.run_(self.registers.set("members", "n1", {"state": "new"}))
        node.script("put", refused())
        gate.callback(None)
        self.successResultOf(tending)
        self.successResultOf(setting)
        self.now(self.registers.tend())
        for each in self.nodes:
            self.assertEqual(self.records(each), self.records(self.nodes[1]))

    def test_one_that_couldnt_be_set_is_owed_to_nobody(self) -> None:
        self.away = {"n0", "n1"}
        self.fails(self.registers.set("members", "n1", {"state": "old"}), NoQuorum)
        self.away = set()
        for _ in range(2):
            self.now(self.registers.tend())
        self.assertEqual(self.everywhere(), {})

    def test_a_run_that_follows_gives_it_to_who_was_read_and_has_none(self) -> None:
        self.nodes[0].script("put", refused())
        self.now(self.registers.set("members", "n2", {"state": "old"}))
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        after = self.make("0000000b")
        for node in self.nodes:
            after.load(self.now(self.memory.read(node, "")), node.name)
        before = [node.requests["put"] for node in self.nodes]
        self.now(after.tend())
        self.assertEqual(self.everywhere(), {"members/n1": 3, "members/n2": 3})
        given = [node.requests["put"] - was for node, was in zip(self.nodes, before, strict=True)]
        self.assertEqual(given, [1, 0, 0])

    def test_whether_these_nodes_have_all_on_enough_of_them(self) -> None:
        for node in self.nodes[1:]:
            node.script("put", refused())
            self.assertEqual(self.registers.lacking({"n0", "n1", "n2"}), "")
            self.now(self.registers.set("members", node.name, {"state": "old"}))
        self.assertEqual(self.registers.lacking({"n0", "n1", "n2"}), "")
        self.assertEqual(self.registers.lacking({"n0", "n1"}), "members/n1")
        self.assertEqual(self.registers.lacking({"n0", "n2"}), "members/n2")
        self.assertEqual(self.registers.lacking({"n0"}), "")
        self.assertEqual(self.registers.lacking({"n1"}), "members/n1")
        for node in self.nodes[:2]:
            self.now(self.registers.give(node))
        self.assertEqual(self.registers.lacking({"n0", "n1"}), "")
        self.assertEqual(self.registers.lacking({"n0", "n2"}), "members/n2")
        after = self.make("0000000b")
        for each in self.nodes:
            after.load(self.now(self.memory.read(each, "")), each.name)
        self.now(after.confirm())
        self.assertEqual(after.lacking({"n0", "n2"}), "members/n2")

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

    def test_one_whose_setting_is_cut_short_is_what_it_was_before(self) -> None:
        self.now(self.registers.set("members", "n1", {"state": "old"}))
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        setting = self.run_(self.registers.set("members", "n1", {"state": "new"}))
        setting.cancel()
        self.failureResultOf(setting, CancelledError)
        gate.callback(None)
        self.assertEqual(self.value(self.loaded()), {"state": "new"})
        self.now(self.registers.tend())
        self.assertEqual(self.value(self.registers), {"state": "old"})
        self.assertEqual(self.value(self.loaded()), {"state": "old"})

    def test_a_pause_that_couldnt_be_set_is_found_by_no_run(self) -> None:
        for node in self.nodes[1:]:
            node.script("put", refused())
        setting = self.run_(self.registers.set("repair", "pause", {"paused": True}))
        self.failureResultOf(setting, NoQuorum)
        self.assertEqual(self.everywhere(), {"repair/pause": 1})
        self.now(self.registers.tend())
        after = Registers(self.memory, StampClock(self.clock.seconds, "00000002"))
        for node in self.nodes:
            self.assertEqual(self.records(node), self.records(self.nodes[0]))
            after.load(self.records(node))
        self.assertFalse(Pausing(after).paused)

    def test_a_pause_that_couldnt_be_set_isnt_in_the_way_of_the_next(self) -> None:
        self.away = {"n1", "n2"}
        self.fails(self.registers.set("repair", "pause", {"paused": True}), NoQuorum)
        self.now(self.registers.tend())
        self.away = set()
        self.now(self.registers.set("repair", "pause", {"paused": True}))
        for _ in range(2):
            self.clock.advance(1300.0)
            self.now(self.memory.tend())
            self.now(self.registers.tend())
        self.assertEqual(self.everywhere(), {"repair/pause": 3})
        self.assertTrue(Pausing(self.registers).paused)

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


def at(number: int) -> str:
    """The stamp of an upload so many seconds after NOW_S."""
    return stamp(number, number)


class UploadTests(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.uploads = Uploads(self.memory)
        self.by_name = {node.name: node for node in self.nodes}
        for node in self.nodes:
            node.buckets["object"] = {}

    def loaded(self) -> Uploads:
        uploads = Uploads(self.memory)
        for node in self.nodes:
            uploads.load(self.now(self.memory.read(node, "uploads/")))
        return uploads

    def begin(self, number: int = 1, names: str = "01", key: str = "k") -> None:
        nodes = [f"n{each}" for each in names]
        self.now(self.uploads.begin(at(number), "object", key, nodes))

    def create(self, name: str, number: int = 1) -> str:
        return self.now(self.uploads.create(at(number), self.by_name[name], ()))

    def tend(self, uploads: Uploads, before_s: float = 0.0, but: str = "") -> None:
        nodes = {name: node for name, node in self.by_name.items() if name != but}
        self.now(uploads.tend(nodes, before_s))

    def open_(self) -> list[int]:
        return [len(node.uploads) for node in self.nodes]

    def end(self, *names: str) -> None:
        for name in names:
            self.now(self.uploads.abort(at(1), self.by_name[name]))
        self.now(self.uploads.over(at(1)))

    def test_remembered_from_before_it_begins_until_it_ended_everywhere(self) -> None:
        self.begin()
        self.assertEqual(self.everywhere(), {f"uploads/{at(1)}": 3})
        self.assertEqual(self.open_(), [0, 0, 0])
        self.create("n0")
        self.create("n1")
        self.uploads.ended(at(1), "n1")  # it was completed
        self.end("n0")
        self.assertEqual(self.everywhere(), {})
        self.assertEqual(self.open_(), [0, 1, 0])
        self.by_name["n1"].uploads.clear()

    def test_one_that_cant_be_remembered_isnt_begun(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.uploads.begin(at(1), "object", "k", ["n0"]), NoQuorum)
        self.assertEqual(self.everywhere(), {})
        self.assertEqual(self.open_(), [0, 0, 0])

    def test_a_node_that_refuses_to_begin_it_has_none(self) -> None:
        self.begin()
        self.create("n0")
        self.by_name["n1"].script("create_upload", full())
        self.fails(self.uploads.create(at(1), self.by_name["n1"], ()), NodeFull)
        self.end("n0", "n1")
        self.assertEqual(self.everywhere(), {})

    def test_what_couldnt_be_aborted_is_aborted_when_it_can_be(self) -> None:
        self.begin()
        self.create("n0")
        self.create("n1")
        self.by_name["n1"].script("abort_upload", refused())
        self.end("n0", "n1")
        self.assertEqual(self.open_(), [0, 1, 0])
        self.tend(self.uploads, but="n1")
        self.assertEqual(self.open_(), [0, 1, 0])
        self.tend(self.uploads)
        self.assertEqual(self.open_(), [0, 0, 0])
        self.assertEqual(self.everywhere(), {})

    def test_a_node_that_lost_the_end_of_one_is_told_again(self) -> None:
        n0, n1 = self.nodes[:2]
        self.begin()
        self.create("n0")
        self.create("n1")
        before, record = dict(n0.uploads), self.now(self.memory.read(n0, "uploads/"))
        n1.script("abort_upload", refused(), times=2)
        self.end("n0", "n1")
        self.assertEqual(self.open_(), [0, 1, 0])
        for lost in (n0, n1):
            # As it was before, the second time after all was forgotten.
            lost.uploads.update(before)
            self.now(self.memory.give(lost, record))
            self.assertEqual(len(self.uploads.all()), int(lost is n0))
            self.uploads.load(self.now(self.memory.read(lost, "uploads/")), lost.name)
            for _ in range(2):
                self.tend(self.uploads)
            self.assertEqual(self.open_(), [0, 0, 0])
            self.assertEqual(self.everywhere(), {})

    def test_a_node_that_refused_to_begin_it_isnt_asked_to_end_it(self) -> None:
        n0 = self.nodes[0]
        self.begin()
        n0.script("create_upload", full())
        self.fails(self.uploads.create(at(1), n0, ()), NodeFull)
        self.create("n1")
        self.uploads.load(self.now(self.memory.read(n0, "uploads/")), "n0")
        self.end("n0", "n1")
        self.assertEqual(self.everywhere(), {})

    def test_one_in_use_isnt_touched(self) -> None:
        self.begin()
        self.create("n0")
        self.tend(self.uploads, NOW_S)
        self.assertEqual(self.open_(), [1, 0, 0])
        self.end("n0", "n1")
        self.by_name["n0"].uploads.clear()

    def test_an_old_one_whose_answer_was_lost(self) -> None:
        self.begin()
        self.create("n0")
        self.by_name["n1"].script("create_upload", timed_out(carried_out=True))
        self.fails(self.uploads.create(at(1), self.by_name["n1"], ()), NodeTimeout)
        self.end("n0", "n1")
        self.assertEqual(self.open_(), [0, 1, 0])
        self.tend(self.uploads, NOW_S)
        self.assertEqual(self.open_(), [0, 1, 0])
        for _ in range(2):  # what was aborted is looked for once more
            self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.open_(), [0, 0, 0])
        self.assertEqual(self.everywhere(), {})

    def test_old_ones_of_a_run_that_is_over(self) -> None:
        for number in (1, 2):
            self.begin(number)
            self.create("n0", number)
            self.create("n1", number)
        self.begin(3, key="other")
        self.create("n1", 3)
        after = self.loaded()
        self.tend(after, NOW_S)
        self.assertEqual(self.open_(), [2, 3, 0])
        self.by_name["n0"].script("list_uploads", refused())
        self.by_name["n1"].script("abort_upload", refused())
        for _ in range(3):
            self.tend(after, NOW_S + 3)
        self.assertEqual(self.open_(), [0, 1, 0])
        self.assertEqual(self.everywhere(), {f"uploads/{at(3)}": 3})
        for _ in range(2):
            self.tend(after, NOW_S + 9)
        self.assertEqual(self.open_(), [0, 0, 0])
        self.assertEqual(self.everywhere(), {})

    def test_one_that_ended_comes_back_with_a_node(self) -> None:
        """It is looked for though nobody remembers its ids, among those that others are at."""
        self.begin()
        self.create("n0")
        self.create("n1")
        before = self.records(self.nodes[2])
        self.end("n0", "n1")
        stamps = StampClock(self.clock.seconds, "0000000a")
        self.uploads = Uploads(self.memory, stamps.is_own)
        self.begin(2)
        living = self.create("n0", 2)
        self.uploads.load(before)
        self.assertEqual(self.uploads.open_on("n1"), 2)
        self.create_on("n0", "k")  # its disk has fallen back
        self.tend(self.uploads, but="n1")
        self.tend(self.uploads)
        self.assertEqual(list(self.by_name["n0"].uploads), [living])
        self.assertEqual([each.id for each in self.uploads.all()], [at(2)])
        self.assertEqual(self.everywhere(), {f"uploads/{at(2)}": 3})
        self.by_name["n0"].uploads.clear()

    def test_one_of_a_run_before_that_ended_comes_back_with_a_node(self) -> None:
        self.begin()
        before = self.records(self.nodes[2])
        self.uploads = self.loaded()
        self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.everywhere(), {})
        self.uploads.load(before)
        self.tend(self.uploads)
        self.assertEqual(self.uploads.all(), [])

    def test_two_that_come_back_are_in_nobodys_way(self) -> None:
        stamps = StampClock(self.clock.seconds, "0000000a")
        self.uploads = Uploads(self.memory, stamps.is_own)
        record = b'{"bucket": "object", "key": "k", "nodes": ["n0"]}'
        self.uploads.load({f"uploads/{at(number)}": record for number in (1, 2)})
        for _ in range(2):
            self.create_on("n0", "k")
        for _ in range(2):
            self.tend(self.uploads)
        self.assertEqual(self.open_(), [0, 0, 0])
        self.assertEqual(self.uploads.all(), [])

    def test_what_others_are_at_isnt_an_orphan(self) -> None:
        self.begin(1)
        self.create("n0", 1)
        old = NOW_S + 2
        self.uploads = after = self.loaded()
        self.begin(2)
        self.tend(after, old)  # that of the second one might be among them
        self.assertEqual(self.open_(), [1, 0, 0])
        mine = self.create("n0", 2)
        for _ in range(2):
            self.tend(after, old)
        self.assertEqual(list(self.by_name["n0"].uploads), [mine])
        self.assertEqual(self.everywhere(), {f"uploads/{at(2)}": 3})
        self.by_name["n0"].uploads.clear()

    def test_one_that_takes_longer_than_that_is_let_be(self) -> None:
        self.begin()
        self.create("n0")
        self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.open_(), [1, 0, 0])
        self.uploads.ended(at(1), "n0")
        self.end("n1")
        self.by_name["n0"].uploads.clear()
        for _ in range(2):
            self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.everywhere(), {})

    def test_younger_ones_of_unknown_id_are_in_nobodys_way(self) -> None:
        self.begin(1)
        self.create("n0", 1)
        self.uploads = after = self.loaded()
        self.begin(2, "0")
        self.by_name["n0"].script("create_upload", refused())
        self.fails(after.create(at(2), self.by_name["n0"], ()), NodeRefused)
        self.now(after.over(at(2)))
        for _ in range(2):
            self.tend(after, NOW_S + 2)
        self.assertEqual(self.open_(), [0, 0, 0])
        self.assertEqual(self.everywhere(), {f"uploads/{at(2)}": 3})

    def test_what_cant_be_read_is_passed_by(self) -> None:
        good = b'{"bucket": "object", "key": "k", "nodes": ["n0"]}'
        self.create_on("n0", "k")
        self.uploads.load(
            {
                f"uploads/{at(2)}": b"?",
                f"uploads/{at(3)}": b"{}",
                f"uploads/{at(4)}": b"[]",
                "uploads/no-stamp": good,
                f"others/{at(5)}": good,
            }
        )
        self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.open_(), [1, 0, 0])
        self.uploads.load({f"uploads/{at(1)}": good})
        self.tend(self.uploads, NOW_S + 9)
        self.assertEqual(self.open_(), [0, 0, 0])

    def create_on(self, name: str, key: str) -> None:
        self.successResultOf(self.by_name[name].create_upload("object", key, ()))
