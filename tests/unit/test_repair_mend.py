"""Mending one key on nodes in memory: what is made, what is removed, and above all what isn't."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.marks import Mark
from aosd.model.node import Member, NodeState
from aosd.model.objects import STAMP_HEADER
from aosd.model.ring import Ring, partition
from aosd.model.versions import version_of
from aosd.repair.mend import Mended, Mender
from aosd.testing.faults import full, late, refused, timed_out, unavailable
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

T = TypeVar("T")
S1, S2, S3 = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2, 3))
BUCKET, KEY = "object", "k"


class MendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        nodes = [MemoryNode(f"n{each}", now=self.clock.seconds) for each in range(1, 6)]
        by_name = {node.name: node for node in nodes}
        self.placement = MemoryPlacement(nodes)
        self.store = store = make_store(self.placement, self.clock, replicas=2)
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
        # The key's order: two primaries, two handoffs, and one that can't hold it.
        self.a, self.b, self.c, self.d, self.e = (
            by_name[name] for name in self.placement.ring.order(BUCKET, KEY)
        )
        self.unsettle()

    def tearDown(self) -> None:
        self.assertEqual(len(self.store.turns), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def unsettle(self) -> None:
        self.store.settledness.ring_changed()

    def settle(self) -> None:
        self.store.settledness.swept(self.store.settledness.begin(), self.placement.nodes)

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def lay(
        self, node: Any, data: bytes, stamp: str | None, modified_s: float = 1_699_999_000.0
    ) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        headers = () if stamp is None else ((STAMP_HEADER, stamp.encode()),)
        node.buckets[BUCKET][KEY] = Copy(data, f'"{md5}"', modified_s, headers)

    def holders(self, data: bytes | None = None) -> str:
        """Who has a copy (with these bytes), in the key's order, as letters."""
        return "".join(
            letter
            for letter in "abcde"
            if (copy := getattr(self, letter).buckets[BUCKET].get(KEY)) is not None
            and data in (None, copy.data)
        )

    def mend(self, also: tuple[str, ...] = ()) -> Mended:
        return self.now(self.mender.mend(BUCKET, KEY, also))

    def mark(self, *silent: Any) -> Mark:
        names = frozenset(node.name for node in silent)
        mark = Mark(BUCKET, KEY, S1, names, names, written=True)
        self.now(self.store.marks.leave(mark, partition(BUCKET, KEY)))
        return mark

    def deleted(self, stamp: str) -> None:
        self.now(self.store.journal.deleted(BUCKET, KEY, stamp))

    def marks(self) -> list[Mark]:
        return [mark for _, mark in self.store.marks.all()]

    # -- copies ---------------------------------------------------------------------------------

    def test_what_is_right_costs_one_round_of_heads(self) -> None:
        self.lay(self.a, b"v", S1)
        self.lay(self.b, b"v", S1)
        mended = self.mend()
        self.assertEqual(mended, Mended(looked_at_all=True, agreed=True))
        for node in (self.a, self.b, self.c, self.d):
            self.assertEqual(node.requests, {"head": 1})
        self.assertEqual(self.e.requests, {})

    def test_a_missing_copy_is_made(self) -> None:
        self.lay(self.b, b"value", S1)
        mended = self.mend()
        self.assertEqual(self.holders(b"value"), "ab")
        self.assertEqual((mended.missing, mended.copied), (1, (self.a.name,)))
        self.assertEqual(mended.size_bytes, 5)
        self.assertTrue(mended.agreed and mended.looked_at_all)

    def test_the_newest_goes_over_the_older_and_home(self) -> None:
        self.lay(self.a, b"old", S1)
        self.lay(self.c, b"new", S2)
        self.lay(self.d, b"old", S1)
        mended = self.mend()
        self.assertEqual(self.holders(b"new"), "ab")
        self.assertEqual(self.holders(), "ab")
        self.assertEqual(mended.removed, (self.c.name, self.d.name))
        self.assertTrue(mended.agreed)
        self.assertEqual(self.marks(), [])

    def test_one_that_could_not_hold_it_is_looked_at_when_named(self) -> None:
        self.lay(self.e, b"v", S1)
        self.assertEqual(self.mend().copied, ())
        self.mend((self.e.name,))
        self.assertEqual(self.holders(), "ab")

    def test_a_source_that_fails_is_stood_in_for(self) -> None:
        self.lay(self.b, b"v", S1)
        self.lay(self.c, b"v", S1)
        self.b.script("get", unavailable())
        mended = self.mend()
        self.assertIn("a", self.holders(b"v"))
        # Somebody has to look again at what failed; but it was only read.
        self.assertFalse(mended.agreed)
        (mark,) = self.marks()
        self.assertEqual((mark.nodes, mark.silent), ({self.b.name}, frozenset()))

    def test_a_copy_without_an_answer_leaves_a_mark(self) -> None:
        self.lay(self.b, b"v", S1)
        self.a.script("put", timed_out(carried_out=True))
        self.assertFalse(self.mend().agreed)
        (mark,) = self.marks()
        self.assertEqual((mark.nodes, mark.silent), ({self.a.name}, {self.a.name}))
        self.assertFalse(mark.written)

    def test_a_refused_copy_leaves_one_mark_and_no_more(self) -> None:
        self.lay(self.b, b"v", S1)
        self.a.script("put", refused(), times=None)
        for _ in range(3):
            self.assertFalse(self.mend().agreed)
        (mark,) = self.marks()
        self.assertEqual((mark.nodes, mark.silent), ({self.a.name}, frozenset()))

    def test_silence_is_told_though_there_is_a_mark(self) -> None:
        self.lay(self.b, b"v", S1)
        self.a.script("put", refused())
        self.mend()
        self.a.script("put", timed_out())
        self.mend()
        self.assertEqual([mark.silent for mark in self.marks()], [frozenset(), {self.a.name}])

    def test_a_full_node_gets_a_mark_for_the_partition(self) -> None:
        self.lay(self.b, b"v", S1)
        self.a.script("put", full())
        self.assertFalse(self.mend().agreed)
        self.placement.states[self.a.name] = NodeState.FULL
        self.assertFalse(self.mend().agreed)
        (mark,) = self.marks()
        self.assertEqual((mark.key, mark.nodes), ("", {self.a.name}))

    def test_a_node_that_is_down_is_left_to_its_return(self) -> None:
        self.lay(self.b, b"v", S1)
        self.lay(self.c, b"v", S1)
        self.placement.states[self.a.name] = NodeState.DOWN
        mended = self.mend()
        self.assertEqual(mended.unknown, {self.a.name})
        self.assertFalse(mended.agreed or mended.looked_at_all)
        self.assertEqual((self.holders(), self.marks()), ("bc", []))

    def test_a_suspect_one_gets_a_mark_when_others_were_changed(self) -> None:
        for node in (self.a, self.b):
            self.lay(node, b"v", S1)
        self.placement.states[self.a.name] = NodeState.SUSPECT
        self.assertEqual(self.mend().removed, ())
        self.assertEqual(self.marks(), [])
        self.deleted(S2)
        self.assertEqual(self.mend().removed, (self.b.name,))
        self.assertEqual([mark.nodes for mark in self.marks()], [{self.a.name}])
        self.assertFalse(self.store.is_settled(BUCKET, KEY))

    def test_one_that_answers_when_others_are_removed_gets_a_mark(self) -> None:
        for node in (self.a, self.b):
            self.lay(node, b"v", S1)
        self.deleted(S2)
        self.placement.states[self.a.name] = NodeState.SUSPECT
        gate: Deferred[None] = Deferred()
        self.b.script("head", late(lambda: gate))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        self.placement.states.clear()
        gate.callback(None)
        mended = self.successResultOf(mending)
        self.assertEqual((mended.removed, mended.agreed), ((self.b.name,), False))
        self.assertEqual([mark.nodes for mark in self.marks()], [{self.a.name}])
        self.assertEqual(self.mend().removed, (self.a.name,))

    def test_one_that_fails_to_tell_leaves_a_mark(self) -> None:
        self.lay(self.a, b"v", S1)
        self.lay(self.b, b"v", S1)
        self.d.script("head", unavailable())
        mended = self.mend()
        self.assertFalse(mended.looked_at_all)
        self.assertEqual([mark.nodes for mark in self.marks()], [{self.d.name}])

    def test_a_write_meanwhile_is_waited_for(self) -> None:
        self.lay(self.a, b"v1", S1)
        self.lay(self.b, b"v1", S1)
        gate: Deferred[None] = Deferred()

        async def writing() -> None:
            self.store.writes.effect(BUCKET, KEY, S2)
            self.lay(self.a, b"v2", S2)
            await gate
            self.lay(self.b, b"v2", S2)

        Deferred.fromCoroutine(self.store.turns.take(BUCKET, KEY, writing))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        self.assertNoResult(mending)
        gate.callback(None)
        mended = self.successResultOf(mending)
        self.assertEqual((mended.copied, mended.agreed), ((), True))

    def test_a_write_that_comes_and_goes_while_it_looks(self) -> None:
        self.lay(self.a, b"v1", S1)
        self.lay(self.b, b"v1", S1)
        gate: Deferred[None] = Deferred()
        self.c.script("head", late(lambda: gate))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        self.store.writes.effect(BUCKET, KEY, S2)
        self.lay(self.a, b"v2", S2)
        gate.callback(None)
        # What the first heads said of `a` would have been taken for agreement.
        self.assertEqual(self.successResultOf(mending).copied, (self.b.name,))

    def test_a_write_that_ends_while_it_looks(self) -> None:
        self.lay(self.a, b"v1", S1)
        self.lay(self.b, b"v1", S1)
        ends: Deferred[None] = Deferred()

        async def writing() -> None:
            await ends
            # `b` got it, `a` had it and fell back since.
            self.lay(self.b, b"v2", S2)

        Deferred.fromCoroutine(self.store.turns.take(BUCKET, KEY, writing))
        told: Deferred[None] = Deferred()
        self.d.script("head", late(lambda: told))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        ends.callback(None)
        told.callback(None)
        self.assertEqual(self.successResultOf(mending).copied, (self.a.name,))

    # -- removing -------------------------------------------------------------------------------

    def test_dead_copies_go_wherever_they_are(self) -> None:
        for node in (self.a, self.c):
            self.lay(node, b"v", S1)
        self.deleted(S2)
        mended = self.mend()
        self.assertEqual((self.holders(), mended.agreed), ("", True))
        self.assertEqual(set(mended.removed), {self.a.name, self.c.name})

    def test_a_dead_copy_in_the_way_of_a_live_one(self) -> None:
        self.lay(self.a, b"dead", S1)
        self.deleted(S2)
        self.lay(self.b, b"live", S3)
        self.assertTrue(self.mend().agreed)
        self.assertEqual(self.holders(b"live"), "ab")

    def test_nothing_is_removed_while_a_primary_lacks_it(self) -> None:
        for node in (self.b, self.c):
            self.lay(node, b"v", S1)
        self.a.script("put", refused())
        self.mend()
        self.assertEqual(self.holders(), "bc")

    def test_nothing_is_removed_while_the_ring_changes(self) -> None:
        for node in (self.a, self.b, self.c):
            self.lay(node, b"v", S1)
        self.deleted(S2)
        self.lay(self.d, b"live", S3)
        self.placement.former = Ring(Member(name, 1.0, name) for name in self.placement.nodes)
        mended = self.mend()
        self.assertEqual(self.holders(b"live"), "abd")
        self.assertEqual((mended.removed, mended.agreed), ((), True))
        self.placement.former = None
        self.assertTrue(self.mend().agreed)
        self.assertEqual(self.holders(), "ab")

    def test_the_heads_are_asked_again_before_a_removal(self) -> None:
        for node in (self.a, self.b, self.c):
            self.lay(node, b"v", S1)
        gate: Deferred[None] = Deferred()
        self.d.script("head", late(lambda: gate))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        # A power loss takes back what a primary had, between the two looks.
        self.a.script("head", late(self.lose_a))
        gate.callback(None)
        self.successResultOf(mending)
        self.assertIn("c", self.holders())

    def lose_a(self) -> Deferred[None]:
        self.a.buckets[BUCKET].clear()
        gone: Deferred[None] = Deferred()
        gone.callback(None)
        return gone

    def test_a_changed_stamp_stops_it_and_leaves_a_mark(self) -> None:
        for node in (self.a, self.b, self.c):
            self.lay(node, b"v", S1)
        gate: Deferred[None] = Deferred()

        def newer() -> Deferred[None]:
            self.lay(self.c, b"newer", S2)
            return gate

        # A request of before takes effect on `c` between the two looks.
        self.d.script("head", late(newer))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        gate.callback(None)
        mended = self.successResultOf(mending)
        self.assertEqual((mended.removed, mended.agreed), ((), False))
        self.assertEqual(self.holders(b"newer"), "c")
        self.assertIn(self.c.name, self.marks()[0].nodes)
        self.mend()
        self.assertEqual(self.holders(b"newer"), "ab")

    def test_a_removal_without_an_answer_leaves_a_mark(self) -> None:
        for node in (self.a, self.b, self.c):
            self.lay(node, b"v", S1)
        self.c.script("delete", timed_out())
        self.assertFalse(self.mend().agreed)
        (mark,) = self.marks()
        self.assertEqual((mark.nodes, mark.silent), ({self.c.name}, {self.c.name}))

    def test_a_removal_waits_for_its_turn(self) -> None:
        for node in (self.b, self.c):
            self.lay(node, b"v", S1)
        copied: Deferred[None] = Deferred()
        self.a.script("put", late(lambda: copied))
        mending = Deferred.fromCoroutine(self.mender.mend(BUCKET, KEY))
        gate: Deferred[None] = Deferred()
        Deferred.fromCoroutine(self.store.turns.take(BUCKET, KEY, lambda: wait(gate)))
        copied.callback(None)
        self.assertNoResult(mending)
        self.assertEqual(self.holders(), "abc")
        gate.callback(None)
        self.assertEqual(self.successResultOf(mending).removed, (self.c.name,))

    def test_what_may_be_lost_yet_is_no_reason_to_remove(self) -> None:
        for node in (self.a, self.b, self.c):
            self.lay(node, b"v", S1)
        mark = self.mark(self.a)
        self.mender.is_late = lambda each: each == mark
        mended = self.mend()
        self.assertEqual((self.holders(), mended.agreed), ("abc", False))
        self.mender.is_late = lambda each: False
        self.assertTrue(self.mend().agreed)
        self.assertEqual(self.holders(), "ab")

    # -- what can't be explained ----------------------------------------------------------------

    def test_a_foreign_object_is_left_where_it_lies_also_where_nothing_is_settled(self) -> None:
        self.lay(self.c, b"theirs", None)
        mended = self.mend()
        self.assertEqual((self.holders(b"theirs"), mended.agreed), ("c", True))
        self.assertEqual([each.node for each in mended.reports], [self.c.name])

    def test_it_is_moved_off_a_node_that_came_with_objects(self) -> None:
        self.placement.stray_names = {self.c.name}
        self.lay(self.c, b"theirs", None)
        original = self.c.buckets[BUCKET][KEY].head
        mended = self.mend()
        self.assertEqual((self.holders(b"theirs"), mended.agreed), ("ab", True))
        self.assertEqual(
            (mended.copied, mended.removed), ((self.a.name, self.b.name), (self.c.name,))
        )
        for node in (self.a, self.b):
            written_out = node.buckets[BUCKET][KEY].head
            self.assertIsNotNone(written_out.stamp)
            self.assertEqual(version_of(written_out, str), version_of(original, str))

    def test_of_two_that_came_with_nodes_the_later_modified_wins(self) -> None:
        self.placement.stray_names = {self.a.name, self.c.name}
        for earlier, later in ((self.a, self.c), (self.c, self.a)):
            self.lay(earlier, b"earlier", None)
            self.lay(later, b"later", None, modified_s=1_699_999_001.0)
            self.assertTrue(self.mend().agreed)
            self.assertEqual((self.holders(), self.holders(b"later")), ("ab", "ab"))

    def test_what_came_with_a_node_is_older_than_what_was_written(self) -> None:
        self.placement.stray_names = {self.c.name}
        self.lay(self.b, b"ours", S1)
        self.lay(self.c, b"theirs", None, modified_s=1_800_000_000.0)
        self.assertTrue(self.mend().agreed)
        self.assertEqual((self.holders(), self.holders(b"ours")), ("ab", "ab"))

    def test_what_was_copied_from_an_original_explains_it(self) -> None:
        """Its node was a primary once, and the ring has changed since."""
        self.lay(self.c, b"theirs", None)
        version = version_of(self.c.buckets[BUCKET][KEY].head, str)
        self.lay(self.a, b"theirs", version.stamp)
        self.b.script("put", full())
        mended = self.mend()
        self.assertEqual((self.holders(), mended.reports), ("ac", ()))
        self.b.heal()
        mended = self.mend()
        self.assertEqual((self.holders(), mended.reports, mended.agreed), ("ab", (), True))

    def test_another_one_beside_it_is_somebody_elses(self) -> None:
        for node in (self.a, self.b):
            self.lay(node, b"theirs", S1)
        self.lay(self.c, b"theirs", None)
        mended = self.mend()
        self.assertEqual(self.holders(), "abc")
        self.assertEqual([each.node for each in mended.reports], [self.c.name])

    def test_what_cant_be_explained_is_kept_and_reported(self) -> None:
        self.settle()
        self.lay(self.c, b"theirs", None)
        mended = self.mend()
        self.assertEqual((self.holders(), mended.agreed), ("c", True))
        self.assertEqual([each.node for each in mended.reports], [self.c.name])
        self.lay(self.c, b"ours", S1)
        mended = self.mend()
        self.assertEqual((self.holders(b"ours"), mended.agreed), ("abc", True))
        self.assertEqual([each.node for each in mended.reports], [self.c.name])
        self.assertEqual(self.marks(), [])

    def test_bytes_that_rotted_are_reported(self) -> None:
        self.lay(self.b, b"v", S1)
        there = self.b.buckets[BUCKET][KEY]
        self.b.buckets[BUCKET][KEY] = Copy(b"!", there.etag, 5.0, there.headers)
        mended = self.mend()
        self.assertEqual(self.holders(), "b")
        self.assertIn("ETag", mended.reports[0].why)

    # -- comparing ------------------------------------------------------------------------------

    def test_whether_all_have_one_version(self) -> None:
        names = {self.a.name, self.b.name}

        def is_right() -> bool:
            return self.now(self.mender.is_right(BUCKET, KEY, names))

        self.lay(self.a, b"v", S2)
        self.assertFalse(is_right())
        self.lay(self.b, b"v", S1)
        self.assertFalse(is_right(), "the same bytes are not the same version")
        self.lay(self.b, b"v", S2)
        self.assertTrue(is_right())
        self.assertEqual(self.c.requests, {})
        self.b.script("head", refused())
        self.assertFalse(is_right())
        self.deleted(S3)
        self.assertFalse(is_right())


async def wait(gate: Deferred[None]) -> None:
    await gate
