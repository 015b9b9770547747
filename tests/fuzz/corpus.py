"""The kept inputs: what fuzzing found worth keeping, and what once failed."""

from __future__ import annotations

from pathlib import Path

KEPT = Path(__file__).parent / "corpus"


def kept() -> list[tuple[str, bytes]]:
    """Names and inputs, in order."""
    return [(each.name, each.read_bytes()) for each in sorted(KEPT.iterdir())]
