"""Clients' uploads while nodes fail, gateways come and go, and others write the key."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from aosd.gateway.multipart import list_parts
from aosd.model.errors import ClusterError, NoQuorum, NoSuchKey, NoSuchUpload
from aosd.model.node import Member, NodeState
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.testing.faults import (
    breaks,
    full,
    lands_late,
    late,
    refused,
    timed_out,
    unavailable,
)
from tests.unit.gateway_case import BUCKET, KEY
from tests.unit.uploads_case import LONG_PART, SHORT, UploadsTestCase

FAULTS = (unavailable(), timed_out(), refused(), full(), breaks(20))


class NodesFailTests(UploadsTestCase):
    """Five nodes: `a` and `b` are primaries; an upload is on `c`, too."""

    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.uploads_may_stay = True  # on those that couldn't be told

    def test_begun_on_r_nodes_at_least(self) -> None:
        for fault in (unavailable(), refused(), full(), timed_out(carried_out=True)):
            self.b.script("create_upload", fault)
            upload_id = self.created()
            self.b.heal()
            parts = [self.part(upload_id, 1, SHORT)]
            self.completed(upload_id, parts)
            self.assertEqual(self.holders(data=SHORT), "ac", fault)
            self.assertEqual(len(self.marks()), 1)
            self.forget()
            for node in self.nodes:
                node.buckets[BUCKET].clear()
                node.uploads.clear()
        for node in (self.a, self.b):
            node.script("create_upload", unavailable())
        self.failureResultOf(self.creating(), ClusterError)
        self.assertEqual(self.open_on(), "")
        self.assertEqual(self.uploads().uploads, ())

    def test_one_that_cant_be_remembered_isnt_begun(self) -> None:
        for node in self.nodes[1:]:
            node.script("put", refused())
        self.failureResultOf(self.creating(), NoQuorum)
        self.assertEqual(self.open_on(), "")

    def test_a_part_that_one_node_misses(self) -> None:
        for data in (SHORT, LONG_PART):
            for fault in FAULTS:
                for node in (self.a, self.b, self.c):
                    upload_id = self.created()
                    one = self.part(upload_id, 1, SHORT)
                    node.script("put_part", fault)
                    two = self.part(upload_id, 2, data)
                    three = self.part(upload_id, 3, data)
                    written = self.completed(upload_id, [one, two, three])
                    self.assertEqual(written.etag, self.etag(SHORT, data, data))
                    holders = self.holders(data=SHORT + data + data)
                    self.assertEqual(len(holders), 2, (fault, holders))
                    self.assertNotIn(node, [each for each in self.nodes if each.uploads])
                    self.deleted(KEY)
                    self.forget()

    def test_a_part_that_too_few_take_isnt_acknowledged(self) -> None:
        upload_id = self.created()
        for node in (self.a, self.c):
            node.script("put_part", unavailable())
        self.failureResultOf(self.putting(upload_id, 1, SHORT), NoQuorum)
        one = self.part(upload_id, 1, SHORT)
        self.completed(upload_id, [one])
        self.assertEqual(self.holders(), "ab")

    def test_some_node_keeps_all_parts(self) -> None:
        upload_id = self.created()
        parts = []
        for number, node in enumerate((self.a, self.b), 1):
            node.script("put_part", unavailable())
            parts.append(self.part(upload_id, number, SHORT))
        self.c.script("put_part", unavailable())
        self.failureResultOf(self.putting(upload_id, 3, SHORT), NoQuorum)
        parts.append(self.part(upload_id, 3, SHORT))
        self.completed(upload_id, parts)
        self.assertEqual(self.holders(data=3 * SHORT), "ac")
        self.assertEqual(self.letters(self.marks()[0].nodes), "bc")

    def test_a_part_sent_again_is_missed_no_more(self) -> None:
        upload_id = self.created()
        self.a.script("put_part", unavailable())
        self.part(upload_id, 1, SHORT)
        one = self.part(upload_id, 1, SHORT)
        self.b.script("put_part", unavailable())
        two = self.part(upload_id, 2, SHORT)
        self.c.script("put_part", unavailable())
        three = self.part(upload_id, 3, SHORT)
        self.completed(upload_id, [one, two, three])
        self.assertEqual(self.holders(), "ab")

    def test_it_goes_on_with_nodes_away(self) -> None:
        for away in (NodeState.DOWN, NodeState.SUSPECT, NodeState.FULL):
            for nodes in ((self.a,), (self.c,), (self.a, self.b)):
                upload_id = self.created()
                one = self.part(upload_id, 1, SHORT)
                for node in nodes:
                    self.state(node, away)
                two = self.part(upload_id, 2, LONG_PART)
                self.completed(upload_id, [one, two])
                holders = self.holders(data=SHORT + LONG_PART)
                self.assertEqual(len(holders), 2)
                self.settle()
                self.forget()
                for each in self.nodes:
                    each.buckets[BUCKET].clear()
                    each.uploads.clear()

    def test_none_while_too_few_nodes_take_writes(self) -> None:
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        self.down(self.b, self.c, self.d)
        self.failureResultOf(self.putting(upload_id, 2, SHORT), NoQuorum)
        self.failureResultOf(self.completing(upload_id, [one]), NoQuorum)
        self.assertEqual(self.holders(), "")
        self.settle()
        self.completed(upload_id, [one])

    def test_nobody_is_left_who_knows_it(self) -> None:
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        self.down(self.a, self.b)
        self.c.uploads.clear()
        self.failureResultOf(self.putting(upload_id, 2, SHORT), NoQuorum)
        self.failureResultOf(self.completing(upload_id, [one]), NoQuorum)
        self.settle()
        for node in (self.a, self.b):
            node.uploads.clear()
        self.failureResultOf(self.putting(upload_id, 2, SHORT), NoSuchUpload)
        self.failureResultOf(self.completing(upload_id, [one]), NoSuchUpload)

    def test_a_node_that_forgot_it_is_out(self) -> None:
        upload_id = self.created()
        self.a.uploads.clear()
        self.b.uploads.clear()
        one = self.part(upload_id, 1, SHORT)
        self.completed(upload_id, [one])
        self.assertEqual(self.holders(), "ac")

    def test_a_node_that_has_not_even_the_bucket_is_out_too(self) -> None:
        upload_id = self.created()
        self.down(self.b)
        self.c.wipe()
        self.c.buckets[SYSTEM_BUCKET] = {}
        one = self.part(upload_id, 1, SHORT)
        two = self.part(upload_id, 2, LONG_PART)
        self.assertEqual(self.parts_of(upload_id), [1, 2])
        self.c.buckets[BUCKET] = {}
        self.completed(upload_id, [one, two])
        self.assertEqual(len(self.holders(data=SHORT + LONG_PART)), 2)

    def test_nobody_has_the_bucket(self) -> None:
        upload_id = self.created()
        for node in self.nodes:
            node.wipe()
        self.failureResultOf(self.putting(upload_id, 1, SHORT), NoSuchUpload)
        self.failureResultOf(self.completing(upload_id, [(1, "e")]), NoSuchUpload)
        listing = self.run_(list_parts(self.store, BUCKET, KEY, upload_id))
        self.failureResultOf(listing, NoSuchUpload)
        for node in self.nodes:
            node.buckets[BUCKET] = {}

    def test_a_part_on_a_node_that_is_away(self) -> None:
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        for node in (self.b, self.c):
            for each in node.uploads.values():
                each.parts.clear()
        self.down(self.a)
        self.failureResultOf(self.completing(upload_id, [one]), NoQuorum)
        self.settle()
        self.completed(upload_id, [one])
        self.assertEqual(self.holders(), "ab")


class RingChangesTests(UploadsTestCase):
    count = 7

    def test_none_of_its_nodes_could_hold_the_key_any_more(self) -> None:
        upload_id = self.created()
        parts = [self.part(upload_id, 1, LONG_PART)]
        theirs = {node.name for node in self.nodes if node.uploads}
        self.placement.ring = Ring(
            Member(node.name, 1e-9 if node.name in theirs else 1.0, node.name)
            for node in self.nodes
        )
        self.unsettle()
        parts.append(self.part(upload_id, 2, SHORT))
        self.completed(upload_id, parts)
        self.assertEqual(self.read(KEY), LONG_PART + SHORT)
        primaries = {each.name for each in self.store.primaries(BUCKET, KEY)}
        have = {node.name for node in self.nodes if KEY in node.buckets[BUCKET]}
        self.assertLess(primaries, have)
        # Who removes it from where it doesn't belong is told of it.
        self.assertLess(have - primaries, {n for mark in self.marks() for n in mark.nodes} | {""})
        self.assertEqual(self.open_on(), "")

    def test_none_of_its_nodes_is_a_member_any_more(self) -> None:
        upload_id = self.created()
        self.uploads_may_stay = True
        theirs = {node.name for node in self.nodes if node.uploads}
        self.placement.ring = Ring(
            Member(node.name, 1.0, node.name) for node in self.nodes if node.name not in theirs
        )
        self.failureResultOf(self.putting(upload_id, 1, SHORT), NoSuchUpload)
        self.failureResultOf(self.completing(upload_id, [(1, "e")]), NoSuchUpload)


class CompleteFailsTests(UploadsTestCase):
    """Four nodes, so that another handoff is there."""

    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.uploads_may_stay = True

    def begun(self) -> tuple[str, list[tuple[int, str]]]:
        upload_id = self.created()
        return upload_id, [self.part(upload_id, 1, SHORT), self.part(upload_id, 2, LONG_PART)]

    def test_a_node_that_doesnt_complete_it(self) -> None:
        for fault in (unavailable(), refused(), timed_out(), refused(400, "InvalidPart")):
            for node in (self.a, self.b):
                upload_id, parts = self.begun()
                node.script("complete_upload", fault)
                self.completed(upload_id, parts)
                holders = self.holders(data=SHORT + LONG_PART)
                self.assertEqual(holders, "bc" if node is self.a else "ac")
                (mark,) = self.marks()
                self.assertIn(node.name, mark.nodes)
                for each in self.nodes:
                    each.buckets[BUCKET].clear()
                self.forget()

    def test_nobody_completes_it_and_it_is_open_still(self) -> None:
        upload_id, parts = self.begun()
        for node in self.nodes:
            node.script("complete_upload", unavailable())
        self.failureResultOf(self.completing(upload_id, parts), NoQuorum)
        self.assertEqual(self.open_on(), "abc")
        self.assertEqual(len(self.uploads().uploads), 1)
        self.completed(upload_id, parts)
        # Who was silent may carry the first one out yet: one that wasn't has it, too.
        self.assertEqual(self.holders(data=SHORT + LONG_PART), "abd")

    def test_only_one_completes_it_and_the_rest_is_copied(self) -> None:
        upload_id, parts = self.begun()
        for node in (self.b, self.c):
            node.script("complete_upload", refused())
        self.completed(upload_id, parts)
        self.assertEqual(self.holders(data=SHORT + LONG_PART), "ad")
        self.assertEqual(self.stamp_on(self.a), self.stamp_on(self.d))

    def test_the_rest_is_copied_though_another_complete_comes_between(self) -> None:
        """It is restamped then, and the copy that was under way isn't what counts any more."""
        upload_id, parts = self.begun()
        for node in (self.a, self.b):
            node.script("complete_upload", refused(), times=None)
        copy = self.store.copying.copy
        tries: list[Any] = []

        async def overtaken(*args: Any, **how: Any) -> bool:
            tries.append(args)
            return len(tries) > 1 and await copy(*args, **how)

        with patch.object(type(self.store.copying), "copy", lambda _, *args: overtaken(*args)):
            self.completed(upload_id, parts)
        self.assertEqual(len(tries), 2)
        self.assertEqual(len(self.holders(data=SHORT + LONG_PART)), 2)

    def test_once_more_when_too_few_have_it(self) -> None:
        upload_id, parts = self.begun()
        for node in (self.b, self.c):
            node.script("complete_upload", refused())
        self.d.script("create_upload", refused())
        self.failureResultOf(self.completing(upload_id, parts), NoQuorum)
        self.assertEqual(self.holders(), "a")
        written = self.completed(upload_id, parts)
        self.assertEqual(written.etag, self.etag(SHORT, LONG_PART))
        self.assertEqual(self.holders(data=SHORT + LONG_PART), "ab")

    def test_once_more_after_a_lost_answer(self) -> None:
        for again in (False, True):
            upload_id, parts = self.begun()
            written = self.completed(upload_id, parts)
            if again:
                self.restart()
            repeated = self.completed(upload_id, parts)
            self.assertEqual(repeated, written)
            self.failureResultOf(self.completing(upload_id, parts[:1]), NoSuchUpload)
            self.assertEqual(self.holders(data=SHORT + LONG_PART), "ab")

    def test_all_answers_were_lost(self) -> None:
        upload_id, parts = self.begun()
        for node in self.nodes:
            node.script("complete_upload", timed_out(carried_out=True))
        self.failureResultOf(self.completing(upload_id, parts), ClusterError)
        self.restart()
        self.completed(upload_id, parts)
        self.assertGreaterEqual(len(self.holders(data=SHORT + LONG_PART)), 2)

    def test_a_complete_that_lands_after_another_looked(self) -> None:
        upload_id, parts = self.begun()
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("complete_upload", lands_late(lambda: gate))
        self.failureResultOf(self.completing(upload_id, parts), ClusterError)
        looking: Deferred[None] = Deferred()
        self.a.script("complete_upload", late(lambda: looking))
        again = self.completing(upload_id, parts)
        gate.callback(None)
        looking.callback(None)
        self.successResultOf(again)
        self.assertGreaterEqual(len(self.holders(data=SHORT + LONG_PART)), 2)

    def test_once_more_after_it_was_overwritten_or_deleted(self) -> None:
        for restarts in (False, True):
            for overwritten in (True, False):
                upload_id, parts = self.begun()
                self.completed(upload_id, parts)
                if overwritten:
                    self.stored(KEY, b"newer")
                else:
                    self.deleted(KEY)
                if restarts:
                    self.restart()
                self.failureResultOf(self.completing(upload_id, parts), NoSuchUpload)
                self.failureResultOf(self.putting(upload_id, 3, SHORT), NoSuchUpload)
                if overwritten:
                    self.assertEqual(self.read(KEY), b"newer")
                else:
                    self.failureResultOf(self.getting(KEY), NoSuchKey)

    def test_a_record_that_came_back_holds_up_nobody_who_leaves(self) -> None:
        upload_id, parts = self.begun()
        open_one = self.created("another")
        before, other = self.store.uploads.all()
        self.completed(upload_id, parts)
        self.restart()
        self.store.uploads.load({f"uploads/{before.id}": before.to_bytes()})
        nodes = {node.name: node for node in self.nodes}
        self.now(self.store.uploads.tend(nodes, 0.0))
        self.assertEqual([each.id for each in self.store.uploads.all()], [before.id, other.id])
        for name in before.uploads:
            self.assertIn(before.id, self.known_on(name))
            nodes[name].script("list_uploads", refused(), times=None)
            self.now(self.store.uploads.tend(nodes, 0.0, leaving=[name]))
            self.assertIn(before.id, self.known_on(name))
            nodes[name].heal()
            self.now(self.store.uploads.tend(nodes, 0.0, leaving=[name]))
            self.assertNotIn(before.id, self.known_on(name))
        self.now(self.store.uploads.tend(nodes, 0.0, leaving=list(nodes)))
        self.assertEqual([each.id for each in self.store.uploads.all()], [other.id])
        self.part(open_one, 1, SHORT, key="another")

    def test_one_ends_while_it_is_asked_whether_it_is_open(self) -> None:
        upload_id, parts = self.begun()
        (before,) = self.store.uploads.all()
        gate: Deferred[None] = Deferred()
        node = next(each for each in self.nodes if each.name in before.uploads)
        node.script("list_uploads", late(lambda: gate))
        tending = self.run_(self.store.uploads.tend({node.name: node}, 0.0, leaving=[node.name]))
        self.completed(upload_id, parts)
        gate.callback(None)
        self.successResultOf(tending)
        self.assertEqual(self.store.uploads.all(), [])

    def known_on(self, name: str) -> set[str]:
        return {each.id for each in self.store.uploads.all() if name in each.uploads}

    def test_of_a_completed_one_nothing_comes_back_from_a_node_that_was_away(self) -> None:
        upload_id, parts = self.begun()
        self.down(self.c)
        self.completed(upload_id, parts)
        self.assertEqual(self.open_on(), "c")
        self.settle()
        self.stored(KEY, b"newer")
        self.assertEqual(self.uploads().uploads, ())
        self.failureResultOf(self.completing(upload_id, parts), NoSuchUpload)
        self.restart()
        self.assertEqual(self.uploads().uploads, ())
        self.failureResultOf(self.completing(upload_id, parts), NoSuchUpload)
        nodes = {node.name: node for node in self.nodes}
        self.now(self.store.uploads.tend(nodes, 0.0))
        self.assertEqual(self.open_on(), "")
        self.assertEqual(self.remembered("uploads/"), {})
        self.assertEqual(self.read(KEY), b"newer")


