"""Changing an object's tags: a new write of the same bytes, with the same ETag."""

from __future__ import annotations

import itertools
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred

from aosd.gateway.requests import Written
from aosd.gateway.rewrite import Change, rewrite
from aosd.model.errors import (
    BadRequest,
    NoQuorum,
    NoSuchKey,
    Overtaken,
    UpstreamNonsense,
)
from aosd.model.objects import OWN_METADATA, Headers, ObjectHead
from aosd.testing.bodies import BytesBody
from aosd.testing.faults import breaks, late, lost_and_lands_late, refused, unavailable
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, LONG, SMALL, GatewayTestCase

USERS: Headers = ((b"content-type", b"a/b"), (b"x-amz-meta-who", "é".encode()))
TAGS = OWN_METADATA + b"tags"
OWN: Headers = ((OWN_METADATA + b"checksum-crc32", b"AAAAAA==-3"),)
NEW: Headers = (*OWN, (TAGS, b"a=b"))
PARTS = (b"a" * 1000, b"b" * 5000, b"c" * 7)
WHOLE = b"".join(PARTS)


def tagged(head: ObjectHead) -> Headers:
    return (*(each for each in head.own if each[0] != TAGS), (TAGS, b"a=b"))


class RewriteCase(GatewayTestCase):
    """Rewriting `KEY`."""

    def rewriting(self, change: Change = tagged) -> Deferred[Written]:
        return self.run_(rewrite(self.store, BUCKET, KEY, change))

    def rewritten(self) -> Written:
        return self.successResultOf(self.rewriting())

    def lay_parts(self, *parts: bytes) -> str:
        """An object that a client uploaded in these parts; its ETag."""
        headers = (*USERS, *OWN, (OWN_METADATA + b"stamp", b"0189594b3a7c-0001-0000000a"))
        etag = ""
        for node in self.order(KEY)[:2]:
            upload = self.successResultOf(node.create_upload(BUCKET, KEY, headers))
            etags = [
                self.successResultOf(node.put_part(BUCKET, KEY, upload, number, BytesBody(part)))
                for number, part in enumerate(parts, 1)
            ]
            etag = self.successResultOf(
                node.complete_upload(BUCKET, KEY, upload, list(enumerate(etags, 1)))
            )
        return etag

    def copies(self) -> list[MemoryNode]:
        return [node for node in self.nodes if KEY in node.buckets[BUCKET]]


