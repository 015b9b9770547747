"""A node that is gone: with two copies nobody notices, with one its keys get a quick 503."""

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
BACK_S = 60.0


@dataclass(frozen=True)
class Trio:
    """A daemon with default deadlines and three nodes that may be killed."""

    daemon: Daemon
    replicas: int
    nodes: dict[str, RealNode]
    keys: dict[str, str]
    """A key whose first node it is for each node, its body the node's name."""

    def ask(self, verb: str, name: str, body: bytes | None = None) -> tuple[Answer, float]:
        """A request for the key of a node, and how long it took in seconds."""
        began_s = time.monotonic()
        answer = self.daemon.ask(verb, f"/object/{self.keys[name]}", {}, body, 60.0)
        return answer, time.monotonic() - began_s

    def start_again(self, *names: str) -> None:
        """Start killed nodes, and wait until their copies count again."""
        for name in names:
            self.nodes[name].start_again()
        self.daemon.wait_for_states(dict.fromkeys(NAMES, "up"), BACK_S)

    def expect_served(self, *names: str) -> None:
        for name in names:
            for verb, data in (("GET", None), ("PUT", name.encode()), ("HEAD", None)):
                answer, took_s = self.ask(verb, name, data)
                assert answer.status in (200, 201)
                assert took_s < 1.0
            assert self.ask("GET", name)[0].body == name.encode()

    def expect_read_while_away(self, name: str) -> None:
        """What was written before, in time: from the other copy where there is one."""
        for verb in ("GET", "HEAD"):
            answer, took_s = self.ask(verb, name)
            assert took_s < ANSWER_S
            if self.replicas == 1:
                expect_unavailable(answer, verb)
            else:
                assert answer.status == 200
                assert verb == "HEAD" or answer.body == name.encode()
        began_s = time.monotonic()
        listing = self.daemon.ask("GET", "/object?prefix=key")
        assert time.monotonic() - began_s < ANSWER_S
        if self.replicas == 1:
            expect_unavailable(listing)
        else:
            listed = {each["id"] for each in listing.json["objects"]}
            assert listed >= set(self.keys.values())

    def expect_written_while_away(self, name: str) -> None:
        """In time, and read back: another node stands in."""
        for verb, data, status in (
            ("PUT", b"x", 201),
            ("DELETE", None, 204),
            ("PUT", name.encode(), 201),
        ):
            answer, took_s = self.ask(verb, name, data)
            assert took_s < ANSWER_S
            assert answer.status == status
        assert self.ask("GET", name)[0].body == name.encode()
        began_s = time.monotonic()
        chunked = ask_chunked(self.daemon.port, f"/object/{self.keys[name]}", [name.encode()])
        assert time.monotonic() - began_s < ANSWER_S
        assert chunked.status == 201
        assert self.ask("GET", name)[0].body == name.encode()

    def expect_in_place(self) -> None:
        """After a while each copy is on its primaries, and nowhere else."""
        self.daemon.wait_until_settled(BACK_S)
        for key in self.keys.values():
            primaries = set(self.daemon.order(key)[: self.replicas])
            assert {n for n, each in self.nodes.items() if key in each.stored_keys()} == primaries


def expect_unavailable(answer: Answer, verb: str = "GET") -> None:
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert verb == "HEAD" or answer.code == "ServiceUnavailable"


@pytest.fixture(scope="module", params=[1, 2], ids=["one copy", "two copies"])
def shared_trio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    folder = tmp_path_factory.mktemp("trio")
    flags = (f"--replicas={request.param}", "--late-write-window-s=1")
    with running_nodes(folder, NAMES) as nodes:
        nodes_file = write_nodes_file(folder / "nodes.toml", nodes)
        with running_daemon(folder / "daemon", nodes_file, *flags, up=NAMES) as daemon:
            keys = {name: daemon.key_on(name, "key") for name in NAMES}
            yield Trio(daemon, request.param, {node.name: node for node in nodes}, keys)


@pytest.fixture
def trio(shared_trio: Trio) -> Trio:
    # One that a failed test left dead mustn't fail the rest.
    dead = [name for name, node in shared_trio.nodes.items() if not node.runs]
    shared_trio.start_again(*dead)
    for name in NAMES:
        until(
            lambda: shared_trio.ask("PUT", name, name.encode())[0].status == 201,  # noqa: B023
            f"{name} takes its object",
        )
    shared_trio.daemon.wait_until_settled(BACK_S)
    return shared_trio


def test_a_killed_node(trio: Trio) -> None:
    metric = trio.daemon.metric
    assert metric("aosd_node_up", node="d1") == 1
    trio.nodes["d1"].kill()
    trio.expect_read_while_away("d1")
    trio.expect_served("d2", "d3")
    until(lambda: trio.daemon.states()["d1"] == "down", "the node is known to be away")
    trio.expect_read_while_away("d1")
    trio.expect_written_while_away("d1")
    until(lambda: metric("aosd_node_up", node="d1") == 0, "metrics tell of the node")
    assert metric("aosd_ring_members") == 3
    # The daemon is ready as long as some node is.
    assert trio.daemon.ask("GET", "/-/ready").status == 200
    told = trio.daemon.nodes()
    assert told["next_may_go"] is False
    assert any("d1" in each for each in told["wait_for"])

    trio.start_again("d1")
    assert trio.ask("GET", "d1")[0].body == b"d1"
    trio.expect_served(*NAMES)
    until(lambda: metric("aosd_node_breaker_open", node="d1") == 0, "metrics tell of its return")
    listing = trio.daemon.ask("GET", "/object?prefix=key")
    assert {each["id"] for each in listing.json["objects"]} >= set(trio.keys.values())
    trio.expect_in_place()
    assert trio.daemon.nodes()["next_may_go"] is True


