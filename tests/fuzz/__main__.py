"""Fuzzes each target in turn: `python -m tests.fuzz --seconds 1200`.

New inputs come together in `.cache/fuzz`. With --keep it writes them, minimised, as the kept
corpus, where what once failed stays under a name of its own; with --replay FILE it runs the targets
on one input, as after a fault was found.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpus import KEPT
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

_HERE = Path(__file__).parent
_WORK = Path(".cache/fuzz")
_MOST_INPUT_BYTES = 2_000
_MOST_KEPT_BYTES = 1_000


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 when something was found."""
    parser = argparse.ArgumentParser(description="Fuzz the express lane.")
    parser.add_argument("--seconds", type=int, default=1200, help="for all targets together (1200)")
    parser.add_argument("--target", choices=sorted(TARGETS), help="this one alone")
    parser.add_argument("--keep", action="store_true", help="write the kept corpus, and end")
    parser.add_argument("--replay", type=Path, help="run the targets on this input, and end")
    options = parser.parse_args(arguments)
    targets = [options.target] if options.target else list(TARGETS)
    if options.replay:
        data = options.replay.read_bytes()
        for target in targets:
            TARGETS[target](data)
        return 0
    _write_seeds()
    if options.keep:
        _keep(targets)
        return 0
    for target in targets:
        print(f"fuzzing {target}", flush=True)
        found = _run(
            target,
            f"-max_total_time={max(1, options.seconds // len(targets))}",
            f"-dict={_HERE / 'http.dict'}",
            "-timeout=30",
            "-print_final_stats=1",
            *map(str, _corpora(target)),
        )
        if found:
            print(f"found by {target}; see it again: python -m tests.fuzz --replay FILE")
            return 1
    return 0


def _corpora(target: str) -> list[Path]:
    """Where inputs lie; new ones go to the first."""
    return [_WORK / target, _WORK / "seeds", KEPT]


def _write_seeds() -> None:
    for folder in ("seeds", *TARGETS):
        (_WORK / folder).mkdir(parents=True, exist_ok=True)
    KEPT.mkdir(exist_ok=True)
    for seed in seeds():
        (_WORK / "seeds" / _name(seed)).write_bytes(seed)


def _name(data: bytes) -> str:
    """As libFuzzer names inputs."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _run(target: str, *options: str) -> int:
    command = [sys.executable, "-m", "tests.fuzz.under_atheris", target]
    options = (f"-max_len={_MOST_INPUT_BYTES}", f"-artifact_prefix={_WORK}/", *options)
    return subprocess.run([*command, *options], check=False).returncode


def _keep(targets: list[str]) -> None:
    """The fewest and shortest inputs that reach all that the short ones among all inputs reach."""
    short = _WORK / "short"
    kept = _WORK / "kept"
    for folder in (short, kept):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for target in targets:
        for corpus in _corpora(target):
            for file in corpus.iterdir():
                if file.stat().st_size <= _MOST_KEPT_BYTES:
                    shutil.copy(file, short / file.name)
    for target in targets:
        _run(target, "-merge=1", str(kept), str(short))
    for file in KEPT.iterdir():
        if _is_ours(file):
            file.unlink()
    shutil.copytree(kept, KEPT, dirs_exist_ok=True)


def _is_ours(file: Path) -> bool:
    """Whether it has the name that libFuzzer gives; what once failed has a name of its own."""
    return file.name == _name(file.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
