"""Bodies in motion, without a socket: pace, order, ends, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from zope.interface import implementer

from aosd.model.errors import (
    ClientGone,
    DigestMismatch,
    NodeTimeout,
    NodeUnavailable,
    SlowDown,
)
from aosd.ports import IBodySink, IBodySource
from aosd.streams.bodies import HeldBody
from aosd.streams.budget import MemoryBudget
from aosd.streams.deadlines import IdleTimer, within
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from aosd.streams.reader import BodyReader
from aosd.streams.relay import Relay


@implementer(IBodySource)
class Source:
    """A client's body, driven by hand."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.sink: IBodySink | None = None
        self.paused = False
        self.discarded = False

    def start(self, sink: IBodySink) -> None:
        self.sink = sink

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def discard(self) -> None:
        self.discarded = True

    def give(self, data: bytes) -> None:
        assert self.sink is not None
        self.sink.body_data(data)

    def end(self) -> None:
        assert self.sink is not None
        self.sink.body_ended()

    def fail(self, error: Exception) -> None:
        assert self.sink is not None
        self.sink.body_failed(Failure(error))


class FanoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = Source(6)
        self.fanout = Fanout(self.source, 2, Digests({}))
        self.sent = [StringTransport(), StringTransport()]
        self.done: list[Deferred[None]] = []

    def begin(self) -> None:
        for branch, transport in zip(self.fanout.branches, self.sent, strict=True):
            self.done.append(branch.startProducing(transport))

    def values(self) -> list[bytes]:
        return [transport.value() for transport in self.sent]

    def test_waits_for_every_branch(self) -> None:
        self.fanout.branches[0].startProducing(self.sent[0])
        self.assertIsNone(self.source.sink)
        self.fanout.branches[1].startProducing(self.sent[1])
        self.assertIsNotNone(self.source.sink)

    def test_holds_the_last_bytes_until_released(self) -> None:
        self.begin()
        self.source.give(b"abc")
        self.assertEqual(self.values(), [b"", b""])
        self.source.give(b"def")
        self.assertEqual(self.values(), [b"abc", b"abc"])
        self.assertNoResult(self.fanout.last_in_hand)
        self.source.end()
        self.successResultOf(self.fanout.last_in_hand)
        self.assertEqual(self.values(), [b"abc", b"abc"])
        self.fanout.release()
        self.assertEqual(self.values(), [b"abcdef", b"abcdef"])
        for done in self.done:
            self.successResultOf(done)

    def test_goes_at_the_pace_of_the_slowest(self) -> None:
        self.begin()
        first, second = self.fanout.branches
        first.pauseProducing()
        self.assertTrue(self.source.paused)
        second.pauseProducing()
        first.resumeProducing()
        self.assertTrue(self.source.paused)
        second.resumeProducing()
        self.assertFalse(self.source.paused)

    def test_a_stopped_branch_holds_nobody_up(self) -> None:
        self.begin()
        first, second = self.fanout.branches
        first.pauseProducing()
        first.stopProducing()
        self.assertFalse(self.source.paused)
        self.source.give(b"abcdef")
        self.source.end()
        self.fanout.release()
        self.assertEqual(self.values(), [b"", b"abcdef"])
        self.successResultOf(self.done[1])
        self.assertNoResult(self.done[0])

    def test_the_last_branch_lost_is_told_with_its_reason(self) -> None:
        self.begin()
        first, second = self.fanout.branches
        first.stopProducing()
        second.stopProducing()
        self.fanout.drop(second, Failure(NodeUnavailable("n", "gone")))
        self.failureResultOf(self.fanout.last_in_hand, NodeUnavailable)

    def test_a_branch_that_never_began_can_be_dropped(self) -> None:
        self.fanout.branches[0].startProducing(self.sent[0])
        self.fanout.drop(self.fanout.branches[1], Failure(NodeUnavailable("n", "refused")))
        self.assertIsNotNone(self.source.sink)

    def test_a_failing_body_is_told_and_abort_ends_every_branch_unfinished(self) -> None:
        self.begin()
        self.source.give(b"abc")
        self.source.fail(ClientGone())
        failure = self.failureResultOf(self.fanout.last_in_hand, ClientGone)
        self.fanout.abort(failure)
        for done in self.done:
            self.failureResultOf(done, ClientGone)
        self.assertEqual(self.values(), [b"", b""])
        self.assertTrue(self.source.discarded)

    def test_digests_see_every_byte(self) -> None:
        fanout = Fanout(self.source, 1, digests := Digests({"Content-MD5": bytes(16)}))
        fanout.branches[0].startProducing(self.sent[0])
        self.source.give(b"abcdef")
        self.assertRaises(DigestMismatch, digests.check)


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = Source()
        self.reader = BodyReader(self.source, Digests({}))

    def read(self, count: int) -> Deferred[bytes]:
        reading = Deferred.fromCoroutine(self.reader.read(count))
        return reading.addCallback(b"".join)

    def test_gives_what_was_asked_for_and_keeps_the_rest(self) -> None:
        first = self.read(4)
        self.source.give(b"abcdef")
        self.assertEqual(self.successResultOf(first), b"abcd")
        self.assertTrue(self.source.paused)
        second = self.read(4)
        self.assertFalse(self.source.paused)
        self.source.give(b"gh")
        self.assertEqual(self.successResultOf(second), b"efgh")

    def test_a_short_read_is_the_end(self) -> None:
        reading = self.read(4)
        self.source.give(b"ab")
        self.assertNoResult(reading)
        self.source.end()
        self.assertEqual(self.successResultOf(reading), b"ab")

    def test_more_tells_the_end_without_taking_a_byte(self) -> None:
        reading = self.read(2)
        self.source.give(b"ab")
        self.successResultOf(reading)
        more = Deferred.fromCoroutine(self.reader.more())
        self.source.give(b"c")
        self.assertTrue(self.successResultOf(more))
        last = self.read(2)
        self.source.end()
        self.assertEqual(self.successResultOf(last), b"c")
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(self.reader.more())))

    def test_tiny_chunks_are_kept_in_few_pieces(self) -> None:
        reading = Deferred.fromCoroutine(self.reader.read(300_000))
        for _ in range(100_000):
            self.source.give(b"abc")
        pieces = self.successResultOf(reading)
        self.assertEqual(b"".join(pieces), b"abc" * 100_000)
        self.assertLess(len(pieces), 10)

    def test_a_failure_is_told(self) -> None:
        reading = self.read(4)
        self.source.give(b"ab")
        self.source.fail(ClientGone())
        self.failureResultOf(reading, ClientGone)
        self.failureResultOf(self.read(1), ClientGone)

    def test_cancelling_discards_the_body(self) -> None:
        reading = self.read(4)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertTrue(self.source.discarded)


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.client = StringTransport()
        self.node = StringTransport()

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.client.producer)

    def relay(self, length: int | None) -> Relay:
        def broken(why: str, silent: bool) -> Exception:
            return (NodeTimeout if silent else NodeUnavailable)("n", why)

        relay = Relay(self.client, length, self.clock, 10.0, 300.0, broken)
        relay.makeConnection(self.node)
        return relay

    def test_passes_the_bytes_on(self) -> None:
        relay = self.relay(5)
        self.assertIs(self.client.producer, relay)
        relay.dataReceived(b"abc")
        relay.dataReceived(b"de")
        relay.connectionLost(Failure(ResponseDone()))
        self.successResultOf(relay.done)
        self.assertEqual(self.client.value(), b"abcde")

    def test_too_few_bytes_are_a_failure(self) -> None:
        relay = self.relay(5)
        relay.dataReceived(b"abc")
        relay.connectionLost(Failure(ResponseDone()))
        self.failureResultOf(relay.done, NodeUnavailable)

    def test_too_many_bytes_are_a_failure_and_none_of_them_passes(self) -> None:
        relay = self.relay(2)
        relay.dataReceived(b"abc")
        self.failureResultOf(relay.done, NodeUnavailable)
        self.assertEqual(self.client.value(), b"")
        self.assertEqual(self.node.producerState, "stopped")

    def test_an_unknown_length_ends_only_where_the_answer_says_so(self) -> None:
        relay = self.relay(None)
        relay.dataReceived(b"abc")
        relay.connectionLost(Failure(ResponseDone()))
        self.successResultOf(relay.done)
        relay = self.relay(None)
        relay.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(relay.done, NodeUnavailable)

    def test_a_silent_node_is_given_up(self) -> None:
        relay = self.relay(5)
        self.clock.advance(9)
        relay.dataReceived(b"a")
        self.clock.advance(9)
        self.assertNoResult(relay.done)
        self.clock.advance(1)
        self.failureResultOf(relay.done, NodeTimeout)
        self.assertEqual(self.node.producerState, "stopped")

    def test_a_slow_reader_is_not_the_nodes_fault(self) -> None:
        relay = self.relay(5)
        relay.pauseProducing()
        self.assertEqual(self.node.producerState, "paused")
        self.clock.advance(299)
        self.assertNoResult(relay.done)
        relay.resumeProducing()
        self.assertEqual(self.node.producerState, "producing")
        relay.dataReceived(b"abcde")
        relay.connectionLost(Failure(ResponseDone()))
        self.successResultOf(relay.done)

    def test_a_reader_that_takes_nothing_at_all_is_given_up(self) -> None:
        relay = self.relay(5)
        relay.pauseProducing()
        self.clock.advance(300)
        self.failureResultOf(relay.done, ClientGone)
        self.assertEqual(self.node.producerState, "stopped")

    def test_a_vanished_client_releases_the_node_at_once(self) -> None:
        relay = self.relay(5)
        relay.stopProducing()
        self.failureResultOf(relay.done, ClientGone)
        self.assertEqual(self.node.producerState, "stopped")

    def test_cancelling_drops_the_nodes_connection(self) -> None:
        relay = self.relay(5)
        relay.done.cancel()
        self.failureResultOf(relay.done, CancelledError)
        self.assertEqual(self.node.producerState, "stopped")