def test_a_node_that_is_frozen(trio: Trio) -> None:
    """Its connections stay open, and nothing is answered: only time tells."""
    trio.nodes["d2"].freeze()
    try:
        trio.expect_read_while_away("d2")
        trio.expect_written_while_away("d2")
        trio.expect_served("d1", "d3")
    finally:
        trio.nodes["d2"].thaw()
    trio.daemon.wait_for_states(dict.fromkeys(NAMES, "up"), BACK_S)
    assert trio.ask("GET", "d2")[0].body == b"d2"
    trio.expect_served(*NAMES)
    trio.expect_in_place()


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda port, target: ask(port, "GET", target, {}, None, 60.0), 200),
        (lambda port, target: ask(port, "HEAD", target, {}, None, 60.0), 200),
        (lambda port, target: ask(port, "DELETE", target, {}, None, 60.0), 204),
        (lambda port, target: ask(port, "PUT", target, {}, b"x", 60.0), 201),
        (lambda port, target: ask(port, "PUT", target, {"If-Match": "*"}, b"x", 60.0), 201),
        (lambda port, target: ask(port, "PUT", target, {}, body(512 * KIB), 60.0), 201),
        (lambda port, target: ask_chunked(port, target, [b"x"], timeout_s=60.0), 201),
        (lambda port, target: ask(port, "GET", "/object?limit=1", {}, None, 60.0), 200),
    ],
    ids=["GET", "HEAD", "DELETE", "PUT", "If-Match", "PUT of 512 KiB", "chunked", "listing"],
)
def test_the_very_first_request_after_a_freeze(
    trio: Trio, request_of: Callable[[int, str], Answer], status: int
) -> None:
    """Nobody knows yet that the node is away; the promise holds all the same."""
    trio.nodes["d3"].freeze()
    try:
        began_s = time.monotonic()
        answer = request_of(trio.daemon.port, f"/object/{trio.keys['d3']}")
        took_s = time.monotonic() - began_s
        if answer.status == status:
            # With one copy only what needn't know what was there before.
            assert trio.replicas > 1 or status in (201, 204)
        else:
            assert trio.replicas == 1
            assert answer.status in (503, 504)
            assert int(answer.headers["retry-after"]) >= 1
        assert took_s < ANSWER_S
    finally:
        trio.nodes["d3"].thaw()


def test_a_node_killed_in_the_middle_of_a_download(trio: Trio) -> None:
    data = body(64 * MIB)
    assert trio.ask("PUT", "d1", data)[0].status == 201
    trio.daemon.wait_until_settled()
    with Wire(trio.daemon.port, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{trio.keys['d1']}")
        raw_head = wire.read_head()
        trio.nodes["d1"].kill()
        if trio.replicas == 1:
            with pytest.raises(Truncated) as cut:
                wire.read_body(raw_head, len(data))
            assert data.startswith(cut.value.body)
        else:
            assert wire.read_body(raw_head, len(data)) == data
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
        if trio.replicas == 1:
            expect_unavailable(answer)
        else:
            assert answer.status == 201
    trio.start_again("d1")
    assert trio.ask("GET", "d1")[0].body == (b"d1" if trio.replicas == 1 else data)
    trio.expect_in_place()


def test_load_goes_on_while_a_node_dies(trio: Trio) -> None:
    """With two copies on all keys, with one on those of other nodes."""
    over: list[bool] = []

    def load(name: str) -> int:
        count = 0
        while not over:
            assert trio.ask("PUT", name, name.encode())[0].status == 201
            assert trio.ask("GET", name)[0].body == name.encode()
            count += 1
        return count

    names = NAMES[1:] if trio.replicas == 1 else NAMES
    with ThreadPoolExecutor(len(names)) as threads:
        running = [threads.submit(load, name) for name in names]
        try:
            trio.nodes["d1"].kill()
            until(lambda: trio.daemon.states()["d1"] != "up", "the node is known to be away")
            trio.start_again("d1")
        finally:
            over.append(True)
        assert min(each.result(30) for each in running) > 0
    trio.expect_in_place()


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
        for verb, data in (("GET", None), ("HEAD", None), ("PUT", b"x"), ("DELETE", None)):
            answer, took_s = trio.ask(verb, name, data)
            assert took_s < ANSWER_S
            expect_unavailable(answer, verb)
    expect_unavailable(trio.daemon.ask("GET", "/object"))
    trio.start_again(*NAMES)
    assert trio.daemon.ask("GET", "/-/ready").status == 200
    for name in NAMES:
        # A DELETE that got 503 may have come into the journal all the same.
        assert trio.ask("GET", name)[0].status in (200, 404)
        assert trio.ask("PUT", name, name.encode())[0].status == 201
    trio.expect_served(*NAMES)
