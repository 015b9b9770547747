"""No byte of a request becomes another request, in either lane."""

from __future__ import annotations

from threading import Thread

import pytest

from tests.integration.bodies import KIB, MIB
from tests.integration.daemon import Daemon
from tests.integration.smuggling_cases import CHUNKS, HEADS, HIDDEN, TAKEN, get, request
from tests.integration.waiting import until
from tests.integration.wire import Wire

BOTH_LANES = "daemon"
NEXT = get()
REFUSED = [HEADS[each] for each in ("length, then chunks", "a huge head", "two hosts", "HTTP/2")]


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
        answer = wire.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert wire.ends_well()
    expect_kept(daemon)


def expect_refusal(wire: Wire, status: int) -> None:
    """Nothing else is said, and that can be read: there is no reset."""
    answer = wire.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert wire.ends_well()


@pytest.mark.parametrize(("data", "status"), REFUSED)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_comes_behind_a_refused_head_is_taken_to_nowhere(
    daemon: Daemon, data: bytes, status: int, in_pieces: bool
) -> None:
    """It looks like requests from its first byte on, and its client reads when it has sent all."""
    behind = HIDDEN * (700 * KIB // len(HIDDEN))
    with Wire(daemon.port) as wire:
        wire.send(data)
        step = 64 * KIB - 1 if in_pieces else len(behind)
        for at in range(0, len(behind), step):
            wire.send(behind[at : at + step])
        expect_refusal(wire, status)
    expect_kept(daemon)


@pytest.mark.parametrize(("data", "status"), REFUSED)
def test_a_refused_client_that_sends_on_and_on_is_dropped(
    daemon: Daemon, data: bytes, status: int
) -> None:
    behind = HIDDEN * (4 * MIB // len(HIDDEN))
    dropped: list[bool] = []

    def send() -> None:
        try:
            for _ in range(4):
                wire.send(behind)
        except ConnectionError:
            dropped.append(True)

    with Wire(daemon.port) as wire:
        sender = Thread(target=send)
        wire.send(data)
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        sender.start()
        sender.join()
    assert dropped
    expect_kept(daemon)


def is_gone(wire: Wire) -> bool:
    """Whether what is sent is refused."""
    try:
        wire.send(b"\r\n")
    except ConnectionError:
        return True
    return False


def test_a_refused_client_that_stays_is_dropped(daemon: Daemon) -> None:
    """It doesn't close, and goes on sending a little at a time."""
    data, status = REFUSED[0]
    with Wire(daemon.port) as wire:
        wire.send(data)
        expect_refusal(wire, status)
        until(lambda: is_gone(wire), "it is dropped")
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
