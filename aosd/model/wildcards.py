"""Wildcards, where others choose both the pattern and the text."""

from __future__ import annotations

import re


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is what `pattern` says: `*` is any characters, `?` one, others themselves.

    Each stretch between two `*` is looked for once, from where the one before it ended. A
    regular expression of the whole would go back over every `*`, and a dozen of them never end
    on a text that nearly fits.
    """
    first, *others = pattern.split("*")
    if not others:
        return len(text) == len(first) and _found(first, text, 0, len(text)) == 0
    last = others.pop()
    at, end = len(first), len(text) - len(last)
    if at > end or _found(first, text, 0, at) != 0 or _found(last, text, end, len(text)) != end:
        return False
    for stretch in others:
        place = _found(stretch, text, at, end)
        if place < 0:
            return False
        at = place + len(stretch)
    return True


def _found(stretch: str, text: str, first: int, end: int) -> int:
    """Where `stretch`, which may have `?` and no `*`, is in text[first:end]; -1: nowhere."""
    if "?" not in stretch:
        return text.find(stretch, first, end)
    expression = "".join("." if each == "?" else re.escape(each) for each in stretch)
    found = re.compile(expression, re.DOTALL).search(text, first, end)
    return -1 if found is None else found.start()
