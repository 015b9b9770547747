"""The plain door on real nodes: objects go in and come back, as docs/plain-door.md says."""

from __future__ import annotations

import gzip
import subprocess
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from hashlib import md5, sha256
from pathlib import Path

import pytest

from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon
from tests.integration.nodes import BUCKET, RealNode
from tests.integration.wire import Wire, ask_chunked

BOTH_LANES = "daemon"
SIZES = [0, 1, KIB, MIB, MIB + 1, 3 * MIB]
CHUNKED_SIZES = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB]


def primaries_of(daemon: Daemon, nodes: list[RealNode], key: str) -> list[RealNode]:
    names = daemon.order(key)[:2]
    return [node for node in nodes if node.name in names]


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_back(daemon: Daemon, key: str, size: int) -> None:
    data = body(size)
    etag = f'"{md5(data, usedforsecurity=False).hexdigest()}"'
    stored = daemon.ask("PUT", f"/object/{key}", {}, data)
    assert stored.status == 201
    assert stored.headers["content-type"] == "application/json"
    assert stored.json == {"id": key, "etag": etag, "size": size}
    assert stored.headers["etag"] == etag

    read = daemon.ask("GET", f"/object/{key}")
    assert read.status == 200
    assert read.body == data
    assert read.headers["etag"] == etag
    assert read.headers["accept-ranges"] == "bytes"
    assert read.headers["content-type"] == "application/octet-stream"
    modified_s = parsedate_to_datetime(read.headers["last-modified"]).timestamp()
    assert abs(modified_s - time.time()) < 60

    seen = daemon.ask("HEAD", f"/object/{key}")
    assert seen.status == 200
    about = ("etag", "last-modified", "content-length", "content-type", "accept-ranges")
    assert [seen.headers[name] for name in about] == [read.headers[name] for name in about]

    assert daemon.ask("DELETE", f"/object/{key}").status == 204
    gone = daemon.ask("GET", f"/object/{key}")
    assert (gone.status, gone.code) == (404, "NoSuchKey")
    assert daemon.ask("HEAD", f"/object/{key}").status == 404
    assert daemon.ask("DELETE", f"/object/{key}").status == 204


@pytest.mark.parametrize("size", CHUNKED_SIZES)
def test_chunked_bodies_of_any_length(daemon: Daemon, key: str, size: int) -> None:
    data = body(size)
    stored = ask_chunked(daemon.port, f"/object/{key}", pieces(data))
    assert stored.status == 201
    assert stored.json["size"] == size
    assert ("-" in stored.json["etag"]) == (size > 8 * MIB)
    read = daemon.ask("GET", f"/object/{key}")
    assert read.body == data
    assert read.headers["etag"] == stored.json["etag"]


def test_chunks_of_one_byte_and_chunk_extensions(daemon: Daemon, key: str) -> None:
    with Wire(daemon.port) as wire:
        wire.send(
            f"PUT /object/{key} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        wire.send(b'1;name=value\r\na\r\n01\r\nb\r\n1;x="y"\r\nc\r\n0\r\n\r\n')
        assert wire.answer().status == 201
    assert daemon.ask("GET", f"/object/{key}").body == b"abc"


def test_an_object_lies_on_its_primaries_as_a_plain_object(
    daemon: Daemon, nodes: list[RealNode], key: str
) -> None:
    daemon.ask("PUT", f"/object/{key}", {"Content-Type": "text/x-test"}, b"as it is")
    primaries = primaries_of(daemon, nodes, key)
    assert [node for node in nodes if key in node.stored_keys()] == primaries
    assert len(primaries) == 2
    stamps = set()
    for node in primaries:
        found = node.client().get_object(bucket_name=BUCKET, object_name=key)
        assert found.data == b"as it is"
        assert found.headers["Content-Type"] == "text/x-test"
        stamps.add(found.headers["x-amz-meta-aos-stamp"])
    assert len(stamps) == 1
    # Nothing stays in the place of what is deleted.
    assert daemon.ask("DELETE", f"/object/{key}").status == 204
    assert not any(key in node.stored_keys() for node in nodes)


def test_headers_are_kept_and_metadata_leaves_in_lower_case(daemon: Daemon, key: str) -> None:
    kept = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Language": "de, en",
        "Content-Disposition": 'attachment; filename="a b.txt"',
        "Cache-Control": "max-age=60",
        "Expires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "X-Amz-Meta-Who": "Anna",
        "x-AMZ-meta-two-words": "one  two",
    }
    assert daemon.ask("PUT", f"/object/{key}", kept, b"x").status == 201
    for verb in ("GET", "HEAD"):
        answer = daemon.ask(verb, f"/object/{key}")
        for name, value in kept.items():
            assert answer.headers[name.lower()] == value
        # As the bytes are on the wire: S3 clients take the names' case as it comes.
        assert b"\r\nx-amz-meta-who: Anna" in answer.raw_head
        assert b"\r\nx-amz-meta-two-words: one  two" in answer.raw_head
        assert b"aos-stamp" not in answer.raw_head.lower()


def test_replacing_an_object_replaces_its_headers(daemon: Daemon, key: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {"x-amz-meta-a": "1", "Content-Type": "a/b"}, b"old")
    daemon.ask("PUT", f"/object/{key}", {}, b"new")
    read = daemon.ask("GET", f"/object/{key}")
    assert read.body == b"new"
    assert "x-amz-meta-a" not in read.headers
    assert read.headers["content-type"] == "application/octet-stream"


