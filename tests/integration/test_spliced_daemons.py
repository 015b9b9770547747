"""Bodies that the kernel moves, by daemons that have the nodes for themselves."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.conftest import NAMES
from tests.integration.bodies import KIB, MIB, body
from tests.integration.clients.certificates import Authority
from tests.integration.daemon import running_daemon
from tests.integration.nodes import RealNode
from tests.integration.processes import (
    free_port,
    peak_rss_bytes,
    reset_peak,
    rss_bytes,
    unread_bytes,
)
from tests.integration.splicing import LONG, spliced_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, head


def test_a_body_goes_on_from_another_node(
    other_nodes: list[RealNode], other_file: Path, tmp_path: Path, key: str
) -> None:
    data = body(LONG)
    with running_daemon(
        tmp_path / "two", other_file, "--express=true", "--replicas=2", up=NAMES
    ) as daemon:
        assert daemon.ask("PUT", f"/object/{key}", {}, data, 60.0).status == 201
        before = spliced_bytes(daemon)
        with Wire(daemon.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
            wire.send_request("GET", f"/object/{key}")
            raw_head = wire.read_head()
            # Nobody reads what it has sent on: it waits in the kernel.
            (reads,) = until(
                lambda: [node for node in other_nodes if unread_bytes(node.port) > 64 * KIB],
                "a node's bytes wait",
            )
            reads.kill()
            try:
                assert wire.read_body(raw_head, LONG) == data
                assert spliced_bytes(daemon) - before > LONG - MIB
            finally:
                reads.start_again()
        daemon.wait_for_states(dict.fromkeys(NAMES, "up"))


def test_by_tls_nothing_is_spliced(
    other_nodes: list[RealNode], other_file: Path, tmp_path: Path, key: str
) -> None:
    authority = Authority(tmp_path / "tls", ["127.0.0.1"], ["localhost"])
    port = free_port()
    endpoint = (
        f"--http=ssl:{port}:interface=127.0.0.1"
        f":privateKey={authority.key}:certKey={authority.certificate}"
    )
    data = body(LONG)
    context = ssl.create_default_context(cafile=str(authority.ca))
    flags = ("--express=true", "--replicas=1", endpoint)
    with running_daemon(tmp_path / "daemon", other_file, *flags, up=NAMES) as daemon:
        with Wire(port, 60.0) as wire:
            wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
            wire.send(head("PUT", f"/object/{key}", {}, LONG) + data)
            assert wire.answer().status == 201
            wire.send_request("GET", f"/object/{key}")
            assert wire.answer().body == data
        assert spliced_bytes(daemon) == 0


def test_a_gibibyte_costs_no_memory(other_file: Path, tmp_path: Path, key: str) -> None:
    piece = body(LONG)
    # As patient as by default: a busy machine may hold this client up for a second.
    flags = ("--express=true", "--replicas=1")
    with running_daemon(tmp_path / "patient", other_file, *flags, up=NAMES) as daemon:
        with Wire(daemon.port, 60.0) as wire:
            wire.send_request("GET", f"/object/{key}")
            assert wire.answer().status == 404
            rss_before = rss_bytes(daemon.pid)
            reset_peak(daemon.pid)
            wire.send(head("PUT", f"/object/{key}", {}, 32 * LONG))
            for _ in range(32):
                wire.send(piece)
            assert wire.answer().status == 201
            wire.send_request("GET", f"/object/{key}")
            raw_head = wire.read_head()
            for _ in range(32):
                assert len(wire.read_body(raw_head, LONG)) == LONG
        assert peak_rss_bytes(daemon.pid) - rss_before < 8 * MIB
        assert daemon.ask("DELETE", f"/object/{key}").status == 204
