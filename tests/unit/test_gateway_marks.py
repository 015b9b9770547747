"""Marks: left by a write, before its answer, exactly when copies may differ unseen."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from aosd.model.errors import ClusterError, NoQuorum, UpstreamNonsense
from aosd.model.node import NodeState
from aosd.model.ring import partition
from aosd.streams.bodies import HeldBody
from aosd.testing.faults import (
    NO_FAULT,
    full,
    late,
    nonsense,
    refused,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, LONG, SMALL, WAYS, GatewayTestCase

# The request in which each way takes effect.
LAST = ((SMALL, True, "put"), (FLOWING, True, "put"), (LONG, False, "complete_upload"))


class MarkTestCase(GatewayTestCase):
    count = 5

    def assert_mark(
        self, nodes: str, silent: str = "", *, written: bool = True, key: str = KEY
    ) -> None:
        """One mark and no other; the partition isn't settled until it is cleared."""
        (mark,) = self.marks()
        self.assertEqual((mark.bucket, mark.key), (BUCKET, key) if key else ("", ""))
        # Where a copy strays the key has to be looked at, too.
        strays = set(self.holders(key)) - set("ab") if key else set()
        named = set(self.letters(mark.nodes))
        self.assertEqual("".join(sorted(named - (strays - set(nodes)))), nodes)
        self.assertEqual(self.letters(mark.silent), silent)
        self.assertEqual(mark.written, written)
        self.placement.states.clear()
        self.assertIn("mark", self.store.why_unsettled(BUCKET, KEY))

    def afresh(self) -> None:
        for node in self.nodes:
            for there in node.buckets.values():
                there.clear()
            node.uploads.clear()
            node.heal()
        self.use(self.nodes)


