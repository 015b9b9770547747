"""What fuzzing begins with besides the corpus: the table of smuggling cases, in several manners."""

from __future__ import annotations

from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN

_NEXT = b"GET /object/a HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED = b"PUT /object/c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_MANNERS = (b"~~~~@", b"~~~~A", b"\0\0\0\0I", b"\x1c~\6~J", b"\3\2@~D")
_OTHERS = (
    b"",
    _NEXT + _NEXT.replace(b"GET", b"HEAD") + _NEXT.replace(b"GET", b"DELETE") + _NEXT,
    _NEXT.replace(b"\r\n\r\n", b"\r\nRange: bytes=2-4\r\nConnection: close\r\n\r\n") + _NEXT,
    _NEXT.replace(b"\r\n\r\n", b"\r\nIf-None-Match: *\r\n\r\n") + _NEXT.replace(b"1.1", b"1.0"),
    b"PUT /object/b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    b"PUT /object/- HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde" + _NEXT,
    b"PUT /object/b HTTP/1.1\r\nHost: h\r\nX-Amz-Copy-Source: /object/a\r\n\r\n" + _NEXT,
    b"PUT /object/b HTTP/1.1\r\nHost: h\r\nContent-MD5: AAAA\r\nContent-Length: 5\r\n\r\nabcde",
    b"GET /object?prefix=a&limit=1 HTTP/1.1\r\nHost: h\r\n\r\n" + _NEXT,
    b"GET /bucket/key HTTP/1.1\r\nHost: s3.example.org\r\n\r\n" + _NEXT,
    b"GET /key HTTP/1.1\r\nHost: bucket.s3.example.org\r\nAuthorization: AWS a:b\r\n\r\n" + _NEXT,
    b"GET /object/a?X-Amz-Signature=1 HTTP/1.1\r\nHost: h\r\n\r\n" + _NEXT,
    b"GET /object/a HTTP/1.1\r\nHost: h\r\nX-A: \xfe\xfe\r\nX-B: \xfe\r\n\r\n" + _NEXT,
    b"GET /object/a HTTP/1.1\r\nHost: h\r\nX-A: \xfe\xfe\r\n\r\n" + _NEXT,
    _CHUNKED + b"3;\xfe\r\nabc\r\n0\r\n\r\n" + _NEXT,
    _CHUNKED + b"157c\r\n\xfe\r\n0\r\nX-A: \xfe\xfe\r\n\r\n" + _NEXT,
    _CHUNKED + b"0\r\nX-A: \xfe\xfe\r\nX-B: \xfe\r\n\r\n" + _NEXT,
    b"GET /a HTTP/1.1\r\nX-A: b\r\nHost: h\r\nx-a: c\r\nX-A:\r\n\r\n" + _NEXT,
    b"POST /handed HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + _NEXT,
)


def seeds() -> list[bytes]:
    """Inputs, as `tests.fuzz.targets` has them."""
    cases = [data for data, _ in [*HEADS.values(), *TAKEN.values()]]
    cases += [_CHUNKED + each for each in CHUNKS.values()]
    short = [each for each in cases if len(each) < 2_000]
    found = [manner + each + _NEXT for each in short for manner in _MANNERS]
    manners = [*_MANNERS, *(each[:4] + bytes([each[4] | 16]) for each in _MANNERS)]
    return found + [manner + each for each in _OTHERS for manner in manners]
