"""PUT with two copies a key: who gets them, who stands in, and who is left out."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from aosd.gateway.put import put
from aosd.gateway.requests import Put
from aosd.model.errors import ClientGone, ClusterError, DigestMismatch, NodeTimeout, NoQuorum
from aosd.model.node import NodeState
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import (
    NO_FAULT,
    Fault,
    breaks,
    full,
    late,
    nonsense,
    refused,
    stalls,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, LONG, SMALL, WAYS, GatewayTestCase

FAULTS = (unavailable(), timed_out(), nonsense(), refused(), full(), breaks(20))


class TargetTests(GatewayTestCase):
    """Five nodes: two primaries, two handoffs, and one that can't hold the key."""

    count = 5

    def test_both_primaries_get_the_same(self) -> None:
        for data, told in WAYS:
            written = self.stored(KEY, data, told=told)
            self.assertEqual(self.holders(data=data), "ab")
            self.assertEqual(self.stamp_on(self.a), self.stamp_on(self.b))
            self.assertEqual(self.a.buckets[BUCKET][KEY].etag, written.etag)
        self.assertEqual(self.marks(), [])

    def test_handoffs_stand_in_for_who_is_away_and_no_more_than_they(self) -> None:
        for away in (NodeState.DOWN, NodeState.SUSPECT, NodeState.FULL):
            for nodes, holders in (
                ((self.a,), "bc"),
                ((self.b,), "ac"),
                ((self.a, self.c), "bd"),
                ((self.a, self.b), "cd"),
            ):
                for data, told in WAYS:
                    for node in nodes:
                        self.state(node, away)
                    self.stored(KEY, data, told=told)
                    self.assertEqual(self.holders(data=data), holders, away)
                    for node in self.nodes:
                        node.buckets[BUCKET].clear()
                    self.placement.states.clear()

    def test_a_returning_node_is_written_to(self) -> None:
        self.back(self.a)
        self.stored(KEY, SMALL)
        self.assertEqual(self.holders(), "ab")

    def test_three_of_the_four_away_is_too_few(self) -> None:
        self.down(self.a, self.b, self.d)
        for data, told in WAYS:
            self.failureResultOf(self.put(KEY, data, told=told), NoQuorum)
            self.assertFalse(self.source.started)
        self.assertEqual(self.holders(), "")

    def test_while_the_ring_changes_both_rings_primaries_get_it(self) -> None:
        coming = MemoryNode("n6", now=self.clock.seconds, piece_bytes=300)
        keys = [f"k{number}" for number in range(40)]
        before = {key: [node.name for node in self.order(key)[:2]] for key in keys}
        former = self.placement.ring
        self.use([*self.nodes, coming])
        self.placement.former = former
        moved = 0
        for key in keys:
            for data, told in WAYS:
                self.stored(key, data, told=told)
                after = [node.name for node in self.order(key)[:2]]
                have = {node.name for node in self.nodes if key in node.buckets[BUCKET]}
                self.assertEqual(have, {*before[key], *after})
            moved += set(before[key]) != set(after)
        self.assertGreater(moved, 0)

    def test_fewer_nodes_than_copies(self) -> None:
        self.use(self.nodes[:1])
        self.stored(KEY, SMALL)
        self.assertEqual(self.holders(), "a")
        self.assertEqual(self.read(KEY), SMALL)


