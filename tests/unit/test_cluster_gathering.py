"""Leaving with a copy of everything on one node; and nodes that were drained."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from aosd.cluster.acts import ALL_WEIGHT
from aosd.model.errors import ChangeRefused, NodeUnavailable, NoSuchNode
from aosd.model.leave import Phase
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.standing import Membership
from aosd.testing.faults import late
from tests.unit.cluster_case import Gateway
from tests.unit.test_cluster_leaving import COPY_S, KEYS, LeavingCase


class GatheringTests(LeavingCase):
    count = 4

    def test_everything_is_on_that_node_and_a_second_copy_on_others(self) -> None:
        plan = self.plan(self.first, "n2")
        assert plan.gather is not None
        assert plan.forecast is not None
        lacking = set(KEYS) - self.nodes["n2"].buckets[OBJECT_BUCKET].keys()
        self.assertEqual(
            (plan.gather["keys"], plan.gather["lacking_keys"]), (len(KEYS), len(lacking))
        )
        self.assertEqual(plan.gather["space_bytes"], None)
        share = plan.forecast["nodes"]["n2"]
        self.assertEqual((share["copies_in"], share["copies_out"]), (len(lacking), 0))
        self.assertEqual(share["bytes_in"], plan.gather["lacking_bytes"])
        self.assertEqual(share["seconds"], len(lacking) * COPY_S)
        self.assertGreater(plan.forecast["seconds"], share["seconds"])
        self.leave(self.first, "n2")
        self.assertIs(self.phase(self.first), Phase.GATHERING)
        self.wait_for(self.first, Phase.LEFT, 300)
        self.assert_plain()
        self.assertEqual(self.nodes["n2"].buckets[OBJECT_BUCKET].keys(), set(KEYS))
        metrics = self.first.metrics
        self.assertEqual(metrics.copies_made._value.get(), plan.forecast["moved_copies"])
        removed = sum(each["copies_out"] for each in plan.forecast["nodes"].values())
        self.assertEqual(metrics.copies_removed._value.get(), removed)

    def test_a_change_under_way_is_in_the_forecast(self) -> None:
        there = len(self.nodes["n4"].buckets[OBJECT_BUCKET])
        self.now(self.first.assembly.keeper.pause())
        self.now(self.first.assembly.changes.drain("n4"))
        told = self.forecast(self.first)
        self.assertEqual((told["moved_copies"], told["nodes"]["n4"]["copies_out"]), (there, there))
        self.assertIn("the ring is changing", "; ".join(self.plan(self.first).waits))
        self.now(self.first.assembly.changes.drain("n2"))
        plan = self.plan(self.first, "n2")
        self.assertIsNone(plan.forecast)
        self.assertIn("n2 waits to be drained", plan.no_forecast)

    def test_undone_the_node_has_the_weight_that_it_had(self) -> None:
        ring = self.first.roster.ring.name
        for phase in (Phase.GATHERING, Phase.MENDING, Phase.STOPPING):
            self.leave(self.first, "n2")
            self.wait_for(self.first, phase, 300)
            self.wait(10, lambda: self.weight(self.first, coming=True) == ALL_WEIGHT)
            self.now(self.first.assembly.leaving.cancel())
            self.wait_for(self.first, Phase.NONE)
            self.assertEqual(self.weight(self.first, coming=True), 1.0)
            self.wait(300, lambda: not self.first.roster.changing)
            self.assertEqual(self.first.roster.ring.name, ring)
            self.put(self.first, "k1", b"k1")

    def test_a_kill_in_each_phase(self) -> None:
        gateway = self.first
        self.leave(gateway, "n2")
        for phase in (Phase.GATHERING, Phase.MENDING, Phase.STOPPING):
            self.wait_for(gateway, phase, 3000)
            self.dies(gateway)
            gateway = self.begin(*self.names)
            self.wait(60, lambda here=gateway: here.assembly.beginning.ready)
            self.assertIs(self.phase(gateway), phase)
        self.now(gateway.assembly.leaving.cancel())
        self.assertIs(self.phase(gateway), Phase.BACK)
        self.dies(gateway)
        gateway = self.begun()
        self.wait_for(gateway, Phase.NONE)
        self.assertEqual(self.weight(gateway, coming=True), 1.0)

    def test_what_the_node_lacks_after_all_keeps_the_others(self) -> None:
        self.leave(self.first, "n2")
        self.wait_for(self.first, Phase.STOPPING, 300)
        lost = self.nodes["n2"].buckets[OBJECT_BUCKET].pop("k3")
        self.pass_s(30)
        self.assertIs(self.phase(self.first), Phase.STOPPING)
        self.assertEqual(self.waits(self.first), "node n2 lacks 1 objects: object/k3")
        self.nodes["n2"].buckets[OBJECT_BUCKET]["k3"] = lost
        self.wait_for(self.first, Phase.LEFT)

    def test_undone_while_it_is_made_sure_of_it_stays_undone(self) -> None:
        self.leave(self.first, "n2")
        self.wait_for(self.first, Phase.STOPPING, 300)
        answers: list[Deferred[object]] = []

        def gate() -> Deferred[object]:
            answers.append(Deferred())
            return answers[-1]

        self.nodes["n2"].script("list", late(gate), times=None)
        self.wait(30, lambda: bool(answers))
        self.now(self.first.assembly.leaving.cancel())
        self.nodes["n2"].heal()
        for each in answers:
            each.callback(None)
        self.wait_for(self.first, Phase.NONE)
        self.pass_s(60)
        self.assertEqual((self.phase(self.first), self.cleaned), (Phase.NONE, []))

    def test_refused(self) -> None:
        leaving = self.first.assembly.leaving
        self.failureResultOf(Deferred.fromCoroutine(leaving.leave("n9")), NoSuchNode)
        self.unreach("n2")
        self.pass_s(15)
        self.failureResultOf(Deferred.fromCoroutine(leaving.leave("n2")), ChangeRefused)
        self.reachable("n2")
        self.wait(60, lambda: self.first.state("n2") is NodeState.UP)
        leaving._space = lambda address, credentials: succeed(10)
        refused = Deferred.fromCoroutine(leaving.leave("n2"))
        self.assertIn("space for 10 bytes", str(self.failureResultOf(refused, ChangeRefused).value))
        changes = self.first.assembly.changes
        self.now(self.first.assembly.keeper.pause())
        self.now(changes.weigh("n1", 2.0))
        self.now(changes.drain("n2"))
        refused = Deferred.fromCoroutine(leaving.leave("n2"))
        why = str(self.failureResultOf(refused, ChangeRefused).value)
        self.assertEqual(why, "node n2 waits to be drained: undo that first")
        self.assertEqual(self.now(leaving.plan("n2")).refusal, why)
        self.now(changes.undo("n2"))
        self.now(changes.undo("n1"))
        self.now(changes.drain("n2"))
        refused = Deferred.fromCoroutine(leaving.leave("n2"))
        self.assertIn("draining", str(self.failureResultOf(refused, ChangeRefused).value))
        self.assertIs(self.phase(self.first), Phase.NONE)

    def weight(self, gateway: Gateway, *, coming: bool) -> float:
        standing = gateway.assembly.changes.standing("n2")
        assert standing is not None
        place = standing.coming if coming and standing.coming is not None else standing.place
        return place.weight


class DrainedTests(LeavingCase):
    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.now(self.first.assembly.changes.drain("n4"))
        self.wait(2000, lambda: self.membership() is Membership.DRAINED)
        self.pass_s(3)  # it is met afresh

    def membership(self) -> Membership:
        standing = self.first.assembly.changes.standing("n4")
        assert standing is not None
        return standing.membership

    def test_those_are_cleaned_too(self) -> None:
        self.leave(self.first)
        self.wait_for(self.first, Phase.LEFT)
        self.assertIn("n4", self.cleaned)
        self.assert_plain()

    def test_one_that_is_left_alone_is_cleaned_by_the_next_run(self) -> None:
        self.cleaning = self.never_n4
        self.leave(self.first)
        self.wait(60, lambda: self.cleaned == ["n1", "n2", "n3"])
        self.dies(self.first)
        self.cleaning = lambda name, half: None
        second = self.begin("n4")
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()

    def test_one_that_is_removed_is_left_blank(self) -> None:
        self.now(self.first.assembly.changes.remove("n4"))
        self.assertEqual(self.nodes["n4"].buckets, {})
        self.assertIs(self.membership(), Membership.REMOVED)

    def test_one_whose_removal_was_cut_short_is_no_sign_of_leaving(self) -> None:
        self.cleaning = self.half_of_n4
        removing = Deferred.fromCoroutine(self.first.assembly.changes.remove("n4"))
        self.failureResultOf(removing)
        self.assertTrue(self.marker("n4").left)
        self.dies(self.first)
        second = self.begin("n4")
        self.pass_s(1)
        second.see(*self.names)
        self.wait(60, lambda: second.ready)
        self.assertIs(self.phase(second), Phase.NONE)
        self.assertEqual(self.cleaned, [])
        self.assertEqual(self.read(second, "k1"), b"k1")
        self.assertIn("removed", second.why("n4"))
        self.cleaning = lambda name, half: None
        self.now(second.assembly.changes.remove("n4"))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n4"].buckets)

    def never_n4(self, name: str, half: bool) -> None:
        if name == "n4":
            raise NodeUnavailable(name, "the run was killed")

    def half_of_n4(self, name: str, half: bool) -> None:
        if name == "n4" and half:
            raise NodeUnavailable(name, "the run was killed")
