"""`make bench` in its short form: every figure is taken and told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import goals

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    goals.GET_SMALL: {goals.AOSD, goals.STANDARD, goals.NGINX, goals.NODE},
    goals.PUT_SMALL: {goals.AOSD, goals.STANDARD, goals.NGINX, goals.NODE},
    goals.GET_SMALL + goals.LOGGED: {goals.AOSD, goals.STANDARD, goals.NGINX},
    goals.PUT_SMALL + goals.LOGGED: {goals.AOSD, goals.STANDARD, goals.NGINX},
    goals.PACED: {goals.AOSD, goals.NGINX, goals.SAME_RATE},
    goals.GET_LONG: {goals.AOSD, goals.NGINX, goals.NODE},
    goals.PUT_LONG: {goals.AOSD, goals.TWICE, goals.NGINX, goals.NODE},
    goals.READERS: {goals.AOSD},
    goals.LISTING: {goals.ONCE, goals.TWICE, goals.NODE},
    "GET 1 KiB by 32, real nodes": {goals.AOSD, goals.STANDARD, goals.NGINX, goals.NODE},
    "PUT 1 KiB by 32, real nodes": {goals.AOSD, goals.STANDARD, goals.NGINX, goals.NODE},
    "GET 1 GiB, real nodes": {goals.AOSD, goals.NGINX, goals.NODE},
    "PUT 1 GiB, real nodes": {goals.AOSD, goals.NGINX, goals.NODE},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("bench")
    file = directory / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--json", str(file)]
    done = subprocess.run(
        [*command, "--directory", str(directory)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert done.returncode == 0, done.stderr
    assert list(directory.iterdir()) == [file], "something was left behind"
    return done.stdout, json.loads(file.read_text())


@pytest.mark.timeout(600)
def test_every_figure_is_taken_of_all_that_it_compares(told: tuple[str, dict[str, Any]]) -> None:
    rows = {row["name"]: row["samples"] for row in told[1]["rows"]}
    assert {name: set(samples) for name, samples in rows.items()} == TARGETS
    for name, samples in rows.items():
        for taken in samples.values():
            assert len(taken) == 1
            assert taken[0]["rate"] > 0 or name == goals.READERS


def test_every_goal_is_told_with_whether_it_was_met(told: tuple[str, dict[str, Any]]) -> None:
    output = told[0]
    verdicts = {True: ("met |", "goal |", "**missed** |"), False: ("reported |",)}
    for goal in goals.GOALS:
        [line] = [line for line in output.splitlines() if line.startswith(f"| {goal.name} | ")][:1]
        assert line.endswith(verdicts[goal.must is not None])
    assert "cores: " in output
    assert "kept in" not in output


def test_the_s3_doors_figures_are_taken() -> None:
    command = [sys.executable, "-m", "bench.s3", "--rounds", "1", "--keys", "1500"]
    done = subprocess.run(
        [*command, "--requests", "5"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for told in ("| verify a presigned URL |", "| GET |", "| aosd as a part of the node |"):
        assert told in done.stdout
