"""Long writes that meet others: no older write lands on a newer one, and none is refused."""

from __future__ import annotations

import gc
from email.utils import formatdate

from twisted.internet.defer import CancelledError, Deferred

from aosd.consistency.journal import Journal
from aosd.consistency.ledger import Ledger
from aosd.gateway.requests import Written
from aosd.model.conditions import Conditions
from aosd.model.errors import NodeTimeout, NoQuorum, NoSuchKey
from aosd.testing.faults import NO_FAULT, late, refused, stalls
from tests.unit.gateway_case import BUCKET, FLOWING, KEY, LONG, SMALL, GatewayTestCase

# Long bodies: their stamp leaves with their head.
LONGS = ((FLOWING, True), (LONG, False))


class RestampTestCase(GatewayTestCase):
    count = 5

    def slow(self, data: bytes, told: bool) -> tuple[Deferred[Written], Deferred[None]]:
        """A write whose body is held up on the way, and what lets it go on."""
        gate: Deferred[None] = Deferred()
        if told:
            for node in (self.a, self.b):
                node.script("put", stalls(1000, lambda: gate))
        else:
            for node in (self.a, self.b):
                node.script("put_part", NO_FAULT)
                node.script("put_part", late(lambda: gate))
        writing = self.put(KEY, data, told=told)
        self.assertNoResult(writing)
        self.assertFalse(self.store.turns.busy(BUCKET, KEY))
        for node in self.nodes:
            # The script was for this one alone.
            node._faults.clear()
        return writing, gate

    def afresh(self) -> None:
        for node in self.nodes:
            for there in node.buckets.values():
                there.clear()
            node.heal()
        self.use(self.nodes)


class RestampTests(RestampTestCase):
    def test_a_write_in_between(self) -> None:
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.clock.advance(1)
            self.stored(KEY, SMALL)
            self.assertEqual(self.read(KEY), SMALL)
            newest = self.stamp_on(self.a)
            gate.callback(None)
            self.successResultOf(long)
            self.assertEqual(self.holders(data=data), "ab")
            self.assertLess(self.stamp_on(self.a), newest)
            counts_as = self.store.journal.counts_as(BUCKET, KEY, self.stamp_on(self.a))
            self.assertGreater(counts_as, newest)
            for unsettled in (False, True):
                if unsettled:
                    self.unsettle()
                self.assertEqual(self.read(KEY), data)
            self.afresh()

    def test_a_delete_in_between(self) -> None:
        """Hadoop's committers delete the target between Create and Complete."""
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.clock.advance(1)
            self.deleted(KEY)
            self.failureResultOf(self.getting(KEY), NoSuchKey)
            gate.callback(None)
            self.successResultOf(long)
            self.unsettle()
            self.assertEqual(self.read(KEY), data)
            self.assertEqual(self.listed(), [KEY])
            self.afresh()

    def test_a_write_after_a_delete_in_between(self) -> None:
        """The first of the traces: v2 slow, d3, v4 on all; v2 ends."""
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.clock.advance(1)
            self.deleted(KEY)
            self.clock.advance(1)
            self.stored(KEY, b"v4")
            gate.callback(None)
            self.successResultOf(long)
            for unsettled in (False, True):
                if unsettled:
                    self.unsettle()
                self.assertEqual(self.read(KEY), data)
            self.afresh()

    def test_another_long_one_in_between(self) -> None:
        first, one = self.slow(FLOWING, True)
        second, other = self.slow(b"2" * 5000, True)
        self.clock.advance(1)
        self.stored(KEY, SMALL)
        other.callback(None)
        self.successResultOf(second)
        one.callback(None)
        self.successResultOf(first)
        self.unsettle()
        self.assertEqual(self.read(KEY), FLOWING)
        self.a.buckets[BUCKET].clear()
        self.assertEqual(self.read(KEY), FLOWING)

    def test_one_that_was_restamped_itself_in_between(self) -> None:
        """Its copies are being made up yet: nobody was told of it, and it counts as it is."""
        gates: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        for node, gate in zip((self.a, self.b), gates, strict=False):
            node.script("put", stalls(1000, lambda gate=gate: gate))
        first = self.put(KEY, FLOWING)
        self.clock.advance(1)
        self.stored(KEY, SMALL)
        third, last = self.slow(b"3" * 5000, True)
        self.b.script("head", late(lambda: gates[2]))
        gates[0].errback(NodeTimeout(self.a.name, "too late"))
        gates[1].callback(None)
        self.assertNoResult(first)
        self.assertEqual(self.holders(data=FLOWING), "b")
        last.callback(None)
        self.successResultOf(third)
        gates[2].callback(None)
        self.successResultOf(first)
        self.unsettle()
        self.assertEqual(self.read(KEY), b"3" * 5000)
        self.assertEqual(self.holders(data=FLOWING), "")

    def test_another_gateway_run_learns_it_from_the_nodes(self) -> None:
        long, gate = self.slow(FLOWING, True)
        self.clock.advance(1)
        self.deleted(KEY)
        gate.callback(None)
        self.successResultOf(long)
        memory = self.store.marks._memory
        journal = Journal(
            memory, Ledger(), self.clock, self.clock.seconds, may_forget=lambda _: True
        )
        self.now(journal.load(self.now(memory.read(self.c, "journal/"))))
        counts_as = journal.counts_as(BUCKET, KEY, self.stamp_on(self.a))
        self.assertGreater(counts_as, journal.delete_of(BUCKET, KEY) or "")

    def test_nothing_newer_needs_no_line(self) -> None:
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.stored("other", SMALL)
            gate.callback(None)
            self.successResultOf(long)
            self.assertEqual(self.remembered("journal/"), {})
            self.afresh()

    def test_the_line_stands_before_the_last_bytes(self) -> None:
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.clock.advance(1)
            self.stored(KEY, SMALL)
            line: Deferred[None] = Deferred()
            for node in self.nodes:
                node.script("put", late(lambda line=line: line))
            gate.callback(None)
            self.assertNoResult(long)
            self.assertEqual(self.holders(data=SMALL), "ab")
            line.callback(None)
            self.successResultOf(long)
            self.assertEqual(self.holders(data=data), "ab")
            self.afresh()

    def test_a_line_that_cant_be_written_is_an_error_and_nothing_lands(self) -> None:
        for data, told in LONGS:
            long, gate = self.slow(data, told)
            self.clock.advance(1)
            self.stored(KEY, SMALL)
            for node in self.nodes:
                node.script("put", refused())
            gate.callback(None)
            self.failureResultOf(long, NoQuorum)
            self.assertEqual(self.holders(data=SMALL), "ab")
            self.assertEqual(self.read(KEY), SMALL)
            self.afresh()


