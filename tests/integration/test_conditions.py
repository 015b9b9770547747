"""Conditional requests: on reads, and on writes that race for one key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from threading import Barrier

import pytest

from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.wire import Answer, ask, ask_chunked

WRITERS = 8
DATA = b"0123456789"


@dataclass(frozen=True)
class Stored:
    """An object, and the values that its validators can be compared with."""

    target: str
    words: Mapping[str, str]

    def headers(self, conditions: Mapping[str, str]) -> dict[str, str]:
        return {name: value.format(**self.words) for name, value in conditions.items()}


@pytest.fixture(scope="module")
def stored(daemon: Daemon) -> Stored:
    target = "/object/conditions"
    headers = {"Cache-Control": "max-age=9", "Content-Type": "text/x-test"}
    etag = daemon.ask("PUT", target, headers, DATA).json["etag"]
    modified = daemon.ask("HEAD", target).headers["last-modified"]
    modified_s = parsedate_to_datetime(modified).timestamp()
    words = {
        "same": etag,
        "other": '"00000000000000000000000000000000"',
        "before": formatdate(modified_s - 60, usegmt=True),
        "at": modified,
        "after": formatdate(modified_s + 60, usegmt=True),
    }
    return Stored(target, words)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": "{same}"}, 200),
        ({"If-Match": "{other}"}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Match": "{other}, {same}"}, 200),
        ({"If-Match": "W/{same}"}, 412),
        ({"If-None-Match": "{same}"}, 304),
        ({"If-None-Match": "W/{same}"}, 304),
        ({"If-None-Match": "{other}"}, 200),
        ({"If-None-Match": "{other}, {same}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": "{before}"}, 200),
        ({"If-Modified-Since": "{at}"}, 304),
        ({"If-Modified-Since": "{after}"}, 304),
        ({"If-Modified-Since": "no date"}, 200),
        ({"If-Unmodified-Since": "{before}"}, 412),
        ({"If-Unmodified-Since": "{at}"}, 200),
        ({"If-Unmodified-Since": "{after}"}, 200),
        ({"If-Unmodified-Since": "no date"}, 200),
        # RFC 9110, section 13.2.2: an ETag beats a date, a failure beats «not modified».
        ({"If-Match": "{same}", "If-Unmodified-Since": "{before}"}, 200),
        ({"If-Match": "{other}", "If-Unmodified-Since": "{after}"}, 412),
        ({"If-None-Match": "{other}", "If-Modified-Since": "{after}"}, 200),
        ({"If-None-Match": "{same}", "If-Modified-Since": "{before}"}, 304),
        ({"If-Match": "{same}", "If-None-Match": "{same}"}, 304),
        ({"If-Match": "{other}", "If-None-Match": "{same}"}, 412),
        ({"If-Unmodified-Since": "{before}", "If-None-Match": "{same}"}, 412),
        ({"If-Unmodified-Since": "{after}", "If-Modified-Since": "{after}"}, 304),
        ({"If-Match": "{same}", "If-Modified-Since": "{at}"}, 304),
        (
            {
                "If-Match": "{same}",
                "If-None-Match": "{other}",
                "If-Modified-Since": "{before}",
                "If-Unmodified-Since": "{at}",
            },
            200,
        ),
    ],
)
def test_reads(daemon: Daemon, stored: Stored, conditions: dict[str, str], status: int) -> None:
    headers = stored.headers(conditions)
    for verb in ("GET", "HEAD"):
        answer = daemon.ask(verb, stored.target, headers)
        assert answer.status == status
        if status == 200:
            assert verb == "HEAD" or answer.body == DATA
        if status == 304:
            assert answer.headers["etag"] == stored.words["same"]
            assert answer.headers["last-modified"] == stored.words["at"]
            assert answer.headers["cache-control"] == "max-age=9"
            assert "content-type" not in answer.headers
        if status == 412 and verb == "GET":
            assert answer.code == "PreconditionFailed"


@pytest.mark.parametrize("conditions", [{"If-Match": "*"}, {"If-None-Match": "*"}])
def test_reads_of_nothing_are_404(daemon: Daemon, key: str, conditions: dict[str, str]) -> None:
    assert daemon.ask("GET", f"/object/{key}", conditions).status == 404


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ("{same}", 206),
        ("{other}", 200),
        ("W/{same}", 200),
        ("{at}", 206),
        ("{before}", 200),
        ("{after}", 200),
        ("rubbish", 200),
    ],
)
def test_if_range(daemon: Daemon, stored: Stored, if_range: str, status: int) -> None:
    headers = stored.headers({"If-Range": if_range, "Range": "bytes=2-4"})
    answer = daemon.ask("GET", stored.target, headers)
    assert answer.status == status
    assert answer.body == (DATA[2:5] if status == 206 else DATA)


def test_a_condition_comes_before_the_range(daemon: Daemon, stored: Stored) -> None:
    for asked in ("bytes=0-1", "bytes=90-"):
        for condition, status in (("If-None-Match", 304), ("If-Match", 412)):
            etag = "{same}" if status == 304 else "{other}"
            headers = stored.headers({condition: etag, "Range": asked})
            assert daemon.ask("GET", stored.target, headers).status == status


# -- writes -----------------------------------------------------------------------------------


def put(daemon: Daemon, key: str, how: str, data: bytes, conditions: dict[str, str]) -> Answer:
    if how == "chunked":
        return ask_chunked(daemon.port, f"/object/{key}", pieces(data), conditions, 60.0)
    return ask(daemon.port, "PUT", f"/object/{key}", conditions, data, 60.0)


HOWS = pytest.mark.parametrize(
    ("how", "size"), [("held", KIB), ("flowing", 3 * MIB), ("chunked", 9 * MIB)]
)


@HOWS
def test_one_of_several_creators_wins(daemon: Daemon, key: str, how: str, size: int) -> None:
    bodies = [body(size, seed) for seed in range(WRITERS)]
    together = Barrier(WRITERS)

    def create(data: bytes) -> Answer:
        together.wait(30)
        return put(daemon, key, how, data, {"If-None-Match": "*"})

    with ThreadPoolExecutor(WRITERS) as threads:
        answers = list(threads.map(create, bodies))
    assert sorted(answer.status for answer in answers) == [201] + [412] * (WRITERS - 1)
    won = next(number for number, answer in enumerate(answers) if answer.status == 201)
    assert all(a.code == "PreconditionFailed" for n, a in enumerate(answers) if n != won)
    assert daemon.ask("GET", f"/object/{key}").body == bodies[won]


@HOWS
def test_one_of_several_updaters_wins(
    daemon: Daemon, nodes: list[RealNode], key: str, how: str, size: int
) -> None:
    etag = put(daemon, key, "held", b"first", {}).json["etag"]
    bodies = [body(size, seed) for seed in range(WRITERS)]
    together = Barrier(WRITERS)

    def update(data: bytes) -> Answer:
        together.wait(30)
        return put(daemon, key, how, data, {"If-Match": etag})

    with ThreadPoolExecutor(WRITERS) as threads:
        answers = list(threads.map(update, bodies))
    assert sorted(answer.status for answer in answers) == [201] + [412] * (WRITERS - 1)
    won = next(number for number, answer in enumerate(answers) if answer.status == 201)
    assert daemon.ask("GET", f"/object/{key}").body == bodies[won]
    assert [node.uploads(key) for node in nodes] == [[], [], []]


@HOWS
def test_conditions_on_writes(
    daemon: Daemon, nodes: list[RealNode], key: str, how: str, size: int
) -> None:
    data, other = body(size, 1), body(size, 2)
    for condition in ({"If-Match": "*"}, {"If-Match": '"0"'}):
        assert put(daemon, key, how, data, condition).status == 412
        assert daemon.ask("GET", f"/object/{key}").status == 404
    created = put(daemon, key, how, data, {"If-None-Match": "*"})
    assert created.status == 201
    assert put(daemon, key, how, other, {"If-None-Match": "*"}).status == 412
    assert put(daemon, key, how, other, {"If-Match": '"0"'}).status == 412
    assert daemon.ask("GET", f"/object/{key}").body == data
    updated = put(daemon, key, how, other, {"If-Match": created.json["etag"]})
    assert updated.status == 201
    assert put(daemon, key, how, data, {"If-Match": created.json["etag"]}).status == 412
    assert daemon.ask("GET", f"/object/{key}").body == other
    assert put(daemon, key, how, data, {"If-Match": "*"}).status == 201
    assert [node.uploads(key) for node in nodes] == [[], [], []]


def test_if_none_match_on_a_write_knows_only_the_star(daemon: Daemon, key: str) -> None:
    refused = daemon.ask("PUT", f"/object/{key}", {"If-None-Match": '"abc"'}, b"x")
    assert (refused.status, refused.code) == (400, "NotImplemented")


def test_plain_writes_of_one_key_leave_one_of_them_whole(daemon: Daemon, key: str) -> None:
    def writes() -> Iterator[tuple[str, bytes]]:
        for seed in range(WRITERS):
            yield ("held", "flowing", "chunked")[seed % 3], body(2 * MIB + seed, seed)

    sent = list(writes())
    with ThreadPoolExecutor(WRITERS) as threads:
        answers = list(threads.map(lambda each: put(daemon, key, each[0], each[1], {}), sent))
    assert [answer.status for answer in answers] == [201] * WRITERS
    read = daemon.ask("GET", f"/object/{key}")
    assert read.body in [data for _, data in sent]
    assert int(read.headers["content-length"]) == len(read.body)
