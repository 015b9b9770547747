"""How fast repair is, and how far a ring change: measured by the clock, honest where unknown."""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.objects import OBJECT_BUCKET
from aosd.observe.metrics import Metrics
from aosd.repair.mend import Mended
from aosd.repair.progress import Change, Progress
from aosd.repair.rates import Rates
from aosd.repair.sweep import Swept
from tests.unit.cluster_case import ClusterTestCase

MIB = 1 << 20
EARLY, LATER = (f"0193594b3a7c-000{n}-0000000a" for n in range(2))


def copied(*targets: str, each_bytes: int = 10) -> Mended:
    return Mended(True, True, copied=targets, size_bytes=each_bytes * len(targets))


class RatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rates = self.made()

    def made(self, keys_per_s: float = math.inf, bytes_per_s: float = math.inf) -> Rates:
        return Rates(self.clock, keys_per_s=keys_per_s, bytes_per_s=bytes_per_s)

    def batch(self, keys: int, seconds: float, *mended: Mended) -> None:
        for each in mended:
            self.rates.mended(each)
        self.clock.advance(seconds)
        self.rates.keys(keys)

    def test_nothing_is_known_at_first(self) -> None:
        self.assertFalse(self.rates.measured)
        self.assertIsNone(self.rates.keys_per_s())
        self.assertEqual(self.rates.key_s(), 0.0)
        self.assertAlmostEqual(self.rates.copies_s("n1", 100, 100), 1.0)
        self.assertAlmostEqual(self.rates.removals_s(100), 0.5)

    def test_nothing_goes_faster_than_it_may(self) -> None:
        self.rates = self.made(keys_per_s=50.0, bytes_per_s=1000.0)
        self.rates.began()
        self.batch(100, 0.001)
        self.assertEqual(self.rates.key_s(), 0.02)
        self.assertEqual(self.rates.copies_s("n1", 1, 10_000), 10.0)

    def test_time_before_a_sweep_isnt_its_own(self) -> None:
        self.clock.advance(1000.0)
        self.rates.began()
        self.batch(500, 10.0)
        rate = self.rates.keys_per_s()
        assert rate is not None
        self.assertAlmostEqual(rate, 50.0)
        self.assertAlmostEqual(self.rates.key_s(), 0.02)

    def test_a_few_keys_dont_tell_how_long_many_take(self) -> None:
        self.rates.began()
        self.batch(20, 2.0)
        self.assertEqual(self.rates.key_s(), 0.0)
        self.batch(50, 4.0, *[copied("n1")] * 20)
        self.assertAlmostEqual(self.rates.copies_s("n1", 20, 0), 4.0)

    def test_what_a_batch_takes_longer_is_its_copies(self) -> None:
        self.rates.began()
        self.batch(500, 10.0)
        for _ in range(10):
            self.batch(50, 1.0)
            self.batch(50, 3.0, *[copied("n1")] * 20)
        self.assertTrue(self.rates.measured)
        self.assertAlmostEqual(self.rates.copies_s("n1", 100, 1000), 10.0, places=1)
        self.assertAlmostEqual(self.rates.key_s(), 0.02)

    def test_nodes_share_the_time_by_their_copies(self) -> None:
        self.rates.began()
        self.batch(10, 4.0, copied("n1", "n2"), copied("n1"), copied("n1"))
        one, other = (self.rates.copies_s(name, 3, 0) for name in ("n1", "n2"))
        self.assertAlmostEqual(one, 3.0)
        self.assertAlmostEqual(other, 3.0)

    def test_a_slow_node_is_known_as_such(self) -> None:
        self.rates.began()
        for _ in range(5):
            self.batch(10, 10.0, *[copied("slow")] * 10)
            self.batch(10, 0.1, *[copied("fast")] * 10)
        self.assertAlmostEqual(self.rates.copies_s("slow", 10, 0), 10.0)
        self.assertAlmostEqual(self.rates.copies_s("fast", 10, 0), 0.1)
        # One that got none yet is thought to be as all are together.
        between = self.rates.copies_s("new", 10, 0)
        self.assertTrue(1.0 < between < 10.0, between)

    def test_large_ones_are_timed_by_their_bytes(self) -> None:
        self.rates.began()
        self.batch(10, 1.0, *[copied("n1")] * 10)  # 0.1 s each
        self.batch(10, 11.0, *[copied("n1", each_bytes=10 * MIB)] * 10)
        self.assertAlmostEqual(self.rates.copies_s("n1", 10, 100 * MIB), 11.0)
        self.assertAlmostEqual(self.rates.copies_s("n1", 1000, 0), 100.0)

    def test_removals_have_a_time_of_their_own(self) -> None:
        self.rates.began()
        self.batch(10, 1.0, *[Mended(True, True, removed=("n1",))] * 10)
        self.assertAlmostEqual(self.rates.removals_s(10), 1.0)
        self.assertFalse(self.rates.measured)
        self.batch(10, 3.0, *[copied("n2")] * 10, *[Mended(True, True, removed=("n1",))] * 10)
        self.assertAlmostEqual(self.rates.copies_s("n2", 10, 0), 2.0)

    def test_the_newest_counts_most(self) -> None:
        self.rates.began()
        for _ in range(10):
            self.batch(1, 60.0)
        for _ in range(10):
            self.batch(100, 60.0)
        rate = self.rates.keys_per_s()
        assert rate is not None
        self.assertAlmostEqual(rate, 100 / 60, places=2)

    def test_each_sweep_has_its_own_rate(self) -> None:
        self.rates.began()
        self.batch(500, 50.0)
        self.rates.began()
        self.assertIsNone(self.rates.keys_per_s())
        self.assertAlmostEqual(self.rates.key_s(), 0.1)


