"""What botocore signs is accepted, and nothing else; framing comes off at any boundary."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.doors.s3.canonical import decoded as decoded_query
from aosd.doors.s3.canonical import signing_key, split_query
from aosd.doors.s3.chunks import decoded
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import ChunkKey, Payload, PayloadKind
from aosd.doors.s3.signature import Authentic, authenticate
from aosd.ports import IBodySink, IBodySource
from tests.framing import framed
from tests.signers import ACCESS_KEY, SECRET, Signed, in_header, presigned, secret_of

odd = st.sampled_from(list(" +%/&=?#~-._!*'();:@$,[]\\^`{|}\"<>éß漢🚀\u00a0\x7f\t\r\n\x00"))
texts = st.text(odd | st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.lists(texts, max_size=4).map("/".join)
queries = st.dictionaries(texts.filter(bool), texts, max_size=4)
values = st.text(
    # botocore folds what Unicode calls spaces; over the wire only ASCII's are.
    st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc", "Z"]) | st.just(" "),
    max_size=20,
)
metadata = st.dictionaries(
    st.text("abcxyz019-_", min_size=1, max_size=8).map("x-amz-meta-{}".format), values, max_size=4
)
verbs = st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"])
regions = st.text("abc-019", max_size=12)


def uri_of(key: str, query: dict[str, str], safe: str) -> str:
    """As clients spell it: with all of `safe` left as it is."""
    pairs = "&".join(
        f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query.items()
    )
    return "/bucket/" + quote(key, safe="/-._~" + safe) + (f"?{pairs}" if pairs else "")


uris = st.builds(uri_of, keys, queries, st.sampled_from(["", "", "+", "()!*'@,:=&$;"]))
headers_signed = st.builds(
    lambda verb, uri, headers, body, region: in_header(verb, uri, headers, body, region=region),
    verbs,
    uris,
    metadata,
    st.binary(max_size=5),
    regions,
)
urls_signed = st.builds(
    lambda verb, uri, headers, region: presigned(verb, uri, headers, region=region),
    verbs,
    uris,
    metadata,
    regions,
)


def verify(signed: Signed) -> Authentic | None:
    return authenticate(signed.verb, signed.uri, signed.headers, secret_of, signed.now_s)


def meaning(uri: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What a target asks for, however it is spelt."""
    path, _, query = uri.partition(b"?")
    pairs = [(decoded_query(name), decoded_query(value)) for name, value in split_query(query)]
    return unquote_to_bytes(path), sorted(pairs)


def changed(data: bytes, at: int, to: int) -> bytes:
    """`data` with another byte at some place."""
    at %= len(data)
    assume(data[at] != to)
    return data[:at] + bytes([to]) + data[at + 1 :]


@given(headers_signed)
def test_what_botocore_signs_in_the_header_is_accepted(signed: Signed) -> None:
    found = verify(signed)
    assert found is not None
    assert (found.access_key, found.presigned) == (ACCESS_KEY, False)
    assert found.payload.kind is PayloadKind.SHA256


@given(urls_signed)
def test_what_botocore_presigns_is_accepted(signed: Signed) -> None:
    found = verify(signed)
    assert found is not None
    assert (found.access_key, found.presigned) == (ACCESS_KEY, True)
    assert found.payload.kind is PayloadKind.UNSIGNED


@given(headers_signed | urls_signed, st.integers(0), st.integers(0x21, 0x7E))
def test_another_target_is_refused(signed: Signed, at: int, to: int) -> None:
    uri = b"/" + changed(signed.uri[1:], at, to)
    assume(meaning(uri) != meaning(signed.uri))
    with pytest.raises(S3Error):
        verify(signed._replace(uri=uri))


@given(headers_signed | urls_signed, st.integers(0), st.integers(0), st.integers(0x21, 0xFF))
def test_another_header_is_refused(signed: Signed, which: int, at: int, to: int) -> None:
    which %= len(signed.headers)
    name, value = signed.headers[which]
    assume(value)
    headers = list(signed.headers)
    headers[which] = name, changed(value, at, to)
    # An access key, the date, the names of signed headers, the signature: all of it counts.
    assume(_folded(headers[which][1]) != _folded(value))
    with pytest.raises(S3Error):
        verify(signed._replace(headers=headers))


def _folded(value: bytes) -> bytes:
    """What may be different: spaces after the commas of an Authorization header."""
    return b" ".join(value.split())


@given(headers_signed | urls_signed, verbs)
def test_another_verb_is_refused(signed: Signed, verb: str) -> None:
    assume(verb.encode() != signed.verb)
    with pytest.raises(S3Error):
        verify(signed._replace(verb=verb.encode()))


@given(headers_signed | urls_signed, st.integers(0, 63), st.sampled_from(b"0123456789abcdef"))
def test_another_signature_is_refused(signed: Signed, at: int, to: int) -> None:
    def change(text: bytes) -> bytes:
        start, end = text[:-64], text[-64:]
        return start + changed(end, at, to)

    headers = [
        (name, change(value) if name == b"authorization" else value)
        for name, value in signed.headers
    ]
    if headers == signed.headers:
        signed = signed._replace(uri=change(signed.uri))
    with pytest.raises(S3Error):
        verify(signed._replace(headers=headers))


