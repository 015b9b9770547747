"""docs/operations.md, and the commands that it has for those who run a store."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"

_WALK_THROUGHS = re.compile(r"^### Walk-throughs$(.*?)^(?=##? )", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#### (.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FOR_DOCKER = "docker "


def walk_throughs() -> dict[str, list[str]]:
    """Blocks of commands by their headings, in the page's order; what comes first is under ""."""
    found = _WALK_THROUGHS.search(PAGE.read_text())
    assert found is not None
    first, *others = _HEADING.split(found[1])
    told = {"": first, **dict(zip(others[::2], others[1::2], strict=True))}
    return {heading: _for_a_shell(text) for heading, text in told.items()}


def elsewhere() -> list[str]:
    """The blocks of commands that stand elsewhere on the page."""
    return _for_a_shell(_WALK_THROUGHS.sub("", PAGE.read_text()))


def for_docker() -> list[str]:
    """The commands for docker and compose, one a line."""
    blocks = [each for each in _BLOCK.findall(PAGE.read_text()) if each.startswith(_FOR_DOCKER)]
    return [line for block in blocks for line in block.splitlines()]


def _for_a_shell(text: str) -> list[str]:
    return [each for each in _BLOCK.findall(text) if not each.startswith(_FOR_DOCKER)]
