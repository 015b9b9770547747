"""Clients that go away: nothing half-written stays, and what was held for them is let go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fault.bad_node import BadNode, Does, Fault
from tests.fault.conftest import Fragile
from tests.integration.bodies import KIB, MIB, body
from tests.integration.waiting import until
from tests.integration.wire import Wire, chunk, head

OLD = b"the old object"

# At once, that is; a deadline would take longer.
AT_ONCE_S = 0.8

LEAVE = pytest.mark.parametrize(
    "leave", [Wire.close, Wire.vanish], ids=["closes the connection", "resets it"]
)


def expect_unharmed(fragile: Fragile, key: str) -> None:
    until(lambda: fragile.serving(key) == 0, "the node is let go", AT_ONCE_S)
    until(
        lambda: fragile.daemon.metric("aosd_requests_in_flight", door="plain") == 0,
        "the request is over",
    )
    until(lambda: fragile.node_of(key).uploads(key) == [], "no upload is left open")
    assert fragile.daemon.metric("aosd_body_memory_bytes") == 0
    read = fragile.daemon.ask("GET", f"/object/{key}")
    assert (read.status, read.body) == (200, OLD)


@LEAVE
@pytest.mark.parametrize(
    ("length", "sent"),
    [
        (10, 0),
        (10, 9),
        (KIB * 512, KIB * 256),
        (4 * MIB, 0),
        (4 * MIB, MIB),
        (4 * MIB, 4 * MIB - 1),
    ],
)
def test_in_an_upload_of_known_length(
    fragile: Fragile, key: str, length: int, sent: int, leave: Callable[[Wire], None]
) -> None:
    fragile.store(key, OLD)
    with Wire(fragile.daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, length))
        wire.send(body(sent))
        if length > MIB:
            proxy = fragile.proxy_of(key)
            asked = f"PUT /object/{key} "
            until(lambda: proxy.requests.count(asked + "HTTP/1.1") == 2, "the node is asked")
        leave(wire)
    expect_unharmed(fragile, key)


@LEAVE
@pytest.mark.parametrize("sent", [0, KIB, 7 * MIB])
def test_in_a_chunked_upload_that_is_short_so_far(
    fragile: Fragile, key: str, sent: int, leave: Callable[[Wire], None]
) -> None:
    fragile.store(key, OLD)
    with Wire(fragile.daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {"Transfer-Encoding": "chunked"}))
        if sent:
            wire.send(chunk(body(sent)))
        leave(wire)
    expect_unharmed(fragile, key)


@LEAVE
@pytest.mark.parametrize("sent", [9 * MIB, 17 * MIB])
def test_in_a_chunked_upload_that_goes_in_parts(
    fragile: Fragile, key: str, sent: int, leave: Callable[[Wire], None]
) -> None:
    fragile.store(key, OLD)
    node = fragile.node_of(key)
    with Wire(fragile.daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {"Transfer-Encoding": "chunked"}))
        wire.send(chunk(body(sent)))
        until(lambda: len(node.uploads(key)) == 1, "the upload has begun")
        leave(wire)
    expect_unharmed(fragile, key)


@LEAVE
def test_in_a_download(fragile: Fragile, key: str, leave: Callable[[Wire], None]) -> None:
    data = body(64 * MIB)
    fragile.store(key, data)
    fragile.daemon.wait_until_settled(60.0)  # nobody copies it while it is read here
    with Wire(fragile.daemon.port, receive_buffer_bytes=64 * KIB) as wire:
        wire.send_request("GET", f"/object/{key}")
        wire.read_head()
        assert wire.receive()
        assert fragile.serving(key) == 1
        leave(wire)
        until(lambda: fragile.serving(key) == 0, "the node is let go", AT_ONCE_S)
    until(
        lambda: fragile.daemon.metric("aosd_requests_total", verb="GET", status="0") > 0,
        "the log tells of a client that left",
    )
    part = fragile.daemon.ask("GET", f"/object/{key}", {"Range": "bytes=0-9"})
    assert part.body == data[:10]


def _keys_swept(fragile: Fragile) -> float:
    return fragile.daemon.metric("aosd_sweep_keys_total")


@LEAVE
@pytest.mark.parametrize("verb", ["GET", "HEAD", "DELETE"])
def test_before_the_node_has_answered(
    fragile: Fragile, key: str, verb: str, leave: Callable[[Wire], None]
) -> None:
    fragile.store(key, OLD)
    # What other tests left in doubt is compared: no sweep is to ask for this key, too. One
    # that listed it on a node before it was written, and on another after that, has done so.
    fragile.daemon.wait_until_settled(60.0)
    swept = _keys_swept(fragile)
    proxy = fragile.proxy_of(key)  # which asks the nodes, too
    fragile.misbehave(key, Fault(Does.HANGS_BEFORE_HEADERS), verb)
    asked = f"{verb} /object/{key} "

    def times() -> int:
        return sum(line.startswith(asked) for line in proxy.requests)

    before = times()
    with Wire(fragile.daemon.port) as wire:
        wire.send_request(verb, f"/object/{key}")
        until(lambda: times() > before, "the node is asked")
        leave(wire)
        if verb != "DELETE":
            # What changes a key is carried to its end: it may take effect at any moment.
            until(lambda: fragile.serving(key) == 0, "the node is let go", AT_ONCE_S)
    until(
        lambda: fragile.daemon.metric("aosd_requests_in_flight", door="plain") == 0,
        "the request is over",
    )
    # A sweep that began meanwhile may ask the node by itself.
    sweeps = fragile.daemon.repair()["sweep"] is not None or _keys_swept(fragile) > swept
    assert times() == before + 1 or (verb == "HEAD" and sweeps)


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_clients_that_leave_say_nothing_of_the_node(fragile: Fragile, key: str, verb: str) -> None:
    """However many of them give up waiting: its breaker stays closed."""
    other = f"other{key[:20]}"
    for each in (key, other):
        fragile.store(each, OLD)
    proxy = fragile.proxy_of(key)
    before = _count(proxy, verb, key)  # to learn a key's nodes asks them, too
    fragile.misbehave(key, Fault(Does.HANGS_BEFORE_HEADERS), verb)
    for number in range(1, 11):
        with Wire(fragile.daemon.port) as wire:
            wire.send_request(verb, f"/object/{key}")
            until(lambda: _count(proxy, verb, key) - before == number, "the node is asked")  # noqa: B023
    until(
        lambda: fragile.daemon.metric("aosd_requests_in_flight", door="plain") == 0,
        "the requests are over",
    )
    assert set(fragile.daemon.states().values()) == {"up"}
    assert fragile.daemon.ask("GET", f"/object/{other}").body == OLD
    assert _count(proxy, verb, key) - before == 10


def _count(proxy: BadNode, verb: str, key: str) -> int:
    return proxy.requests.count(f"{verb} /object/{key} HTTP/1.1")


def test_many_at_once(fragile: Fragile, key: str) -> None:
    """Half of them vanish; the others get what they asked for."""
    data = body(2 * MIB)
    fragile.store(key, data)
    wires = [Wire(fragile.daemon.port, 60.0, receive_buffer_bytes=64 * KIB) for _ in range(40)]
    for wire in wires:
        wire.send_request("GET", f"/object/{key}")
    for wire in wires[::2]:
        wire.vanish()
    for wire in wires[1::2]:
        with wire:
            answer = wire.answer()
            assert answer.status == 200, answer.body
            assert answer.body == data
    until(
        lambda: fragile.daemon.metric("aosd_requests_in_flight", door="plain") == 0,
        "all requests are over",
    )