@given(headers_signed | urls_signed, st.integers(0))
def test_a_header_less_is_refused(signed: Signed, which: int) -> None:
    which %= len(signed.headers)
    assume(signed.headers[which][0] != b"authorization")
    with pytest.raises(S3Error):
        verify(signed._replace(headers=signed.headers[:which] + signed.headers[which + 1 :]))


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_anything_else_is_refused_in_words(uri: bytes, value: bytes, digest: bytes) -> None:
    headers = [(b"host", b"x"), (b"x-amz-date", b"20260102T030405Z")]
    headers += [(b"authorization", b"AWS4-HMAC-SHA256 " + value), (b"x-amz-content-sha256", digest)]
    with pytest.raises(S3Error):
        authenticate(b"GET", uri, headers, secret_of, 1767323045.0)


# -- chunks -------------------------------------------------------------------------------------

KEY = ChunkKey(
    signing_key(SECRET, "20260102", "us-east-1"),
    "20260102T030405Z",
    "20260102/us-east-1/s3/aws4_request",
    "5" * 64,
)
pieces_of_a_body = st.lists(st.binary(min_size=1, max_size=300), max_size=6)
boundaries = st.lists(st.integers(1, 200), min_size=1, max_size=30)


@implementer(IBodySource)
class Network:
    """Gives a body in pieces of any size; stops at the end of one while it is paused."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.length = None
        self.discarded = False
        self._pieces: list[bytes] = []
        while data:
            for size in sizes:
                self._pieces.append(data[:size])
                data = data[size:]
        self._paused = False
        self._flowing = False
        self._ended = False
        self._sink: IBodySink | None = None

    def start(self, sink: IBodySink) -> None:
        self._sink = sink
        self.resume()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._flowing:
            return
        self._flowing = True
        assert self._sink is not None
        while self._pieces and not self._paused and not self.discarded:
            self._sink.body_data(self._pieces.pop(0))
        if not self._paused and not self.discarded and not self._ended:
            self._ended = True
            self._sink.body_ended()
        self._flowing = False

    def discard(self) -> None:
        self.discarded = True


@implementer(IBodySink)
class Sink:
    def __init__(self, each: Callable[[], object]) -> None:
        self.data = bytearray()
        self.ends: list[object] = []
        self._each = each

    def body_data(self, data: bytes) -> None:
        assert data
        assert not self.ends
        self.data += data
        self._each()

    def body_ended(self) -> None:
        self.ends.append(None)

    def body_failed(self, reason: Failure) -> None:
        self.ends.append(reason.value)


def taken(
    data: bytes, length: int, kind: PayloadKind, sizes: list[int], pauses: bool
) -> tuple[bytes, object, dict[bytes, bytes]]:
    """What comes out of a framed body, and how it ends."""
    key = KEY if kind.has_signed_chunks else None
    headers = [(b"x-amz-decoded-content-length", b"%d" % length), (b"x-amz-trailer", b"x-sum")]
    if not kind.has_trailers:
        del headers[1]
    network = Network(data, sizes)
    found = decoded(network, Authentic(ACCESS_KEY, Payload(kind), False, key), headers)
    sink = Sink(found.pause if pauses else lambda: None)
    found.start(sink)
    while pauses and not sink.ends:
        found.resume()
    [end] = sink.ends
    return bytes(sink.data), end, getattr(found, "trailers", {})


def framed_as(kind: PayloadKind, pieces: list[bytes], style: str) -> bytes:
    return framed(
        pieces,
        KEY if kind.has_signed_chunks else None,
        [("x-sum", "1234")] if kind.has_trailers else None,
        style,
    )


framed_kinds = st.sampled_from([kind for kind in PayloadKind if kind.is_framed])
styles = st.sampled_from(["aws", "minio"])


@given(pieces_of_a_body, framed_kinds, styles, boundaries, st.booleans())
def test_framing_comes_off_at_any_boundary(
    pieces: list[bytes], kind: PayloadKind, style: str, sizes: list[int], pauses: bool
) -> None:
    whole = b"".join(pieces)
    data = framed_as(kind, pieces, style)
    out, end, trailers = taken(data, len(whole), kind, sizes, pauses)
    assert (out, end) == (whole, None)
    assert trailers == ({b"x-sum": b"1234"} if kind.has_trailers else {})


@given(
    pieces_of_a_body,
    st.sampled_from([PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER]),
    st.integers(0),
    st.integers(0, 255),
    boundaries,
)
def test_a_changed_byte_is_noticed(
    pieces: list[bytes], kind: PayloadKind, at: int, to: int, sizes: list[int]
) -> None:
    whole = b"".join(pieces)
    data = framed_as(kind, pieces, "aws")
    out, end, trailers = taken(changed(data, at, to), len(whole), kind, sizes, pauses=False)
    # What isn't signed may be spelt otherwise, as long as it says the same.
    expected = {b"x-sum": b"1234"} if kind.has_trailers else {}
    assert isinstance(end, S3Error) or (out, trailers) == (whole, expected)


@given(st.binary(max_size=200), framed_kinds, boundaries)
def test_anything_ends_once(data: bytes, kind: PayloadKind, sizes: list[int]) -> None:
    out, end, _ = taken(data, 10, kind, sizes, pauses=False)
    assert isinstance(end, S3Error)
    assert len(out) <= 10
