"""Starts after the first one: what the cluster remembers, after a clean stop and without one."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.consistency.recall import STOPPED_KEY
from aosd.model.errors import NoQuorum, NoSuchKey
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.testing.faults import late, refused, timed_out
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase, Gateway

WINDOW_S = 1200.0  # late_write_window_s


class CleanStopTests(ClusterTestCase):
    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.first = self.begun()
        self.put(self.first, "k", b"v")

    def test_leaves_a_note_on_every_node_that_is_used_up_before_ready(self) -> None:
        self.assertEqual(self.noted(), [])
        self.stop(self.first)
        self.assertEqual(self.noted(), list(self.names))
        second = self.begun()
        self.assertEqual(self.noted(), [])
        self.assertFalse(second.assembly.beginning.unclean)

    def test_it_is_settled_at_once_and_the_same_cluster(self) -> None:
        cluster = self.first.assembly.admission.cluster
        self.stop(self.first)
        second = self.begun()
        self.assertEqual(second.assembly.admission.cluster, cluster)
        self.assertEqual(self.members(second), list(self.names))
        self.assertTrue(self.settled(second), self.why_unsettled(second))
        self.assertEqual(self.read(second, "k"), b"v")

    def test_stamps_go_on_above_all_that_is_remembered(self) -> None:
        self.delete(self.first, "k")
        deleted = self.first.store.journal.delete_of(OBJECT_BUCKET, "k") or ""
        self.stop(self.first)
        self.clock.rightNow -= 60  # the clock was set back
        second = self.begun()
        self.assertGreater(second.store.stamps.next(), deleted)
        self.assertEqual(second.store.journal.delete_of(OBJECT_BUCKET, "k"), deleted)
        self.put(second, "k", b"new")
        self.assertEqual(self.read(second, "k"), b"new")

    def test_a_clock_that_was_set_back_goes_on_from_where_the_last_one_was(self) -> None:
        self.stop(self.first)
        for stop in (self.stop, self.dies):
            first = self.begun()
            ahead = first.store.stamps
            ahead.observe(f"{int((self.clock.seconds() + 600) * 1000):012x}-0007-00000000")
            self.pass_s(6)  # a heartbeat
            stop(first)
            second = self.begun()
            self.assertGreater(second.store.stamps.next(), ahead.reading)
            self.stop(second)

    def test_who_went_since_its_note_was_read_isnt_covered_by_it(self) -> None:
        self.stop(self.first)
        # Two of them have to say that this run is the last one.
        others = [name for name in self.names if name != "n3"]
        for name in others:
            self.nodes[name].script("put", refused(), times=None)
        second = self.begin(*self.names)
        self.wait(10, lambda: bool(second.roster.ring.members))
        self.pass_s(2)
        self.assertFalse(second.ready)
        self.nodes["n3"].restart()
        self.pass_s(3)
        self.reachable(*others)
        self.wait(10, lambda: second.ready)
        self.assertTrue(second.store.settledness.is_returning("n3"))
        self.assertFalse(second.store.settledness.is_returning("n1"))

    def test_no_note_after_a_mark_that_couldnt_be_written(self) -> None:
        self.first.store.marks.failed = True
        self.stop(self.first)
        self.assertEqual(self.noted(), [])

    def test_no_note_after_a_line_of_the_journal_that_couldnt(self) -> None:
        self.first.store.journal.failed = True
        self.stop(self.first)
        self.assertEqual(self.noted(), [])

    def test_marks_are_remembered(self) -> None:
        primary = self.primaries(self.first)[1]
        self.nodes[primary].script("put", timed_out(carried_out=True))
        self.put(self.first, "k", b"new")
        self.stop(self.first)
        second = self.begun()
        (mark,) = second.store.marks.of(OBJECT_BUCKET, "k")
        self.assertEqual(mark.silent, {primary})
        self.assertFalse(self.settled(second))
        self.assertEqual(self.read(second, "k"), b"new")

    def test_names_who_was_unsettled(self) -> None:
        """One that was rolled back, and not swept yet."""
        primary = self.primaries(self.first)[0]
        self.first.roster.watched[primary]._returns.returned(primary)
        self.stop(self.first)
        self.assertEqual(len(self.noted()), 5)
        second = self.begin(*self.names)
        self.wait(5, lambda: second.assembly.beginning.ready)
        self.assertEqual(second.state(primary), NodeState.RETURNING)
        self.wait(30, lambda: self.settled(second))

    def test_a_node_that_was_away_at_the_stop_isnt_covered_by_it(self) -> None:
        away = self.primaries(self.first)[0]
        self.unreach(away)
        self.pass_s(15)
        self.put(self.first, "k", b"new")
        self.stop(self.first)
        self.reachable(away)
        self.assertNotIn(away, self.noted())
        second = self.begin(*self.names)
        self.wait(10, lambda: second.assembly.beginning.ready)
        self.assertFalse(self.settled(second))
        self.assertEqual(self.read(second, "k"), b"new")
        self.wait(60, lambda: self.settled(second))
        self.assertEqual(self.nodes[away].buckets[OBJECT_BUCKET]["k"].data, b"new")

    def test_a_note_left_over_on_a_node_that_was_away_when_it_was_used_up(self) -> None:
        self.stop(self.first)
        away = self.primaries(self.first)[0]
        self.unreach(away)
        second = self.begun()
        self.pass_s(15)
        self.put(second, "k", b"second")
        self.dies(second)
        self.reachable(away)
        self.assertEqual(self.noted(), [away])
        third = self.begin(*self.names)
        self.wait(10, lambda: third.assembly.beginning.ready)
        self.assertTrue(third.assembly.beginning.unclean)
        self.assertEqual(self.read(third, "k"), b"second")
        self.assertEqual(self.noted(), [])

    def test_a_rollback_while_nobody_watched_goes_with_its_note(self) -> None:
        before = self.nodes["n1"].snapshot()
        self.put(self.first, "k", b"new")
        self.stop(self.first)
        rolled = self.primaries(self.first)[0]
        self.nodes[rolled].restore(before if rolled == "n1" else self.rolled_back(rolled))
        second = self.begin(*self.names)
        self.wait(10, lambda: second.assembly.beginning.ready)
        self.assertEqual(self.read(second, "k"), b"new")
        self.wait(60, lambda: self.settled(second))
        self.assertEqual(self.read(second, "k"), b"new")

    def rolled_back(self, name: str) -> dict[str, dict[str, Copy]]:
        """A node as it was before the note and the last write."""
        there = {bucket: dict(keys) for bucket, keys in self.nodes[name].buckets.items()}
        del there[SYSTEM_BUCKET][STOPPED_KEY]
        there[OBJECT_BUCKET].pop("k", None)
        return there


class UncleanStartTests(ClusterTestCase):
    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.first = self.begun()
        for key in ("a", "b", "k"):
            self.put(self.first, key, b"v")
        self.last = self.first.store.stamps.next()
        self.dies(self.first)

    def test_isnt_settled_before_the_window_has_passed_and_a_sweep_after_it(self) -> None:
        second = self.begun()
        self.assertTrue(second.assembly.beginning.unclean)
        self.assertFalse(self.settled(second))
        self.assertEqual(self.read(second, "k"), b"v")
        self.pass_s(WINDOW_S - 20)
        self.assertFalse(self.settled(second))
        self.wait(120, lambda: self.settled(second))

    def test_stamps_begin_ahead(self) -> None:
        second = self.begun()
        ahead_ms = int(second.store.stamps.next()[:12], 16) - int(self.last[:12], 16)
        self.assertGreaterEqual(ahead_ms, 10_000)

    def test_what_lands_late_is_found(self) -> None:
        second = self.begun()
        one, other = self.primaries(second)
        self.wait(60, lambda: not second.store.settledness.is_unwatched(one))
        copy = self.nodes[one].buckets[OBJECT_BUCKET]["k"]
        newer = second.store.stamps.next().encode()
        headers = tuple(
            (name, newer if name.endswith(b"aos-stamp") else value) for name, value in copy.headers
        )
        self.nodes[one].buckets[OBJECT_BUCKET]["k"] = type(copy)(
            copy.data, copy.etag, self.clock.seconds(), headers
        )
        self.wait(WINDOW_S + 120, lambda: self.settled(second))
        self.assertEqual(self.nodes[other].buckets[OBJECT_BUCKET]["k"].headers, headers)

    def test_a_404_while_all_answer_and_none_when_one_goes(self) -> None:
        """What nobody watched may have lost something: no more may be missing then."""
        second = self.begun(sweep_keys_per_s=0.001)
        self.failureResultOf(self.getting(second, "none"), NoSuchKey)
        self.unreach(self.primaries(second, "none")[0])
        self.pass_s(15)
        self.assertTrue(second.store.settledness.is_unwatched("n1"))
        self.failureResultOf(self.getting(second, "none"), NoQuorum)


class LongOffTests(ClusterTestCase):
    """The gateway was off for longer than the journal keeps its entries."""

    def test_nothing_is_forgotten_before_a_sweep(self) -> None:
        first = self.begun()
        for number in range(200):
            self.put(first, f"a{number:03d}", b"v")
        self.put(first, "k", b"v")
        rolled = self.primaries(first)[0]
        before = self.nodes[rolled].snapshot()
        self.delete(first, "k")
        self.dies(first)
        self.nodes[rolled].restore(before)
        self.clock.rightNow += 8 * 86400
        # Slow enough for the journal to be tended several times before it is over.
        second = self.begun(sweep_keys_per_s=0.5)
        self.failureResultOf(self.getting(second, "k"), NoSuchKey)
        self.pass_s(150)
        self.assertTrue(second.store.settledness.is_unwatched(rolled))
        self.failureResultOf(self.getting(second, "k"), NoSuchKey)
        self.wait(2 * WINDOW_S, lambda: self.settled(second))
        self.failureResultOf(self.getting(second, "k"), NoSuchKey)


class ContestedTests(ClusterTestCase):
    """Another gateway uses the nodes."""

    def test_who_may_not_have_been_alone_leaves_no_note(self) -> None:
        first = self.begun()
        self.pass_s(1)
        second = self.begun()
        self.stop(second)
        self.assertEqual(self.noted(), [])
        self.dies(first)
        third = self.begun()
        self.assertTrue(third.assembly.beginning.unclean)

    def test_writes_wait_for_a_clock_that_was_far_ahead(self) -> None:
        first = self.begun()
        self.put(first, "k", b"v")
        self.pass_s(1)
        self.stop(first)
        # As if the clock had been ahead when that stopped.
        for node in self.nodes.values():
            lying = node.buckets[SYSTEM_BUCKET]
            copy = lying[STOPPED_KEY]
            ahead = f"{int((self.clock.seconds() + 1200) * 1000):012x}-0000-00000001"
            told = {**json.loads(copy.data), "stamp": ahead}
            lying[STOPPED_KEY] = replace(copy, data=json.dumps(told).encode())
        second = self.begin(*self.names)
        self.wait(30, lambda: second.assembly.beginning.ready)
        self.assertIn("15 minutes", second.assembly.ready()[1])
        self.assertEqual(self.read(second, "k"), b"v")
        self.clock.advance(301)
        self.wait(30, lambda: second.ready)
        self.assertGreater(second.store.stamps.next(), ahead)

    def test_nothing_is_swept_or_mended_meanwhile(self) -> None:
        gateway = self.begun()
        self.put(gateway, "k", b"v")
        gateway.assembly.heartbeat.other = "another"
        gateway.assembly.heartbeat._loop.stop()
        name = self.primaries(gateway)[0]
        self.nodes[name].wipe()
        self.wait(10, lambda: gateway.state(name) is NodeState.RETURNING)
        self.pass_s(60)
        self.assertEqual(self.nodes[name].buckets[OBJECT_BUCKET], {})
        gateway.assembly.heartbeat.other = ""
        self.wait(60, lambda: self.settled(gateway))
        self.assertIn("k", self.nodes[name].buckets[OBJECT_BUCKET])


class CalendarTests(ClusterTestCase):
    """Sweeps without an occasion, which take long."""

    def test_one_makes_way_for_a_node_that_is_back(self) -> None:
        gateway = self.begun(sweep_interval_s=60.0, sweep_keys_per_s=2.0)
        for number in range(300):
            self.put(gateway, f"k{number:03d}", b"v")
        self.wait(90, lambda: gateway.assembly.keeper.sweep is not None)
        self.pass_s(30)
        sweep = gateway.assembly.keeper.sweep
        self.nodes["n2"].restart()
        self.wait(5, lambda: gateway.assembly.keeper.sweep is not sweep)
        assert sweep is not None
        self.assertGreater(sweep.so_far.keys, 20)
        other = gateway.assembly.keeper.sweep
        assert other is not None
        told = gateway.metrics.sweep_keys._value.get()
        self.assertEqual(told, sweep.so_far.keys + other.so_far.keys)
        self.assertEqual(gateway.state("n2"), NodeState.RETURNING)
        self.wait(200, lambda: gateway.state("n2") is NodeState.UP)


class NodesAwayTests(ClusterTestCase):
    """Members that don't answer at the start."""

    def setUp(self) -> None:
        super().setUp()
        first = self.begun()
        self.put(first, "k", b"v")
        self.stop(first)

    def test_one_away_is_read_without_after_a_while(self) -> None:
        self.unreach("n2")
        second = self.begin(*self.names)
        self.wait(30, lambda: second.ready)
        self.assertEqual(self.members(second), list(self.names))
        self.assertEqual(second.state("n2"), NodeState.DOWN)
        self.assertEqual(self.read(second, "k"), b"v")
        self.put(second, "k2", b"v2")
        self.reachable("n2")
        self.wait(60, lambda: second.state("n2") is NodeState.UP)
        self.wait(60, lambda: self.settled(second, "k2"))

    def test_two_away_is_not_ready_and_says_who(self) -> None:
        self.unreach("n2", "n3")
        second = self.begin(*self.names)
        self.pass_s(60)
        ready, why = second.assembly.ready()
        self.assertFalse(ready)
        self.assertIn("n2", why)
        self.assertIn("n3", why)
        self.reachable("n3")
        self.wait(60, lambda: second.ready)

    def test_one_that_isnt_even_seen(self) -> None:
        second = self.begun("n1", "n3")
        self.assertEqual(self.members(second), list(self.names))
        self.assertEqual(second.state("n2"), NodeState.DOWN)
        self.assertEqual(self.read(second, "k"), b"v")

    def test_one_that_is_late_is_read_with_the_others(self) -> None:
        self.unreach("n2")
        second = self.begin(*self.names)
        self.pass_s(1)
        self.reachable("n2")
        self.wait(30, lambda: second.ready)
        self.assertEqual(second.state("n2"), NodeState.UP)
        self.assertTrue(self.settled(second), self.why_unsettled(second))

    def test_one_wiped_comes_back_as_a_member_with_another_disk(self) -> None:
        before = self.marker("n2").incarnation
        self.nodes["n2"].wipe()
        second = self.begin(*self.names)
        self.wait(30, lambda: second.ready)
        self.wait(60, lambda: second.state("n2") is NodeState.UP)
        self.assertNotEqual(self.marker("n2").incarnation, before)
        self.assertEqual(self.members(second), list(self.names))
        self.wait(60, lambda: self.settled(second))
        holders = [name for name in self.names if "k" in self.nodes[name].buckets[OBJECT_BUCKET]]
        self.assertEqual(holders, sorted(self.primaries(second)))

    def test_the_oldest_gap_is_as_old_as_the_first_thing_in_doubt(self) -> None:
        second = self.begun()
        self.wait(60, lambda: self.settled(second))
        gap = second.metrics.oldest_gap_s.collect
        self.assertEqual([each.value for metric in gap() for each in metric.samples], [0.0])
        self.unreach("n2")
        self.wait(30, lambda: second.state("n2") is NodeState.DOWN)
        self.pass_s(100)
        ((age_s,),) = [[each.value for each in metric.samples] for metric in gap()]
        self.assertTrue(95 < age_s < 130, age_s)
        self.reachable("n2")
        self.wait(60, lambda: self.settled(second))
        self.assertEqual([each.value for metric in gap() for each in metric.samples], [0.0])

    def test_another_disk_is_remembered_as_soon_as_it_can_be(self) -> None:
        second = self.begun()
        self.nodes["n2"].wipe()
        for name in ("n1", "n3"):
            self.nodes[name].script("put", refused(), times=None)
        self.wait(60, lambda: self.marker_of(second, "n2") not in ("", self.registered("n1", "n2")))
        self.pass_s(5)
        self.assertNotEqual(self.registered("n1", "n2"), self.marker("n2").incarnation)
        self.reachable("n1", "n3")
        self.wait(70, lambda: self.registered("n1", "n2") == self.marker("n2").incarnation)

    def test_a_register_of_another_disk_is_put_right_at_the_start(self) -> None:
        for name in self.names:
            there = self.nodes[name].buckets[SYSTEM_BUCKET]
            copy = there["members/n2"]
            data = copy.data.replace(self.marker("n2").incarnation.encode(), b"0" * 16)
            there["members/n2"] = replace(copy, data=data)
        second = self.begun()
        self.assertEqual(self.registered("n1", "n2"), self.marker("n2").incarnation)
        # Its note is of another time: all it has is compared.
        self.assertTrue(second.store.settledness.is_returning("n2"))

    def marker_of(self, gateway: Gateway, name: str) -> str:
        return gateway.roster.watched[name].incarnation or ""

    def registered(self, on: str, name: str) -> str:
        """The incarnation of a member, as a node remembers it."""
        data = self.record(self.nodes[on], f"members/{name}")
        return str(json.loads(data or b"{}").get("value", {}).get("incarnation"))

    def test_who_returns_while_another_is_levelled_isnt_covered_by_that_sweep(self) -> None:
        second = self.begun()
        self.delete(second, "gone")
        gate: Deferred[None] = Deferred()
        self.nodes["n1"].script("list", late(lambda: gate), times=None)
        self.nodes["n1"].wipe()
        self.wait(10, lambda: second.state("n1") is NodeState.RETURNING)
        self.pass_s(6)
        self.nodes["n3"].wipe()
        self.wait(10, lambda: second.state("n3") is NodeState.RETURNING)
        self.nodes["n1"].heal()
        gate.callback(None)
        self.wait(60, lambda: self.settled(second))
        for name in self.names:
            lying = self.nodes[name].buckets[SYSTEM_BUCKET]
            kinds = {key.partition("/")[0] for key in lying}
            self.assertLessEqual({"journal", "members", "node.json", "runs"}, kinds, name)

    def test_an_acknowledged_delete_is_known_though_one_of_its_nodes_is_away(self) -> None:
        second = self.begun()
        self.delete(second, "k")
        self.stop(second)
        for away in self.names:
            self.unreach(away)
            third = self.begin(*self.names)
            self.wait(30, lambda third=third: third.ready)
            self.assertIsNotNone(third.store.journal.delete_of(OBJECT_BUCKET, "k"))
            self.dies(third)
            self.reachable(away)

    def test_nothing_is_served_before_it_is_ready(self) -> None:
        self.unreach(*self.names)
        second = self.begin(*self.names)
        self.pass_s(5)
        self.failureResultOf(self.getting(second, "k"))
        self.assertFalse(second.ready)
        self.assertRaises(AssertionError, self.put, second, "k", b"x")

    def test_too_few_up_is_an_error_and_no_404(self) -> None:
        second = self.begun()
        self.unreach("n1", "n2")
        self.pass_s(15)
        self.failureResultOf(self.getting(second, "none"), NoQuorum)
