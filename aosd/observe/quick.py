"""What is counted with each request: Prometheus is told when it asks, and not before.

prometheus_client's own counters take a lock each time, for programs of several threads; they
were a twentieth of what a small request costs. These belong to the reactor's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

T = TypeVar("T")


class Count:
    """One number: of a counter, or of a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """So much more."""
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        """So much less."""
        self.value -= amount


class Times:
    """How often something took how long: in each bucket, up to its bound, and in all."""

    __slots__ = ("_bounds", "counts", "total_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long once."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total_s += seconds


class _Family(Collector, Generic[T]):
    """One metric, by the values of its labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        make: Callable[[], T],
        registry: CollectorRegistry,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.label_names = labels
        self.children: dict[tuple[str, ...], T] = {}
        self._make = make
        registry.register(self)

    def labels(self, *values: object) -> T:
        """Where it is counted for these values; 0 from then on."""
        key = tuple(map(str, values))
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = self._make()
        return child


class QuickCounter(_Family[Count]):
    """See prometheus_client.Counter."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._created_s = time()
        super().__init__(name, documentation, labels, Count, registry)

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        told = CounterMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, child in self.children.items():
            told.add_metric(values, child.value, self._created_s)
        yield told


class QuickGauge(_Family[Count]):
    """See prometheus_client.Gauge."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        super().__init__(name, documentation, labels, Count, registry)

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        told = GaugeMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, child in self.children.items():
            told.add_metric(values, child.value)
        yield told


class QuickHistogram(_Family[Times]):
    """See prometheus_client.Histogram. `buckets` are their upper bounds, ascending, in seconds."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = [floatToGoString(each) for each in (*buckets, float("inf"))]
        super().__init__(name, documentation, labels, lambda: Times(buckets), registry)

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        told = HistogramMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, child in self.children.items():
            so_far = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip(self._bounds, child.counts, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            told.add_metric(values, buckets, child.total_s)
        yield told
