"""The whole store in simulated time, from 300 seeds. `make simulate` plays more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aosd.testing.simulation.play import play

ROOT = Path(__file__).parents[2]


def simulate(*arguments: str) -> None:
    """In a process of its own: the order of sets of text is part of a seed's story."""
    command = [sys.executable, "-m", "tools.simulate", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.timeout(600)
def test_seeds() -> None:
    simulate("--seeds", "300", "--jobs", "2")


@pytest.mark.timeout(300)
def test_without_faults_there_are_no_errors() -> None:
    simulate("--seeds", "40", "--start", "100000", "--no-faults", "--jobs", "2")


def test_a_seed_plays_the_same_story_again() -> None:
    stories: list[list[str]] = [[], []]
    for lines in stories:
        play(3, lines.append)
    assert stories[0] == stories[1] and len(stories[0]) > 50
