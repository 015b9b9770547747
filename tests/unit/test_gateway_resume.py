"""Reads that must not be older than what is known, and bodies that break in the middle."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.model.errors import (
    ClientGone,
    NodeUnavailable,
    NoQuorum,
    NoSuchKey,
)
from aosd.model.ranges import parse_range
from aosd.testing.bodies import CollectingConsumer
from aosd.testing.faults import (
    Fault,
    breaks,
    refused,
    timed_out,
    unavailable,
)
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, S1, S2, S3, GatewayTestCase


class KnownNewestTests(GatewayTestCase):
    """What is older than the newest write known isn't answered."""

    def test_both_holders_of_the_newest_are_away(self) -> None:
        self.stored(KEY, b"old")
        self.down(self.a)
        self.stored(KEY, b"new")
        self.assertEqual(self.holders(data=b"new"), "bc")
        self.back(self.a)
        self.assertEqual(self.read(KEY), b"new")
        self.down(self.b, self.c)
        self.failureResultOf(self.getting(KEY), NoQuorum)
        self.failureResultOf(self.heading(KEY), NoQuorum)

    def test_nor_is_its_absence(self) -> None:
        self.down(self.a)
        self.stored(KEY, b"new")
        self.back(self.a)
        for node in self.nodes:
            node.buckets[BUCKET].clear()
        self.failureResultOf(self.getting(KEY), NoQuorum)

    def test_unless_it_was_deleted_since(self) -> None:
        self.down(self.a)
        self.stored(KEY, b"new")
        self.deleted(KEY)
        self.back(self.a)
        self.failureResultOf(self.getting(KEY), NoSuchKey)

    def test_a_mark_tells_after_a_restart(self) -> None:
        self.stored(KEY, b"old")
        self.b.script("put", timed_out())
        self.stored(KEY, b"new")
        self.assertEqual(self.holders(data=b"new"), "ac")
        records = {name: copy.data for name, copy in self.b.buckets["aos-system"].items()}
        self.use(self.nodes)
        self.store.marks.load(records)
        self.down(self.a, self.c)
        self.failureResultOf(self.getting(KEY), NoQuorum)

    def test_a_write_that_failed_isnt_waited_for(self) -> None:
        self.stored(KEY, b"old")
        self.down(self.c)
        self.a.script("put", timed_out())
        self.b.script("put", refused())
        self.failureResultOf(self.put(KEY, b"new"))
        self.assertEqual(self.read(KEY), b"old")


class ResumeTests(GatewayTestCase):
    """A node that fails in the middle of a body: the client notices nothing."""

    count = 5

    def test_goes_on_from_another_copy(self) -> None:
        self.stored(KEY, FLOWING)
        for settled in (True, False):
            if not settled:
                self.unsettle()
            for after in (0, 1, 300, 4999):
                for node in (self.a, self.b):
                    node.script("get", breaks(after))
                self.forget_requests()
                self.assertEqual(self.read(KEY), FLOWING)
                for node in self.nodes:
                    node.heal()

    def test_asks_for_the_rest_alone(self) -> None:
        self.stored(KEY, FLOWING)
        found = self.successResultOf(self.getting(KEY))
        assert found.reading is not None
        first = self.a if self.a.open_readings else self.b
        found.reading.abandon()
        first.script("get", breaks(1000), times=None)
        asked: list[object] = []
        for node in (self.a, self.b):
            get = node.get

            def remember(*args: object, get=get) -> object:  # type: ignore[no-untyped-def]
                asked.append(args)
                return get(*args)

            node.get = remember  # type: ignore[method-assign,assignment]
        data = self.read(KEY)
        self.assertEqual(data, FLOWING)
        etag = self.a.buckets[BUCKET][KEY].etag
        self.assertTrue(all(each[3] == etag for each in asked[1:]), asked)  # type: ignore[index]
        self.assertEqual(asked[-1][2].first % 1000, 0)  # type: ignore[index]
        self.assertGreater(asked[-1][2].first, 0)  # type: ignore[index]

    def test_a_range_goes_on_where_it_was(self) -> None:
        data = bytes(range(250)) * 20
        self.stored(KEY, data)
        for node in (self.a, self.b):
            node.script("get", breaks(700))
        wanted = parse_range("bytes=1000-2999")
        self.assertEqual(self.read(KEY, wanted=wanted), data[1000:3000])

    def test_never_from_another_version(self) -> None:
        """Not even one with the same bytes: its stamp tells."""
        for stamp in (S1, S3):
            for node in (self.a, self.b):
                self.lay(node, FLOWING, S2)
            gate: Deferred[None] = Deferred()
            fault = Fault(unavailable().error, after_bytes=1000, gate=lambda gate=gate: gate)
            for node in (self.a, self.b):
                node.script("get", fault)
            delivering = self.delivering()
            for node in (self.a, self.b):
                self.lay(node, FLOWING, stamp)
                node.heal()
            gate.callback(None)
            self.failureResultOf(delivering, NodeUnavailable)

    def delivering(self) -> Deferred[None]:
        found = self.successResultOf(self.getting(KEY))
        assert found.reading is not None
        delivering = found.reading.deliver(CollectingConsumer())
        self.assertNoResult(delivering)
        return delivering

    def test_nobody_else_has_the_version(self) -> None:
        self.lay(self.a, FLOWING, S2)
        self.lay(self.b, b"o" * 5000, S1)
        self.unsettle()
        self.a.script("get", breaks(1000), times=None)
        found = self.successResultOf(self.getting(KEY))
        assert found.reading is not None
        consumer = CollectingConsumer()
        self.failureResultOf(found.reading.deliver(consumer))
        self.assertTrue(FLOWING.startswith(consumer.data))
        self.assertTrue(consumer.ended)

    def test_a_slow_client_stays_in_charge_of_the_pace(self) -> None:
        self.stored(KEY, FLOWING)
        for node in (self.a, self.b):
            node.script("get", breaks(1000))
        found = self.successResultOf(self.getting(KEY))
        assert found.reading is not None
        consumer = CollectingConsumer(pause_after_bytes=500)
        delivering = found.reading.deliver(consumer)
        while consumer.paused:
            consumer.resume()
        self.successResultOf(delivering)
        self.assertEqual(bytes(consumer.data), FLOWING)
        self.assertEqual(consumer.late_bytes, 0)

    def test_a_client_that_leaves_isnt_made_up_for(self) -> None:
        self.stored(KEY, FLOWING)
        found = self.successResultOf(self.getting(KEY))
        assert found.reading is not None
        consumer = CollectingConsumer(pause_after_bytes=500)
        delivering = found.reading.deliver(consumer)
        self.forget_requests()
        consumer.stop()
        self.failureResultOf(delivering, ClientGone)
        self.assertEqual(self.requests(), {})
