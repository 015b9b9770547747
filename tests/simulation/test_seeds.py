"""The whole store in simulated time, from 160 seeds. `make simulate` plays more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aosd.testing.simulation.play import play

ROOT = Path(__file__).parents[2]


# What has to befall the store in so many stories, or the simulation shows less than it seems to.
BEFALLS = (
    "a client leaves",
    "a connection is closed politely",
    "a disk is full",
    "a disk is restored",
    "a disk is wiped",
    "a node is added",
    "a node is drained",
    "a node is killed",
    "a node is lost for ever",
    "a node is removed",
    "a node stands still",
    "a node with objects comes",
    "a node's clock is off",
    "an object is adopted",
    "ambush: a node is killed",
    "ambush: power is lost",
    "ambush: the gateway is killed",
    "answer cut short",
    "bucket deleted",
    "bucket made",
    "bucket not empty",
    "carried out when nobody waited",
    "eight days pass",
    "object copied",
    "object copied onto itself",
    "object tagged",
    "operator: adopt",
    "operator: drain",
    "operator: remove",
    "operator: remove refused",
    "operator: repair paused",
    "operator: rezone",
    "operator: undo",
    "operator: undrain",
    "operator: weigh",
    "orphaned upload aborted",
    "part taken",
    "power is lost",
    "refused: OperationAborted",
    "refused: XMinioObjectExistsAsDirectory",
    "refused: XMinioParentIsObject",
    "refused: full",
    "refused: its bucket is being deleted",
    "repeated Complete acknowledged",
    "request cut short",
    "request refused",
    "request refused after",
    "request reset",
    "request reset after",
    "request reset late",
    "request silent",
    "request silent after",
    "request silent late",
    "request slow",
    "stale listing that differed",
    "the cluster is left",
    "the gateway is killed",
    "the gateway is killed while it is left",
    "the gateway is stopped",
    "the gateway's clock is set",
    "upload aborted",
    "upload begun",
    "upload completed",
    "upload unknown",
    "write refused: clocks",
    "wrong digest refused",
)


def simulate(*arguments: str) -> str:
    """In a process of its own: the order of sets of text is part of a seed's story."""
    command = [sys.executable, "-m", "tools.simulate", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.timeout(600)
def test_seeds() -> None:
    told = simulate("--seeds", "160", "--jobs", "2", "--tally")
    befell = {line.strip().partition(" ")[2] for line in told.splitlines()}
    assert not set(BEFALLS) - befell


@pytest.mark.timeout(300)
def test_without_faults_there_are_no_errors() -> None:
    simulate("--seeds", "40", "--start", "100000", "--no-faults", "--jobs", "2")


def test_a_seed_plays_the_same_story_again() -> None:
    stories: list[list[str]] = [[], []]
    for lines in stories:
        play(3, lines.append)
    assert stories[0] == stories[1] and len(stories[0]) > 50
