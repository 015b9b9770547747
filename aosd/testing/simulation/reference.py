"""What clients may see: the promise, as a model beside the store.

Each write (a delete is one, of nothing) has the time it began and the time it ended: was
acknowledged, failed, or lost its gateway. Its stamp is given within that time, and stamps
never go back. So of two writes of a key, the one that ended before the other began is the
older one; for the rest the order isn't known beforehand, but is learned: a read that returns
W says that no write acknowledged before that read began is newer than W.

A read may return W unless an acknowledged write X, whose answer came before the read began,
is newer than W: by time, by what was learned, or by both in a chain. A write that wasn't
acknowledged may appear and disappear until such an X is there. The first "write" of a key is
a delete before all time.

An object that lay on a node before that was adopted is a write, too: older than all that
clients did, newer than nothing at all, and of two of them the one last modified is the newer
one. It may be seen from when its node is to be adopted, and must be from when that was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

Value = bytes | None
"""An object's bytes; None for no object."""

_LONG_AGO_S = 1e12


class Outcome(StrEnum):
    """How a write ended."""

    RUNNING = "running"
    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"  # an error of the cluster's, or nobody left to answer
    NEVER = "never"  # refused before anything was sent


class PromiseBroken(AssertionError):
    """The store did what it must not."""


@dataclass(eq=False)
class Write:
    """A PUT, or with `value` None a DELETE; `etag` is what its acknowledgement told.

    `known_s` is when it was acknowledged, for an adopted object; for all else that is the end.
    """

    number: int
    key: str
    value: Value
    began_s: float
    ended_s: float = float("inf")
    outcome: Outcome = Outcome.RUNNING
    etag: str = ""
    only_if_new: bool = False
    beside: Write | None = None
    known_s: float | None = None

    def __repr__(self) -> str:
        what = "nothing" if self.value is None else f"{self.value[:12]!r}…{len(self.value)}"
        return (
            f"<{self.number} {self.key}={what} {self.outcome}"
            f" {self.began_s:.3f}..{self.ended_s:.3f}>"
        )


@dataclass
class _Key:
    writes: list[Write] = field(default_factory=list)
    learned: dict[Write, set[Write]] = field(default_factory=lambda: defaultdict(set))
    """Which writes are known to be newer than one, beside those that began after it ended."""
    present: list[Write] | None = None
    """What a read may return that begins now, if that was found out since the last change."""


