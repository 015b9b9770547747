"""The site: guards what it takes from twisted.web's private side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from aosd.doors.heads_first import HeadFirstChannel, HeadFirstRequest
from aosd.doors.load import Load
from aosd.doors.site import HeadFirstSite
from aosd.model.errors import ClientGone, IncompleteBody, RequestTimeout
from aosd.observe.access import AccessLog
from aosd.observe.metrics import Metrics
from aosd.ports import IBodySink

IDLE_S = 25.0


@implementer(IBodySink)
class Sink:
    """Keeps what a body does."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self.failure: Failure | None = None

    def body_data(self, data: bytes) -> None:
        self.data += data

    def body_ended(self) -> None:
        self.ended = True

    def body_failed(self, reason: Failure) -> None:
        self.failure = reason


class Root(Resource):
    """Gives each request to a function and never answers by itself."""

    isLeaf = True

    def __init__(self, on_request: Callable[[HeadFirstRequest], None]) -> None:
        super().__init__()
        self._on_request = on_request

    def render(self, request: IRequest) -> int:
        assert isinstance(request, HeadFirstRequest)
        self._on_request(request)
        return NOT_DONE_YET


class Transport(StringTransport):
    """A transport that remembers being aborted, and how much it is to read at once."""

    aborted = False
    bufferSize = FileDescriptor.bufferSize  # noqa: N815

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


def answer(request: HeadFirstRequest, body: bytes = b"ok") -> None:
    """A whole answer."""
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(body)
    request.finish()


