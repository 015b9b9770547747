"""The express lane's heads: what is remembered of one says nothing wrong of the next."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.express.head import ExpressHeaders, Head, Heads, parse_head
from aosd.doors.strict import Problem, check_head

LINES = (
    b"GET / HTTP/1.1\r\n",
    b"PUT /object/a?b=c HTTP/1.1\r\n",
    b"GET http://h/object/a HTTP/1.1\r\n",
    b"GET http://other/object/a HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET /object/a HTTP/1.0\r\n",
    b"GET /object/a HTTP/1.2\r\n",
    b"GET /object/\xff HTTP/1.1\r\n",
    b"GET  /object/a HTTP/1.1\r\n",
    b"CONNECT /object/a HTTP/1.1\r\n",
    b"BREW /object/a HTTP/1.1\r\n",
    b"G@T /object/a HTTP/1.1\r\n",
    b"G:T /object/a HTTP/1.1\r\n",
)
BLOCKS = (
    b"\r\n",
    b"Host: h\r\n\r\n",
    b"Host: h\r\nhost: h\r\n\r\n",
    b"Host: h\r\nConnection: close\r\n\r\n",
    b"Host: h\r\nConnection: Keep-Alive\r\nX: 1\r\nx:  2 \r\n\r\n",
    b"Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"Host: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"Host: h\r\nContent-Length: 7\r\n\r\n",
    b"Host: h\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n",
    b"Host: h\r\n folded\r\n\r\n",
    b"Host: h\r\nAuthorization: AWS4-HMAC-SHA256 x\r\n\r\n",
    b"Host: h\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n",
)


def told(head: Head | Problem) -> object:
    if isinstance(head, Problem):
        return head
    fields = head.fields
    values = {name: list(each) for name, each in fields.values.items()}
    said = (fields.length, fields.closes, head.is_plain)
    return head.method, head.target, head.version, values, said


class HeadsTests(SynchronousTestCase):
    def test_whatever_came_before_a_head_is_read_alike(self) -> None:
        heads = Heads()
        for _ in range(2):
            for first in BLOCKS:
                for line in LINES:
                    raw = line + first
                    fresh = check_head(raw) or parse_head(raw)
                    self.assertEqual(told(heads.read(raw)), told(fresh), raw)

    def test_a_block_that_came_before_isnt_parsed_again(self) -> None:
        heads = Heads()
        one, other = (
            heads.read(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % key) for key in b"a b".split()
        )
        assert isinstance(one, Head)
        assert isinstance(other, Head)
        self.assertEqual((one.target, other.target), (b"/a", b"/b"))
        self.assertIs(one.fields, other.fields)

    def test_what_is_signed_isnt_remembered_nor_what_is_long(self) -> None:
        for more in (b"Authorization: x", b"X: " + b"x" * 1024):
            heads = Heads()
            raw = b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % more
            one, other = heads.read(raw), heads.read(raw)
            assert isinstance(one, Head)
            assert isinstance(other, Head)
            self.assertIsNot(one.fields, other.fields)

    def test_so_many_are_remembered(self) -> None:
        heads = Heads()
        for number in range(1000):
            heads.read(b"GET / HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % number)
            self.assertLessEqual(len(heads._known), 256)

    def test_who_changes_a_header_changes_it_for_the_request_alone(self) -> None:
        head = Heads().read(b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n")
        assert isinstance(head, Head)
        headers, others = (ExpressHeaders(head.fields.values) for _ in range(2))
        headers.setRawHeaders(b"X", [b"2"])
        self.assertEqual(headers.getRawHeaders(b"x"), [b"2"])
        self.assertEqual(others.getRawHeaders(b"x"), [b"1"])
        self.assertTrue(headers.has_any(frozenset({b"x", b"y"})))
        self.assertFalse(headers.has_any(frozenset({b"y"})))
