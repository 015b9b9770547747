"""What a user installs: the wheel and an editable checkout, each in an empty environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        # Nothing of this environment may help.
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a release would have it, with nothing built in it before."""
    copy = tmp_path_factory.mktemp("source") / "aosd"
    copy.mkdir()
    for name in ("aosd", "twisted", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source, cwd=folder)
    [built] = folder.glob("aosd-*.whl")
    return built


def environment(folder: Path, *what: str) -> Path:
    """An environment with nothing but `what` and its dependencies; its bin folder."""
    venv.create(folder, with_pip=True)
    run(folder / "bin/python", "-m", "pip", "install", "-q", *what, cwd=folder)
    return folder / "bin"


def test_the_wheel_holds_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"aosd", "twisted"}
    plugins = sorted(name for name in names if name.startswith("twisted/"))
    assert plugins == ["twisted/plugins/aosd_discovery.py", "twisted/plugins/aosd_plugin.py"]


def test_the_wheel_gives_twistd_aosd(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "env", str(wheel))
    assert "aosd" in run(programs / "twistd", "--help", cwd=tmp_path)
    told = run(programs / "twistd", "aosd", "--help", cwd=tmp_path)
    for flag in ("--config", "--http", "--nodes", "--data", "--log-format", "--operations"):
        assert flag in told
    assert "credentials" in run(programs / "aosctl", "--help", cwd=tmp_path)
    providers = (
        "from twisted.plugin import getPlugins\n"
        "from aosd.ports import IDiscoveryPlugin\n"
        "print(*sorted(each.scheme for each in getPlugins(IDiscoveryPlugin)))"
    )
    told = run(programs / "python", "-c", providers, cwd=tmp_path)
    assert told.split() == ["dns", "docker", "embedded", "static"]


def test_so_does_an_editable_install(source: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "env", "--editable", str(source))
    assert "aosd" in run(programs / "twistd", "--help", cwd=tmp_path)
    assert "--nodes" in run(programs / "twistd", "aosd", "--help", cwd=tmp_path)
