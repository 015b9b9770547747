"""Nodes that hold objects and join all the same: what becomes of these, whatever happens."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.cluster.adopting import Adopting
from aosd.cluster.member import WatchedMember
from aosd.consistency.buckets import DELETED, LIVE
from aosd.doors.operations.report import Oversight
from aosd.gateway.buckets import create_bucket, delete_bucket
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.model.errors import KeyConflict, NoQuorum, NoSuchKey, NoSuchNode
from aosd.model.marker import MARKER_KEY
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET, STAMP_HEADER, SYSTEM_BUCKET
from aosd.model.standing import Membership
from aosd.model.versions import foreign_stamp
from aosd.testing.bodies import BytesSource, CollectingConsumer
from aosd.testing.faults import refused
from aosd.testing.memory_node import Copy, MemoryNode
from tests.unit.cluster_case import NOW_S, ClusterTestCase, Gateway

PHOTOS = "photos"
KEYS = tuple(f"k{number:02}" for number in range(20))


class AdoptingTestCase(ClusterTestCase):
    count = 4

    def bring(
        self, name: str, *keys: str, data: bytes = b"", age_s: float = 1000.0, bucket: str = PHOTOS
    ) -> None:
        """Objects that somebody put on a node, each its key's name if no `data` are given."""
        there = self.nodes[name].buckets.setdefault(bucket, {})
        for key in keys:
            body = data or key.encode()
            md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
            there[key] = Copy(body, f'"{md5}"', NOW_S - age_s)

    def fetch(self, gateway: Gateway, key: str, bucket: str = PHOTOS) -> bytes:
        found = self.now(get(gateway.store, Get(bucket, key)))
        consumer = CollectingConsumer()
        assert found.reading is not None
        self.successResultOf(found.reading.deliver(consumer))
        return bytes(consumer.data)

    def missing(self, gateway: Gateway, key: str, bucket: str = PHOTOS) -> None:
        self.failureResultOf(
            Deferred.fromCoroutine(head(gateway.store, Get(bucket, key))), NoSuchKey
        )

    def listed(self, gateway: Gateway, bucket: str = PHOTOS) -> list[str]:
        return [each.key for each in self.now(list_objects(gateway.store, bucket)).entries]

    def write(self, gateway: Gateway, key: str, data: bytes) -> None:
        self.now(put(gateway.store, Put(PHOTOS, key, BytesSource(data))))

    def holders(self, key: str, bucket: str = PHOTOS) -> list[str]:
        return [name for name in self.names if key in self.nodes[name].buckets.get(bucket, {})]

    def lies_right(self, gateway: Gateway, *keys: str) -> bool:
        return all(
            self.holders(key) == sorted(each.name for each in gateway.store.primaries(PHOTOS, key))
            for key in keys
        )

    def over(self, gateway: Gateway) -> bool:
        """Whether nothing is under way any more."""
        return not gateway.roster.changing and self.settled(gateway)


