"""The circuit breaker, on a stepped clock."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.cluster.breaker import Breaker
from aosd.model.errors import NodeUnavailable


def breaker(clock: Clock) -> Breaker:
    return Breaker("n1", clock, random.Random(1), failures=3, backoff_s=1.0, backoff_max_s=8.0)


class BreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = breaker(self.clock)

    def fail(self, times: int = 1) -> None:  # type: ignore[override]
        for _ in range(times):
            self.breaker.failed(NodeUnavailable("n1", "refused"))

    def test_opens_after_consecutive_failures_only(self) -> None:
        self.fail(2)
        self.breaker.answered(well=True)
        self.fail(2)
        self.breaker.check()
        self.fail()
        self.assertRaises(NodeUnavailable, self.breaker.check)

    def test_errors_of_its_own_are_failures_too(self) -> None:
        for _ in range(3):
            self.breaker.check()
            self.breaker.answered(well=False)
            self.fail()
        self.assertRaises(NodeUnavailable, self.breaker.check)

    def test_an_answer_does_not_close_it_but_a_probe_does(self) -> None:
        self.fail(3)
        self.breaker.answered(well=True)
        self.assertRaises(NodeUnavailable, self.breaker.check)
        self.breaker.close()
        self.breaker.check()

    def test_backs_off_with_jitter(self) -> None:
        self.fail(3)
        waits = []
        for _ in range(6):
            began = self.clock.seconds()
            while not self.breaker.probe_due():
                self.clock.advance(0.05)
            waits.append(self.clock.seconds() - began)
            self.breaker.probe_failed("still refused")
        for wait, full in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
            self.assertTrue(0.75 * full - 0.01 <= wait <= full + 0.06, (wait, full))
        self.assertEqual(len(set(waits)), len(waits))

    def test_who_watches_is_told_once(self) -> None:
        told: list[str] = []
        self.breaker.watch(lambda: told.append("a"))

        def other() -> None:
            told.append("b")

        self.breaker.watch(other)
        self.breaker.unwatch(other)
        self.breaker.trip("probe")
        self.breaker.trip("again")
        self.assertEqual(told, ["a"])

    def test_full_is_remembered_for_a_while(self) -> None:
        changes: list[bool] = []
        self.breaker.on_changed = lambda: changes.append(self.breaker.full)
        self.breaker.out_of_space()
        self.clock.advance(20)
        self.breaker.out_of_space()
        self.breaker.tick()
        self.clock.advance(29)
        self.breaker.tick()
        self.assertTrue(self.breaker.full)
        self.clock.advance(1)
        self.breaker.tick()
        self.assertFalse(self.breaker.full)
        self.breaker.tick()
        self.assertEqual(changes, [True, False])

    def test_a_new_sighting_hurries_the_next_probe(self) -> None:
        self.fail(3)
        for _ in range(4):
            self.breaker.probe_failed("still refused")
        self.assertFalse(self.breaker.probe_due())
        self.breaker.hurry()
        self.assertTrue(self.breaker.probe_due())

    def test_what_requests_see_of_the_control_connection_goes_to_who_probes(self) -> None:
        told: list[bool] = []
        waiting: Deferred[None] = Deferred()
        self.successResultOf(self.breaker.confirm())
        self.breaker.on_control_lost = told.append
        self.breaker.on_confirm = lambda: waiting
        self.breaker.control_lost(True)
        self.breaker.control_lost(False)
        self.assertEqual(told, [True, False])
        self.assertNoResult(self.breaker.confirm())
        waiting.callback(None)
