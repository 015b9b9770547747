"""Signatures for fuzzed requests: right whatever became of the request.

Nobody finds a signature by chance. So an input has a byte where one is to be, and it is put in
when all else is known: 253 for one that is right, 252 for one that is wrong in its last digit, as
the value of Authorization or among the parameters of a target.

It shares nothing with aosd's own (`aosd.doors.s3.canonical`), and signs the target as it is spelt.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

ACCESS_KEY = "access"
SECRET_KEY = "secret"
RIGHT, WRONG = b"\xfd", b"\xfc"
TIMESTAMP = b"20231114T221320Z"
_DAY = TIMESTAMP[:8]
_SCOPE = _DAY + b"/us-east-1/s3/aws4_request"
_CREDENTIAL = ACCESS_KEY.encode() + b"/" + _SCOPE
_UNSIGNED = b"UNSIGNED-PAYLOAD"
_MOST = 8
_PLACE = re.compile(rb"\nauthorization:[ \t]*([\xfc\xfd])\r\n|[?&]([\xfc\xfd])[& ]", re.IGNORECASE)
_FIRST_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_SIGNED = (b"host", b"content-type", b"content-md5", b"range", b"x-amz-")
_PARAMETERS = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256",
    b"X-Amz-Credential=" + _CREDENTIAL.replace(b"/", b"%2F"),
    b"X-Amz-Date=" + TIMESTAMP,
    b"X-Amz-Expires=60",
)


def sign(data: bytes) -> bytes:
    """The stream with its first signatures in their places."""
    for _ in range(_MOST):
        place = _PLACE.search(data)
        if place is None:
            break
        at = place.start(place.lastindex or 0)
        mark = data[at : at + 1]
        # Where its head begins, behind whatever body, and where it ends.
        begin = max(0, data.rfind(b"\r\n\r\n", 0, at))
        heads = [each for each in _FIRST_LINE.finditer(data, begin) if each.start() < at]
        end = data.find(b"\r\n\r\n", at)
        given = b"none"
        if heads and end >= 0:
            verb, target = heads[-1].groups()
            lines = data[heads[-1].end() : end].split(b"\r\n")
            given = _in_header(verb, target, lines) if place[1] else _in_query(verb, target, lines)
        if mark == WRONG:
            given = given[:-1] + (b"0" if given[-1:] != b"0" else b"1")
        data = data[:at] + given + data[at + 1 :]
    return data


def _in_header(verb: bytes, target: bytes, lines: list[bytes]) -> bytes:
    headers = _headers(lines)
    signed = sorted(each for each in headers if each.startswith(_SIGNED))
    payload = headers.get(b"x-amz-content-sha256", _UNSIGNED)
    path, _, query = target.partition(b"?")
    signature = _signature(verb, path, query.split(b"&"), headers, signed, payload)
    return b"AWS4-HMAC-SHA256 Credential=%b, SignedHeaders=%b, Signature=%b" % (
        *(_CREDENTIAL, b";".join(signed)),
        signature,
    )


def _in_query(verb: bytes, target: bytes, lines: list[bytes]) -> bytes:
    headers = _headers(lines)
    signed = sorted(each for each in headers if each.startswith(_SIGNED))
    path, _, query = target.partition(b"?")
    names = b"X-Amz-SignedHeaders=" + b"%3B".join(signed)
    others = [each for each in query.split(b"&") if each not in (RIGHT, WRONG)]
    pairs = [*others, *_PARAMETERS, names]
    signature = _signature(verb, path, pairs, headers, signed, _UNSIGNED)
    return b"&".join([*_PARAMETERS, names, b"X-Amz-Signature=" + signature])


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), b" ".join(value.split())
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _signature(
    verb: bytes,
    path: bytes,
    pairs: list[bytes],
    headers: dict[bytes, bytes],
    signed: list[bytes],
    payload: bytes,
) -> bytes:
    named = sorted(tuple(each.partition(b"=")[::2]) for each in pairs if each)
    query = b"&".join(b"=".join(each) for each in named)
    lines = b"".join(b"%b:%b\n" % (each, headers[each]) for each in signed)
    request = b"\n".join((verb, path, query, lines, b";".join(signed), payload))
    key = b"AWS4" + SECRET_KEY.encode()
    for each in _SCOPE.split(b"/"):
        key = hmac.digest(key, each, "sha256")
    told = (b"AWS4-HMAC-SHA256", TIMESTAMP, _SCOPE, sha256(request).hexdigest().encode())
    return hmac.digest(key, b"\n".join(told), "sha256").hex().encode()
