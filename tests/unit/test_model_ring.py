"""The ring: the same order on every machine, for ever."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.node import Member
from aosd.model.ring import PARTITIONS, Ring, partition

GOLDEN = Path(__file__).with_name("golden_ring.json")


def members(*names: str) -> list[Member]:
    return [Member(name, 1.0, name) for name in names]


class GoldenTests(SynchronousTestCase):
    """Where objects lie on people's disks: a change here loses them."""

    def test_orders_are_those_of_the_golden_file(self) -> None:
        rings = json.loads(GOLDEN.read_text("utf-8"))
        self.assertEqual(len(rings), 4)
        for golden in rings:
            ring = Ring(Member(*member) for member in golden["members"])
            self.assertEqual(ring.name, golden["ring"])
            self.assertGreaterEqual(len(golden["orders"]), 40)
            for bucket, key, number, order in golden["orders"]:
                self.assertEqual(partition(bucket, key), number, (bucket, key))
                self.assertEqual(list(ring.order(bucket, key)), order, (bucket, key))


class RingTests(SynchronousTestCase):
    def test_an_empty_ring_has_no_order(self) -> None:
        ring = Ring(())
        self.assertEqual(ring.order("object", "a"), ())
        self.assertEqual(ring.primaries("object", "a", 2), ())
        self.assertEqual(ring.saturated(2), ())
        self.assertEqual(dict(ring.members), {})

    def test_primaries_and_handoffs_follow_each_other(self) -> None:
        ring = Ring(members("a", "b", "c", "d", "e"))
        for key in map(str, range(50)):
            order = ring.order("object", key)
            self.assertEqual(sorted(order), ["a", "b", "c", "d", "e"])
            self.assertEqual(ring.primaries("object", key, 2), order[:2])
            self.assertEqual(ring.handoffs("object", key, 2), order[2:4])
            self.assertEqual(ring.handoffs("object", key, 3), order[3:])
            self.assertEqual(ring.handoffs("object", key, 5), ())

    def test_the_members_order_and_the_type_of_their_weights_dont_matter(self) -> None:
        ring = Ring([Member("a", 1.0, "a"), Member("b", 2.0, "z")])
        same = Ring([Member("b", 2, "z"), Member("a", 1, "a")])
        self.assertEqual(ring.name, same.name)
        for key in map(str, range(50)):
            self.assertEqual(ring.order("object", key), same.order("object", key))

    def test_its_name_tells_names_weights_and_zones_apart(self) -> None:
        rings = [
            Ring(()),
            Ring([Member("a", 1.0, "a")]),
            Ring([Member("b", 1.0, "a")]),
            Ring([Member("a", 1.5, "a")]),
            Ring([Member("a", 1.0, "b")]),
            Ring([Member("a", 1.0, "a"), Member("b", 1.0, "b")]),
            Ring([Member("a", 1.0, 'a"], ["b", 1.0, "b')]),
        ]
        self.assertEqual(len({ring.name for ring in rings}), len(rings))

    def test_zones_come_first(self) -> None:
        zones = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c"}
        ring = Ring(Member(name, 1.0, zone) for name, zone in zones.items())
        plain = Ring(members(*zones))
        for key in map(str, range(200)):
            order = ring.order("object", key)
            self.assertEqual(sorted(zones[name] for name in order[:3]), ["a", "b", "c"])
            # The best node of each zone, then the rest, both in the order of scores.
            scores = plain.order("object", key)
            best = {zone: next(n for n in scores if zones[n] == zone) for zone in "abc"}
            first = [name for name in scores if name in best.values()]
            rest = [name for name in scores if name not in best.values()]
            self.assertEqual(list(order), first + rest)

    def test_a_bucket_is_part_of_the_key(self) -> None:
        self.assertNotEqual(
            [partition("one", str(key)) for key in range(10)],
            [partition("two", str(key)) for key in range(10)],
        )

    def test_any_text_is_a_key(self) -> None:
        for key in ("", "ü☃𝄞", "\ud800", "\0", "x" * 1024):
            self.assertIn(partition("object", key), range(PARTITIONS))

    def test_scores_that_are_too_close_are_compared_exactly(self) -> None:
        # They differ in the eleventh digit, and are compared with fifty.
        ring = Ring(members("n278063", "n232319"))
        self.assertEqual(partition("object", "k"), 42138)
        self.assertEqual(ring.order("object", "k"), ("n232319", "n278063"))
        scores = ring.explain("object", "k")["scores"]
        self.assertTrue(0 < scores["n278063"] / scores["n232319"] - 1 < 1e-10)

    def test_explains_where_a_key_lies(self) -> None:
        ring = Ring([Member("a", 1.0, "a"), Member("b", 3.0, "b"), Member("c", 1.0, "c")])
        for key in map(str, range(20)):
            told = ring.explain("object", key)
            self.assertEqual(told["ring"], ring.name)
            self.assertEqual((told["bucket"], told["key"]), ("object", key))
            self.assertEqual(told["partition"], partition("object", key))
            scores = told["scores"]
            self.assertEqual(ring.order("object", key), tuple(sorted(scores, key=scores.get)))

    def test_tells_which_weights_are_too_much(self) -> None:
        ring = Ring(
            Member(name, weight, name)
            for name, weight in (("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", 4.0))
        )
        self.assertEqual(ring.saturated(1), ())
        self.assertEqual(ring.saturated(2), ())
        self.assertEqual(ring.saturated(3), ("d",))
        self.assertEqual(Ring(members("a", "b")).saturated(3), ())
        tenths = Ring(Member(name, 0.1, name) for name in "abc")
        self.assertEqual(tenths.saturated(3), ())

    def test_refuses_what_is_no_set_of_members(self) -> None:
        self.assertRaises(ValueError, Ring, members("a", "b", "a"))
        for weight in (0.0, -1.0, float("nan"), float("inf")):
            self.assertRaises(ValueError, Ring, [Member("a", weight, "a")])


class AllOfItTests(SynchronousTestCase):
    def test_who_has_all_the_weight_is_first_for_every_key(self) -> None:
        zones = {"n1": "a", "n2": "a", "n3": "b", "n4": "b"}
        before = Ring(Member(name, 100.0, zone) for name, zone in zones.items())
        for all_of_it, its_zone in zones.items():
            ring = Ring(
                Member(name, 1e30 if name == all_of_it else 100.0, zone)
                for name, zone in zones.items()
            )
            self.assertEqual(ring.saturated(2), (all_of_it,))
            for number in range(2000):
                order = ring.order("object", str(number))
                self.assertEqual(order[0], all_of_it)
                # The others' order stays, but for the zone's.
                self.assertNotEqual(zones[order[1]], its_zone)
                others = [each for each in before.order("object", str(number)) if each in order[1:]]
                for zone in ("a", "b"):
                    self.assertEqual(
                        [each for each in order[1:] if zones[each] == zone],
                        [each for each in others if zones[each] == zone],
                    )
