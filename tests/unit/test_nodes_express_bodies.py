"""Bodies over the express lane's connections: to the node and from it."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import (
    ClientGone,
    DigestMismatch,
    NodeNonsense,
    NodeTimeout,
    NodeUnavailable,
    NoSuchBucket,
)
from aosd.nodes.express.answer import Answer, Head
from aosd.nodes.express.connection import NodeConnection
from aosd.ports import IReading
from aosd.streams.bodies import HeldBody
from aosd.testing.bodies import BytesBody, CollectingConsumer
from tests.unit.express_case import ExpressCase, Kernel, Wire, answer, found

KIB = 1024
STORED = answer(b"200 OK", b'ETag: "abc"')


class ReadingTests(ExpressCase):
    def read(self, *pieces: bytes) -> tuple[IReading, Wire]:
        asking, wire = self.begin(self.node.get("object", "a"))
        wire.says(*pieces)
        return self.successResultOf(asking), wire

    def test_a_short_body_is_written_at_once(self) -> None:
        reading, wire = self.read(found(b"some bytes"))
        taken = CollectingConsumer()
        self.successResultOf(reading.deliver(taken))
        self.assertEqual(taken.data, b"some bytes")
        # The connection was free as soon as the last byte had come.
        asking = self.node.head("object", "a")
        self.assertEqual(len(self.reactor.tcpClients), 1)
        wire.says(found())
        self.successResultOf(asking)
        self.end()

    def test_what_comes_before_anybody_asks_is_kept_within_bounds(self) -> None:
        reading, wire = self.read(found(length=300 * KIB))
        wire.says(*[b"x" * 50 * KIB] * 2)
        self.assertEqual(wire.producerState, "paused")
        taken = CollectingConsumer()
        delivering = reading.deliver(taken)
        self.assertEqual((len(taken.data), wire.producerState), (100 * KIB, "producing"))
        wire.says(*[b"x" * 50 * KIB] * 4)
        self.successResultOf(delivering)
        self.assertEqual(taken.data, b"x" * 300 * KIB)
        self.assertTrue(taken.ended)
        self.assertGreater(self.health.heards, 0)
        self.end()

    def test_the_reader_sets_the_pace(self) -> None:
        reading, wire = self.read(found(b"0" * 10, length=30))
        taken = CollectingConsumer(pause_after_bytes=10)
        delivering = reading.deliver(taken)
        self.assertEqual(wire.producerState, "paused")
        taken.resume()
        wire.says(b"1" * 10)
        self.assertEqual((wire.producerState, taken.late_bytes), ("paused", 0))
        taken.resume()
        wire.says(b"2" * 10)
        self.successResultOf(delivering)
        # It carries the next request: nobody has left it paused.
        self.assertEqual(wire.producerState, "producing")
        asking = self.node.head("object", "a")
        wire.says(found())
        self.successResultOf(asking)
        self.end()

    def test_bytes_that_come_in_spite_of_a_pause(self) -> None:
        reading, wire = self.read(found(b"0" * 10, length=20))
        taken = CollectingConsumer(pause_after_bytes=10)
        delivering = reading.deliver(taken)
        wire.protocol.dataReceived(b"1" * 10)  # as TLS has it
        self.assertNoResult(delivering)
        self.assertEqual((taken.late_bytes, wire.producerState), (0, "producing"))
        taken.resume()
        self.successResultOf(delivering)
        self.assertEqual(taken.data, b"0" * 10 + b"1" * 10)
        self.end()

    def test_a_pause_holds_back_what_was_kept(self) -> None:
        asking, wire = self.begin(self.node.get("object", "a"))
        wire.says(found(length=100), b"a" * 30, b"b" * 30)
        reading = self.successResultOf(asking)
        taken = CollectingConsumer(pause_after_bytes=30)
        delivering = reading.deliver(taken)
        self.assertEqual((bytes(taken.data), taken.late_bytes), (b"a" * 30, 0))
        taken.resume()
        self.assertEqual(bytes(taken.data), b"a" * 30 + b"b" * 30)
        taken.resume()
        wire.says(b"c" * 40)
        self.successResultOf(delivering)
        self.end()

    def test_a_node_that_stops_in_the_middle(self) -> None:
        for breaks_late in (False, True):
            reading, wire = self.read(found(b"some", length=10))
            if not breaks_late:
                wire.breaks()
            taken = CollectingConsumer()
            delivering = reading.deliver(taken)
            if breaks_late:
                wire.breaks(ConnectionDone())
            failure = self.failureResultOf(delivering, NodeUnavailable)
            self.assertIn("it stopped 6 bytes before the end", str(failure.value))
            self.assertEqual((taken.data, taken.ended), (b"some", True))
        self.end()

    def test_a_node_that_is_silent_in_the_middle(self) -> None:
        reading, wire = self.read(found(b"some", length=10))
        delivering = reading.deliver(CollectingConsumer())
        self.reactor.advance(10.1)
        self.failureResultOf(delivering, NodeTimeout)
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()

    def test_a_client_that_is_stuck(self) -> None:
        reading, wire = self.read(found(b"some", length=10))
        delivering = reading.deliver(CollectingConsumer(pause_after_bytes=1))
        self.reactor.advance(39.9)
        self.assertNoResult(delivering)
        self.reactor.advance(0.2)
        self.failureResultOf(delivering, ClientGone)
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()

    def test_given_up(self) -> None:
        reading, wire = self.read(found(b"some", length=10))
        delivering = reading.deliver(CollectingConsumer())
        delivering.cancel()
        self.failureResultOf(delivering, CancelledError)
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()

    def test_a_client_that_goes(self) -> None:
        reading, wire = self.read(found(b"some", length=10))
        taken = CollectingConsumer()
        delivering = reading.deliver(taken)
        taken.stop()
        self.failureResultOf(delivering, ClientGone)
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()

    def test_a_short_rest_is_drained(self) -> None:
        reading, wire = self.read(found(b"some", length=10))
        reading.abandon()
        wire.says(b"6bytes")
        self.assertFalse(wire.over)
        asking = self.node.head("object", "a")
        wire.says(found())
        self.successResultOf(asking)
        self.end()

    def test_a_long_rest_is_not(self) -> None:
        reading, wire = self.read(found(b"some", length=10_000_000))
        reading.abandon()
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()

    def test_a_body_without_length(self) -> None:
        reading, wire = self.begin(self.node.get("object", "a"))
        wire.says(b'HTTP/1.1 200 OK\r\nETag: "abc"\r\n\r\nsome')
        self.failureResultOf(reading, NodeNonsense)
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()


class ChunkedTests(ExpressCase):
    HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def list(self) -> tuple[Deferred[object], Wire]:
        waiting, wire = self.begin(self.node.list_buckets())
        return waiting, wire  # type: ignore[return-value]

    def test_in_one_piece_and_in_many(self) -> None:
        body = b"<ListAllMyBucketsResult/>"
        chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\nETag: x\r\n\r\n" % (5, body[:5], 20, body[5:])
        asking, wire = self.list()
        wire.says(self.HEAD + chunks)
        self.assertEqual(self.successResultOf(asking), [])
        asking = self.node.list_buckets()  # type: ignore[assignment]
        for byte in self.HEAD + chunks:
            wire.says(bytes([byte]))
        self.assertEqual(self.successResultOf(asking), [])
        self.assertFalse(wire.over)
        self.end()

    def test_trailers_are_no_headers(self) -> None:
        head = Head(self.HEAD, "GET")
        head.feed(b"1\r\nx\r\n0\r\nETag: x\r\nTransfer-Encoding: y\r\n\r\n")
        self.assertEqual((head.body, head.ended), ([b"x"], True))
        self.assertEqual(head.headers.by_name, {b"transfer-encoding": b"chunked"})

    def test_broken(self) -> None:
        for chunks in (b"x\r\n", b"5\r\n<List\n"):
            asking, wire = self.list()
            wire.says(self.HEAD, chunks)
            self.failureResultOf(asking, NodeUnavailable)
            self.assertTrue(wire.aborted)
            wire.end()
        self.end()

    def test_cut_off(self) -> None:
        asking, wire = self.list()
        wire.says(self.HEAD, b"5\r\n<List\r\n")
        wire.breaks()
        failure = self.failureResultOf(asking, NodeUnavailable)
        self.assertIn("it stopped somewhere before the end", str(failure.value))
        self.end()

    def test_an_answer_that_is_too_long(self) -> None:
        asking, wire = self.list()
        wire.says(self.HEAD)
        for _ in range(17):
            wire.says(b"100000\r\n" + b" " * 1024 * KIB + b"\r\n")
        failure = self.failureResultOf(asking, NodeNonsense)
        self.assertIn("longer than any should be", str(failure.value))
        self.assertTrue(wire.aborted)
        wire.end()
        self.end()


class SendingTests(ExpressCase):
    def test_a_short_body_goes_out_with_its_head(self) -> None:
        asking, wire = self.begin(
            self.node.put("object", "a", HeldBody([b"data"]), ((b"x-amz-meta-who", b"me"),))
        )
        (written,) = wire.writes
        self.assertTrue(written.endswith(b"\r\ncontent-length: 4\r\n\r\ndata"))
        self.assertIn(b"\r\nx-amz-meta-who: me\r\n", written)
        wire.says(STORED)
        self.assertEqual(self.successResultOf(asking), '"abc"')
        self.assertFalse(wire.over)
        self.end()

    def test_an_empty_body(self) -> None:
        asking, wire = self.begin(self.node.put("object", "a", HeldBody([]), ()))
        self.assertTrue(wire.value().endswith(b"\r\ncontent-length: 0\r\n\r\n"))
        wire.says(STORED)
        self.successResultOf(asking)
        self.end()

    def test_a_held_body_in_pieces_goes_out_piece_by_piece(self) -> None:
        asking, wire = self.begin(self.node.put("object", "a", HeldBody([b"da", b"ta"]), ()))
        first, second = wire.writes
        self.assertTrue(first.endswith(b"\r\ncontent-length: 4\r\n\r\nda"))
        self.assertEqual(second, b"ta")
        wire.says(STORED)
        self.successResultOf(asking)
        self.end()

    def test_a_short_body_that_isnt_there_yet_keeps_its_head(self) -> None:
        body = Waiting(4)
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        self.assertEqual(wire.writes, [])
        body.send(b"data")
        self.assertEqual(len(wire.writes), 1)
        wire.says(STORED)
        self.successResultOf(asking)
        self.end()

    def test_a_long_body_doesnt(self) -> None:
        body = Waiting(100 * KIB)
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        self.assertEqual(len(wire.writes), 1)
        body.send(b"x" * 60 * KIB)
        body.send(b"x" * 40 * KIB)
        self.assertEqual(len(wire.writes), 3)
        wire.says(STORED)
        self.successResultOf(asking)
        self.end()

    def test_a_node_that_takes_no_byte(self) -> None:
        body = Waiting(100 * KIB)
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        body.send(b"x" * KIB)
        body.send(b"x" * KIB)
        self.reactor.advance(60)  # a slow client is not the node's fault
        assert wire.producer is not None
        wire.producer.pauseProducing()  # type: ignore[attr-defined]
        self.assertTrue(body.paused)
        self.reactor.advance(9)
        wire.producer.resumeProducing()
        self.assertFalse(body.paused)
        self.reactor.advance(9)
        wire.producer.pauseProducing()  # type: ignore[attr-defined]
        self.reactor.advance(10.1)
        failure = self.failureResultOf(asking, NodeTimeout)
        self.assertIn("took no byte for 10 s", str(failure.value))
        self.assertTrue(body.stopped and wire.aborted)
        self.assertIsNone(wire.producer)
        self.end()

    def test_a_node_that_doesnt_answer(self) -> None:
        asking, wire = self.begin(self.node.put("object", "a", HeldBody([b"data"]), ()))
        self.reactor.advance(24.9)
        self.assertNoResult(asking)
        self.reactor.advance(0.2)
        failure = self.failureResultOf(asking, NodeTimeout)
        self.assertIn("didn't answer within 25 s of the last byte", str(failure.value))
        self.assertTrue(wire.aborted)
        self.end()

    def test_an_early_answer_stops_the_body(self) -> None:
        body = Waiting(10)
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        body.send(b"some")
        error = b"<Error><Code>BadDigest</Code></Error>"
        wire.says(answer(b"400 Bad", body=error)[:-1])
        self.assertTrue(body.stopped)
        self.assertFalse(wire.aborted)  # the rest of the answer is read first
        wire.says(error[-1:])
        self.failureResultOf(asking, DigestMismatch)
        self.assertTrue(wire.aborted)
        self.end()

    def test_a_body_that_fails(self) -> None:
        body = BytesBody(b"data", fails_at=2, fails=ClientGone("gone"))
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        self.failureResultOf(asking, ClientGone)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.health.failures, [])
        self.end()

    def test_a_body_of_another_length(self) -> None:
        for length, data in ((3, b"data"), (5, b"data")):
            body = Waiting(length)
            asking, wire = self.begin(self.node.put("object", "a", body, ()))
            body.send(data)
            body.finish()
            self.failureResultOf(asking, NodeNonsense)
            self.assertTrue(wire.aborted)
            self.assertNotIn(b"\r\n\r\ndata", wire.value() if length < 4 else b"")
        self.end()

    def test_a_connection_that_breaks_stops_the_body(self) -> None:
        body = Waiting(10)
        asking, wire = self.begin(self.node.put("object", "a", body, ()))
        body.send(b"some")
        wire.breaks()
        self.failureResultOf(asking, NodeUnavailable)
        self.assertTrue(body.stopped)
        self.assertEqual(len(self.reactor.tcpClients), 1)
        self.end()

    def test_given_up_as_soon_as_it_flows(self) -> None:
        body = Waiting(10)
        asking: list[Deferred[str]] = []
        body.started = lambda: asking[0].cancel()
        asking.append(self.node.put("object", "a", body, ()))
        wire = self.connect()
        self.failureResultOf(asking[0], CancelledError)
        self.assertTrue(body.stopped and wire.aborted)
        self.end()

    def test_only_who_waits_for_the_node_is_told_that_the_breaker_opened(self) -> None:
        flowing, _ = self.begin(self.node.put("object", "a", Waiting(10), ()))
        held, _ = self.begin(self.node.put("object", "a", HeldBody([b"data"]), ()))
        self.health.trip()
        self.assertNoResult(flowing)
        self.failureResultOf(held, NodeUnavailable)
        flowing.cancel()
        self.failureResultOf(flowing, CancelledError)
        self.end()

    def test_what_a_bucket_that_isnt_there_comes_out_as(self) -> None:
        asking, wire = self.begin(self.node.delete("object", "a"))
        body = b"<Error><Code>%b</Code></Error>" % NoSuchBucket.code.encode()
        wire.says(answer(b"404 No", body=body))
        self.assertIsNone(self.successResultOf(asking))
        self.end()


class Waiting(BytesBody):
    """A body that comes when the test says so."""

    def __init__(self, length: int) -> None:
        super().__init__(b"")
        self.length = length
        self.paused = False
        self.started = lambda: None
        self._sent = 0

    def startProducing(self, consumer: object) -> Deferred[None]:
        self._consumer = consumer  # type: ignore[assignment]
        finished = self._finished = Deferred()
        self.started()
        return finished

    def send(self, data: bytes) -> None:
        self._sent += len(data)
        self._write(data)
        if self._sent == self.length:
            self.finish()

    def finish(self) -> None:
        if self._finished is not None and not self.stopped:
            self._ended()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False


class OrderTests(SynchronousTestCase):
    """A node that answers before it has read all, and wants the next request all the same."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.kernel = Kernel(self.reactor)
        self.addCleanup(self.kernel.handle.close)
        self.freed: list[NodeConnection] = []
        self.line = NodeConnection(self.reactor, self.freed.append, lambda _: None)
        self.line.makeConnection(self.kernel)

    def ask(self, verb: str, body: bytes | None = None) -> Deferred[Answer]:
        waiting: Deferred[Answer] = Deferred()
        held = None if body is None else HeldBody([body])
        self.line.ask(
            waiting,
            verb,
            verb.encode(),
            held,
            began_s=0.0,
            first_byte_s=30.0,
            stall_s=10.0,
            answer_s=30.0,
        )
        return waiting

    def answered(self, asking: Deferred[Answer]) -> None:
        self.line.dataReceived(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.successResultOf(asking).code, 403)
        self.assertEqual(self.freed.pop(), self.line)

    def test_the_next_request_doesnt_overtake_a_body(self) -> None:
        for verb in ("HEAD", "PUT"):
            self.kernel.taken = b""
            self.kernel.room = 5
            self.answered(self.ask("PUT", b"x" * 10))
            self.kernel.room = 3
            asking = self.ask(verb, None if verb == "HEAD" else b"y" * 10)
            self.assertEqual(self.kernel.taken, b"PUTxxxxx")
            self.kernel.room = 1000
            self.kernel.doWrite()
            rest = b"HEAD" if verb == "HEAD" else b"PUT" + b"y" * 10
            self.assertEqual(self.kernel.taken, b"PUT" + b"x" * 10 + rest)
            self.answered(asking)

    def test_and_is_sent_at_once_when_nothing_waits(self) -> None:
        self.kernel.room = 5
        asking = self.ask("PUT", b"x" * 10)
        self.kernel.room = 1000
        self.kernel.doWrite()
        self.answered(asking)
        self.answered(self.ask("HEAD"))
        self.assertEqual(self.kernel.taken, b"PUT" + b"x" * 10 + b"HEAD")