class MakingUpTests(RestampTestCase):
    """Copies are made after the turn: what is newer by then stays."""

    def test_a_newer_write_while_copies_are_made_up(self) -> None:
        for data, told in LONGS:
            gate: Deferred[None] = Deferred()
            self.a.script("put" if told else "complete_upload", refused())
            self.c.script("head", late(lambda gate=gate: gate))
            long = self.put(KEY, data, told=told)
            self.assertNoResult(long)
            self.assertEqual(self.holders(data=data), "b")
            self.clock.advance(1)
            newer = self.put(KEY, SMALL)
            gate.callback(None)
            self.successResultOf(long)
            self.successResultOf(newer)
            self.unsettle()
            self.assertEqual(self.read(KEY), SMALL)
            self.assertEqual(self.holders(data=SMALL), "ab")
            self.afresh()

    def test_nobody_is_there_to_be_told_that_it_failed(self) -> None:
        for data, told in LONGS:
            gate: Deferred[None] = Deferred()
            last = "put" if told else "complete_upload"
            self.a.script(last, refused())
            self.b.script(last, late(lambda gate=gate: gate, carried_out=True))
            writing = self.put(KEY, data, told=told)
            self.assertNoResult(writing)
            self.assertEqual(self.holders(data=data), "b")
            writing.cancel()
            self.failureResultOf(writing, CancelledError)
            for node in self.nodes:
                node.script("put", refused(), times=None)
            gate.callback(None)
            del writing
            gc.collect()
            self.assertEqual(self.flushLoggedErrors(), [])
            self.afresh()

    def test_a_delete_while_copies_are_made_up(self) -> None:
        for data, told in LONGS:
            gate: Deferred[None] = Deferred()
            self.a.script("put" if told else "complete_upload", refused())
            self.c.script("create_upload" if not told else "head", late(lambda gate=gate: gate))
            long = self.put(KEY, data, told=told)
            self.assertNoResult(long)
            self.clock.advance(1)
            deleting = self.delete(KEY)
            gate.callback(None)
            self.successResultOf(deleting)
            self.successResultOf(long)
            self.unsettle()
            self.failureResultOf(self.getting(KEY), NoSuchKey)
            self.afresh()


class LastModifiedTests(GatewayTestCase):
    def test_a_long_write_is_of_when_it_took_effect(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in (self.a, self.b):
            node.script("put", stalls(1000, lambda: gate))
        slow = self.put(KEY, FLOWING)
        self.clock.advance(15)
        self.stored(KEY, SMALL)
        first = self.successResultOf(self.heading(KEY))
        self.clock.advance(15)
        gate.callback(None)
        self.successResultOf(slow)
        then = self.successResultOf(self.heading(KEY))
        self.assertEqual(then.modified_s, first.modified_s + 15)
        since = Conditions(if_modified_since=formatdate(first.modified_s, usegmt=True))
        self.assertEqual(self.read(KEY, conditions=since), FLOWING)
