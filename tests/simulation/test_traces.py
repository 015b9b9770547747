"""Each trace of how earlier rules failed, by its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.traces import TRACES


@pytest.mark.parametrize("trace", TRACES, ids=lambda each: each.__name__)
def test_trace(trace: Callable[[], None]) -> None:
    trace()
