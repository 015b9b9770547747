"""Rounds of looking, on a stepped clock."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery.rounds import RoundFailed, Rounds, Seen
from aosd.model.node import Sighting

N1 = Sighting("n1")


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.looks: list[Deferred[Seen | None]] = []
        self.told: list[object] = []
        self.rounds = Rounds(self.clock, 10.0, self.look)

    async def look(self) -> Seen | None:
        answer: Deferred[Seen | None] = Deferred()
        self.looks.append(answer)
        return await answer

    def report(self, sightings: Sequence[Sighting]) -> None:
        self.told.append([each.name for each in sightings])

    def start(self) -> Deferred[None]:
        return self.rounds.start(self.report, self.told.append)

    def answer(self, *sightings: Sighting, trouble: str = "") -> None:
        self.looks[-1].callback(Seen(sightings, trouble))

    def test_the_first_round_begins_at_once_and_fires_when_it_is_over(self) -> None:
        first = self.start()
        self.assertNoResult(first)
        self.answer(N1)
        self.successResultOf(first)
        self.assertEqual(self.told, [["n1"]])

    def test_a_first_round_that_fails_is_over_too(self) -> None:
        first = self.start()
        self.looks[-1].errback(RoundFailed("gone"))
        self.successResultOf(first)
        self.assertEqual(self.told, ["gone"])

    def test_looks_again_after_the_interval(self) -> None:
        self.start()
        self.answer()
        self.clock.advance(9.9)
        self.assertEqual(len(self.looks), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.looks), 2)

    def test_never_two_at_once(self) -> None:
        self.start()
        self.clock.pump([10.0, 10.0])
        self.rounds.trigger()
        self.clock.advance(1.0)
        self.assertEqual(len(self.looks), 1)

    def test_triggers_are_gathered_into_one_look_within_a_second(self) -> None:
        self.start()
        self.answer()
        for _ in range(5):
            self.rounds.trigger()
        self.clock.advance(0.5)
        self.assertEqual(len(self.looks), 2)

    def test_a_trigger_during_a_look_makes_another_one(self) -> None:
        # What changed may have been looked at before it changed.
        self.start()
        self.rounds.trigger()
        self.answer()
        self.clock.advance(0.5)
        self.assertEqual(len(self.looks), 2)
        self.answer()
        self.clock.advance(0.5)
        self.assertEqual(len(self.looks), 2)

    def test_failures_are_no_news_and_success_ends_the_trouble(self) -> None:
        self.start()
        self.answer(N1)
        for reason in ("gone", "gone"):
            self.clock.advance(10.0)
            self.looks[-1].errback(RoundFailed(reason))
        for _ in range(2):
            self.clock.advance(10.0)
            self.answer(N1)
        self.assertEqual(self.told, [["n1"], "gone", "gone", ["n1"], "", ["n1"]])

    def test_a_part_may_fail(self) -> None:
        self.start()
        self.answer(N1, trouble="half of it")
        self.clock.advance(10.0)
        self.answer(N1)
        self.assertEqual(self.told, [["n1"], "half of it", ["n1"], ""])

    def test_nothing_new_says_nothing_and_leaves_the_trouble(self) -> None:
        self.start()
        self.looks[-1].errback(RoundFailed("broken"))
        self.clock.advance(10.0)
        self.looks[-1].callback(None)
        self.assertEqual(self.told, ["broken"])
        self.clock.advance(10.0)
        self.answer(N1)
        self.assertEqual(self.told, ["broken", ["n1"], ""])

    def test_a_bug_is_logged_and_the_rounds_go_on(self) -> None:
        self.start()
        self.looks[-1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(10.0)
        self.answer(N1)
        self.assertEqual(self.told[1:], [["n1"], ""])

    def test_stop_waits_for_the_look_and_tells_nothing_more(self) -> None:
        first = self.start()
        stopping = Deferred.fromCoroutine(self.rounds.stop())
        self.successResultOf(first)
        self.assertNoResult(stopping)
        self.answer(N1)
        self.successResultOf(stopping)
        self.rounds.trigger()
        self.assertEqual(self.told, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_between_looks_leaves_no_timer(self) -> None:
        self.start()
        self.answer(N1)
        self.rounds.trigger()
        self.successResultOf(Deferred.fromCoroutine(self.rounds.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
