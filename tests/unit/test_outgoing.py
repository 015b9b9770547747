"""Bytes on their way out: at once where the kernel takes them, in order in any case."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aosd.streams.outgoing import Outgoing
from tests.unit.express_case import Kernel


class OutgoingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.kernel = Kernel(self.reactor)
        self.outgoing = Outgoing(self.kernel)

    def test_what_the_kernel_takes_waits_for_no_turn_of_the_reactor(self) -> None:
        self.kernel.room = 10
        self.outgoing.send(b"12345")
        self.outgoing.send(b"67890")
        self.assertEqual(self.kernel.taken, b"1234567890")
        self.assertEqual(self.reactor.getWriters(), [])

    def test_the_rest_goes_by_the_transport_and_what_follows_after_it(self) -> None:
        self.kernel.room = 3
        self.outgoing.send(b"12345")
        self.outgoing.send(b"67")
        self.assertEqual(self.kernel.taken, b"123")
        self.kernel.makes_room(1)
        self.outgoing.send(b"89")
        self.assertEqual(self.kernel.taken, b"1234")
        self.kernel.makes_room(5)
        self.assertEqual(self.kernel.taken, b"123456789")

    def test_once_that_is_gone_it_goes_at_once_again(self) -> None:
        self.outgoing.send(b"1")
        self.kernel.makes_room(10)
        self.outgoing.send(b"2")
        self.assertEqual(self.kernel.taken, b"12")
        self.assertEqual(self.kernel.handle.given, [b"1", b"2"])

    def test_what_was_written_otherwise_goes_first(self) -> None:
        self.outgoing.write(b"1")
        self.kernel.room = 10
        self.outgoing.send(b"2")
        self.assertEqual(self.kernel.taken, b"12")

    def test_that_a_socket_is_broken_is_left_to_the_transport(self) -> None:
        self.kernel.room = 10
        self.kernel.handle.broken = BrokenPipeError()
        self.outgoing.send(b"1")
        self.assertEqual(self.reactor.getWriters(), [self.kernel])

    def test_without_a_plain_socket_all_goes_by_the_transport(self) -> None:
        transport = StringTransport()
        Outgoing(transport).send(b"1")
        self.assertEqual(transport.value(), b"1")
        self.kernel.room = 10
        self.outgoing.lost()
        self.outgoing.send(b"2")
        self.assertEqual((self.kernel.taken, self.kernel.handle.given), (b"", []))
