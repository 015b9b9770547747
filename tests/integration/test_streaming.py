"""Bodies in motion: at the pace of the slower side, in bounded memory, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode
from tests.integration.processes import peak_rss_bytes, reset_peak, rss_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, ask_chunked, chunk, head

LARGE = 64 * MIB


def connections_to(daemon: Daemon, nodes: list[RealNode]) -> int:
    """To all of them: any of a key's primaries may be the one that is read from."""
    return sum(daemon.connections_to(node.port) for node in nodes)


def test_a_client_that_doesnt_read_isnt_read_for(
    daemon: Daemon, nodes: list[RealNode], key: str
) -> None:
    data = body(LARGE)
    assert daemon.ask("PUT", f"/object/{key}", {}, data, 60.0).status == 201
    rss_before = rss_bytes(daemon.pid)
    reset_peak(daemon.pid)
    with Wire(daemon.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{key}")
        raw_head = wire.read_head()
        # The node has more to send: its connection is kept, and not read.
        rested = until(lambda: _rests(daemon), "nothing moves any more")
        assert rested
        assert daemon.metric("aosd_requests_in_flight", door="plain") == 1
        assert connections_to(daemon, nodes) > len(nodes)  # one of each is for probes alone
        assert peak_rss_bytes(daemon.pid) - rss_before < 16 * MIB
        # A second client isn't held up by the first.
        assert daemon.ask("GET", f"/object/{key}", {"Range": "bytes=0-9"}).body == data[:10]
        assert wire.read_body(raw_head, LARGE) == data


def _rests(daemon: Daemon) -> bool:
    """Whether the daemon passed nothing on for a tenth of a second."""
    io = Path(f"/proc/{daemon.pid}/io")

    def moved() -> int:
        fields = dict(line.split(": ") for line in io.read_text().splitlines())
        return int(fields["wchar"])

    before = moved()
    time.sleep(0.1)  # what is waited for is that nothing happens
    return moved() == before


def test_the_bytes_come_while_the_client_still_sends(
    daemon: Daemon, nodes: list[RealNode], key: str
) -> None:
    """A long upload isn't kept: it lies with the node before its end is sent."""
    rss_before = rss_bytes(daemon.pid)
    reset_peak(daemon.pid)
    data = body(LARGE)
    with Wire(daemon.port, 60.0) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, LARGE))
        wire.send(data[:-1])
        assert daemon.ask("GET", f"/object/{key}").status == 404
        assert peak_rss_bytes(daemon.pid) - rss_before < 16 * MIB
        wire.send(data[-1:])
        assert wire.answer().status == 201
    assert daemon.ask("GET", f"/object/{key}", timeout_s=60.0).body == data


def test_a_chunked_upload_holds_a_part_and_no_more(
    daemon: Daemon, nodes: list[RealNode], key: str
) -> None:
    data = body(LARGE)
    ask_chunked(daemon.port, f"/object/{key}", pieces(data), timeout_s=60.0)
    rss_before = rss_bytes(daemon.pid)
    reset_peak(daemon.pid)
    assert ask_chunked(daemon.port, f"/object/{key}", pieces(data), timeout_s=60.0).status == 201
    assert peak_rss_bytes(daemon.pid) - rss_before < 32 * MIB
    assert daemon.ask("GET", f"/object/{key}", timeout_s=60.0).body == data


def test_nothing_goes_to_a_file_on_the_way(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, 10 * MIB))
        wire.send(body(9 * MIB))
        descriptors = [str(each.readlink()) for each in Path(f"/proc/{daemon.pid}/fd").iterdir()]
        assert not [each for each in descriptors if "temp" in each or "deleted" in each]
        assert list(daemon.temp.iterdir()) == []


@pytest.fixture(scope="module")
def impatient(
    other_nodes: list[RealNode], other_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon that waits one second for clients, either way."""
    folder = tmp_path_factory.mktemp("impatient")
    flags = ("--client-idle-timeout-s=1", "--client-stall-timeout-s=1")
    with running_daemon(folder, other_file, *flags, up=NAMES) as running:
        yield running


@pytest.mark.parametrize("length", [10, 3 * MIB, None], ids=["held", "flowing", "chunked"])
def test_a_client_that_falls_silent(impatient: Daemon, key: str, length: int | None) -> None:
    impatient.ask("PUT", f"/object/{key}", {}, b"old")
    with Wire(impatient.port) as wire:
        if length is None:
            wire.send(head("PUT", f"/object/{key}", {"Transfer-Encoding": "chunked"}))
            wire.send(chunk(b"01234"))
        else:
            wire.send(head("PUT", f"/object/{key}", {}, length))
            wire.send(b"01234")
        answer = wire.answer()
        assert (answer.status, answer.code) == (408, "RequestTimeout")
        assert wire.is_over()
    assert impatient.ask("GET", f"/object/{key}").body == b"old"


@pytest.mark.parametrize("length", [6, 2 * MIB + 6, None], ids=["held", "flowing", "chunked"])
def test_a_slow_client_that_goes_on_is_healthy(
    impatient: Daemon, key: str, length: int | None
) -> None:
    """Longer on the whole than any of the timeouts, never so long between two packets."""
    with Wire(impatient.port) as wire:
        if length is None:
            wire.send(head("PUT", f"/object/{key}", {"Transfer-Encoding": "chunked"}))
        else:
            wire.send(head("PUT", f"/object/{key}", {}, length))
            wire.send(body(length - 6))
        for each in b"abcdef":
            time.sleep(0.4)  # this is what a slow client does
            wire.send(chunk(bytes([each])) if length is None else bytes([each]))
        if length is None:
            wire.send(b"0\r\n\r\n")
        assert wire.answer().status == 201
    assert impatient.ask("GET", f"/object/{key}").body.endswith(b"abcdef")


def test_a_client_that_takes_nothing_for_too_long_is_cut_off(
    impatient: Daemon, other_nodes: list[RealNode], key: str
) -> None:
    impatient.ask("PUT", f"/object/{key}", {}, body(LARGE), 60.0)
    with Wire(impatient.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{key}")
        raw_head = wire.read_head()
        busy = connections_to(impatient, other_nodes)
        # Other connections to nodes come and go: before it is over, all may yet be read.
        until(lambda: impatient.metric("aosd_requests_in_flight", door="plain") == 0, "it is over")
        until(lambda: connections_to(impatient, other_nodes) < busy, "the node is released")
        received = 0
        while data := wire.receive():
            received += len(data)
        assert b"200" in raw_head
        assert received < LARGE
