"""Copying from node to node: the same there, at the key's turn, and over nothing newer."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.copying import Copier
from aosd.consistency.memory import Memory
from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.consistency.uploads import Uploads
from aosd.consistency.writes import Writes
from aosd.model.errors import (
    NodeError,
    NodeNonsense,
    NodeTimeout,
    NodeUnavailable,
    NoQuorum,
)
from aosd.model.objects import OWN_METADATA, STAMP_HEADER, SYSTEM_BUCKET
from aosd.model.stamp import StampClock
from aosd.model.versions import version_of
from aosd.ports import Candidate
from aosd.streams.budget import MemoryBudget
from aosd.testing.bodies import BytesBody
from aosd.testing.faults import breaks, late, refused, stalls, timed_out
from aosd.testing.memory_node import Copy, MemoryNode

S1, S2, S3 = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2, 3))
USERS = (
    (b"content-type", b"text/plain"),
    (b"x-amz-meta-who", b"me"),
    (OWN_METADATA + b"tags", b"a=b"),
)
LONG = bytes(range(256)) * 16


class Remembered:
    def __init__(self) -> None:
        self.deletes: dict[tuple[str, str], str] = {}
        self.restamps: dict[str, str] = {}

    def delete_of(self, bucket: str, key: str) -> str | None:
        return self.deletes.get((bucket, key))

    def counts_as(self, bucket: str, key: str, stamp: str) -> str:
        return self.restamps.get(stamp, stamp)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class CopyingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.to_the_end = ToTheEnd()
        self.turns = Turns(self.clock, 20.0, self.to_the_end)
        self.writes = Writes()
        self.watch = self.writes.watch()
        self.budget = MemoryBudget(10_000, self.clock)
        self.journal = Remembered()
        self.memory_node = MemoryNode("m")
        self.uploads = Uploads(
            Memory(
                lambda: [Candidate("m", self.memory_node)],
                1,
                self.to_the_end,
                self.clock.seconds,
                1200.0,
            )
        )
        self.copier = Copier(
            turns=self.turns,
            writes=self.writes,
            journal=self.journal,
            budget=self.budget,
            uploads=self.uploads,
            stamps=StampClock(self.clock.seconds, "0000000a"),
            held_bytes=1024,
        )
        self.source = MemoryNode("source", piece_bytes=100)
        self.target = MemoryNode("target", piece_bytes=100, now=lambda: 1_700_000_999.0)

    def tearDown(self) -> None:
        self.assertEqual(len(self.turns), 0)
        self.assertEqual(self.budget.used_bytes, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for node in (self.source, self.target):
            self.assertEqual(node.open_readings, 0)
            self.assertEqual(node.uploads, {})
        self.assertEqual(self.flushLoggedErrors(), [])

    def lay(self, node: MemoryNode, data: bytes, stamp: str | None = S1, etag: str = "") -> Copy:
        headers = USERS if stamp is None else (*USERS, (STAMP_HEADER, stamp.encode()))
        copy = Copy(data, f'"{etag or md5(data)}"', 1_700_000_000.5, headers)
        node.buckets["object"]["k"] = copy
        return copy

    def lay_parts(self, sizes: list[int], stamp: str | None = S1) -> Copy:
        parts = [LONG[:size] for size in sizes]
        digests = b"".join(bytes.fromhex(md5(part)) for part in parts)
        created = self.source.create_upload("object", "k", USERS)
        upload_id = self.successResultOf(created)
        etags = []
        for number, part in enumerate(parts, 1):
            put = self.source.put_part("object", "k", upload_id, number, BytesBody(part))
            etags.append(self.successResultOf(put))
        told = list(enumerate(etags, 1))
        etag = self.successResultOf(self.source.complete_upload("object", "k", upload_id, told))
        self.assertEqual(etag, f'"{md5(digests)}-{len(sizes)}"')
        if stamp is not None:
            there = self.source.buckets["object"]
            there["k"] = replace(there["k"], headers=(*USERS, (STAMP_HEADER, stamp.encode())))
        return self.source.buckets["object"]["k"]

    def on_target(self) -> Copy | None:
        return self.target.buckets["object"].get("k")

    def copy(self) -> Deferred[bool]:
        head = self.source.buckets["object"]["k"].head
        copying = self.copier.copy(self.source, self.target, "object", "k", head)
        return Deferred.fromCoroutine(copying)

    def hold_the_turn(self) -> Deferred[None]:
        gate: Deferred[None] = Deferred()

        async def act() -> None:
            await gate

        Deferred.fromCoroutine(self.turns.take("object", "k", act))
        return gate

    def assert_same(self) -> None:
        copy, original = self.on_target(), self.source.buckets["object"]["k"]
        assert copy is not None
        self.assertEqual(copy.data, original.data)
        self.assertEqual(copy.etag, original.etag)
        self.assertEqual(sorted(copy.headers), sorted(original.headers))
        self.assertTrue(self.watch.touched("object", "k"))

    def ways(self) -> list[Any]:
        """A body that is held, one that flows, one in parts."""
        return [
            lambda: self.lay(self.source, b"short"),
            lambda: self.lay(self.source, LONG),
            lambda: self.lay_parts([700, 300, 50]),
        ]

    # -- what it makes --------------------------------------------------------------------------

    def test_the_same_there(self) -> None:
        for lay in [*self.ways(), lambda: self.lay(self.source, b"")]:
            lay()
            self.assertIs(self.successResultOf(self.copy()), True)
            self.assert_same()
            del self.target.buckets["object"]["k"]

    def test_over_an_older_one(self) -> None:
        for lay in self.ways():
            self.lay(self.target, b"older", S1)
            copy = lay()
            headers = (*USERS, (STAMP_HEADER, S2.encode()))
            self.source.buckets["object"]["k"] = replace(copy, headers=headers)
            self.assertIs(self.successResultOf(self.copy()), True)
            self.assert_same()

    def test_a_foreign_object_keeps_its_version(self) -> None:
        for lay in (
            lambda: self.lay(self.source, b"short", None),
            lambda: self.lay(self.source, LONG, None),
            lambda: self.lay_parts([700, 300], None),
        ):
            original = lay()
            self.assertIs(self.successResultOf(self.copy()), True)
            copy = self.on_target()
            assert copy is not None
            self.assertIsNotNone(copy.head.stamp)
            self.assertEqual(version_of(copy.head, str), version_of(original.head, str))
            self.assertEqual(copy.head.headers, original.head.headers)
            # And from there on, from copy to copy.
            self.source, self.target = self.target, self.source
            self.assertIs(self.successResultOf(self.copy()), True)
            self.source, self.target = self.target, self.source
            self.target.buckets["object"].clear()

    def test_a_restamped_one_counts_as_what_the_journal_says(self) -> None:
        self.journal.restamps[S1] = S3
        for lay in self.ways():
            self.lay(self.target, b"between", S2)
            lay()
            self.assertIs(self.successResultOf(self.copy()), True)
            self.assert_same()

    # -- when it isn't to be --------------------------------------------------------------------

    def test_nothing_newer_is_overwritten(self) -> None:
        for lay in self.ways():
            lay()
            newer = self.lay(self.target, b"newer", S2)
            self.assertIs(self.successResultOf(self.copy()), False)
            self.assertIs(self.on_target(), newer)

    def test_there_already(self) -> None:
        for lay in self.ways():
            copy = lay()
            self.target.buckets["object"]["k"] = copy
            self.assertIs(self.successResultOf(self.copy()), True)
            self.assertIs(self.on_target(), copy)

    def test_deleted_since(self) -> None:
        self.journal.deletes["object", "k"] = S2
        for lay in self.ways():
            lay()
            self.assertIs(self.successResultOf(self.copy()), False)
            self.assertIsNone(self.on_target())

    def test_the_last_bytes_wait_for_the_turn_and_a_second_look(self) -> None:
        def newer() -> None:
            self.lay(self.source, b"newer", S2)

        def stamped() -> None:
            there = self.source.buckets["object"]
            headers = (*USERS, (STAMP_HEADER, S2.encode()))
            there["k"] = replace(there["k"], headers=headers)

        def gone() -> None:
            del self.source.buckets["object"]["k"]

        def deleted() -> None:
            self.journal.deletes["object", "k"] = S2

        def written() -> None:
            self.lay(self.target, b"newer", S2)

        for lay in self.ways():
            for happens in (newer, stamped, gone, deleted, written):
                lay()
                gate = self.hold_the_turn()
                copying = self.copy()
                self.assertNoResult(copying)
                self.assertIsNone(self.on_target())
                happens()
                gate.callback(None)
                self.assertIs(self.successResultOf(copying), False, happens)
                there = self.target.buckets["object"].pop("k", None)
                self.assertEqual(there is not None, happens is written)
                self.journal.deletes.clear()

    def test_most_of_a_long_body_goes_before_the_turn(self) -> None:
        for lay in self.ways()[1:]:
            lay()
            gate = self.hold_the_turn()
            copying = self.copy()
            self.assertEqual(self.source.requests["get"] > 0, True)
            self.assertFalse(self.watch.touched("object", "k"))
            gate.callback(None)
            self.assertIs(self.successResultOf(copying), True)
            self.assert_same()
            self.target.buckets["object"].clear()
            self.source.requests.clear()
            self.watch.end()
            self.watch = self.writes.watch()

    def test_changed_between_the_parts(self) -> None:
        self.lay_parts([700, 300])
        gate: Deferred[None] = Deferred()
        self.target.script("put_part", late(lambda: gate))
        copying = self.copy()
        self.assertNoResult(copying)
        self.lay(self.source, b"newer", S2)
        gate.callback(None)
        self.assertIs(self.successResultOf(copying), False)
        self.assertIsNone(self.on_target())

    # -- what fails -----------------------------------------------------------------------------

    def failed(self, copying: Deferred[bool], kind: type[NodeError], node: MemoryNode) -> None:
        error = self.failureResultOf(copying, kind).value
        self.assertEqual(error.node, node.name)

    def test_bytes_that_rotted_do_not_spread(self) -> None:
        for data in (b"short", LONG):
            self.lay(self.source, data, etag=md5(b"what it was"))
            self.failed(self.copy(), NodeNonsense, self.source)
            self.assertIsNone(self.on_target())
        copy = self.lay_parts([700, 300])
        self.source.buckets["object"]["k"] = replace(copy, data=b"!" * 1000)
        self.failed(self.copy(), NodeNonsense, self.target)
        self.assertIsNone(self.on_target())
        self.assertEqual(self.target.requests["complete_upload"], 0)

    def test_a_copy_with_another_etag_does_not_stay(self) -> None:
        for data in (b"short", LONG):
            self.lay(self.source, data, etag="no-digest")
            self.failed(self.copy(), NodeNonsense, self.target)
            self.assertIsNone(self.on_target())

    def test_the_source_breaks(self) -> None:
        for lay in self.ways():
            lay()
            self.source.script("get", breaks(3))
            self.failed(self.copy(), NodeUnavailable, self.source)
            self.assertIsNone(self.on_target())

    def test_the_target_breaks_or_refuses(self) -> None:
        for lay in self.ways():
            for fault in (breaks(3), refused()):
                for method in ("put", "put_part", "complete_upload", "create_upload"):
                    if fault.after_bytes and not method.startswith("put"):
                        continue
                    lay()
                    self.target.script(method, fault)
                    copying = self.copy()
                    if isinstance(copying.result, bool):
                        self.target.heal()
                        self.target.buckets["object"].clear()
                        continue
                    self.failed(copying, NodeError, self.target)
                    self.assertIsNone(self.on_target())

    def test_an_upload_that_cant_be_aborted_is_remembered(self) -> None:
        self.lay_parts([700, 300])
        self.target.script("put_part", breaks(3))
        self.target.script("abort_upload", timed_out())
        self.failed(self.copy(), NodeError, self.target)
        self.assertEqual(len(self.memory_node.buckets[SYSTEM_BUCKET]), 1)
        self.assertEqual(len(self.target.uploads), 1)
        self.successResultOf(
            Deferred.fromCoroutine(self.uploads.tend({"target": self.target}, 0.0))
        )
        self.assertEqual(self.target.uploads, {})
        self.assertEqual(self.memory_node.buckets[SYSTEM_BUCKET], {})

    def test_what_cant_be_remembered_isnt_begun(self) -> None:
        self.lay_parts([700, 300])
        self.memory_node.script("put", refused())
        self.failureResultOf(self.copy(), NoQuorum)
        self.assertEqual(self.target.requests["create_upload"], 0)

    def test_one_that_ended_is_forgotten(self) -> None:
        self.lay_parts([700, 300])
        for fault in (None, refused()):
            if fault:
                self.target.script("complete_upload", fault)
                self.failed(self.copy(), NodeError, self.target)
            else:
                self.assertIs(self.successResultOf(self.copy()), True)
                self.target.buckets["object"].clear()
            self.assertEqual(self.memory_node.requests["put"], 1)
            self.assertEqual(self.memory_node.buckets[SYSTEM_BUCKET], {})
            self.memory_node.requests.clear()

    def test_an_answer_that_is_lost(self) -> None:
        for lay, method in zip(self.ways(), ("put", "put", "complete_upload"), strict=True):
            lay()
            self.target.script(method, timed_out(carried_out=True))
            self.failed(self.copy(), NodeTimeout, self.target)
            # It is there; who copies has to remember that it may be.
            self.assertIsNotNone(self.target.buckets["object"].pop("k"))

    def test_given_up_while_the_body_flows(self) -> None:
        for lay in self.ways()[1:]:
            lay()
            self.source.script("get", stalls(50, Deferred))
            copying = self.copy()
            self.assertNoResult(copying)
            copying.cancel()
            self.failureResultOf(copying, CancelledError)
            self.assertIsNone(self.on_target())

    def test_given_up_at_its_turn_it_goes_on_to_the_end(self) -> None:
        for lay, method in zip(self.ways(), ("put", "put", "complete_upload"), strict=True):
            lay()
            gate: Deferred[None] = Deferred()
            # A PUT waits after its last byte, as a Complete does.
            size_bytes = len(self.source.buckets["object"]["k"].data)
            opens = partial(next, iter([gate]))
            fault = stalls(size_bytes, opens) if method == "put" else late(opens)
            self.target.script(method, fault)
            copying = self.copy()
            self.assertNoResult(copying)
            copying.cancel()
            self.failureResultOf(copying, CancelledError)
            gate.callback(None)
            self.assert_same()
            self.target.buckets["object"].clear()
