"""Each trace of how earlier rules failed, by its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.traces import TRACES

# Coroutines of gateways that were killed are never finished: Python tells of each.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("trace", TRACES, ids=lambda each: each.__name__)
def test_trace(trace: Callable[[], None]) -> None:
    trace()