class Reference:
    """All writes that clients made, and what they may read.

    What is kept `beside` the bytes (an object's tags) comes and goes with each write, and may
    be written by itself.
    """

    def __init__(self, now: Callable[[], float], beside: Reference | None = None) -> None:
        self._now = now
        self._keys: dict[str, _Key] = {}
        self._number = 0
        self._reads: dict[int, float] = {}
        self._beside = beside
        self.acknowledged = 0

    # -- what clients do --------------------------------------------------------------------------

    def began(
        self, key: str, value: Value, *, only_if_new: bool = False, tags: bytes = b""
    ) -> Write:
        """A write is on its way; `tags` are what is beside its bytes."""
        self._number += 1
        write = Write(self._number, key, value, self._now(), only_if_new=only_if_new)
        there = self._of(key)
        there.writes.append(write)
        there.present = None
        if self._beside is not None:
            write.beside = self._beside.began(key, None if value is None else tags)
        return write

    def ended(self, write: Write, outcome: Outcome, etag: str = "", *, gone: bool = False) -> None:
        """Its answer came, or never will; `gone`: its client went, the gateway goes on."""
        if write.outcome is not Outcome.RUNNING:
            return
        if self._beside is not None and write.beside is not None:
            self._beside.ended(write.beside, outcome, gone=gone)
        write.outcome = outcome
        if not gone:
            write.ended_s = self._now()
        write.etag = etag
        there = self._of(write.key)
        there.present = None
        if outcome is Outcome.NEVER:
            there.writes.remove(write)
        if outcome is Outcome.ACKNOWLEDGED:
            self.acknowledged += 1
            if write.only_if_new:
                self._check_created(write, there)
        self._forget_old(there)

    def read_began(self, back_s: float = 0.0) -> int:
        """A read is on its way; `read_ended` gives when it began.

        With `back_s` it counts as begun so long ago: it may show what was so then.
        """
        self._number += 1
        self._reads[self._number] = self._now() - back_s
        return self._number

    def read_ended(self, read: int) -> float:
        """It got its answer, or none."""
        return self._reads.pop(read)

    def found(self, key: str, value: Value, began_s: float, what: str) -> None:
        """A read (`what`) that began then, and ends now, gave this value."""
        there = self._of(key)
        candidates = [each for each in there.writes if each.value == value]
        if not candidates:
            raise PromiseBroken(f"{what} of {key} gave what nobody wrote: {value!r}")
        settled = self._acknowledged_before(there, began_s)
        possible = [each for each in candidates if not self._superseded(there, each, settled)]
        if not possible:
            newer = [each for each in settled if self._is_newer(there, candidates[-1], each)]
            raise PromiseBroken(
                f"{what} of {key}, begun {began_s:.3f}, gave {candidates[-1]},"
                f" older than what was acknowledged: {newer}"
            )
        if len(possible) == 1:
            (seen,) = possible
            there.present = None
            for each in settled:
                if each is not seen:
                    there.learned[each].add(seen)

    def may_be(self, key: str, began_s: float) -> list[Write]:
        """All that a read which began then, and ends now, may return."""
        there = self._of(key)
        settled = self._acknowledged_before(there, began_s)
        return [each for each in there.writes if not self._superseded(there, each, settled)]

    def all_idle(self) -> None:
        """No gateway is at work on anything any more: what was begun has ended."""
        for there in self._keys.values():
            there.present = None
            for write in there.writes:
                if write.outcome is Outcome.UNKNOWN:
                    write.ended_s = min(write.ended_s, self._now())

    @property
    def keys(self) -> Iterable[str]:
        """Every key that somebody wrote."""
        return list(self._keys)

    def running(self) -> bool:
        """Whether any write hasn't ended."""
        return any(
            write.outcome is Outcome.RUNNING
            for there in self._keys.values()
            for write in there.writes
        )

    # -- what was there before --------------------------------------------------------------------

    def brought(self, key: str, value: bytes, modified_s: float) -> Write:
        """An object of a node that is to be adopted; `adopted` says when it counts."""
        self._number += 1
        at_s = modified_s - _LONG_AGO_S
        write = Write(self._number, key, value, at_s, at_s, Outcome.UNKNOWN)
        there = self._of(key)
        there.writes.append(write)
        there.present = None
        if self._beside is not None:
            write.beside = self._beside.brought(key, b"", modified_s)
        return write

    def adopted(self, write: Write, etag: str = "") -> None:
        """Its node has been: from now on it is there, unless a client has written the key."""
        write.outcome, write.known_s, write.etag = Outcome.ACKNOWLEDGED, self._now(), etag
        self._of(write.key).present = None
        if self._beside is not None and write.beside is not None:
            self._beside.adopted(write.beside)

    # -- inside -----------------------------------------------------------------------------------

    def _of(self, key: str) -> _Key:
        there = self._keys.get(key)
        if there is None:
            there = self._keys[key] = _Key()
            first = Write(0, key, None, float("-inf"), float("-inf"), Outcome.ACKNOWLEDGED)
            there.writes.append(first)
        return there

    def _acknowledged_before(self, there: _Key, began_s: float) -> list[Write]:
        return [
            each
            for each in there.writes
            if each.outcome is Outcome.ACKNOWLEDGED
            and (each.ended_s if each.known_s is None else each.known_s) <= began_s
        ]

    def _superseded(self, there: _Key, write: Write, settled: list[Write]) -> bool:
        return any(self._is_newer(there, write, each) for each in settled)

    def _is_newer(self, there: _Key, older: Write, newer: Write) -> bool:
        """Whether `newer` is known to be that."""
        if older is newer:
            return False
        if older.ended_s <= newer.began_s:
            return True
        if not there.learned:
            return False
        # What began after any write that is known to be newer ended is newer, too.
        earliest_s, reached, todo = older.ended_s, {older}, [older]
        while todo:
            after = set(there.learned.get(todo.pop(), ()))
            after |= {each for each in there.writes if earliest_s <= each.began_s}
            if newer in after:
                return True
            todo += after - reached
            reached |= after
            earliest_s = min([earliest_s, *(each.ended_s for each in after)])
        return False

    def _check_created(self, write: Write, there: _Key) -> None:
        """Two creations of one key need a delete that may have come between them."""
        for other in there.writes:
            if (
                other is write
                or not other.only_if_new
                or other.outcome is not (Outcome.ACKNOWLEDGED)
            ):
                continue
            first, last = sorted((other, write), key=lambda each: each.ended_s)
            between = any(
                each.value is None
                and each.began_s <= last.ended_s
                and each.ended_s >= first.began_s
                for each in there.writes
            )
            if not between:
                raise PromiseBroken(f"two creations of one key: {first} and {last}")

    def _forget_old(self, there: _Key) -> None:
        """Drop what can never be returned again, and teaches nothing."""
        if len(there.writes) < 24 or any(each.outcome is Outcome.RUNNING for each in there.writes):
            return
        # A read under way may return what was superseded since it began.
        settled = self._acknowledged_before(there, min(self._reads.values(), default=self._now()))
        old = {each for each in there.writes if self._superseded(there, each, settled)}
        there.writes = [each for each in there.writes if each not in old]
        kept = set(there.writes)
        there.learned = defaultdict(
            set,
            {
                each: newer & kept
                for each, newer in there.learned.items()
                if each in kept and newer & kept
            },
        )
