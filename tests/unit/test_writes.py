"""Writes under way: who has to know that a key changed meanwhile is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.writes import Writes

S1, S2, S3 = (f"0189594b3a7c-000{n}-0000000a" for n in (1, 2, 3))


class WritesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.writes = Writes()

    def test_a_flight_learns_the_newest_of_its_own_key(self) -> None:
        flight = self.writes.flight("b", "k")
        self.assertEqual(flight.newest, "")
        self.writes.effect("b", "other", S3)
        self.writes.effect("other", "k", S3)
        self.assertEqual(flight.newest, "")
        self.writes.effect("b", "k", S2)
        self.writes.effect("b", "k", S1)
        self.assertEqual(flight.newest, S2)
        flight.end()

    def test_what_took_effect_before_it_began_is_no_news(self) -> None:
        self.writes.effect("b", "k", S1)
        flight = self.writes.flight("b", "k")
        self.assertEqual(flight.newest, "")
        flight.end()

    def test_several_of_one_key_are_all_told_until_they_end(self) -> None:
        one, other = self.writes.flight("b", "k"), self.writes.flight("b", "k")
        self.writes.effect("b", "k", S1)
        one.end()
        self.writes.effect("b", "k", S2)
        self.assertEqual((one.newest, other.newest), (S1, S2))
        other.end()

    def test_nothing_is_kept_of_what_ended(self) -> None:
        for number in range(100):
            self.writes.flight("b", f"k{number}").end()
        self.assertEqual(self.writes._flights, {})

    def test_a_watch_remembers_all_keys_touched_while_it_lasts(self) -> None:
        self.writes.effect("b", "before", S1)
        one, other = self.writes.watch(), self.writes.watch()
        self.writes.effect("b", "k", S1)
        other.end()
        self.writes.effect("b", "later", S2)
        for key, touched in (("before", False), ("k", True), ("later", True)):
            self.assertEqual(one.touched("b", key), touched)
        self.assertFalse(one.touched("other", "k"))
        self.assertFalse(other.touched("b", "later"))
        one.end()

    def test_what_was_written_of_late_and_not_deleted_since(self) -> None:
        now = [0.0]
        writes = Writes(lambda: now[0])
        for key in ("a", "b", "c"):
            writes.effect("b", key, S1)
        writes.effect("other", "d", S1)
        writes.effect("object", "e", S1)
        self.assertEqual(writes.of_late("b"), {"a", "b", "c"})
        self.assertEqual(writes.of_late("object"), {"e"})
        writes.effect("b", "b", S2, delete=True)
        self.assertEqual(writes.of_late("b"), {"a", "c"})
        now[0] = 50.0
        writes.effect("b", "a", S2)
        now[0] = 61.0
        self.assertEqual(writes.of_late("b"), {"a"})
        now[0] = 111.0
        self.assertEqual(writes.of_late("b"), set())
        self.assertEqual(writes._written._last, {})

    def test_what_moved_of_late_or_meanwhile(self) -> None:
        now = [0.0]
        writes = Writes(lambda: now[0])
        writes.moves("b", "long ago")
        now[0] = 61.0
        writes.moves("b", "a")
        writes.moves("b", "deleted since")
        writes.effect("b", "deleted since", S1, delete=True)
        writes.effect("b", "stays", S1)
        moves = writes.watch_moves("b")
        self.assertEqual(moves.keys, {"a"})
        writes.moves("b", "c")
        writes.moves("other", "d")
        now[0] = 200.0
        self.assertEqual(moves.keys, {"a", "c"})
        moves.end()
        writes.moves("b", "e")
        self.assertEqual(moves.keys, {"a", "c"})
        self.assertEqual(writes._told_moves, {})

    def test_whether_a_key_moved_meanwhile(self) -> None:
        self.writes.moves("b", "before")
        since = self.writes.moves_in_all
        self.assertFalse(self.writes.has_moved("b", "before", since))
        self.writes.moves("b", "k")
        self.assertTrue(self.writes.has_moved("b", "k", since))
        self.assertFalse(self.writes.has_moved("b", "before", since))
        self.assertFalse(self.writes.has_moved("other", "k", since))
        self.assertFalse(self.writes.has_moved("b", "k", self.writes.moves_in_all))
        self.writes.moves("other", "k")
        self.assertEqual(self.writes.moved_since("b", since), {"k"})
        self.assertEqual(self.writes.moved_since("b", self.writes.moves_in_all), set())
        self.writes.moves("b", "before")
        self.assertTrue(self.writes.has_moved("b", "before", since))
