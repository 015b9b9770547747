"""A node that goes at any moment: nothing is lost, nothing stops, and its copies come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from threading import Barrier

import pytest

from tests.fault.copies import copies, expect_in_place
from tests.fault.durable import Download, Durable, running_durable
from tests.fault.load import ABSENT
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.waiting import until
from tests.integration.wire import Answer, Wire, ask, ask_chunked, chunk, head

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("r1", "r2", "r3")
GIB = 1024 * MIB
LONG_BYTES = 48 * MIB
CHUNKED_BYTES = 20 * MIB
ANSWER_S = 60.0
VERBS = ("GET", "PUT", "HEAD", "POST", "DELETE")


@pytest.fixture(scope="module")
def shared_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Durable]:
    # How long a node that stands still may owe an answer, when all of a body is sent.
    flags = ("--first-byte-timeout-s=10",)
    with running_durable(tmp_path_factory.mktemp("objects"), NAMES, *flags) as durable:
        yield durable


@pytest.fixture
def trio(shared_trio: Durable) -> Durable:
    shared_trio.mend()
    return shared_trio


@dataclass(frozen=True)
class Fault:
    """How a node goes away, and comes back."""

    name: str

    def strike(self, durable: Durable, node: str) -> None:
        if self.name == "killed":
            durable.nodes[node].kill()
        else:
            durable.nodes[node].freeze()

    def mend(self, durable: Durable, node: str) -> None:
        if self.name == "killed":
            durable.nodes[node].start_again()
        else:
            durable.nodes[node].thaw()


FAULTS = [Fault("killed"), Fault("frozen")]


def digest(data: bytes) -> frozenset[str]:
    return frozenset({md5(data, usedforsecurity=False).hexdigest()})


def put(trio: Durable, key: str, data: bytes) -> Answer:
    return ask(trio.port(), "PUT", f"/object/{key}", {}, data, ANSWER_S)


def get(trio: Durable, key: str) -> Answer:
    return ask(trio.port(), "GET", f"/object/{key}", {}, None, ANSWER_S)


class Upload:
    """A PUT of which all but the last byte is on its way; of a known length, or chunked."""

    def __init__(self, port: int, key: str, data: bytes, *, chunked: bool) -> None:
        self.wire = Wire(port, ANSWER_S)
        target = f"/object/{key}"
        if chunked:
            self.wire.send(head("PUT", target, {"Transfer-Encoding": "chunked"}))
            for each in pieces(data[:-1]):
                self.wire.send(chunk(each))
            self._end = chunk(data[-1:]) + b"0\r\n\r\n"
        else:
            self.wire.send(head("PUT", target, {}, len(data)))
            self.wire.send(data[:-1])
            self._end = data[-1:]

    def send_the_rest(self) -> None:
        self.wire.send(self._end)

    def status(self) -> int:
        with self.wire:
            return self.wire.answer("PUT").status


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_primary_that_goes_in_the_middle_of_everything(trio: Durable, fault: Fault) -> None:
    """One client downloads, two upload, one has just been answered: none of them notices."""
    prefix = f"middle{fault.name}"
    contents: dict[str, bytes] = {}
    read = f"{prefix}read"
    contents[read] = body(LONG_BYTES, 1)
    assert put(trio, read, contents[read]).status == 201
    downloads: list[Download] = []
    gone = trio.node_that_serves(lambda: downloads.append(Download(trio.port(), read)))
    assert gone in trio.roles(read, "primary")

    written = trio.key_with_primary(gone, f"{prefix}put")
    contents[written] = body(LONG_BYTES, 2)
    streamed = trio.key_with_primary(gone, f"{prefix}chunked")
    contents[streamed] = body(CHUNKED_BYTES, 3)
    put_on_its_way = Upload(trio.port(), written, contents[written], chunked=False)
    chunked_on_its_way = Upload(trio.port(), streamed, contents[streamed], chunked=True)
    removed = trio.key_with_primary(gone, f"{prefix}removed")
    assert put(trio, removed, b"to be removed").status == 201
    overwritten = trio.key_with_primary(gone, f"{prefix}over")
    assert put(trio, overwritten, b"older").status == 201
    # Acknowledged, and the node is gone in the same moment.
    answered = trio.key_with_primary(gone, f"{prefix}answered")
    contents[answered] = body(KIB, 4)
    assert put(trio, answered, contents[answered]).status == 201

    fault.strike(trio, gone)
    try:
        # The very first requests, before anybody has noticed.
        contents[overwritten] = b"newer"
        assert put(trio, overwritten, b"newer").status == 201
        put_on_its_way.send_the_rest()
        chunked_on_its_way.send_the_rest()
        assert get(trio, answered).body == contents[answered]
        assert ask(trio.port(), "DELETE", f"/object/{removed}", timeout_s=ANSWER_S).status == 204
        assert get(trio, removed).status == 404
        assert put_on_its_way.status() == 201
        assert chunked_on_its_way.status() == 201
        assert downloads[0].read(LONG_BYTES) == contents[read]
        # Now that it is known.
        until(lambda: trio.state(gone) != "up", f"{gone} is known to be away")
        for key, data in contents.items():
            assert get(trio, key).body == data
            assert len(trio.holders(key)) >= (1 if key in (read, answered) else 2)
        after = trio.key_with_primary(gone, f"{prefix}after")
        contents[after] = body(2 * MIB, 5)
        assert put(trio, after, contents[after]).status == 201
        assert get(trio, after).body == contents[after]
        assert trio.daemon.ask("GET", "/-/ready").status == 200
    finally:
        fault.mend(trio, gone)
    trio.wait_until_quiet()
    may_be = {key: digest(data) for key, data in contents.items()}
    expect_in_place(trio, {**may_be, removed: frozenset({ABSENT})}, prefix)
    for key, data in contents.items():
        assert get(trio, key).body == data
    assert get(trio, removed).status == 404


def test_handoffs_are_written_and_moved_to_the_primaries(trio: Durable) -> None:
    """While a node is away each write has its two copies; when it is back, in their places."""
    prefix = "handoff"
    away = "r2"
    keys = [trio.key_with_primary(away, f"{prefix}{kind}") for kind in ("a", "b", "c", "d", "e")]
    small, long, streamed, removed, other = keys
    contents = {small: body(KIB, 1), long: body(3 * MIB, 2), streamed: body(CHUNKED_BYTES, 3)}
    for key in (removed, other):
        assert put(trio, key, b"before").status == 201
    trio.nodes[away].kill()
    try:
        until(lambda: trio.state(away) != "up", f"{away} is known to be away")
        assert put(trio, small, contents[small]).status == 201
        assert put(trio, long, contents[long]).status == 201
        told = ask_chunked(
            trio.port(), f"/object/{streamed}", pieces(contents[streamed]), timeout_s=ANSWER_S
        )
        assert told.status == 201
        assert trio.daemon.ask("DELETE", f"/object/{removed}").status == 204
        assert trio.daemon.ask("DELETE", f"/object/{other}").status == 204
        contents[other] = b"again"
        assert put(trio, other, contents[other]).status == 201
        alive = [node for node in trio.nodes.values() if node.runs]
        for key, data in contents.items():
            found = copies(alive, key)
            assert set(found) == set(NAMES) - {away}
            assert len(set(found.values())) == 1, found
            assert {each.digest for each in found.values()} == digest(data)
        assert copies(alive, removed) == {}
        until(lambda: trio.state(away) == "down", f"{away} is down")
        listing = trio.daemon.ask("GET", f"/object?prefix={prefix}")
        assert [each["id"] for each in listing.json["objects"]] == sorted(contents)
        assert trio.repair()["settled"] is False
    finally:
        trio.nodes[away].start_again()
    # It has what was deleted while it was away, and an older version; nobody sees them.
    while trio.state(away) != "up":
        assert get(trio, removed).status == 404
        assert get(trio, other).body == b"again"
    trio.wait_until_quiet()
    may_be = {key: digest(data) for key, data in contents.items()}
    expect_in_place(trio, {**may_be, removed: frozenset({ABSENT})}, prefix)


def test_a_node_is_replaced_by_an_empty_one(trio: Durable) -> None:
    """The same name on an empty disk: every copy is there again, without anyone's doing."""
    prefix = "replaced"
    wiped = "r3"
    sizes = {"Small": 100, "Kib": 64 * KIB, "Long": 6 * MIB}
    contents = {
        f"{prefix}{kind}{number}": body(size, number)
        for kind, size in sizes.items()
        for number in range(8)
    }
    for key, data in contents.items():
        assert put(trio, key, data).status == 201
    streamed = trio.key_with_primary(wiped, f"{prefix}chunked")
    contents[streamed] = body(CHUNKED_BYTES)
    chunked = pieces(contents[streamed])
    told = ask_chunked(trio.port(), f"/object/{streamed}", chunked, timeout_s=ANSWER_S)
    assert told.status == 201
    trio.wait_until_quiet()
    before = {node["name"]: node["incarnation"] for node in trio.daemon.nodes()["nodes"]}
    etag = trio.holders(streamed)[wiped]
    assert "-" in etag, "a multipart upload"

    trio.nodes[wiped].kill()
    trio.empty(wiped)
    trio.nodes[wiped].start_again()
    for key, data in contents.items():
        assert get(trio, key).body == data
    trio.wait_until_quiet()
    after = {node["name"]: node["incarnation"] for node in trio.daemon.nodes()["nodes"]}
    assert {name for name in NAMES if after[name] != before[name]} == {wiped}
    expect_in_place(trio, {key: digest(data) for key, data in contents.items()}, prefix)
    # Rebuilt part by part: whoever remembers the ETag finds it again.
    assert trio.holders(streamed)[wiped] == etag


