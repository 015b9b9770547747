"""PUT with one copy a key: three ways for a body to go, and what is refused."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import CancelledError, Deferred

from aosd.gateway.put import put
from aosd.gateway.requests import Put
from aosd.gateway.store import Limits
from aosd.model.errors import (
    BadRequest,
    ClientGone,
    DigestMismatch,
    NoNodes,
    NoQuorum,
    TooLarge,
    UpstreamNonsense,
    UpstreamTimeout,
)
from aosd.model.objects import OWN_METADATA, STAMP_HEADER, Headers
from aosd.model.ring import Ring
from aosd.model.stamp import is_stamp
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import breaks, full, late, nonsense, refused, timed_out, unavailable
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import (
    BUCKET,
    FLOWING,
    LONG,
    NOW_S,
    SMALL,
    WAYS,
    GatewayTestCase,
    etag_of,
)


class PutTests(GatewayTestCase):
    """One copy a key."""

    replicas = 1

    def test_each_way_of_going_stores_the_bytes_on_the_primary_alone(self) -> None:
        for data in (b"", SMALL, FLOWING, LONG):
            for told in (True, False):
                written = self.stored("k", data, told=told)
                self.assertEqual(written.size_bytes, len(data))
                self.assertEqual(self.read("k"), data)
                self.assertEqual(self.holders("k"), "a")

    def test_no_bytes_go_under_a_key_that_ends_in_a_slash(self) -> None:
        """Some nodes would drop them, and say that all is well."""
        self.stored("f/", b"")
        self.assertEqual(self.read("f/"), b"")
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, True), (b"", False)):
            source = BytesSource(data, told=told)
            writing = self.run_(put(self.store, Put(BUCKET, "f/", source)))
            self.failureResultOf(writing, BadRequest)
        self.assertEqual(self.read("f/"), b"")

    def test_over_the_longest_single_put_it_goes_in_parts(self) -> None:
        data = b"x" * 100_001
        written = self.stored("k", data)
        self.assertTrue(written.etag.endswith('-101"'), written.etag)
        self.assertEqual(self.read("k"), data)

    def test_an_unknown_length_within_a_part_is_an_ordinary_put(self) -> None:
        for length in (0, 999, 1000):
            data = b"x" * length
            self.assertEqual(self.stored("k", data, told=False).etag, etag_of(data))
        self.assertIn("-2", self.stored("k", b"x" * 1001, told=False).etag)

    def test_each_carries_its_stamp_and_the_clients_headers(self) -> None:
        headers = ((b"content-type", b"a/b"), (b"x-amz-meta-who", "é\u00a0à\u202f2".encode()))
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            self.stored("k", data, told=told, headers=headers)
            copy = self.order("k")[0].buckets[BUCKET]["k"]
            kept = dict(copy.headers)
            self.assertTrue(is_stamp(kept[STAMP_HEADER].decode()))
            self.assertEqual(copy.head.headers, headers)

    def test_what_no_node_could_keep_is_refused_before_the_body(self) -> None:
        for headers in (
            ((b"x-amz-meta-aos-stamp", b"1"),),
            ((b"x-amz-meta-a", b"\xff"),),
            ((b"x-amz-meta-a", b"x" * (2048 - 46 - 12 + 1)),),
            ((b"x-amz-meta-a", b"x\ty"),),
            ((b"x-amz-meta-a", b"x\x7f"),),
            ((b"x-amz-meta-a", "x\u0085y".encode()),),
            ((b"x-amz-meta-a", "x\u2028y".encode()),),
            ((b"x-amz-meta-a", "x\u200ey".encode()),),
        ):
            source = BytesSource(SMALL)
            writing = self.run_(put(self.store, Put(BUCKET, "k", source, headers=headers)))
            self.failureResultOf(writing, BadRequest)
            self.assertFalse(source.started)

    def test_as_much_metadata_as_minio_takes_is_taken(self) -> None:
        # Names in full, the stamp and aosd's own: 2,048 bytes.
        own, left = ((OWN_METADATA + b"tags", b"a=b"),), 2048 - 46 - 19 - 3
        for data, told in WAYS:
            fitting = ((b"x-amz-meta-a", b"x" * (left - 12)),)
            self.stored("k", data, told=told, headers=fitting, own=own)
            self.assertEqual((self.a.buckets[BUCKET]["k"].head.own), own)
            self.assertEqual((self.a.buckets[BUCKET]["k"].head.headers), fitting)
            split = ((b"x-amz-meta-a", b""), (b"x-amz-meta-b", b"x" * (left - 23)))
            writing = self.put("k", data, told=told, headers=split, own=own)
            error = self.failureResultOf(writing, BadRequest).value
            self.assertEqual(error.code, "MetadataTooLarge")

    def test_what_is_known_only_at_the_end_is_kept_of_what_is_held(self) -> None:
        own, late = ((OWN_METADATA + b"tags", b"a=b"),), ((OWN_METADATA + b"checksum-x", b"y"),)
        for data, told, kept in (
            (b"", True, late),
            (SMALL, True, late),
            (b"x" * 2000, True, late),
            (b"x" * 2001, True, ()),
            (b"", False, late),
            (b"x" * 1500, False, late),
            (b"x" * 2000, False, late),
            (b"x" * 2001, False, ()),
        ):
            self.stored("k", data, told=told, own=own, late=lambda: late)
            self.assertEqual(self.read("k"), data)
            self.assertEqual(self.a.buckets[BUCKET]["k"].head.own, (*own, *kept), len(data))

    def test_what_comes_late_may_be_too_much(self) -> None:
        late = ((OWN_METADATA + b"checksum-x", b"y" * 2000),)
        writing = self.put("k", SMALL, late=lambda: late)
        error = self.failureResultOf(writing, BadRequest).value
        self.assertEqual((error.code, self.holders("k")), ("MetadataTooLarge", ""))

    def test_nothing_is_asked_of_a_body_that_is_wrong(self) -> None:
        def late() -> Headers:
            raise AssertionError

        self.failureResultOf(self.put("k", SMALL, content_md5=bytes(16), late=late), DigestMismatch)

    def test_a_body_that_turns_out_to_be_wrong_at_its_end_isnt_stored(self) -> None:
        # Whoever checks it on its way says so instead of its end: all bytes have come by then.
        for data, told in WAYS:
            source = BytesSource(
                data, told=told, piece_bytes=300, fails_at=len(data), fails=DigestMismatch("no")
            )
            self.failureResultOf(
                self.run_(put(self.store, Put(BUCKET, "k", source))), DigestMismatch
            )
            self.assertEqual(self.holders("k"), "")

    def test_it_tells_when_it_was_written(self) -> None:
        for data, told in WAYS:
            self.assertEqual(self.stored("k", data, told=told).modified_s, NOW_S)

    def test_a_wrong_digest_changes_nothing(self) -> None:
        self.stored("k", b"old")
        for data, told in ((SMALL, True), (FLOWING, True), (SMALL, False), (LONG, False)):
            for claim in ({"content_md5": bytes(16)}, {"content_sha256": bytes(32)}):
                self.failureResultOf(self.put("k", data, told=told, **claim), DigestMismatch)
                self.assertEqual(self.read("k"), b"old")

    def test_a_wrong_digest_is_noticed_where_no_node_looks(self) -> None:
        self.use([MemoryNode("n1", piece_bytes=300, checks_sha256=False)])
        for data, told in ((SMALL, True), (FLOWING, True), (SMALL, False), (LONG, False)):
            writing = self.put("k", data, told=told, content_sha256=bytes(32))
            self.failureResultOf(writing, DigestMismatch)
            self.assertEqual(self.holders("k"), "")

    def test_a_right_digest_passes(self) -> None:
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            self.stored(
                "k",
                data,
                told=told,
                content_md5=hashlib.md5(data).digest(),
                content_sha256=hashlib.sha256(data).digest(),
            )

    def test_a_vanished_client_leaves_the_old_object(self) -> None:
        self.stored("k", b"old")
        for data, told, fails_at in (
            (SMALL, True, 20),
            (FLOWING, True, 3000),
            (FLOWING, True, 4999),
            (LONG, False, 700),
            (LONG, False, 5000),
        ):
            source = BytesSource(
                data, told=told, piece_bytes=300, fails_at=fails_at, fails=ClientGone()
            )
            writing = self.run_(put(self.store, Put(BUCKET, "k", source)))
            self.failureResultOf(writing, ClientGone)
            self.assertEqual(self.read("k"), b"old")

    def test_too_long_is_refused(self) -> None:
        limits = Limits(held_bytes=1, single_put_bytes=1, part_bytes=1, part_bytes_max=1)
        self.use(self.nodes, limits=limits)
        self.failureResultOf(self.put("k", b"x" * 10_001), TooLarge)
        self.failureResultOf(self.put("k", b"x" * 10_001, told=False), TooLarge)

    def test_a_primary_that_is_away_is_replaced(self) -> None:
        for data, told in WAYS:
            self.down(self.a)
            self.stored("k", data, told=told)
            self.assertEqual(self.holders(), "b")
            self.assertEqual(self.read("k"), data)
            del self.b.buckets[BUCKET]["k"]

    def test_without_a_handoff_it_is_told_before_the_body(self) -> None:
        self.down(self.a, self.b)
        for data, told in WAYS:
            self.failureResultOf(self.put("k", data, told=told), NoQuorum)
            self.assertFalse(self.source.started)

    def test_no_nodes(self) -> None:
        self.placement.ring = Ring(())
        self.failureResultOf(self.put("k", SMALL), NoNodes)

    def test_each_failure_of_a_node_is_the_clusters_in_its_own_way(self) -> None:
        self.stored("k", b"old")
        for fault, error in (
            (unavailable(), NoQuorum),
            (timed_out(), UpstreamTimeout),
            (nonsense(), UpstreamNonsense),
            (refused(), NoQuorum),
            (full(), NoQuorum),
            (breaks(500), NoQuorum),
        ):
            for data, told, method in (
                (FLOWING, True, "put"),
                (LONG, False, "create_upload"),
                (LONG, False, "put_part"),
                (LONG, False, "complete_upload"),
            ):
                if fault.after_bytes and method in ("create_upload", "complete_upload"):
                    continue
                self.order("k")[0].script(method, fault)
                self.failureResultOf(self.put("k", data, told=told), error)
                self.assertEqual(self.read("k"), b"old", method)
                self.forget()
                for node in self.nodes:
                    node.uploads.clear() if method == "complete_upload" else None

    def test_a_part_that_fails_aborts_the_upload(self) -> None:
        self.order("k")[0].script("put_part", refused())
        self.failureResultOf(self.put("k", LONG, told=False), NoQuorum)
        self.assertEqual(self.order("k")[0].requests["abort_upload"], 1)

    def test_memory_is_bounded_for_all_together(self) -> None:
        gate: Deferred[None] = Deferred()
        writings = []
        for number in range(8):
            key = f"k{number}"
            self.order(key)[0].script("put", late(lambda: gate))
            writings.append(self.put(key, b"x" * 900, told=False))
        self.assertEqual(self.store.budget.used_bytes, 4000)
        gate.callback(None)
        for writing in writings:
            self.successResultOf(writing)


class LeavingTests(GatewayTestCase):
    """A client that leaves cancels its request, again and again while it is cleaned up."""

    replicas = 1

    def test_no_upload_is_left_open(self) -> None:
        for method in ("create_upload", "put_part", "abort_upload"):
            gate: Deferred[None] = Deferred()
            self.order("k")[0].script(method, late(lambda gate=gate: gate))
            if method == "abort_upload":
                self.order("k")[0].script("put_part", refused())
            writing = self.put("k", LONG, told=False)
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing, CancelledError)
            self.successResultOf(self.run_(self.store.to_the_end.idle()))
            self.assertEqual(self.order("k")[0].uploads, {}, method)
            self.assertEqual(self.holders("k"), "")
