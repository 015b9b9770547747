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
_MOST_BYTES = 4 * 1024 * 1024
_MOST_WAITING = 100_000
_MOST_WAITING_BYTES = 64 * 1024 * 1024


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

    The callers' come first, in batches of `most_lines` and some 4 MiB at most. As long as batches
    fail only a few of the failed ones go along: otherwise each that is refused would cost as much
    as all that were before it.
    """

    def __init__(self, most_lines: int) -> None:
        self._most_lines = most_lines
        self._along = _ALONG
        self._new: deque[Entry] = deque()
        self._failed: deque[Entry] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self._new) + len(self._failed)

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more: 100,000 lines or 64 MiB."""
        return len(self) >= _MOST_WAITING or self._size_bytes >= _MOST_WAITING_BYTES

    @property
    def has_failed(self) -> bool:
        """Whether there are lines that a batch failed with."""
        return bool(self._failed)

    def add(self, line: Line) -> Deferred[None]:
        """Fires when the line stands; NoQuorum when the batch that it was in failed."""
        stands: Deferred[None] = Deferred()
        self._new.append(Entry(line, line.to_text(), stands))
        self._size_bytes += len(self._new[-1].text)
        return stands

    def waits(self) -> bool:
        """Whether any caller does."""
        return any(each.waits() for each in self._new)

    def again(self) -> None:
        """All that failed may go with the next batch, as after one that stands."""
        self._along = self._most_lines

    def take(self) -> list[Entry]:
        """The next batch; to be given to `stood` or `failed`."""
        batch = _first(self._new, self._most_lines, _MOST_BYTES)
        along = min(self._along, self._most_lines - len(batch))
        batch = _first(self._failed, along, _MOST_BYTES - _size_bytes(batch)) + batch
        self._size_bytes -= _size_bytes(batch)
        return batch

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
        self._size_bytes += _size_bytes(batch)
        for each in batch:
            if each.stands is not None and each.waits():
                why = f"the journal couldn't be written: {error}"
                each.stands.errback(Failure(NoQuorum(why)))


def _first(entries: deque[Entry], most: int, most_bytes: int) -> list[Entry]:
    found: list[Entry] = []
    while entries and len(found) < most and most_bytes > 0:
        found.append(entries.popleft())
        most_bytes -= len(found[-1].text)
    return found


def _size_bytes(entries: Sequence[Entry]) -> int:
    # JSON is ASCII here.
    return sum(len(each.text) for each in entries)
