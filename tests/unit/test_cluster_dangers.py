"""What would lose, hide or bring back objects while members change."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred

from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Put
from aosd.model.conditions import Conditions
from aosd.model.errors import ChangeRefused, NoQuorum
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.standing import Act, Membership
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import late, refused
from tests.unit.cluster_case import Gateway
from tests.unit.test_cluster_changes import KEYS, ChangesTestCase


class GrowingCase(ChangesTestCase):
    """A cluster of `first`; `self.grow` lets another one begin to join, and no sweep begins."""

    count = 3
    first: tuple[str, ...] = ("n1",)

    def begun(self, *first: str, **settings: object) -> Gateway:
        return super().begun(*(first or self.first), **settings)

    def grow(self, *names: str) -> None:
        self.freeze()
        self.gateway.see(*self.first, *names)
        self.wait(30, lambda: set(names) <= set(self.members(self.gateway)))
        self.pass_s(5)

    def go(self, *left: str) -> None:
        """All others but these go."""
        self.gateway.see(*left)
        self.pass_s(60)


class OneToThreeTests(GrowingCase):
    """Two more join, of two replicas, while the first one has the only copies yet."""

    def setUp(self) -> None:
        super().setUp()
        self.grow("n2", "n3")

    def tearDown(self) -> None:
        self.thaw()
        super().tearDown()

    def test_what_the_first_one_has_isnt_missing_while_it_is_away(self) -> None:
        self.go("n2", "n3")
        self.thaw()
        self.pass_s(60)
        self.freeze()
        self.assertIs(self.gateway.state("n1"), NodeState.DOWN)
        for key in KEYS:
            self.failureResultOf(self.getting(self.gateway, key), NoQuorum)
        listing = Deferred.fromCoroutine(list_objects(self.gateway.store, OBJECT_BUCKET))
        self.failureResultOf(listing, NoQuorum)

    def test_the_first_one_cant_be_removed(self) -> None:
        self.go("n2", "n3")
        self.thaw()
        self.pass_s(60)
        self.freeze()
        why = self.refused(self.changes.remove("n1"), ChangeRefused)
        self.assertIn("one copy", why)
        self.assertIs(self.membership("n1"), Membership.MEMBER)

    def test_one_that_joined_can_when_it_is_lost_again(self) -> None:
        self.go("n1", "n2")
        self.thaw()
        self.pass_s(60)
        self.freeze()
        self.now(self.changes.remove("n3"))
        self.assertIs(self.membership("n3"), Membership.REMOVED)


class TwoToFiveTests(GrowingCase):
    """Three more join, of three replicas: two copies of each object, and both nodes away."""

    count = 5
    first = ("n1", "n2")
    replicas = 3

    def test_neither_is_missed_or_removed(self) -> None:
        self.grow("n3", "n4", "n5")
        self.go("n3", "n4", "n5")
        self.thaw()
        self.pass_s(60)
        for key in KEYS:
            self.failureResultOf(self.getting(self.gateway, key), NoQuorum)
        for name in self.first:
            self.refused(self.changes.remove(name), ChangeRefused)


class TwoToOneTests(ChangesTestCase):
    """One of two is drained: what is written then lies on the other one alone."""

    count = 2

    def test_what_is_written_then_isnt_missing_while_that_is_away(self) -> None:
        self.nodes["n2"].script("delete", refused(), times=None)
        self.now(self.changes.drain("n2"))
        self.wait(120, partial(self.is_in, "emptying"))
        self.put(self.gateway, "new", b"new")
        self.put(self.gateway, "k0", b"newer")
        self.dies(self.gateway)
        self.gateway = self.begun()
        self.freeze()
        self.gateway.see("n2")
        self.pass_s(60)
        self.failureResultOf(self.getting(self.gateway, "new"), NoQuorum)
        self.failureResultOf(self.getting(self.gateway, "k0"), NoQuorum)
        self.nodes["n2"].heal()
        self.thaw()


class LostOnesTests(ChangesTestCase):
    """Nodes that are lost for good, one after the other."""

    def test_a_second_one_while_the_copies_of_the_first_are_being_made(self) -> None:
        self.freeze()
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        self.now(self.changes.remove("n1"))
        self.assertIs(self.membership("n1"), Membership.REMOVING)
        self.gateway.see("n3", "n4")
        self.pass_s(60)
        self.thaw()
        self.pass_s(60)
        why = self.refused(self.changes.remove("n2"), ChangeRefused)
        self.assertIn("n1", why)
        self.assertIs(self.membership("n2"), Membership.MEMBER)

    def test_one_that_comes_back_while_it_is_looked_at_stays(self) -> None:
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        asked: Deferred[object] = Deferred()

        async def why_not(name: str) -> str:
            await asked
            return ""

        self.patch(self.gateway.assembly.outlook._losses, "why_not", why_not)
        removing = Deferred.fromCoroutine(self.changes.remove("n1"))
        self.gateway.see(*self.names)
        self.wait(60, lambda: self.gateway.state("n1") is not NodeState.DOWN)
        asked.callback(None)
        self.failureResultOf(removing, ChangeRefused)
        self.assertIs(self.membership("n1"), Membership.MEMBER)


class NobodyLeftTests(ChangesTestCase):
    """No ring is ever without members."""

    count = 3

    def test_not_by_what_waited(self) -> None:
        for name in ("n1", "n2"):
            self.now(self.changes.drain(name))
        self.refused(self.changes.drain("n3"), ChangeRefused)
        self.wait(600, self.over)
        self.assertEqual(self.members(self.gateway), ["n3"])
        self.assertIs(self.membership("n3"), Membership.MEMBER)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), key.encode())

    def test_not_by_two_acts_at_once(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(240, self.over)
        held = self.hold_puts()
        acts = [Deferred.fromCoroutine(self.changes.drain(name)) for name in ("n2", "n3")]
        self.let_go(held)
        self.pass_s(1)
        self.assertTrue(all(each.called for each in acts))
        for each in acts:
            each.addErrback(lambda failure: failure.trap(ChangeRefused))
        self.wait(600, self.over)
        self.assertEqual(len(self.members(self.gateway)), 1)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), key.encode())

    def hold_puts(self) -> list[Deferred[None]]:
        """The nodes' answers to PUTs wait."""
        held: list[Deferred[None]] = []

        def gate() -> Deferred[None]:
            held.append(Deferred())
            return held[-1]

        for name in self.names:
            self.nodes[name].script("put", late(gate), times=None)
        return held

    def let_go(self, held: list[Deferred[None]]) -> None:
        for name in self.names:
            self.nodes[name].heal()
        for each in held:
            each.callback(None)


