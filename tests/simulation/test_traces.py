"""Each trace of how earlier rules failed, and each story of a clause, by its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation import (
    adopting,
    bucketry,
    copying,
    interrupted,
    moving,
    nesting,
    remembering,
    repairing,
    uploading,
    writing,
)
from tests.simulation.traces import TRACES

ALL = (
    *TRACES,
    *writing.STORIES,
    *remembering.STORIES,
    *repairing.STORIES,
    *interrupted.STORIES,
    *moving.STORIES,
    *nesting.STORIES,
    *bucketry.STORIES,
    *adopting.STORIES,
    *copying.STORIES,
    *uploading.STORIES,
)

# Coroutines of gateways that were killed are never finished: Python tells of each.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("trace", ALL, ids=lambda each: each.__name__)
def test_trace(trace: Callable[[], None]) -> None:
    trace()
