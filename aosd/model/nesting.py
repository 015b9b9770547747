"""Keys that lie beneath other keys, found as keys come by in S3's order. Pure."""

from __future__ import annotations


class Nesting:
    """Sees the keys of one bucket, each greater than the one before.

    Remembers those that the last one begins with: no more than it has characters.
    """

    def __init__(self) -> None:
        self._begun: list[str] = []

    def above(self, key: str) -> str | None:
        """The object that the key lies beneath, the innermost one; None when there is none.

        `a` for `a/b`, if it came by. Beneath `a/`, which says that there is a folder, lies nothing
        that it would hide.
        """
        begun = self._begun
        while begun and not key.startswith(begun[-1]):
            begun.pop()
        found = next(
            (each for each in reversed(begun) if not each.endswith("/") and key[len(each)] == "/"),
            None,
        )
        if not begun or begun[-1] != key:
            begun.append(key)
        return None if found is None or key == f"{found}/" else found
