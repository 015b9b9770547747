"""The express lane: the guards of the standard lane's site, and what is its own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from aosd.doors.express.factory import ExpressSite
from aosd.doors.express.request import ExpressRequest
from aosd.doors.heads_first import HeadFirstRequest
from aosd.model.errors import ClientGone, IncompleteBody
from tests.unit import test_doors_site
from tests.unit.test_doors_site import IDLE_S, Sink, Transport, answer

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"3;name=value\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n"


class Routes:
    """Serves everything itself, but for what begins with /handed."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def find(self, request: Any) -> Callable[[Any], None] | None:
        request.door = "plain"
        return None if request.path.startswith(b"/handed") else self._take


class Endless:
    """Finds no end of a body."""

    ended = False
    problem: str | None = None

    def feed(self, data: bytes) -> int:
        return len(data)


class Producer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class ExpressTests(test_doors_site.SiteTests):
    def setUp(self) -> None:
        super().setUp()
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.standard = self.site
        self.site: Any = ExpressSite(self.standard, Routes(self._take), self.metrics)  # type: ignore[arg-type]
        self.connect()

    def connect(self) -> None:
        self.channel: Any = self.site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def tearDown(self) -> None:
        super().tearDown()
        self.assertEqual(self.standard.channels, set())

    def lane(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value("aosd_lane_requests_total", {"lane": name})

    def test_no_temporary_file_is_made_for_a_body(self) -> None:
        self.send(self.head(length=b"Content-Length: 1000000\r\n"))
        self.assertIsInstance(self.requests[0], ExpressRequest)

    def test_a_body_that_came_with_its_head_is_there_at_once(self) -> None:
        told: list[tuple[bytes, bool, bool]] = []

        def begin(request: Any) -> None:
            sink, before = Sink(), request.body.ended
            request.body.start(sink)
            told.append((sink.data, before, sink.ended))

        self.on_request = begin
        self.send(self.head() + b"0123456789")
        self.assertEqual(told, [(b"0123456789", False, True)])
        self.assertEqual(self.transport.producerState, "producing")
        answer(self.requests[0])
        self.send(self.head() + b"abc")
        self.assertEqual(told[1], (b"abc", False, False))

    def test_a_body_leaves_no_circle_behind(self) -> None:
        gc.disable()
        self.addCleanup(gc.enable)
        for pieces in ([self.head() + b"0123456789"], [self.head() + b"012", b"3456789"]):
            self.on_request = lambda request: request.body.start(Sink())
            for data in pieces:
                self.send(data)
            request = self.requests.pop()
            body = weakref.ref(request.body)
            answer(request)
            del request
            self.assertIsNone(body())

    # -- heads ------------------------------------------------------------------------------------

    def test_a_head_may_come_byte_by_byte(self) -> None:
        self.on_request = answer
        for at in range(len(GET)):
            self.send(GET[at : at + 1])
        self.assertEqual(len(self.requests), 1)
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\nok"))

    def test_a_head_may_begin_with_few_bytes_of_any_number(self) -> None:
        self.on_request = answer
        for count in range(1, len(GET)):
            self.send(GET[:count])
            self.send(GET[count:])
            self.assertEqual(len(self.requests), count)

    def test_empty_lines_before_a_request_are_nothing(self) -> None:
        self.on_request = answer
        self.send(b"\r\n\r")
        self.send(b"\n" + GET)
        self.assertEqual(len(self.requests), 1)

    def test_a_line_that_is_too_long_is_answered(self) -> None:
        self.send(GET[:-2] + b"x-amz-meta-a: " + b"a" * 100_000 + b"\r\n\r\n")
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.requests, [])

    def test_a_slow_head_is_given_up(self) -> None:
        for _ in range(3):
            self.send(b"G")
            self.clock.advance(IDLE_S / 3 + 0.1)
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 408 "))
        self.assertTrue(self.transport.disconnecting)

    def test_a_head_in_time_is_not_given_up(self) -> None:
        self.send(GET[:5])
        self.clock.advance(IDLE_S - 1)
        self.send(GET[5:])
        self.clock.advance(10)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(len(self.requests), 1)

    def test_each_head_has_a_time_of_its_own(self) -> None:
        self.on_request = answer
        self.send(GET[:5])
        for _ in range(5):
            self.clock.advance(IDLE_S - 1)
            self.send(GET[5:] + GET[:5])
        self.assertEqual(len(self.requests), 5)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(IDLE_S + 1)
        self.assertIn(b"HTTP/1.1 408 ", self.transport.value())

    def test_a_huge_head_is_refused(self) -> None:
        self.send(b"GET /a HTTP/1.1\r\nHost: h\r\n")
        for _ in range(70):
            self.send(b"x-a: " + b"a" * 1000 + b"\r\n")
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.requests, [])

    def test_nothing_is_read_after_a_head_that_is_refused(self) -> None:
        self.send(b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n" + GET)
        self.send(GET)
        self.assertEqual(self.requests, [])
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 1)

    def test_a_length_beyond_all_measure_is_refused(self) -> None:
        self.send(self.head(length=b"Content-Length: " + b"9" * 5000 + b"\r\n"))
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 4"))
        self.assertEqual(self.requests, [])

    # -- answers ----------------------------------------------------------------------------------

    def test_head_and_short_body_leave_in_one_write(self) -> None:
        written: list[bytes] = []
        self.transport.write = written.append
        self.on_request = answer
        self.send(GET)
        [data] = written
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\nserver: aosd\r\ndate: "))
        self.assertTrue(data.endswith(b"\r\n\r\nok"))

    def test_an_answer_of_unknown_length_leaves_in_chunks(self) -> None:
        def reply(request: Any) -> None:
            request.write(b"")
            request.write(b"abc")
            request.write(b"")
            request.finish()

        self.on_request = reply
        self.send(GET)
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"transfer-encoding: chunked", head)
        self.assertEqual(body, b"3\r\nabc\r\n0\r\n\r\n")
        self.assertEqual(self.requests[0].sentLength, 3)

    def test_no_body_where_none_may_be(self) -> None:
        def reply(request: Any) -> None:
            request.setResponseCode(204 if request.method == b"GET" else 200)
            request.write(b"none of it")
            request.write(b"leaves")
            request.finish()

        self.on_request = reply
        for verb in (b"GET", b"HEAD"):
            self.transport.clear()
            self.send(verb + GET[3:])
            self.assertTrue(self.transport.value().endswith(b"\r\n\r\n"))
            self.assertNotIn(b"chunked", self.transport.value())

    def test_a_value_breaks_no_line(self) -> None:
        def reply(request: Any) -> None:
            request.setHeader(b"x-a", b"1\r\nx-b: 2\n3")
            answer(request)

        self.on_request = reply
        self.send(GET)
        self.assertIn(b"\r\nx-a: 1 x-b: 2 3\r\n", self.transport.value())

    def test_the_connection_is_closed_when_the_client_asks_for_it(self) -> None:
        self.on_request = answer
        self.send(GET[:-2] + b"Connection: Close\r\n\r\n" + GET)
        self.assertEqual(len(self.requests), 1)
        self.assertIn(b"\r\nconnection: close", self.transport.value())
        self.assertTrue(self.transport.disconnecting)

    def test_an_answer_that_is_never_taken_ends(self) -> None:
        self.on_request = answer
        self.send(GET[:-2] + b"Connection: close\r\n\r\n")
        self.clock.advance(16)
        self.assertTrue(self.transport.aborted)

    # -- pace -------------------------------------------------------------------------------------

    def test_whoever_writes_is_paused_with_the_transport(self) -> None:
        self.send(GET)
        producer = Producer()
        self.transport.producer.pauseProducing()
        self.requests[0].registerProducer(producer, True)
        self.transport.producer.resumeProducing()
        self.requests[0].unregisterProducer()
        self.transport.producer.pauseProducing()
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_no_request_begins_while_the_client_takes_nothing(self) -> None:
        self.on_request = answer
        self.transport.producer.pauseProducing()
        self.send(GET)
        self.send(GET + GET)
        self.assertEqual(self.requests, [])
        self.transport.producer.resumeProducing()
        self.assertEqual(len(self.requests), 3)

    def test_reading_goes_on_after_a_body_whose_reader_paused(self) -> None:
        self.send(self.head() + b"01234")
        body = self.requests[0].body
        body.start(Sink())
        body.pause()
        self.send(b"56789")
        self.assertTrue(body.ended)
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_long_body_is_read_by_larger_pieces_and_passed_on_as_it_came(self) -> None:
        length, came = 4 * 256 * 1024, []
        self.send(self.head(length=b"Content-Length: %d\r\n" % length))
        self.assertEqual(self.transport.bufferSize, 256 * 1024)
        sink = Sink()
        sink.body_data = came.append  # type: ignore[method-assign, assignment]
        self.requests[0].body.start(sink)
        pieces = [bytes(self.transport.bufferSize) for _ in range(4)]
        for piece in pieces:
            self.send(piece)
        self.assertEqual([id(each) for each in came], [id(each) for each in pieces])
        answer(self.requests[0])
        # What comes after is held, and its answer counts as slow where it always did.
        self.assertEqual(self.transport.bufferSize, FileDescriptor.bufferSize)
        self.send(self.head(length=b"Content-Length: %d\r\n" % (256 * 1024 - 1)))
        self.assertEqual(self.transport.bufferSize, FileDescriptor.bufferSize)

    def test_so_is_one_that_is_handed_over(self) -> None:
        length = 256 * 1024
        self.send(b"PUT /handed HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)
        self.assertEqual(self.transport.bufferSize, 256 * 1024)
        sink = Sink()
        self.requests[0].body.start(sink)
        self.send(bytes(length) + GET)
        self.assertEqual((len(sink.data), sink.ended), (length, True))
        answer(self.requests[0])
        self.assertEqual(len(self.requests), 2)
        self.assertEqual(self.transport.bufferSize, FileDescriptor.bufferSize)

    def test_the_quiet_time_counts_from_the_last_answer(self) -> None:
        self.on_request = answer
        self.clock.advance(40)
        self.send(GET)
        self.clock.advance(40)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(21)
        self.assertTrue(self.transport.disconnecting)

    def test_what_comes_after_a_request_is_held_and_bounded(self) -> None:
        self.send(GET)
        for _ in range(3000):
            self.send(GET)
        self.assertEqual(self.transport.producerState, "paused")
        self.on_request = answer
        answer(self.requests[0])
        self.assertEqual(len(self.requests), 3001)
        self.assertEqual(self.transport.producerState, "producing")

    def test_whoever_writes_to_a_client_that_is_gone_is_stopped(self) -> None:
        gone: list[Failure] = []
        self.send(GET)
        self.requests[0].notifyFinish().addErrback(gone.append)
        self.channel.connectionLost(Failure(ConnectionLost()))
        producer = Producer()
        self.requests[0].registerProducer(producer, True)
        self.assertEqual(producer.told, ["stop"])
        self.assertEqual(len(gone), 1)
        self.requests[0].write(b"x")
        self.requests[0].finish()
        self.assertEqual(self.transport.value(), b"")

    def test_an_answer_that_is_broken_off_is_counted_as_such(self) -> None:
        answering: Deferred[None] = Deferred()

        def reply(request: Any) -> None:
            request.setHeader(b"content-length", b"10")
            request.write(b"12345")
            request.finish_after(answering.addErrback(lambda _: request.abort()))

        self.on_request = reply
        self.send(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        self.channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.counted(0), self.counted(200)), (1, None))

    # -- the standard lane ------------------------------------------------------------------------

    def test_a_request_is_handed_over_and_the_lane_goes_on(self) -> None:
        self.on_request = answer
        for target in (b"/handed", b"/a", b"/handed", b"/handed", b"/a"):
            self.send(GET.replace(b"/a", target))
        kinds = [type(each) for each in self.requests]
        handed = HeadFirstRequest
        self.assertEqual(kinds, [handed, ExpressRequest, handed, handed, ExpressRequest])
        self.assertEqual(self.transport.value().count(b"\r\n\r\nok"), 5)
        self.assertEqual((self.lane("express"), self.lane("standard")), (2, 3))
        self.assertFalse(self.transport.disconnecting)

    def test_requests_in_one_piece_are_answered_in_order(self) -> None:
        def reply(request: Any) -> None:
            if request.body.length == 0:
                answer(request, request.path)
            else:
                request.body.start(Sink())
                request.notifyFinish()

        self.on_request = reply
        handed = GET.replace(b"/a", b"/handed")
        self.send(GET + CHUNKED + CHUNKS + handed + GET)
        self.assertEqual([each.path for each in self.requests], [b"/a", b"/c"])
        self.assertTrue(self.requests[1].body.ended)
        answer(self.requests[1], b"/c")
        bodies = [each for each in (b"/a", b"/c", b"/handed") if each in self.transport.value()]
        self.assertEqual(len(bodies), 3)
        self.assertEqual([each.path for each in self.requests], [b"/a", b"/c", b"/handed", b"/a"])
        found = self.transport.value()
        self.assertLess(found.index(b"\r\n\r\n/c"), found.index(b"\r\n\r\n/handed"))

    def test_a_handed_body_may_come_byte_by_byte_with_the_next_request(self) -> None:
        self.on_request = lambda request: request.body.start(Sink())
        data = CHUNKED + CHUNKS + GET
        for at in range(len(data)):
            self.send(data[at : at + 1])
        [request] = self.requests
        self.assertTrue(request.body.ended)
        self.on_request = answer
        answer(request)
        self.assertEqual(len(self.requests), 2)

    def test_a_handed_body_is_paused_with_the_transport(self) -> None:
        self.send(CHUNKED)
        self.assertEqual(self.transport.producerState, "paused")
        sink = Sink()
        self.requests[0].body.start(sink)
        self.assertEqual(self.transport.producerState, "producing")
        self.send(CHUNKS)
        self.assertEqual((sink.data, sink.ended), (b"abc", True))

    def test_malformed_chunks_never_become_a_request(self) -> None:
        self.send(CHUNKED)
        sink = Sink()
        self.requests[0].body.start(sink)
        self.send(b"1\r\nab\r\n0\r\n\r\n" + GET)
        self.assertIsNotNone(sink.failure)
        self.send(GET)
        self.requests[0].setResponseCode(400)
        answer(self.requests[0])
        self.assertEqual(len(self.requests), 1)
        self.send(GET)
        self.clock.advance(3)
        self.assertEqual(len(self.requests), 1)

    def test_where_the_lanes_differ_about_an_end_the_connection_is_dropped(self) -> None:
        self.send(CHUNKED)
        self.channel._current._chunks = Endless()
        self.requests[0].body.start(Sink())
        self.send(CHUNKS)
        answer(self.requests[0])
        self.assertTrue(self.transport.aborted)
        self.send(GET)
        self.assertEqual(len(self.requests), 1)

    def test_chunks_that_only_this_lane_finds_malformed_are_refused(self) -> None:
        self.send(CHUNKED)
        scanner = Endless()
        self.channel._current._chunks = scanner
        sink = Sink()
        self.requests[0].body.start(sink)
        scanner.problem = "it doesn't like them"
        self.send(CHUNKS[:-2])
        assert sink.failure is not None
        sink.failure.trap(IncompleteBody)

    def test_a_client_that_leaves_is_told_to_the_other_lane(self) -> None:
        self.send(CHUNKED)
        sink = Sink()
        self.requests[0].body.start(sink)
        self.channel.connectionLost(Failure(ConnectionLost()))
        assert sink.failure is not None
        sink.failure.trap(ClientGone)
        self.assertEqual(self.counted(0), 1)

    def test_what_is_not_beyond_doubt_is_handed_over(self) -> None:
        self.on_request = answer
        for data in (
            GET.replace(b"1.1", b"1.0"),
            GET.replace(b"/a", b"http://h/a"),
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close, TE\r\n\r\n"),
        ):
            self.send(data)
            self.assertIsInstance(self.requests[-1], HeadFirstRequest, repr(data))
            self.assertIn(b"\r\n\r\nok", self.transport.value())
            self.channel.connectionLost(Failure(ConnectionDone()))
            self.connect()

    def test_upgrade_is_ignored(self) -> None:
        self.on_request = answer
        self.send(GET[:-2] + b"Upgrade: websocket\r\nConnection: keep-alive\r\n\r\n" + GET)
        self.assertEqual(len(self.requests), 2)

    def test_draining_closes_after_a_handed_request(self) -> None:
        self.send(GET.replace(b"/a", b"/handed"))
        drained = self.site.drain()
        self.assertNoResult(drained)
        answer(self.requests[0])
        self.assertTrue(self.transport.disconnecting)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(drained)

    def test_aborting_drops_every_connection(self) -> None:
        self.send(GET)
        self.site.abort()
        self.assertTrue(self.transport.aborted)
