"""Long bodies that the kernel moves: the daemon neither reads nor writes them."""

from __future__ import annotations

import hashlib
import resource
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.integration.bodies import KIB, MIB, body
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.splicing import LONG, spliced_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, head


@pytest.fixture(scope="module")
def alone(
    fresh_nodes: list[RealNode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon that keeps one copy of each object, and waits a second for clients."""
    folder = tmp_path_factory.mktemp("alone")
    nodes_file = write_nodes_file(folder / "nodes.toml", fresh_nodes)
    flags = (
        "--express=true",
        "--replicas=1",
        "--client-idle-timeout-s=1",
        "--client-stall-timeout-s=1",
        # After a run that was killed each write goes to two nodes for so long, by the daemon.
        "--late-write-window-s=1",
    )
    with running_daemon(folder, nodes_file, *flags, up=NAMES) as running:
        running.wait_until_settled()
        yield running


def test_both_ways_the_kernel_moves_them(alone: Daemon, key: str) -> None:
    data = body(LONG)
    before = spliced_bytes(alone)
    assert alone.ask("PUT", f"/object/{key}", {}, data, 60.0).status == 201
    put = spliced_bytes(alone)
    assert LONG - MIB < put - before < LONG
    assert alone.ask("GET", f"/object/{key}", timeout_s=60.0).body == data
    got = spliced_bytes(alone)
    assert LONG - MIB < got - put < LONG
    wanted = {"Range": f"bytes={MIB + 1}-{9 * MIB}"}
    assert alone.ask("GET", f"/object/{key}", wanted).body == data[MIB + 1 : 9 * MIB + 1]
    assert spliced_bytes(alone) - got > 7 * MIB


def test_a_body_that_has_to_be_looked_at_is(alone: Daemon, key: str) -> None:
    data = body(LONG)
    digest = b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    headers = {"Content-MD5": digest}
    before = spliced_bytes(alone)
    assert alone.ask("PUT", f"/object/{key}", headers, data, 60.0).status == 201
    answer = alone.ask("PUT", f"/object/{key}", headers, b"x" + data[1:], 60.0)
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert spliced_bytes(alone) == before
    assert alone.ask("GET", f"/object/{key}", timeout_s=60.0).body == data


@pytest.mark.parametrize("length", [256 * KIB, 256 * KIB + 1, 2 * MIB, 2 * MIB + 16 * KIB + 1])
def test_lengths_about_which_bodies_are_spliced(alone: Daemon, key: str, length: int) -> None:
    data = body(length)
    assert alone.ask("PUT", f"/object/{key}", {}, data).status == 201
    assert alone.ask("GET", f"/object/{key}").body == data


def test_the_next_request_is_on_its_way_before_the_body_is_over(alone: Daemon, key: str) -> None:
    data = body(LONG)
    target = f"/object/{key}"
    with Wire(alone.port, 60.0) as wire:
        wire.send(head("PUT", target, {}, LONG) + data + head("GET", target) + head("GET", target))
        assert wire.answer().status == 201
        assert wire.answer().body == data
        assert wire.answer().body == data


def test_a_client_that_falls_silent_in_the_middle(alone: Daemon, key: str) -> None:
    with Wire(alone.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, LONG))
        wire.send(body(LONG)[: LONG // 2])
        answer = wire.answer()
        assert (answer.status, answer.code) == (408, "RequestTimeout")
        assert wire.is_over()
    assert alone.ask("GET", f"/object/{key}").status == 404


def test_a_client_that_leaves_in_the_middle(alone: Daemon, key: str) -> None:
    with Wire(alone.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, LONG))
        wire.send(body(LONG)[: LONG // 2])
        until(
            lambda: alone.metric("aosd_requests_in_flight", door="plain") == 1, "it is on its way"
        )
        wire.vanish()
    until(lambda: alone.metric("aosd_requests_in_flight", door="plain") == 0, "it is given up")
    assert alone.ask("GET", f"/object/{key}").status == 404


def test_a_reader_that_leaves_lets_go_of_the_node(
    alone: Daemon, fresh_nodes: list[RealNode], key: str
) -> None:
    assert alone.ask("PUT", f"/object/{key}", {}, body(LONG), 60.0).status == 201
    descriptors = Path(f"/proc/{alone.pid}/fd")
    with Wire(alone.port, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{key}")
        wire.read_head()
        busy = len(list(descriptors.iterdir()))
        wire.vanish()
    until(lambda: len(list(descriptors.iterdir())) < busy, "both sockets are closed")
    until(lambda: alone.metric("aosd_requests_in_flight", door="plain") == 0, "it is given up")


def test_a_reader_that_takes_nothing_is_cut_off(alone: Daemon, key: str) -> None:
    assert alone.ask("PUT", f"/object/{key}", {}, body(LONG), 60.0).status == 201
    with Wire(alone.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{key}")
        wire.read_head()
        until(lambda: alone.metric("aosd_requests_in_flight", door="plain") == 0, "it is given up")


@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_a_node_that_dies_in_the_middle(
    alone: Daemon, fresh_nodes: list[RealNode], key: str, verb: str
) -> None:
    """With its one copy on its way an answer can only break off; a write fails."""
    target = f"/object/{key}"
    if verb == "GET":
        assert alone.ask("PUT", target, {}, body(LONG), 60.0).status == 201
    name = alone.primary(key)
    node = next(each for each in fresh_nodes if each.name == name)
    try:
        with Wire(alone.port, 60.0, receive_buffer_bytes=64 * KIB) as wire:
            if verb == "GET":
                wire.send_request("GET", target)
                wire.read_head()
                node.kill()
                came = 0
                while data := wire.receive():
                    came += len(data)
                assert came < LONG
            else:
                wire.send(head("PUT", target, {}, LONG))
                wire.send(body(LONG)[: LONG // 2])
                node.kill()
                # It goes on sending, and may be hung up on.
                with suppress(OSError):
                    wire.send(body(LONG)[LONG // 2 :])
                    assert wire.answer().status == 503
    finally:
        node.start_again()
    alone.wait_for_states(dict.fromkeys(NAMES, "up"))


def test_without_descriptors_for_a_pipe_bodies_go_as_others_do(alone: Daemon, key: str) -> None:
    data = body(LONG)
    with Wire(alone.port, 60.0) as wire:
        wire.send_request("PUT", f"/object/{key}", {}, data)
        assert wire.answer("PUT").status == 201
        errors = alone.metric("aosd_node_errors_total")
        before = spliced_bytes(alone)
        limits = resource.prlimit(alone.pid, resource.RLIMIT_NOFILE)
        try:
            # Those that are open stay; there are no others.
            resource.prlimit(alone.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            wire.send_request("GET", f"/object/{key}")
            assert wire.answer("GET").body == data
            wire.send_request("PUT", f"/object/{key}", {}, data[::-1])
            assert wire.answer("PUT").status == 201
            wire.send_request("GET", f"/object/{key}")
            assert wire.answer("GET").body == data[::-1]
        finally:
            resource.prlimit(alone.pid, resource.RLIMIT_NOFILE, limits)
        assert alone.metric("aosd_node_errors_total") == errors
        assert spliced_bytes(alone) == before