class _Sweep:
    def __init__(self) -> None:
        self.so_far = Swept()


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.change = Change()
        self.known = 0
        self.paused = False
        self.metrics = Metrics()
        self.rates = Rates(self.clock, keys_per_s=math.inf, bytes_per_s=math.inf)
        self.progress = Progress(
            self.clock,
            self.rates,
            self.metrics,
            change=lambda: self.change,
            expected_keys=lambda: self.known,
            paused=lambda: self.paused,
        )
        self.sweep: Any = _Sweep()

    def batch(self, keys: int, seconds: float, *mended: Mended) -> None:
        for each in mended:
            self.progress.mended(each)
        self.clock.advance(seconds)
        self.sweep.so_far.keys += keys
        self.progress.keys(keys)

    def begin(self, change: Change) -> None:
        self.change = change
        self.progress.follow()
        self.progress.sweep_began(self.sweep)

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)

    def test_without_a_change_there_is_nothing_to_tell(self) -> None:
        self.progress.sweep_began(self.sweep)
        self.batch(10, 1.0, copied("n1"))
        told = self.progress.told()
        self.assertEqual((told["phase"], told["nodes"], told["copies"]), ("", [], 0))
        self.assertEqual((told["seconds"], told["seconds_left"]), (0.0, None))
        self.assertEqual(self.metric("aosd_ring_change_keys"), 0.0)
        self.assertEqual(self.metric("aosd_ring_change_seconds_left"), 0.0)

    def test_how_far_it_is(self) -> None:
        self.known = 100
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0, copied("n4"), Mended(True, True, removed=("n1",)))
        told = self.progress.told()
        self.assertEqual(
            told,
            {
                "phase": "copying",
                "nodes": ["n4"],
                "keys": 10,
                "of_keys": 100,
                "copies": 1,
                "removed": 1,
                "bytes": 10,
                "seconds": 2.0,
                "rate_keys_per_s": 5.0,
                "seconds_left": 18.0,
                "paused": False,
            },
        )
        self.assertEqual(self.metric("aosd_ring_change_keys"), 10.0)
        self.assertEqual(self.metric("aosd_ring_change_seconds_left"), 18.0)

    def test_what_isnt_known_isnt_told(self) -> None:
        self.begin(Change("copying", ("n4",), EARLY))
        told = self.progress.told()
        self.assertEqual((told["of_keys"], told["rate_keys_per_s"]), (None, None))
        self.batch(10, 2.0)
        told = self.progress.told()
        self.assertEqual((told["keys"], told["of_keys"]), (10, None))
        self.assertIsNone(told["seconds_left"])
        left = self.metric("aosd_ring_change_seconds_left")
        assert left is not None
        self.assertTrue(math.isnan(left))

    def test_a_forecast_tells_how_many_there_are_until_a_sweep_does(self) -> None:
        self.progress.expects(50)
        self.begin(Change("copying", ("n4",), EARLY))
        self.assertEqual(self.progress.told()["of_keys"], 50)
        self.known = 70
        self.assertEqual(self.progress.told()["of_keys"], 70)

    def test_there_may_be_more_by_now(self) -> None:
        self.known = 5
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0)
        told = self.progress.told()
        self.assertEqual((told["of_keys"], told["seconds_left"]), (10, 0.0))

    def test_nobody_knows_how_long_a_pause_will_be(self) -> None:
        self.known = 100
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0)
        self.paused = True
        told = self.progress.told()
        self.assertEqual((told["paused"], told["seconds_left"]), (True, None))

    def test_time_between_two_sweeps_isnt_that_of_the_second(self) -> None:
        self.clock.advance(1000.0)
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0)
        self.assertEqual(self.progress.told()["rate_keys_per_s"], 5.0)

    def test_between_two_sweeps_what_was_done_stays(self) -> None:
        self.known = 100
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0, copied("n4"))
        self.progress.sweep_ended()
        told = self.progress.told()
        self.assertEqual((told["keys"], told["copies"], told["seconds_left"]), (0, 1, None))
        self.assertIsNone(told["rate_keys_per_s"])

    def test_its_second_phase_is_the_same_change(self) -> None:
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0, copied("n4"))
        self.change = Change("emptying", ("n4",), EARLY)
        self.assertEqual((self.progress.told()["copies"], self.progress.told()["seconds"]), (1, 2))
        self.change = Change("emptying", ("n4",), "")  # an adopted one, which is in the ring now
        self.assertEqual(self.progress.told()["copies"], 1)

    def test_the_next_one_begins_at_nothing(self) -> None:
        self.begin(Change("copying", ("n4",), EARLY))
        self.batch(10, 2.0, copied("n4"))
        self.change = Change("emptying", ("n4",), EARLY)
        self.progress.follow()
        self.change = Change("copying", ("n3",), LATER)  # it was queued, and nobody looked between
        told = self.progress.told()
        self.assertEqual((told["copies"], told["bytes"], told["seconds"]), (0, 0, 0.0))


