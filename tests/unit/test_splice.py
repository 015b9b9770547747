"""Who splices what, and what becomes of the counts; the kernel's part has tests with sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aosd.model.errors import ClientGone, NodeUnavailable
from aosd.model.objects import ObjectHead, Span
from aosd.ports import IBodySink, IBodySource, IReading
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from aosd.streams.resumed import ResumedReading
from aosd.streams.splice import (
    ISpliceBody,
    ISplicer,
    ISpliceSource,
    ISpliceTarget,
    Pipe,
    Pipes,
    SourceBroke,
)
from aosd.streams.splice_relay import SpliceRelay, splice_target
from aosd.testing.bodies import CollectingConsumer

MIB = 1024 * 1024
LAST = 16 * 1024
HEAD = ObjectHead(etag='"e"', size_bytes=4 * MIB, modified_s=0, stamp=None)


@implementer(ISpliceTarget)
class Target(CollectingConsumer):
    """A client whose socket can be written to."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0
        self.plain: socket.socket | None = socket.socket()

    def target_socket(self) -> socket.socket | None:
        return self.plain

    def flushed(self) -> Deferred[None]:
        return succeed(None)

    def spliced(self, count: int) -> None:
        self.counted += count

    def close(self) -> None:
        if self.plain is not None:
            self.plain.close()


@implementer(IReading)
class SplicedReading:
    at_hand = False

    """Splices so many bytes, and then fails unless that is all."""

    def __init__(self, span: Span, count: int) -> None:
        self.head = HEAD
        self.span = span
        self._count = count

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        target = ISpliceTarget(consumer)
        assert target.target_socket() is not None
        target.spliced(self._count)
        whole: Deferred[None] = Deferred()
        if self._count == self.span.length:
            whole.callback(None)
        else:
            whole.errback(Failure(NodeUnavailable("n", "it broke")))
        return whole

    def abandon(self) -> None:
        raise AssertionError("it was delivered")


class TargetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Target()
        self.addCleanup(self.client.close)

    def test_spliced_bytes_count_when_a_reading_goes_on(self) -> None:
        asked: list[Span] = []

        def again(head: ObjectHead, rest: Span) -> Deferred[IReading]:
            asked.append(rest)
            return succeed(SplicedReading(rest, rest.length))

        reading = ResumedReading(SplicedReading(Span(100, 4 * MIB), MIB), again)
        self.assertIsNone(self.successResultOf(reading.deliver(self.client)))
        self.assertEqual(asked, [Span(100 + MIB, 3 * MIB)])
        self.assertEqual(self.client.counted, 4 * MIB)

    def test_a_target_is_one_with_a_socket(self) -> None:
        self.assertIs(splice_target(self.client, MIB), self.client)
        self.client.close()
        self.client.plain = None
        self.assertIsNone(splice_target(self.client, MIB))
        self.assertIsNone(splice_target(CollectingConsumer(), MIB))

    def test_short_bodies_go_through_user_space(self) -> None:
        self.assertIsNotNone(splice_target(self.client, 256 * 1024))
        self.assertIsNone(splice_target(self.client, 256 * 1024 - 1))

    def test_where_there_is_no_splice_nothing_is_spliced(self) -> None:
        if hasattr(os, "splice"):
            splice = os.splice
            del os.splice
            self.addCleanup(setattr, os, "splice", splice)
        self.assertIsNone(splice_target(self.client, MIB))


