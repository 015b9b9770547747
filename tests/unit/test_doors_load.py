"""Too much at once: who is refused, how, and who gets in all the same; in both lanes."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from aosd.doors.load import Load
from aosd.model.errors import NodeUnavailable
from tests.unit import door_case
from tests.unit.express_case import ExpressCase, found

GET = b"GET /object/a HTTP/1.1\r\nHost: h\r\n\r\n"
HEALTH = b"GET /-/health HTTP/1.1\r\nHost: h\r\n\r\n"


class LoadTests(door_case.DoorTestCase):
    """Bodies that don't come keep requests under way."""

    replicas = 1

    def setUp(self) -> None:
        super().setUp()
        refused = self.metrics.refused
        self.standard.load = self.load = Load(4, 3, lambda door: refused.labels(door).inc())
        self.nodes_up()
        self.assertEqual(self.ask("/object/a", "PUT", b"x").status, 201)
        self.addresses: list[str] = []

    def stuck(self, address: str) -> tuple[Any, Any]:
        """A PUT whose body doesn't come."""
        channel, transport = self.client(address)
        channel.dataReceived(b"PUT /object/b HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
        return channel, transport

    def fill(self) -> list[tuple[Any, Any]]:
        """As many as may be under way at once, each of another client."""
        return [self.stuck(f"10.0.0.{number}") for number in range(self.load.max_requests)]

    def client(self, address: str) -> tuple[Any, Any]:
        channel, transport = self.connect()
        transport.peerAddr = channel.peer = IPv4Address("TCP", address, 1)
        return channel, transport

    def refused(self) -> float | None:
        name = "aosd_requests_refused_total"
        return self.metrics.registry.get_sample_value(name, {"door": "plain"})

    def test_what_is_over_counts_no_more(self) -> None:
        for _ in range(10):
            self.assertEqual(self.ask("/object/a").status, 200)
        self.assertEqual(self.load.under_way, 0)

    def test_past_the_bound_they_are_told_to_slow_down_and_the_connection_is_kept(self) -> None:
        stuck = self.fill()
        channel, transport = self.client("10.0.0.9")
        channel.dataReceived(GET)
        told = door_case.Answer(transport.value())
        self.assertEqual((told.status, told.json["code"]), (503, "SlowDown"))
        self.assertEqual(told.headers[b"retry-after"], b"1")
        self.assertFalse(transport.disconnecting)
        self.assertEqual(self.refused(), 1)
        # One of them leaves: there is room again, on the same connection.
        gone, _ = stuck[0]
        gone.connectionLost(Failure(ConnectionDone()))
        self.open.remove(gone)
        transport.clear()
        channel.dataReceived(GET)
        self.assertEqual(door_case.Answer(transport.value()).status, 200)

    def test_one_client_leaves_room_for_others(self) -> None:
        for _ in range(3):
            self.stuck("10.0.0.1")
        channel, transport = self.client("10.0.0.1")
        channel.dataReceived(GET)
        self.assertEqual(door_case.Answer(transport.value()).status, 503)
        channel, transport = self.client("10.0.0.2")
        channel.dataReceived(GET)
        self.assertEqual(door_case.Answer(transport.value()).status, 200)
        self.assertEqual(self.load.under_way, 3)

    def test_the_operations_door_is_always_open(self) -> None:
        self.fill()
        channel, transport = self.client("10.0.0.9")
        channel.dataReceived(HEALTH)
        self.assertEqual(door_case.Answer(transport.value()).status, 200)
        self.assertEqual(self.load.under_way, 4)

    def test_a_short_body_is_let_in_and_the_connection_goes_on(self) -> None:
        self.fill()
        channel, transport = self.client("10.0.0.9")
        head = b"PUT /object/c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
        channel.dataReceived(head)
        self.assertEqual(transport.value(), b"")
        channel.dataReceived(b"12345")
        self.assertEqual(door_case.Answer(transport.value()).status, 503)
        self.assertFalse(transport.disconnecting)
        self.assertNotIn(b"connection: close", transport.value())
        transport.clear()
        channel.dataReceived(head + b"12345" + HEALTH)
        self.assertEqual(transport.value().count(b"HTTP/1.1 503 "), 1)
        self.assertEqual(transport.value().count(b"HTTP/1.1 200 "), 1)

    def test_a_long_body_is_not_waited_for(self) -> None:
        self.fill()
        for more in (b"Content-Length: 65537", b"Content-Length: 5\r\nExpect: 100-continue"):
            channel, transport = self.client("10.0.0.9")
            channel.dataReceived(b"PUT /object/c HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n\r\n")
            self.assertEqual(door_case.Answer(transport.value()).status, 503)
            self.assertIn(b"connection: close", transport.value().lower())
            self.assertNotIn(b" 100 ", transport.value())

    def test_a_short_body_that_never_comes_holds_nothing_up(self) -> None:
        self.fill()
        channel, transport = self.client("10.0.0.9")
        channel.dataReceived(b"PUT /object/c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        self.assertEqual(self.load.under_way, 4)
        self.clock.advance(26)
        self.assertTrue(transport.aborted)


class StandardLoadTests(LoadTests):
    express = False


class SlowNodeTests(ExpressCase):
    """What waits for one node is bounded, and nobody blames the node for it."""

    most_waiting = 2

    def test_more_than_may_wait_are_refused_at_once_and_probes_never(self) -> None:
        waiting = [self.begin(self.node.head("object", "a")) for _ in range(2)]
        failure = self.failureResultOf(self.node.head("object", "a"), NodeUnavailable)
        self.assertIn("too many", str(failure.value))
        self.assertEqual(self.health.failures, [])
        self.assertEqual(len(self.reactor.tcpClients), 2)
        for asked, wire in waiting:
            wire.says(found(length=3))
            self.assertEqual(self.successResultOf(asked).size_bytes, 3)
        asked = self.node.head("object", "a")
        waiting[0][1].says(found(length=3))
        waiting[1][1].says(found(length=3))
        self.successResultOf(asked)
        self.end()
