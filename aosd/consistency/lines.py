"""The journal's lines, and those that don't stand on the nodes yet."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aosd.model.errors import NoQuorum

_ALONG = 50


class Line(NamedTuple):
    """A delete of a key at `stamp`; or, with `was`, its copy stamped so counts as `stamp`."""

    stamp: str
    bucket: str
    key: str
    was: str = ""

    def to_text(self) -> str:
        """As it stands in a batch."""
        return json.dumps(self if self.was else self[:3], separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that doesn't stand yet, as text too, and its caller; None: told already."""

    line: Line
    text: str
    stands: Deferred[None] | None

    def waits(self) -> bool:
        """Whether its caller does."""
        return self.stands is not None and not self.stands.called


class Backlog:
    """What is to be written: lines whose callers wait, and those that batches failed with.

    The callers' come first, in batches of `most_lines` at most. As long as batches fail only a few
    of the failed ones go along: otherwise each that is refused would cost as much as all that were
    before it.
    """

    def __init__(self, most_lines: int) -> None:
        self._most_lines = most_lines
        self._along = _ALONG
        self._new: deque[Entry] = deque()
        self._failed: deque[Entry] = deque()

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self._new) + len(self._failed)

    @property
    def has_failed(self) -> bool:
        """Whether there are lines that a batch failed with."""
        return bool(self._failed)

    def add(self, line: Line) -> Deferred[None]:
        """Fires when the line stands; NoQuorum when the batch that it was in failed."""
        stands: Deferred[None] = Deferred()
        self._new.append(Entry(line, line.to_text(), stands))
        return stands

    def waits(self) -> bool:
        """Whether any caller does."""
        return any(each.waits() for each in self._new)

    def again(self) -> None:
        """All that failed may go with the next batch, as after one that stands."""
        self._along = self._most_lines

    def take(self) -> list[Entry]:
        """The next batch; to be given to `stood` or `failed`."""
        batch = _first(self._new, self._most_lines)
        along = min(self._along, self._most_lines - len(batch))
        return _first(self._failed, along) + batch

    def stood(self, batch: Sequence[Entry]) -> None:
        """It stands on the nodes."""
        self.again()
        for each in batch:
            if each.stands is not None and each.waits():
                each.stands.callback(None)

    def failed(self, batch: Sequence[Entry], error: BaseException) -> None:
        """It doesn't, or nobody knows: its lines go with others, its callers are told."""
        self._along = _ALONG
        self._failed.extend(Entry(each.line, each.text, None) for each in batch)
        for each in batch:
            if each.stands is not None and each.waits():
                why = f"the journal couldn't be written: {error}"
                each.stands.errback(Failure(NoQuorum(why)))


def _first(entries: deque[Entry], most: int) -> list[Entry]:
    return [entries.popleft() for _ in range(min(most, len(entries)))]