class PutMarkTests(MarkTestCase):
    def test_none_when_all_is_well(self) -> None:
        for data, told in WAYS:
            self.stored(KEY, data, told=told)
            self.assertEqual(self.marks(), [])
            self.assertTrue(self.store.is_settled(BUCKET, KEY))

    def test_for_who_gave_no_answer(self) -> None:
        for fault in (unavailable(), timed_out(), timed_out(carried_out=True), nonsense()):
            for data, told, method in LAST:
                self.b.script(method, fault)
                self.stored(KEY, data, told=told)
                self.assert_mark("b", "b")
                self.afresh()

    def test_for_who_refused_though_believed_up(self) -> None:
        for data, told, method in LAST:
            self.b.script(method, refused())
            self.stored(KEY, data, told=told)
            self.assert_mark("b")
            self.afresh()

    def test_for_who_is_suspect_and_was_passed_by(self) -> None:
        for data, told in WAYS:
            self.state(self.b, NodeState.SUSPECT)
            self.stored(KEY, data, told=told)
            self.assert_mark("b")
            self.afresh()

    def test_none_for_who_is_down(self) -> None:
        for data, told in WAYS:
            self.down(self.b)
            self.stored(KEY, data, told=told)
            self.assertEqual(self.marks(), [])
            self.assertFalse(self.store.is_settled(BUCKET, KEY))
            self.afresh()

    def test_for_who_was_down_and_is_up_again_before_the_answer(self) -> None:
        for state in (NodeState.RETURNING, NodeState.UP):
            gate: Deferred[None] = Deferred()
            self.down(self.b)
            self.a.script("put", late(lambda gate=gate: gate))
            writing = self.put(KEY, SMALL)
            self.state(self.b, state)
            gate.callback(None)
            self.successResultOf(writing)
            self.assert_mark("b")
            self.afresh()

    def test_for_who_was_asked_and_is_down_before_the_answer(self) -> None:
        gate: Deferred[None] = Deferred()
        self.a.script("put", late(lambda: gate))
        self.b.script("put", timed_out())
        writing = self.put(KEY, SMALL)
        self.down(self.b)
        gate.callback(None)
        self.successResultOf(writing)
        self.assert_mark("b", "b")

    def test_a_handoff_without_an_answer_is_in_it(self) -> None:
        self.b.script("put", refused())
        self.c.script("put", timed_out(carried_out=True))
        self.stored(KEY, SMALL)
        self.assertEqual(self.holders(), "acd")
        self.assert_mark("bc", "c")

    def test_targets_that_are_no_primaries_any_more(self) -> None:
        """A change of the ring ends while the last bytes are under way."""
        former = self.placement.ring
        nodes = [*self.nodes, MemoryNode("n6", now=self.clock.seconds, piece_bytes=300)]
        self.use(nodes)
        self.placement.former = former
        key = next(
            key
            for key in map(str, range(99))
            if set(former.order(BUCKET, key)[:2]) != set(self.placement.ring.order(BUCKET, key)[:2])
        )
        for data in (SMALL, FLOWING):
            gate: Deferred[None] = Deferred()
            self.order(key)[0].script("put", late(lambda gate=gate: gate))
            writing = self.put(key, data)
            self.placement.former = None
            self.store.settledness.ring_changed()
            self.settle()
            gate.callback(None)
            self.successResultOf(writing)
            self.placement.former = former
            (mark,) = self.marks(key)
            gone = set(former.order(BUCKET, key)[:2]) - {node.name for node in self.order(key)[:2]}
            self.assertEqual(mark.nodes, gone)
            self.afresh()
            self.placement.former = former

    def test_a_write_that_failed_leaves_one_too(self) -> None:
        for data, told, method in LAST:
            for node in (self.a, self.c, self.d):
                node.script("put", refused(403, "AccessDenied"))
                node.script("create_upload", NO_FAULT)
                node.script("create_upload", refused(403, "AccessDenied"))
                node.script("complete_upload", refused(403, "AccessDenied"))
            self.b.script(method, timed_out(carried_out=True))
            self.failureResultOf(self.put(KEY, data, told=told), ClusterError)
            self.assertEqual(self.holders(data=data), "b")
            self.assert_mark("ab", "b", written=False)
            self.afresh()

    def test_none_where_nobody_took_it_and_nobody_can(self) -> None:
        for node in self.nodes:
            node.script("put", refused(403, "AccessDenied"))
        self.failureResultOf(self.put(KEY, SMALL), ClusterError)
        self.assertEqual(self.marks(), [])
        self.assertTrue(self.store.is_settled(BUCKET, KEY))

    def test_an_error_of_its_own_may_come_after_it_was_stored(self) -> None:
        for node in self.nodes:
            node.script("put", refused(500))
        self.failureResultOf(self.put(KEY, SMALL), ClusterError)
        self.assert_mark("abcd", written=False)

    def test_all_silent(self) -> None:
        for node in self.nodes:
            node.script("put", timed_out())
        self.failureResultOf(self.put(KEY, SMALL), ClusterError)
        self.assert_mark("abcd", "abcd", written=False)

    def test_before_the_answer_and_not_after(self) -> None:
        gate: Deferred[None] = Deferred()
        self.b.script("put", timed_out())
        for node in self.nodes:
            if node in (self.a, self.c):
                node.script("put", NO_FAULT)
            node.script("put", late(lambda: gate), times=None)
        self.b.script("put", late(lambda: gate))
        writing = self.put(KEY, SMALL)
        self.assertNoResult(writing)
        self.assertEqual(self.holders(), "ac")
        self.assertFalse(self.store.is_settled(BUCKET, KEY))
        gate.callback(None)
        self.successResultOf(writing)

    def test_one_that_cant_be_written_is_an_error_and_the_partition_stays_unsettled(self) -> None:
        for data, told, method in LAST:
            self.b.script(method, timed_out(carried_out=True))
            for node in self.nodes:
                if not told or node in (self.a, self.c):
                    # The object; and an upload's record, whose parts and copies aren't PUTs.
                    node.script("put", NO_FAULT)
                node.script("put", refused(), times=None)
            self.failureResultOf(self.put(KEY, data, told=told), NoQuorum)
            for node in self.nodes:
                node.heal()
            self.assertTrue(self.store.marks.failed)
            self.assertIn(partition(BUCKET, KEY), self.store.marks.broken)
            self.settle()
            self.assertFalse(self.store.is_settled(BUCKET, KEY))
            self.afresh()


class ClientLeavesTests(MarkTestCase):
    """What takes effect goes on without its client, and so does what has to be remembered."""

    def test_with_enough_copies(self) -> None:
        for data, told, method in LAST:
            gate: Deferred[None] = Deferred()
            self.a.script(method, late(lambda gate=gate: gate))
            writing = self.put(KEY, data, told=told)
            self.assertNoResult(writing)
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing, CancelledError)
            self.assertEqual(self.holders(data=data), "ab")
            self.assertEqual(self.marks(), [])
            self.afresh()

    def test_with_too_few_copies(self) -> None:
        for data, told, method in LAST:
            gate: Deferred[None] = Deferred()
            self.a.script(method, late(lambda gate=gate: gate))
            self.b.script(method, timed_out())
            writing = self.put(KEY, data, told=told)
            self.assertNoResult(writing)
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing, CancelledError)
            self.successResultOf(self.run_(self.store.to_the_end.idle()))
            self.assertIn("a", self.holders(data=data))
            (mark,) = self.marks()
            self.assertIn("b", self.letters(mark.nodes))
            self.assertFalse(self.store.is_settled(BUCKET, KEY))
            self.afresh()