class RewriteTests(RewriteCase):
    """What becomes of the object."""

    def test_all_but_its_own_metadata_stays(self) -> None:
        for data in (b"", SMALL, FLOWING, LONG):
            before = self.stored(KEY, data, told=data != LONG, headers=USERS, own=OWN)
            stamp = self.stamp_on(self.a)
            self.clock.advance(7)
            written = self.rewritten()
            self.assertEqual((written.etag, written.size_bytes), (before.etag, len(data)))
            self.assertEqual(written.modified_s, self.clock.seconds())
            self.assertEqual(self.read(KEY), data)
            self.assertEqual(self.holders(), "ab")
            for node in self.copies():
                head = node.buckets[BUCKET][KEY].head
                self.assertEqual((head.headers, head.own), (USERS, NEW))
                self.assertGreater(head.stamp or "", stamp)

    def test_parts_stay_as_they_were_uploaded(self) -> None:
        for parts in (PARTS, (WHOLE,), (b"",), (WHOLE, b""), (b"a", b"b", b"c")):
            etag = self.lay_parts(*parts)
            self.assertEqual(self.rewritten().etag, etag)
            self.assertEqual(self.read(KEY), b"".join(parts))
            for node in self.copies():
                copy = node.buckets[BUCKET][KEY]
                self.assertEqual(copy.part_bytes, tuple(map(len, parts)))
                self.assertEqual((copy.etag, copy.head.own), (etag, NEW))
            self.assertEqual(self.remembered("uploads/"), {})
            self.forget()

    def test_it_is_told_what_is_there(self) -> None:
        self.stored(KEY, SMALL, headers=USERS, own=OWN)
        seen: list[ObjectHead] = []

        def change(head: ObjectHead) -> Headers:
            seen.append(head)
            return ()

        self.successResultOf(self.rewriting(change))
        self.assertEqual([(each.headers, each.own) for each in seen], [(USERS, OWN)])
        self.assertEqual(self.a.buckets[BUCKET][KEY].head.own, ())

    def test_of_nothing(self) -> None:
        self.failureResultOf(self.rewriting(), NoSuchKey)

    def test_what_no_node_could_keep_is_refused(self) -> None:
        for data in (SMALL, LONG):
            self.stored(KEY, data, told=data != LONG)
            writing = self.rewriting(lambda _: ((TAGS, b"x" * 2048),))
            self.assertEqual(
                self.failureResultOf(writing, BadRequest).value.code, "MetadataTooLarge"
            )

    def test_bytes_that_rotted_dont_spread(self) -> None:
        for data in (SMALL, FLOWING, LONG):
            self.stored(KEY, data, told=data != LONG)
            for node in self.copies():
                there = node.buckets[BUCKET]
                there[KEY] = replace(there[KEY], data=b"?" * len(data))
            self.failureResultOf(self.rewriting(), UpstreamNonsense)
            for node in self.copies():
                self.assertEqual(node.buckets[BUCKET][KEY].head.own, ())

    def test_what_other_gateways_parts_make_is_told_by_any_copy(self) -> None:
        self.lay_parts(*PARTS)
        for node in self.copies()[:1]:
            node.script("part_sizes", unavailable())
        self.rewritten()
        self.lay_parts(*PARTS)
        for node in self.nodes:
            node.script("part_sizes", unavailable())
        self.failureResultOf(self.rewriting(), NoQuorum)


