"""All nodes' listings of a bucket side by side: each key once, in S3's order, with who has it.

Servers disagree on that order: see `aosd.consistency.listed`. Here all are asked level by
level, whatever is known of their order.

What MinIO hides isn't found: while there is an object `a`, it lists no `a/b`, with a delimiter
or without, not even under the prefix `a/`. A key that another node lists is looked at on all
its nodes all the same; one that only such nodes have comes to light when `a` goes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.consistency.listed import PAGE_KEYS, Level
from aosd.consistency.writes import Writes
from aosd.model.errors import NodeError, NodeRefused
from aosd.model.objects import Entry
from aosd.ports import INode

_NOT_FOUND = 404
_TRIES = 3
_RETRY_S = 1.0
_WINDOW_S = 10.0
_WINDOWS = 6
_STALE_WINDOWS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A key, and the nodes that list it; all pages that say so are of `window` or later."""

    key: str
    entries: Mapping[str, Entry]
    window: int


class Windows:
    """What was written of late, in windows of some seconds, so that it doesn't add up.

    A page is of the window that was open when it was asked for. `roll` is to be called
    every `_WINDOW_S` seconds or so; a page of a window that was forgotten is stale.

    A node may answer with a page of some seconds ago. `touched_about` speaks of the windows
    before, too.
    """

    interval_s = _WINDOW_S

    def __init__(self, writes: Writes) -> None:
        self.current = 0
        self._oldest = 0
        # In which window each key was written last, the longest ago first.
        # A dict would look through all places of what was removed for the first that wasn't.
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._writes = writes
        self._end = writes.tell(self._touch)

    def roll(self) -> None:
        """Open another window, and forget the oldest."""
        self.current += 1
        self._oldest = max(0, self.current - _WINDOWS + 1)
        while self._last:
            name = next(iter(self._last))
            if self._last[name] >= self._oldest:
                return
            del self._last[name]

    def is_stale(self, window: int) -> bool:
        """Whether it isn't known any more what was written since."""
        return window < self._oldest

    def touched(self, window: int, bucket: str, key: str) -> bool:
        """Whether a write of the key took effect, or may have, since the window was opened."""
        return self._last.get((bucket, key), -1) >= window

    def touched_about(self, window: int, bucket: str, key: str) -> bool:
        """As `touched`, or up to half a minute before the window; True when it isn't known."""
        before = window - _STALE_WINDOWS
        return before < self._oldest or self.touched(before, bucket, key)

    def of_late(self, bucket: str) -> set[str]:
        """The bucket's keys that were written within the last minute, and not deleted since."""
        return self._writes.of_late(bucket)

    def end(self) -> None:
        """Forget all."""
        self._end()
        self._last.clear()

    def _touch(self, name: tuple[str, str]) -> None:
        self._last[name] = self.current
        self._last.move_to_end(name)


