"""Both lanes: the same answers, on the same connection, by TLS too."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from tests.conftest import LANES, NAMES
from tests.integration.bodies import MIB, body
from tests.integration.clients.certificates import Authority
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.processes import free_port
from tests.integration.wire import Wire, chunk, head

# What differs from one request to the next, whichever lane it takes.
_OWN = re.compile(
    rb"^(?:date|last-modified|x-amz-request-id):[^\r]*\r\n"
    rb'|"request_id": "\w+"|<RequestId>\w+</RequestId>|"last_modified": "[^"]*"',
    re.MULTILINE,
)
_LONG = body(3 * MIB)
_RANGES = ("bytes=0-0", "bytes=-5", "bytes=7-", "bytes=99-", "bytes=0-1,3-4", "lines=1")
_CHUNKS = chunk(b"abc") + chunk(b"defg") + b"0\r\nx-trailer: 1\r\n\r\n"

# Verb, target, headers and body: one after the other on a store of its own names.
_TALK: list[tuple[str, str, dict[str, str], bytes | None]] = [
    ("GET", "/object/lanes1", {}, None),
    (
        "PUT",
        "/object/lanes1",
        {"Content-Type": "text/plain", "x-amz-meta-Who": "me"},
        b"0123456789",
    ),
    ("GET", "/object/lanes1", {}, None),
    ("HEAD", "/object/lanes1", {}, None),
    *(("GET", "/object/lanes1", {"Range": each}, None) for each in _RANGES),
    ("GET", "/object/lanes1", {"If-None-Match": '"781e5e245d69b566979b86e28d23f2c7"'}, None),
    ("HEAD", "/object/lanes1", {"If-Match": '"another"'}, None),
    ("GET", "/object/lanes1?a=b", {"Connection": "keep-alive"}, None),
    ("PUT", "/object/lanes1", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, b"0123456789"),
    ("PUT", "/object/lanes1", {"If-None-Match": "*"}, b"x"),
    ("PUT", "/object/lanes1", {"x-amz-meta-aos-x": "1"}, b"x"),
    ("PUT", "/object/lanes2", {}, b""),
    ("PUT", "/object/lanes2", {}, None),
    ("GET", "/object/lanes2", {}, None),
    ("PUT", "/object/lanes3", {}, _LONG),
    ("GET", "/object/lanes3", {}, None),
    ("GET", "/object/lanes3", {"Range": "bytes=1000000-2999999"}, None),
    ("PUT", "/object/lanes4", {"Transfer-Encoding": "chunked"}, _CHUNKS),
    ("GET", "/object/lanes4", {}, None),
    ("GET", "/object?prefix=lanes", {}, None),
    ("HEAD", "/object", {}, None),
    ("GET", "/object/not-an-id", {}, None),
    ("POST", "/object/lanes1", {}, b"x"),
    ("BREW", "/object/lanes1", {}, None),
    ("OPTIONS", "/object/lanes1", {"Access-Control-Request-Method": "PUT"}, None),
    ("GET", "/bucket/key", {}, None),
    ("GET", "/bucket/key?acl", {}, None),
    ("PUT", "/bucket/key?versionId=1", {}, b"x"),
    ("GET", "/bucket/%ff", {}, None),
    ("GET", "/bucket/%ff?x=1", {}, None),
    ("GET", "/", {}, None),
    ("GET", "/object/lanes1", {"Authorization": "AWS4-HMAC-SHA256 x"}, None),
    ("GET", "/object/lanes1?X-Amz-Signature=x", {}, None),
    ("GET", "/-/health", {}, None),
    ("GET", "/-/nothing", {}, None),
    ("GET", "/object/lanes1", {"Connection": "close"}, None),
    *(("DELETE", f"/object/lanes{number}", {}, None) for number in range(1, 6)),
    ("GET", "/object/lanes1", {}, None),
]


def _said(daemon: Daemon) -> list[tuple[str, list[bytes], bytes]]:
    """What a daemon answers to all of it, but for what is each answer's own."""
    told = []
    for verb, target, headers, data in _TALK:
        with Wire(daemon.port) as wire:
            length = None if data is None or "Transfer-Encoding" in headers else len(data)
            wire.send(head(verb, target, headers, length))
            if data:
                wire.send(data)
            answer = wire.answer(verb)
            lines = _OWN.sub(b"", answer.raw_head + b"\r\n").split(b"\r\n")
            told.append((f"{verb} {target} {headers}", sorted(lines), _OWN.sub(b"", answer.body)))
    return told


