"""Nodes that are asked for more before anybody needs it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Ahead:
    """What is being asked ahead, of each node one thing at a time, by its name.

    Until it has ended it is in `going_on`, too. What fails before anybody needs it is forgotten:
    the node is asked anew then.
    """

    def __init__(self, going_on: set[Deferred[None]]) -> None:
        self._going_on = going_on
        self._asking: dict[str, Deferred[None]] = {}

    def __len__(self) -> int:
        """How many answers are still to come."""
        return len(self._asking)

    def __contains__(self, name: str) -> bool:
        """Whether one is, of this node."""
        return name in self._asking

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do it; the node may be asked nothing else ahead until that has ended."""
        asking = Deferred.fromCoroutine(work)
        self._asking[name] = asking
        self._going_on.add(asking)

        def over(outcome: T) -> T | None:
            self._going_on.discard(asking)
            if self._asking.get(name) is not asking:
                return outcome  # somebody waits for it
            del self._asking[name]
            return None

        asking.addBoth(over)

    def take(self, name: str) -> Deferred[None] | None:
        """What is to be waited for, by the caller alone, before the node is asked again."""
        return self._asking.pop(name, None)

    def end(self) -> None:
        """Give all of it up."""
        for each in list(self._asking.values()):
            each.cancel()
