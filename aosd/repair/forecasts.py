"""Forecasts of acts on nodes, by what the acts are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from aosd.model.errors import BadRequest, ChangeRefused, NoNodes
from aosd.model.ring import Ring
from aosd.model.standing import Act
from aosd.ports import INode
from aosd.repair.forecast import Forecast, Forecaster
from aosd.repair.walk import Found

_ACTS = {
    "drain": Act.DRAIN,
    "undrain": Act.UNDRAIN,
    "weight": Act.WEIGH,
    "zone": Act.REZONE,
    "remove": Act.REMOVE,
    "adopt": Act.JOIN,
}


class IOutlook(Protocol):
    """What has to be known of changes; see aosd.cluster.outlook.Outlook."""

    def rings(self) -> tuple[Ring, Ring]:
        """The former ring and the coming one; while none changes both are the one that is."""

    def proposed(
        self, act: Act, name: str, *, weight: float | None = None, zone: str | None = None
    ) -> tuple[Ring, Ring]:
        """The ring that is, and the one that the act would make. Raises as the act would."""

    def undoing(self, name: str) -> tuple[Ring, Ring]:
        """The same of taking back what was asked for. Raises as that would."""

    async def check_return(self, name: str) -> None:
        """Raise ChangeRefused when a drained node can't come back, as it holds something."""

    async def why_not_removed(self, name: str, *, lose: bool = False) -> str:
        """Why the node can't be removed; "" when it can."""


class ITold(Protocol):
    """Something that was found out."""

    def told(self) -> dict[str, str]:
        """For JSON."""


class IConflicts(Protocol):
    """Gathers what adopting a node decides; see aosd.repair.conflicts.Conflicts."""

    @property
    def listed(self) -> Sequence[ITold]:
        """What was found, or the first of it."""

    @property
    def in_all(self) -> int:
        """How many were found."""

    async def look_at(self, bucket: str, batch: Sequence[Found]) -> None:
        """Look at some keys."""


class Forecasts:
    """Asks for what an act would do, and goes through the listings for it.

    `node_of` gives a node that is known, if it can be asked, and `consented` those that wait to be
    adopted; `conflicts` gives who gathers them when the first of some is adopted beside the
    others. `absent` says why nothing can be told yet ("": it can).
    """

    def __init__(
        self,
        outlook: IOutlook,
        forecaster: Forecaster,
        node_of: Callable[[str], INode | None],
        consented: Callable[[], Sequence[INode]],
        conflicts: Callable[[Sequence[INode]], IConflicts],
        absent: Callable[[], str],
    ) -> None:
        self._outlook = outlook
        self._forecaster = forecaster
        self._node_of = node_of
        self._consented = consented
        self._conflicts = conflicts
        self._absent = absent

    async def __call__(
        self,
        act: str,
        name: str,
        *,
        weight: float | None = None,
        zone: str | None = None,
        lose: bool = False,
    ) -> Forecast:
        """What `act` (the last part of its path) would move; nothing is changed.

        Raises as the act would, but for a removal that would lose something: that is in
        `refusal`, beside the figures. Cancelling ends it.
        """
        if why := self._absent():
            raise NoNodes(why)
        if act == "undo":
            return await self._forecaster.forecast(*self._outlook.undoing(name))
        if act not in _ACTS:
            raise BadRequest(f"{act!r} can't be asked of a node")
        rings = self._outlook.proposed(_ACTS[act], name, weight=weight, zone=zone)
        if act == "adopt":
            return await self._adopted(name, rings)
        refusal = ""
        if act == "undrain":
            await self._outlook.check_return(name)
        if act == "remove":
            refusal = await self._outlook.why_not_removed(name, lose=lose)
        return replace(await self._forecaster.forecast(*rings), refusal=refusal)

    async def of_sweep(self) -> Forecast:
        """What a sweep would find and take now: what lies wrong in the rings as they are.

        While the ring changes that is what the change has left to do. Raises NoNodes;
        cancelling ends it.
        """
        if why := self._absent():
            raise NoNodes(why)
        return await self._forecaster.forecast(*self._outlook.rings())

    async def _adopted(self, name: str, rings: tuple[Ring, Ring]) -> Forecast:
        node = self._node_of(name)
        if node is None:
            raise ChangeRefused(f"node {name} can't be asked what it holds now")
        # What these have in common is decided as well, before anybody can ask once more.
        beside = [each for each in self._consented() if each.name != name]
        conflicts = self._conflicts([node, *beside])
        made = await self._forecaster.forecast(
            *rings, adopted=node, beside=beside, look=conflicts.look_at
        )
        told: list[dict[str, Any]] = [each.told() for each in conflicts.listed]
        return replace(made, conflicts=told, conflicts_in_all=conflicts.in_all)
