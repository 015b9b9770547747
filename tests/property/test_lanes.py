"""Both lanes, given the same bytes: the same requests, the same answers."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aosd.doors.express.factory import ExpressSite
from aosd.doors.site import HeadFirstSite
from aosd.observe.access import AccessLog
from aosd.observe.metrics import Metrics
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN
from tests.unit.test_doors_express import Routes
from tests.unit.test_doors_site import Root, Sink, Transport, answer

_OWN = re.compile(rb"(?im)^(?:date|server|x-amz-request-id):[^\r]*\r\n")
_CASES = [data for data, _ in [*HEADS.values(), *TAKEN.values()]]
_HEAD = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_WHOLE = [*_CASES, *(_HEAD + each for each in CHUNKS.values())]
_BITS = (
    *(b"GET /a HTTP/1.1\r\n", b"PUT /handed HTTP/1.1\r\n", b"PUT /a HTTP/1.0\r\n"),
    *(b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"X-A: b\r\n", b"Expect: 100-continue\r\n"),
    *(b"\r\n", b"\n", b"\r", b" ", b":", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"abcde", b"\0"),
)
PIECES = st.lists(st.one_of(st.sampled_from(_WHOLE), st.sampled_from(_BITS)), max_size=12)


def told(lane: str, data: bytes, sizes: list[int]) -> tuple[list[Any], bytes, bool]:
    """The requests that doors saw, what was answered, and whether it was closed."""
    clock, metrics, requests = Clock(), Metrics(), []

    def take(request: Any) -> None:
        sink = Sink()
        requests.append((request, sink))
        request.body.start(sink)

    site: Any = HeadFirstSite(
        Root(take),
        clock=clock,
        observer=AccessLog(clock, metrics, written=False),
        make_request_id=lambda: "ID",
        door_of=lambda request: "plain",
        client_idle_timeout_s=25.0,
    )
    if lane == "express":
        site = ExpressSite(site, Routes(take), metrics)  # type: ignore[arg-type]
    channel, transport = site.buildProtocol(None), Transport()
    channel.makeConnection(transport)
    answered = at = 0
    while at < len(data) and not transport.disconnecting:
        size = sizes[at % len(sizes)]
        channel.dataReceived(data[at : at + size])
        at += size
        while answered < len(requests):
            request, sink = requests[answered]
            if not (sink.ended or sink.failure):
                break
            answered += 1
            request.setResponseCode(200 if sink.ended else 400)
            answer(request, request.path)
    seen = [
        (
            *(request.method, request.uri, sink.data, sink.ended, sink.failure is not None),
            sorted((n.lower(), list(v)) for n, v in request.requestHeaders.getAllRawHeaders()),
        )
        for request, sink in requests
    ]
    said = [sorted(each.split(b"\r\n")) for each in _OWN.sub(b"", transport.value()).split(b"HTTP")]
    closes = transport.disconnecting
    channel.connectionLost(Failure(ConnectionDone()))
    return seen, repr(said).encode(), closes


@given(PIECES, st.lists(st.integers(1, 200), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
@example(_WHOLE[:3], [100_000])
def test_nobody_can_tell_the_lanes_apart(pieces: list[bytes], sizes: list[int]) -> None:
    data = b"".join(pieces)
    assert told("express", data, sizes) == told("standard", data, sizes)
    assert told("standard", data, sizes)[0] == told("standard", data, [100_000])[0]