class ProgressOfAClusterTests(ClusterTestCase):
    """A fourth node joins three, and what is told of it is so."""

    count = 4

    def test_of_a_node_that_joins(self) -> None:
        gateway = self.begun("n1", "n2", "n3", sweep_keys_per_s=20.0)
        for number in range(200):
            self.put(gateway, f"k{number:03d}", b"v")
        keeper = gateway.assembly.keeper
        keeper.start_sweep()
        self.wait(60, lambda: keeper.last is not None)
        gateway.see(*self.names)
        self.wait(20, lambda: gateway.roster.changing and keeper.sweep is not None)
        self.pass_s(5)
        told = keeper.progress.told()
        self.assertEqual((told["phase"], told["of_keys"]), ("copying", 200))
        self.assertTrue(50 <= told["keys"] <= 150, told)
        self.assertTrue(16.0 <= told["rate_keys_per_s"] <= 20.0, told)
        there = self.nodes["n4"].buckets[OBJECT_BUCKET]
        self.assertEqual(told["copies"], len(there))
        self.assertEqual(told["bytes"], len(there))
        left = told["seconds_left"]
        sweep = keeper.sweep
        waited = 0
        while keeper.sweep is sweep:
            self.pass_s(1)
            waited += 1
        self.assertTrue(abs(left - waited) <= 3.0, (left, waited))
        self.wait(60, lambda: not gateway.roster.changing)
        self.wait(60, lambda: keeper.sweep is None)
        told = keeper.progress.told()
        self.assertEqual((told["phase"], told["keys"]), ("", 0))
        self.assertIsNone(told["rate_keys_per_s"])
        copies = gateway.metrics.copies_made._value.get()
        self.assertEqual(copies, len(self.nodes["n4"].buckets[OBJECT_BUCKET]))

    def test_what_a_run_counted_is_known_to_the_next(self) -> None:
        gateway = self.begun("n1", "n2", "n3")
        for number in range(30):
            self.put(gateway, f"k{number:03d}", b"v")
        gateway.assembly.keeper.start_sweep()
        self.wait(10, lambda: gateway.assembly.keeper.last is not None)
        self.stop(gateway)
        gateway = self.begun("n1", "n2", "n3")
        self.pass_s(2)
        gateway.see(*self.names)
        self.wait(20, lambda: gateway.roster.changing)
        self.assertEqual(gateway.assembly.keeper.progress.told()["of_keys"], 30)
