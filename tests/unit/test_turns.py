"""Turns: one change of a key at a time, in order, and nobody forgotten."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.model.errors import SlowDown


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.to_the_end = ToTheEnd()
        self.turns = Turns(self.clock, 20.0, self.to_the_end)
        self.log: list[str] = []

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.turns), 0)

    def take(self, name: str, key: str = "k") -> tuple[Deferred[str], Deferred[None]]:
        """The result of a turn, and what ends it."""
        gate: Deferred[None] = Deferred()

        async def act() -> str:
            self.log.append(f"{name} begins")
            await gate
            self.log.append(f"{name} ends")
            return name

        return Deferred.fromCoroutine(self.turns.take("b", key, act)), gate

    def test_one_after_the_other_first_come_first_served(self) -> None:
        first, open_first = self.take("1")
        second, open_second = self.take("2")
        third, open_third = self.take("3")
        self.assertEqual(self.log, ["1 begins"])
        open_first.callback(None)
        self.assertEqual(self.successResultOf(first), "1")
        open_second.callback(None)
        open_third.callback(None)
        self.assertEqual(self.successResultOf(third), "3")
        self.assertEqual(self.log, [f"{n} {what}" for n in "123" for what in ("begins", "ends")])
        self.successResultOf(second)

    def test_keys_dont_wait_for_each_other(self) -> None:
        first, open_first = self.take("1", "k1")
        second, open_second = self.take("2", "k2")
        open_second.callback(None)
        self.successResultOf(second)
        open_first.callback(None)
        self.successResultOf(first)

    def test_a_turn_that_does_not_come_in_time(self) -> None:
        first, open_first = self.take("1")
        second, _ = self.take("2")
        third, open_third = self.take("3")
        self.clock.advance(20)
        self.failureResultOf(second, SlowDown)
        self.failureResultOf(third, SlowDown)
        fourth, open_fourth = self.take("4")
        open_first.callback(None)
        open_fourth.callback(None)
        self.assertEqual(self.successResultOf(fourth), "4")
        self.successResultOf(first)
        self.assertNotIn("2 begins", self.log)

    def test_giving_up_the_wait_wakes_nobody_wrongly(self) -> None:
        first, open_first = self.take("1")
        second, _ = self.take("2")
        third, open_third = self.take("3")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        open_first.callback(None)
        self.successResultOf(first)
        self.assertEqual(self.log[-1], "3 begins")
        open_third.callback(None)
        self.successResultOf(third)

    def test_what_acts_goes_on_when_its_client_is_gone(self) -> None:
        first, open_first = self.take("1")
        second, open_second = self.take("2")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.log, ["1 begins"])
        idle = Deferred.fromCoroutine(self.to_the_end.idle())
        self.assertNoResult(idle)
        open_first.callback(None)
        self.assertEqual(self.log, ["1 begins", "1 ends", "2 begins"])
        open_second.callback(None)
        self.successResultOf(second)
        self.successResultOf(idle)

    def test_a_failure_is_its_own_and_the_next_one_goes_on(self) -> None:
        first, open_first = self.take("1")
        second, open_second = self.take("2")
        open_first.errback(ValueError("no"))
        self.failureResultOf(first, ValueError)
        open_second.callback(None)
        self.assertEqual(self.successResultOf(second), "2")

    def test_busy_while_somebody_has_the_turn_or_waits_for_it(self) -> None:
        self.assertFalse(self.turns.busy("b", "k"))
        first, open_first = self.take("1")
        second, open_second = self.take("2")
        self.assertTrue(self.turns.busy("b", "k"))
        self.assertFalse(self.turns.busy("b", "other"))
        self.assertEqual((self.turns.keys("b"), self.turns.keys("other")), (["k"], []))
        open_first.callback(None)
        self.successResultOf(first)
        self.assertTrue(self.turns.busy("b", "k"))
        open_second.callback(None)
        self.successResultOf(second)
        self.assertFalse(self.turns.busy("b", "k"))
