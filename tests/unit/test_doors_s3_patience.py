"""Answers that take long: spaces before the document, and errors in its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aosd.doors.load import Load
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.patience import patiently
from aosd.doors.s3.xml_out import document
from aosd.doors.site import HeadFirstSite
from aosd.observe.access import AccessLog
from aosd.observe.metrics import Metrics


class Slow(Resource):
    """Answers what `gate` fires with, patiently."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.gate: Deferred[bytes] = Deferred()
        self.outcomes: list[Any] = []

    def render(self, request: Any) -> object:
        async def work() -> bytes:
            return await self.gate

        store: Any = SimpleNamespace(clock=self.clock)
        call = Call(request, store, "b", "k", {}, None, request.body, None, "us-east-1")
        serving = Deferred.fromCoroutine(patiently(call, work()))
        request.notifyFinish().addErrback(lambda _: serving.cancel())

        def over(outcome: object) -> None:
            self.outcomes.append(outcome)
            if outcome is None:
                request.finish()

        serving.addBoth(over)
        return NOT_DONE_YET


class PatienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = Slow(self.clock)
        site = HeadFirstSite(
            self.slow,
            clock=self.clock,
            observer=AccessLog(self.clock, Metrics(), written=False),
            make_request_id=lambda: "0123456789ABCDEF",
            door_of=lambda path: "s3",
            client_idle_timeout_s=25.0,
            load=Load(100, 100),
        )
        self.channel = site.buildProtocol(None)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)
        self.channel.dataReceived(b"POST /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        self.left = False

    def tearDown(self) -> None:
        self.leave()
        self.assertEqual([each for each in self.clock.getDelayedCalls() if each.active()], [])

    def leave(self) -> None:
        if not self.left:
            self.left = True
            self.channel.connectionLost(Failure(ConnectionLost()))

    def pass_s(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)

    def test_what_is_known_soon_has_a_length(self) -> None:
        self.pass_s(4)
        self.assertEqual(self.transport.value(), b"")
        self.slow.gate.callback(document("Result"))
        self.assertIn(b"\r\ncontent-length: ", self.transport.value())
        self.assertTrue(self.transport.value().endswith(document("Result")))

    def test_an_error_that_is_known_soon_has_its_own_status(self) -> None:
        self.slow.gate.errback(S3Error("InvalidPart", "no such part"))
        self.assertIsInstance(self.slow.outcomes[0].value, S3Error)
        self.assertEqual(self.transport.value(), b"")

    def test_spaces_go_before_the_document(self) -> None:
        self.pass_s(26)
        begun = self.transport.value()
        self.assertTrue(begun.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"content-type: application/xml\r\n", begun)
        self.assertEqual(begun.count(b"1\r\n \r\n"), 2)
        self.slow.gate.callback(document("Result"))
        answer = self.transport.value()
        self.assertEqual(answer.count(b"<?xml"), 1)
        self.assertIn(b"</Result>\r\n0\r\n\r\n", answer)
        self.pass_s(30)
        self.assertEqual(self.transport.value(), answer)

    def test_a_late_error_is_a_document_in_place_of_the_result(self) -> None:
        self.pass_s(10)
        self.slow.gate.errback(S3Error("InvalidPart", "no such part"))
        answer = self.transport.value()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(answer.count(b"<?xml"), 1)
        self.assertIn(b"<Error><Code>InvalidPart</Code><Message>no such part</Message>", answer)
        self.assertIn(b"<RequestId>0123456789ABCDEF</RequestId>", answer)
        self.assertTrue(answer.endswith(b"0\r\n\r\n"))

    def test_what_nobody_foresaw_goes_to_the_log_alone(self) -> None:
        self.pass_s(10)
        self.slow.gate.errback(RuntimeError("a secret"))
        self.assertIn(b"<Code>InternalError</Code>", self.transport.value())
        self.assertNotIn(b"secret", self.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_client_that_leaves_ends_it(self) -> None:
        self.pass_s(10)
        told = self.transport.value()
        self.leave()
        self.assertIsInstance(self.slow.outcomes[0].value, CancelledError)
        self.pass_s(30)
        self.assertEqual(self.transport.value(), told)