class OneFailsTests(GatewayTestCase):
    """A target that fails on the way."""

    count = 5

    def test_another_gets_it_before_the_answer(self) -> None:
        for fault in FAULTS:
            for data, told, method in (
                (SMALL, True, "put"),
                (FLOWING, True, "put"),
                (LONG, False, "create_upload"),
                (LONG, False, "put_part"),
                (LONG, False, "complete_upload"),
            ):
                if fault.after_bytes and method in ("create_upload", "complete_upload"):
                    continue
                for node, holders in ((self.a, "bc"), (self.b, "ac")):
                    node.script(method, fault, times=None)
                    self.stored(KEY, data, told=told)
                    node.heal()
                    self.assertEqual(self.holders(data=data), holders, (fault, method))
                    self.assertEqual(self.read(KEY), data)
                    self.assertEqual(self.holders(data=data), holders, "reads make no copies")
                    for each in self.nodes:
                        each.buckets[BUCKET].clear()
                        each.uploads.clear()
                    self.forget()

    def test_what_was_made_up_is_the_same_object(self) -> None:
        headers = ((b"content-type", b"a/b"), (b"x-amz-meta-who", b"me"))
        for data, told, method in ((FLOWING, True, "put"), (LONG, False, "put_part")):
            self.a.script(method, refused(), times=None)
            written = self.stored(KEY, data, told=told, headers=headers)
            one, other = self.b.buckets[BUCKET][KEY], self.c.buckets[BUCKET][KEY]
            self.assertEqual(one.etag, other.etag)
            self.assertEqual(one.etag, written.etag)
            self.assertEqual(one.head.stamp, other.head.stamp)
            self.assertEqual(one.head.headers, other.head.headers)
            self.assertEqual(other.head.headers, headers)

    def test_a_small_one_is_replayed_without_reading_another_node(self) -> None:
        self.a.script("put", breaks(20))
        self.stored(KEY, SMALL)
        for node in self.nodes:
            self.assertEqual(node.requests["get"], 0)

    def test_the_next_handoff_when_the_first_one_fails(self) -> None:
        for data, told in WAYS:
            method = "put" if told else "put_part"
            self.a.script(method, refused(), times=None)
            self.c.script("put", refused())
            self.c.script("create_upload", refused())
            self.stored(KEY, data, told=told)
            self.assertEqual(self.holders(data=data), "bd")
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.heal()
            self.forget()

    def test_without_enough_it_is_an_error_and_marked(self) -> None:
        for data, told in WAYS:
            for node in (self.a, self.c, self.d):
                node.script("put", refused(403, "AccessDenied"))
                # The first when it begins, the second when copies are made up.
                node.script("create_upload", refused(403, "AccessDenied"), times=2)
            self.failureResultOf(self.put(KEY, data, told=told), ClusterError)
            self.assertEqual(self.holders(data=data), "b")
            (mark,) = self.marks()
            self.assertFalse(mark.written)
            self.assertEqual(self.letters(mark.nodes), "a")
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.heal()
            self.forget()

    def test_both_primaries_fail_a_small_one_goes_to_both_handoffs(self) -> None:
        for node in (self.a, self.b):
            node.script("put", refused())
        self.stored(KEY, SMALL)
        self.assertEqual(self.holders(), "cd")

    def test_both_primaries_fail_a_long_one_is_an_error(self) -> None:
        for data, told, method in ((FLOWING, True, "put"), (LONG, False, "put_part")):
            for node in (self.a, self.b):
                node.script(method, breaks(500))
            self.failureResultOf(self.put(KEY, data, told=told), NoQuorum)
            self.assertEqual(self.holders(), "")
            self.forget()

    def test_where_an_older_write_may_land_yet_comes_last(self) -> None:
        for data, told in WAYS:
            self.a.script("put", timed_out())
            self.stored(KEY, b"old")
            self.assertEqual(self.holders(), "bc")
            # Were the old one to land on it now, this one would be a copy short.
            self.stored(KEY, data, told=told)
            self.assertEqual(self.holders(data=data), "bc")
            self.down(self.c, self.d)
            self.stored(KEY, data, told=told)
            self.assertEqual(self.holders(data=data), "abc")
            self.settle()
            self.forget()
            for node in self.nodes:
                node.buckets[BUCKET].clear()

    def test_one_that_was_silent_meanwhile_doesnt_count_for_sure(self) -> None:
        gate: Deferred[None] = Deferred()
        self.a.script("put", stalls(1000, lambda: gate))
        writing = self.put(KEY, FLOWING)
        self.a.script("put", timed_out())
        self.stored(KEY, SMALL)
        gate.callback(None)
        self.successResultOf(writing)
        self.assertEqual(self.holders(data=FLOWING), "abc")

    def test_what_a_node_took_and_lost_again_isnt_copied_as_if_it_were_there(self) -> None:
        for data, told, method in ((FLOWING, True, "put"), (LONG, False, "complete_upload")):
            self.stored(KEY, b"old")
            before = {node: node.snapshot() for node in self.nodes}
            gate: Deferred[None] = Deferred()
            self.a.script(method, late(lambda gate=gate: gate))
            self.a.script(method, refused())
            writing = self.put(KEY, data, told=told)
            self.assertEqual(self.holders(data=data), "b")
            # Its power goes: an older object is there again.
            self.b.restore(before[self.b])
            gate.errback(NodeTimeout(self.a.name, "no answer"))
            self.failureResultOf(writing, ClusterError)
            self.assertEqual(self.holders(data=data), "")
            self.forget()
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.uploads.clear()

    def test_a_digest_that_the_nodes_refuse_is_the_clients_error(self) -> None:
        wrong = Fault(lambda node: DigestMismatch("other bytes came"))
        for data in (SMALL, FLOWING):
            for nodes in ((self.a, self.b), (self.a,)):
                for node in nodes:
                    node.script("put", wrong)
                self.forget_requests()
                self.failureResultOf(self.put(KEY, data), DigestMismatch)
                self.assertNotIn("get", self.c.requests)
                self.assertEqual(self.holders()[2:], "")
                self.assertEqual(len(self.marks()), int(len(nodes) == 1))
                self.forget()

    def test_different_etags_are_no_success(self) -> None:
        class Odd(MemoryNode):
            def put(self, *args: Any) -> Deferred[str]:
                return super().put(*args).addCallback(lambda etag: '"' + "0" * 32 + '"')

        nodes = [Odd("n1", now=self.clock.seconds, piece_bytes=300), *self.nodes[1:]]
        self.use(nodes)
        key = next(
            key
            for key in map(str, range(99))
            if "n1" in [each.name for each in self.order(key)[:2]]
        )
        for data in (SMALL, FLOWING):
            self.failureResultOf(self.put(key, data), ClusterError)


