"""Copies: new writes of what a read found, to another key or onto themselves."""

from __future__ import annotations

import itertools
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed

from aosd.gateway.copy import copy
from aosd.gateway.requests import Copy as Copying
from aosd.gateway.requests import Written
from aosd.model.conditions import Conditions
from aosd.model.errors import (
    BadRequest,
    NoQuorum,
    NoSuchKey,
    Overtaken,
    PreconditionFailed,
    UpstreamNonsense,
)
from aosd.model.objects import OWN_METADATA, Headers, ObjectHead
from aosd.testing.faults import breaks, late, stalls, unavailable
from tests.unit.gateway_case import (
    BUCKET,
    FLOWING,
    KEY,
    LONG,
    SMALL,
    GatewayTestCase,
    etag_of,
)

USERS: Headers = ((b"content-type", b"a/b"), (b"x-amz-meta-who", "é".encode()))
OTHERS: Headers = ((b"content-type", b"c/d"), (b"x-amz-meta-what", b"it"))
TAGS = OWN_METADATA + b"tags"
CHECKSUM = OWN_METADATA + b"checksum-crc32"
OWN: Headers = ((TAGS, b"a=b"), (CHECKSUM, b"AAAAAA=="))
# Of each way of going: held whole, flowing, in parts.
BODIES = (b"", SMALL, FLOWING, b"x" * 100_001)


class CopyCase(GatewayTestCase):
    """Copies of `KEY`."""

    def copying(self, key: str = "copy", **more: object) -> Deferred[Written]:
        asked = Copying(BUCKET, KEY, BUCKET, key, **more)  # type: ignore[arg-type]
        return self.run_(copy(self.store, asked))

    def copied(self, key: str = "copy", **more: object) -> Written:
        return self.successResultOf(self.copying(key, **more))

    def head_of(self, key: str) -> ObjectHead:
        """That of both its copies."""
        primary, other = (node.buckets[BUCKET][key].head for node in self.order(key)[:2])
        self.assertEqual(primary._replace(modified_s=0), other._replace(modified_s=0))
        return primary