class DrainedAgainTests(ChangesTestCase):
    """One that was drained is forgotten, and taken in again, at the same time."""

    def test_it_isnt_taken_in_while_it_is_cleaned(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(240, self.over)
        cleaning: Deferred[None] = Deferred()
        self.patch(self.gateway.assembly.changes, "_clean", lambda *_: cleaning)
        removing = Deferred.fromCoroutine(self.changes.remove("n1"))
        undraining = Deferred.fromCoroutine(self.changes.undrain("n1"))
        self.pass_s(30)
        cleaning.callback(None)
        self.successResultOf(removing)
        self.failureResultOf(undraining, ChangeRefused)
        self.assertIs(self.membership("n1"), Membership.REMOVED)
        self.check_all()


class SmallTests(ChangesTestCase):
    """As many nodes as there are replicas: what is remembered has to stand on all of them."""

    count = 2

    def test_a_drained_one_is_taken_in_again(self) -> None:
        self.now(self.changes.drain("n2"))
        self.wait(240, self.over)
        self.pass_s(5)
        self.now(self.changes.undrain("n2"))
        self.assertIsNot(self.gateway.state("n2"), NodeState.DOWN)
        self.delete(self.gateway, "k0")
        self.put(self.gateway, "k0", b"k0")
        self.wait(240, lambda: self.over() and self.membership("n2") is Membership.MEMBER)
        self.check_all()

    def test_a_lost_one_is_removed_by_who_says_that_it_may_be(self) -> None:
        self.gateway.see("n1")
        self.pass_s(60)
        self.refused(self.changes.remove("n2"), ChangeRefused)
        self.now(self.changes.remove("n2", lose=True))
        self.wait(240, self.over)
        self.assertIs(self.membership("n2"), Membership.REMOVED)
        self.nodes["n2"].buckets.clear()
        self.put(self.gateway, "k0", b"k0")
        self.check_all()

    def test_what_it_would_move_is_foretold(self) -> None:
        self.now(self.changes.drain("n2"))
        self.wait(240, self.over)
        former, coming = self.changes.outlook.proposed(Act.UNDRAIN, "n2")
        self.assertEqual((len(former.members), len(coming.members)), (1, 2))


class MemoryTests(GrowingCase):
    """What the cluster remembers, while one joins that wasn't given all of it yet."""

    def test_no_run_begins_with_the_one_that_joins_alone(self) -> None:
        self.delete(self.gateway, "k0")
        self.grow("n2")
        self.dies(self.gateway)
        self.gateway = self.begin("n2")
        self.pass_s(120)
        self.assertFalse(self.gateway.ready)
        self.assertIn("n1", self.gateway.assembly.beginning.why)
        self.gateway.see("n1", "n2")
        self.wait(60, lambda: self.gateway.ready)


class LateWritesTests(ChangesTestCase):
    """A PUT whose nodes were chosen before one of them was asked to go."""

    def test_one_that_looks_yet_is_waited_for(self) -> None:
        self.wait(60, lambda: self.settled(self.gateway))
        gate: Deferred[None] = Deferred()
        for name in self.names:
            self.nodes[name].script("head", late(lambda: gate))
        name = self.primaries(self.gateway, "long")[0]
        body = BytesSource(bytes(2 * 1024 * 1024))
        conditions = Conditions(if_none_match="*")
        request = Put(OBJECT_BUCKET, "long", body, conditions=conditions)
        putting = Deferred.fromCoroutine(put(self.gateway.store, request))
        for each in self.names:
            self.nodes[each].heal()
        self.assertNoResult(putting)
        self.now(self.changes.drain(name))
        self.pass_s(240)
        self.assertIs(self.membership(name), Membership.DRAINING)
        gate.callback(None)
        self.successResultOf(putting)
        self.wait(600, self.over)
        self.assertIs(self.membership(name), Membership.DRAINED)
        self.assertEqual(self.nodes[name].buckets[OBJECT_BUCKET], {})
        self.assertEqual(len(self.read(self.gateway, "long")), 2 * 1024 * 1024)
