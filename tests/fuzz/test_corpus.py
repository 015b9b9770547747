"""The kept corpus, without atheris; and the second reader, by the table of smuggling cases."""

from __future__ import annotations

import pytest

from tests.fuzz.behind import StoreInMemory
from tests.fuzz.conversation import Manner, converse
from tests.fuzz.corpus import KEPT, kept
from tests.fuzz.reading import answers, read
from tests.fuzz.seeds import SIGNED, seeds
from tests.fuzz.signing import sign
from tests.fuzz.targets import TARGETS, opened
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN

_INPUTS = dict(kept())
_HEAD = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_holds(target: str) -> None:
    for name, data in _INPUTS.items():
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"{target} fails for {name}") from error


def test_the_corpus_is_small_and_fit_for_any_checkout() -> None:
    assert 100 < len(_INPUTS) < 500
    assert sum(map(len, _INPUTS.values())) < 500_000
    for name in _INPUTS:
        assert name.isascii()
        assert name.replace("-", "").isalnum()
        assert name == name.lower()
    assert all(each.is_file() for each in KEPT.iterdir())


def test_the_second_reader_agrees_with_the_table() -> None:
    for name, (data, status) in HEADS.items():
        stream = read(data + _NEXT)
        assert (stream.messages, stream.refusal) == ([], status), name
    for name, (data, _) in TAKEN.items():
        stream = read(data + _NEXT)
        assert ([each.whole for each in stream.messages], stream.refusal) == ([True] * 2, 0), name
    for name, data in CHUNKS.items():
        stream = read(_HEAD + data + _NEXT)
        assert [each.malformed for each in stream.messages] == [True], name


def test_the_second_reader_reads_bodies() -> None:
    long = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    chunked = _HEAD + b"3;x\r\nabc\r\n1\r\nd\r\n0\r\nX-A: b\r\n\r\n"
    found = read(long + chunked + long[:-1]).messages
    told = [(each.body, each.whole) for each in found]
    assert told == [(b"abc", True), (b"abcd", True), (b"ab", False)]


def test_answers_are_told_apart() -> None:
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 5\r\n\r\nab"
    )
    found = answers(data, iter([b"HEAD", b"GET", b"GET"]))
    assert [(each.status, each.body) for each in found] == [(200, b""), (200, b"abc"), (400, b"ab")]
    assert [(each.whole, each.closes) for each in found] == [(True, False)] * 2 + [(False, True)]


def test_seeds_are_of_both_kinds() -> None:
    behind = [opened(each)[2] for each in seeds()]
    assert len(set(behind)) == 2


@pytest.mark.parametrize("target", TARGETS)
def test_signed_requests_hold(target: str) -> None:
    for data, _ in SIGNED.values():
        # In one piece, and in odd ones by TLS to a slow client that stays.
        for manner in (b"~~~~@", b"\x1c~\6~j"):
            TARGETS[target](manner + data + _NEXT)


@pytest.mark.parametrize("lane", ["express", "standard"])
def test_what_is_signed_right_is_served(lane: str) -> None:
    for name, (data, status) in SIGNED.items():
        told = converse(lane, sign(data), Manner(), StoreInMemory)
        assert told.raw.startswith(b"HTTP/1.1 %d " % status), (name, told.raw)
        assert told.counted[0][0] == "s3", name
