"""What is asked for while something else is: one change at a time, in order, and none is lost."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.model.errors import ChangeRefused
from aosd.model.standing import Act, Membership, Place
from tests.unit.test_cluster_changes import ChangesTestCase


class QueueTests(ChangesTestCase):
    """Acts that wait, and acts that are asked for side by side."""

    def waiting(self) -> list[str]:
        return [name for name, _ in self.changes.queue()]

    def moving(self) -> list[str]:
        return [each.name for each in self.changes.standings() if each.moves]

    def test_two_that_are_asked_for_at_once_arent_begun_at_once(self) -> None:
        self.freeze()
        both = [Deferred.fromCoroutine(self.changes.drain(name)) for name in ("n1", "n2")]
        self.pass_s(1)
        for each in both:
            self.successResultOf(each)
        self.assertEqual((self.moving(), self.waiting()), (["n1"], ["n2"]))
        self.thaw()
        self.wait(240, self.over)
        self.check_all()

    def test_the_last_two_that_are_drained_at_once_dont_leave_nothing(self) -> None:
        for name in ("n1", "n2"):
            self.now(self.changes.drain(name))
            self.wait(240, self.over)
        both = [Deferred.fromCoroutine(self.changes.drain(name)) for name in ("n3", "n4")]
        self.pass_s(1)
        self.successResultOf(both[0])
        self.failureResultOf(both[1], ChangeRefused)
        self.wait(240, self.over)
        self.assertEqual(self.members(self.gateway), ["n4"])
        self.check_all()

    def test_what_waits_is_counted_as_drained(self) -> None:
        self.freeze()
        for name in ("n1", "n2", "n3"):
            self.now(self.changes.drain(name))
        self.refused(self.changes.drain("n4"), ChangeRefused)
        with self.assertRaises(ChangeRefused):
            self.changes.outlook.proposed(Act.DRAIN, "n4")
        self.thaw()
        self.wait(480, self.over)
        self.assertEqual(self.members(self.gateway), ["n4"])
        self.check_all()

    def test_a_lost_one_goes_when_what_waits_is_taken_back(self) -> None:
        """All others are to be drained, which waits for it to be removed."""
        self.freeze()
        self.now(self.changes.drain("n2"))
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        for name in ("n3", "n4"):
            self.now(self.changes.drain(name))
        why = self.refused(self.changes.remove("n1", lose=True), ChangeRefused)
        self.assertIn("once n3, n4 will be drained, which waits", why)
        self.now(self.changes.undo("n4"))
        self.now(self.changes.remove("n1", lose=True))
        self.thaw()
        self.wait(960, self.over)
        self.assertEqual(self.members(self.gateway), ["n4"])
        self.check_listed(self.gateway)

    def test_nothing_is_asked_for_beside_another_gateway(self) -> None:
        self.now(self.changes.drain("n1"))
        self.now(self.changes.weigh("n2", 2))
        assembly = self.gateway.assembly
        assembly.heartbeat._loop.stop()
        assembly.heartbeat.other = "another"
        changes = self.changes
        for act in (
            changes.drain("n3"),
            changes.undrain("n1"),
            changes.weigh("n3", 2),
            changes.rezone("n3", "r1"),
            changes.remove("n3", lose=True),
            changes.undo("n1"),
            changes.adopt("n5"),
        ):
            self.assertIn("another gateway", self.refused(act, ChangeRefused))
        for act in (Act.DRAIN, Act.JOIN):
            with self.assertRaisesRegex(ChangeRefused, "another gateway"):
                changes.outlook.proposed(act, "n3")
        self.refused(assembly.leaving.leave(), ChangeRefused)
        self.assertIn("another gateway", self.now(assembly.leaving.plan()).refusal)
        self.pass_s(120)
        self.assertEqual((self.moving(), self.waiting()), (["n1"], ["n2"]))
        assembly.heartbeat.other = ""
        self.wait(480, self.over)
        self.assertEqual(self.membership("n1"), Membership.DRAINED)
        self.assertEqual(self.standing("n2").place.weight, 2)
        self.check_all()

    def test_what_waits_is_not_begun_beside_another_gateway(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.now(self.changes.drain("n2"))
        self.now(self.changes.undrain("n1"))
        assembly = self.gateway.assembly
        assembly.heartbeat._loop.stop()
        assembly.heartbeat.other = "another"
        self.pass_s(60)
        self.assertEqual((self.moving(), self.waiting()), ([], ["n2"]))
        assembly.heartbeat.other = ""
        self.wait(30, lambda: self.moving() == ["n2"])
        self.thaw()

    def test_what_waits_to_be_drained_isnt_forecast_to_be_weighed(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.now(self.changes.drain("n2"))
        with self.assertRaisesRegex(ChangeRefused, "waits to be drained"):
            self.changes.outlook.proposed(Act.WEIGH, "n2", weight=2.0)
        self.assertIn("drained", self.refused(self.changes.weigh("n2", 2), ChangeRefused))
        self.thaw()

    def test_nothing_overtakes_what_has_waited(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.now(self.changes.drain("n2"))
        self.now(self.changes.undrain("n1"))
        # Nobody has looked at the queue since.
        self.assertEqual((self.moving(), self.waiting()), ([], ["n2"]))
        self.now(self.changes.weigh("n3", 2))
        self.assertEqual((self.moving(), self.waiting()), ([], ["n2", "n3"]))
        self.wait(30, lambda: self.moving() == ["n2"])
        self.assertEqual(self.waiting(), ["n3"])
        self.thaw()
        self.wait(240, self.over)
        self.assertEqual(self.standing("n3").place.weight, 2)
        self.check_all()

    def test_a_weight_and_a_zone_of_one_node_wait_together(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.now(self.changes.weigh("n3", 2))
        self.now(self.changes.drain("n2"))
        self.now(self.changes.rezone("n3", "rack7"))
        self.assertEqual(self.waiting(), ["n3", "n2"])
        queued = self.standing("n3").queued
        assert queued is not None
        self.assertEqual((queued.weight, queued.zone), (2, "rack7"))
        self.now(self.changes.weigh("n3", 0.5))
        self.thaw()
        self.wait(480, self.over)
        self.assertEqual(self.standing("n3").place, Place(0.5, "rack7"))
        self.check_all()

    def test_one_that_waits_to_be_drained_isnt_weighed(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.now(self.changes.drain("n2"))
        for work in (self.changes.weigh("n2", 2), self.changes.rezone("n2", "rack7")):
            self.assertIn("undo that first", self.refused(work, ChangeRefused))
        self.assertEqual(self.waiting(), ["n2"])
        self.now(self.changes.undo("n2"))
        self.now(self.changes.weigh("n2", 2))
        self.thaw()
        self.wait(240, self.over)
        self.assertEqual(self.membership("n2"), Membership.MEMBER)
        self.assertEqual(self.standing("n2").place.weight, 2)