class HeldBodyTests(SynchronousTestCase):
    def test_goes_out_in_pieces_and_can_be_sent_again(self) -> None:
        data = bytes(range(256)) * 2000
        body = HeldBody([data[:1000], data[1000:]])
        for _ in range(2):
            transport = StringTransport()
            self.successResultOf(body.startProducing(transport))
            self.assertEqual(transport.value(), data)

    def test_pauses_between_pieces(self) -> None:
        body = HeldBody([bytes(100_000)] * 10)
        transport = StringTransport()
        write: Callable[[bytes], None] = transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            body.pauseProducing()

        transport.write = write_and_pause  # type: ignore[method-assign]
        done = body.startProducing(transport)
        self.assertLess(len(transport.value()), 200_000)
        self.assertNoResult(done)
        while len(transport.value()) < 1_000_000:
            body.resumeProducing()
        self.successResultOf(done)

    def test_an_empty_body_is_done_at_once(self) -> None:
        self.successResultOf(HeldBody([]).startProducing(StringTransport()))

    def test_tells_what_lies_in_one_piece(self) -> None:
        self.assertEqual(HeldBody([b"data"]).in_one, b"data")
        self.assertEqual(HeldBody([]).in_one, b"")
        self.assertIsNone(HeldBody([b"da", b"ta"]).in_one)

    def test_provides_a_push_producer(self) -> None:
        self.assertTrue(IPushProducer.providedBy(HeldBody([])))