class StalledTests(GatewayTestCase):
    """A target that stands still: the node gives it up in time, the others go on then."""

    def stalled(self, key: str, data: bytes, told: bool, fault: Fault) -> Deferred[Any]:
        self.a.script("put" if told else "put_part", fault)
        return self.put(key, data, told=told)

    def test_the_body_waits_for_the_slowest(self) -> None:
        gate: Deferred[None] = Deferred()
        writing = self.stalled(KEY, FLOWING, True, stalls(1000, lambda: gate))
        self.assertNoResult(writing)
        self.assertLess(self.source.sent_bytes, 2000)
        gate.callback(None)
        self.successResultOf(writing)
        self.assertEqual(self.holders(data=FLOWING), "ab")

    def test_one_that_is_given_up_doesnt_take_the_others_along(self) -> None:
        for data, told in WAYS:
            gate: Deferred[None] = Deferred()
            fault = Fault(timed_out().error, after_bytes=20, gate=lambda gate=gate: gate)
            self.a.script("create_upload", NO_FAULT)
            self.a.script("create_upload", refused())
            writing = self.stalled(KEY, data, told, fault)
            self.assertNoResult(writing)
            gate.callback(None)
            self.successResultOf(writing)
            self.assertEqual(self.holders(data=data), "bc")
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.uploads.clear()
            self.forget()

    def test_other_keys_arent_disturbed(self) -> None:
        gate: Deferred[None] = Deferred()
        writing = self.stalled(KEY, FLOWING, True, stalls(1000, lambda: gate))
        for number in range(10):
            self.stored(f"k{number}", SMALL)
            self.assertEqual(self.read(f"k{number}"), SMALL)
        self.assertNoResult(writing)
        gate.callback(None)
        self.successResultOf(writing)

    def test_a_late_answer_is_waited_for(self) -> None:
        gate: Deferred[None] = Deferred()
        self.b.script("put", late(lambda: gate, carried_out=True))
        writing = self.put(KEY, SMALL)
        self.assertNoResult(writing)
        gate.callback(None)
        self.successResultOf(writing)
        self.assertEqual(self.marks(), [])


class VanishedClientTests(GatewayTestCase):
    def test_no_node_keeps_anything_of_it(self) -> None:
        self.stored(KEY, b"old")
        for data, told, fails_at in (
            (SMALL, True, 20),
            (FLOWING, True, 3000),
            (FLOWING, True, 4999),
            (LONG, False, 700),
            (LONG, False, 5000),
        ):
            source = BytesSource(
                data, told=told, piece_bytes=300, fails_at=fails_at, fails=ClientGone()
            )
            writing = self.run_(put(self.store, Put(BUCKET, KEY, source)))
            self.failureResultOf(writing, ClientGone)
            self.assertEqual(self.holders(data=b"old"), "ab")
        self.assertEqual(self.marks(), [])
        self.assertEqual(self.remembered("uploads/"), {})

    def test_who_leaves_while_copies_are_made_up_gets_no_fewer(self) -> None:
        gate: Deferred[None] = Deferred()
        for data, told, method in ((FLOWING, True, "put"), (LONG, False, "put_part")):
            gate = Deferred()
            self.a.script(method, refused(), times=None)
            self.c.script("head", late(lambda gate=gate: gate))
            writing = self.put(KEY, data, told=told)
            self.assertNoResult(writing)
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing)
            self.assertEqual(self.holders(data=data), "bc")
