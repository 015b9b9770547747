"""What fuzzing begins with besides the corpus: the table of smuggling cases, in several manners."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

from tests.fuzz.signing import RIGHT, TIMESTAMP, WRONG
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN

_NEXT = b"GET /object/a HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED = b"PUT /object/c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_MANNERS = (b"~~~~@", b"~~~~A", b"\0\0\0\0I", b"\x1c~\6~J", b"\3\2@~D")
_BY_TLS = (b"~~~~`", b"\x1c~\6~j", b"\0\0\0\0i")
_DATE = b"x-amz-date: " + TIMESTAMP + b"\r\n"
_UNSIGNED = b"x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"
_FIVE = b"Content-Length: 5\r\n"
_AWS_CHUNKED = (
    b"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
    b"Content-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 5\r\n"
    b"x-amz-trailer: x-amz-checksum-crc32\r\n"
)
_CHECKED = b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:hYfYZQ==\r\n\r\n"
_DIGEST = b"x-amz-content-sha256: " + sha256(b"abcde").hexdigest().encode() + b"\r\n"
_LENGTH = b"Content-Length: %d\r\n" % len(_CHECKED)
_WITHIN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_CHECKED), _CHECKED)
_CODING = b"Transfer-Encoding: chunked\r\n"


def _signed(verb: bytes, target: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """A request with a place for its signature, in the header or in the target."""
    authorization = b"" if RIGHT in target or WRONG in target else b"Authorization: \xfd\r\n"
    told = lines or (_UNSIGNED,)
    head = (verb, b" ", target, b" HTTP/1.1\r\nHost: h\r\n", authorization, _DATE, *told, b"\r\n")
    return b"".join(head) + body


# What is right, and its status; each begins on the store as it is at first.
SIGNED: dict[str, tuple[bytes, int]] = {
    "an object": (_signed(b"GET", b"/object/a"), 200),
    "a part of it": (_signed(b"GET", b"/object/a", _UNSIGNED, b"Range: bytes=2-4\r\n"), 206),
    "its head": (_signed(b"HEAD", b"/object/a"), 200),
    "a put": (
        _signed(b"PUT", b"/object/b/c", _UNSIGNED, _FIVE, b"x-amz-meta-a: b  c\r\n", body=b"abcde"),
        200,
    ),
    "a put with its digest": (
        _signed(b"PUT", b"/object/b", _DIGEST, _FIVE, body=b"abcde"),
        200,
    ),
    "a put with another digest": (
        _signed(b"PUT", b"/object/b", _DIGEST, _FIVE, body=b"abcdf"),
        400,
    ),
    "chunks in a body": (
        _signed(b"PUT", b"/object/b", _AWS_CHUNKED, _LENGTH, body=_CHECKED),
        200,
    ),
    "chunks in chunks": (
        _signed(
            b"PUT",
            b"/object/b",
            _AWS_CHUNKED,
            _CODING,
            body=_WITHIN_CHUNKS,
        ),
        200,
    ),
    "a delete": (_signed(b"DELETE", b"/object/a"), 204),
    "a copy": (_signed(b"PUT", b"/object/b", _UNSIGNED, b"x-amz-copy-source: object/a\r\n"), 200),
    "a listing": (_signed(b"GET", b"/object?list-type=2&prefix="), 200),
    "a bucket": (_signed(b"PUT", b"/new"), 200),
    "an upload": (_signed(b"POST", b"/object/b?uploads"), 200),
    "tags": (_signed(b"GET", b"/object/a?tagging"), 200),
    "presigned": (_signed(b"GET", b"/object/a?\xfd"), 200),
    "presigned, and more": (
        _signed(b"GET", b"/object/a?response-content-type=a%2Fb&\xfd", b"Range: bytes=-1\r\n"),
        206,
    ),
    "a presigned put": (_signed(b"PUT", b"/object/b?\xfd", _FIVE, body=b"abcde"), 200),
    "wrong": (_signed(b"GET", b"/object/a").replace(RIGHT, WRONG), 403),
    "presigned wrong": (_signed(b"GET", b"/object/a?\xfc"), 403),
    "a wrong put": (
        _signed(b"PUT", b"/object/b", _UNSIGNED, _FIVE, body=b"abcde").replace(RIGHT, WRONG),
        403,
    ),
}
_PAGES = (
    b"health",
    b"ready",
    b"nodes",
    b"ring?key=a",
    b"repair",
    b"metrics",
    b"explain?key=a",
    b"x",
)
_ACT = b"POST /-/nodes/n1/weight?to=2 HTTP/1.1\r\nHost: h\r\n"
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
    b"".join(b"GET /-/%b HTTP/1.1\r\nHost: h\r\n\r\n" % each for each in _PAGES) + _NEXT,
    _ACT + b"\r\n" + _NEXT,
    _ACT + b"Authorization: Bearer token\r\n\r\n" + _NEXT,
    _ACT + b"Authorization: Bearer token\r\nContent-Length: 5\r\n\r\nabcde" + _NEXT,
)


def seeds() -> list[bytes]:
    """Inputs, as `tests.fuzz.targets` has them."""
    cases = [data for data, _ in [*HEADS.values(), *TAKEN.values()]]
    cases += [_CHUNKED + each for each in CHUNKS.values()]
    short = [each for each in cases if len(each) < 2_000]
    found = [manner + each + _NEXT for each in short for manner in _MANNERS]
    manners = [*_MANNERS, *(each[:4] + bytes([each[4] | 16]) for each in _MANNERS)]
    manners += _BY_TLS
    found += [manner + each for each in _OTHERS for manner in manners]
    signed = [each for each, _ in SIGNED.values()]
    signed += [each + after for each, after in pairwise(signed)]
    manners = [_MANNERS[0], *_MANNERS[2:], *_BY_TLS]
    return found + [manner + each + _NEXT for each in signed for manner in manners]
