"""Programs that a benchmark needs, and its errors. Its processes are those of the tests."""

from __future__ import annotations

import shutil


class BenchError(Exception):
    """Something that a figure needs is missing or went wrong; its text is for the reader."""


def program(name: str, package: str) -> str:
    """Where a program is; BenchError that names its Debian package when it is nowhere."""
    # Debian puts servers where an ordinary user's PATH doesn't look.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise BenchError(f"{name} is missing: apt-get install {package}")
    return path
