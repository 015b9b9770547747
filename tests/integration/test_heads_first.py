"""Requests are judged by their heads, before their bodies come; connections live on after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.integration.bodies import MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.wire import Wire, chunk, head

BOTH_LANES = "daemon"
CONTINUE = b"HTTP/1.1 100 Continue"
EXPECT = {"Expect": "100-continue"}


def put_head(target: str, headers: Mapping[str, str] | None = None, length: int = 10) -> bytes:
    return head("PUT", target, headers, length)


# -- Expect: 100-continue -------------------------------------------------------------------


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
def test_the_body_is_asked_for_once_a_node_is_found(daemon: Daemon, key: str, expect: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(put_head(f"/object/{key}", {"Expect": expect}))
        assert wire.read_head() == CONTINUE
        wire.send(b"0123456789")
        assert wire.answer().status == 201
    assert daemon.ask("GET", f"/object/{key}").body == b"0123456789"


def test_a_chunked_body_is_asked_for(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {**EXPECT, "Transfer-Encoding": "chunked"}))
        assert wire.read_head() == CONTINUE
        wire.send(chunk(b"abc") + b"0\r\n\r\n")
        assert wire.answer().status == 201


def test_a_large_body_is_asked_for(daemon: Daemon, key: str) -> None:
    data = body(3 * MIB)
    with Wire(daemon.port) as wire:
        wire.send(put_head(f"/object/{key}", EXPECT, len(data)))
        assert wire.read_head() == CONTINUE
        wire.send(data)
        assert wire.answer().status == 201
    assert daemon.ask("GET", f"/object/{key}").body == data


def test_a_body_that_is_sent_at_once_is_taken(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(put_head(f"/object/{key}", EXPECT) + b"0123456789")
        answer = wire.answer()
        # RFC 9110, section 10.1.1: it may be asked for all the same.
        assert (wire.answer() if answer.status == 100 else answer).status == 201


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/object/a-b", {}, 400),
        ("/object/", {}, 400),
        ("/nowhere", {}, 403),
        ("/object", {}, 405),
        ("/object/headsfirst", {"If-Match": '"nothing is there"'}, 412),
        ("/object/headsfirst", {"x-amz-meta-aos-x": "1"}, 400),
        ("/object/headsfirst", {"Content-MD5": "short"}, 400),
        ("/object/headsfirst", {"Authorization": "AWS4-HMAC-SHA256 x"}, 400),
    ],
)
@pytest.mark.parametrize("expects", [True, False])
def test_refusals_come_without_the_body(
    daemon: Daemon, target: str, headers: dict[str, str], status: int, expects: bool
) -> None:
    with Wire(daemon.port) as wire:
        wire.send(put_head(target, {**headers, **(EXPECT if expects else {})}))
        answer = wire.answer()
        assert answer.status == status
        assert answer.code
        # Whether the body will come nobody can know: no other request fits in here.
        assert answer.headers["connection"] == "close"


def test_no_body_is_asked_for_when_too_few_nodes_are_up(
    other_nodes: list[RealNode], tmp_path: Path
) -> None:
    """Two copies go to two of a key's four first nodes; with one node up there are none."""
    nodes_file = write_nodes_file(tmp_path / "nodes.toml", other_nodes)
    with running_daemon(tmp_path / "daemon", nodes_file, up=NAMES) as daemon:
        write_nodes_file(nodes_file, other_nodes[1:])
        daemon.wait_for_states({"n1": "down", "n2": "up", "n3": "up"})
        with Wire(daemon.port) as wire:
            wire.send(put_head("/object/expected", EXPECT))
            assert wire.read_head() == CONTINUE
            wire.send(b"0123456789")
            assert wire.answer().status == 201
        write_nodes_file(nodes_file, other_nodes[2:])
        daemon.wait_for_states({"n1": "down", "n2": "down", "n3": "up"})
        with Wire(daemon.port) as wire:
            wire.send(put_head("/object/expected", EXPECT))
            answer = wire.answer()
            assert (answer.status, answer.code) == (503, "ServiceUnavailable")
            assert int(answer.headers["retry-after"]) >= 1


# -- what comes next on a connection ----------------------------------------------------------