def test_a_settled_read_is_one_request(trio: Durable) -> None:
    key = "settledread"
    assert put(trio, key, b"one").status == 201
    until(lambda: trio.ring(key)["settled"], "the key is settled")

    def asked() -> Counter[str]:
        # Each is a request to the gateway: the fewer, the less it asks by itself meanwhile.
        metric = trio.daemon.metric
        return Counter({verb: metric("aosd_node_requests_total", verb=verb) for verb in VERBS})

    def asked_for_two_reads() -> dict[str, int]:
        before = asked()
        assert get(trio, key).body == b"one"
        assert get(trio, "settlednothing").status == 404
        return dict(asked() - before)

    # What the gateway asks by itself, now and then, counts too.
    told = [asked_for_two_reads() for _ in range(9)]
    assert told.count({"GET": 2}) >= 5 and all(each["GET"] >= 2 for each in told), told


def test_a_single_replica_says_what_it_is(tmp_path: Path) -> None:
    """R = 1 goes on as ever: a key is on one node, and others don't stand in for a read."""
    with running_durable(tmp_path, ("s1", "s2", "s3"), replicas=1) as single:
        key = single.key_with_primary("s1", "single", first=True)
        assert put(single, key, b"alone").status == 201
        assert set(copies(single.nodes.values(), key)) == {"s1"}
        expect_in_place(single, {key: digest(b"alone")}, "single")
        single.nodes["s1"].kill()
        answer = get(single, key)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        # A write goes to the handoff.
        assert put(single, key, b"elsewhere").status == 201
        assert get(single, key).body == b"elsewhere"
        single.nodes["s1"].start_again()
        single.wait_until_quiet()
        assert get(single, key).body == b"elsewhere"
        expect_in_place(single, {key: digest(b"elsewhere")}, "single")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_of_two_who_create_a_gib_one_gets_412(trio: Durable) -> None:
    """Both bodies flow side by side; who comes first to the end has the key."""
    key, block = "racing", [body(MIB, seed) for seed in (1, 2)]
    digests = []
    for each in block:
        digest = md5(usedforsecurity=False)
        for _ in range(GIB // MIB):
            digest.update(each)
        digests.append(digest.hexdigest())
    all_but_the_end = Barrier(2)

    def create(number: int) -> Answer:
        with Wire(trio.port(), 300.0) as wire:
            wire.send(head("PUT", f"/object/{key}", {"If-None-Match": "*"}, GIB))
            for _ in range(GIB // MIB - 1):
                wire.send(block[number])
            all_but_the_end.wait(300.0)
            # Who has lost may be told before its end is read.
            with suppress(ConnectionError):
                wire.send(block[number])
            return wire.answer("PUT")

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(create, range(2)))
    assert sorted(each.status for each in answers) == [201, 412], answers
    (winner,) = (number for number, each in enumerate(answers) if each.status == 201)
    assert answers[winner].json["etag"].strip('"') == digests[winner]
    told = trio.ring(key)["copies"]
    etags = {name: each["etag"].strip('"') for name, each in told.items() if each is not None}
    assert list(etags.values()) == [digests[winner]] * 2, told
    assert ask(trio.port(), "DELETE", f"/object/{key}").status == 204
