"""No byte of a request becomes another request, in either lane."""

from __future__ import annotations

import pytest

from tests.integration.daemon import Daemon
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN, get, request
from tests.integration.wire import Truncated, Wire

BOTH_LANES = "daemon"
NEXT = get()


@pytest.fixture(autouse=True)
def kept(daemon: Daemon) -> None:
    """What the hidden requests would delete."""
    if daemon.ask("HEAD", "/object/kept").status == 404:
        assert daemon.ask("PUT", "/object/kept", {}, b"kept").status == 201


def expect_kept(daemon: Daemon) -> None:
    assert daemon.ask("GET", "/object/kept").body == b"kept"


@pytest.mark.parametrize(("data", "status"), HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("pieces", [1, 2])
def test_what_is_refused_is_the_last(daemon: Daemon, data: bytes, status: int, pieces: int) -> None:
    with Wire(daemon.port) as wire:
        if pieces == 1:
            wire.send(data + NEXT)
        else:
            wire.send(data[:20])
            wire.send(data[20:] + NEXT)
        try:
            answer = wire.answer()
        except Truncated as cut:
            # What it still sent came to a closed socket, whose reset beat the answer.
            assert cut.head == b""
        else:
            assert answer.status == status
            assert answer.headers["connection"] == "close"
        assert wire.is_over()
    expect_kept(daemon)


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS.keys())
def test_no_request_is_read_out_of_malformed_chunks(daemon: Daemon, body: bytes) -> None:
    with Wire(daemon.port) as wire:
        wire.send(request(b"Transfer-Encoding: chunked", body=body) + NEXT)
        answer = wire.answer()
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        assert answer.headers["connection"] == "close"
        assert wire.is_over()
    assert daemon.ask("GET", "/object/smuggled").status == 404


@pytest.mark.parametrize(("data", "status"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_legal_but_odd_is_read(daemon: Daemon, data: bytes, status: int) -> None:
    with Wire(daemon.port) as wire:
        wire.send(data + NEXT)
        assert wire.answer().status == status
        assert wire.answer().status == 200
        wire.send(NEXT)
        assert wire.answer().status == 200
    expect_kept(daemon)
    daemon.ask("DELETE", "/object/smuggled")