class FoundingTests(AdoptingTestCase):
    def test_on_nodes_with_objects(self) -> None:
        self.bring("n1", *KEYS)
        self.bring("n2", "other", bucket="logs")
        gateway = self.begun("n1", "n2", "n3", adopt=("n1", "n2"))
        self.assertEqual(self.members(gateway), ["n1", "n2", "n3"])
        for key in KEYS:
            self.assertEqual(self.fetch(gateway, key), key.encode())
        self.assertEqual(self.listed(gateway), list(KEYS))
        self.assertEqual(self.listed(gateway, "logs"), ["other"])
        self.wait(120, lambda: self.over(gateway))
        self.assertTrue(self.lies_right(gateway, *KEYS))
        for key in KEYS:
            stamps = {self.nodes[name].buckets[PHOTOS][key].stamp for name in self.holders(key)}
            md5 = hashlib.md5(key.encode()).hexdigest()
            self.assertLessEqual(stamps, {None, foreign_stamp(NOW_S - 1000, md5)})
            self.assertEqual(self.fetch(gateway, key), key.encode())

    def test_on_one_alone(self) -> None:
        self.bring("n1", *KEYS)
        gateway = self.begun("n1", adopt=("n1",))
        self.wait(60, lambda: self.over(gateway))
        self.assertEqual(self.fetch(gateway, KEYS[0]), b"k00")
        gateway.see("n1", "n2", "n3")
        self.wait(300, lambda: len(self.members(gateway)) == 3 and self.over(gateway))
        self.assertTrue(self.lies_right(gateway, *KEYS))

    def test_not_without_consent(self) -> None:
        self.bring("n1", *KEYS)
        gateway = self.begun("n1", "n2", "n3", adopt=("n4",))
        self.assertEqual(self.members(gateway), ["n2", "n3"])
        self.assertIn("didn't write", gateway.why("n1"))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n1"].buckets)

    def test_a_problem_counts_more_than_consent(self) -> None:
        self.bring("n1", *KEYS)
        self.problems["n1"] = "versioning is on in its bucket photos"
        gateway = self.begun("n1", "n2", "n3", adopt=("n1",))
        self.assertEqual(gateway.why("n1"), self.problems["n1"])
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n1"].buckets)

    def test_cut_short_after_any_marker(self) -> None:
        """Whoever has a marker is taken in; nothing else says that somebody consented."""
        for crash_at in (1, 2, 3, 4):
            self.setUp()
            self.bring("n1", *KEYS)
            self.bring("n3", "other")
            calls = 0

            def crash(name: str, crash_at: int = crash_at) -> None:
                nonlocal calls
                calls += 1
                if calls == crash_at:
                    self.unreach(*self.names)

            self.equipping = crash
            gateway = self.begin("n1", "n2", "n3", adopt=("n1", "n3"))
            self.wait(30, lambda: gateway.ready or calls >= crash_at)  # noqa: B023
            self.dies(gateway)
            self.equipping = lambda _: None
            self.reachable(*self.names)
            gateway = self.begun("n1", "n2", "n3", adopt=("n1", "n3"))
            self.wait(3000, lambda: len(self.members(gateway)) == 3 and self.over(gateway))  # noqa: B023
            self.assertEqual(self.listed(gateway), [*KEYS, "other"])
            self.assertTrue(self.lies_right(gateway, *KEYS, "other"))
            self.tearDown()
            self.running = []

    def test_what_aosd_left_is_what_it_was(self) -> None:
        """Objects of a cluster that was left have their stamps, and are in two versions here."""
        older, newer = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2))
        for name, stamp, data in (("n1", older, b"older"), ("n2", newer, b"newer")):
            self.bring(name, *KEYS, data=data)
            there = self.nodes[name].buckets[PHOTOS]
            for key in KEYS:
                there[key] = replace(there[key], headers=((STAMP_HEADER, stamp.encode()),))
        gateway = self.begun("n1", "n2", "n3", adopt=("n1", "n2"))
        for _ in range(2):
            for key in KEYS:
                self.assertEqual(self.fetch(gateway, key), b"newer")
            self.wait(120, lambda: self.over(gateway))
        self.assertTrue(self.lies_right(gateway, *KEYS))
        stamps = {self.nodes[name].buckets[PHOTOS][KEYS[0]].stamp for name in self.holders(KEYS[0])}
        self.assertEqual(stamps, {newer})
        self.write(gateway, KEYS[0], b"newest")
        self.assertEqual(self.fetch(gateway, KEYS[0]), b"newest")

    def test_the_same_key_on_two(self) -> None:
        self.bring("n1", *KEYS, data=b"earlier", age_s=2000)
        self.bring("n2", *KEYS, data=b"later", age_s=1000)
        gateway = self.begun("n1", "n2", "n3", adopt=("n1", "n2"))
        for _ in range(2):
            for key in KEYS:
                self.assertEqual(self.fetch(gateway, key), b"later")
            self.wait(120, lambda: self.over(gateway))
        self.assertTrue(self.lies_right(gateway, *KEYS))