class TroubleTests(RewriteCase):
    """Nodes that fail, and others that write."""

    def test_a_source_that_fails_midway_is_made_up_for_by_another(self) -> None:
        self.lay_parts(*PARTS)
        for node in self.copies():
            node.script("get", breaks(300))
        self.rewritten()
        self.assertEqual(self.read(KEY), WHOLE)

    def test_a_source_that_nobody_has_the_rest_of(self) -> None:
        self.lay_parts(*PARTS)
        for node in self.copies():
            node.script("get", breaks(300), None)
        self.failureResultOf(self.rewriting(), NoQuorum)
        for node in self.nodes:
            node.heal()
        self.assertEqual(self.read(KEY), WHOLE)

    def test_a_target_that_misses_a_part_is_made_up_for(self) -> None:
        for fault in (refused(), breaks(500), unavailable()):
            etag = self.lay_parts(*PARTS)
            self.b.script("put_part", fault)
            self.assertEqual(self.rewritten().etag, etag)
            self.assertEqual(self.read(KEY), WHOLE)
            new = [each for each in self.copies() if each.buckets[BUCKET][KEY].head.own == NEW]
            self.assertGreaterEqual(len(new), 2)
            self.forget()
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.uploads.clear()

    def test_targets_that_all_fail(self) -> None:
        self.lay_parts(*PARTS)
        for method in ("create_upload", "put_part"):
            for node in self.nodes:
                node.script(method, refused(), None)
            self.failureResultOf(self.rewriting(), NoQuorum)
            for node in self.nodes:
                node.heal()
            self.assertEqual(self.read(KEY), WHOLE)
            self.assertEqual(self.a.buckets[BUCKET][KEY].head.own, OWN)

    def test_a_write_that_comes_between_isnt_undone(self) -> None:
        for lay in (lambda: self.lay_parts(*PARTS), lambda: self.stored(KEY, FLOWING)):
            lay()
            gate: Deferred[None] = Deferred()
            for node in self.order(KEY)[:2]:
                node.script("get", late(lambda gate=gate: gate))
            writing = self.rewriting()
            self.stored(KEY, newer := b"n" * 9000)
            gate.callback(None)
            self.successResultOf(writing)
            self.assertEqual(self.read(KEY), newer)
            self.assertEqual(self.a.buckets[BUCKET][KEY].head.own, ((TAGS, b"a=b"),))

    def test_other_tags_that_come_between_arent_undone(self) -> None:
        for data in (SMALL, FLOWING, LONG):
            self.stored(KEY, data, told=data != LONG)
            gates: list[Deferred[None]] = [Deferred(), Deferred()]
            method = "put_part" if data == LONG else "put"
            for gate, node in zip(gates, self.order(KEY)[:2], strict=True):
                node.script(method, late(lambda gate=gate: gate))
            names = [OWN_METADATA + b"tag-%d" % number for number in range(3)]
            writings = [
                self.rewriting(lambda head, name=name: (*head.own, (name, b"x"))) for name in names
            ]
            for gate in gates:
                gate.callback(None)
            for writing in writings:
                self.successResultOf(writing)
            self.assertEqual({name for name, _ in self.a.buckets[BUCKET][KEY].head.own}, set(names))

    def test_it_doesnt_start_over_for_ever(self) -> None:
        for lay in (lambda: self.lay_parts(*PARTS), lambda: self.stored(KEY, FLOWING)):
            lay()
            numbers = itertools.count()

            def change(head: ObjectHead, numbers: itertools.count[int] = numbers) -> Headers:
                self.stored(KEY, b"%d" % next(numbers))
                return tagged(head)

            error = self.failureResultOf(self.rewriting(change), Overtaken).value
            self.assertEqual((error.code, next(numbers)), ("OperationAborted", 5))

    def test_a_deleted_one_stays_deleted(self) -> None:
        for lay in (lambda: self.lay_parts(*PARTS), lambda: self.stored(KEY, FLOWING)):
            lay()
            gate: Deferred[None] = Deferred()
            for node in self.order(KEY)[:2]:
                node.script("get", late(lambda gate=gate: gate))
            writing = self.rewriting()
            self.deleted(KEY)
            gate.callback(None)
            self.failureResultOf(writing, NoSuchKey)
            self.assertEqual(self.holders(), "")

    def test_a_silent_complete_is_marked(self) -> None:
        self.lay_parts(*PARTS)
        gate: Deferred[object] = Deferred()
        self.b.script("complete_upload", lost_and_lands_late(lambda: gate))
        self.rewritten()
        self.assertEqual([self.letters(mark.silent) for mark in self.marks()], ["b"])
        gate.callback(None)
        self.uploads_may_stay = True

    def test_who_leaves_while_it_is_cleaned_up_leaves_nothing_either(self) -> None:
        self.lay_parts(*PARTS)
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put_part", refused(), None)
            node.script("abort_upload", late(lambda: gate))
        writing = self.rewriting()
        writing.cancel()
        writing.cancel()
        gate.callback(None)
        self.failureResultOf(writing)
        self.successResultOf(self.run_(self.store.to_the_end.idle()))
        self.assertEqual(self.remembered("uploads/"), {})

    def test_who_leaves_leaves_no_upload_behind(self) -> None:
        for method in ("create_upload", "put_part", "get"):
            self.lay_parts(*PARTS)
            gate: Deferred[None] = Deferred()
            for node in self.nodes:
                node.script(method, late(lambda gate=gate: gate))
            writing = self.rewriting()
            writing.cancel()
            gate.callback(None)
            self.failureResultOf(writing, CancelledError)
            self.successResultOf(self.run_(self.store.to_the_end.idle()))
            for node in self.nodes:
                node.heal()
                self.assertEqual(node.uploads, {}, method)
            self.assertEqual(self.read(KEY), WHOLE)
