"""Which names the plain door takes."""

from __future__ import annotations

import re

_OBJECT_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)


def is_object_id(text: str) -> bool:
    """Whether `text` is an id of the plain door: 1 to 32 of A-Z, a-z, 0-9."""
    return _OBJECT_ID.fullmatch(text) is not None