class FullTests(MarkTestCase):
    """One mark for the partition, rather than one for each key."""

    def same_partition(self, count: int) -> list[str]:
        """Keys of one partition."""
        found: dict[int, list[str]] = {}
        number = 0
        while True:
            keys = found.setdefault(partition(BUCKET, f"k{number}"), [])
            keys.append(f"k{number}")
            if len(keys) == count:
                return keys
            number += 1

    def test_one_known_as_full(self) -> None:
        for data, told in WAYS:
            self.state(self.b, NodeState.FULL)
            self.stored(KEY, data, told=told)
            self.assert_mark("b", key="")
            self.assertEqual(self.holders(), "ac")

    def test_one_that_says_so(self) -> None:
        for data, told, method in LAST:
            self.b.script(method, full())
            self.stored(KEY, data, told=told)
            self.assert_mark("b", key="")
            self.afresh()

    def test_one_that_says_so_where_nobody_can_stand_in_in_time(self) -> None:
        """Another write has the key's turn when a handoff is to get its copy."""
        gate: Deferred[None] = Deferred()
        self.a.script("put", late(lambda: gate, carried_out=True))
        self.b.script("put", full())
        writing = self.put(KEY, FLOWING)
        forever: Deferred[None] = Deferred()

        async def wait() -> None:
            await forever

        other = self.run_(self.store.turns.take(BUCKET, KEY, wait))
        gate.callback(None)
        self.clock.advance(20)
        self.failureResultOf(writing, NoQuorum)
        self.assert_mark("b", key="", written=False)
        forever.callback(None)
        self.successResultOf(other)

    def test_the_second_key_needs_no_other(self) -> None:
        first, second = self.same_partition(2)
        self.state(self.order(first)[0], NodeState.FULL)
        self.stored(first, SMALL)
        self.stored(second, SMALL)
        (mark,) = self.marks(first)
        self.assertEqual(mark.key, "")

    def test_another_keys_own_mark_doesnt_speak_for_it(self) -> None:
        """That one goes as soon as its key was mended."""
        first, second = self.same_partition(2)
        primary = self.order(first)[0]
        primary.script("put", refused())
        self.stored(first, SMALL)
        self.state(primary, NodeState.FULL)
        self.stored(second, SMALL)
        self.assertIn("", [mark.key for mark in self.marks(first)])

    def test_a_mark_of_another_full_node_doesnt_speak_for_it(self) -> None:
        first, second = self.same_partition(2)
        one, other = self.order(first)[:2]
        self.state(one, NodeState.FULL)
        self.stored(first, SMALL)
        self.placement.states.clear()
        self.state(other, NodeState.FULL)
        self.stored(second, SMALL)
        named = {name for mark in self.marks(first) for name in mark.nodes if not mark.key}
        self.assertEqual(named, {one.name, other.name})

    def test_all_full_is_an_error_that_says_so(self) -> None:
        for node in self.nodes:
            self.state(node, NodeState.FULL)
        failure = self.failureResultOf(self.put(KEY, SMALL), NoQuorum)
        self.assertIn("no space", str(failure.value))
        self.assertEqual(failure.value.retry_after_s, 30)


class DeleteMarkTests(MarkTestCase):
    def test_none_when_all_is_well(self) -> None:
        self.stored(KEY, SMALL)
        self.deleted(KEY)
        self.assertEqual(self.marks(), [])
        self.assertTrue(self.store.is_settled(BUCKET, KEY))

    def test_for_who_gave_no_answer_a_handoff_too(self) -> None:
        for fault in (unavailable(), timed_out(), timed_out(carried_out=True), nonsense()):
            for node, letter in ((self.b, "b"), (self.d, "d")):
                self.stored(KEY, SMALL)
                node.script("delete", fault)
                self.deleted(KEY)
                self.assert_mark(letter, letter)
                self.afresh()

    def test_for_a_primary_that_refused_or_is_suspect(self) -> None:
        self.stored(KEY, SMALL)
        self.b.script("delete", refused())
        self.deleted(KEY)
        self.assert_mark("b")
        self.afresh()
        self.stored(KEY, SMALL)
        self.state(self.b, NodeState.SUSPECT)
        self.deleted(KEY)
        self.assert_mark("b")

    def test_none_for_who_is_down(self) -> None:
        self.stored(KEY, SMALL)
        self.down(self.b)
        self.deleted(KEY)
        self.assertEqual(self.marks(), [])

    def test_one_that_cant_be_written_is_an_error(self) -> None:
        self.stored(KEY, SMALL)
        self.b.script("delete", timed_out())
        for node in self.nodes:
            node.script("put", NO_FAULT)  # the journal's line
            node.script("put", refused(), times=None)
        self.failureResultOf(self.delete(KEY), NoQuorum)
        self.assertFalse(self.store.is_settled(BUCKET, KEY))


class DifferingTests(GatewayTestCase):
    def test_nodes_that_make_different_things_of_one_write_are_in_doubt(self) -> None:
        put = self.b.put

        def other(bucket: str, key: str, body: Any, headers: Any) -> Any:
            return put(bucket, key, HeldBody([b"?"]) if bucket == BUCKET else body, headers)

        self.b.put = other  # type: ignore[method-assign]
        self.failureResultOf(self.put(KEY, SMALL), UpstreamNonsense)
        (mark,) = self.marks()
        self.assertEqual(self.letters(mark.nodes), "ab")
        self.assertFalse(mark.written)