def test_a_connection_serves_one_request_after_the_other(daemon: Daemon, key: str) -> None:
    target = f"/object/{key}"
    large = body(3 * MIB)
    with Wire(daemon.port) as wire:

        def ask(verb: str, where: str, headers: dict[str, str], data: bytes | None) -> int:
            wire.send_request(verb, where, headers, data)
            answer = wire.answer(verb)
            assert "connection" not in answer.headers
            return answer.status

        assert ask("GET", target, {}, None) == 404
        assert ask("PUT", target, {}, b"0123456789") == 201
        assert ask("GET", target, {}, None) == 200
        assert ask("HEAD", target, {}, None) == 200
        assert ask("HEAD", f"{target}x", {}, None) == 400
        assert ask("GET", target, {"Range": "bytes=1-2"}, None) == 206
        assert ask("GET", target, {"Range": "bytes=20-"}, None) == 416
        assert ask("GET", target, {"If-None-Match": "*"}, None) == 304
        assert ask("GET", target, {"If-Match": '"x"'}, None) == 412
        assert ask("GET", "/object/a.b", {}, None) == 400
        assert ask("GET", "/nowhere", {}, None) == 403
        assert ask("POST", "/object", {}, None) == 405
        assert ask("PUT", target, {}, large) == 201
        wire.send_chunks("PUT", target, pieces(large))
        assert wire.answer().status == 201
        assert ask("PUT", target, {}, b"") == 201
        assert ask("PUT", target, {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, large) == 400
        assert ask("GET", "/object?limit=1", {}, None) == 200
        assert ask("DELETE", target, {}, None) == 204
        assert ask("GET", "/-/health", {}, None) == 200


def test_pipelined_requests_are_answered_in_order(daemon: Daemon, key: str) -> None:
    target = f"/object/{key}"
    # The first one takes longest to answer.
    requests = [
        put_head(target, {}, 5) + b"first",
        head("GET", target),
        head("HEAD", target),
        head("GET", "/object/a.b"),
        put_head(target, {"Transfer-Encoding": "chunked"}, 0).replace(b"Content-Length: 0\r\n", b"")
        + chunk(b"second")
        + b"0\r\n\r\n",
        head("GET", target, {"Range": "bytes=1-2"}),
        head("DELETE", target),
        head("GET", target),
        head("GET", "/-/health"),
    ]
    verbs = ["PUT", "GET", "HEAD", "GET", "PUT", "GET", "DELETE", "GET", "GET"]
    with Wire(daemon.port) as wire:
        wire.send(b"".join(requests))
        answers = [wire.answer(verb) for verb in verbs]
    assert [each.status for each in answers] == [201, 200, 200, 400, 201, 206, 204, 404, 200]
    assert answers[1].body == b"first"
    assert answers[5].body == b"ec"


def test_after_a_refused_body_the_connection_is_closed(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(put_head("/object/a.b", {}, 10))
        assert wire.answer().status == 400
        # The rest of the body must not be taken for a request.
        wire.send(head("GET", f"/object/{key}")[:10])
        assert wire.is_over()


def test_a_client_that_sends_on_regardless_gets_to_read_the_refusal(daemon: Daemon) -> None:
    with Wire(daemon.port) as wire:
        wire.send(put_head("/object/a.b", {}, 64 * MIB))
        wire.send(body(512 * 1024))
        assert wire.answer().code == "InvalidArgument"
    with Wire(daemon.port) as wire:
        # More than the daemon takes to be polite: it hangs up, and must not take it all.
        wire.send_request("PUT", "/object/a.b", {}, body(64 * MIB))
        wire.close()
    assert daemon.ask("GET", "/-/health").status == 200


def test_http_1_0(daemon: Daemon, key: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"0123456789")
    with Wire(daemon.port) as wire:
        wire.send(f"GET /object/{key} HTTP/1.0\r\n\r\n".encode())
        raw_head = wire.read_head()
        assert raw_head.split(b" ", 2)[1] == b"200"
        assert wire.read_body(raw_head, 10) == b"0123456789"
        assert wire.is_over()


def test_a_put_without_a_length(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send_request("PUT", f"/object/{key}")
        answer = wire.answer()
        assert (answer.status, answer.code) == (411, "MissingContentLength")
