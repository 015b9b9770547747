"""Clients' uploads while all goes well, and what clients do wrong."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import CancelledError, Deferred

from aosd.consistency.buckets import DELETED, LIVE
from aosd.gateway.multipart import copy_part, list_parts
from aosd.gateway.put import put
from aosd.gateway.requests import CopyPart, Put
from aosd.model.conditions import Conditions
from aosd.model.errors import (
    ClientGone,
    DigestMismatch,
    NoSuchBucket,
    NoSuchUpload,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooLarge,
)
from aosd.model.ranges import ByteRange
from aosd.model.stamp import stamp_time_s
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import late, stalls
from tests.unit.gateway_case import BUCKET, KEY, S1
from tests.unit.uploads_case import LONG_PART, SHORT, UploadsTestCase


class UploadTests(UploadsTestCase):
    """Three nodes: two primaries and a handoff."""

    def test_parts_become_an_object(self) -> None:
        headers = ((b"content-type", b"video/mp4"), (b"x-amz-meta-who", b"me"))
        upload_id = self.created(headers=headers, own=((b"x-amz-meta-aos-class", b"COLD"),))
        self.assertEqual(self.open_on(), "abc")
        self.clock.advance(5)
        parts = [
            self.part(upload_id, 1, SHORT),
            self.part(upload_id, 2, LONG_PART),
            self.part(upload_id, 3, b"z", told=False),
        ]
        self.assertEqual(self.holders(), "")
        written = self.completed(upload_id, parts)
        data = SHORT + LONG_PART + b"z"
        self.assertEqual(written.etag, self.etag(SHORT, LONG_PART, b"z"))
        self.assertEqual(written.size_bytes, len(data))
        self.assertEqual(self.read(KEY), data)
        self.assertEqual(self.holders(data=data), "ab")
        self.assertEqual(self.open_on(), "")
        found = self.successResultOf(self.heading(KEY))
        self.assertEqual(sorted(found.head.headers), sorted(headers))
        self.assertEqual(found.modified_s, written.modified_s)
        self.assertEqual(stamp_time_s(self.stamp_on(self.a)), self.clock.seconds() - 5)
        self.assertIn((b"x-amz-meta-aos-class", b"COLD"), self.a.buckets[BUCKET][KEY].headers)
        self.assertEqual(self.remembered("uploads/"), {})
        self.assertEqual(self.marks(), [])

    def test_parts_in_any_order_at_once_and_sent_again(self) -> None:
        upload_id = self.created()
        gate: Deferred[None] = Deferred()
        self.a.script("put_part", late(lambda: gate))
        waiting = self.putting(upload_id, 30, b"last")
        second = self.part(upload_id, 20, SHORT)
        self.part(upload_id, 3, b"first")
        first = self.part(upload_id, 3, LONG_PART)
        self.assertNoResult(waiting)
        gate.callback(None)
        third = 30, self.successResultOf(waiting).etag
        self.part(upload_id, 25, b"not wanted")
        self.completed(upload_id, [first, second, third])
        self.assertEqual(self.read(KEY), LONG_PART + SHORT + b"last")

    def test_ten_thousand_parts(self) -> None:
        upload_id = self.created()
        for node in (self.a, self.b, self.c):
            for node_id in list(node.uploads):
                for number in range(1, 10_001):
                    node.disk.put_part(BUCKET, KEY, node_id, number, SHORT)
        etag = f'"{hashlib.md5(SHORT).hexdigest()}"'
        parts = [(number, etag) for number in range(1, 10_001)]
        written = self.completed(upload_id, parts)
        self.assertEqual(written.size_bytes, 10_000 * len(SHORT))
        self.assertTrue(written.etag.endswith('-10000"'))
        self.assertEqual(self.holders(), "ab")

    def test_parts_of_no_bytes_and_of_no_length(self) -> None:
        upload_id = self.created()
        first = self.part(upload_id, 1, LONG_PART[:4000], told=False)
        last = self.part(upload_id, 2, b"")
        self.completed(upload_id, [first, last])
        self.assertEqual(self.read(KEY), LONG_PART[:4000])
        upload_id = self.created()
        self.failureResultOf(self.putting(upload_id, 1, LONG_PART, told=False), TooLarge)
        only = self.part(upload_id, 1, b"", told=False)
        self.completed(upload_id, [only])
        self.assertEqual(self.read(KEY), b"")

    def test_etags_without_quotes(self) -> None:
        upload_id = self.created()
        number, etag = self.part(upload_id, 1, SHORT)
        self.completed(upload_id, [(number, etag.strip('"'))])
        self.assertEqual(self.read(KEY), SHORT)

    def test_digests_are_compared(self) -> None:
        upload_id = self.created()
        for data in (SHORT, LONG_PART, b""):
            for told in (True, False):
                if not told and data == LONG_PART:
                    continue
                md5, sha256 = hashlib.md5(data).digest(), hashlib.sha256(data).digest()
                self.part(upload_id, 1, data, told=told, content_md5=md5, content_sha256=sha256)
                for wrong in ({"content_md5": b"x" * 16}, {"content_sha256": b"x" * 32}):
                    putting = self.putting(upload_id, 2, data, told=told, **wrong)
                    self.failureResultOf(putting, DigestMismatch)
        self.assertEqual(self.parts_of(upload_id), [1])
        self.successResultOf(self.aborting(upload_id))

    def test_a_truncated_part_has_no_effect(self) -> None:
        upload_id = self.created()
        for data in (SHORT, LONG_PART):
            before = self.part(upload_id, 1, data)
            for fails_at in (0, 20, len(data)):
                putting = self.putting(
                    upload_id, 1, data[::-1] + b"", fails=ClientGone("gone"), fails_at=fails_at
                )
                self.failureResultOf(putting, ClientGone)
            for node in (self.a, self.b, self.c):
                ((stored),) = (each.parts[1][0] for each in node.uploads.values())
                self.assertEqual(stored, before[1])
        self.successResultOf(self.aborting(upload_id))

    def test_a_slow_node_slows_the_client_and_cancelling_ends_it(self) -> None:
        upload_id = self.created()
        for gone in (True, False):
            gate: Deferred[None] = Deferred()
            self.b.script("put_part", stalls(600, lambda gate=gate: gate))
            putting = self.putting(upload_id, 1, LONG_PART)
            self.assertNoResult(putting)
            self.assertLess(self.source.sent_bytes, 1500)
            if gone:
                putting.cancel()
                self.failureResultOf(putting, CancelledError)
                self.assertEqual(self.parts_of(upload_id), [])
            gate.callback(None)
            if not gone:
                self.successResultOf(putting)
        self.successResultOf(self.aborting(upload_id))

    # -- what clients do wrong --------------------------------------------------------------------

    def test_ids_that_arent_ours_or_are_of_another_key(self) -> None:
        upload_id = self.created()
        for wrong, key in ((upload_id, "other"), ("x", KEY), ("", KEY), (upload_id[:-1], KEY)):
            self.failureResultOf(self.putting(wrong, 1, SHORT, key=key), NoSuchUpload)
            self.failureResultOf(self.completing(wrong, [(1, '"e"')], key=key), NoSuchUpload)
            self.failureResultOf(self.aborting(wrong, key), NoSuchUpload)
            self.assertFalse(self.source.started)
        self.successResultOf(self.aborting(upload_id))

    def test_numbers_that_no_part_has(self) -> None:
        upload_id = self.created()
        for number in (0, -1, 10_001):
            self.refused(self.putting(upload_id, number, SHORT), "InvalidArgument")
            self.refused(self.completing(upload_id, [(number, '"e"')]), "InvalidArgument")
        self.part(upload_id, 10_000, SHORT)
        self.successResultOf(self.aborting(upload_id))

    def test_completes_that_are_refused_leave_it_open(self) -> None:
        self.stored(KEY, b"old")
        upload_id = self.created()
        one, two = self.part(upload_id, 1, SHORT), self.part(upload_id, 2, b"short")
        three = self.part(upload_id, 3, SHORT)
        for parts, code in (
            ([], "MalformedXML"),
            ([two, one], "InvalidPartOrder"),
            ([one, one], "InvalidPartOrder"),
            ([one, (4, one[1])], "InvalidPart"),
            ([one, (3, two[1])], "InvalidPart"),
            ([one, (3, "")], "InvalidPart"),
            ([one, two, three], "EntityTooSmall"),
        ):
            self.refused(self.completing(upload_id, parts), code)
        self.refused(self.completing(upload_id, [one, three], size_bytes=1), "InvalidRequest")
        self.assertEqual(self.read(KEY), b"old")
        self.assertEqual(self.store.journal.counts_as(BUCKET, KEY, S1), S1)
        self.completed(upload_id, [one, three], size_bytes=2 * len(SHORT))
        self.assertEqual(self.read(KEY), SHORT + SHORT)

    def test_metadata_that_is_refused(self) -> None:
        self.refused(self.creating(headers=((b"x-amz-meta-aos-x", b""),)), "InvalidArgument")
        self.assertEqual(self.open_on(), "")

    # -- conditions -------------------------------------------------------------------------------

    def test_conditions_are_decided_at_the_turn(self) -> None:
        old = self.stored(KEY, b"old").etag
        upload_id = self.created()
        parts = [self.part(upload_id, 1, SHORT)]
        for conditions in (
            Conditions(if_none_match="*"),
            Conditions(if_match='"other"'),
        ):
            completing = self.completing(upload_id, parts, conditions=conditions)
            self.failureResultOf(completing, PreconditionFailed)
        self.assertEqual(self.read(KEY), b"old")
        self.completed(upload_id, parts, conditions=Conditions(if_match=old))
        self.assertEqual(self.read(KEY), SHORT)
        # Once more: it is the very object that it made.
        self.completed(upload_id, parts, conditions=Conditions(if_match=old))

    def test_two_that_create_the_key(self) -> None:
        first, second = self.created(), self.created()
        parts = {each: [self.part(each, 1, SHORT)] for each in (first, second)}
        creates = Conditions(if_none_match="*")
        gate: Deferred[None] = Deferred()
        self.a.script("complete_upload", late(lambda: gate))
        one = self.completing(first, parts[first], conditions=creates)
        two = self.completing(second, parts[second], conditions=creates)
        gate.callback(None)
        self.successResultOf(one)
        self.failureResultOf(two, PreconditionFailed)
        self.successResultOf(self.aborting(second))

    # -- parts that are copied --------------------------------------------------------------------

    def copying(self, upload_id: str, number: int, key: str, **more: object) -> Deferred[object]:
        request = CopyPart(BUCKET, KEY, upload_id, number, BUCKET, key, **more)  # type: ignore[arg-type]
        return self.run_(copy_part(self.store, request))  # type: ignore[arg-type]

    def test_parts_of_other_objects(self) -> None:
        data = bytes(range(250)) * 20
        etag = self.stored("source", data).etag
        upload_id = self.created()
        parts = []
        for number, wanted in enumerate((None, ByteRange(10, 69), ByteRange(0, 999)), 1):
            copied = self.successResultOf(self.copying(upload_id, number, "source", wanted=wanted))
            parts.append((number, copied.etag))  # type: ignore[attr-defined]
        self.completed(upload_id, parts)
        self.assertEqual(self.read(KEY), data + data[10:70] + data[:1000])
        upload_id = self.created()
        outside = self.copying(upload_id, 1, "source", wanted=ByteRange(10, 5000))
        self.failureResultOf(outside, RangeNotSatisfiable)
        for conditions in (Conditions(if_none_match=etag), Conditions(if_match='"x"')):
            failing = self.copying(upload_id, 1, "source", source_conditions=conditions)
            self.failureResultOf(failing, PreconditionFailed)
        self.failureResultOf(self.copying("x", 1, "source"), NoSuchUpload)
        self.successResultOf(self.aborting(upload_id))

    def test_a_part_of_an_empty_object(self) -> None:
        self.stored("source", b"")
        upload_id = self.created()
        copied = self.successResultOf(self.copying(upload_id, 1, "source"))
        self.completed(upload_id, [(1, copied.etag)])  # type: ignore[attr-defined]
        self.assertEqual(self.read(KEY), b"")


class OfABucketTests(UploadsTestCase):
    """One that may be deleted, which the plain door's may not."""

    bucket = "photos"

    def setUp(self) -> None:
        super().setUp()
        self.set_bucket(LIVE, S1)

    def set_bucket(self, state: str, born: str) -> None:
        register = {"state": state, "born": born}
        self.now(self.store.buckets.registers.set("buckets", self.bucket, register))

    def test_of_a_bucket_that_is_there_and_was_then(self) -> None:
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        for state, error in ((DELETED, NoSuchBucket), (LIVE, NoSuchUpload)):
            self.set_bucket(state, self.store.stamps.next())
            for waiting in (
                self.putting(upload_id, 2, SHORT),
                self.completing(upload_id, [one]),
                self.aborting(upload_id),
                self.run_(list_parts(self.store, self.bucket, KEY, upload_id)),
            ):
                self.failureResultOf(waiting, error)
        self.assertEqual(self.uploads().uploads, ())
        self.set_bucket(DELETED, S1)
        self.failureResultOf(self.creating(), NoSuchBucket)
        self.set_bucket(LIVE, S1)
        self.completed(upload_id, [one])

    def test_the_bucket_is_deleted_before_the_turn(self) -> None:
        self.uploads_may_stay = True  # whoever deletes a bucket aborts them
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        request = Put(self.bucket, KEY, BytesSource(b"first"))
        first = self.run_(put(self.store, request))
        completing = self.completing(upload_id, [one])
        self.set_bucket(DELETED, S1)
        gate.callback(None)
        self.successResultOf(first)
        self.failureResultOf(completing, NoSuchBucket)
