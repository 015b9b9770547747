"""What adopting decides for good: which of several objects stays, told before it does."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.nesting import Nesting
from aosd.model.objects import STAMP_HEADER, Entry
from aosd.repair.conflicts import MOST_LISTED, Conflict, Conflicts
from aosd.repair.walk import Found
from aosd.testing.faults import unavailable
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

S1, S2 = (f"0193594b3a7c-000{n}-0000000a" for n in (1, 2))
BUCKET = "object"


class ConflictTests(SynchronousTestCase):
    """m1 and m2 are members, a1 and a2 are to be adopted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        names = ("m1", "m2", "a1", "a2")
        self.nodes = {name: MemoryNode(name, now=self.clock.seconds) for name in names}
        self.store = make_store(MemoryPlacement(list(self.nodes.values())), self.clock, replicas=2)
        self.conflicts = self.make()

    def make(self, *, hides: bool = True) -> Conflicts:
        return Conflicts(("a1", "a2"), self.nodes, self.store.journal, hides=hides)

    def lay(
        self, name: str, data: bytes, modified_s: float = 5.0, stamp: str = "", key: str = "k"
    ) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        headers = ((STAMP_HEADER, stamp.encode()),) if stamp else ()
        self.nodes[name].buckets[BUCKET][key] = Copy(data, f'"{md5}"', modified_s, headers)

    def found(self, key: str = "k") -> Found:
        entries = {
            name: Entry(key, copy.etag, len(copy.data), copy.modified_s)
            for name, node in self.nodes.items()
            if (copy := node.buckets[BUCKET].get(key)) is not None
        }
        return Found(key, entries, 0)

    def look_at(self, *keys: str) -> list[Conflict]:
        batch = [self.found(key) for key in keys or ("k",)]
        self.successResultOf(Deferred.fromCoroutine(self.conflicts.look_at(BUCKET, batch)))
        return self.conflicts.listed

    def told(self, *keys: str) -> list[tuple[str, str, str]]:
        return [(each.wins, each.loses, each.why) for each in self.look_at(*keys)]

    def asked(self) -> int:
        return sum(node.requests.get("head", 0) for node in self.nodes.values())

    def test_what_one_node_has_alone_is_none(self) -> None:
        self.lay("a1", b"x")
        self.assertEqual((self.told(), self.asked()), ([], 0))

    def test_nor_is_what_members_have_alone(self) -> None:
        self.lay("m1", b"x", stamp=S1)
        self.lay("m2", b"y", stamp=S2)
        self.assertEqual((self.told(), self.asked()), ([], 0))

    def test_nor_are_the_same_bytes(self) -> None:
        self.lay("a1", b"x", 5.0)
        self.lay("a2", b"x", 6.0)
        self.lay("m1", b"x", stamp=S1)
        self.assertEqual((self.told(), self.asked()), ([], 0))

    def test_the_later_modified_of_two_wins(self) -> None:
        self.lay("a1", b"x", 6.0)
        self.lay("a2", b"y", 5.0)
        self.assertEqual(self.told(), [("a1", "a2", "it was modified later")])
        self.assertEqual(self.asked(), 2)

    def test_in_the_same_second_the_greater_etag_does(self) -> None:
        greater, lesser = sorted((b"x", b"y"), key=lambda each: hashlib.md5(each).hexdigest())[::-1]
        self.lay("a1", lesser, 5.9)
        self.lay("a2", greater, 5.1)
        ((wins, loses, why),) = self.told()
        self.assertEqual((wins, loses), ("a2", "a1"))
        self.assertIn("same second", why)

    def test_what_aosd_wrote_wins(self) -> None:
        self.lay("a1", b"x", 2e9)
        self.lay("m1", b"y", stamp=S1)
        self.lay("m2", b"y", stamp=S1)
        self.assertEqual(self.told(), [("cluster", "a1", "it was written by aosd")])

    def test_of_what_it_wrote_in_another_cluster_the_later_one(self) -> None:
        self.lay("a1", b"x", stamp=S2)
        self.lay("m1", b"y", stamp=S1)
        self.assertEqual(self.told(), [("a1", "cluster", "it was written later")])

    def test_what_the_cluster_has_lost_already_is_no_loser(self) -> None:
        self.lay("m1", b"x", stamp=S2)
        self.lay("m2", b"y", stamp=S1)
        self.lay("a1", b"x")
        self.assertEqual(self.told(), [])

    def test_a_delete_on_record_wins(self) -> None:
        self.lay("a1", b"x")
        self.successResultOf(Deferred.fromCoroutine(self.store.journal.deleted(BUCKET, "k", S1)))
        ((wins, loses, why),) = self.told()
        self.assertEqual((wins, loses), ("cluster", "a1"))
        self.assertIn("deleted", why)

    def test_that_of_the_whole_bucket_doesnt(self) -> None:
        self.store.journal.died = lambda bucket: S2
        self.lay("a1", b"x")
        self.assertEqual(self.told(), [])

    def test_a_node_that_fails_says_nothing(self) -> None:
        self.lay("a1", b"x", 6.0)
        self.lay("a2", b"y", 5.0)
        self.nodes["a2"].script("head", unavailable())
        self.assertEqual(self.told(), [])

    def test_a_key_that_nobody_can_ask_for_is_left_where_it_lies(self) -> None:
        self.lay("a1", b"x", key="a//b")
        ((wins, loses, why),) = self.told("a//b")
        self.assertEqual((wins, loses), ("", ""))
        self.assertIn("left where it lies", why)

    def test_an_object_that_is_a_folder_is_told_of(self) -> None:
        for key in ("a", "a-b", "a/", "a/b"):
            self.lay("a1", b"x", key=key)
        (conflict,) = self.look_at("a", "a-b", "a/", "a/b")
        self.assertEqual((conflict.key, conflict.wins, conflict.loses), ("a/b", "", ""))
        self.assertIn("beneath the object a,", conflict.why)

    def test_but_not_where_nothing_is_hidden(self) -> None:
        self.conflicts = self.make(hides=False)
        for key in ("a", "a/b"):
            self.lay("a1", b"x", key=key)
        self.assertEqual(self.look_at("a", "a/b"), [])

    def test_all_are_counted_and_some_are_listed(self) -> None:
        keys = [f"k{number:05}" for number in range(MOST_LISTED + 5)]
        for key in keys:
            self.lay("a1", b"x", 6.0, key=key)
            self.lay("a2", b"y", 5.0, key=key)
        self.look_at(*keys)
        self.assertEqual((len(self.conflicts.listed), self.conflicts.in_all), (1000, 1005))


class NestingTests(SynchronousTestCase):
    def test_the_innermost_object_above_each_key(self) -> None:
        nesting = Nesting()
        keys = ["a", "a!", "a!/x", "a-", "a/", "a/b", "a/b-", "a/b/c", "a/bb", "ab", "b/", "b/c"]
        found = {key: above for key in keys if (above := nesting.above(key)) is not None}
        expected = {"a!/x": "a!", "a/b": "a", "a/b-": "a", "a/b/c": "a/b", "a/bb": "a"}
        self.assertEqual(found, expected)
