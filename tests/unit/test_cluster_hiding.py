"""Which members hide what lies beneath an object: found out, and remembered."""

from __future__ import annotations

from aosd.testing.memory_node import MemoryNode
from tests.unit.cluster_case import ClusterTestCase, Gateway


class HidingMembersTests(ClusterTestCase):
    def blank(self, name: str) -> MemoryNode:
        hides = name == "n2"
        return MemoryNode(name, now=self.clock.seconds, buckets=(), hides_beneath=hides)

    def told(self, gateway: Gateway) -> dict[str, bool | None]:
        return {each.name: each.hides for each in gateway.roster.members()}

    def test_found_out_at_the_first_contact(self) -> None:
        first = self.begun()
        self.assertEqual(self.told(first), {"n1": False, "n2": True, "n3": False})

    def test_still_known_when_it_was_away(self) -> None:
        first = self.begun()
        self.unreach("n2")
        self.pass_s(15)
        self.reachable("n2")
        self.pass_s(5)
        self.assertEqual(self.told(first), {"n1": False, "n2": True, "n3": False})

    def test_remembered_of_members_that_are_away_at_the_next_start(self) -> None:
        first = self.begun()
        self.pass_s(5)
        self.stop(first)
        self.unreach("n1")
        second = self.begun("n2", "n3")
        self.assertEqual(self.told(second), {"n1": False, "n2": True, "n3": False})

    def test_a_new_cluster_has_no_folders_and_the_next_run_finds_out(self) -> None:
        first = self.begun()
        self.assertTrue(first.store.folders.complete)
        self.stop(first)
        second = self.begun()
        self.assertFalse(second.store.folders.complete)
        self.wait(120, lambda: second.store.folders.complete)
