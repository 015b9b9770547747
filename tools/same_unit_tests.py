"""Runs tests/unit under trial and checks that pytest finds the same number of tests there.

`python -m tools.same_unit_tests JOBS` runs as many at once. trial collects no pytest function and
says nothing of it: a test that only one of the two runners knows would go missing unseen.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_TRIAL = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)
_PYTEST = re.compile(r"^(\d+) tests? collected", re.MULTILINE)


def main(jobs: str = "1") -> int:
    """Exit code 0 when trial passes, by `jobs` processes, and both counts are the same."""
    Path(".cache").mkdir(exist_ok=True)
    command = ["-m", "twisted.trial", f"--jobs={jobs}", "--temp-directory=.cache/trial"]
    trial = subprocess.run(
        [sys.executable, *command, "tests.unit"],
        text=True,
        capture_output=True,
        check=False,
    )
    if trial.returncode:
        print(trial.stdout + trial.stderr, file=sys.stderr)
        return trial.returncode
    pytest = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/unit"],
        text=True,
        capture_output=True,
        check=False,
    )
    ran, collected = _TRIAL.search(trial.stdout), _PYTEST.search(pytest.stdout)
    if ran is None or collected is None or ran[1] != collected[1]:
        print(trial.stdout[-500:] + pytest.stdout[-500:], file=sys.stderr)
        print(
            f"trial ran {ran and ran[1]} unit tests, pytest finds {collected and collected[1]}",
            file=sys.stderr,
        )
        return 1
    print(f"trial ran the same {ran[1]} unit tests as pytest, and all passed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
