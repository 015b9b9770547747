"""Whether one node has a copy of everything."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.writes import Writes
from aosd.repair.gathered import Gathered, gathered
from aosd.testing.faults import unavailable
from aosd.testing.memory_node import MemoryNode


class GatheredTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.one = MemoryNode("one", buckets=("b", "c"), hides_beneath=True)
        self.other = MemoryNode("other", buckets=("b",))
        for key, data in (("a/b", b"1"), ("k", b"22"), ("z", b"333")):
            for node in (self.one, self.other):
                node.disk.put("b", key, data, ())

    def compare(self, *, look: bool = True) -> Gathered:
        nodes = {"one": self.one, "other": self.other}
        comparing = Deferred.fromCoroutine(
            gathered(nodes, ["b", "c"], "one", Writes(), self.clock, look=look)
        )
        self.clock.pump([1.0] * 10)
        return self.successResultOf(comparing)

    def test_it_has_all(self) -> None:
        found = self.compare()
        self.assertEqual((found.keys, found.size_bytes, found.lacking), (3, 6, 0))
        self.assertEqual((found.names, found.lost), ([], set()))

    def test_what_it_lacks_is_told_by_name(self) -> None:
        self.one.disk.delete("b", "z")
        found = self.compare()
        self.assertEqual((found.lacking, found.lacking_bytes, found.names), (1, 3, ["b/z"]))

    def test_another_version_is_none(self) -> None:
        self.one.disk.put("b", "z", b"334", ())
        self.assertEqual(self.compare().names, ["b/z"])

    def test_what_the_others_lack_doesnt_matter(self) -> None:
        self.one.disk.put("c", "alone", b"4444", ())
        found = self.compare()
        self.assertEqual((found.keys, found.lacking), (4, 0))

    def test_what_it_hides_is_asked_for(self) -> None:
        self.one.disk.put("b", "a", b"55555", ())
        self.assertEqual(self.compare(look=False).names, ["b/a/b"])
        self.assertEqual(self.compare().names, [])
        self.one.disk.put("b", "a/b", b"2", ())
        self.assertEqual(self.compare().names, ["b/a/b"])
        self.one.disk.delete("b", "a/b")
        self.assertEqual(self.compare().names, ["b/a/b"])

    def test_a_folder_isnt_expected_of_it(self) -> None:
        self.other.disk.put("b", "folder/", b"", ())
        self.assertEqual(self.compare().lacking, 0)

    def test_a_node_that_cant_be_listed_is_told(self) -> None:
        self.other.script("list", unavailable(), times=None)
        self.assertEqual(self.compare().lost, {"other"})