class BudgetTests(SynchronousTestCase):
    def test_grants_in_order(self) -> None:
        budget = MemoryBudget(10)
        self.successResultOf(budget.acquire(8))
        large, small = budget.acquire(5), budget.acquire(1)
        self.assertNoResult(small)  # it would fit, but mustn't overtake
        budget.release(8)
        self.successResultOf(large)
        self.successResultOf(small)
        self.assertEqual(budget.used_bytes, 6)

    def test_giving_up_lets_the_next_one_through(self) -> None:
        budget = MemoryBudget(10)
        self.successResultOf(budget.acquire(8))
        large, small = budget.acquire(5), budget.acquire(2)
        large.cancel()
        self.failureResultOf(large, CancelledError)
        self.successResultOf(small)

    def test_who_waits_too_long_is_told(self) -> None:
        clock = Clock()
        budget = MemoryBudget(10, clock, 20.0)
        self.successResultOf(budget.acquire(8))
        waiting = budget.acquire(5)
        clock.advance(20)
        self.failureResultOf(waiting, SlowDown)
        budget.release(8)
        self.assertEqual(budget.used_bytes, 0)

    def test_the_queue_for_memory_is_bounded(self) -> None:
        budget = MemoryBudget(10, most_waiting=1)
        self.successResultOf(budget.acquire(10))
        waiting = budget.acquire(1)
        self.failureResultOf(budget.acquire(1), SlowDown)
        budget.release(10)
        self.successResultOf(waiting)
        self.assertEqual(budget.used_bytes, 1)

    def test_more_than_there_is_can_never_be_had(self) -> None:
        self.assertRaises(ValueError, MemoryBudget(10).acquire, 11)


class DeadlineTests(SynchronousTestCase):
    def test_within_fails_with_the_error_and_leaves_no_timer(self) -> None:
        clock = Clock()
        waiting: Deferred[None] = Deferred()
        result = within(clock, 2.0, waiting, lambda: NodeTimeout("n", "late"))
        clock.advance(2)
        self.failureResultOf(result, NodeTimeout)
        in_time = within(clock, 2.0, quick := Deferred(), lambda: NodeTimeout("n", "late"))
        quick.callback(7)
        self.assertEqual(self.successResultOf(in_time), 7)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_cancelled_from_outside_it_says_so(self) -> None:
        result = within(Clock(), 2.0, Deferred(), lambda: NodeTimeout("n", "late"))
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_touching_puts_the_end_off(self) -> None:
        clock, expired = Clock(), []
        timer = IdleTimer(clock, 3.0, lambda: expired.append(clock.seconds()))
        timer.start()
        for _ in range(5):
            clock.advance(2)
            timer.touch()
        clock.advance(2)
        self.assertEqual(expired, [])
        clock.advance(1)
        self.assertEqual(expired, [13.0])
        timer.stop()
