"""What is measured: four figures, on null nodes and on real ones, in interleaved rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench import load
from bench.load import Sample
from tests.integration.processes import Process


@dataclass(frozen=True)
class Target:
    """Who is asked: `url` is the prefix of objects' names, `tag` keeps targets' keys apart."""

    name: str
    tag: str
    url: str
    process: Process | None


@dataclass(frozen=True)
class Figure:
    """One row: a name, its units, and how one target's sample of it is taken."""

    name: str
    rate_unit: str
    cpu_unit: str
    measure: Callable[[Target], Sample]


@dataclass(frozen=True)
class Row:
    """A figure's samples by target, one a round; `aosd` and `nginx` are among the targets."""

    figure: Figure
    samples: Mapping[str, list[Sample]] = field(default_factory=dict)

    def median_rate(self, target: str) -> float:
        """The median of a target's rates."""
        return statistics.median(sample.rate for sample in self.samples[target])

    def median_cpu(self, target: str) -> float:
        """The median of a target's processor time; only for targets with a process."""
        return statistics.median(sample.cpu or 0.0 for sample in self.samples[target])

    @property
    def rate_ratio(self) -> float:
        """The rate of aosd as a part of nginx's: the median of the rounds' ratios."""
        return statistics.median(a.rate / n.rate for a, n in self._pairs())

    @property
    def cpu_ratio(self) -> float:
        """The processor time of aosd as a multiple of nginx's: the median of the rounds' ratios."""
        return statistics.median((a.cpu or 0.0) / (n.cpu or 1.0) for a, n in self._pairs())

    def _pairs(self) -> Sequence[tuple[Sample, Sample]]:
        return list(zip(self.samples["aosd"], self.samples["nginx"], strict=True))


def figures(seconds: float, payload: load.Payload, get_key: str, put_key: str) -> list[Figure]:
    """The four figures. The long body is PUT to `put_key` and read from `get_key`."""

    def small(method: str) -> Callable[[Target], Sample]:
        return lambda it: load.small(method, _small_keys(it), seconds, it.process)

    def put_large(it: Target) -> Sample:
        return load.put_large(f"{it.url}{put_key}{it.tag}", payload.file, it.process)

    def get_large(it: Target) -> Sample:
        return load.get_large(f"{it.url}{get_key}{it.tag}", payload.size_bytes, it.process)

    clients = f"1 KiB by {load.CONNECTIONS}"
    return [
        Figure(f"GET {clients}", "requests/s", "µs/request", small("GET")),
        Figure(f"PUT {clients}", "requests/s", "µs/request", small("PUT")),
        # What is read was written by the one before.
        Figure(f"PUT {payload.name}", "MiB/s", "s/GiB", put_large),
        Figure(f"GET {payload.name}", "MiB/s", "s/GiB", get_large),
    ]


def fill(targets: Sequence[Target]) -> None:
    """Write the small objects that will be read; null nodes have them without that."""
    for target in targets:
        load.fill(_small_keys(target))


def measure(
    name: str,
    targets: Sequence[Target],
    wanted: Sequence[Figure],
    rounds: int,
    tell: Callable[[str], None],
) -> list[Row]:
    """Take `rounds` samples of each figure from each target.

    The targets take turns within a round, and each round begins with another of them, so
    that what drifts on the machine drifts for all.
    """
    for target in targets:
        for figure in wanted[:2]:
            figure.measure(target)
    rows = [Row(figure, {target.name: [] for target in targets}) for figure in wanted]
    for number in range(rounds):
        first = number % len(targets)
        for row in rows:
            for target in [*targets[first:], *targets[:first]]:
                sample = row.figure.measure(target)
                row.samples[target.name].append(sample)
                tell(
                    f"{name}  round {number + 1}/{rounds}  {row.figure.name:<14}  {target.name:<9}"
                    f"  {sample.rate:9.1f} {row.figure.rate_unit}"
                )
    return rows


def _small_keys(target: Target) -> str:
    return f"{target.url}benchkey{target.tag}"
