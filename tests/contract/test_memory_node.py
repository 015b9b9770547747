"""The testing room itself: faults that strike when they should, bodies that can be held."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import (
    ClientGone,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
)
from aosd.model.node import Sighting
from aosd.ports import IReading
from aosd.testing.bodies import BytesBody, CollectingConsumer
from aosd.testing.discovery import ScriptedDiscovery
from aosd.testing.faults import (
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

BUCKET = "object"


class FaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = MemoryNode("n1", piece_bytes=100)

    def put(self, body: BytesBody, key: str = "a") -> Deferred[str]:
        return self.node.put(BUCKET, key, body, ())

    def holds(self, key: str = "a") -> bytes | None:
        copy = self.node.buckets[BUCKET].get(key)
        return copy.data if copy else None

    def test_strikes_so_many_times(self) -> None:
        self.node.script("list", unavailable(), times=2)
        for _ in range(2):
            self.failureResultOf(self.node.list(BUCKET), NodeUnavailable)
        self.successResultOf(self.node.list(BUCKET))
        self.assertEqual(self.node.requests["list"], 3)

    def test_lasts_until_healed(self) -> None:
        self.node.script("*", unavailable(), times=None)
        self.node.script("head", refused(403, "AccessDenied"))
        error = self.failureResultOf(self.node.head(BUCKET, "a"), NodeRefused).value
        self.assertEqual((error.node, error.status, error.code), ("n1", 403, "AccessDenied"))
        for waiting in (self.node.head(BUCKET, "a"), self.node.probe(), self.node.list(BUCKET)):
            self.failureResultOf(waiting, NodeUnavailable)
        self.node.heal()
        self.successResultOf(self.node.list(BUCKET))

    def test_a_node_that_cant_be_reached_never_sees_the_body(self) -> None:
        self.node.script("put", unavailable())
        body = BytesBody(b"data")
        self.failureResultOf(self.put(body), NodeUnavailable)
        self.assertEqual((body.sent_bytes, body.stopped), (0, False))

    def test_a_node_that_refuses_stops_the_body(self) -> None:
        for fault, kind in (
            (refused(), NodeRefused),
            (full(), NodeFull),
            (timed_out(), NodeTimeout),
            (nonsense(), NodeNonsense),
        ):
            self.node.script("put", fault)
            body = BytesBody(b"x" * 1000, piece_bytes=10)
            self.failureResultOf(self.put(body), kind)
            self.assertTrue(body.stopped)
            self.assertEqual(body.sent_bytes, 10)
            self.assertIsNone(self.holds())

    def test_an_answer_may_be_lost_after_the_deed(self) -> None:
        self.node.script("put", timed_out(carried_out=True))
        self.failureResultOf(self.put(BytesBody(b"data")), NodeTimeout)
        self.assertEqual(self.holds(), b"data")
        self.node.script("delete", timed_out(carried_out=True))
        self.failureResultOf(self.node.delete(BUCKET, "a"), NodeTimeout)
        self.assertIsNone(self.holds())

    def test_a_put_breaks_in_the_middle(self) -> None:
        self.node.script("put", breaks(500))
        body = BytesBody(b"x" * 1000, piece_bytes=100)
        self.failureResultOf(self.put(body), NodeUnavailable)
        self.assertEqual((body.sent_bytes, body.stopped), (500, True))
        self.assertIsNone(self.holds())

    def test_a_body_shorter_than_the_fault_is_struck_at_its_end(self) -> None:
        for method in ("put", "get"):
            self.successResultOf(self.put(BytesBody(b"old")))
            self.node.script(method, breaks(500))
            if method == "put":
                self.failureResultOf(self.put(BytesBody(b"data")), NodeUnavailable)
            else:
                self.failureResultOf(self.deliver(CollectingConsumer()), NodeUnavailable)
            self.assertEqual(self.holds(), b"old")

    def test_a_late_put_takes_effect_when_its_gate_opens(self) -> None:
        clock = Clock()
        self.node.script("put", late(lambda: deferLater(clock, 5, lambda: None)))
        putting = self.put(BytesBody(b"data"))
        clock.advance(4)
        self.assertNoResult(putting)
        self.assertIsNone(self.holds())
        clock.advance(1)
        self.successResultOf(putting)
        self.assertEqual(self.holds(), b"data")

    def test_only_the_answer_is_late(self) -> None:
        gate: Deferred[None] = Deferred()
        self.node.script("put", late(lambda: gate, carried_out=True))
        putting = self.put(BytesBody(b"data"))
        self.assertNoResult(putting)
        self.assertEqual(self.holds(), b"data")
        gate.callback(None)
        self.successResultOf(putting)

    def test_a_node_that_stops_reading_stops_the_body(self) -> None:
        gate: Deferred[None] = Deferred()
        self.node.script("put", stalls(300, lambda: gate))
        body = BytesBody(b"x" * 1000, piece_bytes=100)
        putting = self.put(body)
        self.assertNoResult(putting)
        self.assertEqual(body.sent_bytes, 300)
        gate.callback(None)
        self.successResultOf(putting)
        self.assertEqual(self.holds(), b"x" * 1000)

    def test_a_put_that_waits_can_be_given_up(self) -> None:
        for fault in (stalls(300, Deferred), late(Deferred)):
            self.node.script("put", fault)
            body = BytesBody(b"x" * 1000, piece_bytes=100)
            putting = self.put(body)
            putting.cancel()
            self.failureResultOf(putting, CancelledError)
            self.assertEqual(body.stopped, fault.after_bytes is not None)
            self.assertIsNone(self.holds())

    def test_a_body_that_fails_while_it_is_held_ends_the_put(self) -> None:
        gave_up: list[object] = []
        self.node.script("put", stalls(300, lambda: Deferred(gave_up.append)))
        body = BytesBody(b"x" * 1000, piece_bytes=100, fails_at=400, fails=ClientGone("gone"))
        putting = self.put(body)
        body.resumeProducing()
        self.failureResultOf(putting, ClientGone)
        self.assertEqual(len(gave_up), 1)

    def test_a_body_of_another_length_is_refused(self) -> None:
        for data in (b"x" * 9, b"x" * 11):
            body = BytesBody(data)
            body.length = 10
            self.failureResultOf(self.put(body), NodeNonsense)
            self.assertIsNone(self.holds())

    # -- readings ---------------------------------------------------------------------------

    def reading(self) -> IReading:
        return self.successResultOf(self.node.get(BUCKET, "a"))

    def deliver(self, consumer: CollectingConsumer) -> Deferred[None]:
        return self.reading().deliver(consumer)

    def test_a_reading_waits_for_its_consumer(self) -> None:
        self.successResultOf(self.put(BytesBody(b"x" * 1000)))
        consumer = CollectingConsumer(pause_after_bytes=250)
        delivering = self.deliver(consumer)
        for count in (300, 600, 900):
            self.assertEqual(len(consumer.data), count)
            self.assertNoResult(delivering)
            self.assertEqual(self.node.open_readings, 1)
            consumer.resume()
        self.successResultOf(delivering)
        self.assertEqual((len(consumer.data), consumer.late_bytes), (1000, 0))
        self.assertTrue(consumer.ended)
        self.assertEqual(self.node.open_readings, 0)

    def test_a_reading_breaks_in_the_middle(self) -> None:
        self.successResultOf(self.put(BytesBody(b"x" * 1000)))
        self.node.script("get", breaks(250))
        consumer = CollectingConsumer()
        self.failureResultOf(self.deliver(consumer), NodeUnavailable)
        self.assertEqual((len(consumer.data), consumer.ended), (250, True))
        self.assertEqual(self.node.open_readings, 0)

    def test_a_reading_stalls_and_goes_on(self) -> None:
        self.successResultOf(self.put(BytesBody(b"x" * 1000)))
        gate: Deferred[None] = Deferred()
        self.node.script("get", stalls(250, lambda: gate))
        consumer = CollectingConsumer()
        delivering = self.deliver(consumer)
        consumer.pause()
        gate.callback(None)
        self.assertEqual(len(consumer.data), 250)
        consumer.resume()
        self.successResultOf(delivering)
        self.assertEqual(len(consumer.data), 1000)

    def test_a_reading_that_stalls_can_be_given_up(self) -> None:
        self.successResultOf(self.put(BytesBody(b"x" * 1000)))
        self.node.script("get", stalls(250, Deferred), times=2)
        consumer = CollectingConsumer()
        delivering = self.deliver(consumer)
        delivering.cancel()
        self.failureResultOf(delivering, CancelledError)
        self.assertTrue(consumer.ended)
        consumer = CollectingConsumer()
        delivering = self.deliver(consumer)
        consumer.stop()
        self.failureResultOf(delivering, ClientGone)
        self.assertEqual(self.node.open_readings, 0)

    def test_a_reading_is_used_once(self) -> None:
        self.successResultOf(self.put(BytesBody(b"data")))
        reading = self.reading()
        self.assertEqual(self.node.open_readings, 1)
        reading.abandon()
        self.assertEqual(self.node.open_readings, 0)
        self.assertRaises(AssertionError, reading.abandon)
        self.assertRaises(AssertionError, reading.deliver, CollectingConsumer())

    def test_a_fault_may_be_made_up(self) -> None:
        self.node.script("probe", Fault(lambda node: NodeError(node, "of its own kind")))
        failure = self.failureResultOf(self.node.probe(), NodeError)
        self.assertEqual(str(failure.value), "node n1: of its own kind")


class ListingTests(SynchronousTestCase):
    def keys(self, node: MemoryNode, after: str = "") -> list[str]:
        for key in ("a", "a-b", "a/b", "a0"):
            self.successResultOf(node.put(BUCKET, key, BytesBody(b""), ()))
        return [entry.key for entry in self.successResultOf(node.list(BUCKET, after=after)).entries]

    def test_in_the_order_of_bytes(self) -> None:
        self.assertEqual(self.keys(MemoryNode("n1")), ["a", "a-b", "a/b", "a0"])

    def test_as_seaweedfs_does(self) -> None:
        node = MemoryNode("n1", tree_order=True)
        self.assertEqual(self.keys(node), ["a", "a/b", "a-b", "a0"])
        # What comes after a key isn't what S3 would have after it.
        self.assertEqual(self.keys(node, "a-b"), ["a0"])

    def test_as_minio_does(self) -> None:
        node = MemoryNode("n1", hides_beneath=True)
        self.assertEqual(self.keys(node), ["a", "a-b", "a0"])
        # A folder's marker is hidden by what hides the folder, and not by its own name.
        for key in ("a/", "a/b/", "c/"):
            self.successResultOf(node.put(BUCKET, key, BytesBody(b""), ()))
        page = self.successResultOf(node.list(BUCKET))
        self.assertEqual([each.key for each in page.entries], ["a", "a-b", "a/", "a0", "c/"])


class DiscoveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[object] = []

    def start(self, discovery: ScriptedDiscovery) -> Deferred[None]:
        return discovery.start(
            lambda sightings: self.told.append([each.name for each in sightings]),
            self.told.append,
        )

    def test_tells_what_it_is_told_to(self) -> None:
        discovery = ScriptedDiscovery()
        first_round = self.start(discovery)
        self.assertNoResult(first_round)
        discovery.fail("no engine")
        self.successResultOf(first_round)
        discovery.fail("still none")
        discovery.see(Sighting("n1"))
        discovery.see(Sighting("n1"), Sighting("n2"))
        self.assertEqual(self.told, ["no engine", "still none", "", ["n1"], ["n1", "n2"]])

    def test_may_see_something_at_once(self) -> None:
        self.successResultOf(self.start(ScriptedDiscovery("one", [Sighting("n1")])))
        self.assertEqual(self.told, [["n1"]])

    def test_is_silent_once_it_is_stopped(self) -> None:
        discovery = ScriptedDiscovery()
        first_round = self.start(discovery)
        self.successResultOf(discovery.stop())
        self.successResultOf(first_round)
        discovery.see(Sighting("n1"))
        discovery.fail("no engine")
        self.assertEqual(self.told, [])
