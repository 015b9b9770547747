"""What acts on nodes are forecast to move, beside what they move."""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5
from typing import Any

from twisted.internet.defer import Deferred

from aosd.cluster.changes import Changes
from aosd.model.errors import BadRequest, ChangeRefused, NoNodes, NoSuchNode
from aosd.model.objects import OBJECT_BUCKET
from aosd.repair.forecast import Forecast
from aosd.repair.forecasts import Forecasts
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase, Gateway

KEYS = tuple(f"k{number:02d}" for number in range(60))


class ForecastsTestCase(ClusterTestCase):
    count = 4
    first: tuple[str, ...] = ("n1", "n2", "n3", "n4")

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun(*self.first)
        for key in KEYS:
            self.put(self.gateway, key, key.encode())
        self.pass_s(10)

    @property
    def changes(self) -> Changes:
        return self.gateway.assembly.changes

    @property
    def forecasts(self) -> Forecasts:
        return self.gateway.assembly.forecasts

    def forecast(self, act: str, name: str, **more: Any) -> Forecast:
        made: Deferred[Forecast] = Deferred.fromCoroutine(self.forecasts(act, name, **more))
        self.clock.pump([0.05] * 20)
        return self.successResultOf(made)

    def refused(self, error: type[Exception], act: str, name: str, **more: Any) -> str:
        made = Deferred.fromCoroutine(self.forecasts(act, name, **more))
        return str(self.failureResultOf(made, error).value)

    def over(self) -> bool:
        settled = all(self.settled(self.gateway, key) for key in KEYS)
        return not self.changes.changing and not self.changes.queue() and settled

    def counted(self, gateway: Gateway) -> tuple[float, float, float]:
        metrics = gateway.metrics
        counters = metrics.copies_made, metrics.copies_removed, metrics.repair_bytes
        made, removed, size_bytes = (each._value.get() for each in counters)
        return made, removed, size_bytes

    def check_moves(self, told: Forecast, limit_s: float = 600.0) -> None:
        """Wait until the change is over, and compare; it must have been begun."""
        self.wait(limit_s, self.over)
        out = sum(share.copies_out for share in told.nodes.values())
        expected = told.moved_copies, out, told.moved_bytes
        self.assertEqual(self.counted(self.gateway), expected)
        self.assertEqual(told.refusal, "")
        self.assertEqual(self.forecast("undrain", "n2").moved_copies, 0)


