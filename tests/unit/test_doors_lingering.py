"""How a connection ends whose client may still be sending."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IConsumer, ISSLTransport, ITCPTransport
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides, implementer

from aosd.doors.lingering import LINGER_BYTES, LINGER_S, Lingering


@implementer(IConsumer)
class Transport:
    """Remembers what it is told, in order; asks its producer for more when `goes_out`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.producer: Any = object()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming and self.producer is None
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def resumeProducing(self) -> None:
        self.told.append("reads")

    def startWriting(self) -> None:  # noqa: N802
        """It has something to write."""

    def goes_out(self) -> None:
        """All that was written has left."""
        self.producer.resumeProducing()

    def write(self, data: bytes) -> None:
        raise AssertionError("nobody writes")

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.told.append("ends")

    def loseConnection(self) -> None:
        self.told.append("closes")

    def abortConnection(self) -> None:
        self.told.append("drops")


class LingeringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()

    def linger(self, *interfaces: Any) -> Lingering:
        alsoProvides(self.transport, *interfaces)
        return Lingering(self.transport, self.clock)

    def test_what_was_written_goes_out_first(self) -> None:
        lingering = self.linger(ITCPTransport)
        self.clock.advance(14)
        self.assertEqual(self.transport.told, ["reads"])
        self.transport.goes_out()
        self.assertEqual(self.transport.told, ["reads", "ends"])
        lingering.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_takes_nothing_is_dropped(self) -> None:
        self.linger(ITCPTransport)
        self.clock.advance(16)
        self.assertEqual(self.transport.told, ["reads", "drops"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_stays_is_dropped(self) -> None:
        self.linger(ITCPTransport)
        self.transport.goes_out()
        self.clock.advance(LINGER_S - 0.1)
        self.assertEqual(self.transport.told, ["reads", "ends"])
        self.clock.advance(0.2)
        self.assertEqual(self.transport.told, ["reads", "ends", "drops"])

    def test_a_client_that_sends_on_is_dropped(self) -> None:
        lingering = self.linger(ITCPTransport)
        self.transport.goes_out()
        lingering.take(bytes(LINGER_BYTES))
        self.assertEqual(self.transport.told, ["reads", "ends"])
        lingering.take(b"x")
        self.assertEqual(self.transport.told, ["reads", "ends", "drops"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tls_says_goodbye_itself(self) -> None:
        lingering = self.linger(ITCPTransport, ISSLTransport)
        self.assertEqual(self.transport.told, ["reads", "closes"])
        lingering.take(bytes(LINGER_BYTES + 1))
        self.assertEqual(self.transport.told, ["reads", "closes", "drops"])
