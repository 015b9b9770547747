"""Bytes that two readers could take for different requests, and what is to come of them.

Each case is sent in one piece, with a request for `/-/health` behind it. What is refused must
be all that is answered; what passes is answered, and then that request is.
"""

from __future__ import annotations

_TARGET = b"/object/smuggled"
_CHUNKED = b"Transfer-Encoding: chunked"
HIDDEN = b"DELETE /object/kept HTTP/1.1\r\nHost: h\r\n\r\n"


def request(
    *lines: bytes,
    verb: bytes = b"PUT",
    target: bytes = _TARGET,
    version: bytes = b"HTTP/1.1",
    host: bytes | None = b"Host: h",
    body: bytes = b"",
) -> bytes:
    hosts = [] if host is None else [host]
    return b"\r\n".join([b" ".join((verb, target, version)), *hosts, *lines, b"", b""]) + body


def get(*lines: bytes, **others: bytes | None) -> bytes:
    return request(*lines, **({"verb": b"GET", "target": b"/-/health"} | others))  # type: ignore[arg-type]


# Refused before a door hears of them.
HEADS: dict[str, tuple[bytes, int]] = {
    name: (data, 400)
    for name, data in {
        "length, then chunks": request(b"Content-Length: 5", _CHUNKED, body=b"0\r\n\r\n" + HIDDEN),
        "chunks, then length": request(_CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
        "two lengths": request(b"Content-Length: 0", b"Content-Length: 41", body=HIDDEN),
        "two equal lengths": request(b"Content-Length: 3", b"content-length: 3", body=b"abc"),
        "lengths in a list": request(b"Content-Length: 3, 3", body=b"abc"),
        "a signed length": request(b"Content-Length: +3", body=b"abc"),
        "a negative length": request(b"Content-Length: -3", body=b"abc"),
        "a length in hex": request(b"Content-Length: 0x3", body=b"abc"),
        "a length with a grouping": request(b"Content-Length: 1_0", body=b"0123456789"),
        "an empty length": request(b"Content-Length:", body=b"abc"),
        "a length beyond measure": request(b"Content-Length: " + b"9" * 40),
        "another coding": request(b"Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
        "another coding first": request(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        "a coding after": request(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
        "chunked twice in one": request(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
        "chunked twice": request(_CHUNKED, _CHUNKED, body=b"0\r\n\r\n"),
        "identity": request(b"Transfer-Encoding: identity", body=HIDDEN),
        "identity with a length": request(b"Transfer-Encoding: identity", b"Content-Length: 0"),
        "a quoted coding": request(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
        "a coding with a parameter": request(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"),
        "a vertical tab before it": request(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
        "no coding": request(b"Transfer-Encoding:", body=b"0\r\n\r\n"),
        "chunked on HTTP/1.0": request(_CHUNKED, version=b"HTTP/1.0", body=b"0\r\n\r\n"),
        "a space before the colon": request(b"Content-Length : 3", body=b"abc"),
        "a tab before the colon": request(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
        "a space before a name": request(b"A: b", b" Content-Length: 3", body=b"abc"),
        "a fold": request(b"X-A: b", b" c"),
        "a fold of the length": request(b"Content-Length:", b" 3", body=b"abc"),
        "a fold of the coding": request(b"Transfer-Encoding:", b"\tchunked", body=b"0\r\n\r\n"),
        "a fold of the first": request(b" folded", host=None),
        "LF alone everywhere": get().replace(b"\r\n", b"\n"),
        "LF alone within": get(b"X-A: b\nX-C: d"),
        "LF alone at the end": get().removesuffix(b"\r\n") + b"\n",
        "LF alone before a length": request(b"X-A: b\nContent-Length: 3", body=b"abc"),
        "CR alone": get(b"X-A: b\rTransfer-Encoding: chunked"),
        "CR twice": get(b"X-A: b\r"),
        "LF before the request": b"\n" + get(),
        "NUL in a value": get(b"X-A: b\0c"),
        "a control character in a value": get(b"X-A: b\x08c"),
        "DEL in a value": get(b"X-A: b\x7fc"),
        "NUL in a name": get(b"X\0A: b"),
        "a bracket in a name": get(b"X[A]: b"),
        "an umlaut in a name": get(b"X-\xfc: b"),
        "no name": get(b": b"),
        "no colon": get(b"nothing"),
        "no host": get(host=None),
        "two hosts": get(b"Host: other"),
        "two equal hosts": get(b"host: h"),
        "hosts in a list": get(host=b"Host: h, other"),
        "a host with a space": get(host=b"Host: h other"),
        "a host with a path": get(host=b"Host: h/path"),
        "a host with a user": get(host=b"Host: me@h"),
        "another host in the target": get(target=b"http://other/-/health"),
        "a user in the target": get(target=b"http://me@h/-/health"),
        "two spaces": get(verb=b"GET "),
        "a tab for a space": get(verb=b"GET\t/"),
        "a space in the target": get(target=b"/-/health x"),
        "no target": get(target=b""),
        "a target that is a word": get(target=b"health"),
        "an umlaut in the target": get(target=b"/\xc3\xbc"),
        "DEL in the target": get(target=b"/\x7f"),
        "a space after the version": get(version=b"HTTP/1.1 "),
        "HTTP in small letters": get(version=b"http/1.1"),
        "a long version": get(version=b"HTTP/1.10"),
        "no version": b"GET /-/health\r\n\r\n",
    }.items()
} | {
    "HTTP/0.9": (get(version=b"HTTP/0.9"), 505),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a huge head": (get(b"X-A: " + b"a" * 17_000), 431),
    "many headers": (get(*[b"X-A: b"] * 501), 431),
}

# Chunks that are told to the door, which answers 400 in its own form.
CHUNKS: dict[str, bytes] = {
    "LF alone after a size": b"3\nabc\r\n0\r\n\r\n",
    "LF alone after a chunk": b"3\r\nabc\n0\r\n\r\n",
    "LF alone at the end": b"0\r\n\n",
    "CR alone in a size": b"3\rabc\r\n0\r\n\r\n",
    "a longer chunk": b"3\r\nabcd\r\n0\r\n\r\n",
    "a shorter chunk": b"5\r\nabc\r\n0\r\n\r\n",
    "a space after a size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a space before a size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space before an extension": b"3 ;a\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a grouping": b"0_3\r\nabc\r\n0\r\n\r\n",
    "a size beyond measure": b"1" + b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;a\n\r\nabc\r\n0\r\n\r\n",
    "a long extension": b"3;" + b"a" * 1100 + b"\r\nabc\r\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nnothing\r\n\r\n",
    "a fold in a trailer": b"0\r\nX-A: b\r\n c\r\n\r\n",
    "LF alone in a trailer": b"0\r\nX-A: b\nX-C: d\r\n\r\n",
    "long trailers": b"0\r\n" + b"X-A: b\r\n" * 4000 + b"\r\n",
}

# Legal, if odd: the verb is HEAD for none of them.
TAKEN: dict[str, tuple[bytes, int]] = {
    "an absolute target": (get(target=b"http://h/-/health"), 200),
    "an absolute target in capitals": (get(target=b"HTTP://H:80/-/health"), 200),
    "empty lines before": (b"\r\n\r\n\r\n" + get(), 200),
    "names in odd case": (request(b"cOnTeNt-LeNgTh: 3", body=b"abc"), 201),
    "no space after the colon": (request(b"Content-Length:3", body=b"abc"), 201),
    "spaces around a value": (request(b"Content-Length: \t3 \t", body=b"abc"), 201),
    "zeros before a length": (request(b"Content-Length: 0003", body=b"abc"), 201),
    "a body that looks like a request": (
        request(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        201,
    ),
    "Chunked": (request(b"Transfer-Encoding: Chunked", body=b"3\r\nabc\r\n0\r\n\r\n"), 201),
    "extensions": (request(_CHUNKED, body=b'3;a=b;c="d e"\r\nabc\r\n000;x\r\n\r\n'), 201),
    "trailers": (
        request(_CHUNKED, body=b"0\r\nContent-Length: 41\r\nIf-Match: x\r\nHost: x\r\n\r\n"),
        201,
    ),
    "a chunk that looks like a request": (
        request(_CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
        201,
    ),
    "Upgrade": (get(b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AA"), 200),
    "a websocket": (get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"), 200),
    "an empty value": (get(b"X-A:", b"X-B: "), 200),
    "a value beyond ASCII": (get(b"X-A: \xc3\xbc"), 200),
    "an empty host": (request(b"Content-Length: 3", host=b"Host:", body=b"abc"), 201),
    "a verb of nobody's": (get(verb=b"BREW"), 405),
}
