"""A node that is gone: its keys get a quick 503, all others are served as ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.waiting import until
from tests.integration.wire import Answer, Truncated, Wire, ask, ask_chunked, head

NAMES = ("d1", "d2", "d3")
ANSWER_S = 2.0  # what is promised


@dataclass(frozen=True)
class Trio:
    """A daemon with default deadlines and three nodes that may be killed."""

    daemon: Daemon
    nodes: dict[str, RealNode]
    keys: dict[str, str]
    """A key on each node, its body the node's name."""

    def ask(self, verb: str, name: str, body: bytes | None = None) -> tuple[Answer, float]:
        """A request for the key on a node, and how long it took in seconds."""
        began_s = time.monotonic()
        answer = self.daemon.ask(verb, f"/object/{self.keys[name]}", {}, body, 60.0)
        return answer, time.monotonic() - began_s

    def start_again(self, *names: str) -> None:
        """Start killed nodes, and wait until the daemon serves their keys again."""
        for name in names:
            self.nodes[name].start_again()
        for name in names:
            # A probe that was sent too early may still fail after others succeeded.
            until(lambda: self.ask("GET", name)[0].status == 200, f"{name} is served")  # noqa: B023
        self.daemon.wait_for_states(dict.fromkeys(NAMES, "up"))

    def expect_served(self, *names: str) -> None:
        for name in names:
            for verb, data in (("GET", None), ("PUT", name.encode()), ("HEAD", None)):
                answer, took_s = self.ask(verb, name, data)
                assert answer.status in (200, 201)
                assert took_s < 1.0
            assert self.ask("GET", name)[0].body == name.encode()

    def expect_away(self, name: str) -> None:
        """In time, however the key is asked for."""
        for verb, data in (("GET", None), ("HEAD", None), ("PUT", b"x"), ("DELETE", None)):
            answer, took_s = self.ask(verb, name, data)
            assert took_s < ANSWER_S
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert verb == "HEAD" or answer.code == "ServiceUnavailable"
        began_s = time.monotonic()
        chunked = ask_chunked(self.daemon.port, f"/object/{self.keys[name]}", [b"x"])
        assert (chunked.status, chunked.code) == (503, "ServiceUnavailable")
        listing = self.daemon.ask("GET", "/object")
        assert (listing.status, listing.code) == (503, "ServiceUnavailable")
        assert time.monotonic() - began_s < 2 * ANSWER_S


@pytest.fixture(scope="module")
def shared_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    folder = tmp_path_factory.mktemp("trio")
    with running_nodes(folder, NAMES) as nodes:
        nodes_file = write_nodes_file(folder / "nodes.toml", nodes)
        with running_daemon(folder / "daemon", nodes_file, up=NAMES) as daemon:
            keys = {name: daemon.key_on(name, "key") for name in NAMES}
            yield Trio(daemon, {node.name: node for node in nodes}, keys)


@pytest.fixture
def trio(shared_trio: Trio) -> Trio:
    # One that a failed test left dead mustn't fail the rest.
    dead = [name for name, node in shared_trio.nodes.items() if not node.runs]
    shared_trio.start_again(*dead)
    shared_trio.daemon.wait_for_states(dict.fromkeys(NAMES, "up"))
    for name in NAMES:
        until(
            lambda: shared_trio.ask("PUT", name, name.encode())[0].status == 201,  # noqa: B023
            f"{name} takes its object",
        )
    return shared_trio


def test_a_killed_node(trio: Trio) -> None:
    assert trio.daemon.metric("aosd_node_up", node="d1") == 1
    trio.nodes["d1"].kill()
    trio.expect_away("d1")
    trio.expect_served("d2", "d3")
    until(lambda: trio.daemon.states()["d1"] != "up", "the node is known to be away")
    trio.expect_away("d1")
    metric = trio.daemon.metric
    until(lambda: metric("aosd_node_breaker_open", node="d1") == 1, "metrics tell of the breaker")
    until(lambda: metric("aosd_node_up", node="d1") == 0, "metrics tell of the node")
    assert trio.daemon.metric("aosd_ring_members") == 3
    # The daemon is ready as long as some node is.
    assert trio.daemon.ask("GET", "/-/ready").status == 200

    trio.start_again("d1")
    assert trio.ask("GET", "d1")[0].body == b"d1"
    trio.expect_served(*NAMES)
    until(lambda: metric("aosd_node_breaker_open", node="d1") == 0, "metrics tell of its return")
    listing = trio.daemon.ask("GET", "/object?prefix=key")
    assert {each["id"] for each in listing.json["objects"]} >= set(trio.keys.values())


