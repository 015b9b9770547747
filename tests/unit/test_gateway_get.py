"""GET and HEAD: ranges and conditions, with one copy a key."""

from __future__ import annotations

from aosd.gateway.get import head
from aosd.gateway.requests import Get
from aosd.model.conditions import Conditions
from aosd.model.errors import NotModified, PreconditionFailed, RangeNotSatisfiable
from aosd.model.ranges import parse_range
from tests.unit.gateway_case import BUCKET, SMALL, GatewayTestCase


class GetTests(GatewayTestCase):
    """One copy a key."""

    replicas = 1

    def test_ranges(self) -> None:
        self.stored("k", b"0123456789")
        for text, wanted in (
            ("bytes=2-4", b"234"),
            ("bytes=7-", b"789"),
            ("bytes=-2", b"89"),
            ("bytes=8-100", b"89"),
            ("bytes=1-2,4-5", b"0123456789"),
        ):
            self.assertEqual(self.read("k", wanted=parse_range(text)), wanted)
        failure = self.failureResultOf(
            self.getting("k", wanted=parse_range("bytes=10-")), RangeNotSatisfiable
        )
        self.assertEqual(failure.value.size_bytes, 10)

    def test_conditions_come_before_ranges(self) -> None:
        etag = self.stored("k", b"0123456789").etag
        reading = self.getting(
            "k",
            wanted=parse_range("bytes=10-"),
            conditions=Conditions(if_none_match=etag),
        )
        self.failureResultOf(reading, NotModified)

    def test_conditions(self) -> None:
        etag = self.stored("k", SMALL).etag
        self.assertEqual(self.read("k", conditions=Conditions(if_match=etag)), SMALL)
        failing = self.getting("k", conditions=Conditions(if_match='"other"'))
        self.failureResultOf(failing, PreconditionFailed)

    def test_last_modified_is_the_stamps_time(self) -> None:
        self.stored("k", SMALL)
        node = self.order("k")[0]
        self.clock.advance(1000)
        found = self.successResultOf(self.run_(head(self.store, Get(BUCKET, "k"))))
        self.assertEqual(found.modified_s, 1_700_000_000)
        self.assertEqual(node.requests["head"], 1)

    def test_if_range(self) -> None:
        etag = self.stored("k", b"0123456789").etag
        wanted = parse_range("bytes=0-1")
        self.assertEqual(self.read("k", wanted=wanted, if_range=etag), b"01")
        self.assertEqual(self.read("k", wanted=wanted, if_range='"other"'), b"0123456789")


class AtHandGetTests(GetTests):
    at_hand_bytes = 100_000
