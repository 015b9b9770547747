"""Marks: that a key's copies may differ."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.consistency.marks import Mark, Marks
from aosd.model.errors import NoQuorum
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.ring import partition as partition_of
from aosd.testing.faults import late, refused
from tests.unit.memory_case import MemoryTestCase, stamp

BUCKET, KEY, PARTITION = "object", "a/ö", 77
A, B, NONE = frozenset({"n0"}), frozenset({"n1"}), frozenset[str]()


class MarksTestCase(MemoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.marks = Marks(self.memory, self.clock.seconds)

    def mark(self, number: int = 1, key: str = KEY) -> Mark:
        return Mark(BUCKET if key else "", key, stamp(number), A, NONE, True)

    def leave(self, mark: Mark, partition: int = PARTITION) -> None:
        self.now(self.marks.leave(mark, partition))

    def all(self, marks: Marks | None = None) -> list[tuple[int, Mark]]:
        return sorted((marks or self.marks).all(), key=repr)

    def loaded(self) -> Marks:
        marks = Marks(self.memory, self.clock.seconds)
        for node in self.nodes:
            marks.load(self.now(self.memory.read(node, "")))
        return marks


class LeaveTests(MarksTestCase):
    def test_known_and_on_the_nodes(self) -> None:
        mark = self.mark()
        self.assertFalse(self.marks.marked(PARTITION))
        self.leave(mark)
        self.assertTrue(self.marks.marked(PARTITION))
        self.assertFalse(self.marks.marked(PARTITION + 1))
        self.assertEqual(self.marks.of(BUCKET, KEY), (mark,))
        self.assertEqual(self.marks.of(BUCKET, "other"), ())
        self.assertEqual(len(self.marks), 1)
        ((name, count),) = self.everywhere().items()
        self.assertRegex(name, f"^marks/00077/[0-9a-f]{{32}}/{stamp(1)}$")
        self.assertEqual(count, 3)
        self.assertEqual(self.marks.newest, stamp(1))

    def test_known_before_it_stands(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", late(lambda: gate))
        leaving = self.run_(self.marks.leave(self.mark(), PARTITION))
        self.assertNoResult(leaving)
        self.assertTrue(self.marks.marked(PARTITION))
        gate.callback(None)
        self.successResultOf(leaving)

    def test_one_that_cant_be_written(self) -> None:
        for node in self.nodes[:2]:
            node.script("put", refused())
        self.fails(self.marks.leave(self.mark(), PARTITION), NoQuorum)
        self.assertTrue(self.marks.failed)
        self.assertEqual(set(self.marks.broken), {PARTITION})
        for _, mark in self.all():
            self.now(self.marks.clear(PARTITION, mark))
        self.assertTrue(self.marks.marked(PARTITION))
        self.marks.broken.clear()
        self.assertFalse(self.marks.marked(PARTITION))

    def test_several_of_a_key(self) -> None:
        for number in (1, 3, 2):
            self.leave(self.mark(number))
        self.leave(replace(self.mark(4), written=False))
        self.assertEqual(len(self.marks.of(BUCKET, KEY)), 4)
        self.assertEqual(self.marks.newest_written(BUCKET, KEY), stamp(3))
        self.assertIsNone(self.marks.newest_written(BUCKET, "other"))
        self.assertEqual(len(self.everywhere()), 4)

    def test_of_a_whole_partition(self) -> None:
        self.leave(self.mark(key=""))
        self.leave(self.mark(key=""), PARTITION + 1)
        self.assertEqual(
            sorted(self.everywhere()),
            [f"marks/{each:05d}/all/{stamp(1)}" for each in (PARTITION, PARTITION + 1)],
        )
        self.now(self.marks.clear(PARTITION, self.mark(key="")))
        self.assertEqual(self.all(), [(PARTITION + 1, self.mark(key=""))])

    def test_when_it_was_left(self) -> None:
        first = self.clock.seconds()
        self.leave(self.mark())
        self.clock.advance(5)
        self.leave(self.mark(2))
        self.assertEqual(self.marks.silent_since(self.mark()), first)
        self.assertEqual(self.marks.silent_since(self.mark(2)), first + 5)

    def test_another_silence_of_the_same_node_prolongs_it(self) -> None:
        """Without another mark: a node that never answers would get one a try."""
        mark = replace(self.mark(), silent=B)
        self.leave(mark)
        self.clock.advance(5)
        self.marks.doubt_again(mark.bucket, mark.key, {"elsewhere"})
        self.assertEqual(self.marks.silent_since(mark), self.clock.seconds() - 5)
        self.marks.doubt_again(mark.bucket, mark.key, mark.silent)
        self.assertEqual(self.marks.silent_since(mark), self.clock.seconds())
        self.assertEqual(len(self.marks), 1)
        self.assertEqual(self.marks.oldest_s(), self.clock.seconds() - 5)

    def test_the_oldest_may_be_one_of_a_whole_partition(self) -> None:
        self.leave(replace(self.mark(), bucket="", key=""))
        self.clock.advance(5)
        self.leave(self.mark(2))
        self.assertEqual(self.marks.oldest_s(), self.clock.seconds() - 5)


class AgainTests(MarksTestCase):
    """Marks of one write."""

    def test_the_later_one_takes_over_the_doubts_in_a_record_of_its_own(self) -> None:
        self.leave(self.mark())
        first = self.records(self.nodes[0])
        self.clock.advance(5)
        self.leave(replace(self.mark(), nodes=B, silent=B, written=False))
        ((_, mark),) = self.all()
        self.assertEqual((mark.nodes, mark.silent, mark.written), (A | B, B, True))
        self.assertEqual(self.marks.silent_since(mark), self.clock.seconds())
        for name, data in first.items():
            self.assertEqual(self.records(self.nodes[0])[name], data)
        self.assertEqual(len(self.everywhere()), 2)

    def test_clearing_it_removes_all_their_records(self) -> None:
        for nodes in (A, B, A, B):
            self.leave(replace(self.mark(), nodes=nodes))
        self.assertEqual(len(self.everywhere()), 4)
        ((_, mark),) = self.all()
        self.now(self.marks.clear(PARTITION, mark))
        self.assertEqual((self.everywhere(), len(self.marks)), ({}, 0))

    def test_when_it_cant_be_written_the_first_stays(self) -> None:
        self.leave(self.mark())
        for node in self.nodes:
            node.script("put", refused())
        self.fails(self.marks.leave(replace(self.mark(), nodes=B), PARTITION), NoQuorum)
        self.assertIn(self.mark(), self.marks.of(BUCKET, KEY))
        self.assertEqual(len(self.marks), 2)

    def test_after_a_restart_too(self) -> None:
        self.leave(self.mark())
        self.leave(replace(self.mark(), nodes=B))
        self.marks = self.loaded()
        self.assertEqual(len(self.marks), 2)
        self.leave(self.mark())
        self.assertEqual(len(self.everywhere()), 3)
        self.assertEqual([mark.nodes for _, mark in self.all()], [A | B])

    def test_of_a_partition(self) -> None:
        self.leave(self.mark())
        self.leave(self.mark(key=""))
        self.leave(replace(self.mark(key=""), nodes=B))
        self.assertEqual(len(self.marks), 2)
        self.assertEqual({mark.nodes for _, mark in self.all()}, {A, A | B})


class ClearTests(MarksTestCase):
    def test_forgotten_and_off_the_nodes(self) -> None:
        self.leave(self.mark(1))
        self.leave(self.mark(2))
        self.now(self.marks.clear(PARTITION, self.mark(1)))
        self.assertEqual(self.all(), [(PARTITION, self.mark(2))])
        self.assertEqual(self.marks.of(BUCKET, KEY), (self.mark(2),))
        self.now(self.marks.clear(PARTITION, self.mark(2)))
        self.assertEqual((self.all(), len(self.marks), self.everywhere()), ([], 0, {}))
        self.assertFalse(self.marks.marked(PARTITION))
        self.now(self.marks.clear(PARTITION, self.mark(2)))

    def test_forgotten_before_the_nodes_answer(self) -> None:
        self.leave(self.mark())
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("delete", late(lambda: gate))
        clearing = self.run_(self.marks.clear(PARTITION, self.mark()))
        self.assertFalse(self.marks.marked(PARTITION))
        gate.callback(None)
        self.successResultOf(clearing)

    def test_while_all_are_walked(self) -> None:
        for number in range(5):
            self.leave(self.mark(number, f"k{number}"), number % 2)
        for partition, mark in self.marks.all():
            self.now(self.marks.clear(partition, mark))
        self.assertEqual(len(self.marks), 0)


class LoadTests(MarksTestCase):
    def test_what_another_run_left(self) -> None:
        self.leave(self.mark(1))
        self.leave(replace(self.mark(2), silent=A, written=False))
        self.leave(self.mark(3, ""), 5)
        marks = self.loaded()
        self.assertEqual(self.all(marks), self.all())
        self.assertEqual(marks.newest, stamp(3))
        self.assertEqual(len(marks), 3)
        for partition, mark in marks.all():
            self.now(marks.clear(partition, mark))
        self.assertEqual(self.everywhere(), {})

    def test_one_that_cant_be_read_unsettles_its_partition(self) -> None:
        self.leave(self.mark())
        (name,) = self.everywhere()
        for data in (b"?", b"[]", b"{}", b"\xff"):
            marks = Marks(self.memory, self.clock.seconds)
            marks.load({name: data, "marks/x/y": b"{}", "marks": b"", "other": b"?"})
            self.assertEqual((len(marks), set(marks.broken)), (0, {PARTITION}))

    def test_equal_sets_are_kept_once(self) -> None:
        for number in range(3):
            self.leave(replace(self.mark(number), nodes=frozenset(["n0", "n1"])))
        self.assertEqual(len({id(mark.nodes) for _, mark in self.all()}), 1)

    def test_who_lacks_a_key_or_any(self) -> None:
        number = partition_of(BUCKET, KEY)
        mark = replace(self.mark(), lacking=A)
        whole = replace(self.mark(3, key=""), nodes=B, lacking=B)
        self.assertEqual(self.marks.lacking(), NONE)
        self.leave(mark, number)
        self.leave(replace(self.mark(2, key="other"), lacking=NONE), number)
        self.assertEqual(self.marks.lacking(), A)
        self.assertEqual(self.marks.lacking(BUCKET, KEY), A)
        self.assertEqual(self.marks.lacking(BUCKET, "other"), NONE)
        self.leave(whole, number)
        for marks in (self.marks, self.loaded()):
            self.assertEqual(marks.lacking(), A | B)
            self.assertEqual(marks.lacking(BUCKET, KEY), A | B)
        self.assertTrue(self.marks.keep(number, B, B))
        self.assertFalse(self.marks.keep(number, B, A))
        self.now(self.marks.clear(number, mark))
        self.assertEqual((self.marks.lacking(), self.marks.lacking(BUCKET, KEY)), (B, B))
        self.now(self.marks.clear(number, whole))
        self.assertEqual(self.marks.lacking(), NONE)

    def test_the_later_one_of_a_write_takes_over_who_lacks_it(self) -> None:
        self.leave(replace(self.mark(), lacking=A))
        self.leave(replace(self.mark(), lacking=B))
        self.assertEqual(self.marks.lacking(BUCKET, KEY), A | B)

    def test_its_record_is_json(self) -> None:
        self.leave(self.mark())
        (copy,) = self.nodes[0].buckets[SYSTEM_BUCKET].values()
        self.assertIn((b"content-type", b"application/json"), copy.head.headers)