class SiteTests(SynchronousTestCase):
    """One connection, byte by byte."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: list[HeadFirstRequest] = []
        self.on_request: Callable[[HeadFirstRequest], None] = lambda request: None
        self.metrics = Metrics()
        ids = iter(f"ID{number}" for number in range(10_000))
        self.site = HeadFirstSite(
            Root(self._take),
            clock=self.clock,
            observer=AccessLog(self.clock, self.metrics, written=False),
            make_request_id=lambda: next(ids),
            door_of=lambda path: "plain",
            client_idle_timeout_s=IDLE_S,
            load=Load(100, 100),
        )
        self.channel: HeadFirstChannel = self.site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def _take(self, request: HeadFirstRequest) -> None:
        self.requests.append(request)
        self.on_request(request)

    def tearDown(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.site.channels, set())

    def counted(self, status: int) -> float | None:
        return self.metrics.registry.get_sample_value(
            "aosd_requests_total", {"door": "plain", "verb": "PUT", "status": str(status)}
        )

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def head(self, more: bytes = b"", length: bytes = b"Content-Length: 10\r\n") -> bytes:
        return b"PUT /object/a?x=1 HTTP/1.1\r\nHost: h\r\n" + length + more + b"\r\n"

    # -- dispatch -------------------------------------------------------------------------------

    def test_dispatched_when_the_head_is_in(self) -> None:
        self.send(self.head()[:-2])
        self.assertEqual(self.requests, [])
        self.send(b"\r\n")
        [request] = self.requests
        self.assertEqual(request.method, b"PUT")
        self.assertEqual(request.uri, b"/object/a?x=1")
        self.assertEqual(request.path, b"/object/a")
        self.assertEqual(request.clientproto, b"HTTP/1.1")
        self.assertEqual(request.body.length, 10)
        self.assertEqual(request.door, "plain")

    def test_a_body_behind_one_that_is_answered_at_once_is_no_head(self) -> None:
        class Answers(Sink):
            def __init__(self, request: HeadFirstRequest) -> None:
                super().__init__()
                self.request = request

            def body_ended(self) -> None:
                super().body_ended()
                answer(self.request, self.data)

        self.on_request = lambda request: request.body.start(Answers(request))
        body = b"\r\nno: head\r\n\r\n"
        head = self.head(length=b"Content-Length: %d\r\n" % len(body))
        self.send(head)
        self.send(body + head + body[:-1])
        self.send(body[-1:])
        self.assertEqual(len(self.requests), 2)
        self.assertEqual(self.transport.value().count(b"\r\n\r\n" + body), 2)
        self.assertFalse(self.transport.disconnecting)

    def test_an_empty_line_in_two_pieces_is_no_head_that_is_slow(self) -> None:
        self.on_request = answer
        self.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\r")
        self.send(b"\n")
        self.clock.advance(IDLE_S + 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(60)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 1)

    def test_a_head_that_has_begun_is_waited_for_however_long_it_was_quiet(self) -> None:
        self.on_request = answer
        self.clock.advance(59)
        self.send(b"GET / HTTP/1.1\r\n")
        self.clock.advance(2)
        self.assertFalse(self.transport.disconnecting)
        self.send(b"Host: h\r\n\r\n")
        self.assertEqual(len(self.requests), 1)
        self.clock.advance(70)
        self.clock.advance(70)
        self.assertTrue(self.transport.disconnecting)

    def test_length_of_a_chunked_body_is_unknown(self) -> None:
        self.send(self.head(length=b"Transfer-Encoding: chunked\r\n"))
        self.assertIsNone(self.requests[0].body.length)

    def test_a_request_without_a_body_is_dispatched_once(self) -> None:
        self.on_request = answer
        self.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(self.requests), 1)
        self.assertTrue(self.requests[0].body.ended)
        self.assertIn(b"200 OK", self.transport.value())

    def test_no_temporary_file_is_made_for_a_body(self) -> None:
        self.send(self.head(length=b"Content-Length: 1000000\r\n"))
        self.assertIsNone(self.requests[0].content)

    # -- bodies ---------------------------------------------------------------------------------

    def test_nothing_is_read_before_the_body_is_started(self) -> None:
        self.send(self.head())
        self.assertEqual(self.transport.producerState, "paused")
        sink = Sink()
        self.requests[0].body.start(sink)
        self.assertEqual(self.transport.producerState, "producing")
        self.send(b"01234")
        self.send(b"56789")
        self.assertEqual((sink.data, sink.ended), (b"0123456789", True))

    def test_what_came_with_the_head_is_kept_for_the_sink(self) -> None:
        self.send(self.head() + b"0123456789")
        sink = Sink()
        self.requests[0].body.start(sink)
        self.assertEqual((sink.data, sink.ended), (b"0123456789", True))

    def test_chunks_are_decoded(self) -> None:
        self.send(self.head(length=b"Transfer-Encoding: chunked\r\n"))
        sink = Sink()
        self.requests[0].body.start(sink)
        self.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        self.assertEqual((sink.data, sink.ended), (b"abcde", True))

    def test_pause_stops_reading_and_resume_goes_on(self) -> None:
        self.send(self.head())
        body = self.requests[0].body
        body.start(Sink())
        body.pause()
        self.assertEqual(self.transport.producerState, "paused")
        body.resume()
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_malformed_chunk_fails_the_body_and_the_answer_is_ours(self) -> None:
        self.send(self.head(length=b"Transfer-Encoding: chunked\r\n"))
        request = self.requests[0]
        sink = Sink()
        request.body.start(sink)
        self.send(b"3\r\nabc\r\nzz\r\n")
        assert sink.failure is not None
        sink.failure.trap(IncompleteBody)
        request.setResponseCode(400)
        answer(request, b"bad")
        self.assertTrue(self.transport.value().endswith(b"bad"))
        self.assertIn(b"connection: close", self.transport.value())

    def test_a_vanished_client_fails_the_body(self) -> None:
        self.send(self.head() + b"0123")
        sink = Sink()
        self.requests[0].body.start(sink)
        self.channel.connectionLost(Failure(ConnectionLost()))
        assert sink.failure is not None
        sink.failure.trap(ClientGone)
        self.assertEqual(self.counted(0), 1)

    def test_a_silent_client_times_out_and_a_paused_one_does_not(self) -> None:
        self.send(self.head())
        body = self.requests[0].body
        sink = Sink()
        body.start(sink)
        self.clock.advance(IDLE_S - 1)
        self.send(b"0")
        body.pause()
        self.clock.advance(10 * IDLE_S)
        self.assertIsNone(sink.failure)
        body.resume()
        self.clock.advance(IDLE_S)
        assert sink.failure is not None
        sink.failure.trap(RequestTimeout)

    # -- 100 Continue ---------------------------------------------------------------------------

    def test_continue_is_sent_when_the_body_is_started(self) -> None:
        self.send(self.head(b"Expect: 100-Continue\r\n"))
        self.assertEqual(self.transport.value(), b"")
        self.requests[0].body.start(Sink())
        self.assertEqual(self.transport.value(), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_no_continue_for_a_refused_request(self) -> None:
        self.on_request = answer
        self.send(self.head(b"Expect: 100-continue\r\n"))
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 200 OK"))

    def test_no_continue_when_the_body_is_coming_already(self) -> None:
        self.send(self.head(b"Expect: 100-continue\r\n") + b"01")
        self.requests[0].body.start(Sink())
        self.assertEqual(self.transport.value(), b"")

    # -- answers --------------------------------------------------------------------------------

    def test_header_names_leave_in_lower_case_and_no_type_is_made_up(self) -> None:
        def reply(request: HeadFirstRequest) -> None:
            request.setHeader(b"x-amz-meta-Who", b"Me")
            answer(request)

        self.on_request = reply
        self.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        head = self.transport.value().partition(b"\r\n\r\n")[0]
        self.assertIn(b"\r\nx-amz-meta-who: Me", head)
        self.assertIn(b"\r\nx-amz-request-id: ID0", head)
        self.assertNotIn(b"content-type", head.lower())

    def test_a_client_that_does_not_take_its_last_answer_is_dropped(self) -> None:
        self.on_request = answer
        self.send(self.head(b"Connection: close\r\n", length=b""))
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(14)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(2)
        self.assertTrue(self.transport.aborted)

    def test_keep_alive_goes_on_after_a_body(self) -> None:
        self.send(self.head() + b"0123456789")
        self.requests[0].body.start(Sink())
        answer(self.requests[0])
        self.send(self.head() + b"0123456789")
        self.assertEqual(len(self.requests), 2)
        self.assertFalse(self.transport.disconnecting)

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        self.send(self.head() + b"0123456789" + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(self.requests), 1)
        self.requests[0].body.start(Sink())
        answer(self.requests[0], b"first")
        self.assertEqual(self.requests[1].path, b"/b")
        answer(self.requests[1], b"second")
        self.assertLess(
            self.transport.value().index(b"first"), self.transport.value().index(b"second")
        )

    def test_an_idle_connection_is_closed_also_after_a_body(self) -> None:
        self.send(self.head() + b"0123456789")
        self.requests[0].body.start(Sink())
        self.clock.advance(1000)
        self.assertFalse(self.transport.disconnecting)
        answer(self.requests[0])
        self.clock.advance(61)
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(16)

    def test_an_early_answer_closes_after_the_client_could_read_it(self) -> None:
        self.on_request = answer
        self.send(self.head())
        self.assertIn(b"connection: close", self.transport.value())
        self.assertEqual(self.transport.producerState, "producing")
        self.assertFalse(self.transport.disconnecting)
        self.send(b"0123456789")
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.assertEqual(self.counted(200), 1)

    def test_an_answer_that_says_close_is_the_last(self) -> None:
        """Its body comes between its head and its end, and another request behind it."""
        self.send(self.head())
        self.requests[0].setHeader(b"content-length", b"2")
        self.requests[0].write(b"o")
        self.assertIn(b"connection: close", self.transport.value())
        self.requests[0].body.start(Sink())
        self.send(b"0123456789" + self.head() + b"0123456789")
        self.requests[0].write(b"k")
        self.requests[0].finish()
        self.assertEqual(len(self.requests), 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)

    def test_an_early_answer_is_cut_off_when_the_body_goes_on(self) -> None:
        self.on_request = answer
        self.send(self.head(length=b"Content-Length: 100000000\r\n"))
        for _ in range(40):
            self.send(bytes(65536))
        self.assertTrue(self.transport.aborted)

    def test_an_early_answer_is_cut_off_in_time(self) -> None:
        self.on_request = answer
        self.send(self.head())
        self.clock.advance(2)
        self.assertTrue(self.transport.aborted)

    def test_no_request_is_read_out_of_a_refused_body(self) -> None:
        self.on_request = answer
        self.send(self.head(length=b"Content-Length: 36\r\n"))
        self.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(self.requests), 1)

    def test_abort_drops_the_connection_and_finish_is_harmless_then(self) -> None:
        def reply(request: HeadFirstRequest) -> None:
            request.setHeader(b"content-length", b"10")
            request.write(b"12345")
            request.abort()
            request.finish()

        self.on_request = reply
        self.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(self.transport.aborted)
        self.channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.counted(0), 1)

    def test_length_and_chunks_together_are_refused(self) -> None:
        self.send(self.head(b"Transfer-Encoding: chunked\r\n"))
        self.assertEqual(self.requests, [])
        self.assertIn(b"400", self.transport.value())

    # -- draining -------------------------------------------------------------------------------

    def test_a_line_that_is_too_long_is_answered(self) -> None:
        self.send(b"GET /a HTTP/1.1\r\nHost: h\r\nx-amz-meta-a: " + b"a" * 17_000)
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.requests, [])

    def test_a_request_that_is_over_is_counted_no_more_when_the_next_begins(self) -> None:
        getattr(self, "standard", self.site).load.max_requests = 1
        self.send(self.head(length=b"Content-Length: 0\r\n") * 3)
        for number in range(3):
            self.assertEqual(len(self.requests), number + 1)
            answer(self.requests[number])
        self.assertEqual(self.counted(200), 3)

    def test_more_connections_than_there_may_be_are_dropped(self) -> None:
        self.site.most_channels = 2
        self.on_request = answer
        others = []
        for taken in (True, False, False):
            channel: Any = self.site.buildProtocol(None)
            transport = Transport()
            channel.makeConnection(transport)
            self.assertEqual(transport.aborted, not taken)
            if taken:
                others.append(channel)
            else:
                channel.connectionLost(Failure(ConnectionDone()))
        # Those that there are go on, and one that leaves makes room.
        self.send(self.head(length=b"Content-Length: 0\r\n"))
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\nok"))
        others[0].connectionLost(Failure(ConnectionDone()))
        last: Any = self.site.buildProtocol(None)
        transport = Transport()
        last.makeConnection(transport)
        self.assertFalse(transport.aborted)
        last.connectionLost(Failure(ConnectionDone()))

    def test_drain_closes_idle_connections_and_waits_for_the_others(self) -> None:
        self.send(self.head() + b"0123456789")
        drained = self.site.drain()
        self.assertNoResult(drained)
        self.assertFalse(self.transport.disconnecting)
        answer(self.requests[0])
        self.assertTrue(self.transport.disconnecting)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(drained)

    def test_drain_closes_an_idle_one_at_once(self) -> None:
        drained = self.site.drain()
        self.assertTrue(self.transport.disconnecting)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(drained)
