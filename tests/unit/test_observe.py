"""What is counted with each request is told as prometheus_client tells it."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from aosd.observe.quick import QuickCounter, QuickGauge, QuickHistogram

_BOUNDS_S = (0.001, 0.5, 1, 2.5, 30)


def _told(registry: CollectorRegistry) -> list[str]:
    """All but when it began, which is each one's own; in no order."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


class QuickTests(SynchronousTestCase):
    def test_it_is_told_as_by_the_library(self) -> None:
        quick, known = CollectorRegistry(), CollectorRegistry()
        chance = random.Random(7)
        counters = (
            QuickCounter("aosd_things", "Things.", ["door", "status"], quick),
            Counter("aosd_things", "Things.", ["door", "status"], registry=known),
        )
        gauges = (
            QuickGauge("aosd_now", "Now.", ["door"], quick),
            Gauge("aosd_now", "Now.", ["door"], registry=known),
        )
        histograms = (
            QuickHistogram("aosd_seconds", "Seconds.", ["verb"], _BOUNDS_S, quick),
            Histogram("aosd_seconds", "Seconds.", ["verb"], buckets=_BOUNDS_S, registry=known),
        )
        for counter in counters:
            counter.labels("never", 200)
        for _ in range(200):
            door, status = chance.choice("ab"), chance.choice((200, 404))
            amount, seconds = chance.randrange(9), chance.choice((*_BOUNDS_S, 0.0, 0.7, 99.0))
            for counter in counters:
                counter.labels(door, status).inc(amount)
            for gauge in gauges:
                gauge.labels(door).inc(amount)
                gauge.labels(door).dec()
            for histogram in histograms:
                histogram.labels(door).observe(seconds)
        self.assertEqual(_told(quick), _told(known))
        self.assertTrue(any('le="2.5"' in line for line in _told(quick)))

    def test_counters_tell_since_when(self) -> None:
        registry = CollectorRegistry()
        QuickCounter("aosd_things", "Things.", ["door"], registry).labels("a").inc()
        value = registry.get_sample_value("aosd_things_created", {"door": "a"})
        assert value is not None
        self.assertGreater(value, 1_700_000_000)