@implementer(ISpliceSource)
class Source:
    """A node's answer whose connection is gone by the time that it is to be spliced."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def source_socket(self) -> socket.socket | None:
        return None

    def take_over(self) -> list[bytes]:
        return [b"ab", b"cd"]

    def taken(self, count: int) -> None:
        raise AssertionError("nothing is spliced")

    def give_back(self) -> None:
        self.told.append("give back")

    def drop(self) -> None:
        self.told.append("drop")


class SlowTarget(Target):
    """A client that takes its time with what is written before anything is spliced."""

    def __init__(self) -> None:
        super().__init__()
        self.flushing: Deferred[None] = Deferred()

    def flushed(self) -> Deferred[None]:
        return self.flushing


class RelayEndTests(SynchronousTestCase):
    """However it ends, once, nothing is held any more."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = SlowTarget()
        self.addCleanup(self.client.close)
        self.node = Source()
        self.relay = SpliceRelay(
            self.client,
            self.node,
            self.client,
            MIB,
            self.clock,
            Pipes(),
            10.0,
            300.0,
            lambda why, silent: NodeUnavailable("n", why),
            lambda: None,
            lambda left: fail(AssertionError("there are descriptors")),
        )
        self.relay.begin()
        self.assertEqual(self.client.data, b"abcd")
        self.assertIs(self.client.producer, self.relay)

    def tearDown(self) -> None:
        self.assertEqual(self.node.told, ["drop"])
        self.assertTrue(self.client.ended)
        self.assertTrue(self.client.flushing.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_leaves(self) -> None:
        self.relay.stopProducing()
        self.failureResultOf(self.relay.done, ClientGone)
        self.relay.stopProducing()

    def test_a_client_that_takes_nothing(self) -> None:
        self.clock.advance(299)
        self.assertNoResult(self.relay.done)
        self.clock.advance(1)
        self.failureResultOf(self.relay.done, ClientGone)

    def test_a_client_that_has_left_when_it_would_begin(self) -> None:
        self.client.close()
        self.client.plain = None
        self.client.flushing.callback(None)
        self.failureResultOf(self.relay.done, ClientGone)

    def test_a_node_that_has_left_when_it_would_begin(self) -> None:
        self.client.flushing.callback(None)
        failure = self.failureResultOf(self.relay.done, NodeUnavailable)
        self.assertIn(f"stopped {MIB - 4} bytes before", str(failure.value))

    def test_given_up(self) -> None:
        self.relay.done.cancel()
        self.failureResultOf(self.relay.done, CancelledError)


class NoPipes(Pipes):
    """The process has too many files open."""

    def take(self) -> Pipe:
        raise OSError(errno.EMFILE, "too many open files")


class OpenSource(Source):
    """A node's answer whose connection is there."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = socket.socket()

    def source_socket(self) -> socket.socket | None:
        return self.plain


class NoDescriptorsTests(SynchronousTestCase):
    """A body goes through user space when there is no pipe for it, and nobody is blamed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = Target()
        self.node = OpenSource()
        self.addCleanup(self.client.close)
        self.addCleanup(self.node.plain.close)
        self.lefts: list[int] = []
        self.cancelled: list[object] = []
        self.relaying: Deferred[None] = Deferred(self.cancelled.append)
        self.relay = SpliceRelay(
            self.client,
            self.node,
            self.client,
            MIB,
            self.clock,
            NoPipes(),
            10.0,
            300.0,
            lambda why, silent: NodeUnavailable("n", why),
            lambda: None,
            self.otherwise,
        )
        self.relay.begin()
        self.assertEqual(self.lefts, [MIB - 4])
        self.assertNoResult(self.relay.done)

    def tearDown(self) -> None:
        self.assertTrue(self.client.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def otherwise(self, left: int) -> Deferred[None]:
        # The next producer registers itself.
        self.assertTrue(self.client.ended)
        self.lefts.append(left)
        return self.relaying

    def test_all_comes(self) -> None:
        self.relaying.callback(None)
        self.assertIsNone(self.successResultOf(self.relay.done))
        self.assertEqual(self.node.told, [])

    def test_the_node_breaks(self) -> None:
        self.relaying.errback(NodeUnavailable("n", "it is gone"))
        self.failureResultOf(self.relay.done, NodeUnavailable)

    def test_given_up(self) -> None:
        self.relay.done.cancel()
        self.failureResultOf(self.relay.done, CancelledError)
        self.assertEqual(self.cancelled, [self.relaying])
        self.assertEqual(self.node.told, ["drop"])


@implementer(ISpliceBody, IBodySource)
class Body:
    """A client's body, and what is done with it."""

    idle_timeout_s = 1.0

    def __init__(self, length: int) -> None:
        self.length: int | None = length
        self.told: list[str] = []
        self.sink: Any = None

    def start(self, sink: IBodySink) -> None:
        self.sink = sink
        sink.body_data(b"x")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def discard(self) -> None:
        self.told.append("discard")

    def source_socket(self) -> socket.socket | None:
        raise AssertionError("its splicer asks")

    def take_over(self) -> list[bytes]:
        raise AssertionError("its splicer does so")

    def taken(self, count: int) -> None:
        raise AssertionError("its splicer tells")

    def drop(self) -> None:
        raise AssertionError("it is discarded")

    def give_back(self) -> None:
        self.told.append("give back")

    def fell_silent(self) -> None:
        self.told.append("fell silent")


@implementer(ISplicer, IConsumer)
class Splicer:
    """A request to a node."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.splicing: Deferred[None] = Deferred(self._cancel)
        self.cancelled = False
        self.asked: list[int] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        raise AssertionError("a request's body isn't registered")

    def unregisterProducer(self) -> None:
        raise AssertionError("a request's body isn't registered")

    def _cancel(self, _: Deferred[None]) -> None:
        self.cancelled = True

    def splice_from(self, source: ISpliceBody, count: int) -> Deferred[None]:
        self.asked.append(count)
        return self.splicing


class FanoutTests(SynchronousTestCase):
    def begin(self, length: int = MIB, nodes: int = 1, **digests: bytes) -> Fanout:
        self.body = Body(length)
        self.node = Splicer()
        claimed = {name.replace("_", "-"): value for name, value in digests.items()}
        fanout = Fanout(self.body, nodes, Digests(claimed))
        self.sending = fanout.branches[0].startProducing(self.node)
        for branch in fanout.branches[1:]:
            branch.startProducing(Splicer())
        return fanout

    def test_all_but_the_last_bytes_are_spliced(self) -> None:
        fanout = self.begin()
        self.assertEqual(self.node.asked, [MIB - 1 - LAST])
        self.assertEqual(self.node.written, [b"x"])  # what was read before goes first
        self.node.splicing.callback(None)
        self.assertEqual(self.body.told, ["give back"])
        self.body.sink.body_data(b"l" * LAST)
        self.assertEqual(self.node.written, [b"x"])  # they wait for the turn
        self.body.sink.body_ended()
        self.assertIsNone(self.successResultOf(fanout.last_in_hand))
        fanout.release()
        self.assertEqual(self.node.written, [b"x", b"l" * LAST])

    def test_pace_is_the_kernels_meanwhile(self) -> None:
        fanout = self.begin()
        fanout.branches[0].pauseProducing()
        fanout.branches[0].resumeProducing()
        self.assertEqual(self.body.told, [])
        fanout.branches[0].pauseProducing()
        self.node.splicing.callback(None)
        self.assertEqual(self.body.told, ["give back", "pause"])

    def test_a_silent_client(self) -> None:
        self.begin()
        self.node.splicing.errback(Failure(SourceBroke("it is silent", late=True)))
        self.assertEqual(self.body.told, ["give back", "fell silent"])

    def test_a_client_that_leaves_is_found_out_by_its_owner(self) -> None:
        self.begin()
        self.node.splicing.errback(Failure(SourceBroke("it is gone")))
        self.assertEqual(self.body.told, ["give back"])

    def test_given_up_it_splices_no_more(self) -> None:
        fanout = self.begin()
        fanout.abort(Failure(ClientGone("it left")))
        self.assertEqual(self.body.told, ["give back", "discard"])
        self.assertTrue(self.node.cancelled)
        self.failureResultOf(self.sending, ClientGone)

    def test_nor_when_its_node_wants_no_more(self) -> None:
        fanout = self.begin()
        fanout.branches[0].stopProducing()
        self.assertTrue(self.node.cancelled)
        self.assertEqual(self.body.told, ["give back"])

    def test_a_body_that_is_looked_at_isnt(self) -> None:
        self.begin(Content_MD5=b"0" * 16)
        self.assertEqual(self.node.asked, [])

    def test_nor_one_for_several_nodes(self) -> None:
        self.begin(nodes=2)
        self.assertEqual(self.node.asked, [])

    def test_nor_a_short_one(self) -> None:
        self.begin(256 * 1024 + LAST)
        self.assertEqual(self.node.asked, [])
        self.begin(256 * 1024 + LAST + 1)
        self.assertEqual(self.node.asked, [256 * 1024])
