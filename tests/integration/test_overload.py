"""Too much at once: a daemon that refuses what it can't do, and serves the rest."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.load import MIB
from tests.conftest import LANES, NAMES
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.processes import rss_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, head

MOST = 16
ONE_CLIENTS = 12
IDLE = 10_000
IDLE_BOUND_BYTES = 200 * MIB
LONG = bytes(32 * MIB)


@pytest.fixture(params=LANES.values(), ids=LANES)
def small_daemon(
    request: pytest.FixtureRequest, nodes: list[RealNode], tmp_path: Path
) -> Iterator[Daemon]:
    """One that does sixteen things at once."""
    file = write_nodes_file(tmp_path / "nodes.toml", nodes)
    flags = (request.param, f"--max-requests={MOST}")
    with running_daemon(tmp_path / "aosd", file, *flags, up=NAMES) as daemon:
        yield daemon


def slow_reader(stack: ExitStack, daemon: Daemon, key: str) -> Wire:
    """A client that asks for a long object, and takes nothing of it but the head."""
    wire = stack.enter_context(Wire(daemon.port, receive_buffer_bytes=4096))
    wire.send(head("GET", f"/object/{key}"))
    told = wire.socket.recv(1024, socket.MSG_PEEK)
    assert told.startswith(b"HTTP/1.1 200"), told
    return wire


def ask_from(address: str, daemon: Daemon, target: str) -> int:
    """The status of a GET by another client of this machine."""
    with socket.create_connection(("127.0.0.1", daemon.port), 15.0, (address, 0)) as one:
        one.sendall(head("GET", target, {"Connection": "close"}))
        return int(one.recv(64).split()[1])


def test_slow_clients_do_not_starve_the_rest(small_daemon: Daemon, key: str) -> None:
    daemon, short = small_daemon, f"/object/short{key[:20]}"
    assert daemon.ask("PUT", f"/object/{key}", body=LONG).status == 201
    assert daemon.ask("PUT", short, body=b"x").status == 201
    with ExitStack() as stack:
        slow = [slow_reader(stack, daemon, key) for _ in range(ONE_CLIENTS)]
        with Wire(daemon.port) as wire:
            wire.send(head("GET", short))
            told = wire.answer("GET")
            assert (told.status, told.code) == (503, "SlowDown")
            assert told.headers["retry-after"] == "1"
            # The connection goes on, and who looks after the daemon gets in.
            wire.send(head("GET", "/-/health"))
            assert wire.answer("GET").status == 200
            assert ask_from("127.0.0.2", daemon, short) == 200
            assert daemon.metric("aosd_requests_refused_total", door="plain") == 1
            slow.pop().close()
            until(lambda: daemon.ask("GET", short).status == 200, "there is room again")
            wire.send(head("GET", short))
            assert wire.answer("GET").status == 200
        body = slow[0].answer("GET").body
        assert body == LONG


@pytest.mark.parametrize("flag", LANES.values(), ids=LANES)
def test_one_that_does_one_thing_at_once_finds_room_for_its_own_work(
    fresh_nodes: list[RealNode], tmp_path: Path, flag: str
) -> None:
    """To begin, it reads what others have left on the nodes, some at once."""
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    before = Daemon(tmp_path / "before", [f"--nodes=static:{file}", flag])
    try:
        before.wait_until_up(*NAMES)
        assert before.ask("PUT", "/object/own", body=b"x").status == 201
        assert before.ask("DELETE", "/object/own").status == 204
    finally:
        before.kill()
    with running_daemon(tmp_path / "aosd", file, "--max-requests=1", flag, up=NAMES) as daemon:
        for number in range(32):
            assert daemon.ask("PUT", f"/object/own{number}", body=b"x").status == 201
        for number in range(32):
            assert daemon.ask("GET", f"/object/own{number}").body == b"x"
        told = daemon.ask("GET", "/object?prefix=own")
        assert told.status == 200
        assert len(told.json["objects"]) == 32
        assert "too many requests" not in daemon.log


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flag", LANES.values(), ids=LANES)
def test_ten_thousand_idle_connections_cost_little(
    nodes: list[RealNode], tmp_path: Path, flag: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 4000:
        pytest.skip(f"a process may have {hard} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
    file = write_nodes_file(tmp_path / "nodes.toml", nodes)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # As from a shell: it is the daemon that has to ask for more.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        daemon = stack.enter_context(
            running_daemon(tmp_path / "aosd", file, flag, "--access-log=false", up=NAMES)
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
        assert daemon.ask("PUT", "/object/idle", body=b"x").status == 201
        before_bytes = rss_bytes(daemon.pid)
        wires = []
        for _ in range(IDLE):
            wire = stack.enter_context(Wire(daemon.port, 30.0))
            wire.send(head("HEAD", "/object/idle"))
            wires.append(wire)
            assert wire.answer("HEAD").status == 200
        grown_bytes = rss_bytes(daemon.pid) - before_bytes
        # For docs/performance.md; `pytest -s` shows it.
        print(f"{IDLE} idle connections: grew by {grown_bytes / MIB:.1f} MiB")  # noqa: T201
        assert grown_bytes < IDLE_BOUND_BYTES
        # They are all there still.
        for wire in (wires[0], wires[-1]):
            wire.send(head("HEAD", "/object/idle"))
            assert wire.answer("HEAD").status == 200
