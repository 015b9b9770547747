"""Both doors over nodes in memory, from the bytes of a request to those of the answer."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aosd.doors.operations.door import OperationsDoor
from aosd.doors.operations.report import Oversight
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.site import HeadFirstSite
from aosd.model.node import NodeState, Sighting
from aosd.observe.access import AccessLog
from aosd.testing.faults import breaks, late
from tests.unit.cluster_case import ClusterTestCase, sighting


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Answer:
    """A parsed answer."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(b": ", 1) for line in lines[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class DoorTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begin(replay_bytes=100, part_bytes=1000, part_bytes_max=1000)
        self.metrics = self.gateway.metrics
        self.discovery = self.gateway.discovery
        self.oversight = Oversight(self.gateway.assembly, self.replicas)
        self.doors = Doors(
            PlainDoor(self.gateway.store), OperationsDoor(self.oversight, self.metrics), None
        )
        self.site = HeadFirstSite(
            self.doors,
            clock=self.clock,
            observer=AccessLog(self.clock, self.metrics, written=True),
            make_request_id=lambda: "0123456789ABCDEF",
            door_of=self.doors.door_of,
            client_idle_timeout_s=25.0,
        )
        self.open: list[Any] = []

    def tearDown(self) -> None:
        for channel in self.open:
            channel.connectionLost(Failure(ConnectionLost()))
        super().tearDown()
        for node in self.nodes.values():
            self.assertEqual((node.open_readings, node.uploads), (0, {}))

    def nodes_up(self) -> None:
        self.gateway.see(*self.names)
        self.wait(10, lambda: self.gateway.ready)
        # The heartbeat and the first sweep are over.
        self.pass_s(1)

    def connect(self) -> tuple[Any, Transport]:
        channel = self.site.buildProtocol(None)
        transport = Transport()
        channel.makeConnection(transport)
        self.open.append(channel)
        return channel, transport

    def ask(self, target: str, verb: str = "GET", body: bytes | None = None, **more: str) -> Answer:
        channel, transport = self.connect()
        head = f"{verb} {target} HTTP/1.1\r\nHost: h\r\n"
        head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        channel.dataReceived(head.encode("latin-1") + b"\r\n" + (body or b""))
        return Answer(transport.value())


class PlainDoorTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def test_there_and_back(self) -> None:
        put = self.ask("/object/a", "PUT", b"hello", x_amz_meta_Who="me", Content_Type="a/b")
        self.assertEqual(put.status, 201)
        etag = '"5d41402abc4b2a76b9719d911017c592"'
        self.assertEqual(put.json, {"id": "a", "etag": etag, "size": 5})
        got = self.ask("/object/a")
        self.assertEqual((got.status, got.body), (200, b"hello"))
        for name, value in (
            (b"etag", etag.encode()),
            (b"content-type", b"a/b"),
            (b"content-length", b"5"),
            (b"x-amz-meta-who", b"me"),
            (b"accept-ranges", b"bytes"),
            (b"last-modified", formatdate(int(self.clock.seconds()), usegmt=True).encode()),
            (b"x-amz-request-id", b"0123456789ABCDEF"),
        ):
            self.assertEqual(got.headers[name], value)
        self.assertNotIn(b"x-amz-meta-aos-stamp", got.headers)
        head = self.ask("/object/a", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers[b"content-length"], b"5")
        self.assertEqual(self.ask("/object/a", "DELETE").status, 204)
        self.assertEqual(self.ask("/object/a").json["code"], "NoSuchKey")

    def test_no_type_is_made_one(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        self.assertEqual(
            self.ask("/object/a").headers[b"content-type"], b"application/octet-stream"
        )

    def test_a_range(self) -> None:
        self.ask("/object/a", "PUT", b"0123456789")
        part = self.ask("/object/a", Range="bytes=2-4")
        self.assertEqual((part.status, part.body), (206, b"234"))
        self.assertEqual(part.headers[b"content-range"], b"bytes 2-4/10")
        outside = self.ask("/object/a", Range="bytes=10-")
        self.assertEqual(outside.status, 416)
        self.assertEqual(outside.headers[b"content-range"], b"bytes */10")
        whole_head = self.ask("/object/a", "HEAD", Range="bytes=2-4")
        self.assertEqual(whole_head.status, 200)

    def test_not_modified_has_no_body_and_says_what_it_must(self) -> None:
        etag = self.ask("/object/a", "PUT", b"x", Cache_Control="no-store").json["etag"]
        answer = self.ask("/object/a", If_None_Match=etag)
        self.assertEqual((answer.status, answer.body), (304, b""))
        self.assertEqual(answer.headers[b"etag"], etag.encode())
        self.assertEqual(answer.headers[b"cache-control"], b"no-store")
        self.assertNotIn(b"content-length", answer.headers)

    def test_ids_that_are_none(self) -> None:
        for name in ("", "a" * 33, "a_b", "a%62", "../a", "a/b", "%00", "a//", "%ff"):
            answer = self.ask(f"/object/{name}")
            self.assertEqual(answer.status, 400, name)
            self.assertEqual(answer.json["code"], "InvalidArgument")
        self.assertEqual(self.ask("/object/" + "a" * 32).status, 404)

    def test_unknown_paths_and_verbs(self) -> None:
        for path in ("/", "/objects", "/objectx/a", "/x%ff"):
            self.assertEqual(self.ask(path).status, 404, path)
        for path, allowed in (
            ("/object/a", b"DELETE, GET, HEAD, PUT"),
            ("/object", b"GET, HEAD"),
            ("/-/nodes", b"GET, HEAD"),
        ):
            answer = self.ask(path, "PATCH")
            self.assertEqual(answer.status, 405)
            self.assertEqual(answer.headers[b"allow"], allowed)

    def test_the_absolute_form_of_a_target(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        self.assertEqual(self.ask("http://elsewhere/object/a").body, b"x")

    def test_neither_length_nor_chunks(self) -> None:
        self.assertEqual(self.ask("/object/a", "PUT").status, 411)

    def test_digests_that_can_not_be(self) -> None:
        for header in ({"Content_MD5": "x"}, {"x_amz_content_sha256": "abc"}):
            answer = self.ask("/object/a", "PUT", b"x", **header)
            self.assertEqual(answer.json["code"], "InvalidDigest")

    def test_a_listing(self) -> None:
        for key in ("b", "a", "c"):
            self.ask(f"/object/{key}", "PUT", b"xy")
        page = self.ask("/object?limit=2").json
        self.assertEqual([each["id"] for each in page["objects"]], ["a", "b"])
        self.assertEqual(page["next"], "b")
        self.assertEqual(page["objects"][0]["size"], 2)
        self.assertEqual(page["objects"][0]["last_modified"], "2023-11-14T22:13:22.000Z")
        last = self.ask("/object?limit=2&after=b").json
        self.assertEqual(([each["id"] for each in last["objects"]], last["next"]), (["c"], None))

    def test_parameters_that_can_not_be(self) -> None:
        for query in (
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=0001001000000",
            "limit=-1",
            "prefix=a/b",
            "after=%00",
        ):
            self.assertEqual(self.ask(f"/object?{query}").status, 400, query)
        self.assertEqual(self.ask("/object?limt=1").status, 400)

    def test_a_chunked_body_over_several_parts(self) -> None:
        channel, transport = self.connect()
        channel.dataReceived(
            b"PUT /object/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(25):
            channel.dataReceived(b"64\r\n" + b"x" * 100 + b"\r\n")
        channel.dataReceived(b"0\r\n\r\n")
        self.assertEqual(Answer(transport.value()).json["size"], 2500)
        self.assertEqual(self.ask("/object/a").body, b"x" * 2500)

    def test_continue_comes_before_the_body_and_not_before_a_refusal(self) -> None:
        channel, transport = self.connect()
        head = b"HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        channel.dataReceived(b"PUT /object/a " + head)
        self.assertEqual(transport.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        channel.dataReceived(b"x")
        self.assertIn(b"201 Created", transport.value())
        channel, transport = self.connect()
        channel.dataReceived(b"PUT /object/a_b " + head)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400"))
        self.clock.advance(2)

    def test_a_node_that_breaks_in_the_middle_isnt_noticed(self) -> None:
        body = bytes(range(250)) * 360
        self.ask("/object/a", "PUT", body)
        for node in self.nodes.values():
            node.script("get", breaks(50_000))
        got = self.ask("/object/a")
        self.assertEqual((got.status, got.body), (200, body))

    def test_an_answer_that_nobody_can_finish_is_cut_off(self) -> None:
        self.ask("/object/a", "PUT", b"x" * 90_000)
        for node in self.nodes.values():
            node.script("get", breaks(1000), times=None)
        channel, transport = self.connect()
        channel.dataReceived(b"GET /object/a HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertTrue(transport.aborted)
        self.assertEqual(Answer(transport.value()).headers[b"content-length"], b"90000")
        self.assertLess(len(transport.value()), 90_000)

    def test_a_node_that_is_away_isnt_noticed(self) -> None:
        for away in self.names:
            self.unreach(away)
            self.pass_s(15)
            self.assertEqual(self.ask("/object/a", "PUT", away.encode()).status, 201)
            self.assertEqual(self.ask("/object/a").body, away.encode())
            self.assertEqual(len(self.ask("/object").json["objects"]), 1)
            self.assertEqual(self.ask("/object/a", "DELETE").status, 204)
            self.assertEqual(self.ask("/object/a").status, 404)
            self.assertEqual(self.ask("/object").json["objects"], [])
            self.reachable(away)
            self.wait(60, lambda away=away: self.gateway.state(away) is NodeState.UP)

    def test_too_few_nodes(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        self.unreach("n1", "n2")
        self.pass_s(15)
        for target, verb, body in (
            ("/object/b", "GET", None),
            ("/object/a", "PUT", b"x"),
            ("/object/a", "DELETE", None),
            ("/object", "GET", None),
        ):
            answer = self.ask(target, verb, body)
            self.assertEqual(answer.status, 503, (target, verb))
            self.assertIn(b"retry-after", answer.headers)

    def test_reading_the_newest_on_demand(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        for node in self.nodes.values():
            node.requests.clear()
        self.assertEqual(self.ask("/object/a", x_aos_read="newest").body, b"x")
        asked = [node.requests["get"] + node.requests["head"] for node in self.nodes.values()]
        self.assertEqual(asked, [1, 1, 1])

    def test_a_client_that_leaves_while_a_node_thinks_releases_it(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        gate: Deferred[None] = Deferred()
        for node in self.nodes.values():
            node.script("get", late(lambda: gate))
        channel, _ = self.connect()
        channel.dataReceived(b"GET /object/a HTTP/1.1\r\nHost: h\r\n\r\n")
        channel.connectionLost(Failure(ConnectionLost()))
        self.open.remove(channel)
        self.assertEqual(self.flushLoggedErrors(), [])


class WithoutNodesTests(DoorTestCase):
    def test_nothing_found_yet(self) -> None:
        for target, verb, body in (
            ("/object/a", "GET", None),
            ("/object/a", "PUT", b"x"),
            ("/object/a", "DELETE", None),
            ("/object", "GET", None),
        ):
            answer = self.ask(target, verb, body)
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.headers[b"retry-after"], b"1")
            self.assertEqual(answer.json["request_id"], "0123456789ABCDEF")
        self.clock.advance(2)
        ready = self.ask("/-/ready")
        self.assertEqual(ready.status, 503)
        self.assertEqual(self.ask("/-/health").status, 200)


class OperationsDoorTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def test_ready_until_it_stops(self) -> None:
        self.assertEqual(self.ask("/-/ready").status, 200)
        self.oversight.stopping = True
        self.assertEqual(self.ask("/-/ready").status, 503)

    def test_nodes_and_what_is_wrong_with_others(self) -> None:
        self.discovery.see(
            sighting("n1"),
            Sighting("bad", problem="no credentials"),
        )
        told = self.ask("/-/nodes").json
        self.assertEqual([each["name"] for each in told["nodes"]], ["n1", "n2", "n3"])
        self.assertEqual([each["state"] for each in told["nodes"]], ["up", "down", "down"])
        self.assertEqual(told["unusable"], [{"where": "bad", "problem": "no credentials"}])
        self.assertNotIn(b"hush", self.ask("/-/nodes").body)

    def test_where_a_key_lies(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        told = self.ask("/-/ring?key=a").json
        first = told["order"][0]
        self.assertEqual(first["role"], "primary")
        self.assertIn("a", self.nodes[first["name"]].buckets["object"])
        self.assertEqual(len(self.ask("/-/ring").json["members"]), 3)
        self.assertEqual(self.ask("/-/ring?key=" + "a" * 1025).status, 400)

    def test_metrics_move(self) -> None:
        self.ask("/object/a", "PUT", b"hello")
        text = self.ask("/-/metrics").body.decode()
        for line in (
            'aosd_requests_total{door="plain",status="201",verb="PUT"} 1.0',
            'aosd_received_bytes_total{door="plain"} 5.0',
            'aosd_node_up{node="n1"} 1.0',
            "aosd_ring_members 3.0",
            'aosd_discovery_reports_total{provider="scripted"} 2.0',
        ):
            self.assertIn(line, text)

    def test_pages_that_do_not_exist(self) -> None:
        for path in ("/-", "/-/", "/-/nope", "/-/nodes/", "/-/%ff"):
            self.assertEqual(self.ask(path).status, 404, path)
