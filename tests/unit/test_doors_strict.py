"""Heads and chunks that nobody could read in two ways."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import _ChunkedTransferDecoder

from aosd.doors.cutter import HeadCutter, whole_head
from aosd.doors.framing import MOST_LINE_BYTES, MOST_TRAILER_BYTES, ChunkScanner
from aosd.doors.strict import (
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    TOO_LONG,
    Problem,
    check_head,
    end_of_head,
    skip_empty_lines,
)
from tests.integration.smuggling_cases import CHUNKS, HEADS, TAKEN


class HeadTests(SynchronousTestCase):
    def status(self, head: bytes) -> int | None:
        problem = check_head(head)
        return None if problem is None else problem.status

    def test_each_case_of_the_table(self) -> None:
        for name, (data, status) in HEADS.items():
            if name != "a huge head":
                self.assertEqual(self.status(data[: end_of_head(data)]), status, name)
        for name, (data, _) in TAKEN.items():
            held = bytearray(data)
            skip_empty_lines(held)
            self.assertIsNone(check_head(bytes(held[: end_of_head(held)])), name)

    def test_an_old_request_needs_no_host_but_has_no_two(self) -> None:
        self.assertIsNone(self.status(b"GET / HTTP/1.0\r\n\r\n"))
        self.assertEqual(self.status(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400)

    def test_hosts(self) -> None:
        for host in (b"h", b"h:80", b"a_b.c-d:3000", b"[::1]:3000", b"10.0.0.1", b""):
            self.assertIsNone(self.status(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host))
        for host in (b"h:x", b"[::1", b"a/b", b"a?b", b"a#b", b"a\\b", b"a,b", b'"a"'):
            self.assertEqual(self.status(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host), 400)

    def test_headers_are_counted(self) -> None:
        first = b"GET / HTTP/1.1\r\nHost: h\r\n"
        self.assertIsNone(self.status(first + b"a: b\r\n" * (MOST_HEADERS - 1) + b"\r\n"))
        self.assertEqual(self.status(first + b"a: b\r\n" * MOST_HEADERS + b"\r\n"), 431)

    def test_no_byte_that_is_not_text_is_let_through(self) -> None:
        for byte in set(range(256)) - set(range(32, 127)) - set(range(128, 256)) - {9}:
            head = b"GET / HTTP/1.1\r\nHost: h\r\nA: b%bc\r\n\r\n" % bytes([byte])
            self.assertEqual(self.status(head), 400, byte)

    def test_the_end_is_found_however_the_head_comes(self) -> None:
        for data in (b"a\r\n\r\nb", b"a\n\nb", b"a\r\n\nb", b"a\n\r\nb"):
            for cut in range(len(data)):
                first = end_of_head(data[:cut])
                found = first or end_of_head(data, cut)
                self.assertEqual(data[found:], b"b", (data, cut))

    def test_a_problem_is_a_whole_answer(self) -> None:
        self.assertEqual(
            Problem(505, "").answer(),
            b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
            b"connection: close\r\ncontent-length: 0\r\n\r\n",
        )


class CutterTests(SynchronousTestCase):
    HEAD = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    def setUp(self) -> None:
        self.held = bytearray()
        self.heads = HeadCutter(self.held)

    def of_length(self, length: int) -> bytes:
        """A head of so many bytes."""
        return self.HEAD[:-2] + b"a: " + b"b" * (length - len(self.HEAD) - 5) + b"\r\n\r\n"

    def test_heads_that_come_byte_by_byte_with_something_between(self) -> None:
        found = []
        for byte in b"\r\n" + self.HEAD + b"\r\n\r\n" + self.HEAD:
            self.held.append(byte)
            if (head := self.heads.cut()) is not None:
                found.append(head)
        self.assertEqual(found, [self.HEAD, self.HEAD])
        self.assertEqual(self.held, b"")

    def test_a_short_one_after_a_long_one_that_came_in_pieces(self) -> None:
        short = b"GET / HTTP/1.0\r\n\r\n"
        self.held += self.HEAD[:-1]
        self.assertIsNone(self.heads.cut())
        self.held += self.HEAD[-1:] + short
        self.assertEqual([self.heads.cut(), self.heads.cut()], [self.HEAD, short])

    def test_what_comes_after_a_head_is_its_owners(self) -> None:
        self.held += self.HEAD + b"body" + self.HEAD[:9]
        self.assertEqual(self.heads.cut(), self.HEAD)
        self.assertEqual(self.held, b"body" + self.HEAD[:9])
        del self.held[:4]
        self.assertIsNone(self.heads.cut())
        self.held += self.HEAD[9:]
        self.assertEqual(self.heads.cut(), self.HEAD)

    def test_the_longest(self) -> None:
        head = self.of_length(MOST_HEAD_BYTES)
        self.held += head[:-1]
        self.assertIsNone(self.heads.cut())
        self.held += head[-1:]
        self.assertEqual(self.heads.cut(), head)
        self.held += self.of_length(MOST_HEAD_BYTES + 1)
        self.assertIs(self.heads.cut(), TOO_LONG)

    def test_one_that_is_too_long_already_isnt_waited_for(self) -> None:
        self.held += self.of_length(MOST_HEAD_BYTES + 1)[:-1]
        self.assertIs(self.heads.cut(), TOO_LONG)

    def test_one_that_is_in_no_order(self) -> None:
        self.held += b"GET /a HTTP/1.1\nHost: h\n\n"
        problem = self.heads.cut()
        assert isinstance(problem, Problem)
        self.assertEqual(problem.status, 400)

    def test_what_begins_with_a_whole_head(self) -> None:
        for head in (self.HEAD, self.of_length(MOST_HEAD_BYTES)):
            for more in (b"", b"a", b"body\r\n\r\n", self.HEAD):
                self.assertEqual(whole_head(head + more), len(head))
        for data in (
            self.HEAD[:-1],
            b"\r\n" + self.HEAD,
            b"\r\n\r\n",
            b"a\n\n",
            self.of_length(MOST_HEAD_BYTES + 1),
        ):
            self.assertEqual(whole_head(data), 0, data[:40])


class ChunkTests(SynchronousTestCase):
    """The scanner, beside Twisted's decoder."""

    def scan(self, data: bytes, sizes: Any) -> tuple[int, bool, bool]:
        """How many bytes it took, whether it ended, and whether it refused."""
        scanner, at = ChunkScanner(), 0
        while at < len(data) and not scanner.ended and scanner.problem is None:
            piece = data[at : at + sizes()]
            took = scanner.feed(piece)
            at += took
            if took < len(piece):
                break
        return at, scanner.ended, scanner.problem is not None

    def decode(self, data: bytes) -> int | None:
        """How many bytes are the body's to Twisted; None: it refuses, or wants more."""
        rest: list[bytes] = []
        try:
            _ChunkedTransferDecoder(lambda _: None, rest.append).dataReceived(data)
        except ValueError:
            return None
        return len(data) - len(rest[0]) if rest else None

    def test_malformed_ones_of_the_table(self) -> None:
        for name, data in CHUNKS.items():
            for size in (1, 7, 100_000):
                _, ended, refused = self.scan(data, lambda size=size: size)
                self.assertEqual((ended, refused), (False, True), (name, size))

    def test_bounds(self) -> None:
        end = b"\r\nabc\r\n0\r\n\r\n"
        for size in (1, 5, 100_000):
            for more in (0, 1):
                line = b"3;" + b"a" * (MOST_LINE_BYTES - 2 + more)
                found = self.scan(line + end, lambda size=size: size)
                self.assertEqual(found[1:], (not more, bool(more)))
                trailers = b"a:" + b"b" * (MOST_TRAILER_BYTES - 2 + more) + b"\r\n\r\n"
                found = self.scan(b"0\r\n" + trailers, lambda size=size: size)
                self.assertEqual(found[2], bool(more))

    def test_what_it_takes_twisted_takes_alike_however_it_comes(self) -> None:
        chance = random.Random(7)
        parts = (
            *(b"3\r\nabc\r\n", b"3;a=b\r\nabc\r\n", b"0\r\n", b"0\r\n\r\n", b"a: b\r\n", b"\r\n"),
            *(b"\n", b"\r", b"00", b"5", b";", b" ", b"\\", b"x", b"\xff", b"\0", b"A\r\n"),
        )
        ended = 0
        for _ in range(8_000):
            data = b"".join(chance.choices(parts, k=chance.randrange(1, 9))) + b"0\r\n\r\nrest"
            found = self.scan(data, lambda data=data: len(data))
            self.assertEqual(self.scan(data, lambda: chance.randrange(1, 6))[1:], found[1:])
            if found[1]:
                ended += 1
                self.assertEqual(self.decode(data), found[0], data)
        self.assertGreater(ended, 200)
