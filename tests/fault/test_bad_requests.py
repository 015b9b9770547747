"""Requests that can't be: a clear refusal, nothing stored, and the daemon goes on."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256

import pytest

from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.waiting import until
from tests.integration.wire import Answer, Truncated, Wire, ask_chunked, chunk, head

OLD = b"the old object"

BAD_IDS = {
    "empty": "/object/",
    "33 long": "/object/" + "a" * 33,
    "a dash": "/object/a-b",
    "a dot": "/object/a.b",
    "an underscore": "/object/a_b",
    "a slash at the end": "/object/abc/",
    "a slash in it": "/object/a/b",
    "two slashes": "/object//abc",
    "percent-encoded": "/object/%61bc",
    "a percent-encoded slash": "/object/a%2Fb",
    "half an escape": "/object/abc%",
    "not UTF-8": "/object/abc%ff",
    "two dots": "/object/..",
    "out of its folder": "/object/../-/nodes",
    "out by escapes": "/object/%2e%2e/aos-system/node.json",
    "NUL by escape": "/object/a%00b",
    "plus": "/object/a+b",
    "semicolon": "/object/a;b",
    "an umlaut by escape": "/object/%C3%BC",
}


@pytest.fixture(autouse=True)
def lives_on(daemon: Daemon) -> Iterator[None]:
    yield
    assert daemon.ask("GET", "/-/health").status == 200


@pytest.mark.parametrize("target", BAD_IDS.values(), ids=BAD_IDS.keys())
def test_ids(daemon: Daemon, nodes: list[RealNode], target: str) -> None:
    before = [node.stored_keys() for node in nodes]
    for verb in ("PUT", "GET", "HEAD", "DELETE"):
        answer = daemon.ask(verb, target, {}, b"x" if verb == "PUT" else None)
        assert answer.status == 400
        assert verb == "HEAD" or answer.code == "InvalidArgument"
    assert [node.stored_keys() for node in nodes] == before


@pytest.mark.parametrize(
    "target",
    ["/object/a\x00b", "/object/\xfc", "/object/\xd9\xa1", "/object/a\tb"],
    ids=["NUL", "an umlaut", "Arabic digits", "a tab"],
)
def test_ids_that_no_request_line_may_hold(
    daemon: Daemon, nodes: list[RealNode], target: str
) -> None:
    before = [node.stored_keys() for node in nodes]
    for verb in ("PUT", "GET"):
        with Wire(daemon.port) as wire:
            wire.send(head(verb, target, {}, 1) + b"x")
            # Twisted's parser may refuse these, with no more than a status line.
            assert wire.read_head().startswith(b"HTTP/1.1 400 ")
            wire.read_to_the_end()
    assert [node.stored_keys() for node in nodes] == before


def test_the_longest_and_the_shortest_id(daemon: Daemon) -> None:
    for target in ("/object/" + "Z" * 32, "/object/7"):
        assert daemon.ask("PUT", target, {}, b"x").status == 201
        assert daemon.ask("GET", target).body == b"x"
        assert daemon.ask("DELETE", target).status == 204


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/objects",
        "/Object/abc",
        "/aos-system/node.json",
        "//object/abc",
        "/objectabc",
    ],
)
def test_what_no_other_door_takes_has_to_be_signed(daemon: Daemon, target: str) -> None:
    answer = daemon.ask("GET", target)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    answer = daemon.ask("PUT", target, {}, b"x")
    assert answer.status in (403, 405), answer


@pytest.mark.parametrize("target", ["/-/nothing", "/-/../object", "/-"])
def test_unknown_paths(daemon: Daemon, target: str) -> None:
    answer = daemon.ask("GET", target)
    assert (answer.status, answer.code) == (404, "NotFound")
    answer = daemon.ask("PUT", target, {}, b"x")
    assert (answer.status, answer.code) == (404, "NotFound")


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/object/abc", "DELETE, GET, HEAD, PUT"),
        ("/object", "GET, HEAD"),
        ("/-/health", "GET, HEAD"),
        ("/-/metrics", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("verb", ["POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X" * 99])
def test_unknown_verbs(daemon: Daemon, verb: str, target: str, allow: str) -> None:
    answer = daemon.ask(verb, target)
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    # RFC 9110, section 15.5.6
    assert {each.strip() for each in answer.headers["allow"].split(",")} == set(allow.split(", "))


@pytest.mark.parametrize("verb", ["get", "Put", "delete"])
def test_verbs_are_told_by_their_case(daemon: Daemon, key: str, verb: str) -> None:
    """RFC 9110, section 9.1."""
    daemon.ask("PUT", f"/object/{key}", {}, OLD)
    answer = daemon.ask(verb, f"/object/{key}", {}, b"new")
    assert answer.status in (400, 405, 501)
    assert daemon.ask("GET", f"/object/{key}").body == OLD


# -- bodies that aren't what they are said to be ------------------------------------------------


def put(daemon: Daemon, key: str, how: str, data: bytes, headers: dict[str, str]) -> Answer:
    if how == "chunked":
        return ask_chunked(daemon.port, f"/object/{key}", pieces(data), headers)
    return daemon.ask("PUT", f"/object/{key}", headers, data)


def expect_unharmed(daemon: Daemon, nodes: list[RealNode], key: str) -> None:
    """The old object is as it was, and no node has an upload lying about."""
    read = daemon.ask("GET", f"/object/{key}")
    assert (read.status, read.body) == (200, OLD)
    until(lambda: not any(node.uploads(key) for node in nodes), "no upload is left open")


@pytest.fixture
def old(daemon: Daemon, key: str) -> str:
    """A key whose object must stay as it is."""
    assert daemon.ask("PUT", f"/object/{key}", {}, OLD).status == 201
    return key


HOWS = pytest.mark.parametrize(
    ("how", "size"),
    [
        ("length", KIB),
        ("length", 3 * MIB),
        ("chunked", KIB),
        ("chunked", 9 * MIB),
    ],
)


@HOWS
def test_a_wrong_content_md5(
    daemon: Daemon, nodes: list[RealNode], old: str, how: str, size: int
) -> None:
    wrong = b64encode(md5(b"another body", usedforsecurity=False).digest()).decode()
    answer = put(daemon, old, how, body(size), {"Content-MD5": wrong})
    assert (answer.status, answer.code) == (400, "BadDigest")
    expect_unharmed(daemon, nodes, old)


@HOWS
def test_a_wrong_content_sha256(
    daemon: Daemon, nodes: list[RealNode], old: str, how: str, size: int
) -> None:
    wrong = sha256(b"another body").hexdigest()
    answer = put(daemon, old, how, body(size), {"x-amz-content-sha256": wrong})
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    expect_unharmed(daemon, nodes, old)


@pytest.mark.parametrize("md5_text", ["", "x", "AAAA", "not base64!!", "=" * 24])
def test_a_content_md5_that_is_none(daemon: Daemon, key: str, md5_text: str) -> None:
    answer = daemon.ask("PUT", f"/object/{key}", {"Content-MD5": md5_text}, b"x")
    assert (answer.status, answer.code) == (400, "InvalidDigest")
    assert daemon.ask("GET", f"/object/{key}").status == 404


@pytest.mark.parametrize("size", [KIB, 3 * MIB])
@pytest.mark.parametrize("ends", ["closes", "stops sending"])
def test_a_body_shorter_than_its_length(
    daemon: Daemon, nodes: list[RealNode], old: str, size: int, ends: str
) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{old}", {}, size))
        wire.send(body(size - 1))
        if ends == "closes":
            wire.close()
        else:
            wire.socket.shutdown(socket.SHUT_WR)
            try:
                assert wire.answer().status >= 400
            except Truncated as cut:
                assert cut.head == b""
    until(
        lambda: daemon.metric("aosd_requests_in_flight", door="plain") == 0, "the request is over"
    )
    expect_unharmed(daemon, nodes, old)


@pytest.mark.parametrize("sent", [KIB, 9 * MIB])
def test_a_chunked_body_without_its_end(
    daemon: Daemon, nodes: list[RealNode], old: str, sent: int
) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{old}", {"Transfer-Encoding": "chunked"}))
        wire.send(chunk(body(sent)))
    until(
        lambda: daemon.metric("aosd_requests_in_flight", door="plain") == 0, "the request is over"
    )
    expect_unharmed(daemon, nodes, old)


@pytest.mark.parametrize("sent", [0, 9 * MIB])
@pytest.mark.parametrize(
    "malformed",
    [b"xyz\r\nabc\r\n", b"-5\r\nabcde\r\n", b"3\r\nabcdef\r\n", b"0x3\r\nabc\r\n", b"\r\n\r\n"],
    ids=["no number", "negative", "longer than it says", "0x", "nothing"],
)
def test_a_malformed_chunk(
    daemon: Daemon, nodes: list[RealNode], old: str, sent: int, malformed: bytes
) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{old}", {"Transfer-Encoding": "chunked"}))
        if sent:
            wire.send(chunk(body(sent)))
        wire.send(malformed)
        answer = wire.answer()
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        assert answer.headers["connection"] == "close"
    expect_unharmed(daemon, nodes, old)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -5",
        b"Content-Length: 5x",
        b"Content-Length: +5",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"No colon here",
        b"Space before : colon",
    ],
)
def test_heads_that_leave_the_length_in_doubt(
    daemon: Daemon, nodes: list[RealNode], old: str, headers: bytes
) -> None:
    with Wire(daemon.port) as wire:
        target = f"/object/{old}".encode()
        wire.send(b"PUT %b HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % (target, headers))
        # Twisted's own parser may refuse with a bare status line.
        assert wire.read_head().startswith(b"HTTP/1.1 400 ")
        assert wire.is_over()
    expect_unharmed(daemon, nodes, old)


@pytest.mark.parametrize("size", [17 * KIB, 70 * KIB, MIB])
def test_heads_that_are_too_long(
    daemon: Daemon, nodes: list[RealNode], old: str, size: int
) -> None:
    with Wire(daemon.port) as wire:
        wire.send_request("PUT", f"/object/{old}", {"x-filler": "y" * size}, b"new")
        try:
            raw_head = wire.read_head()
        except Truncated as cut:
            # What was left of the head came to a closed socket, whose reset beat the answer.
            assert cut.head == b""
        else:
            assert raw_head.split(b" ", 2)[1] in (b"400", b"431")
    expect_unharmed(daemon, nodes, old)


def test_many_headers(daemon: Daemon, key: str) -> None:
    headers = {f"x-{number}": "y" for number in range(600)}
    with Wire(daemon.port) as wire:
        wire.send_request("GET", f"/object/{key}", headers)
        assert wire.read_head().split(b" ", 2)[1] in (b"400", b"431")


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\x00" * 1000,
        b"GET  /object HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["empty lines", "no target", "HTTP/9.9", "TLS", "NULs", "two spaces", "SSH"],
)
def test_what_is_no_http(daemon: Daemon, said: bytes) -> None:
    with Wire(daemon.port) as wire:
        wire.send(said)
        wire.socket.shutdown(socket.SHUT_WR)
        first = wire.receive()
        assert first == b"" or b" 400 " in first or b" 404 " in first or b" 505 " in first


def test_metadata_that_no_node_could_keep(daemon: Daemon, key: str) -> None:
    long = daemon.ask("PUT", f"/object/{key}", {"x-amz-meta-long": "y" * 2000}, b"x")
    assert (long.status, long.code) == (400, "MetadataTooLarge")
    latin = daemon.ask("PUT", f"/object/{key}", {"x-amz-meta-latin": "\xfc"}, b"x")
    assert (latin.status, latin.code) == (400, "InvalidArgument")
    assert daemon.ask("GET", f"/object/{key}").status == 404


def test_a_length_over_any_object(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, 10**15))
        answer = wire.answer()
        assert (answer.status, answer.code) == (413, "EntityTooLarge")
