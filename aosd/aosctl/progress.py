"""How far something is: a bar where a terminal is, otherwise a line now and then."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from aosd.aosctl.call import Call
from aosd.aosctl.words import brief, listed, many, seen, size, time

_LINE_EVERY_S = 10.0

_PHASES = {
    "copying": "copying to where it will belong",
    "emptying": "moving what is left",
}


class Display:
    """A context manager that shows what `/-/changes` tells, on standard error."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said = ""
        self._said_at_s = 0.0

    def __enter__(self) -> Display:
        """Nothing is shown yet."""
        if self._call.err.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[rest]}", markup=False),
                console=self._call.err,
                transient=True,
                expand=True,
            )
            self._task = self._bar.add_task("…", total=None, rest="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing of the bar."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, changes: Mapping[str, Any], waits_for: str = "") -> None:
        """Show how far it is now, or what is waited for while nothing changes."""
        if waits_for and not (changes.get("changing") or changes.get("queue")):
            self.note(waits_for)
            return
        progress = changes.get("progress") or {}
        if self._bar is not None:
            assert self._task is not None
            self._bar.update(
                self._task,
                description=in_a_word(changes),
                completed=progress.get("keys") or 0,
                total=progress.get("of_keys"),
                rest=seen(rest_of(changes, short=True)),
            )
            return
        what, rest = what_goes_on(changes), rest_of(changes)
        now = self._call.now()
        if what != self._said or now - self._said_at_s >= _LINE_EVERY_S:
            self._said, self._said_at_s = what, now
            self._call.say(f"{what}: {rest}" if rest else what)

    def note(self, words: str) -> None:
        """Show words instead: nobody knows how far it is."""
        if self._bar is not None:
            assert self._task is not None
            self._bar.update(self._task, description=seen(words), total=None, rest="")
        elif words != self._said:
            self._said, self._said_at_s = words, self._call.now()
            self._call.say(words)


def in_a_word(changes: Mapping[str, Any]) -> str:
    """What goes on, beside a bar."""
    leaving = (changes.get("leaving") or {}).get("phase")
    if changes.get("paused"):
        return "paused"
    return str(leaving or changes.get("phase") or "waiting")


def what_goes_on(changes: Mapping[str, Any]) -> str:
    """In a few words."""
    leaving = (changes.get("leaving") or {}).get("phase")
    progress = changes.get("progress") or {}
    names = [str(each) for each in progress.get("nodes") or []]
    if leaving:
        what = f"leaving, {leaving}"
    elif phase := changes.get("phase"):
        what = _PHASES.get(str(phase), str(phase))
        what += f" ({listed(names)})" if names else ""
    elif changes.get("queue"):
        what = "waiting for its turn"
    else:
        what = "nothing is changing"
    return f"paused: {what}" if changes.get("paused") else what


def rest_of(changes: Mapping[str, Any], *, short: bool = False) -> str:
    """Keys, rate and time left, as far as they are known; what is waited for where they aren't."""
    progress = changes.get("progress") or {}
    # That the ring is changing, which leaving waits for, says less than what keeps the change.
    waits = changes.get("waiting_for") or next(
        iter((changes.get("leaving") or {}).get("waits") or []), ""
    )
    # What a sweep does says more than that it isn't over yet.
    if not progress.get("phase") or (waits and not progress.get("keys")):
        return str(waits)
    keys, of_keys = int(progress.get("keys") or 0), progress.get("of_keys")
    of = "/" if short else " of "
    words = [f"{keys:,}{of}{of_keys:,} keys" if of_keys is not None else many(keys, "key")]
    if rate := progress.get("rate_keys_per_s"):
        words.append(f"{rate:,.0f}{'' if short else ' keys'}/s")
    if progress.get("seconds_left") is not None:
        left = brief if short else time
        words.append(f"{left(progress['seconds_left'])} left")
    return (" " if short else ", ").join(words)


def done_so_far(progress: Mapping[str, Any]) -> str:
    """What a change has copied and removed."""
    words = [f"{many(int(progress.get('copies') or 0), 'copy')} made"]
    words[0] += f" ({size(progress.get('bytes') or 0)})"
    if progress.get("removed"):
        words.append(f"{int(progress['removed']):,} removed")
    return f"{', '.join(words)} in {time(progress.get('seconds'))}"