class Walk:
    """Goes through a bucket on `nodes`, from after the key `after`.

    A node that can't be listed, after some tries, is told to `lost`, and left out from there
    on; one without the bucket has no keys. While `wants_stamps`, which is asked before each
    page, entries have theirs, where nodes tell.
    """

    def __init__(
        self,
        nodes: Mapping[str, INode],
        bucket: str,
        after: str,
        windows: Windows,
        clock: IReactorTime,
        lost: Callable[[str], object],
        page_keys: int = PAGE_KEYS,
        wants_stamps: Callable[[], bool] = lambda: False,
    ) -> None:
        self._nodes = dict(nodes)
        self._page_keys = page_keys
        self._bucket = bucket
        self._after = after
        self._windows = windows
        self._clock = clock
        self._lost = lost
        self._wants_stamps = wants_stamps

    async def batches(self, size: int) -> AsyncIterator[list[Found]]:
        """The keys in order, up to `size` at a time."""
        levels = [self._level("", self._nodes, "")]
        prefix = ""
        for segment in self._after.split("/")[:-1] if self._after else ():
            deeper = f"{prefix}{segment}/"
            levels[-1] = self._level(prefix, self._nodes, deeper)
            levels.append(self._level(deeper, self._nodes, ""))
            prefix = deeper
        if self._after:
            levels[-1] = self._level(prefix, self._nodes, self._after)
        while levels:
            level = levels[-1]
            await level.fill()
            batch, folder = level.take(size)
            if batch:
                yield batch
            if folder is not None:
                name, names = folder
                within = {each: node for each, node in self._nodes.items() if each in names}
                levels.append(self._level(name, within, ""))
            elif level.over:
                levels.pop()

    def _level(self, prefix: str, nodes: Mapping[str, INode], after: str) -> _Level:
        names = [
            _Names(
                node,
                self._bucket,
                prefix,
                after,
                self._page_keys,
                wants_stamps=self._wants_stamps,
            )
            for node in nodes.values()
        ]
        return _Level(names, after, self._windows, self._clock, self._leave_out)

    def _leave_out(self, name: str) -> None:
        self._nodes.pop(name, None)
        self._lost(name)


class _Level:
    """One level of the tree on several nodes, merged."""

    _log = Logger()

    def __init__(
        self,
        nodes: list[_Names],
        after: str,
        windows: Windows,
        clock: IReactorTime,
        leave_out: Callable[[str], object],
    ) -> None:
        self.over = False
        self._nodes = nodes
        self._last = after
        self._windows = windows
        self._clock = clock
        self._leave_out = leave_out

    async def fill(self) -> None:
        """Have the next names of every node, of pages that aren't stale."""
        waiting: list[Deferred[None]] = []
        for names in self._nodes:
            if self._windows.is_stale(names.window):
                names.restart(self._last)
            if not names.ready and not names.ended:
                waiting.append(Deferred.fromCoroutine(self._ask(names)))
        outcomes: Any = await DeferredList(waiting, consumeErrors=True)
        for _, outcome in outcomes:
            if isinstance(outcome, Failure):
                outcome.raiseException()

    def take(self, size: int) -> tuple[list[Found], tuple[str, Sequence[str]] | None]:
        """Up to `size` keys that are certain, and the folder that comes next, if one does."""
        found: list[Found] = []
        nodes = self._nodes
        window = min((names.window for names in nodes), default=0)
        while len(found) < size:
            least: bytes | None = None
            for names in nodes:
                if names.ready:
                    name = names.ready[0][0]
                    if least is None or name < least:
                        least = name
                elif not names.ended:
                    return found, None
            if least is None:
                self.over = True
                return found, None
            here: dict[str, Entry] = {}
            folders: list[str] = []
            for names in nodes:
                if names.ready and names.ready[0][0] == least:
                    _, self._last, entry = names.ready.popleft()
                    if entry is None:
                        folders.append(names.node.name)
                    else:
                        here[names.node.name] = entry
            if here:
                found.append(Found(self._last, here, window))
            if folders:
                return found, (self._last, folders)
        return found, None

    async def _ask(self, names: _Names) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                while not names.ready and not names.ended:
                    # The window is noted before the page is asked for: see Windows.
                    names.window = self._windows.current
                    await names.ask()
                return
            except NodeError as error:
                if isinstance(error, NodeRefused) and error.status == _NOT_FOUND:
                    names.ended = True
                    return
                self._log.info("no listing: {error}", error=error, node=names.node.name)
                if not tries_left:
                    self._nodes.remove(names)
                    self._leave_out(names.node.name)
                    return
            await deferLater(self._clock, _RETRY_S)


class _Names(Level):
    """What one node has at one level; all pages that say so are of `window` or later."""

    def restart(self, after: str) -> None:
        """Begin anew, after a name (exclusive)."""
        super().restart(after)
        # What was asked for newly is of no window that could be stale before it was asked.
        self.window = 1 << 62
