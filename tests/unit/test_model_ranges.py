"""Range headers (RFC 9110, section 14)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import RangeNotSatisfiable
from aosd.model.objects import Span
from aosd.model.ranges import ByteRange, parse_range


class ParseTests(SynchronousTestCase):
    def test_one_range(self) -> None:
        for value, wanted in (
            ("bytes=0-0", ByteRange(0, 0)),
            ("bytes=10-19", ByteRange(10, 19)),
            ("bytes=10-", ByteRange(10)),
            ("bytes=-5", ByteRange(None, suffix=5)),
            ("bytes=-0", ByteRange(None, suffix=0)),
            (" BYTES= 1-2\t", ByteRange(1, 2)),
            ("bytes=007-08", ByteRange(7, 8)),
        ):
            self.assertEqual(parse_range(value), wanted, value)

    def test_what_asks_for_the_whole_object(self) -> None:
        for value in (
            None,
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2,5-6",
            "bytes=2-1",
            "bytes=1 -2",
            "bytes=+1-2",
            "bytes=٣-٤",
            "lines=1-2",
            "1-2",
        ):
            self.assertIsNone(parse_range(value), value)

    def test_numbers_beyond_any_object_stay_cheap(self) -> None:
        wanted = parse_range("bytes=0-" + "9" * 5000)
        assert wanted is not None
        self.assertEqual(wanted.resolve(10), Span(0, 10))
        beyond = parse_range("bytes=" + "9" * 5000 + "-")
        assert beyond is not None
        self.assertRaises(RangeNotSatisfiable, beyond.resolve, 10)

    def test_a_header_is_read_back(self) -> None:
        for wanted in (ByteRange(0, 0), ByteRange(5), ByteRange(None, suffix=7)):
            self.assertEqual(parse_range(wanted.header.decode()), wanted)


class ResolveTests(SynchronousTestCase):
    def test_within_an_object(self) -> None:
        for wanted, span in (
            (ByteRange(0, 0), Span(0, 1)),
            (ByteRange(2, 5), Span(2, 4)),
            (ByteRange(2, 50), Span(2, 8)),
            (ByteRange(9), Span(9, 1)),
            (ByteRange(None, suffix=3), Span(7, 3)),
            (ByteRange(None, suffix=30), Span(0, 10)),
        ):
            self.assertEqual(wanted.resolve(10), span, wanted)

    def test_no_byte_of_it_exists(self) -> None:
        for wanted, size_bytes in (
            (ByteRange(10), 10),
            (ByteRange(10, 11), 10),
            (ByteRange(None, suffix=0), 10),
            (ByteRange(0), 0),
            (ByteRange(None, suffix=5), 0),
        ):
            error = self.assertRaises(RangeNotSatisfiable, wanted.resolve, size_bytes)
            self.assertEqual(error.size_bytes, size_bytes)
