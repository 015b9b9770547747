"""The use cases over nodes in memory: what clients are promised, with faults."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import Listing, list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Found, Get, Put, Written
from aosd.gateway.store import Limits, Store
from aosd.model.conditions import Conditions
from aosd.model.errors import (
    BadRequest,
    ClientGone,
    DigestMismatch,
    NoNodes,
    NoQuorum,
    NoSuchKey,
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
    SlowDown,
    TooLarge,
    UpstreamNonsense,
    UpstreamTimeout,
)
from aosd.model.names import is_object_id
from aosd.model.node import Member
from aosd.model.objects import STAMP_HEADER
from aosd.model.ranges import parse_range
from aosd.model.ring import Ring
from aosd.model.stamp import StampClock, is_stamp
from aosd.ports import Candidate, IPlacement
from aosd.streams.budget import MemoryBudget
from aosd.testing.bodies import BytesSource, CollectingConsumer
from aosd.testing.faults import (
    breaks,
    full,
    late,
    nonsense,
    refused,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode

T = TypeVar("T")

BUCKET = "object"
LIMITS = Limits(held_bytes=100, single_put_bytes=100_000, part_bytes=1000, part_bytes_max=4000)
SMALL, FLOWING, LONG = b"s" * 50, b"f" * 5_000, b"l" * 10_500


def etag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@implementer(IPlacement)
class Placement:
    """A ring over nodes in memory, any of which may be away."""

    def __init__(self, nodes: Sequence[MemoryNode]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.away: set[str] = set()
        self.ring = Ring(Member(name, 1.0, name) for name in self.nodes)

    def order(self, bucket: str, key: str) -> list[Candidate]:
        return [self._candidate(name) for name in self.ring.order(bucket, key)]

    def members(self) -> list[Candidate]:
        return [self._candidate(name) for name in sorted(self.nodes)]

    def _candidate(self, name: str) -> Candidate:
        return Candidate(name, None if name in self.away else self.nodes[name])


class GatewayTestCase(SynchronousTestCase):
    """Three nodes, one copy a key."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.budget = MemoryBudget(4000)
        self.to_the_end = ToTheEnd()
        self.turns = Turns(self.clock, 20.0, self.to_the_end)
        self.use(
            [
                MemoryNode(f"n{number}", now=self.clock.seconds, piece_bytes=300)
                for number in (1, 2, 3)
            ]
        )

    def use(self, nodes: list[MemoryNode]) -> None:
        """Make these the store's nodes."""
        self.nodes = nodes
        self.placement = Placement(nodes)
        self.store = Store(
            self.placement,
            self.turns,
            self.to_the_end,
            StampClock(self.clock.seconds, "00000001"),
            self.budget,
            LIMITS,
        )

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.turns), 0)
        self.assertEqual(self.budget.used_bytes, 0)
        for node in self.nodes:
            self.assertEqual(node.open_readings, 0, node.name)
            self.assertEqual(node.uploads, {}, node.name)

    # -- in the client's words ------------------------------------------------------------------

    def run_(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(work)

    def put(self, key: str, data: bytes, *, told: bool = True, **more: Any) -> Deferred[Written]:
        source = BytesSource(data, told=told, piece_bytes=300)
        return self.run_(put(self.store, Put(BUCKET, key, source, **more)))

    def stored(self, key: str, data: bytes, **more: Any) -> Written:
        return self.successResultOf(self.put(key, data, **more))

    def read(self, key: str, **more: Any) -> bytes:
        found = self.successResultOf(self.run_(get(self.store, Get(BUCKET, key, **more))))
        consumer = CollectingConsumer()
        assert found.reading is not None
        self.successResultOf(found.reading.deliver(consumer))
        return bytes(consumer.data)

    def getting(self, key: str, **more: Any) -> Deferred[Found]:
        return self.run_(get(self.store, Get(BUCKET, key, **more)))

    def list(self, **more: Any) -> Listing:
        work = list_objects(self.store, BUCKET, wanted=is_object_id, **more)
        return self.successResultOf(self.run_(work))

    def order(self, key: str) -> list[MemoryNode]:
        return [self.placement.nodes[name] for name in self.placement.ring.order(BUCKET, key)]

    def holders(self, key: str) -> list[str]:
        return [node.name for node in self.nodes if key in node.buckets[BUCKET]]


class PutTests(GatewayTestCase):
    def test_each_way_of_going_stores_the_bytes_on_the_primary_alone(self) -> None:
        for data in (b"", SMALL, FLOWING, LONG):
            for told in (True, False):
                written = self.stored("k", data, told=told)
                self.assertEqual(written.size_bytes, len(data))
                self.assertEqual(self.read("k"), data)
                self.assertEqual(self.holders("k"), [self.order("k")[0].name])

    def test_over_the_longest_single_put_it_goes_in_parts(self) -> None:
        data = b"x" * 100_001
        written = self.stored("k", data)
        self.assertTrue(written.etag.endswith('-101"'), written.etag)
        self.assertEqual(self.read("k"), data)

    def test_an_unknown_length_within_a_part_is_an_ordinary_put(self) -> None:
        for length in (0, 999, 1000):
            data = b"x" * length
            self.assertEqual(self.stored("k", data, told=False).etag, etag_of(data))
        self.assertIn("-2", self.stored("k", b"x" * 1001, told=False).etag)

    def test_each_carries_its_stamp_and_the_clients_headers(self) -> None:
        headers = ((b"content-type", b"a/b"), (b"x-amz-meta-who", "é".encode()))
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            self.stored("k", data, told=told, headers=headers)
            copy = self.order("k")[0].buckets[BUCKET]["k"]
            kept = dict(copy.headers)
            self.assertTrue(is_stamp(kept[STAMP_HEADER].decode()))
            self.assertEqual(copy.head.headers, headers)

    def test_what_no_node_could_keep_is_refused_before_the_body(self) -> None:
        for headers in (
            ((b"x-amz-meta-aos-stamp", b"1"),),
            ((b"x-amz-meta-a", b"\xff"),),
            ((b"x-amz-meta-a", b"x" * 1900),),
            ((b"x-amz-meta-a", b"x\ty"),),
            ((b"x-amz-meta-a", b"x\x7f"),),
            ((b"x-amz-meta-a", "x\u00a0y".encode()),),
        ):
            source = BytesSource(SMALL)
            writing = self.run_(put(self.store, Put(BUCKET, "k", source, headers=headers)))
            self.failureResultOf(writing, BadRequest)
            self.assertFalse(source.started)

    def test_a_wrong_digest_changes_nothing(self) -> None:
        self.stored("k", b"old")
        for data, told in ((SMALL, True), (FLOWING, True), (SMALL, False), (LONG, False)):
            for claim in ({"content_md5": bytes(16)}, {"content_sha256": bytes(32)}):
                self.failureResultOf(self.put("k", data, told=told, **claim), DigestMismatch)
                self.assertEqual(self.read("k"), b"old")

    def test_a_wrong_digest_is_noticed_where_no_node_looks(self) -> None:
        self.use([MemoryNode("n1", piece_bytes=300, checks_sha256=False)])
        for data, told in ((SMALL, True), (FLOWING, True), (SMALL, False), (LONG, False)):
            writing = self.put("k", data, told=told, content_sha256=bytes(32))
            self.failureResultOf(writing, DigestMismatch)
            self.assertEqual(self.holders("k"), [])

    def test_a_right_digest_passes(self) -> None:
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            self.stored(
                "k",
                data,
                told=told,
                content_md5=hashlib.md5(data).digest(),
                content_sha256=hashlib.sha256(data).digest(),
            )

    def test_a_vanished_client_leaves_the_old_object(self) -> None:
        self.stored("k", b"old")
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
            writing = self.run_(put(self.store, Put(BUCKET, "k", source)))
            self.failureResultOf(writing, ClientGone)
            self.assertEqual(self.read("k"), b"old")

    def test_too_long_is_refused(self) -> None:
        self.store = Store(
            self.placement,
            self.turns,
            self.to_the_end,
            self.store.stamps,
            self.budget,
            Limits(held_bytes=1, single_put_bytes=1, part_bytes=1, part_bytes_max=1),
        )
        self.failureResultOf(self.put("k", b"x" * 10_001), TooLarge)
        self.failureResultOf(self.put("k", b"x" * 10_001, told=False), TooLarge)

    def test_a_primary_that_is_away_is_told_before_the_body(self) -> None:
        self.placement.away.add(self.order("k")[0].name)
        source = BytesSource(SMALL)
        writing = self.run_(put(self.store, Put(BUCKET, "k", source)))
        self.failureResultOf(writing, NoQuorum)
        self.assertFalse(source.started)

    def test_no_nodes(self) -> None:
        self.placement.ring = Ring(())
        self.failureResultOf(self.put("k", SMALL), NoNodes)

    def test_each_failure_of_a_node_is_the_clusters_in_its_own_way(self) -> None:
        self.stored("k", b"old")
        for fault, error in (
            (unavailable(), NoQuorum),
            (timed_out(), UpstreamTimeout),
            (nonsense(), UpstreamNonsense),
            (refused(), NoQuorum),
            (full(), NoQuorum),
            (breaks(500), NoQuorum),
        ):
            for data, told, method in (
                (FLOWING, True, "put"),
                (LONG, False, "create_upload"),
                (LONG, False, "put_part"),
                (LONG, False, "complete_upload"),
            ):
                if fault.after_bytes and method in ("create_upload", "complete_upload"):
                    continue
                self.order("k")[0].script(method, fault)
                self.failureResultOf(self.put("k", data, told=told), error)
                self.assertEqual(self.read("k"), b"old", method)
                for node in self.nodes:
                    node.uploads.clear() if method == "complete_upload" else None

    def test_a_part_that_fails_aborts_the_upload(self) -> None:
        self.order("k")[0].script("put_part", refused())
        self.failureResultOf(self.put("k", LONG, told=False), NoQuorum)
        self.assertEqual(self.order("k")[0].requests["abort_upload"], 1)

    def test_memory_is_bounded_for_all_together(self) -> None:
        gate: Deferred[None] = Deferred()
        writings = []
        for number in range(8):
            key = f"k{number}"
            self.order(key)[0].script("put", late(lambda: gate))
            writings.append(self.put(key, b"x" * 900, told=False))
        self.assertEqual(self.budget.used_bytes, 4000)
        gate.callback(None)
        for writing in writings:
            self.successResultOf(writing)


class ConditionTests(GatewayTestCase):
    def test_create_only(self) -> None:
        only = Conditions(if_none_match="*")
        for key, data, told in (("a", SMALL, True), ("b", FLOWING, True), ("c", LONG, False)):
            self.stored(key, data, told=told, conditions=only)
            self.failureResultOf(
                self.put(key, b"other", told=told, conditions=only), PreconditionFailed
            )
            self.assertEqual(self.read(key), data)

    def test_replace_only_the_version_named(self) -> None:
        first = self.stored("k", SMALL)
        second = self.stored("k", FLOWING, conditions=Conditions(if_match=first.etag))
        writing = self.put("k", LONG, told=False, conditions=Conditions(if_match=first.etag))
        self.failureResultOf(writing, PreconditionFailed)
        self.stored("k", LONG, told=False, conditions=Conditions(if_match=second.etag))

    def test_if_match_on_nothing_fails(self) -> None:
        writing = self.put("k", SMALL, conditions=Conditions(if_match="*"))
        self.failureResultOf(writing, PreconditionFailed)

    def test_an_etag_in_if_none_match_is_no_condition_for_writes(self) -> None:
        writing = self.put("k", SMALL, conditions=Conditions(if_none_match='"a"'))
        self.failureResultOf(writing, BadRequest)

    def test_of_two_that_race_one_wins(self) -> None:
        """Both pass the early look, both bodies flow; the turn decides."""
        only = Conditions(if_none_match="*")
        for key, data, told, last in (
            ("a", SMALL, True, "put"),
            ("b", FLOWING, True, "put"),
            ("c", LONG, False, "complete_upload"),
        ):
            gate: Deferred[None] = Deferred()
            self.order(key)[0].script(last, late(lambda gate=gate: gate))
            first = self.put(key, data, told=told, conditions=only)
            second = self.put(key, data, told=told, conditions=only)
            self.assertNoResult(second)
            gate.callback(None)
            self.successResultOf(first)
            self.failureResultOf(second, PreconditionFailed)

    def test_a_turn_that_does_not_come(self) -> None:
        gate: Deferred[None] = Deferred()
        self.order("k")[0].script("put", late(lambda: gate))
        first = self.put("k", SMALL)
        second = self.put("k", SMALL)
        self.clock.advance(20)
        self.failureResultOf(second, SlowDown)
        gate.callback(None)
        self.successResultOf(first)

    def test_a_client_that_leaves_during_its_turn_keeps_it_to_the_end(self) -> None:
        gate: Deferred[None] = Deferred()
        self.order("k")[0].script("put", late(lambda: gate, carried_out=True))
        first = self.put("k", b"first")
        second = self.put("k", b"second")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        gate.callback(None)
        self.successResultOf(second)
        self.assertEqual(self.read("k"), b"second")


class GetTests(GatewayTestCase):
    def test_ranges(self) -> None:
        self.stored("k", b"0123456789")
        for text, wanted in (
            ("bytes=2-4", b"234"),
            ("bytes=7-", b"789"),
            ("bytes=-2", b"89"),
            ("bytes=8-100", b"89"),
            ("bytes=1-2,4-5", b"0123456789"),
        ):
            self.assertEqual(self.read("k", wanted=parse_range(text)), wanted)
        failure = self.failureResultOf(
            self.getting("k", wanted=parse_range("bytes=10-")), RangeNotSatisfiable
        )
        self.assertEqual(failure.value.size_bytes, 10)

    def test_conditions_come_before_ranges(self) -> None:
        etag = self.stored("k", b"0123456789").etag
        reading = self.getting(
            "k",
            wanted=parse_range("bytes=10-"),
            conditions=Conditions(if_none_match=etag),
        )
        self.failureResultOf(reading, NotModified)

    def test_conditions(self) -> None:
        etag = self.stored("k", SMALL).etag
        self.assertEqual(self.read("k", conditions=Conditions(if_match=etag)), SMALL)
        failing = self.getting("k", conditions=Conditions(if_match='"other"'))
        self.failureResultOf(failing, PreconditionFailed)

    def test_last_modified_is_the_stamps_time(self) -> None:
        self.stored("k", SMALL)
        node = self.order("k")[0]
        self.clock.advance(1000)
        found = self.successResultOf(self.run_(head(self.store, Get(BUCKET, "k"))))
        self.assertEqual(found.modified_s, 1_700_000_000)
        self.assertEqual(node.requests["head"], 1)

    def test_if_range(self) -> None:
        etag = self.stored("k", b"0123456789").etag
        wanted = parse_range("bytes=0-1")
        self.assertEqual(self.read("k", wanted=wanted, if_range=etag), b"01")
        self.assertEqual(self.read("k", wanted=wanted, if_range='"other"'), b"0123456789")

    def test_a_miss_is_checked_with_the_others(self) -> None:
        stray = self.order("k")[2]
        self.stored("k", b"stray")
        stray.buckets[BUCKET]["k"] = self.order("k")[0].buckets[BUCKET].pop("k")
        self.assertEqual(self.read("k"), b"stray")
        found = self.successResultOf(self.run_(head(self.store, Get(BUCKET, "k"))))
        self.assertEqual(found.head.size_bytes, 5)

    def test_the_newest_of_several_strays_counts(self) -> None:
        primary, second, third = self.order("k")
        self.stored("k", b"old")
        third.buckets[BUCKET]["k"] = primary.buckets[BUCKET].pop("k")
        self.clock.advance(1)
        self.stored("k", b"new")
        second.buckets[BUCKET]["k"] = primary.buckets[BUCKET].pop("k")
        self.assertEqual(self.read("k"), b"new")

    def test_nowhere(self) -> None:
        self.failureResultOf(self.getting("k"), NoSuchKey)
        self.failureResultOf(self.run_(head(self.store, Get(BUCKET, "k"))), NoSuchKey)

    def test_nowhere_while_another_node_is_away(self) -> None:
        self.placement.away.add(self.order("k")[1].name)
        self.order("k")[2].script("head", unavailable())
        self.failureResultOf(self.getting("k"), NoSuchKey)

    def test_a_miss_that_another_node_can_not_confirm_is_none(self) -> None:
        self.order("k")[2].script("head", refused())
        self.failureResultOf(self.getting("k"), NoQuorum)

    def test_a_primary_that_is_away(self) -> None:
        self.placement.away.add(self.order("k")[0].name)
        self.failureResultOf(self.getting("k"), NoQuorum)

    def test_a_body_that_breaks_is_told(self) -> None:
        self.stored("k", FLOWING)
        self.order("k")[0].script("get", breaks(1000))
        found = self.successResultOf(self.getting("k"))
        assert found.reading is not None
        self.failureResultOf(found.reading.deliver(CollectingConsumer()))


class DeleteTests(GatewayTestCase):
    def test_goes_to_all_that_are_up(self) -> None:
        primary, second, third = self.order("k")
        self.stored("k", SMALL)
        second.buckets[BUCKET]["k"] = primary.buckets[BUCKET]["k"]
        self.placement.away.add(third.name)
        self.successResultOf(self.run_(delete(self.store, BUCKET, "k")))
        self.assertEqual(self.holders("k"), [])
        self.successResultOf(self.run_(delete(self.store, BUCKET, "k")))

    def test_a_primary_that_is_away(self) -> None:
        self.placement.away.add(self.order("k")[0].name)
        self.failureResultOf(self.run_(delete(self.store, BUCKET, "k")), NoQuorum)

    def test_conditions_are_decided_at_its_turn(self) -> None:
        written = self.stored("k", SMALL)
        other = delete(self.store, BUCKET, "k", Conditions(if_match='"other"'))
        self.failureResultOf(self.run_(other), PreconditionFailed)
        self.assertEqual(self.read("k"), SMALL)
        named = delete(self.store, BUCKET, "k", Conditions(if_match=written.etag))
        self.successResultOf(self.run_(named))
        self.assertEqual(self.holders("k"), [])

    def test_waits_for_its_turn(self) -> None:
        gate: Deferred[None] = Deferred()
        self.order("k")[0].script("put", late(lambda: gate))
        writing = self.put("k", SMALL)
        deleting = self.run_(delete(self.store, BUCKET, "k"))
        self.assertNoResult(deleting)
        gate.callback(None)
        self.successResultOf(writing)
        self.successResultOf(deleting)
        self.assertEqual(self.holders("k"), [])


class ListTests(GatewayTestCase):
    def fill(self, count: int) -> list[str]:
        keys = [f"k{number:04d}" for number in range(count)]
        for key in keys:
            self.stored(key, b"x")
        return keys

    def test_pages_over_all_nodes_give_each_key_once_in_order(self) -> None:
        keys = self.fill(57)
        for limit in (1, 7, 57, 1000):
            found: list[str] = []
            more = True
            while more:
                page = self.list(limit=limit, after=found[-1] if found else "")
                self.assertLessEqual(len(page.entries), limit)
                found += [entry.key for entry in page.entries]
                more = page.more
            self.assertEqual(found, keys)

    def test_prefix_and_after(self) -> None:
        keys = self.fill(30)
        self.assertEqual([each.key for each in self.list(prefix="k001").entries], keys[10:20])
        self.assertEqual(
            [each.key for each in self.list(prefix="k00", after="k0027").entries], keys[28:]
        )

    def test_a_key_on_two_nodes_is_listed_once(self) -> None:
        self.stored("k", SMALL)
        primary, second, _ = self.order("k")
        second.buckets[BUCKET]["k"] = primary.buckets[BUCKET]["k"]
        self.assertEqual([entry.key for entry in self.list().entries], ["k"])

    def test_what_is_no_id_is_left_out_and_not_counted(self) -> None:
        keys = self.fill(5)
        node = self.nodes[0]
        copy = next(iter(self.order("k0000")[0].buckets[BUCKET].values()))
        for odd in ("a/b", "a/c", "a-b", "k0001/x", "k0002.txt", "é", "x" * 33):
            node.buckets[BUCKET][odd] = copy
        page = self.list(limit=5)
        self.assertEqual([entry.key for entry in page.entries], keys)
        self.assertFalse(page.more)

    def test_a_node_that_lists_in_tree_order(self) -> None:
        self.use([MemoryNode(node.name, tree_order=True) for node in self.nodes])
        keys = self.fill(12)
        copy = self.order(keys[0])[0].buckets[BUCKET][keys[0]]
        for node in self.nodes:
            for odd in ("k0003/a", "k0003-a", "k0007/b/c", "a/b"):
                node.buckets[BUCKET][odd] = copy
        found: list[str] = []
        more = True
        while more:
            page = self.list(limit=2, after=found[-1] if found else "")
            found += [entry.key for entry in page.entries]
            more = page.more
        self.assertEqual(found, keys)

    def test_not_while_a_node_is_away(self) -> None:
        self.placement.away.add("n2")
        work = list_objects(self.store, BUCKET, wanted=is_object_id)
        self.failureResultOf(self.run_(work), NoQuorum)

    def test_not_when_a_node_fails(self) -> None:
        self.nodes[1].script("list", timed_out())
        work = list_objects(self.store, BUCKET, wanted=is_object_id)
        self.failureResultOf(self.run_(work), UpstreamTimeout)


class LeavingTests(GatewayTestCase):
    """A client that leaves cancels its request, again and again while it is cleaned up."""

    def test_no_upload_is_left_open(self) -> None:
        for method in ("create_upload", "put_part", "abort_upload"):
            gate: Deferred[None] = Deferred()
            self.order("k")[0].script(method, late(lambda gate=gate: gate))
            if method == "abort_upload":
                self.order("k")[0].script("put_part", refused())
            writing = self.put("k", LONG, told=False)
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing, CancelledError)
            self.successResultOf(self.run_(self.to_the_end.idle()))
            self.assertEqual(self.order("k")[0].uploads, {}, method)
            self.assertEqual(self.holders("k"), [])