class ActsTests(ForecastsTestCase):
    """Each of those on members."""

    def test_a_drain(self) -> None:
        told = self.forecast("drain", "n1")
        self.assertFalse(self.changes.changing)
        self.assertEqual(told.keys, len(KEYS))
        there = len(self.nodes["n1"].buckets[OBJECT_BUCKET])
        self.assertEqual((told.moved_copies, told.nodes["n1"].copies_out), (there, there))
        self.now(self.changes.drain("n1"))
        progress = self.gateway.assembly.progress
        told_of = progress.told()
        self.assertEqual((told_of["phase"], told_of["nodes"]), ("copying", ["n1"]))
        self.assertEqual(told_of["of_keys"], len(KEYS))
        self.wait(300, lambda: progress.told()["phase"] == "emptying")
        emptying = progress.told()
        self.assertEqual((emptying["nodes"], emptying["copies"]), (["n1"], there))
        self.check_moves(told)

    def test_another_weight(self) -> None:
        told = self.forecast("weight", "n2", weight=5.0)
        self.assertTrue(told.nodes["n2"].copies_in)
        self.assertFalse(told.nodes["n2"].copies_out)
        self.now(self.changes.weigh("n2", 5.0))
        self.check_moves(told)

    def test_another_zone(self) -> None:
        told = self.forecast("zone", "n2", zone="n3")
        self.assertTrue(told.moved_copies)
        self.now(self.changes.rezone("n2", "n3"))
        self.check_moves(told)

    def test_to_undo_one_at_once_costs_nothing(self) -> None:
        self.now(self.gateway.assembly.keeper.pause())
        self.now(self.changes.drain("n1"))
        self.pass_s(5)
        told = self.forecast("undo", "n1")
        self.assertEqual((told.keys, told.moved_copies), (len(KEYS), 0))
        self.assertEqual(self.forecast("undrain", "n1").moved_copies, 0)
        self.assertTrue(self.changes.changing)

    def test_to_remove_one_that_is_lost(self) -> None:
        there = len(self.nodes["n1"].buckets[OBJECT_BUCKET])
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(60)
        told = self.forecast("remove", "n1")
        self.assertEqual((told.refusal, told.unlisted), ("", ("n1",)))
        self.assertEqual(told.moved_copies, there)
        self.now(self.changes.remove("n1"))
        self.wait(600, self.over)
        self.assertEqual(self.counted(self.gateway)[0], there)

    def test_to_remove_what_may_hold_the_last_copy(self) -> None:
        self.gateway.see("n3", "n4")
        self.pass_s(60)
        told = self.forecast("remove", "n1")
        self.assertIn("n2 can't be asked either", told.refusal)
        self.assertEqual(told.unlisted, ("n1", "n2"))
        self.assertEqual(self.forecast("remove", "n1", lose=True).refusal, "")

    def test_to_remove_one_that_is_in_use(self) -> None:
        told = self.forecast("remove", "n1")
        self.assertIn("drain it first", told.refusal)
        self.assertIn("drain it first", self.forecast("remove", "n1", lose=True).refusal)

    def test_what_would_be_refused_is(self) -> None:
        self.assertIn("n9", self.refused(NoSuchNode, "drain", "n9"))
        self.refused(BadRequest, "weight", "n1", weight=1000.0)
        self.refused(BadRequest, "polish", "n1")
        self.refused(ChangeRefused, "undo", "n1")
        self.assertIn("is a member", self.refused(ChangeRefused, "adopt", "n1"))
        self.assertEqual(self.counted(self.gateway), (0, 0, 0))

    def test_one_that_was_drained_and_holds_something_doesnt_come_back(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(600, self.over)
        self.assertTrue(self.forecast("undrain", "n1").moved_copies)
        self.nodes["n1"].buckets[OBJECT_BUCKET]["old"] = Copy(b"v", '"e"', 1.0)
        self.assertIn("empty it first", self.refused(ChangeRefused, "undrain", "n1"))

    def test_before_the_cluster_is_known_nothing_can_be_told(self) -> None:
        self.stop(self.gateway)
        self.gateway = self.begin("n1")
        self.pass_s(1)
        self.assertIn("missing", self.refused(NoNodes, "drain", "n1"))
        self.refused(NoNodes, "undo", "n1")


class SweepTests(ForecastsTestCase):
    """What a sweep would find, with the rings as they are."""

    def sweep(self) -> Forecast:
        made: Deferred[Forecast] = Deferred.fromCoroutine(self.forecasts.of_sweep())
        self.clock.pump([0.05] * 20)
        return self.successResultOf(made)

    def test_where_all_is_in_its_place(self) -> None:
        told = self.sweep()
        self.assertEqual((told.keys, told.moved_copies), (len(KEYS), 0))
        self.assertEqual(told.copies_each, told.copies_each_now)

    def test_a_copy_that_is_missing_and_one_too_many(self) -> None:
        keeper = self.gateway.assembly.keeper
        self.now(keeper.pause())
        holders = [name for name in self.names if "k00" in self.held(name)]
        (other, *_) = [name for name in self.names if name not in holders]
        self.held(other)["k00"] = self.held(holders[0])["k00"]
        del self.held(holders[0])["k00"]
        told = self.sweep()
        self.assertEqual((told.moved_keys, told.moved_copies, told.moved_bytes), (1, 1, 3))
        shares = told.nodes[holders[0]].copies_in, told.nodes[other].copies_out
        self.assertEqual(shares, (1, 1))
        self.assertTrue(keeper.paused)
        self.pass_s(60)
        self.assertNotIn("k00", self.held(holders[0]))
        self.now(keeper.resume())
        keeper.start_sweep()
        self.wait(60, lambda: "k00" in self.held(holders[0]))
        self.wait(60, lambda: keeper.sweep is None)
        after = self.sweep()
        # Nothing explains the copy off its place: it is kept, and reported.
        self.assertEqual((after.moved_copies, after.nodes[other].copies_out), (0, 1))
        assert keeper.last is not None
        self.assertEqual([each["node"] for each in keeper.last["reports"]], [other])

    def test_what_a_change_has_left_to_do(self) -> None:
        self.now(self.gateway.assembly.keeper.pause())
        drained = self.forecast("drain", "n1")
        self.now(self.changes.drain("n1"))
        self.pass_s(5)
        told = self.sweep()
        self.assertEqual(told, drained)
        self.assertTrue(told.moved_copies)
        self.assertTrue(self.gateway.assembly.keeper.paused)

    def test_before_the_cluster_is_known(self) -> None:
        self.stop(self.gateway)
        self.gateway = self.begin("n1")
        self.pass_s(1)
        made = Deferred.fromCoroutine(self.forecasts.of_sweep())
        self.assertIn("missing", str(self.failureResultOf(made, NoNodes).value))

    def held(self, name: str) -> dict[str, Copy]:
        return self.nodes[name].buckets[OBJECT_BUCKET]


class AdoptTests(ForecastsTestCase):
    """A node that comes with objects."""

    count = 5

    first = ("n1", "n2", "n3")

    def setUp(self) -> None:
        super().setUp()
        for number in range(20):
            self.lay(f"old{number:02d}", b"old")
        self.gateway.see(*self.first, "n4")
        self.wait(30, lambda: "adopt" in self.gateway.why("n4"))

    def lay(self, key: str, data: bytes, later_s: float = -1e6) -> None:
        there = self.nodes["n4"].buckets.setdefault(OBJECT_BUCKET, {})
        etag = f'"{md5(data, usedforsecurity=False).hexdigest()}"'
        there[key] = Copy(data, etag, self.clock.seconds() + later_s)

    def test_what_it_takes(self) -> None:
        told = self.forecast("adopt", "n4")
        self.assertEqual((told.keys, told.conflicts_in_all), (len(KEYS) + 20, 0))
        self.assertNotIn("n4", self.members(self.gateway))
        self.now(self.changes.adopt("n4"))
        self.wait(10, lambda: self.changes.changing)
        self.check_moves(told)

    def test_keys_that_both_have(self) -> None:
        self.lay("k00", b"another", later_s=5.0)
        self.lay("k01", b"k01")  # the same bytes
        told = self.forecast("adopt", "n4")
        self.assertEqual(told.conflicts_in_all, 1)
        (conflict,) = told.told()["conflicts"]
        self.assertEqual((conflict["key"], conflict["wins"]), ("k00", "cluster"))
        self.assertEqual(conflict["loses"], "n4")
        self.assertEqual(told.keys, len(KEYS) + 20)

    def test_keys_that_another_one_has_that_waits_to_be_adopted(self) -> None:
        self.now(self.gateway.assembly.keeper.pause())
        self.now(self.changes.drain("n1"))
        self.nodes["n5"].buckets[OBJECT_BUCKET] = dict(self.nodes["n4"].buckets[OBJECT_BUCKET])
        self.lay("old00", b"later", later_s=-10.0)
        self.lay("k00", b"the cluster has it, too", later_s=-10.0)
        for name, held in (("n4", 21), ("n5", 20)):
            self.gateway.see(*self.first, name)
            self.wait(60, lambda name=name: "adopt" in self.gateway.why(name))
            told = self.forecast("adopt", name)
            self.assertEqual(told.conflicts_in_all, held - 20)
        self.gateway.see(*self.names)
        self.wait(60, lambda: "adopt" in self.gateway.why("n4"))
        self.now(self.changes.adopt("n4"))
        self.wait(60, lambda: "waits for the change" in self.gateway.why("n4"))
        beside = self.forecast("adopt", "n5")
        (conflict,) = beside.told()["conflicts"]
        self.assertEqual(
            (conflict["key"], conflict["wins"], conflict["loses"]), ("old00", "n4", "n5")
        )
        self.assertEqual(replace(beside, conflicts=[], conflicts_in_all=0), told)
        self.assertEqual(self.forecast("drain", "n2").conflicts_in_all, 0)

    def test_one_that_has_a_problem(self) -> None:
        self.problems["n4"] = "versioning is on in its bucket object"
        self.gateway.see(*self.first)
        self.pass_s(5)
        self.gateway.see(*self.first, "n4")
        self.wait(60, lambda: "versioning" in self.gateway.why("n4"))
        self.assertIn("versioning", self.refused(ChangeRefused, "adopt", "n4"))
        asked = Deferred.fromCoroutine(self.changes.adopt("n4"))
        self.assertIn("versioning", str(self.failureResultOf(asked, ChangeRefused).value))
        self.problems.clear()
        self.wait(60, lambda: "versioning" not in self.gateway.why("n4"))
        self.now(self.changes.adopt("n4"))

    def test_one_that_cant_be_asked(self) -> None:
        self.gateway.see("n1", "n2", "n3")
        self.pass_s(1)
        made = Deferred.fromCoroutine(self.forecasts("adopt", "n4"))
        self.assertIsNotNone(self.failureResultOf(made).check(ChangeRefused, NoSuchNode))


class JoinTests(ForecastsTestCase):
    """A blank one, which needs nobody's consent: what it is given was forecast."""

    first = ("n1", "n2", "n3")

    def test_what_it_gets(self) -> None:
        self.nodes["n4"].buckets[OBJECT_BUCKET] = {"old": Copy(b"v", '"e"', 1.0)}
        self.gateway.see(*self.names)
        self.wait(30, lambda: "adopt" in self.gateway.why("n4"))
        self.nodes["n4"].buckets[OBJECT_BUCKET].clear()
        told = self.forecast("adopt", "n4")
        self.assertEqual(told.nodes["n4"].copies_in, told.moved_copies)
        self.now(self.changes.adopt("n4"))
        self.wait(30, lambda: self.changes.changing)
        self.check_moves(told)