class OthersWriteTests(UploadsTestCase):
    """What came since Create is older than what is completed after it."""

    def test_writes_and_deletes_meanwhile(self) -> None:
        for restarts in (False, True):
            for settled in (True, False):
                for key, data in ((KEY, SHORT), (KEY, LONG_PART)):
                    upload_id = self.created()
                    parts = [self.part(upload_id, 1, data)]
                    self.stored(key, b"meanwhile")
                    self.deleted(key)
                    if data is SHORT:
                        self.stored(key, b"and again")
                    if restarts:
                        self.restart()
                    if not settled:
                        self.unsettle()
                    self.clock.advance(10)
                    written = self.completed(upload_id, parts)
                    self.assertEqual(self.read(key), data)
                    self.assertEqual(self.read(key, newest=True), data)
                    self.assertEqual(written.modified_s, int(self.clock.seconds()))
                    self.deleted(key)
                    self.failureResultOf(self.getting(key, newest=True), NoSuchKey)
                    self.failureResultOf(self.completing(upload_id, parts), NoSuchUpload)

    def test_restamped_only_when_it_has_to_be(self) -> None:
        self.stored(KEY, b"before")
        upload_id = self.created()
        self.completed(upload_id, [self.part(upload_id, 1, SHORT)])
        stamp = self.stamp_on(self.a)
        self.assertEqual(self.store.journal.counts_as(BUCKET, KEY, stamp), stamp)

    def test_one_that_is_completed_first_is_overwritten(self) -> None:
        upload_id = self.created()
        parts = [self.part(upload_id, 1, SHORT)]
        self.stored(KEY, b"meanwhile")
        self.completed(upload_id, parts)
        self.stored(KEY, b"newest")
        self.assertEqual(self.read(KEY, newest=True), b"newest")
        self.failureResultOf(self.completing(upload_id, parts), NoSuchUpload)
        self.assertEqual(self.read(KEY, newest=True), b"newest")

    def test_an_abort_comes_before_a_complete_or_after_it(self) -> None:
        for aborts_first in (True, False):
            upload_id = self.created()
            parts = [self.part(upload_id, 1, SHORT)]
            gate: Deferred[None] = Deferred()
            if aborts_first:
                self.b.script("abort_upload", late(lambda gate=gate: gate))
                aborting = self.aborting(upload_id)
                completing = self.completing(upload_id, parts)
                gate.callback(None)
                self.successResultOf(aborting)
                self.failureResultOf(completing, NoSuchUpload)
                self.assertEqual(self.holders(), "")
            else:
                self.b.script("complete_upload", late(lambda gate=gate: gate))
                completing = self.completing(upload_id, parts)
                aborting = self.aborting(upload_id)
                gate.callback(None)
                self.successResultOf(completing)
                self.failureResultOf(aborting, NoSuchUpload)
                self.assertEqual(self.read(KEY), SHORT)

    def test_one_that_ends_meanwhile_is_known_no_more(self) -> None:
        for aborts in (True, False):
            upload_id = self.created()
            parts = [self.part(upload_id, 1, SHORT)]
            gate: Deferred[None] = Deferred()
            ended: Deferred[None] = Deferred()
            for node in (self.a, self.b):
                for verb in ("list_parts", "put_part"):
                    node.script(verb, late(lambda gate=gate: gate))
            self.c.script("list_parts", unavailable())
            self.c.script("put_part", timed_out())
            self.c.script("abort_upload", late(lambda ended=ended: ended))
            listing = self.run_(list_parts(self.store, BUCKET, KEY, upload_id))
            putting = self.putting(upload_id, 2, SHORT)
            ending = self.aborting(upload_id) if aborts else self.completing(upload_id, parts)
            if not aborts:
                self.successResultOf(ending)
            else:
                ended.callback(None)
            gate.callback(None)
            self.failureResultOf(listing, NoSuchUpload)
            self.failureResultOf(putting, NoSuchUpload)
            self.failureResultOf(self.putting(upload_id, 2, SHORT), NoSuchUpload)
            self.assertEqual(self.uploads().uploads, ())
            if not aborts:
                ended.callback(None)
            self.successResultOf(ending)
            self.assertEqual(self.open_on(), "")

    def test_another_gateway_goes_on(self) -> None:
        upload_id = self.created()
        one = self.part(upload_id, 1, SHORT)
        self.restart()
        two = self.part(upload_id, 2, LONG_PART)
        self.assertEqual(self.parts_of(upload_id), [1, 2])
        self.restart()
        self.completed(upload_id, [one, two])
        self.assertEqual(self.read(KEY), SHORT + LONG_PART)
        self.assertEqual(self.remembered("uploads/"), {})
        upload_id = self.created()
        self.restart()
        self.successResultOf(self.aborting(upload_id))
        self.assertEqual(self.open_on(), "")
        self.failureResultOf(self.aborting(upload_id), NoSuchUpload)
