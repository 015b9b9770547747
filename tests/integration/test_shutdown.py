"""SIGTERM: nothing new is taken, what is in flight ends well, and nothing is left behind."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.integration.bodies import KIB, MIB, body
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.waiting import until
from tests.integration.wire import Truncated, Wire, chunk, head

LARGE = 64 * MIB


@pytest.fixture
def stopping(request: pytest.FixtureRequest, tmp_path: Path, other_file: Path) -> Iterator[Daemon]:
    """A daemon of its own for each test; its parameter is the grace in seconds."""
    flags = [f"--nodes=static:{other_file}"]
    if hasattr(request, "param"):
        flags.append(f"--shutdown-grace-s={request.param}")
    daemon = Daemon(tmp_path / "daemon", flags)
    try:
        daemon.wait_until_up(*NAMES)
        yield daemon
    finally:
        daemon.kill()


def refuses(daemon: Daemon) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", daemon.port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_ends_at_once(stopping: Daemon, number: signal.Signals) -> None:
    with Wire(stopping.port) as wire:
        wire.send_request("GET", "/-/health")
        assert wire.answer().status == 200
        began_s = time.monotonic()
        stopping.process.send_signal(number)
        # Kept alive for a next request, which won't be taken.
        assert wire.is_over()
        assert stopping.wait() in (0, -number)
        assert time.monotonic() - began_s < 5
    stopping.expect_nothing_left()
    assert "Server Shut Down." in stopping.log
    assert "Traceback" not in stopping.log


def test_what_is_in_flight_ends_well(
    stopping: Daemon, other_nodes: list[RealNode], key: str
) -> None:
    data = body(LARGE)
    target = f"/object/{key}"
    assert stopping.ask("PUT", target, {}, data, 60.0).status == 201
    with (
        Wire(stopping.port, 60.0, receive_buffer_bytes=64 * KIB) as download,
        Wire(stopping.port, 60.0) as held,
        Wire(stopping.port, 60.0) as flowing,
        Wire(stopping.port, 60.0) as chunked,
    ):
        download.send_request("GET", target)
        raw_head = download.read_head()
        held.send(head("PUT", f"{target[:-1]}A", {}, 10) + b"01234")
        flowing.send(head("PUT", f"{target[:-1]}B", {}, 4 * MIB) + data[: 2 * MIB])
        chunked.send(head("PUT", f"{target[:-1]}C", {"Transfer-Encoding": "chunked"}))
        chunked.send(chunk(data[: 9 * MIB]))
        until(lambda: stopping.metric("aosd_requests_in_flight", door="plain") == 4, "4 in flight")

        stopping.terminate()
        until(lambda: refuses(stopping), "new connections are refused")
        held.send(b"56789")
        assert held.answer().status == 201
        flowing.send(data[2 * MIB : 4 * MIB])
        assert flowing.answer().status == 201
        chunked.send(chunk(data[9 * MIB : 10 * MIB]) + b"0\r\n\r\n")
        assert chunked.answer().status == 201
        assert stopping.process.poll() is None
        assert download.read_body(raw_head, LARGE) == data
        for wire in (held, flowing, chunked, download):
            assert wire.is_over()
    stopping.stop()
    stored = {name: node.client() for node in other_nodes for name in node.stored_keys()}
    for name, wanted in (
        (f"{key[:-1]}A", b"0123456789"),
        (f"{key[:-1]}B", data[: 4 * MIB]),
        (f"{key[:-1]}C", data[: 10 * MIB]),
    ):
        assert stored[name].get_object(bucket_name="object", object_name=name).data == wanted


def test_it_isnt_ready_any_more(stopping: Daemon, key: str) -> None:
    """Whoever is still connected is told."""
    with Wire(stopping.port) as wire:
        # Pipelined behind an upload, so that it is asked after the signal.
        wire.send(head("PUT", f"/object/{key}", {}, 10) + b"01234")
        until(lambda: stopping.metric("aosd_requests_in_flight", door="plain") == 1, "in flight")
        stopping.terminate()
        until(lambda: refuses(stopping), "new connections are refused")
        wire.send(b"56789" + head("GET", "/-/ready"))
        assert wire.answer().status == 201
        try:
            assert wire.answer().status == 503
        except Truncated as cut:
            assert cut.head == b""
    stopping.stop()


@pytest.mark.parametrize("stopping", [1], indirect=True)
@pytest.mark.parametrize("what", ["download", "held", "flowing", "chunked"])
def test_a_grace_that_runs_out(
    stopping: Daemon, other_nodes: list[RealNode], key: str, what: str
) -> None:
    data = body(LARGE)
    target = f"/object/{key}"
    old = data if what == "download" else b"old"
    assert stopping.ask("PUT", target, {}, old, 60.0).status == 201
    with Wire(stopping.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
        match what:
            case "download":
                wire.send_request("GET", target)
                wire.read_head()
            case "held":
                wire.send(head("PUT", target, {}, 10) + b"01234")
            case "flowing":
                wire.send(head("PUT", target, {}, 4 * MIB) + data[: 2 * MIB])
            case "chunked":
                wire.send(head("PUT", target, {"Transfer-Encoding": "chunked"}))
                wire.send(chunk(data[: 9 * MIB]))
                until(
                    lambda: any(node.uploads(key) for node in other_nodes), "the upload has begun"
                )
        until(lambda: stopping.metric("aosd_requests_in_flight", door="plain") == 1, "in flight")
        began_s = time.monotonic()
        stopping.terminate()
        assert stopping.wait() in (0, -signal.SIGTERM)
        assert 0.9 < time.monotonic() - began_s < 6
        received = sum(map(len, iter(wire.receive, b"")))
        assert received < LARGE
    stopping.stop()
    assert "requests cut off after 1" in stopping.log
    holder = next(node for node in other_nodes if key in node.stored_keys())
    found = holder.client().get_object(bucket_name="object", object_name=key)
    assert found.data == old
    assert not any(node.uploads(key) for node in other_nodes)


@pytest.mark.parametrize("stopping", [0], indirect=True)
def test_no_grace_at_all(stopping: Daemon, key: str) -> None:
    with Wire(stopping.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, 10) + b"01234")
        until(lambda: stopping.metric("aosd_requests_in_flight", door="plain") == 1, "in flight")
        began_s = time.monotonic()
        stopping.terminate()
        assert stopping.wait() in (0, -signal.SIGTERM)
        assert time.monotonic() - began_s < 5
    stopping.stop()


def test_a_sigterm_before_any_node_was_reached(tmp_path: Path) -> None:
    nodes_file = tmp_path / "nodes.toml"
    # Nobody answers there (RFC 5737): the first contact is still under way.
    nodes_file.write_text(
        '[[node]]\nname = "n1"\nurl = "http://192.0.2.1:9000"\naccess_key = "a"\nsecret_key = "b"\n'
    )
    daemon = Daemon(tmp_path / "daemon", [f"--nodes=static:{nodes_file}"])
    try:
        daemon.wait_for_states_once_alive({"n1": "down"})
        daemon.stop()
    finally:
        daemon.kill()
