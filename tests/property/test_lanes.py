"""Both lanes, given the same bytes: the same requests, the same answers."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.conversation import Manner, converse
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN

_CASES = [data for data, _ in [*HEADS.values(), *TAKEN.values()]]
_HEAD = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_WHOLE = [*_CASES, *(_HEAD + each for each in CHUNKS.values())]
_BITS = (
    *(b"GET /a HTTP/1.1\r\n", b"PUT /handed HTTP/1.1\r\n", b"PUT /a HTTP/1.0\r\n"),
    *(b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"X-A: b\r\n", b"Expect: 100-continue\r\n"),
    *(b"\r\n", b"\n", b"\r", b" ", b":", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"abcde", b"\0"),
)
PIECES = st.lists(st.one_of(st.sampled_from(_WHOLE), st.sampled_from(_BITS)), max_size=12)


@given(PIECES, st.lists(st.integers(1, 200), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
@example(_WHOLE[:3], [100_000])
def test_nobody_can_tell_the_lanes_apart(pieces: list[bytes], sizes: list[int]) -> None:
    data, manner = b"".join(pieces), Manner(sizes)
    standard = converse("standard", data, manner)
    assert converse("express", data, manner) == standard
    assert standard.seen == converse("standard", data, Manner()).seen
