"""What the operations door may do, as it sees it: acts on nodes, repair, leaving, forecasts."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from aosd.model.standing import Queued, Standing


class IChanges(Protocol):
    """Changes of the ring; see aosd.cluster.changes.Changes."""

    @property
    def changing(self) -> bool:
        """Whether one is under way."""

    def phase(self) -> str:
        """`copying`, `emptying`, or "" while none is under way."""

    def waiting_for(self) -> str:
        """What keeps it from being over, other than what has to be copied yet."""

    def standing(self, name: str) -> Standing | None:
        """Of a node; None when it was never taken in."""

    def queue(self) -> list[tuple[str, Queued]]:
        """What waits, in order."""

    async def drain(self, name: str) -> Standing:
        """Let all copies go elsewhere."""

    async def undrain(self, name: str) -> Standing:
        """Let it be a member again."""

    async def weigh(self, name: str, weight: float) -> Standing:
        """Give it another weight."""

    async def rezone(self, name: str, zone: str) -> Standing:
        """Give it another zone."""

    async def undo(self, name: str) -> Standing | None:
        """Take back what was asked for last."""

    async def remove(self, name: str, *, lose: bool = False) -> Standing:
        """Forget it."""

    async def adopt(self, name: str) -> Standing | None:
        """Take it in with its objects."""


class ITold(Protocol):
    """Something that was found out."""

    def told(self) -> dict[str, Any]:
        """For JSON."""


class IForecasts(Protocol):
    """Who walks the listings to find out what an act on a node, or a sweep, would move."""

    def __call__(
        self,
        act: str,
        name: str,
        *,
        weight: float | None = None,
        zone: str | None = None,
        lose: bool = False,
    ) -> Coroutine[Any, Any, ITold]:
        """`act` is the last part of its path. Raises as the act would; cancelling ends the walk."""

    def of_sweep(self) -> Coroutine[Any, Any, ITold]:
        """What a sweep would find. Raises NoNodes; cancelling ends the walk."""


class IRepair(Protocol):
    """What can be asked of the keeper."""

    def check_pause(self) -> None:
        """Raise NoQuorum when `pause` would, for all that is known."""

    def report(self) -> dict[str, Any]:
        """For JSON: the `sweep` that runs, among other things."""

    async def pause(self) -> None:
        """No sweeps from now on."""

    async def resume(self) -> None:
        """Sweeps again."""

    def start_sweep(self) -> None:
        """Begin one as soon as one can be run. Raises ChangeRefused while it is paused."""


class ILeaving(Protocol):
    """Taking aosd off the nodes; see aosd.cluster.leaving."""

    def told(self) -> dict[str, Any] | None:
        """How far it is; None while nobody asked for it."""

    async def plan(self, gather: str | None) -> ITold:
        """What it would do."""

    async def leave(self, gather: str | None) -> None:
        """Begin; it goes on by itself."""

    def undoing(self) -> dict[str, Any]:
        """What `cancel` would take back, for JSON. Raises NoQuorum as that does."""

    async def cancel(self) -> None:
        """Go back, while there is a way back."""
