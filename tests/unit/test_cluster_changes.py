"""Changes by hand: draining, weighing, rezoning, removing, and going back."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from hashlib import md5
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from aosd.cluster.changes import Changes
from aosd.cluster.held import first_keys
from aosd.consistency.marks import Mark
from aosd.gateway.list import list_objects
from aosd.model.errors import BadRequest, ChangeRefused, NoQuorum, NoSuchNode
from aosd.model.marker import MARKER_KEY
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.standing import Act, Membership, Standing
from aosd.testing.faults import refused, timed_out
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase, Gateway

KEYS = tuple(f"k{number}" for number in range(40))


def etag_of(data: bytes) -> str:
    """As S3 has it of a body in one piece."""
    return f'"{md5(data).hexdigest()}"'


class ChangesTestCase(ClusterTestCase):
    """Four nodes with 40 keys on them."""

    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun()
        for key in KEYS:
            self.put(self.gateway, key, key.encode())

    @property
    def changes(self) -> Changes:
        return self.gateway.assembly.changes

    def standing(self, name: str) -> Standing:
        found = self.changes.standing(name)
        assert found is not None
        return found

    def membership(self, name: str) -> Membership:
        return self.standing(name).membership

    def copies_made(self) -> int:
        return int(self.gateway.metrics.copies_made._value.get())

    def over(self) -> bool:
        return not self.changes.changing and not self.changes.queue()

    def holders(self, key: str) -> list[str]:
        return [
            name for name in self.names if key in self.nodes[name].buckets.get(OBJECT_BUCKET, {})
        ]

    def check_all(self, gateway: Gateway | None = None) -> None:
        """Every key is read, listed, and lies on its primaries alone."""
        gateway = gateway or self.gateway
        self.wait(120, lambda: all(self.settled(gateway, key) for key in KEYS))
        for key in KEYS:
            self.assertEqual(self.read(gateway, key), key.encode())
            self.assertEqual(self.holders(key), sorted(self.primaries(gateway, key)), key)
        self.check_listed(gateway)

    def is_in(self, phase: str) -> bool:
        return self.changes.phase() == phase

    def check_listed(self, gateway: Gateway) -> None:
        listed = self.now(list_objects(gateway.store, OBJECT_BUCKET))
        self.assertEqual({each.key for each in listed.entries}, set(KEYS))

    def freeze(self) -> None:
        """No sweep begins."""
        self.patch(self.gateway.assembly.keeper, "_wants_sweep", lambda: False)

    def thaw(self) -> None:
        del self.gateway.assembly.keeper._wants_sweep

    def refused(self, work: Coroutine[Any, Any, Any], kind: type[Exception]) -> str:
        """Why it was."""
        return str(self.failureResultOf(Deferred.fromCoroutine(work), kind).value)


class DrainingTests(ChangesTestCase):
    """A node is emptied, and counts no more."""

    def test_all_copies_move_off_and_it_is_drained(self) -> None:
        self.assertTrue(self.nodes["n1"].buckets[OBJECT_BUCKET])
        self.now(self.changes.drain("n1"))
        self.assertEqual(self.membership("n1"), Membership.DRAINING)
        self.assertEqual(self.changes.phase(), "copying")
        self.wait(120, self.over)
        self.assertEqual(self.membership("n1"), Membership.DRAINED)
        self.assertEqual(self.members(self.gateway), ["n2", "n3", "n4"])
        self.assertEqual(self.nodes["n1"].buckets[OBJECT_BUCKET], {})
        self.pass_s(10)
        self.assertIn("undrain", self.refused(self.changes.adopt("n1"), ChangeRefused))
        self.check_all()

    def test_it_is_read_from_as_long_as_it_holds_something(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.pass_s(5)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), key.encode())
        self.thaw()
        self.wait(120, self.over)

    def test_what_nobody_would_remember_isnt_begun(self) -> None:
        for name in self.names:
            self.nodes[name].script("put", refused(), times=None)
        self.refused(self.changes.drain("n1"), NoQuorum)
        self.assertEqual(self.membership("n1"), Membership.MEMBER)
        for name in self.names:
            self.nodes[name].heal()

    def test_what_comes_to_light_late_is_read_and_moved_too(self) -> None:
        self.nodes["n1"].script("delete", refused(), times=None)
        self.now(self.changes.drain("n1"))
        self.wait(120, partial(self.is_in, "emptying"))
        for late in ("late", "k0/x"):
            copy = Copy(b"late", etag_of(b"late"), self.clock.seconds())
            self.nodes["n1"].buckets[OBJECT_BUCKET][late] = copy
            self.assertEqual(self.read(self.gateway, late), b"late")
        self.nodes["n1"].heal()
        self.wait(900, self.over)
        self.assertEqual(self.nodes["n1"].buckets[OBJECT_BUCKET], {})
        for late in ("late", "k0/x"):
            self.assertEqual(self.read(self.gateway, late), b"late")

    def test_a_queue_of_drains_is_taken_in_order(self) -> None:
        self.now(self.changes.drain("n1"))
        self.now(self.changes.drain("n2"))
        self.assertEqual(self.membership("n2"), Membership.MEMBER)
        self.assertEqual([name for name, _ in self.changes.queue()], ["n2"])
        self.wait(240, self.over)
        self.assertEqual(self.members(self.gateway), ["n3", "n4"])
        self.check_all()

    def test_the_last_one_cant_be_drained(self) -> None:
        for name in ("n1", "n2", "n3"):
            self.now(self.changes.drain(name))
            self.wait(240, self.over)
        self.refused(self.changes.drain("n4"), ChangeRefused)
        with self.assertRaises(ChangeRefused):
            self.changes.outlook.proposed(Act.DRAIN, "n4")

    def test_an_unknown_node_is_said_to_be(self) -> None:
        self.refused(self.changes.drain("n9"), NoSuchNode)

    def test_undone_before_all_is_copied_it_is_a_member_and_nothing_moves(self) -> None:
        self.freeze()
        self.now(self.changes.drain("n1"))
        self.pass_s(20)
        self.assertEqual(self.changes.phase(), "copying")
        self.now(self.changes.undrain("n1"))
        self.assertEqual(self.changes.phase(), "")
        self.thaw()
        self.assertEqual(self.membership("n1"), Membership.MEMBER)
        self.check_all()

    def test_undone_while_its_own_listing_is_on_its_way(self) -> None:
        """It isn't found to be empty then, and nothing breaks."""
        gates: list[Deferred[None]] = []

        def gate() -> Deferred[None]:
            gates.append(Deferred())
            return gates[-1]

        looked = first_keys

        async def slow(*asked: Any) -> list[str]:
            found = await looked(*asked)
            await gate()
            return found

        with patch("aosd.cluster.emptying.first_keys", slow):
            self.now(self.changes.drain("n1"))
            self.wait(240, lambda: bool(gates))
            self.now(self.changes.undo("n1"))
        for each in gates:
            each.callback(None)
        self.wait(240, self.over)
        self.assertEqual(self.membership("n1"), Membership.MEMBER)
        self.check_all()

    def test_undone_while_it_is_emptied_it_joins_again(self) -> None:
        self.nodes["n1"].script("delete", refused(), times=None)
        self.now(self.changes.drain("n1"))
        self.wait(120, lambda: self.changes.phase() == "emptying")
        self.pass_s(5)
        self.now(self.changes.undo("n1"))
        self.nodes["n1"].heal()
        self.assertEqual(self.membership("n1"), Membership.JOINING)
        self.wait(240, self.over)
        self.assertEqual(self.members(self.gateway), list(self.names))
        self.check_all()

    def test_a_drained_one_is_taken_in_again(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(240, self.over)
        self.pass_s(60)
        self.assertIn("drained", self.gateway.why("n1"))
        self.now(self.changes.undrain("n1"))
        self.wait(240, lambda: self.over() and self.membership("n1") is Membership.MEMBER)
        self.check_all()

    def test_one_that_isnt_there_yet_is_taken_in_when_it_is(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(240, self.over)
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(5)
        self.now(self.changes.undrain("n1"))
        self.assertEqual([name for name, _ in self.changes.queue()], ["n1"])
        # Nobody else waits for it.
        self.now(self.changes.weigh("n2", 3))
        self.wait(240, lambda: self.standing("n2").place.weight == 3)
        self.gateway.see(*self.names)
        self.wait(240, lambda: self.over() and self.membership("n1") is Membership.MEMBER)
        self.check_all()

    def test_a_kill_in_the_middle_changes_nothing_of_it(self) -> None:
        for phase in ("copying", "emptying"):
            with self.subTest(phase):
                name = "n1" if phase == "copying" else "n2"
                if phase == "copying":
                    self.freeze()
                else:
                    self.nodes[name].script("delete", refused(), times=None)
                self.now(self.changes.drain(name))
                self.wait(120, partial(self.is_in, phase))
                self.now(self.changes.drain("n3")) if phase == "copying" else None
                self.dies(self.gateway)
                self.nodes[name].heal()
                self.gateway = self.begun(late_write_window_s=30.0)
                self.assertTrue(self.changes.changing)
                if phase == "copying":
                    self.assertEqual([each for each, _ in self.changes.queue()], ["n3"])
                    self.now(self.changes.undo("n3"))
                self.wait(400, self.over)
                self.assertEqual(self.membership(name), Membership.DRAINED)
        self.check_all()

    def test_why_it_takes_long_after_a_kill(self) -> None:
        self.nodes["n1"].script("delete", refused(), times=None)
        self.now(self.changes.drain("n1"))
        self.wait(120, partial(self.is_in, "emptying"))
        self.dies(self.gateway)
        self.nodes["n1"].heal()
        self.gateway = self.begun(late_write_window_s=300.0)
        self.wait(60, lambda: "run before" in self.changes.waiting_for())
        self.assertIn("keys can't be moved yet", self.changes.waiting_for())
        self.wait(600, self.over)
        self.assertEqual(self.membership("n1"), Membership.DRAINED)

    def test_an_open_upload_keeps_it(self) -> None:
        uploads = self.gateway.assembly.store.uploads
        stamp = self.gateway.store.stamps.next()
        self.now(uploads.begin(stamp, OBJECT_BUCKET, "u", ["n1"], client=True))
        self.now(uploads.create(stamp, self.nodes["n1"], ()))
        self.now(self.changes.drain("n1"))
        self.pass_s(240)
        self.assertEqual(self.membership("n1"), Membership.DRAINING)
        self.assertIn("multipart", self.changes.waiting_for())
        swept = self.gateway.assembly.settled.sweeps
        self.pass_s(60)
        self.assertEqual(self.gateway.assembly.settled.sweeps, swept)
        self.now(uploads.abort(stamp, self.nodes["n1"]))
        self.now(uploads.over(stamp))
        self.wait(30, self.over)


class PlacingTests(ChangesTestCase):
    """Weights and zones."""

    def test_a_heavier_one_gets_more(self) -> None:
        before = len(self.nodes["n1"].buckets[OBJECT_BUCKET])
        self.now(self.changes.weigh("n1", 50))
        self.assertEqual(self.changes.phase(), "copying")
        self.wait(240, self.over)
        self.assertGreater(len(self.nodes["n1"].buckets[OBJECT_BUCKET]), before)
        self.assertEqual(self.standing("n1").place.weight, 50)
        self.check_all()

    def test_weight_0_is_draining(self) -> None:
        self.now(self.changes.weigh("n1", 0))
        self.assertEqual(self.membership("n1"), Membership.DRAINING)
        self.wait(240, self.over)

    def test_a_wrong_weight_is_refused(self) -> None:
        for wrong in (-1, 0.05, 101, float("nan"), float("inf")):
            self.refused(self.changes.weigh("n1", wrong), BadRequest)

    def test_a_wrong_zone_is_refused(self) -> None:
        for wrong in ("", " ", "rack1 ", " rack1", "rack\n1", "\u202erack1", "z" * 256):
            self.refused(self.changes.rezone("n1", wrong), BadRequest)
        self.now(self.changes.rezone("n1", "rack 1, ☃"))

    def test_a_weight_half_done_is_replaced_or_undone(self) -> None:
        self.freeze()
        self.now(self.changes.weigh("n1", 50))
        self.pass_s(5)
        self.now(self.changes.weigh("n1", 20))
        self.assertEqual(self.changes.queue(), [])
        self.assertEqual(self.gateway.roster.ring.members["n1"].weight, 20)
        self.now(self.changes.undo("n1"))
        self.assertFalse(self.changes.changing)
        self.thaw()
        self.check_all()

    def test_nodes_of_one_zone_hold_no_two_copies(self) -> None:
        for name in ("n1", "n2", "n3"):
            self.now(self.changes.rezone(name, "rack1"))
            self.wait(240, self.over)
        self.check_all()
        for key in KEYS:
            self.assertIn("n4", self.holders(key))

    def test_a_new_node_waits_while_another_is_drained(self) -> None:
        other = self.begun_without("n4")
        self.freeze()
        self.now(self.changes.drain("n1"))
        other.see(*self.names)
        self.pass_s(10)
        self.assertEqual(
            [(name, str(each.act)) for name, each in self.changes.queue()], [("n4", "join")]
        )
        self.thaw()
        self.wait(400, lambda: self.over() and "n4" in self.members(self.gateway))
        self.assertEqual(self.members(self.gateway), ["n2", "n3", "n4"])

    def test_where_keys_belong_is_found_anew_while_one_is_left_out_and_after(self) -> None:
        roster = self.gateway.assembly.roster
        before = roster.changes
        with roster.without("n3"):
            self.assertNotIn("n3", roster.names)
            self.assertGreater(roster.changes, before)
            before = roster.changes
        self.assertIn("n3", roster.names)
        self.assertGreater(roster.changes, before)

    def begun_without(self, name: str) -> Gateway:
        self.stop(self.gateway)
        for each in self.names:
            self.nodes[each] = self.blank(each)
        self.gateway = self.begun(*(each for each in self.names if each != name))
        for key in KEYS:
            self.put(self.gateway, key, key.encode())
        return self.gateway


class RemovingTests(ChangesTestCase):
    """Drained ones, and those that are lost."""

    def test_one_in_use_is_refused(self) -> None:
        why = self.refused(self.changes.remove("n1"), ChangeRefused)
        self.assertIn("object/", why)

    def test_a_drained_one_is_forgotten_and_stays_out(self) -> None:
        self.now(self.changes.drain("n1"))
        self.wait(240, self.over)
        self.now(self.changes.remove("n1"))
        self.nodes["n1"].buckets.clear()
        self.pass_s(90)
        self.assertEqual(self.membership("n1"), Membership.REMOVED)
        self.assertIn("adopt", self.gateway.why("n1"))
        # Nor does it come back by being started again, or by our being.
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(10)
        self.gateway.see(*self.names)
        self.pass_s(90)
        self.stop(self.gateway)
        self.gateway = self.begun()
        self.pass_s(90)
        self.assertEqual(self.membership("n1"), Membership.REMOVED)
        self.now(self.changes.adopt("n1"))
        self.wait(240, lambda: self.over() and self.membership("n1") is Membership.MEMBER)
        self.check_all()

    def test_a_lost_one_is_replaced_and_comes_back_only_empty(self) -> None:
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        self.now(self.changes.remove("n1"))
        self.assertEqual(self.membership("n1"), Membership.REMOVING)
        self.wait(240, self.over)
        self.assertEqual(self.membership("n1"), Membership.REMOVED)
        kept = dict(self.nodes["n1"].buckets)
        self.nodes["n1"].buckets.clear()
        self.check_all()
        self.nodes["n1"].buckets.update(kept)
        self.gateway.see(*self.names)
        self.pass_s(60)
        self.assertIn("empty it", self.gateway.why("n1"))
        self.assertIn("empty it", self.refused(self.changes.adopt("n1"), ChangeRefused))
        with self.assertRaises(ChangeRefused):
            self.changes.outlook.proposed(Act.JOIN, "n1")
        self.assertEqual(self.members(self.gateway), ["n2", "n3", "n4"])
        self.nodes["n1"].buckets.clear()
        self.wait(240, lambda: self.over() and self.membership("n1") is Membership.MEMBER)
        self.check_all()

    def test_two_lost_ones_may_have_the_last_copies(self) -> None:
        self.gateway.see("n3", "n4")
        self.pass_s(90)
        why = self.refused(self.changes.remove("n1"), ChangeRefused)
        self.assertIn("n2", why)
        self.now(self.changes.remove("n1", lose=True))
        self.assertEqual(self.membership("n1"), Membership.REMOVING)

    def test_what_has_its_last_copy_there_is_named(self) -> None:
        first, second = self.primaries(self.gateway, "k00")
        self.nodes[second].script("put", timed_out(carried_out=True))
        self.put(self.gateway, "k00", b"newer")
        self.gateway.see(*(name for name in self.names if name != first))
        self.pass_s(90)
        there = [name for name in self.names if name != first]
        with_it = [name for name in there if "k00" in self.nodes[name].buckets[OBJECT_BUCKET]]
        lost = {name: self.nodes[name].buckets[OBJECT_BUCKET].pop("k00") for name in with_it}
        why = self.refused(self.changes.remove(first), ChangeRefused)
        self.assertEqual(why, "the newest version is on no other node of object/k00")
        for name in with_it[:1]:
            self.nodes[name].buckets[OBJECT_BUCKET]["k00"] = lost[name]
        self.now(self.changes.remove(first))
        self.assertEqual(self.membership(first), Membership.REMOVING)

    def test_a_lost_one_while_another_is_drained(self) -> None:
        self.nodes["n1"].script("delete", refused(), times=None)
        self.now(self.changes.drain("n1"))
        self.wait(120, partial(self.is_in, "emptying"))
        self.gateway.see("n1", "n3", "n4")
        self.pass_s(60)
        self.now(self.changes.remove("n2"))
        self.nodes["n1"].heal()
        self.wait(240, self.over)
        self.assertEqual(self.members(self.gateway), ["n3", "n4"])
        self.nodes["n2"].buckets.clear()
        self.check_all()

    def test_a_lost_one_is_a_member_again_when_that_is_undone(self) -> None:
        self.freeze()
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        self.now(self.changes.remove("n1"))
        self.pass_s(10)
        self.now(self.changes.undo("n1"))
        self.thaw()
        self.gateway.see(*self.names)
        self.wait(240, self.over)
        self.assertEqual(self.members(self.gateway), list(self.names))
        self.check_all()

    def test_a_mark_of_a_whole_partition_doesnt_stay_for_its_space(self) -> None:
        marks, stamps = self.gateway.assembly.marks, self.gateway.store.stamps
        mark = Mark("", "", stamps.next(), frozenset({"n1"}), frozenset(), written=True)
        self.now(marks.leave(mark, 7))
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        self.now(self.changes.remove("n1"))
        self.wait(400, lambda: self.over() and not len(marks))

    def test_its_marks_dont_stay_for_ever(self) -> None:
        key = next(each for each in KEYS if "n1" in self.holders(each))
        self.nodes["n1"].script("put", timed_out())
        self.put(self.gateway, key, b"new")
        self.assertTrue(len(self.gateway.assembly.marks))
        self.gateway.see("n2", "n3", "n4")
        self.pass_s(90)
        self.now(self.changes.remove("n1"))
        self.wait(400, lambda: self.over() and not len(self.gateway.assembly.marks))
        self.assertEqual(self.read(self.gateway, key), b"new")


class AdoptingTests(ChangesTestCase):
    """Nodes that come with objects."""

    def test_its_objects_are_read_at_once_and_get_their_copies(self) -> None:
        other = PlacingTests.begun_without(self, "n4")  # type: ignore[arg-type]
        old = [f"old{number}" for number in range(20)]
        there = self.nodes["n4"].buckets.setdefault(OBJECT_BUCKET, {})
        for number in range(20):
            there[f"old{number}"] = Copy(b"old", etag_of(b"old"), self.clock.seconds() - 1e6)
        other.see(*self.names)
        self.pass_s(60)
        self.assertIn("adopt", self.gateway.why("n4"))
        self.assertIsNone(self.record(self.nodes["n4"], MARKER_KEY))
        self.now(self.changes.adopt("n4"))
        self.freeze()
        self.wait(10, lambda: "n4" in self.members(self.gateway))
        for number in range(20):
            self.assertEqual(self.read(self.gateway, f"old{number}"), b"old")
        self.gateway.see("n1", "n2", "n3")
        self.pass_s(90)
        why = self.refused(self.changes.remove("n4"), ChangeRefused)
        self.assertIn("came with objects", why)
        self.gateway.see(*self.names)
        self.thaw()
        before = self.copies_made()
        self.wait(400, self.over)
        self.assertFalse(self.standing("n4").adopted)
        # As many as the ring wants, and no more: the former one never had them.
        wanted = sum(len(set(self.primaries(self.gateway, each)) - {"n4"}) for each in old)
        moved = sum("n4" in self.primaries(self.gateway, each) for each in KEYS)
        self.assertEqual(self.copies_made() - before, wanted + moved)
        for number in range(20):
            self.assertEqual(self.read(self.gateway, f"old{number}"), b"old")
            key = f"old{number}"
            self.assertEqual(self.holders(key), sorted(self.primaries(self.gateway, key)))
        self.assertIsNotNone(self.record(self.nodes["n4"], "members/n4"))
        self.assertIn(SYSTEM_BUCKET, self.nodes["n4"].buckets)

    def test_one_that_is_removed_afterwards_stays_away(self) -> None:
        """Until somebody consents anew: that to its first coming is used up."""
        self.wait(120, self.over)
        self.drained_and_removed("n4")
        self.now(self.changes.adopt("n4"))
        self.wait(240, lambda: self.over() and "n4" in self.members(self.gateway))
        self.drained_and_removed("n4")
        self.pass_s(60)
        self.assertIs(self.membership("n4"), Membership.REMOVED)
        self.assertIn("adopt takes it in again", self.gateway.why("n4"))

    def drained_and_removed(self, name: str) -> None:
        self.now(self.changes.drain(name))
        self.wait(400, lambda: self.membership(name) is Membership.DRAINED)
        self.now(self.changes.remove(name))
