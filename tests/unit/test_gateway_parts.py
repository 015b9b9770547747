"""Reads by part number: an object's second part is the second, whatever its number was."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.gateway.requests import Found
from aosd.model.conditions import Conditions
from aosd.model.errors import BadRequest, NoQuorum, NoSuchKey, NotModified, PreconditionFailed
from aosd.model.objects import Span
from aosd.model.ranges import ByteRange
from aosd.testing.faults import breaks, late, unavailable
from tests.unit.gateway_case import BUCKET, KEY, SMALL, GatewayTestCase

PIECES = (b"a" * 1000, b"b" * 1000, b"c" * 500)
LONG = b"".join(PIECES)


class PartTests(GatewayTestCase):
    """Of an object of three parts."""

    def setUp(self) -> None:
        super().setUp()
        self.etag = self.stored(KEY, LONG, told=False).etag
        self.assertIn("-3", self.etag)

    def test_each_part_is_its_bytes(self) -> None:
        for number, piece in enumerate(PIECES, 1):
            found = self.successResultOf(self.getting(KEY, part=number))
            self.assertEqual(self.deliver(found), piece)
            span = Span(1000 * (number - 1), len(piece))
            self.assert_part(found, span)
            assert found.reading is not None
            self.assertEqual(found.reading.span, span)
            found = self.successResultOf(self.heading(KEY, part=number))
            self.assertIsNone(found.reading)
            self.assert_part(found, span)

    def assert_part(self, found: Found, span: Span) -> None:
        self.assertEqual((found.span, found.parts, found.partial), (span, 3, True))
        self.assertEqual((found.head.etag, found.head.size_bytes), (self.etag, len(LONG)))

    def test_what_isnt_there(self) -> None:
        for number in (0, 4, 10_000):
            for reading in (self.getting, self.heading):
                error = self.failureResultOf(reading(KEY, part=number), BadRequest).value
                self.assertEqual(error.code, "InvalidPartNumber")
        for reading in (self.getting, self.heading):
            self.failureResultOf(reading("nothing", part=1), NoSuchKey)

    def test_a_single_piece_is_its_only_part(self) -> None:
        for data in (SMALL, b"f" * 5000, b""):
            self.stored(KEY, data)
            found = self.successResultOf(self.getting(KEY, part=1))
            self.assertEqual(self.deliver(found), data)
            for each in (found, self.successResultOf(self.heading(KEY, part=1))):
                self.assertEqual((each.span, each.parts), (Span(0, len(data)), None))
                self.assertEqual(each.partial, bool(data))
            for reading in (self.getting, self.heading):
                error = self.failureResultOf(reading(KEY, part=2), BadRequest).value
                self.assertEqual(error.code, "InvalidPartNumber")

    def test_an_empty_last_part(self) -> None:
        for node in self.order(KEY)[:2]:
            copy = node.buckets[BUCKET][KEY]
            node.buckets[BUCKET][KEY] = type(copy)(
                copy.data, copy.etag, copy.modified_s, copy.headers, (2000, 500, 0)
            )
        found = self.successResultOf(self.getting(KEY, part=3))
        self.assertEqual(self.deliver(found), b"")
        assert found.reading is not None
        found.reading.abandon()
        for each in (found, self.successResultOf(self.heading(KEY, part=3))):
            self.assertEqual((each.span, each.parts, each.partial), (Span(2500, 0), 3, False))

    def test_not_together_with_a_range(self) -> None:
        self.failureResultOf(self.getting(KEY, part=1, wanted=ByteRange(0, 1)), BadRequest)

    def test_conditions_come_first(self) -> None:
        for number in (1, 9):
            for reading in (self.getting, self.heading):
                asked = reading(KEY, part=number, conditions=Conditions(if_match='"x"'))
                self.failureResultOf(asked, PreconditionFailed)
                asked = reading(KEY, part=number, conditions=Conditions(if_none_match=self.etag))
                self.failureResultOf(asked, NotModified)
        self.successResultOf(self.heading(KEY, part=1, conditions=Conditions(if_match=self.etag)))

    def test_any_copy_can_tell(self) -> None:
        for node in self.order(KEY)[:2]:
            node.script("part_sizes", unavailable(), None)
            self.assertEqual(self.read(KEY, part=2), PIECES[1])
            node.heal()
        for node in self.nodes:
            node.script("part_sizes", unavailable(), None)
        self.failureResultOf(self.getting(KEY, part=2), NoQuorum)

    def test_a_node_that_fails_midway_is_made_up_for_by_another(self) -> None:
        for node in self.order(KEY)[:1]:
            node.script("get", breaks(300))
        self.assertEqual(self.read(KEY, part=2), PIECES[1])

    def test_one_that_changes_meanwhile_is_looked_at_again(self) -> None:
        for data, told in ((b"x" * 1500, False), (b"x", True), (b"x" * 3000, True)):
            self.stored(KEY, LONG, told=False)
            gate: Deferred[None] = Deferred()
            for node in self.order(KEY)[:2]:
                node.script("get", late(lambda gate=gate: gate))
            reading = self.getting(KEY, part=1)
            self.stored(KEY, data, told=told)
            gate.callback(None)
            found = self.successResultOf(reading)
            self.assertEqual(self.deliver(found), data[:1000] if not told else data)
            self.assertEqual(found.parts, None if told else 2)

    def test_also_where_it_isnt_settled(self) -> None:
        self.unsettle()
        self.assertEqual(self.read(KEY, part=3), PIECES[2])
        self.assertEqual(self.read(KEY, part=3, newest=True), PIECES[2])
