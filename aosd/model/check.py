"""What an examination found, in words for whoever has to do something about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    `ok` None: it isn't known. `found` is what there is, `do` what to do about it, in one
    sentence; "": nothing. With `ok` True, something to do is a warning.
    """

    what: str
    ok: bool | None
    found: str
    do: str = ""

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {"what": self.what, "ok": self.ok, "found": self.found, "do": self.do}


def is_healthy(checks: Iterable[Check]) -> bool:
    """Whether none of them is bad; what isn't known is no reason to doubt."""
    return all(each.ok is not False for each in checks)
