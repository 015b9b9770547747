"""A long body to nodes by plain TCP: what the kernel is given, and what waits for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer

from aosd.nodes.express.answer import Answer
from aosd.nodes.express.connection import Broke, NodeConnection, TookTooLong
from aosd.ports import IBodySink
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout
from tests.unit.express_case import Kernel, answer

KIB = 1024
PIECE = 256 * KIB
LENGTH = 4 * PIECE
HEAD = b"PUT / HTTP/1.1\r\n\r\n"
STALL_S = 10.0


class Client:
    """A client's long body, which comes when the test says so."""

    def __init__(self) -> None:
        self.length: int | None = LENGTH
        self.paused = False
        self.sink: Any = None

    def start(self, sink: IBodySink) -> None:
        self.sink = sink

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def discard(self) -> None:
        """Nobody wants the rest."""

    def sends(self, data: bytes) -> None:
        self.sink.body_data(data)


class WritingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.kernels: list[Kernel] = []
        self.freed: list[NodeConnection] = []
        self.client = Client()
        self.fanout = Fanout(self.client, 2, Digests({}))  # type: ignore[arg-type]

    def begin(self, *rooms: int) -> list[Deferred[Answer]]:
        """The head was taken; there is so much room for the body at each node."""
        asking = []
        for room, branch in zip(rooms, self.fanout.branches, strict=True):
            kernel = Kernel(self.reactor)
            self.addCleanup(kernel.handle.close)
            self.kernels.append(kernel)
            line = NodeConnection(self.reactor, self.freed.append, lambda _: None)
            kernel.protocol = line
            line.makeConnection(kernel)
            kernel.room = len(HEAD) + room
            asking.append(self.ask(line, branch))
        return asking

    def ask(self, line: NodeConnection, body: IBodyProducer) -> Deferred[Answer]:
        waiting: Deferred[Answer] = Deferred()
        line.ask(
            waiting, "PUT", HEAD, body, began_s=0.0, first_byte_s=30.0, stall_s=STALL_S, answer_s=30
        )
        return waiting

    def taken(self) -> list[bytes]:
        """What each of the nodes got of the body."""
        return [kernel.taken.removeprefix(HEAD) for kernel in self.kernels]

    def check_taken(self, *wanted: bytes) -> None:
        """Without an account of where long bodies differ, which takes minutes."""
        taken = self.taken()
        self.assertEqual([len(each) for each in taken], [len(each) for each in wanted])
        self.assertTrue(taken == list(wanted), "other bytes")

    def given(self, kernel: Kernel) -> list[Any]:
        return [each for each in kernel.handle.given if each != HEAD]


