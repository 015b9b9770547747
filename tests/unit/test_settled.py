"""Settledness: what a sweep speaks for, and what makes it speak no more."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.settled import Settledness
from aosd.model.node import NodeState
from aosd.ports import Candidate
from aosd.testing.memory_node import MemoryNode

NAMES = ("n1", "n2", "n3", "n4", "n5")


class SettledTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.marked: set[int] = set()
        self.settled = Settledness(self.clock.seconds, self.marked.__contains__)
        self.states: dict[str, NodeState] = {}

    def sweep(self, *names: str) -> None:
        self.settled.swept(self.settled.begin(), names or NAMES)

    def why(self, partition: int = 7, orders: int = 1) -> str:
        order = [
            Candidate(name, MemoryNode(name), self.states.get(name, NodeState.UP)) for name in NAMES
        ]
        return self.settled.why_not([order] * orders, partition, 2)

    def assert_settled(self) -> None:
        self.assertEqual(self.why(), "")

    def assert_unsettled(self, because: str) -> None:
        self.assertIn(because, self.why())


class WhyNotTests(SettledTestCase):
    """Five nodes, in this order; two copies."""

    def test_not_before_anything_is_known(self) -> None:
        self.assertFalse(self.settled.is_anything_known())
        self.assert_unsettled("no sweep")

    def test_after_a_founding_and_after_a_sweep(self) -> None:
        self.settled.founded(NAMES)
        self.assert_settled()
        self.settled.ring_changed()
        self.assert_unsettled("no sweep")
        self.sweep()
        self.assert_settled()

    def test_primaries_have_to_be_up(self) -> None:
        self.sweep()
        for name in ("n1", "n2"):
            for state in (NodeState.DOWN, NodeState.SUSPECT, NodeState.RETURNING):
                self.states = {name: state}
                self.assert_unsettled(name)
            self.states = {name: NodeState.FULL}
            self.assert_settled()

    def test_handoffs_dont_as_long_as_a_sweep_speaks_for_them(self) -> None:
        self.sweep()
        self.states = dict.fromkeys(("n3", "n4", "n5"), NodeState.DOWN)
        self.assert_settled()
        self.states["n4"] = NodeState.RETURNING
        self.settled.returned("n4")
        self.assert_unsettled("n4")

    def test_who_cant_hold_it_doesnt_matter(self) -> None:
        self.sweep("n1", "n2", "n3", "n4")
        self.settled.returned("n5")
        self.assert_settled()

    def test_a_mark_in_its_partition(self) -> None:
        self.sweep()
        self.marked.add(7)
        self.assert_unsettled("mark")
        self.assertEqual(self.why(partition=8), "")

    def test_a_ring_that_changes_and_none(self) -> None:
        self.sweep()
        self.assertIn("changing", self.why(orders=2))
        self.assertIn("ring", self.why(orders=0))


class SweepTests(SettledTestCase):
    """A sweep speaks for what happened before it began."""

    def test_not_for_a_return_while_it_ran(self) -> None:
        self.sweep()
        self.settled.returned("n1")
        self.assertTrue(self.settled.is_returning("n1"))
        this = self.settled.begin()
        self.settled.returned("n2")
        self.settled.swept(this, NAMES)
        self.assertFalse(self.settled.is_returning("n1"))
        self.assertTrue(self.settled.is_returning("n2"))
        self.assert_unsettled("n2")
        self.sweep()
        self.assert_settled()

    def test_not_for_a_change_of_the_ring_while_it_ran(self) -> None:
        this = self.settled.begin()
        self.settled.ring_changed()
        self.settled.swept(this, NAMES)
        self.assert_unsettled("no sweep")

    def test_only_for_who_took_part(self) -> None:
        self.sweep("n1", "n2", "n3")
        self.assert_unsettled("n4")
        # One that saw the fourth node alone compared it with nobody.
        self.sweep("n4")
        self.assert_unsettled("n4")
        self.sweep()
        self.assert_settled()

    def test_a_handoff_that_is_down_neednt_take_part(self) -> None:
        self.states["n4"] = NodeState.DOWN
        self.sweep("n1", "n2", "n3")
        self.assert_settled()
        self.states.clear()
        self.settled.returned("n4")
        self.assert_unsettled("n4")

    def test_helps_who_none_speaks_for(self) -> None:
        self.assertTrue(self.settled.sweep_helps("n1"))
        self.sweep()
        self.assertFalse(self.settled.sweep_helps("n1"))
        self.settled.returned("n1")
        self.assertTrue(self.settled.sweep_helps("n1"))
        self.assertFalse(self.settled.sweep_helps("n2"))


class UnwatchedTests(SettledTestCase):
    """Nobody watched the nodes before we started: requests of before may land late."""

    def setUp(self) -> None:
        super().setUp()
        for name in NAMES:
            self.settled.unwatched(name, 1200.0)

    def test_a_first_sweep_tells_what_is_there_but_not_what_may_land_yet(self) -> None:
        self.assertTrue(self.settled.is_unwatched("n1"))
        self.sweep()
        self.assertFalse(self.settled.is_unwatched("n1"))
        self.assertFalse(self.settled.is_returning("n1"))
        self.assert_unsettled("no sweep")

    def test_one_that_began_after_it_does(self) -> None:
        self.sweep()
        self.clock.advance(1199)
        self.assertFalse(self.settled.sweep_helps("n1"))
        early = self.settled.begin()
        self.clock.advance(1)
        self.settled.swept(early, NAMES)
        self.assert_unsettled("no sweep")
        self.assertTrue(self.settled.sweep_helps("n1"))
        self.sweep()
        self.assert_settled()

    def test_a_new_member_that_is_unwatched_stays_so_until_it_is_swept(self) -> None:
        self.clock.advance(1200)
        self.sweep()
        self.settled.unwatched("n3", 0.0)
        self.assert_unsettled("n3")
        self.sweep("n3")
        self.assertFalse(self.settled.is_unwatched("n3"))
        self.sweep()
        self.assert_settled()


class MayLackTests(SettledTestCase):
    """What a node lost may lie on one that was away when it was swept."""

    def test_until_a_sweep_has_compared_it_with_all_others(self) -> None:
        self.settled.founded(NAMES)
        self.assertFalse(self.settled.may_lack("n1", NAMES))
        self.settled.returned("n1")
        self.assertTrue(self.settled.may_lack("n1", NAMES))
        self.sweep("n1", "n2", "n3")
        self.assertFalse(self.settled.is_returning("n1"))
        self.assertTrue(self.settled.may_lack("n1", ["n1", "n2", "n4"]))
        self.assertFalse(self.settled.may_lack("n1", ["n2", "n3"]))
        self.sweep()
        self.assertFalse(self.settled.may_lack("n1", NAMES))

    def test_what_came_later_and_with_nothing_has_nothing_that_was_lost(self) -> None:
        self.settled.returned("n1")
        self.sweep("n1", "n2")
        self.settled.comes("n3")
        self.assertFalse(self.settled.may_lack("n1", ["n2", "n3"]))
        self.settled.returned("n3")
        self.assertFalse(self.settled.may_lack("n1", ["n2", "n3"]))
        self.settled.returned("n1")
        self.assertTrue(self.settled.may_lack("n1", ["n2", "n3"]))

    def test_what_comes_with_nothing_lacks_nothing_before_it_was_away(self) -> None:
        self.settled.comes("n3")
        self.settled.returned("n3")
        self.assertFalse(self.settled.may_lack("n3", NAMES))
        self.assertTrue(self.settled.is_returning("n3"))
        self.settled.returned("n3")
        self.assertTrue(self.settled.may_lack("n3", NAMES))

    def test_what_comes_with_objects_may_have_what_was_lost(self) -> None:
        self.settled.returned("n1")
        self.sweep("n1", "n2")
        self.settled.comes("n3")
        self.assertFalse(self.settled.may_lack("n1", ["n2", "n3"]))
        self.settled.comes("n3", empty=False)
        self.assertTrue(self.settled.may_lack("n1", ["n2", "n3"]))
        self.settled.returned("n3")
        self.assertTrue(self.settled.may_lack("n1", ["n2", "n3"]))

    def test_what_comes_with_objects_lacks_nothing_unless_some_were_ours(self) -> None:
        self.settled.comes("n3", empty=False)
        self.settled.returned("n3")
        self.assertFalse(self.settled.may_lack("n3", NAMES))
        self.settled.returned("n3")
        self.assertTrue(self.settled.may_lack("n3", NAMES))
        self.settled.comes("n3", empty=False, ours=True)
        self.settled.returned("n3")
        self.assertTrue(self.settled.may_lack("n3", NAMES))

    def test_a_sweep_that_covered_all_is_kept_in_mind(self) -> None:
        self.settled.returned("n1")
        self.sweep()
        for _ in range(50):
            self.sweep("n1", "n2")
        self.assertFalse(self.settled.may_lack("n1", NAMES))
        self.settled.returned("n1")
        self.assertTrue(self.settled.may_lack("n1", NAMES))


class ChangesTests(SynchronousTestCase):
    """Who remembers what was known looks anew when `changes` grew, and only then."""

    def test_all_that_is_known_of_nodes_changes_with_it(self) -> None:
        for seed in range(60):
            chance = random.Random(seed)
            settled, before, changes = Settledness(Clock().seconds, lambda _: False), None, -1
            sweep = settled.begin()
            for _ in range(60):
                some = chance.sample(NAMES, chance.randint(1, 5))
                match chance.randrange(8):
                    case 0:
                        settled.returned(some[0])
                    case 1:
                        empty = chance.random() < 0.5
                        settled.comes(some[0], empty=empty, ours=chance.random() < 0.5)
                    case 2:
                        settled.unwatched(some[0], chance.randrange(3) - 1)
                    case 3:
                        settled.ring_changed()
                    case 4:
                        settled.founded(some)
                    case 5:
                        sweep = settled.begin()
                    case 6:
                        settled.swept(sweep, some)
                    case _:
                        settled.late(some[0], chance.randrange(3) - 1)
                known = self.known(settled)
                if settled.changes == changes:
                    self.assertEqual(known, before)
                before, changes = known, settled.changes

    def known(self, settled: Settledness) -> list[object]:
        together = [NAMES[:count] for count in range(1, 6)]
        return [
            [settled.is_returning(name) for name in NAMES],
            [settled.may_lack(name, others) for name in NAMES for others in together],
            [settled.is_covered(*names) for names in together],
        ]
