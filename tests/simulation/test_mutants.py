"""Each way to break the daemon is noticed: a simulation that can't fail would be worth nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutants import ALL

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told() -> str:
    """What came of all hunts, in a process of their own: the order of sets is part of a story."""
    command = [sys.executable, "-m", "tests.simulation.mutants"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ALL)
def test_mutant_is_noticed(name: str, told: str) -> None:
    found = re.search(rf"^{name} \([0-9.]+ s\): (.*(?:\n    .*)*)", told, re.MULTILINE)
    assert found is not None, told
    assert not found[1].startswith("SURVIVED"), found[1]
