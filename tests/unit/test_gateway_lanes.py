"""Lanes: what comes by the thousand leaves room for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.gateway.lanes import Lanes


class LaneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lanes = Lanes(self.clock, 4)
        self.begun: list[str] = []
        self.gates: dict[str, Deferred[None]] = {}

    def tearDown(self) -> None:
        self.clock.pump([0] * 9)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    async def at_once(self, name: str) -> None:
        self.begun.append(name)

    async def gated(self, name: str) -> None:
        self.begun.append(name)
        gate = self.gates[name] = Deferred()
        await gate

    def steps(self, job: str, count: int, act: Callable[[str], object]) -> Iterator[partial]:
        return (partial(act, f"{job}{number}") for number in range(count))

    def open(self, *names: str) -> None:
        for name in names:
            self.gates.pop(name).callback(None)
        self.clock.advance(0)

    def test_all_are_done(self) -> None:
        for count in (1, 3, 40):
            running = self.lanes.run(self.steps("a", count, self.at_once))
            self.clock.pump([0] * 40)
            self.successResultOf(running)
            self.assertEqual(self.begun, [f"a{number}" for number in range(count)])
            self.begun.clear()

    def test_none_to_do(self) -> None:
        self.successResultOf(self.lanes.run([]))

    def test_the_bound_is_for_all_jobs_together(self) -> None:
        jobs = [self.lanes.run(self.steps(job, 10, self.gated)) for job in "abcdefgh"]
        most = 0
        while self.gates:
            most = max(most, len(self.gates))
            self.open(*self.gates)
        self.assertEqual(most, 4)
        self.assertEqual(len(self.begun), 80)
        for each in jobs:
            self.successResultOf(each)

    def test_a_job_doesnt_wait_for_one_that_came_before(self) -> None:
        first = self.lanes.run(self.steps("a", 100, self.gated))
        second = self.lanes.run(self.steps("b", 2, self.gated))
        while self.gates and not second.called:
            self.open(*self.gates)
        self.successResultOf(second)
        self.assertLess(len(self.begun), 14)
        self.assertNoResult(first)
        while self.gates:
            self.open(*self.gates)
        self.successResultOf(first)

    def test_steps_that_end_at_once_leave_the_reactor_its_turn(self) -> None:
        jobs = [self.lanes.run(self.steps(job, 200, self.at_once)) for job in "abc"]
        counts = [len(self.begun)]

        def another() -> None:
            counts.append(len(self.begun))
            if len(self.begun) < 600:
                self.clock.callLater(0, another)

        self.clock.callLater(0, another)
        self.clock.advance(0)
        for each in jobs:
            self.successResultOf(each)
        self.assertLessEqual(max(b - a for a, b in pairwise([0, *counts])), 4)

    def test_an_error_ends_it_once_those_under_way_have_ended(self) -> None:
        running = self.lanes.run(self.steps("a", 10, self.gated))
        other = self.lanes.run(self.steps("b", 1, self.gated))
        self.gates.pop("a0").errback(ValueError("broken"))
        self.clock.advance(0)
        self.assertNoResult(running)
        self.open("a1", "a2", "a3")
        self.failureResultOf(running, ValueError)
        self.open("b0")
        self.successResultOf(other)
        self.assertEqual(sorted(self.begun), ["a0", "a1", "a2", "a3", "b0"])

    def test_cancelling_cancels_what_is_under_way(self) -> None:
        running = self.lanes.run(self.steps("a", 10, self.gated))
        other = self.lanes.run(self.steps("b", 1, self.gated))
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.clock.advance(0)
        self.open("b0")
        self.successResultOf(other)
        self.assertEqual(len(self.begun), 5)

    def test_cancelling_what_hasnt_begun(self) -> None:
        first = self.lanes.run(self.steps("a", 4, self.gated))
        second = self.lanes.run(self.steps("b", 4, self.gated))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.open("a0", "a1", "a2", "a3")
        self.successResultOf(first)
        self.assertEqual(len(self.begun), 4)
