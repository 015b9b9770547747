"""The gateway is killed, whatever it was doing; the one that starts next knows what it has to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from tests.fault.copies import expect_in_place, expect_load_in_place
from tests.fault.durable import Durable, running_durable
from tests.fault.load import ABSENT, Load
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.waiting import until
from tests.integration.wire import Wire, ask, ask_chunked, chunk, head

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("g1", "g2", "g3")
# The heartbeat of the one before mustn't hold it up, nor a node that is away.
ALONE_S = 15.0
READY_S = 12.0


@pytest.fixture(scope="module")
def shared_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Durable]:
    with running_durable(tmp_path_factory.mktemp("gateways"), NAMES) as durable:
        yield durable


@pytest.fixture
def trio(shared_trio: Durable) -> Durable:
    shared_trio.mend()
    return shared_trio


def digest(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def ready_again(trio: Durable) -> float:
    """Start the next gateway; seconds until it is ready."""
    began_s = time.monotonic()
    daemon = trio.start_gateway()
    daemon.wait_until_ready()
    return time.monotonic() - began_s


def not_there(trio: Durable, key: str) -> bool:
    answer = ask(trio.port(), "GET", f"/object/{key}")
    assert answer.status in (404, 503), answer
    return answer.status == 404


def test_killed_in_the_middle_of_uploads_while_a_node_is_away(trio: Durable) -> None:
    prefix = "midway"
    away = "g2"
    kept = {f"{prefix}kept{number}": body(20 * KIB, number) for number in range(6)}
    for key, data in kept.items():
        assert ask(trio.port(), "PUT", f"/object/{key}", {}, data).status == 201
    stale = trio.key_with_primary(away, f"{prefix}stale")
    removed = trio.key_with_primary(away, f"{prefix}removed")
    for key in (stale, removed):
        assert ask(trio.port(), "PUT", f"/object/{key}", {}, b"older").status == 201
    trio.nodes[away].kill()
    until(lambda: trio.state(away) == "down", f"{away} is down")
    assert ask(trio.port(), "PUT", f"/object/{stale}", {}, b"newer").status == 201
    assert ask(trio.port(), "DELETE", f"/object/{removed}").status == 204
    kept[stale] = b"newer"
    streamed = f"{prefix}streamed"
    kept[streamed] = body(20 * MIB, 7)
    told = ask_chunked(trio.port(), f"/object/{streamed}", pieces(kept[streamed]), timeout_s=60.0)
    assert told.status == 201

    half = body(20 * MIB, 8)
    with Wire(trio.port(), 60.0) as chunked, Wire(trio.port(), 60.0) as known:
        target = f"/object/{prefix}halfchunked"
        chunked.send(head("PUT", target, {"Transfer-Encoding": "chunked"}))
        for each in pieces(half[:-1]):
            chunked.send(chunk(each))
        known.send(head("PUT", f"/object/{prefix}halfknown", {}, len(half)))
        known.send(half[:-1])
        trio.daemon.kill()
    try:
        assert ready_again(trio) < READY_S
        # It has never seen the node, and knows all the same that there is one.
        assert trio.daemon.states() == {"g1": "up", "g2": "down", "g3": "up"}
        for key, data in kept.items():
            assert ask(trio.port(), "GET", f"/object/{key}", timeout_s=60.0).body == data
        for key in (removed, f"{prefix}halfchunked", f"{prefix}halfknown"):
            # That something isn't there is said once the nodes were compared: 503 until then.
            until(lambda: not_there(trio, key), f"{key} isn't there", 60.0)  # noqa: B023
        after = f"{prefix}after"
        kept[after] = b"the next gateway's"
        assert ask(trio.port(), "PUT", f"/object/{after}", {}, kept[after]).status == 201
    finally:
        trio.nodes[away].start_again()
    while trio.state(away) != "up":
        # Its copies are older, and nobody sees them.
        assert ask(trio.port(), "GET", f"/object/{stale}").body == b"newer"
        not_there(trio, removed)
    trio.wait_until_quiet()
    may_be = {key: frozenset({digest(data)}) for key, data in kept.items()}
    for key in (removed, f"{prefix}halfchunked", f"{prefix}halfknown"):
        may_be[key] = frozenset({ABSENT})
    expect_in_place(trio, may_be, prefix)


def test_killed_under_load(trio: Durable) -> None:
    """Who was being served notices, nobody else; what was acknowledged is there."""
    with Load(trio.port, "kills", keys=40) as load:
        load.wait_for(300)
        killed_s = time.monotonic()
        trio.daemon.kill()
        assert ready_again(trio) < READY_S
        ready_s = time.monotonic()
        load.wait_for(300)
    outside = [
        each for each in load.tally.failures if each.ended_s < killed_s or each.began_s > ready_s
    ]
    assert not outside, "\n".join(map(str, outside[:10]))
    load.expect_nothing_wrong()
    trio.wait_until_quiet()
    load.read_back()
    expect_load_in_place(trio, load)


def test_a_clean_stop_and_start(trio: Durable) -> None:
    """Nothing has to be compared: it is settled at once."""
    key = "cleanstop"
    assert ask(trio.port(), "PUT", f"/object/{key}", {}, b"x").status == 201
    # The one before was killed: its heartbeat may be a living one's for an interval.
    until(lambda: trio.repair()["alone"], "no other gateway is there", ALONE_S)
    trio.daemon.stop()
    assert ready_again(trio) < READY_S
    assert trio.repair()["settled"] is True
    assert trio.ring(key)["settled"]
    assert ask(trio.port(), "GET", f"/object/{key}").body == b"x"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_again_and_again(tmp_path: Path) -> None:
    """With nodes away and back between; a node and the gateway die in the same moment."""
    with running_durable(tmp_path, NAMES) as durable:
        with Load(durable.port, keys=150, workers=6, most_s=1500) as load:
            for number in range(12):
                name = NAMES[number % 3]
                load.wait_for(150)
                if number % 2:
                    durable.nodes[name].kill()
                durable.daemon.kill()
                ready_again(durable)
                load.wait_for(150)
                load.expect_nothing_wrong()
                if number % 2:
                    durable.nodes[name].start_again()
                    durable.wait_until_quiet()
        durable.wait_until_quiet()
        load.read_back()
        expect_load_in_place(durable, load)