class CopyTests(CopyCase):
    """To another key."""

    def test_bytes_and_all_metadata_come_along(self) -> None:
        for data in BODIES:
            source = self.stored(KEY, data, headers=USERS, own=OWN)
            self.clock.advance(7)
            written = self.copied()
            self.assertEqual(written.size_bytes, len(data))
            self.assertEqual(written.etag, source.etag)
            self.assertEqual(written.modified_s, self.clock.seconds())
            self.assertEqual(self.read("copy"), data)
            head = self.head_of("copy")
            self.assertEqual((head.headers, head.own), (USERS, OWN))
            self.assertGreater(head.stamp or "", self.stamp_on(self.a))
            self.assertEqual(self.read(KEY), data)

    def test_metadata_can_be_replaced(self) -> None:
        self.stored(KEY, SMALL, headers=USERS, own=OWN)
        self.copied(headers=OTHERS)
        head = self.head_of("copy")
        self.assertEqual((head.headers, head.own), (OTHERS, OWN))
        self.copied(headers=())
        self.assertEqual(self.head_of("copy").headers, ())

    def test_our_own_metadata_can_be_replaced_name_by_name(self) -> None:
        self.stored(KEY, SMALL, headers=USERS, own=OWN)
        self.copied(own=((TAGS, b"c=d"),))
        self.assertEqual(set(self.head_of("copy").own), {(TAGS, b"c=d"), OWN[1]})
        self.copied(own=((TAGS, b""),))
        self.assertEqual(self.head_of("copy").own, (OWN[1],))
        self.copied(own=((OWN_METADATA + b"class", b"GLACIER"),))
        self.assertEqual(self.head_of("copy").own, (*OWN, (OWN_METADATA + b"class", b"GLACIER")))

    def test_an_object_of_parts_becomes_one_in_one_piece(self) -> None:
        own = (OWN[0], (CHECKSUM, b"AAAAAA==-11"), (OWN_METADATA + b"words", b"a-b"))
        self.stored(KEY, LONG, told=False, headers=USERS, own=own)
        self.assertIn("-", self.head_of(KEY).etag)
        self.assertEqual(self.copied().etag, etag_of(LONG))
        # A checksum of the parts' checksums isn't this one's.
        self.assertEqual(self.head_of("copy").own, (own[0], own[2]))
        self.assertEqual(self.read("copy"), LONG)

    def test_conditions_on_the_source_are_never_not_modified(self) -> None:
        etag = self.stored(KEY, SMALL).etag
        holds, fails = "Tue, 14 Nov 2023 22:13:21 GMT", "Tue, 14 Nov 2023 22:13:19 GMT"
        for conditions in (
            Conditions(if_match='"other"'),
            Conditions(if_none_match=etag),
            Conditions(if_modified_since=holds),
            Conditions(if_unmodified_since=fails),
            Conditions(if_none_match=etag, if_modified_since=fails),
        ):
            writing = self.copying(source_conditions=conditions)
            error = self.failureResultOf(writing, PreconditionFailed).value
            self.assertFalse(error.absent)
            self.assertEqual(self.holders("copy"), "")
        for conditions in (
            Conditions(if_match=etag, if_unmodified_since=fails),
            Conditions(if_none_match='"other"', if_modified_since=holds),
            Conditions(if_modified_since=fails),
            Conditions(if_unmodified_since=holds),
        ):
            self.copied(source_conditions=conditions)

    def test_conditions_on_the_target(self) -> None:
        self.stored(KEY, SMALL)
        failing = self.copying(conditions=Conditions(if_match="*"))
        self.assertTrue(self.failureResultOf(failing, PreconditionFailed).value.absent)
        self.copied(conditions=Conditions(if_none_match="*"))
        failing = self.copying(conditions=Conditions(if_none_match="*"))
        self.assertFalse(self.failureResultOf(failing, PreconditionFailed).value.absent)
        self.copied(conditions=Conditions(if_match=etag_of(SMALL)))
        failing = self.copying(conditions=Conditions(if_none_match='"a"'))
        self.failureResultOf(failing, BadRequest)

    def test_of_nothing(self) -> None:
        self.failureResultOf(self.copying(), NoSuchKey)

    def test_what_no_node_could_keep_is_refused(self) -> None:
        self.stored(KEY, SMALL)
        for headers in (((OWN_METADATA + b"stamp", b"1"),), ((b"x-amz-meta-a", b"x" * 2048),)):
            self.failureResultOf(self.copying(headers=headers), BadRequest)

    def test_a_source_that_fails_midway_is_made_up_for_by_another(self) -> None:
        self.stored(KEY, FLOWING)
        for node in self.order(KEY)[:1]:
            node.script("get", breaks(2000))
        self.copied()
        self.assertEqual(self.read("copy"), FLOWING)

    def test_a_source_that_nobody_has_the_rest_of(self) -> None:
        for data in (SMALL, FLOWING, b"x" * 100_001):
            self.stored(KEY, data)
            for node in self.nodes:
                node.script("get", breaks(10))
                node.script("get", unavailable(), None)
            self.failureResultOf(self.copying(), NoQuorum)
            for node in self.nodes:
                node.heal()
            self.assertEqual(self.holders("copy"), "")

    def test_bytes_that_rotted_dont_spread(self) -> None:
        for data in (SMALL, FLOWING):
            self.stored(KEY, data)
            for node in self.order(KEY)[:2]:
                there = node.buckets[BUCKET]
                there[KEY] = replace(there[KEY], data=b"?" * len(data))
            self.failureResultOf(self.copying(), UpstreamNonsense)
            self.assertEqual(self.holders("copy"), "")

    def test_who_leaves_leaves_nothing_behind(self) -> None:
        self.stored(KEY, FLOWING)
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate), None)
        writing = self.copying()
        writing.cancel()
        gate.callback(None)
        self.failureResultOf(writing)