class JoiningTests(AdoptingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun("n1", "n2", "n3")

    def join(self) -> None:
        self.gateway.see(*self.names)
        self.wait(60, lambda: bool(self.gateway.roster.watched["n4"].introduction))

    def adopt(self) -> None:
        self.join()
        self.now(self.gateway.assembly.changes.adopt("n4"))
        self.wait(60, lambda: self.gateway.state("n4") is not NodeState.DOWN)

    def test_nothing_is_done_before_somebody_consents(self) -> None:
        self.bring("n4", *KEYS)
        self.join()
        self.pass_s(120)
        self.assertIn("didn't write", self.gateway.why("n4"))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n4"].buckets)
        self.adopt()
        for key in KEYS:
            self.assertEqual(self.fetch(self.gateway, key), key.encode())
        self.assertEqual(self.listed(self.gateway), list(KEYS))
        self.wait(300, lambda: self.over(self.gateway))
        self.assertEqual(len(self.members(self.gateway)), 4)
        self.assertTrue(self.lies_right(self.gateway, *KEYS))

    def test_a_consent_that_waits_is_taken_back(self) -> None:
        changes, forecasts = self.gateway.assembly.changes, self.gateway.assembly.forecasts
        self.bring("n4", *KEYS)
        self.now(changes.drain("n1"))
        self.now(self.gateway.assembly.keeper.pause())
        self.join()
        self.assertIsNone(self.now(changes.adopt("n4")))
        self.wait(60, lambda: "waits for the change of n1" in self.gateway.why("n4"))
        self.assertEqual([name for name, _ in changes.queue()], ["n4"])
        (told,) = Oversight(self.gateway.assembly, self.replicas).changes()["queue"]
        self.assertEqual((told["node"], told["act"], told["consented"]), ("n4", "join", True))
        self.assertEqual(self.now(forecasts("undo", "n4")).moved_copies, 0)
        self.assertIsNone(self.now(changes.undo("n4")))
        self.now(self.gateway.assembly.keeper.resume())
        self.wait(300, lambda: self.over(self.gateway))
        self.pass_s(60)
        self.assertIn("didn't write", self.gateway.why("n4"))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n4"].buckets)
        self.failureResultOf(Deferred.fromCoroutine(changes.undo("n4")), NoSuchNode)
        self.failureResultOf(Deferred.fromCoroutine(forecasts("undo", "n4")), NoSuchNode)

    def test_taken_back_while_its_buckets_are_taken_up(self) -> None:
        self.bring("n4", *KEYS)
        self.join()
        changes, adopting = self.gateway.assembly.changes, Adopting.take_up

        async def meanwhile(itself: Adopting, watched: WatchedMember) -> None:
            await adopting(itself, watched)
            await changes.undo("n4")

        self.patch(Adopting, "take_up", meanwhile)
        self.now(changes.adopt("n4"))
        self.pass_s(60)
        self.assertIn("didn't write", self.gateway.why("n4"))
        self.assertNotIn(MARKER_KEY, self.nodes["n4"].buckets.get(SYSTEM_BUCKET, {}))
        self.assertIsNone(changes.standing("n4"))

    def test_so_is_one_to_a_node_that_was_removed(self) -> None:
        changes = self.gateway.assembly.changes
        self.now(changes.drain("n1"))
        self.wait(300, lambda: changes.standing("n1").membership is Membership.DRAINED)
        self.now(changes.remove("n1"))
        self.wait(60, lambda: "adopt takes it in again" in self.gateway.why("n1"))
        self.now(self.gateway.assembly.keeper.pause())
        self.now(changes.drain("n2"))
        self.now(changes.adopt("n1"))
        self.wait(60, lambda: "waits for the change of n2" in self.gateway.why("n1"))
        self.assertIsNone(self.now(changes.undo("n1")))
        self.now(changes.undo("n2"))
        self.now(self.gateway.assembly.keeper.resume())
        self.pass_s(120)
        self.assertIs(changes.standing("n1").membership, Membership.REMOVED)

    def test_what_the_cluster_has_or_deleted_counts(self) -> None:
        self.now(create_bucket(self.gateway.store, PHOTOS))
        self.write(self.gateway, KEYS[0], b"ours")
        self.write(self.gateway, KEYS[1], b"ours")
        self.bring("n4", *KEYS)
        self.bring("n4", "k", bucket=OBJECT_BUCKET)
        self.now(delete_key(self.gateway, KEYS[1]))
        self.adopt()
        for _ in range(2):
            self.assertEqual(self.fetch(self.gateway, KEYS[0]), b"ours")
            self.missing(self.gateway, KEYS[1])
            self.assertEqual(self.fetch(self.gateway, KEYS[2]), b"k02")
            self.assertEqual(self.read(self.gateway, "k"), b"k")
            self.wait(300, lambda: self.over(self.gateway))
        self.assertEqual(self.holders(KEYS[1]), [])
        self.assertTrue(self.lies_right(self.gateway, KEYS[0], *KEYS[2:]))

    def test_what_is_written_meanwhile_counts(self) -> None:
        self.bring("n4", *KEYS)
        self.adopt()
        self.write(self.gateway, KEYS[0], b"newer")
        self.now(delete_key(self.gateway, KEYS[1]))
        for _ in range(2):
            self.assertEqual(self.fetch(self.gateway, KEYS[0]), b"newer")
            self.missing(self.gateway, KEYS[1])
            self.wait(300, lambda: self.over(self.gateway))
        self.assertTrue(self.lies_right(self.gateway, KEYS[0], *KEYS[2:]))

    def test_a_bucket_that_was_deleted_is_there_again(self) -> None:
        self.now(create_bucket(self.gateway.store, PHOTOS))
        self.write(self.gateway, KEYS[0], b"ours")
        self.now(delete_key(self.gateway, KEYS[0]))
        self.now(delete_bucket(self.gateway.store, PHOTOS))
        self.bring("n4", *KEYS[1:])
        self.adopt()
        self.assertEqual(self.listed(self.gateway), list(KEYS[1:]))
        self.wait(300, lambda: self.over(self.gateway))
        self.missing(self.gateway, KEYS[0])
        self.assertTrue(self.lies_right(self.gateway, *KEYS[1:]))

    def test_not_before_what_was_in_it_is_known_to_be_gone(self) -> None:
        self.now(create_bucket(self.gateway.store, PHOTOS))
        self.write(self.gateway, KEYS[0], b"ours")
        away = self.holders(KEYS[0])[0]
        self.unreach(away)
        self.wait(60, lambda: self.gateway.state(away) is NodeState.DOWN)
        self.now(delete_key(self.gateway, KEYS[0]))
        self.now(delete_bucket(self.gateway.store, PHOTOS))
        self.bring("n4", *KEYS[1:])
        self.join()
        expects = self.gateway.assembly.admission.expects
        self.assertFalse(expects())
        self.now(self.gateway.assembly.changes.adopt("n4"))
        self.pass_s(60)
        self.assertNotIn("n4", self.members(self.gateway))
        self.assertIn("may lie on yet", self.gateway.why("n4"))
        self.assertTrue(expects())
        self.assertEqual(self.gateway.store.buckets.get(PHOTOS).state, DELETED)  # type: ignore[union-attr]
        self.assertIsNone(self.record(self.nodes["n4"], "node.json"))
        self.assertEqual(self.holders(KEYS[1]), ["n4"])
        self.unreach("n4")
        self.wait(120, lambda: not expects())
        self.pass_s(120)
        self.assertFalse(expects())
        self.reachable("n4")
        self.wait(120, expects)
        self.reachable(away)
        self.wait(600, lambda: "n4" in self.members(self.gateway) and self.over(self.gateway))
        self.assertFalse(expects())
        self.assertEqual(self.gateway.store.buckets.get(PHOTOS).state, LIVE)  # type: ignore[union-attr]
        self.missing(self.gateway, KEYS[0])
        self.assertTrue(self.lies_right(self.gateway, *KEYS[1:]))

    def test_one_that_goes_before_its_objects_have_copies_is_missed(self) -> None:
        self.bring("n4", *KEYS)
        self.nodes["n4"].script("get", refused(), times=None)
        self.adopt()
        self.pass_s(5)
        self.unreach("n4")
        self.wait(60, lambda: self.gateway.state("n4") is NodeState.DOWN)
        for key in KEYS:
            self.assertEqual(self.holders(key), ["n4"])
            looking = Deferred.fromCoroutine(head(self.gateway.store, Get(PHOTOS, key)))
            self.failureResultOf(looking, NoQuorum)
        listing = Deferred.fromCoroutine(list_objects(self.gateway.store, PHOTOS))
        self.failureResultOf(listing, NoQuorum)
        self.reachable("n4")
        self.wait(600, lambda: self.over(self.gateway))
        self.assertTrue(self.lies_right(self.gateway, *KEYS))

    def test_a_gateway_that_is_killed_meanwhile(self) -> None:
        self.bring("n4", *KEYS)
        self.adopt()
        self.dies(self.gateway)
        self.gateway = self.begun(*self.names)
        for key in KEYS:
            self.assertEqual(self.fetch(self.gateway, key), key.encode())
        self.wait(3000, lambda: self.over(self.gateway))
        self.assertTrue(self.lies_right(self.gateway, *KEYS))

    def test_another_disk_of_a_member(self) -> None:
        self.now(create_bucket(self.gateway.store, PHOTOS))
        self.write(self.gateway, "ours", b"ours")
        self.unreach("n2")
        self.wait(60, lambda: self.gateway.state("n2") is NodeState.DOWN)
        self.nodes["n2"].wipe()
        self.bring("n2", *KEYS)
        self.reachable("n2")
        self.pass_s(60)
        self.assertIn("didn't write", self.gateway.why("n2"))
        self.assertEqual(self.fetch(self.gateway, "ours"), b"ours")
        self.now(self.gateway.assembly.changes.adopt("n2"))
        self.wait(300, lambda: self.gateway.state("n2") is NodeState.UP)
        self.wait(300, lambda: self.over(self.gateway))
        self.assertEqual(self.listed(self.gateway), [*KEYS, "ours"])
        self.assertTrue(self.lies_right(self.gateway, *KEYS, "ours"))

    def test_consent_to_one_disk_is_none_to_the_next(self) -> None:
        self.bring("n4", *KEYS)
        self.adopt()
        self.wait(300, lambda: self.over(self.gateway))
        self.unreach("n4")
        self.wait(60, lambda: self.gateway.state("n4") is NodeState.DOWN)
        self.nodes["n4"].wipe()
        self.bring("n4", "somebody's")
        self.reachable("n4")
        self.pass_s(60)
        self.assertIn("didn't write", self.gateway.why("n4"))
        self.assertEqual(self.listed(self.gateway), list(KEYS))

    def test_what_it_has_without_a_stamp_is_moved_by_later_changes_too(self) -> None:
        self.bring("n3", "stranger")
        self.bring("n4", *KEYS)
        self.adopt()
        self.wait(300, lambda: self.over(self.gateway))
        originals = [
            key
            for key in KEYS
            if "n4" in self.holders(key) and self.nodes["n4"].buckets[PHOTOS][key].stamp is None
        ]
        self.assertTrue(originals)
        self.now(self.gateway.assembly.changes.weigh("n4", 0.1))
        self.wait(300, lambda: self.over(self.gateway))
        moved = [key for key in originals if "n4" not in self.holders(key)]
        self.assertTrue(moved)
        self.assertTrue(self.lies_right(self.gateway, *KEYS))
        if "n3" not in [each.name for each in self.gateway.store.primaries(PHOTOS, "stranger")]:
            self.assertEqual(self.holders("stranger"), ["n3"])

    def test_what_was_overwritten_or_deleted_before_it_could_be_moved_goes_too(self) -> None:
        """An original that a change has put off its node, and that nothing explains any more."""
        self.bring("n4", *KEYS)
        self.adopt()
        self.wait(300, lambda: self.over(self.gateway))
        there = self.nodes["n4"]
        originals = [key for key in KEYS if key in there.buckets[PHOTOS]]
        there.script("delete", refused(), times=None)
        self.now(self.gateway.assembly.changes.weigh("n4", 0.1))
        self.wait(300, lambda: self.over(self.gateway))
        left = [key for key in originals if len(self.holders(key)) == 3]
        overwritten, deleted = left[:2]
        self.write(self.gateway, overwritten, b"newer")
        self.now(delete_key(self.gateway, deleted))
        self.assertIn(overwritten, there.buckets[PHOTOS])
        there.heal()
        self.wait(600, lambda: self.lies_right(self.gateway, *(set(KEYS) - {deleted})))
        self.assertEqual(self.holders(deleted), [])


class HiddenTests(AdoptingTestCase):
    """Nodes that list `a`, and not what lies beneath: one brings both along."""

    def blank(self, name: str) -> MemoryNode:
        return MemoryNode(name, now=self.clock.seconds, buckets=(), hides_beneath=True)

    def setUp(self) -> None:
        super().setUp()
        self.objects = [f"o{number}" for number in range(6)]
        self.beneath = [f"{name}/b{number}" for name in self.objects for number in range(6)]
        self.bring("n1", *self.objects, *self.beneath)
        self.gateway = self.begun(*self.names, adopt=("n1",))
        self.wait(300, lambda: self.over(self.gateway))
        stay = [name for name in self.objects if "n1" in self.where(name)]
        self.hidden = [key for key in self.beneath if key.partition("/")[0] in stay]
        self.alone = [key for key in self.hidden if "n1" not in self.where(key)]

    def where(self, key: str) -> list[str]:
        return [each.name for each in self.gateway.store.primaries(PHOTOS, key)]

    def test_what_came_to_light_as_others_were_moved_has_its_copies(self) -> None:
        self.assertTrue(self.lies_right(self.gateway, *self.objects))
        self.assertTrue(self.lies_right(self.gateway, *(set(self.beneath) - set(self.hidden))))
        for key in self.hidden:
            self.assertEqual(self.holders(key), ["n1"])

    def test_it_is_read_all_the_same_and_gets_its_copies_then(self) -> None:
        for key in self.beneath:
            self.assertEqual(self.fetch(self.gateway, key), key.encode())
        self.wait(60, lambda: self.lies_right(self.gateway, *self.beneath))
        self.wait(60, lambda: self.over(self.gateway))
        for key in (*self.objects, *self.beneath):
            self.assertEqual(self.fetch(self.gateway, key), key.encode())
        self.assertTrue(self.lies_right(self.gateway, *self.objects))

    def test_a_head_does_the_same(self) -> None:
        for key in self.hidden:
            self.assertTrue(self.now(head(self.gateway.store, Get(PHOTOS, key))))
        self.wait(60, lambda: self.lies_right(self.gateway, *self.hidden))

    def test_an_original_that_has_its_copies_is_compared_once(self) -> None:
        for key in self.beneath:
            self.fetch(self.gateway, key)
        self.wait(60, lambda: self.lies_right(self.gateway, *self.beneath))
        self.wait(60, lambda: self.over(self.gateway))
        asked = []
        for _ in range(3):
            for node in self.nodes.values():
                node.requests.clear()
            for key in self.beneath:
                self.fetch(self.gateway, key)
            asked.append(sum(node.requests.total() for node in self.nodes.values()))
        self.assertEqual(asked[2], len(self.beneath))

    def test_a_delete_reaches_it(self) -> None:
        key = self.alone[0]
        self.now(delete_key(self.gateway, key))
        self.assertEqual(self.holders(key), [])
        self.missing(self.gateway, key)

    def test_a_delete_reaches_it_also_when_its_node_is_back(self) -> None:
        key = self.alone[0]
        self.unreach("n1")
        self.wait(60, lambda: self.gateway.state("n1") is NodeState.DOWN)
        self.now(delete_key(self.gateway, key))
        self.assertEqual(self.holders(key), ["n1"])
        self.reachable("n1")
        self.wait(120, lambda: self.holders(key) == [])
        # As when the journal has forgotten what it knew.
        self.gateway.store.ledger.forget_before("f")
        self.missing(self.gateway, key)

    def test_what_may_lie_beneath_isnt_missing_while_its_node_is_away(self) -> None:
        self.unreach("n1")
        self.wait(60, lambda: self.gateway.state("n1") is NodeState.DOWN)
        self.pass_s(60)
        for key in (self.alone[0], "o1/none"):
            reading = Deferred.fromCoroutine(head(self.gateway.store, Get(PHOTOS, key)))
            self.failureResultOf(reading, NoQuorum)
        self.missing(self.gateway, "none")

    def test_what_isnt_there_is_missing_and_leaves_no_mark(self) -> None:
        self.missing(self.gateway, "o1/none")
        self.missing(self.gateway, "none")
        self.assertEqual(len(self.gateway.assembly.marks), 0)

    def test_a_key_beside_an_object_is_refused_as_ever(self) -> None:
        writing = Deferred.fromCoroutine(
            put(self.gateway.store, Put(PHOTOS, "o1/new", BytesSource(b"x")))
        )
        self.failureResultOf(writing, KeyConflict)


async def delete_key(gateway: Gateway, key: str) -> None:
    await delete(gateway.store, PHOTOS, key)
