"""The express lane's connections to a node: when they are made, used again, given up."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.python.failure import Failure

from aosd.consistency.listed import Keys
from aosd.model.errors import (
    NodeNonsense,
    NodeTimeout,
    NodeUnavailable,
    NoSuchKey,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.ranges import ByteRange
from aosd.nodes.express.signing import QuickSigner
from tests.unit.express_case import LAST_MODIFIED, ExpressCase, answer, found


class RequestTests(ExpressCase):
    def test_a_head_as_it_goes_out(self) -> None:
        asking, wire = self.begin(self.node.get("object", "a b", ByteRange(1, 2), '"e"'))
        lines = wire.value().split(b"\r\n")
        self.assertEqual(lines[0], b"GET /object/a%20b HTTP/1.1")
        self.assertEqual(lines[-2:], [b"", b""])
        for line in (
            b"host: 127.0.0.1:9000",
            b"accept-encoding: identity",
            b"range: bytes=1-2",
            b'if-match: "e"',
            b"x-amz-date: 20231114T221320Z",
        ):
            self.assertIn(line, lines)
        wire.says(answer(b"412 No"))
        self.failureResultOf(asking, PreconditionFailed)
        self.end()

    def test_a_read_is_signed_once_a_second(self) -> None:
        now = [1_700_000_000.0]
        self.node._express._now = self.node._express._signer._now = lambda: now[0]
        heads: list[bytes] = []

        def ask(asking: Deferred[object]) -> None:
            if not self.wires:
                self.connect()
            heads.append(self.wires[0].writes[-1])
            self.wires[0].says(found(length=0))
            self.successResultOf(asking)

        with patch.object(QuickSigner, "sign", autospec=True, side_effect=QuickSigner.sign) as sign:
            for key in ("a", "a", "b", "a"):
                ask(self.node.head("object", key))
            self.assertEqual(sign.call_count, 2)
            now[0] += 1
            ask(self.node.head("object", "a"))
            self.assertEqual(sign.call_count, 3)
            ask(Deferred.fromCoroutine(self.node.get("object", "a")))
            ask(Deferred.fromCoroutine(self.node.get("object", "a", None, '"abc"')))
            self.assertEqual(sign.call_count, 5)
        self.assertEqual(heads[0], heads[1])
        self.assertEqual(heads[0], heads[3])
        self.assertIn(b"HEAD /object/b ", heads[2])
        self.assertIn(b"x-amz-date: 20231114T221320Z", heads[0])
        self.assertIn(b"x-amz-date: 20231114T221321Z", heads[4])
        self.assertIn(b'if-match: "abc"', heads[6])
        self.end()

    def test_a_listing_goes_on_without_a_token_that_is_refused(self) -> None:
        def page(key: bytes, rest: bytes) -> bytes:
            body = (
                b"<ListBucketResult><Contents><Key>%b</Key><ETag>e</ETag><Size>1</Size>"
                b"<LastModified>2023-11-14T22:13:20.000Z</LastModified></Contents>%b"
                b"</ListBucketResult>" % (key, rest)
            )
            return answer(b"200 OK", body=body)

        names = Keys(self.node, "object", "", "")
        names.by_tokens = True
        wire = None
        for number in range(4):
            asking = Deferred.fromCoroutine(names.ask())
            wire = wire or self.connect()
            token = b"<NextContinuationToken>t</NextContinuationToken>"
            wire.says(page(b"k%d" % number, b"<IsTruncated>true</IsTruncated>" + token))
            self.successResultOf(asking)
        asking = Deferred.fromCoroutine(names.ask())
        assert wire is not None
        self.assertIn(b"continuation-token=t", wire.writes[-1])
        refusal = b"<Error><Code>InvalidArgument</Code><Message>which token?</Message></Error>"
        wire.says(answer(b"400 Bad Request", body=refusal))
        self.assertIn(b"start-after=k3", wire.writes[-1])
        wire.says(page(b"k4", b""))
        self.successResultOf(asking)
        self.assertEqual([each[1] for each in names.ready], ["k0", "k1", "k2", "k3", "k4"])
        self.end()

    def test_so_many_signed_heads_are_kept(self) -> None:
        exchange = self.node._express
        for number in range(3000):
            exchange._head_of_read("GET", "object", f"{number}")
        self.assertLessEqual(len(exchange._signed), 1024)
        self.end()

    def test_a_line_break_in_a_value_begins_no_header(self) -> None:
        asking, wire = self.begin(
            self.node.create_upload("object", "a", ((b"x", b"1\r\nevil: 2"),))
        )
        self.assertIn(b"\r\nx: 1 evil: 2\r\n", wire.value())
        self.assertIn(b"\r\ncontent-length: 0\r\n", wire.value())
        wire.says(answer(b"404 No"))
        self.failureResultOf(asking, NoSuchKey)
        self.end()

    def test_what_is_counted(self) -> None:
        asking, wire = self.begin(self.node.head("object", "a"))
        self.reactor.advance(0.3)
        wire.says(found(length=7))
        self.assertEqual(self.successResultOf(asking).size_bytes, 7)
        self.assertEqual(self.count("aosd_node_requests_total", verb="HEAD"), 1)
        self.assertEqual(self.count("aosd_node_request_seconds_count", verb="HEAD"), 1)
        self.assertAlmostEqual(self.count("aosd_node_request_seconds_sum", verb="HEAD"), 0.3)
        self.assertEqual(self.health.answers, [True])
        self.end()

    def test_a_failure_is_counted(self) -> None:
        asking, wire = self.begin(self.node.delete("object", "a"))
        wire.breaks()
        self.failureResultOf(asking, NodeUnavailable)
        self.assertEqual(self.count("aosd_node_errors_total", kind="NodeUnavailable"), 1)
        self.assertEqual(len(self.health.failures), 1)
        self.end()

    def test_a_range_that_isnt_there_asks_for_the_size(self) -> None:
        asking, wire = self.begin(self.node.get("object", "a", ByteRange(9, None)))
        wire.says(answer(b"416 No"))
        wire.says(found(length=4))
        self.assertEqual(self.failureResultOf(asking, RangeNotSatisfiable).value.size_bytes, 4)
        self.assertEqual(len(self.wires), 1)
        self.end()


class ConnectionTests(ExpressCase):
    def head(self) -> Deferred[object]:
        return self.node.head("object", "a")  # type: ignore[return-value]

    def test_one_is_enough_for_one_after_the_other(self) -> None:
        asking, wire = self.begin(self.head())
        for _ in range(3):
            wire.says(found(length=1))
            self.successResultOf(asking)
            asking = self.head()
        wire.says(found())
        self.successResultOf(asking)
        self.assertEqual(len(self.reactor.tcpClients), 1)
        self.end()

    def test_as_many_as_are_asked_at_once_and_so_many_kept(self) -> None:
        begun = [self.begin(self.head()) for _ in range(3)]
        for asking, wire in begun:
            wire.says(found())
            self.successResultOf(asking)
        self.assertEqual([wire.over for wire in self.wires], [False, False, True])
        self.end()

    def test_a_new_one_waits_to_be_confirmed(self) -> None:
        gate: Deferred[None] = Deferred()
        self.health.confirming = lambda: gate
        asking, wire = self.begin(self.head())
        self.assertEqual(wire.value(), b"")
        gate.callback(None)
        self.assertTrue(wire.value().startswith(b"HEAD /object/a HTTP/1.1\r\n"))
        wire.says(found())
        self.successResultOf(asking)
        self.end()

    def test_one_that_isnt_confirmed_is_dropped(self) -> None:
        gate: Deferred[None] = Deferred()
        self.health.confirming = lambda: gate
        asking, wire = self.begin(self.head())
        gate.errback(Failure(NodeUnavailable("n1", "another one")))
        self.failureResultOf(asking, NodeUnavailable)
        self.assertEqual((wire.value(), wire.aborted), (b"", True))
        self.end()

    def test_one_that_was_lost_while_it_waited_is_not_used(self) -> None:
        gate: Deferred[None] = Deferred()
        self.health.confirming = lambda: gate
        asking, wire = self.begin(self.node.delete("object", "a"))
        wire.breaks()
        gate.callback(None)
        self.failureResultOf(asking, NodeUnavailable)
        self.end()

    def test_an_idle_one_is_closed_in_time(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(found())
        self.successResultOf(asking)
        self.reactor.advance(19.9)
        self.assertFalse(wire.over)
        self.reactor.advance(0.2)
        self.assertTrue(wire.over)
        # It isn't gone yet, and carries nothing all the same.
        asking, other = self.begin(self.head())
        other.says(found())
        self.successResultOf(asking)
        self.end()

    def test_one_that_is_used_stays(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(found())
        for _ in range(5):
            self.reactor.advance(15)
            asking = self.head()
            self.reactor.advance(15)
            wire.says(found())
            self.successResultOf(asking)
        self.assertFalse(wire.over)
        self.end()

    def test_one_that_broke_while_it_was_idle_isnt_used(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(found())
        self.successResultOf(asking)
        wire.breaks()
        asking, wire = self.begin(self.head())
        wire.says(found())
        self.successResultOf(asking)
        self.end()

    def test_those_that_broke_take_no_room(self) -> None:
        for _ in range(2):
            begun = [self.begin(self.head()) for _ in range(2)]
            for asking, wire in begun:
                wire.says(found())
                self.successResultOf(asking)
            self.assertEqual([wire.over for _, wire in begun], [False, False])
            for _, wire in begun:
                wire.breaks()
        self.end()

    def test_the_last_answer_of_one(self) -> None:
        for told in (
            found(b"", b"Connection: close"),
            found().replace(b"HTTP/1.1", b"HTTP/1.0"),
            found() + b"HTTP/1.1 200 OK\r\n\r\n",
        ):
            asking, wire = self.begin(self.head())
            wire.says(told)
            self.successResultOf(asking)
            self.assertTrue(wire.over, told)
        self.end()

    def test_what_nobody_asked_for_ends_it(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(found())
        self.successResultOf(asking)
        wire.says(found())
        self.assertTrue(wire.aborted)
        asking, other = self.begin(self.head())
        other.says(found(length=3))
        self.successResultOf(asking)
        self.end()

    def test_those_in_use_end_after_a_close(self) -> None:
        asking, wire = self.begin(self.head())
        self.successResultOf(self.node.close())
        self.assertFalse(wire.over)
        wire.says(found())
        self.successResultOf(asking)
        self.assertTrue(wire.over)
        self.end()

    def test_closing_waits_for_the_idle_ones(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(found())
        self.successResultOf(asking)
        closing = self.node.close()
        self.assertNoResult(closing)
        wire.end()
        self.successResultOf(closing)
        self.end()


class FailureTests(ExpressCase):
    def fails(self, kind: type[Exception], words: str, asking: Deferred[object]) -> None:
        failure = self.failureResultOf(asking, kind)
        self.assertIn(words, str(failure.value))
        self.end()

    def head(self) -> Deferred[object]:
        return self.node.head("object", "a")  # type: ignore[return-value]

    def test_no_connection(self) -> None:
        for error, words in (
            (ConnectError("nobody"), "no connection: An error occurred while connecting: nobody"),
            (ConnectTimeout(), "no connection in time"),
        ):
            asking = self.head()
            _, _, factory, _, _ = self.reactor.tcpClients.pop()
            factory.clientConnectionFailed(None, Failure(error))
            self.fails(NodeUnavailable, words, asking)

    def test_a_read_is_repeated_once(self) -> None:
        asking, wire = self.begin(self.head())
        wire.says(b"HTTP/1.1 200 O")
        wire.breaks()
        wire = self.connect()
        wire.breaks()
        self.fails(NodeUnavailable, "closed the connection without an answer", asking)
        self.assertEqual(len(self.reactor.tcpClients), 2)
        self.assertEqual(len(self.health.failures), 1)

    def test_a_repeated_read_may_go_well(self) -> None:
        asking, wire = self.begin(self.head())
        wire.breaks()
        self.connect().says(found())
        self.successResultOf(asking)
        self.assertEqual(self.health.failures, [])
        self.end()

    def test_no_answer_in_time(self) -> None:
        asking, wire = self.begin(self.head())
        self.reactor.advance(29.9)
        self.assertNoResult(asking)
        self.reactor.advance(0.2)
        self.assertTrue(wire.aborted)
        self.fails(NodeTimeout, "didn't begin to answer within 30 s", asking)

    def test_connecting_counts(self) -> None:
        gate: Deferred[None] = Deferred()
        self.health.confirming = lambda: gate
        asking, wire = self.begin(self.head())
        self.reactor.advance(20)
        gate.callback(None)
        self.reactor.advance(10.1)
        self.fails(NodeTimeout, "didn't begin to answer within 30 s", asking)

    def test_never_confirmed(self) -> None:
        self.health.confirming = Deferred
        asking, wire = self.begin(self.head())
        self.reactor.advance(30.1)
        self.assertTrue(wire.aborted)
        self.fails(NodeTimeout, "didn't begin to answer within 30 s", asking)

    def test_the_breaker_opens(self) -> None:
        asking, wire = self.begin(self.head())
        self.health.trip()
        self.assertTrue(wire.aborted)
        self.fails(NodeUnavailable, "its breaker opened meanwhile", asking)

    def test_given_up(self) -> None:
        asking, wire = self.begin(self.head())
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.health.failures, [])
        self.end()

    def test_given_up_while_it_connects(self) -> None:
        # Twisted's endpoints fail in their own way then: not with a CancelledError.
        asking = self.head()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual([each.stoppedConnecting for each in self.reactor.connectors], [True])
        self.assertEqual(self.health.failures, [])
        self.assertEqual(self.count("aosd_node_errors_total", kind="NodeNonsense"), 0)
        self.end()

    def test_given_up_too_late_to_stop_connecting(self) -> None:
        self.health.confirming = lambda: Deferred(lambda gate: gate.callback(None))
        asking, wire = self.begin(self.head())
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((wire.value(), wire.aborted), (b"", True))
        self.assertEqual(self.health.failures, [])
        self.end()

    def test_given_up_while_it_is_confirmed(self) -> None:
        self.health.confirming = Deferred
        asking, wire = self.begin(self.head())
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.health.failures, [])
        self.end()

    def test_what_isnt_http(self) -> None:
        for told, words in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", "it begins with b'SSH-2.0-Open"),
            (b"H\n", "it begins with"),
            (b"HTTP/1.1 200 OK\r\na: " + b"x" * 70_000, "its head has no end"),
            (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "Invalid header token"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Duplicate"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "a transfer coding"),
            (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "changed the prot"),
        ):
            asking, wire = self.begin(self.node.get("object", "a"))
            wire.says(told)
            failure = self.failureResultOf(asking, NodeNonsense)
            self.assertIn("its answer isn't HTTP", str(failure.value))
            self.assertIn(words, str(failure.value))
            self.assertTrue(wire.aborted)
        self.end()

    def test_an_answer_in_the_smallest_pieces(self) -> None:
        asking, wire = self.begin(self.head())
        early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
        for byte in early + found(b"", b"x-amz-meta-who: you", b"x-amz-meta-who: me", length=9):
            wire.says(bytes([byte]))
        head = self.successResultOf(asking)
        self.assertEqual(head.headers, ((b"x-amz-meta-who", b"you,me"),))  # type: ignore[attr-defined]
        self.end()

    def test_a_head_without_what_it_should_have(self) -> None:
        for told in (
            answer(b"200 OK", LAST_MODIFIED.strip()),
            answer(b"200 OK", b"ETag: a"),
            answer(b"200 OK", b"ETag: a", b"Last-Modified: yesterday"),
            b"HTTP/1.1 200 OK\r\nETag: a\r\n" + LAST_MODIFIED + b"\r\n",
        ):
            asking, wire = self.begin(self.head())
            wire.says(told)
            self.failureResultOf(asking, NodeNonsense)
            wire.breaks()
        self.end()