class WriterTests(WritingCase):
    def test_each_node_is_given_the_very_bytes_that_came(self) -> None:
        self.begin(LENGTH, LENGTH)
        pieces = [bytes([number]) * PIECE for number in range(4)]
        for piece in pieces:
            self.client.sends(piece)
        for kernel in self.kernels:
            for given, piece in zip(self.given(kernel), pieces[:3], strict=True):
                self.assertIs(given, piece)
            # Nothing is left for another turn of the reactor.
            self.assertEqual(self.reactor.getWriters(), [])
        self.assertFalse(self.client.paused)
        self.check_taken(*[b"".join(pieces[:3])] * 2)

    def test_of_what_a_node_doesnt_take_nothing_is_copied(self) -> None:
        self.begin(LENGTH, 100)
        piece = bytes(PIECE)
        self.client.sends(piece)
        self.client.sends(b"x" * PIECE)
        self.assertTrue(self.client.paused)
        slow = self.kernels[1]
        for _ in range(3):
            slow.makes_room(50)
            self.assertTrue(self.client.paused)
        first, *others = self.given(slow)
        self.assertIs(first, piece)
        for count, other in enumerate(others):
            self.assertIsInstance(other, memoryview)
            self.assertIs(other.obj, piece)
            self.assertEqual(len(other), PIECE - 100 - 50 * count)
        self.assertEqual(len(others), 3)

    def test_the_client_waits_for_the_slowest_node(self) -> None:
        self.begin(LENGTH, 0)
        self.client.sends(b"a" * PIECE)
        self.client.sends(b"b" * PIECE)
        self.assertTrue(self.client.paused)
        self.check_taken(b"a" * PIECE, b"")
        self.kernels[1].makes_room(PIECE - 1)
        self.assertTrue(self.client.paused)
        self.kernels[1].makes_room(1)
        self.assertFalse(self.client.paused)
        self.check_taken(*[b"a" * PIECE] * 2)
        self.assertEqual(self.reactor.getWriters(), [])

    def test_what_comes_in_spite_of_a_pause_keeps_its_order(self) -> None:
        self.begin(LENGTH, 0)
        pieces = [letter * KIB for letter in (b"a", b"b", b"c", b"d")]
        for piece in pieces:
            self.client.sends(piece)
        slow = self.kernels[1]
        slow.makes_room(KIB + 1)
        (_, several) = self.given(slow)
        self.assertEqual([id(each) for each in several], [id(each) for each in pieces[:3]])
        slow.makes_room(LENGTH)
        self.check_taken(*[b"".join(pieces[:3])] * 2)
        self.assertFalse(self.client.paused)

    def test_a_body_waits_for_a_head_that_the_kernel_didnt_take(self) -> None:
        self.begin(LENGTH, -5)
        self.client.sends(b"a" * KIB)
        self.client.sends(b"b" * KIB)
        self.assertTrue(self.client.paused)
        self.assertEqual(self.kernels[1].taken, HEAD[:-5])
        self.kernels[1].makes_room(LENGTH)
        self.assertEqual(self.kernels[1].taken, HEAD + b"a" * KIB)
        self.assertFalse(self.client.paused)

    def test_the_end_of_a_body_is_left_to_the_transport(self) -> None:
        asking = self.begin(LENGTH, 10)
        pieces = [bytes([number]) * PIECE for number in range(4)]
        for piece in pieces:
            self.client.sends(piece)
        self.client.sink.body_ended()
        self.fanout.release()
        slow = self.kernels[1]
        self.assertIsNone(slow.producer)
        self.check_taken(b"".join(pieces), pieces[0][:10])
        # It answers before it has read all, and gets another body: one that overtakes nothing.
        slow.protocol.dataReceived(answer(b"200 OK"))
        self.assertEqual(self.successResultOf(asking[1]).code, 200)
        self.assertEqual(self.freed, [slow.protocol])
        slow.room = 3 * LENGTH
        self.ask(slow.protocol, HeldBody([b"n" * 70 * KIB]))
        for _ in range(2 * LENGTH // slow.SEND_LIMIT):
            slow.makes_room(0)
        self.check_taken(b"".join(pieces), b"".join(pieces) + HEAD + b"n" * 70 * KIB)


class DeadlineTests(WritingCase):
    def test_a_node_that_takes_no_byte_is_late(self) -> None:
        asking = self.begin(LENGTH, 10)
        self.client.sends(bytes(PIECE))
        self.client.sends(bytes(PIECE))
        for _ in range(5):
            self.reactor.advance(STALL_S - 1)
            self.kernels[1].makes_room(1)  # it does, after all
            self.assertNoResult(asking[1])
        self.reactor.advance(STALL_S - 0.1)
        self.assertNoResult(asking[1])
        self.reactor.advance(0.2)
        failure = self.failureResultOf(asking[1], TookTooLong)
        self.assertIn("took no byte for 10 s", str(failure.value))
        self.assertFalse(self.client.paused)  # the other goes on

    def test_a_node_that_took_all_is_not(self) -> None:
        asking = self.begin(LENGTH, 0)
        self.client.sends(bytes(PIECE))
        self.client.sends(bytes(PIECE))
        self.kernels[1].makes_room(PIECE)
        self.reactor.advance(10 * STALL_S)  # the client is slow
        for each in asking:
            self.assertNoResult(each)


class BreakingTests(WritingCase):
    def test_a_socket_that_is_broken_is_the_transports_to_tell(self) -> None:
        asking = self.begin(LENGTH, LENGTH)
        broken = self.kernels[1]
        broken.handle.broken = ConnectionResetError("no")
        self.client.sends(bytes(PIECE))
        self.client.sends(bytes(PIECE))
        self.assertNoResult(asking[1])
        self.assertEqual(self.reactor.getWriters(), [broken])  # to find out
        broken.breaks()
        self.failureResultOf(asking[1], Broke)
        self.assertEqual(self.fanout.branches[0].paused, False)
        self.client.sends(bytes(PIECE))
        self.assertEqual(len(self.taken()[0]), 2 * PIECE)

    def test_and_nothing_is_sent_twice_if_it_isnt(self) -> None:
        self.begin(LENGTH, LENGTH)
        odd = self.kernels[1]
        odd.handle.broken = OSError("no buffer space")
        self.client.sends(b"a" * PIECE)
        self.client.sends(b"b" * PIECE)
        odd.handle.broken = None
        self.client.sends(b"c" * PIECE)
        odd.makes_room(0)
        self.check_taken(*[b"a" * PIECE + b"b" * PIECE] * 2)
        self.assertFalse(self.client.paused)

    def test_what_a_node_said_before_it_hung_up_is_read(self) -> None:
        for waits in (False, True):
            asking = self.begin(LENGTH, 0 if waits else LENGTH)
            node = self.kernels[-1]
            self.client.sends(bytes(PIECE))
            self.client.sends(bytes(PIECE))
            self.assertEqual(self.client.paused, waits)
            words = [answer(b"403 No")]
            node.handle.recv = lambda *_, words=words: words.pop() if words else b""  # type: ignore[method-assign]
            node.breaks()
            self.assertEqual(self.successResultOf(asking[1]).code, 403)
            self.fanout = Fanout(self.client, 2, Digests({}))  # type: ignore[arg-type]
