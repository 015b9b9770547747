"""The sweep: everything compared, what lies right at no cost, the rest mended."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.writes import Writes
from aosd.model.errors import NodeNonsense
from aosd.model.node import Member, NodeState
from aosd.model.objects import STAMP_HEADER
from aosd.model.ring import Ring
from aosd.model.versions import foreign_stamp
from aosd.repair.mend import Mender
from aosd.repair.pace import Pace
from aosd.repair.sweep import Sweep, Swept
from aosd.repair.walk import Windows
from aosd.testing.faults import Fault, late, refused, stalls, unavailable
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

S1, S2, S3 = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2, 3))
NOW_S = 1_700_000_000.0
LONG_AGO_S = NOW_S - 10_000
BUCKET = "object"


class SweepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        nodes = [
            MemoryNode(f"n{each}", now=self.clock.seconds, tree_order=each == 2)
            for each in range(1, 6)
        ]
        self.nodes = nodes
        self.by_name = {node.name: node for node in nodes}
        self.placement = MemoryPlacement(nodes)
        self.store = store = make_store(self.placement, self.clock, replicas=2)
        store.settledness.ring_changed()
        self.mender = Mender(
            placement=store.placement,
            replicas=2,
            copier=store.copying,
            turns=store.turns,
            writes=store.writes,
            journal=store.journal,
            marks=store.marks,
            stamps=store.stamps,
            settled=store.settledness,
        )
        self.windows = Windows(store.writes)
        for _ in range(3):
            self.windows.roll()  # it is known that nothing was written lately
        self.rolling = LoopingCall(self.windows.roll)
        self.rolling.clock = self.clock
        self.rolling.start(self.windows.interval_s, now=False)

    def tearDown(self) -> None:
        self.rolling.stop()
        self.windows.end()
        self.assertEqual(len(self.store.turns), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.store.writes._told, {})

    def sweep(self, **more: Any) -> Sweep:
        made: dict[str, Any] = {
            "placement": self.placement,
            "replicas": 2,
            "mender": self.mender,
            "windows": self.windows,
            "clock": self.clock,
            "buckets": lambda: [BUCKET],
            "keys": Pace(self.clock, math.inf),
            "copied": Pace(self.clock, math.inf),
            "agreed_since_s": NOW_S,
        }
        return Sweep(**(made | more))

    def run_sweep(self, **more: Any) -> Swept:
        return self.successResultOf(Deferred.fromCoroutine(self.sweep(**more).run()))

    def order(self, key: str) -> list[MemoryNode]:
        return [self.by_name[name] for name in self.placement.ring.order(BUCKET, key)]

    def lay(
        self,
        node: MemoryNode,
        key: str,
        data: bytes = b"v",
        stamp: str | None = S1,
        modified_s: float = LONG_AGO_S,
        bucket: str = BUCKET,
    ) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        headers = () if stamp is None else ((STAMP_HEADER, stamp.encode()),)
        there = node.buckets.setdefault(bucket, {})
        there[key] = Copy(data, f'"{md5}"', modified_s, headers)

    def lay_right(self, *keys: str, **how: Any) -> None:
        for key in keys:
            order = self.placement.ring.order(how.get("bucket", BUCKET), key)
            for name in order[:2]:
                self.lay(self.by_name[name], key, **how)

    def asked(self, method: str) -> int:
        return sum(node.requests[method] for node in self.nodes)

    def assert_right(self, *keys: str) -> None:
        for key in keys:
            holders = [node.name for node in self.order(key) if key in node.buckets[BUCKET]]
            self.assertEqual(holders, [node.name for node in self.order(key)[:2]], key)

    # -- what came with a node --------------------------------------------------------------

    def test_what_came_with_a_node_gets_its_copies(self) -> None:
        keys = [f"k{number}" for number in range(20)]
        self.placement.stray_names = {"n3"}
        for key in keys:
            self.lay(self.by_name["n3"], key, stamp=None)
        strays = [key for key in keys if self.by_name["n3"] not in self.order(key)[:2]]
        swept = self.run_sweep(agreed_since_s=None)
        self.assertEqual((swept.unmended, swept.reported, swept.removed), (0, 0, len(strays)))
        self.assert_right(*keys)

    def test_a_key_that_nobody_can_ask_for_is_left_where_it_lies(self) -> None:
        self.placement.stray_names = {"n3"}
        self.lay(self.by_name["n3"], "a//b", stamp=None)
        swept = self.run_sweep(agreed_since_s=None)
        self.assertEqual((swept.unmended, swept.made, swept.reported), (0, 0, 1))
        self.assertEqual(swept.covered, frozenset(self.by_name))
        ((bucket, key, report),) = swept.reports
        self.assertEqual((bucket, key, report.node), (BUCKET, "a//b", "n3"))
        self.assertIn("left where it lies", report.why)
        self.assertEqual(self.asked("head"), 0)

    def test_an_object_that_is_a_folder_too_is_kept_and_told_of(self) -> None:
        for hides, told in ((True, ["a/b"]), (False, [])):
            self.placement.hides["n1"] = hides
            self.lay_right("a", "a/b", "c")
            swept = self.run_sweep()
            self.assertEqual(sorted({key for _, key, _ in swept.reports}), told)
            self.assert_right("a", "a/b", "c")

    # -- what listings tell -----------------------------------------------------------------

    def tells(self, *nodes: MemoryNode) -> None:
        for node in nodes:
            node.disk.tells_stamps = True

    def swept_late(self, before_it: Callable[[], object] = lambda: None) -> Swept:
        """Its pages are asked for when it has gone on for a while."""
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("list", late(lambda: gate))
        self.lay_right("0first", bucket="early")
        made = Deferred.fromCoroutine(
            self.sweep(compare=frozenset(self.by_name), buckets=lambda: ["early", BUCKET]).run()
        )
        for _ in range(5):
            self.clock.advance(10)
        before_it()
        gate.callback(None)
        return self.successResultOf(made)

    def test_stamps_that_are_listed_arent_asked_for(self) -> None:
        self.tells(*self.nodes)
        self.lay_right("a", "b/c", "d")
        swept = self.swept_late()
        self.assertEqual((swept.keys, swept.compared), (4, 1))  # the early one

    def test_they_are_where_one_doesnt_tell(self) -> None:
        self.tells(*self.nodes[1:])
        self.lay_right("a", "b/c", "d")
        keys = ["a", "b/c", "d"]
        swept = self.swept_late()
        odd = [key for key in keys if self.nodes[0] in self.order(key)[:2]]
        self.assertEqual(swept.compared, 1 + len(odd))

    def test_listed_stamps_that_differ_are_mended(self) -> None:
        self.tells(*self.nodes)
        one, other = self.order("a")[:2]
        self.lay(one, "a", stamp=S2)
        self.lay(other, "a", stamp=S1)
        swept = self.swept_late()
        self.assertEqual(swept.made, 1)
        self.assertEqual({one.buckets[BUCKET]["a"].stamp, other.buckets[BUCKET]["a"].stamp}, {S2})

    def test_listed_stamps_of_what_is_dead_say_nothing(self) -> None:
        self.tells(*self.nodes)
        self.lay_right("a", "d")
        self.successResultOf(Deferred.fromCoroutine(self.store.journal.deleted(BUCKET, "d", S2)))
        swept = self.swept_late()
        self.assertEqual(swept.compared, 2)
        self.assertEqual(swept.removed, 2)

    def test_foreign_objects_are_told_by_their_times_and_their_copies_by_stamps(self) -> None:
        self.tells(*self.nodes)
        for key, modified_s in (("same", LONG_AGO_S + 0.7), ("other", LONG_AGO_S + 1.2)):
            original, copy = self.order(key)[:2]
            self.lay(original, key, stamp=None, modified_s=modified_s)
            etag = original.buckets[BUCKET][key].etag
            self.lay(copy, key, stamp=foreign_stamp(int(LONG_AGO_S), etag))
        swept = self.swept_late()
        self.assertEqual((swept.compared, swept.made), (2, 1))
        stamps = [node.buckets[BUCKET]["other"].stamp for node in self.order("other")[:2]]
        self.assertIn(foreign_stamp(int(LONG_AGO_S) + 1, etag), stamps)

    def test_what_was_written_of_late_is_looked_at(self) -> None:
        self.tells(*self.nodes)
        self.lay_right("a", "b")
        swept = self.swept_late(lambda: self.store.writes.effect(BUCKET, "a", S2))
        self.assertEqual(swept.compared, 2)

    def test_at_the_beginning_nothing_is_known_of_what_was_written_before(self) -> None:
        self.tells(*self.nodes)
        self.lay_right("a", "b")
        swept = self.run_sweep(compare=frozenset(self.by_name), windows=Windows(Writes()))
        self.assertEqual(swept.compared, 2)

    def test_they_are_asked_for_where_many_keys_were_written_since_the_last_sweep(self) -> None:
        asked: list[tuple[str, bool]] = []
        for node in self.nodes:
            listing = node.list

            def list_(bucket: str, *rest: Any, stamps: bool = False, listing: Any = listing) -> Any:
                asked.append((bucket, stamps))
                return listing(bucket, *rest, stamps=stamps)

            node.list = list_  # type: ignore[method-assign]
        for bucket, modified_s in (("b1", LONG_AGO_S), ("b2", NOW_S + 9), ("b3", LONG_AGO_S)):
            for key in map(str, range(60)):
                names = self.placement.ring.order(bucket, key)[:2]
                for name in names:
                    self.lay(self.by_name[name], key, modified_s=modified_s, bucket=bucket)
        swept = self.run_sweep(buckets=lambda: ["b1", "b2", "b3", "b4"])
        self.assertEqual((swept.keys, swept.compared), (180, 60))
        told = {bucket: {stamps for each, stamps in asked if each == bucket} for bucket, _ in asked}
        self.assertEqual(told, {"b1": {False}, "b2": {False}, "b3": {True}, "b4": {False}})

    def test_metadata_that_makes_no_xml(self) -> None:
        self.tells(*self.nodes)
        self.lay_right("a", "b")
        for node in self.nodes:
            node.script("list", Fault(lambda name: NodeNonsense(name, "its answer isn't XML")))
        swept = self.run_sweep(compare=frozenset(self.by_name))
        self.assertEqual((swept.keys, swept.covered), (2, frozenset(self.by_name)))

    # -- what costs what ------------------------------------------------------------------------

    def test_what_lies_right_costs_a_listing(self) -> None:
        keys = [f"{folder}k{each}" for folder in ("", "x/", "x/y/", "x-") for each in range(20)]
        self.lay_right(*keys)
        swept = self.run_sweep()
        self.assertEqual((swept.keys, swept.compared), (80, 0))
        self.assertEqual(swept.covered, {node.name for node in self.nodes})
        self.assertEqual(self.asked("head"), 0)
        self.assertLessEqual(self.asked("list"), 3 * 5)

    def test_copies_are_made_and_removed_wherever_keys_are(self) -> None:
        keys = ["a", "a/b", "a-b", "a-b/c", "z/é/x"]
        for key in keys:
            self.lay(self.order(key)[2], key, b"12345")
        swept = self.run_sweep()
        self.assert_right(*keys)
        self.assertEqual((swept.missing, swept.made, swept.removed), (10, 10, 5))
        self.assertEqual((swept.size_bytes, swept.unmended), (50, 0))

    def test_a_stray_where_nobody_looks_otherwise(self) -> None:
        self.lay(self.order("k")[4], "k")
        self.run_sweep()
        self.assert_right("k")

    def test_what_differs_is_mended(self) -> None:
        first, second = self.order("k")[:2]
        self.lay(first, "k", b"one", S2)
        self.lay(second, "k", b"two", S1)
        self.assertEqual(self.run_sweep().made, 1)
        self.assertEqual(second.buckets[BUCKET]["k"].data, b"one")

    def test_what_was_modified_since_is_compared_by_stamp(self) -> None:
        since_s = NOW_S - 1000
        self.lay_right("before", modified_s=since_s - 61)
        self.lay_right("about-then", modified_s=since_s - 59)
        self.assertEqual(self.run_sweep(agreed_since_s=since_s).compared, 1)
        # One round of HEADs to those that have it is enough.
        self.assertEqual(self.asked("head"), 2)

    def test_what_was_written_just_before_is_looked_for_on_all_that_could_hold_it(self) -> None:
        """Their listings may be of before that."""
        self.lay_right("k")
        self.store.writes.effect(BUCKET, "k", S1)
        self.clock.advance(10)
        third = self.order("k")[2]
        third.script("list", late(lambda: succeed(self.lay(third, "k")), carried_out=True))
        self.run_sweep(agreed_since_s=LONG_AGO_S)
        self.assert_right("k")

    def test_the_same_bytes_with_another_stamp(self) -> None:
        first, second = self.order("k")[:2]
        self.lay(first, "k", stamp=S3)
        self.lay(second, "k", stamp=S1)
        self.assertEqual(self.run_sweep().made, 0)
        self.assertEqual(self.run_sweep(agreed_since_s=None).made, 1)
        self.assertEqual(second.buckets[BUCKET]["k"].head.stamp, S3)

    def test_what_is_on_a_returning_node_is_compared_by_stamp(self) -> None:
        first, second = self.order("k")[:2]
        self.lay(first, "k", stamp=S3)
        self.lay(second, "k", stamp=S1)
        third = self.order("k")[2].name
        self.assertEqual(self.run_sweep(compare=frozenset({third})).made, 0)
        self.assertEqual(self.run_sweep(compare=frozenset({first.name})).made, 1)

    def test_both_rings_while_the_ring_changes(self) -> None:
        coming = self.placement.ring
        self.placement.former = Ring(Member(f"n{each}", 1.0, f"n{each}") for each in (1, 2, 3))
        keys = [f"k{each}" for each in range(30)]
        for key in keys:
            for name in self.placement.former.order(BUCKET, key)[:2]:
                self.lay(self.by_name[name], key)
        swept = self.run_sweep()
        self.assertEqual(swept.removed, 0)
        for key in keys:
            for name in coming.order(BUCKET, key)[:2]:
                self.assertIn(key, self.by_name[name].buckets[BUCKET])
        # The copies that were made are right, for a later sweep.
        self.clock.advance(10)
        self.assertEqual(self.run_sweep(agreed_since_s=NOW_S + 61).compared, 0)
        self.placement.former = None
        self.run_sweep()
        self.assert_right(*keys)

    # -- writes meanwhile -----------------------------------------------------------------------

    def test_a_write_since_the_page_was_asked_for(self) -> None:
        self.lay_right("k")
        first, second = self.order("k")[:2]
        gate: Deferred[None] = Deferred()
        second.script("list", late(lambda: gate, carried_out=True))
        sweeping = Deferred.fromCoroutine(self.sweep().run())
        self.store.writes.effect(BUCKET, "k", S2)
        self.lay(first, "k", b"v", S2)
        gate.callback(None)
        self.assertEqual(self.successResultOf(sweeping).made, 1)
        self.assertEqual(second.buckets[BUCKET]["k"].head.stamp, S2)

    def test_a_write_under_way_all_the_time(self) -> None:
        self.lay_right("k")
        first, second = self.order("k")[:2]
        gate: Deferred[None] = Deferred()

        async def writing() -> None:
            self.store.writes.effect(BUCKET, "k", S2)
            self.lay(first, "k", b"v", S2)
            await gate

        Deferred.fromCoroutine(self.store.turns.take(BUCKET, "k", writing))
        sweeping = Deferred.fromCoroutine(self.sweep().run())
        self.assertNoResult(sweeping)
        gate.callback(None)
        self.assertEqual(self.successResultOf(sweeping).made, 1)

    def test_pages_that_got_old_are_asked_for_again(self) -> None:
        keys = [f"k{each:03}" for each in range(100)]
        self.lay_right(*keys)
        gate: Deferred[None] = Deferred()
        # The first batch takes a minute; what is written meanwhile isn't remembered so long.
        self.lay(self.order(keys[0])[0], keys[0], b"newer", S2)
        slow = self.order(keys[0])[0]
        slow.script("head", late(lambda: gate))
        sweeping = Deferred.fromCoroutine(self.sweep().run())
        self.assertNoResult(sweeping)
        for _ in range(6):
            self.clock.advance(10)
        first, second = self.order(keys[99])[:2]
        self.store.writes.effect(BUCKET, keys[99], S2)
        self.lay(first, keys[99], b"v", S2)
        self.lay(second, keys[99], b"v", S2)
        for _ in range(6):
            self.clock.advance(10)
        lists = self.asked("list")
        gate.callback(None)
        swept = self.successResultOf(sweeping)
        self.assertEqual(swept.keys, 100)
        # One of them looks into the folder that a tree may keep beside the last key.
        self.assertEqual(self.asked("list"), lists + 6)

    # -- what fails -----------------------------------------------------------------------------

    def pump(self, sweeping: Deferred[Swept]) -> Swept:
        for _ in range(10):
            self.clock.advance(1)
        return self.successResultOf(sweeping)

    def test_a_listing_that_fails_once(self) -> None:
        self.lay_right("k")
        self.nodes[0].script("list", refused())
        swept = self.pump(Deferred.fromCoroutine(self.sweep().run()))
        self.assertEqual(len(swept.covered), 5)

    def test_a_node_that_cant_be_listed_is_not_covered(self) -> None:
        keys = [f"k{each:03}" for each in range(40)]
        self.lay_right(*keys)
        self.nodes[0].script("list", unavailable(), times=None)
        sweep = self.sweep()
        swept = self.pump(Deferred.fromCoroutine(sweep.run()))
        self.assertEqual(swept.covered, {"n2", "n3", "n4", "n5"})
        self.assertEqual(sweep.progress()["not_covered"], ["n1"])
        # Its copies aren't missed: it wasn't asked.
        self.assertEqual((swept.keys, swept.made), (len(keys), 0))
        self.assertEqual(swept.compared, 0)

    def test_a_node_that_is_down_is_not_covered_and_its_stand_ins_stay(self) -> None:
        down, second, third = self.order("k")[:3]
        self.placement.states[down.name] = NodeState.DOWN
        for node in (second, third):
            self.lay(node, "k")
        swept = self.run_sweep()
        self.assertNotIn(down.name, swept.covered)
        self.assertIn("k", third.buckets[BUCKET])

    def test_a_node_that_goes_meanwhile_is_not_covered(self) -> None:
        first, second = self.order("k")[:2]
        self.lay(second, "k")

        def goes() -> Deferred[None]:
            self.placement.states[first.name] = NodeState.DOWN
            gone: Deferred[None] = Deferred()
            gone.callback(None)
            return gone

        second.script("list", late(goes))
        self.assertNotIn(first.name, self.run_sweep().covered)

    def test_a_node_without_the_bucket_has_no_keys(self) -> None:
        self.lay_right("k")
        del self.order("k")[4].buckets[BUCKET]
        self.assertEqual(len(self.run_sweep().covered), 5)

    def test_given_up(self) -> None:
        self.lay(self.order("k")[2], "k", b"x" * (2 << 20))
        self.order("k")[2].script("get", stalls(1000, Deferred))
        sweeping = Deferred.fromCoroutine(self.sweep().run())
        self.assertNoResult(sweeping)
        sweeping.cancel()
        self.failureResultOf(sweeping, CancelledError)
        for node in self.nodes:
            self.assertEqual(node.open_readings, 0)

    # -- pace and place -------------------------------------------------------------------------

    def test_buckets_in_order_and_where_to_go_on(self) -> None:
        for bucket in ("one", "two"):
            for node in self.nodes:
                node.buckets[bucket] = {}
            for key in ("a", "b/c", "b/d", "c"):
                order = self.placement.ring.order(bucket, key)
                for name in order[:2]:
                    self.lay(self.by_name[name], key, bucket=bucket)
        both = {"buckets": lambda: ["two", "one"]}
        sweep = self.sweep(**both)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(sweep.run())).keys, 8)
        self.assertEqual(sweep.cursor(), ("two", "c"))
        self.assertEqual(self.run_sweep(cursor=("two", "b/c"), **both).keys, 2)
        self.assertEqual(self.run_sweep(cursor=("one", "c"), **both).keys, 4)

    def test_no_faster_than_it_may(self) -> None:
        keys = [f"k{each:03}" for each in range(200)]
        self.lay_right(*keys)
        sweeping = Deferred.fromCoroutine(self.sweep(keys=Pace(self.clock, 100)).run())
        self.clock.pump([0.01] * 180)
        self.assertNoResult(sweeping)
        self.clock.pump([0.01] * 30)
        self.successResultOf(sweeping)

    def test_no_more_bytes_than_it_may(self) -> None:
        for key in ("a", "b", "c", "d"):
            self.lay(self.order(key)[0], key, b"x" * 1000)
        sweeping = Deferred.fromCoroutine(self.sweep(copied=Pace(self.clock, 1000)).run())
        self.clock.pump([0.1] * 37)
        self.assertNoResult(sweeping)
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.successResultOf(sweeping).size_bytes, 4000)


class PaceTests(SynchronousTestCase):
    def test_it_lets_so_many_pass_a_second(self) -> None:
        clock = Clock()
        pace = Pace(clock, 10)
        passed: list[float] = []

        async def work() -> None:
            for _ in range(30):
                await pace.spend(1)
                passed.append(clock.seconds())

        working = Deferred.fromCoroutine(work())
        clock.pump([0.05] * 80)
        self.successResultOf(working)
        self.assertTrue(2.8 <= passed[-1] <= 3.2, passed)

    def test_what_was_not_used_is_not_saved_up(self) -> None:
        clock = Clock()
        pace = Pace(clock, 10)
        clock.advance(100)
        waiting = Deferred.fromCoroutine(pace.spend(10))
        self.assertNoResult(waiting)
        clock.advance(1)
        self.successResultOf(waiting)