def test_a_node_that_is_frozen(trio: Trio) -> None:
    """Its connections stay open, and nothing is answered: only time tells."""
    trio.nodes["d2"].freeze()
    try:
        trio.expect_away("d2")
        trio.expect_served("d1", "d3")
    finally:
        trio.nodes["d2"].thaw()
    trio.daemon.wait_for_states(dict.fromkeys(NAMES, "up"))
    assert trio.ask("GET", "d2")[0].body in (b"d2", b"x")
    trio.expect_served(*NAMES)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda port, target: ask(port, "GET", target, {}, None, 60.0),
        lambda port, target: ask(port, "HEAD", target, {}, None, 60.0),
        lambda port, target: ask(port, "DELETE", target, {}, None, 60.0),
        lambda port, target: ask(port, "PUT", target, {}, b"x", 60.0),
        lambda port, target: ask(port, "PUT", target, {"If-Match": "*"}, b"x", 60.0),
        lambda port, target: ask(port, "PUT", target, {}, body(512 * KIB), 60.0),
        lambda port, target: ask_chunked(port, target, [b"x"], timeout_s=60.0),
        lambda port, target: ask(port, "GET", "/object?limit=1", {}, None, 60.0),
    ],
    ids=["GET", "HEAD", "DELETE", "PUT", "If-Match", "PUT of 512 KiB", "chunked", "listing"],
)
def test_the_very_first_request_after_a_freeze(
    trio: Trio, request_of: Callable[[int, str], Answer]
) -> None:
    """Nobody knows yet that the node is away; the promise holds all the same."""
    trio.nodes["d3"].freeze()
    try:
        began_s = time.monotonic()
        answer = request_of(trio.daemon.port, f"/object/{trio.keys['d3']}")
        took_s = time.monotonic() - began_s
        assert answer.status in (503, 504)
        assert int(answer.headers["retry-after"]) >= 1
        assert took_s < ANSWER_S
    finally:
        trio.nodes["d3"].thaw()


def test_a_node_killed_in_the_middle_of_a_download(trio: Trio) -> None:
    data = body(64 * MIB)
    assert trio.ask("PUT", "d1", data)[0].status == 201
    with Wire(trio.daemon.port, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{trio.keys['d1']}")
        raw_head = wire.read_head()
        trio.nodes["d1"].kill()
        with pytest.raises(Truncated) as cut:
            wire.read_body(raw_head, len(data))
    assert data.startswith(cut.value.body)
    trio.start_again("d1")
    assert trio.ask("GET", "d1")[0].body == data


@pytest.mark.parametrize("chunked", [False, True])
def test_a_node_killed_in_the_middle_of_an_upload(trio: Trio, chunked: bool) -> None:
    data = body(32 * MIB)
    target = f"/object/{trio.keys['d1']}"
    with Wire(trio.daemon.port) as wire:
        if chunked:
            wire.send(head("PUT", target, {"Transfer-Encoding": "chunked"}))
            half = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces(data[:-1]))
            end = b"1\r\n%b\r\n0\r\n\r\n" % data[-1:]
        else:
            wire.send(head("PUT", target, {}, len(data)))
            half, end = data[:-1], data[-1:]
        wire.send(half)
        trio.nodes["d1"].kill()
        with suppress(ConnectionError):
            wire.send(end)
        # What was on its way when the answer was given must not keep it from the client.
        answer = wire.answer()
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    trio.start_again("d1")
    assert trio.ask("GET", "d1")[0].body == b"d1"


def test_load_on_the_others_goes_on_while_a_node_dies(trio: Trio) -> None:
    over: list[bool] = []

    def load(name: str) -> int:
        count = 0
        while not over:
            assert trio.ask("PUT", name, name.encode())[0].status == 201
            assert trio.ask("GET", name)[0].body == name.encode()
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(load, name) for name in ("d2", "d3")]
        try:
            trio.nodes["d1"].kill()
            until(lambda: trio.daemon.states()["d1"] != "up", "the node is known to be away")
            trio.start_again("d1")
        finally:
            over.append(True)
        assert min(each.result(30) for each in running) > 0


def test_no_node_left(trio: Trio) -> None:
    for node in trio.nodes.values():
        node.kill()
    until(lambda: trio.daemon.ask("GET", "/-/ready").status == 503, "the daemon isn't ready")
    ready = trio.daemon.ask("GET", "/-/ready")
    assert ready.json["ready"] is False
    assert ready.json["reason"]
    assert int(ready.headers["retry-after"]) >= 1
    assert trio.daemon.ask("GET", "/-/health").status == 200
    for name in NAMES:
        trio.expect_away(name)
    trio.start_again(*NAMES)
    assert trio.daemon.ask("GET", "/-/ready").status == 200
    trio.expect_served(*NAMES)
