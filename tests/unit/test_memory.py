"""The cluster's memory: records on the nodes."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError, Deferred

from aosd.model.errors import NodeRefused, NodeTimeout, NodeUnavailable, NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.faults import (
    NO_FAULT,
    breaks,
    full,
    lands_late,
    late,
    refused,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode
from tests.unit.memory_case import MemoryTestCase


def _same(gate: Deferred[None]) -> Deferred[None]:
    return gate


class WriteTests(MemoryTestCase):
    def test_every_node_gets_it(self) -> None:
        self.now(self.memory.write("a/b", b"{}"))
        self.assertEqual(self.everywhere(), {"a/b": 3})
        head = self.nodes[0].buckets[SYSTEM_BUCKET]["a/b"].head
        self.assertIn((b"content-type", b"application/json"), head.headers)

    def test_an_empty_record(self) -> None:
        self.now(self.memory.write("a", b""))
        self.assertEqual(self.records(self.nodes[0]), {"a": b""})

    def test_all_are_asked_at_once_and_two_are_enough(self) -> None:
        gates: list[Deferred[None]] = [Deferred() for _ in self.nodes]
        for node, gate in zip(self.nodes, gates, strict=True):
            node.script("put", late(partial(_same, gate)))
        writing = self.run_(self.memory.write("a", b"1"))
        self.assertEqual([node.requests["put"] for node in self.nodes], [1, 1, 1])
        gates[1].callback(None)
        self.assertNoResult(writing)
        gates[2].callback(None)
        self.successResultOf(writing)
        idle = self.run_(self.to_the_end.idle())
        self.assertNoResult(idle)
        gates[0].callback(None)
        self.successResultOf(idle)
        self.assertEqual(self.everywhere(), {"a": 3})

    def test_an_answer_that_takes_longer_than_a_late_write_may(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[0].script("put", late(lambda: gate))
        writing = self.run_(self.memory.write("a", b"1"))
        self.successResultOf(writing)
        self.clock.advance(1300.0)
        self.assertEqual(self.memory.maybe_late(), [("n0", "a")])
        gate.callback(None)
        self.now(self.to_the_end.idle())
        self.assertEqual(self.memory.maybe_late(), [])

    def test_what_may_land_yet(self) -> None:
        self.nodes[0].script("put", timed_out())
        self.now(self.memory.write("a/b", b"1"))
        self.nodes[1].script("put", timed_out())
        self.fails(self.memory.give(self.nodes[1], {"c/d": b"1"}), NodeTimeout)
        self.nodes[2].script("put", refused())
        self.fails(self.memory.give(self.nodes[2], {"e/f": b"1"}), NodeRefused)
        self.now(self.memory.give(self.nodes[2], {"e/f": b"1"}))
        self.assertEqual([self.memory.may_land(each) for each in ("a/", "c/", "e/")], [1, 1, 0])

    def test_a_straggler_may_fail(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[0].script("put", late(lambda: gate))
        self.nodes[0].script("put", NO_FAULT)
        self.now(self.memory.write("a", b"1"))
        gate.errback(NodeTimeout("n0", "too late"))
        self.assertEqual(self.everywhere(), {"a": 2})

    def test_one_of_three_may_fail_whichever_way(self) -> None:
        for fault in (full(), refused(), unavailable(), timed_out(), breaks(0)):
            self.nodes[1].script("put", fault)
            self.now(self.memory.write("a", b"1"))

    def test_too_few_are_told_after_all_have_ended(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[0].script("put", full())
        self.nodes[1].script("put", timed_out(carried_out=True))
        self.nodes[2].script("put", late(lambda: gate))
        writing = self.run_(self.memory.write("a", b"1"))
        self.assertNoResult(writing)
        gate.callback(None)
        self.failureResultOf(writing, NoQuorum)
        self.assertEqual(self.everywhere(), {"a": 2})

    def test_too_few_that_can_be_asked(self) -> None:
        self.away = {"n0", "n1"}
        self.fails(self.memory.write("a", b"1"), NoQuorum)
        self.away = {"n0"}
        self.now(self.memory.write("a", b"1"))

    def test_no_member_at_all(self) -> None:
        self.nodes.clear()
        self.fails(self.memory.write("a", b"1"), NoQuorum)

    def test_cancelling_ends_only_the_wait(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        writing = self.run_(self.memory.write("a", b"1"))
        writing.cancel()
        self.failureResultOf(writing, CancelledError)
        gate.callback(None)
        self.assertEqual(self.everywhere(), {"a": 3})


class LoneCopyTests(MemoryTestCase):
    replicas = 1

    def test_two_must_remember_even_with_one_copy(self) -> None:
        self.nodes[0].script("put", refused())
        self.nodes[1].script("put", refused())
        self.fails(self.memory.write("a", b"1"), NoQuorum)

    def test_the_only_member_is_enough(self) -> None:
        del self.nodes[1:]
        self.now(self.memory.write("a", b"1"))


class RemoveTests(MemoryTestCase):
    def test_from_every_node_that_can_be_asked(self) -> None:
        for key in "abc":
            self.now(self.memory.write(key, b"1"))
        self.away = {"n2"}
        self.now(self.memory.remove(["a", "b", "never there"]))
        self.assertEqual(self.everywhere(), {"a": 1, "b": 1, "c": 3})

    def test_what_cant_be_removed_stays(self) -> None:
        for key in "abc":
            self.now(self.memory.write(key, b"1"))
        self.nodes[0].script("delete", refused(), times=None)
        self.nodes[1].script("delete", timed_out())
        self.now(self.memory.remove(iter("abc")))
        self.assertEqual(self.everywhere(), {"a": 2, "b": 1, "c": 1})

    def test_what_couldnt_be_removed_is_removed_later(self) -> None:
        self.now(self.memory.write("a", b"1"))
        self.nodes[0].script("delete", refused())
        self.now(self.memory.remove(["a"]))
        self.assertEqual(self.everywhere(), {"a": 1})
        self.away = {"n0"}
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {"a": 1})
        self.away = set()
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {})
        self.nodes[0].requests.clear()
        self.now(self.memory.tend())
        self.assertEqual(self.nodes[0].requests["delete"], 0)

    def test_a_node_that_is_returning_may_be_read_first(self) -> None:
        for key in "ab":
            self.now(self.memory.write(key, b"1"))
        self.returning = {"n0"}
        self.now(self.memory.remove(["a"]))
        self.now(self.memory.remove(["b"], but_returning=True))
        self.now(self.memory.tend())
        self.assertEqual(self.records(self.nodes[0]), {"b": b"1"})
        self.returning = set()
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {})

    def test_what_is_of_use_again_stays(self) -> None:
        self.now(self.memory.write("a", b"1"))
        self.nodes[0].script("delete", refused())
        self.now(self.memory.remove(["a"]))
        self.memory.keep("a")
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {"a": 1})
        self.now(self.memory.remove(["a"]))
        self.assertEqual(self.everywhere(), {})

    def test_what_lands_after_it_was_removed_is_removed_again(self) -> None:
        gate: Deferred[None] = Deferred()
        self.nodes[0].script("put", lands_late(lambda: gate))
        self.now(self.memory.write("a", b"1"))
        self.now(self.memory.remove(["a"]))
        gate.callback(None)
        self.assertEqual(self.everywhere(), {"a": 1})
        # Another one could come as long as the window is open.
        self.clock.advance(1199)
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {"a": 1})
        self.clock.advance(1)
        self.now(self.memory.tend())
        self.assertEqual(self.everywhere(), {})

    def test_what_lands_behind_its_removal_and_is_answered_before_it(self) -> None:
        landing: Deferred[None] = Deferred()
        removal: Deferred[None] = Deferred()
        self.nodes[2].script("put", late(lambda: landing))
        self.now(self.memory.write("a", b"1"))
        self.nodes[2].script("delete", late(lambda: removal, carried_out=True))
        removing = self.run_(self.memory.remove(["a"]))
        landing.callback(None)
        removal.callback(None)
        self.successResultOf(removing)
        self.assertIn("a", self.nodes[2].buckets[SYSTEM_BUCKET])
        self.now(self.memory.tend())
        self.assertNotIn("a", self.nodes[2].buckets[SYSTEM_BUCKET])

    def test_what_was_answered_is_removed_once(self) -> None:
        self.nodes[1].script("put", refused())
        self.now(self.memory.write("a", b"1"))
        self.now(self.memory.remove(["a"]))
        self.clock.advance(1201)
        self.now(self.memory.tend())
        self.assertEqual([node.requests["delete"] for node in self.nodes], [1, 1, 1])

    def test_some_at_a_time(self) -> None:
        gates: list[Deferred[None]] = []

        def gate() -> Deferred[None]:
            gates.append(Deferred())
            return gates[-1]

        for node in self.nodes:
            node.script("delete", late(gate), times=None)
        removing = self.run_(self.memory.remove(f"k{number}" for number in range(20)))
        self.assertEqual(len(gates), 16)
        gates[3].callback(None)
        self.assertEqual(len(gates), 17)
        for each in gates:  # grows meanwhile
            if not each.called:
                each.callback(None)
        self.successResultOf(removing)
        self.assertEqual(len(gates), 60)


class ReadTests(MemoryTestCase):
    def put(self, node: MemoryNode, *keys: str) -> None:
        self.now(self.memory.give(node, {key: key.encode() for key in keys}))

    def test_what_lies_under_a_prefix(self) -> None:
        self.put(self.nodes[0], "a/1", "a/2", "b/1", "b", "a/x/y")
        found = self.now(self.memory.read(self.nodes[0], "a/"))
        self.assertEqual(found, {"a/1": b"a/1", "a/2": b"a/2", "a/x/y": b"a/x/y"})
        self.assertEqual(len(self.now(self.memory.read(self.nodes[0], ""))), 5)
        self.assertEqual(self.now(self.memory.read(self.nodes[1], "")), {})

    def test_more_than_a_page_asks_for_each_page_once(self) -> None:
        keys = [f"marks/{number % 40:05d}/{number:032x}/s" for number in range(2500)]
        self.put(self.nodes[0], *keys)
        self.nodes[0].requests.clear()
        self.assertEqual(self.now(self.memory.names(self.nodes[0], "marks/")), set(keys))
        self.assertEqual(self.nodes[0].requests["list"], 3)

    def test_on_a_node_that_lists_in_the_order_of_its_folders(self) -> None:
        node = MemoryNode("t", tree_order=True)
        keys = [f"marks/{n % 7:05d}/{n:032x}/s" for n in range(1500)]
        keys += [f"journal/{n:012x}-0000-0000000a-1-ff" for n in range(1500)]
        keys += ["node.json", "members/n1", "members/n1-x", "members/n1.x"]
        self.put(node, *keys)
        self.assertEqual(self.now(self.memory.names(node, "")), set(keys))

    def test_in_folders_whose_order_isnt_s3s(self) -> None:
        node = MemoryNode("t", tree_order=True)
        keys = [f"{name}{n:04d}" for n in range(700) for name in ("a-b/", "a/", "a.b/")]
        self.put(node, *keys)
        node.requests.clear()
        self.assertEqual(self.now(self.memory.names(node, "")), set(keys))
        self.assertEqual(node.requests["list"], 1 + 1 + 3)  # one page, the root, the folders

    def test_a_node_without_the_bucket_has_none(self) -> None:
        self.nodes[0].wipe()
        self.assertEqual(self.now(self.memory.read(self.nodes[0], "a/")), {})

    def test_one_that_goes_meanwhile_is_left_out(self) -> None:
        self.put(self.nodes[0], "a")
        self.assertEqual(self.now(self.memory.fetch(self.nodes[0], ["a", "b"])), {"a": b"a"})

    def test_errors_of_the_node(self) -> None:
        self.put(self.nodes[0], *(f"a{number}" for number in range(40)))
        self.nodes[0].script("list", refused())
        self.fails(self.memory.read(self.nodes[0], ""), NodeRefused)
        self.nodes[0].script("get", NO_FAULT, times=20)
        self.nodes[0].script("get", breaks(1))
        self.fails(self.memory.read(self.nodes[0], ""), NodeUnavailable)
        self.assertLess(self.nodes[0].requests["get"], 40)
        self.nodes[0].script("put", full())
        self.fails(self.memory.give(self.nodes[0], {"a": b"1"}), NodeRefused)
