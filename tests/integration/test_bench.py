"""`make bench` in its short form: every figure is taken and told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"GET 1 KiB by 32", "PUT 1 KiB by 32", "PUT 16 MiB", "GET 16 MiB"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    directory = tmp_path_factory.mktemp("bench")
    file = directory / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--json", str(file)]
    done = subprocess.run(
        [*command, "--directory", str(directory)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert list(directory.iterdir()) == [file], "something was left behind"
    return done.stdout, json.loads(file.read_text())


def test_every_figure_is_taken_on_null_and_on_real_nodes(
    told: tuple[str, dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]],
) -> None:
    phases = told[1]["phases"]
    assert set(phases) == {"null nodes", "real nodes"}
    for rows in phases.values():
        assert set(rows) == FIGURES
        for row in rows.values():
            assert set(row["samples"]) == {"aosd", "nginx", "node"}
            assert all(rate > 0 for rate in row["median_rate"].values())


def test_the_table_is_told_in_markdown_with_a_legend(told: tuple[str, object]) -> None:
    output = told[0]
    for figure in FIGURES:
        assert output.count(f"| {figure} |") == 2
    assert "aosd/nginx" in output
    assert "cores: " in output


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
