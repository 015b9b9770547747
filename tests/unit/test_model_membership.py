"""Who is a member, given who was seen."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.membership import Resolution, resolve
from aosd.model.node import Address, Credentials, Member, Sighting

KEYS = Credentials("access", "secret")
N1 = Sighting("n1", Address("http", "10.0.0.1", 9000), KEYS, seen_as="container 1")
N2 = Sighting("n2", Address("http", "10.0.0.2", 9000), KEYS, seen_as="container 2")
STOPPED = replace(N1, address=None, running=False, seen_as="old container")
ELSEWHERE = replace(N1, address=Address("http", "10.0.0.9", 9000), seen_as="container 9")
AWRY = replace(N1, credentials=None, problem="no credentials", seen_as="container 3")
M1 = Member("n1", 1.0, "n1")


def seen(*sightings: Sighting, known: tuple[Member, ...] = ()) -> Resolution:
    return resolve({member.name: member for member in known}, {"docker": sightings})


class MembershipTests(SynchronousTestCase):
    def test_who_is_seen_is_a_member(self) -> None:
        found = seen(N1, replace(N2, weight=2.5, zone="rack-1"))
        self.assertEqual(found.members, {"n1": M1, "n2": Member("n2", 2.5, "rack-1")})
        self.assertIs(found.sightings["n1"], N1)
        self.assertEqual((found.disputed, found.troubles), (frozenset(), {}))

    def test_a_stopped_node_is_a_member_too(self) -> None:
        found = seen(STOPPED)
        self.assertEqual((found.members, found.sightings), ({"n1": M1}, {"n1": STOPPED}))

    def test_a_member_stays_when_nobody_sees_it(self) -> None:
        found = seen(N2, known=(M1,))
        self.assertEqual(found.members["n1"], M1)
        self.assertNotIn("n1", found.sightings)

    def test_a_member_takes_a_new_weight_and_zone(self) -> None:
        found = seen(replace(N1, weight=4.0, zone="rack-2"), known=(M1,))
        self.assertEqual(found.members["n1"], Member("n1", 4.0, "rack-2"))

    def test_a_sighting_with_a_problem_makes_no_member(self) -> None:
        found = seen(AWRY, N2)
        self.assertEqual(list(found.members), ["n2"])
        self.assertNotIn("n1", found.sightings)
        self.assertEqual(found.troubles, {"n1": "no credentials"})

    def test_a_sighting_with_a_problem_removes_no_member(self) -> None:
        heavier = replace(AWRY, weight=9.0)
        found = seen(heavier, known=(M1,))
        self.assertEqual(found.members, {"n1": M1})
        self.assertIs(found.sightings["n1"], heavier)
        self.assertEqual(found.troubles, {"n1": "no credentials"})

    def test_a_sighting_with_a_problem_stands_in_nobodys_way(self) -> None:
        for both in ((AWRY, N1), (N1, AWRY)):
            found = seen(*both)
            self.assertEqual((found.members, found.sightings["n1"]), ({"n1": M1}, N1))
            self.assertEqual(found.disputed, frozenset())
            self.assertEqual(found.troubles, {"n1": "no credentials"})

    def test_one_that_runs_awry_says_more_than_one_that_doesnt_run(self) -> None:
        found = seen(STOPPED, AWRY)
        self.assertEqual((found.members, found.sightings["n1"]), ({"n1": M1}, AWRY))

    def test_the_running_one_of_two_counts(self) -> None:
        for both in ((STOPPED, N1), (N1, STOPPED)):
            found = seen(*both, known=(M1,))
            self.assertIs(found.sightings["n1"], N1)
            self.assertEqual((found.disputed, found.troubles), (frozenset(), {}))

    def test_two_running_ones_move_nothing(self) -> None:
        heavier = replace(ELSEWHERE, weight=9.0)
        found = seen(N1, heavier, N2, known=(M1,))
        self.assertEqual(found.members["n1"], M1)
        self.assertNotIn("n1", found.sightings)
        self.assertEqual(found.disputed, {"n1"})
        self.assertEqual(
            found.troubles, {"n1": "two running nodes have this name: container 1, container 9"}
        )
        self.assertIs(found.sightings["n2"], N2)

    def test_two_running_ones_make_no_member(self) -> None:
        found = seen(N1, ELSEWHERE)
        self.assertEqual((found.members, found.disputed), ({}, frozenset()))
        self.assertIn("n1", found.troubles)

    def test_two_providers_may_see_the_same_node(self) -> None:
        again = replace(N1, seen_as="nodes.toml")
        found = resolve({}, {"docker": [N1], "static": [again]})
        self.assertEqual((found.members, found.troubles), ({"n1": M1}, {}))
        self.assertIs(found.sightings["n1"], N1)
        found = resolve({}, {"docker": [N1], "static": [ELSEWHERE]})
        self.assertEqual(found.members, {})

    def test_what_is_no_name_is_told(self) -> None:
        for name, where in (("a/b", "a/b"), ("", "container 1")):
            found = seen(replace(N1, name=name), N2)
            self.assertEqual(list(found.members), ["n2"])
            self.assertEqual(found.troubles, {where: f"{name!r} is no name for a node"})

    def test_what_is_no_weight_is_told(self) -> None:
        for weight in (0.0, -1.0, 0.09, 100.1, float("nan"), float("inf")):
            found = seen(replace(N1, weight=weight), known=(M1,))
            self.assertEqual(found.members, {"n1": M1})
            self.assertIn("weight", found.troubles["n1"])
            self.assertEqual(seen(replace(N1, weight=weight)).members, {})
        for weight in (0.1, 100.0):
            self.assertEqual(seen(replace(N1, weight=weight)).members["n1"].weight, weight)