def test_metadata_that_is_aosds_own_is_refused(daemon: Daemon, key: str) -> None:
    answer = daemon.ask("PUT", f"/object/{key}", {"X-Amz-Meta-Aos-Stamp": "0"}, b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert daemon.ask("GET", f"/object/{key}").status == 404


def test_gzip_objects_come_back_untouched(daemon: Daemon, nodes: list[RealNode], key: str) -> None:
    packed = gzip.compress(b"plain text " * 10_000, mtime=0)
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    daemon.ask("PUT", f"/object/{key}", headers, packed)
    for accepted in ({}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}):
        read = daemon.ask("GET", f"/object/{key}", accepted)
        assert read.body == packed
        assert read.headers["content-encoding"] == "gzip"
        assert read.headers["content-length"] == str(len(packed))
    part = daemon.ask("GET", f"/object/{key}", {"Range": "bytes=10-19"})
    assert part.body == packed[10:20]
    for node in primaries_of(daemon, nodes, key):
        assert node.client().get_object(BUCKET, key).read(decode_content=False) == packed


def test_content_md5_and_sha256_that_are_right(daemon: Daemon, key: str) -> None:
    for size in (KIB, 3 * MIB):
        data = body(size)
        headers = {
            "Content-MD5": b64encode(md5(data, usedforsecurity=False).digest()).decode(),
            "x-amz-content-sha256": sha256(data).hexdigest(),
        }
        assert daemon.ask("PUT", f"/object/{key}", headers, data).status == 201
        assert ask_chunked(daemon.port, f"/object/{key}", pieces(data), headers).status == 201


def test_curl_puts_and_gets(daemon: Daemon, key: str, tmp_path: Path) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(body(9 * MIB))
    url = f"http://127.0.0.1:{daemon.port}/object/{key}"
    for how in (["-T", str(sent)], ["-H", "Transfer-Encoding: chunked", "-T", str(sent)]):
        subprocess.run(["curl", "-sSf", *how, url], check=True, capture_output=True, timeout=60)
        subprocess.run(["curl", "-sSf", "-o", str(got), url], check=True, timeout=60)
        assert got.read_bytes() == sent.read_bytes()


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=3-6", 3, 6),
        ("bytes=5-", 5, 9),
        ("bytes=-4", 6, 9),
        ("bytes=-400", 0, 9),
        ("bytes=8-400", 8, 9),
        ("Bytes= 2-3", 2, 3),
    ],
)
def test_one_range(daemon: Daemon, key: str, asked: str, first: int, last: int) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"0123456789")
    part = daemon.ask("GET", f"/object/{key}", {"Range": asked})
    assert part.status == 206
    assert part.body == b"0123456789"[first : last + 1]
    assert part.headers["content-range"] == f"bytes {first}-{last}/10"
    assert part.headers["etag"]
    seen = daemon.ask("HEAD", f"/object/{key}", {"Range": asked})
    assert (seen.status, seen.headers["content-length"]) == (200, "10")


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=", "bytes=x-y", "bytes=-"]
)
def test_what_is_no_single_range_gets_the_whole(daemon: Daemon, key: str, asked: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"0123456789")
    whole = daemon.ask("GET", f"/object/{key}", {"Range": asked})
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert "content-range" not in whole.headers


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={10**30}-"])
def test_a_range_outside_the_object(daemon: Daemon, key: str, asked: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"0123456789")
    refused = daemon.ask("GET", f"/object/{key}", {"Range": asked})
    assert (refused.status, refused.code) == (416, "InvalidRange")
    assert refused.headers["content-range"] == "bytes */10"


def test_any_range_of_an_empty_object_is_outside(daemon: Daemon, key: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"")
    for asked in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        refused = daemon.ask("GET", f"/object/{key}", {"Range": asked})
        assert (refused.status, refused.headers["content-range"]) == (416, "bytes */0")


def test_ranges_of_an_object_in_parts(daemon: Daemon, key: str) -> None:
    data = body(17 * MIB)
    ask_chunked(daemon.port, f"/object/{key}", pieces(data))
    for first, last in ((8 * MIB - 5, 8 * MIB + 5), (0, 16 * MIB), (16 * MIB + 1, 17 * MIB - 1)):
        part = daemon.ask("GET", f"/object/{key}", {"Range": f"bytes={first}-{last}"})
        assert part.status == 206
        assert part.body == data[first : last + 1]


def test_every_answer_has_a_request_id_of_its_own(daemon: Daemon, key: str) -> None:
    seen = set()
    for verb, target in (
        ("PUT", f"/object/{key}"),
        ("GET", f"/object/{key}"),
        ("HEAD", f"/object/{key}"),
        ("GET", "/object"),
        ("DELETE", f"/object/{key}"),
        ("GET", f"/object/{key}"),
        ("GET", "/object/a.b"),
        ("GET", "/elsewhere"),
        ("POST", "/object"),
        ("GET", "/-/health"),
    ):
        answer = daemon.ask(verb, target, {}, b"x" if verb == "PUT" else None)
        seen.add(answer.headers["x-amz-request-id"])
        if answer.status >= 400:
            assert answer.code
    assert len(seen) == 10