def test_nobody_can_tell_the_lanes_apart(other_nodes: list[RealNode], tmp_path: Path) -> None:
    nodes_file = write_nodes_file(tmp_path / "nodes.toml", other_nodes)
    found = []
    for lane, flag in LANES.items():
        with running_daemon(tmp_path / lane, nodes_file, flag, up=NAMES) as daemon:
            found.append(_said(daemon))
            counted = daemon.metric("aosd_lane_requests_total", lane="express")
            assert (counted > 30) == (lane == "express")
    express, standard = found
    for one, other in zip(express, standard, strict=True):
        assert one == other


def test_requests_of_both_lanes_in_one_piece_are_answered_in_order(
    daemon: Daemon, key: str
) -> None:
    data = body(100_000)
    chunked = head("PUT", f"/object/{key}", {"Transfer-Encoding": "chunked"})
    asked: list[tuple[bytes, str, int]] = [
        (head("PUT", f"/object/{key}", None, len(data)) + data, "PUT", 201),
        (head("GET", f"/object/{key}"), "GET", 200),
        (head("GET", f"/object?prefix={key}"), "GET", 200),
        (head("HEAD", f"/object/{key}"), "HEAD", 200),
        (chunked + chunk(b"abc") + b"0\r\n\r\n", "PUT", 201),
        (head("GET", f"/object/{key}"), "GET", 200),
        (head("GET", "/-/health"), "GET", 200),
        (head("DELETE", f"/object/{key}"), "DELETE", 204),
        (head("GET", f"/object/{key}"), "GET", 404),
    ]
    with Wire(daemon.port, 30.0) as wire:
        for _ in range(5):
            wire.send(b"".join(raw for raw, _, _ in asked))
            bodies = []
            for _, verb, status in asked:
                answer = wire.answer(verb)
                assert answer.status == status
                bodies.append(answer.body)
            assert bodies[1] == data
            assert bodies[5] == b"abc"


def test_by_tls_too(other_nodes: list[RealNode], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", ["127.0.0.1"], ["localhost"])
    port = free_port()
    endpoint = (
        f"--http=ssl:{port}:interface=127.0.0.1"
        f":privateKey={authority.key}:certKey={authority.certificate}"
    )
    nodes_file = write_nodes_file(tmp_path / "nodes.toml", other_nodes)
    context = ssl.create_default_context(cafile=str(authority.ca))
    # As clients of urllib3 and Go say: without a common one there is no connection.
    context.set_alpn_protocols(["h2", "http/1.1"])
    target = "/object/bytls"
    with running_daemon(
        tmp_path / "daemon", nodes_file, "--express=true", endpoint, up=NAMES
    ) as daemon:
        with Wire(port, 30.0) as wire:
            wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
            for _ in range(3):
                wire.send(head("PUT", target, {"Expect": "100-continue"}, len(_LONG)))
                assert wire.read_head() == b"HTTP/1.1 100 Continue"
                wire.send(_LONG)
                assert wire.answer("PUT").status == 201
                wire.send_request("GET", target)
                assert wire.answer("GET").body == _LONG
                wire.send_chunks("PUT", target, [b"abc", b"de"])
                assert wire.answer("PUT").status == 201
                wire.send_request("GET", "/object?prefix=bytls")
                assert [each["size"] for each in wire.answer("GET").json["objects"]] == [5]
                wire.send_request("GET", target)
                assert wire.answer("GET").body == b"abcde"
            wire.send_request("GET", target, {"Connection": "close"})
            assert wire.answer("GET").body == b"abcde"
            assert wire.is_over()
        # Refused, with much behind it: the answer and TLS's goodbye come all the same.
        with Wire(port, 30.0) as wire:
            wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
            wire.send(head("PUT", target, {"Host": "other"}, len(_LONG)) + _LONG[:700_000])
            assert wire.answer("PUT").status == 400
            assert wire.ends_well()
        assert daemon.metric("aosd_lane_requests_total", lane="express") >= 10