class OntoItselfTests(CopyCase):
    """How clients rewrite metadata."""

    def test_metadata_is_replaced(self) -> None:
        for data in (*BODIES, LONG):
            self.stored(KEY, data, told=data != LONG, headers=USERS, own=OWN)
            self.clock.advance(7)
            written = self.copied(KEY, headers=OTHERS)
            self.assertEqual(written.modified_s, self.clock.seconds())
            self.assertEqual(self.read(KEY), data)
            head = self.head_of(KEY)
            self.assertEqual((head.headers, head.own), (OTHERS, OWN))

    def test_without_any_change_it_is_refused(self) -> None:
        self.stored(KEY, SMALL, headers=USERS, own=OWN)
        for own in ((), (OWN[0],), ((OWN_METADATA + b"class", b""),)):
            error = self.failureResultOf(self.copying(KEY, own=own), BadRequest).value
            self.assertEqual(error.code, "InvalidRequest")
        self.copied(KEY, headers=USERS)
        self.copied(KEY, own=((TAGS, b""),))
        self.assertEqual(self.head_of(KEY).own, (OWN[1],))

    def test_a_write_that_comes_between_isnt_undone(self) -> None:
        for data in (SMALL, FLOWING):
            self.stored(KEY, b"old", headers=USERS)
            if data == FLOWING:
                self.stored(KEY, b"o" * 5000, headers=USERS)
            gate: Deferred[None] = Deferred()
            # The copy's bytes are on their way when the other write takes effect.
            for node in self.order(KEY)[:2]:
                node.script("get", late(lambda gate=gate: gate))
            writing = self.copying(KEY, headers=OTHERS)
            self.stored(KEY, data, headers=USERS)
            gate.callback(None)
            self.successResultOf(writing)
            self.assertEqual(self.read(KEY), data)
            self.assertEqual(self.head_of(KEY).headers, OTHERS)

    def test_many_at_once_dont_stand_in_each_others_way(self) -> None:
        self.stored(KEY, FLOWING, headers=USERS)
        gate: Deferred[None] = Deferred()
        self.a.script("put", late(lambda: gate))
        first = self.copying(KEY, headers=OTHERS)
        others = [
            self.copying(KEY, headers=((b"x-amz-meta-number", b"%d" % number),))
            for number in range(3)
        ]
        self.assertNoResult(first)
        gate.callback(None)
        for writing in (first, *others):
            self.successResultOf(writing)
        self.assertEqual(self.read(KEY), FLOWING)
        ((name, _),) = self.head_of(KEY).headers
        self.assertEqual(name, b"x-amz-meta-number")

    def test_it_doesnt_start_over_for_ever(self) -> None:
        self.stored(KEY, SMALL)
        numbers = itertools.count()

        def overtake() -> Deferred[None]:
            self.stored(KEY, b"%d" % next(numbers))
            return succeed(None)

        # Each time that it looks whether it may, something newer has come.
        for node in self.order(KEY)[:2]:
            node.script("head", late(overtake), None)
        error = self.failureResultOf(self.copying(KEY, headers=OTHERS), Overtaken).value
        self.assertEqual((error.code, next(numbers)), ("OperationAborted", 5))

    def test_tags_that_come_between_arent_undone(self) -> None:
        self.stored(KEY, FLOWING, headers=USERS, own=OWN)
        gate: Deferred[None] = Deferred()
        for node in self.order(KEY)[:2]:
            node.script("get", stalls(1000, lambda: gate))
        writing = self.copying(KEY, headers=OTHERS)
        for node in self.order(KEY)[:2]:
            node.heal()
        self.copied(KEY, own=((TAGS, b"c=d"),))
        gate.callback(None)
        self.successResultOf(writing)
        head = self.head_of(KEY)
        self.assertEqual(set(head.own), {(TAGS, b"c=d"), OWN[1]})
        self.assertEqual(head.headers, OTHERS)

    def test_a_deleted_one_stays_deleted(self) -> None:
        self.stored(KEY, FLOWING)
        gate: Deferred[None] = Deferred()
        self.a.script("get", late(lambda: gate))
        self.b.script("get", late(lambda: gate))
        writing = self.copying(KEY, headers=OTHERS)
        self.deleted(KEY)
        gate.callback(None)
        self.failureResultOf(writing, NoSuchKey)
        self.assertEqual(self.holders(), "")
