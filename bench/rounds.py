"""Samples in interleaved rounds: who is asked takes turns, so that what drifts drifts for all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.load import Sample

Ask = Callable[[], Sample]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """What is measured, in which unit, and by target how a sample of it is taken.

    `unit` is that of Sample.rate, `cpu_unit` that of Sample.cpu.
    """

    name: str
    unit: str
    cpu_unit: str
    asks: Mapping[str, Ask]


@dataclass(frozen=True)
class Row:
    """A figure's samples by target, one a round."""

    name: str
    unit: str
    cpu_unit: str
    samples: Mapping[str, list[Sample]] = field(default_factory=dict)

    def median(self, target: str, of: str = "rate") -> float:
        """The median of one attribute of a target's samples; KeyError: nobody measured it."""
        return statistics.median(_value(each, of) for each in self.samples[target])

    def ratio(self, target: str, against: str, of: str = "rate") -> float:
        """The median of the rounds' ratios, which isn't the ratio of the medians."""
        pairs = zip(self.samples[target], self.samples[against], strict=True)
        return statistics.median(_value(one, of) / _value(other, of) for one, other in pairs)


def _value(sample: Sample, of: str) -> float:
    value = getattr(sample, of)
    if value is None:
        raise KeyError(of)
    return float(value)


def measure(figures: Sequence[Figure], rounds: int, tell: Tell) -> list[Row]:
    """Take `rounds` samples of each figure from each target, and one before that isn't kept.

    Each round begins with another of the targets.
    """
    rows = [
        Row(each.name, each.unit, each.cpu_unit, {name: [] for name in each.asks})
        for each in figures
    ]
    for figure in figures:
        for ask in figure.asks.values():
            ask()
    for number in range(rounds):
        for figure, row in zip(figures, rows, strict=True):
            names = list(figure.asks)
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                sample = figure.asks[name]()
                row.samples[name].append(sample)
                tell(
                    f"round {number + 1}/{rounds}  {figure.name:<28}  {name:<16}  "
                    f"{sample.rate:9.1f} {figure.unit}"
                )
    return rows


def best(candidates: Mapping[str, Ask], tries: int) -> str:
    """The name of the candidate with the best median rate of some tries, in turns."""
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(tries):
        for name, ask in candidates.items():
            rates[name].append(ask().rate)
    return max(rates, key=lambda name: statistics.median(rates[name]))
