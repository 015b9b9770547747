"""The plain door over nodes in memory, from the bytes of a request to those of the answer."""

from __future__ import annotations

from email.utils import formatdate

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from aosd.model.node import NodeState
from aosd.testing.faults import breaks, late
from tests.unit.door_case import Answer, DoorTestCase


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
        there = self.ask("http://h/object/a")
        self.assertEqual((there.status, there.body), (200, b"x"))
        # RFC 9112, section 3.2.2: a client sends the same host in both places.
        self.assertEqual(self.ask("http://elsewhere/object/a").status, 400)

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

    def test_a_host_may_be_no_domain_name(self) -> None:
        self.nodes_up()
        for host in (b"a..b", b".a", b"a" * 64):
            for target in (b"/object", b"/-/health", b"/object/none"):
                channel, transport = self.connect()
                channel.dataReceived(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
                status = 404 if target == b"/object/none" else 200
                self.assertEqual(Answer(transport.value()).status, status, (target, host))


class StandardPlainDoorTests(PlainDoorTests):
    express = False


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


class StandardWithoutNodesTests(WithoutNodesTests):
    express = False
