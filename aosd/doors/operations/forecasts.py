"""What an act on a node would move, told before it is asked for."""

from __future__ import annotations

from dataclasses import replace

from aosd.assembly import Assembly
from aosd.cluster.acts import undone
from aosd.model.errors import BadRequest, ChangeRefused, NoNodes, NoSuchNode
from aosd.model.ring import Ring
from aosd.model.standing import Act, ring_members
from aosd.repair.conflicts import Conflicts
from aosd.repair.forecast import Forecast

_ACTS = {
    "drain": Act.DRAIN,
    "undrain": Act.UNDRAIN,
    "weight": Act.WEIGH,
    "zone": Act.REZONE,
    "remove": Act.REMOVE,
}


class Forecasts:
    """Finds the rings that an act leads from and to, and lets listings be compared with them."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._changes = assembly.changes
        self._forecaster = assembly.forecaster

    async def __call__(
        self,
        act: str,
        name: str,
        *,
        weight: float | None = None,
        zone: str | None = None,
        lose: bool = False,
    ) -> Forecast:
        """See IForecasts: of each act but those that can't be asked of a node.

        Raises BadRequest, NoSuchNode, ChangeRefused for what would be refused as things are,
        and a ClusterError; that a node can't be removed yet stands in the forecast.
        """
        if why := self._assembly.store.absent():
            raise NoNodes(why)
        if act == "adopt":
            return await self._of_adopting(name)
        if act == "undo":
            present, coming = self._undone(name)
        elif act in _ACTS:
            present, coming = self._changes.proposed(_ACTS[act], name, weight=weight, zone=zone)
        else:
            raise BadRequest(f"nothing is to be foretold of {act!r}")
        refusal = ""
        if act == "remove":
            refusal = await self._changes.why_not_removed(name, lose=lose)
        return replace(await self._forecaster.forecast(present, coming), refusal=refusal)

    async def _of_adopting(self, name: str) -> Forecast:
        assembly = self._assembly
        present, coming = self._changes.proposed(Act.JOIN, name)
        watched = assembly.roster.watched[name]
        if watched.incarnation is not None:
            raise ChangeRefused(f"node {name} is a member")
        if watched.node is None or watched.introduction is None:
            raise ChangeRefused(f"node {name} can't be listed now: {watched.why}")
        members = assembly.roster.members()
        nodes = {each.name: each.node for each in members if each.node is not None}
        nodes[name] = watched.node
        hides = watched.hides is not False or any(each.hides is not False for each in members)
        conflicts = Conflicts([name], nodes, assembly.journal, hides=hides)
        found = await self._forecaster.forecast(
            present, coming, adopted=watched.node, look=conflicts.look_at
        )
        return replace(
            found,
            refusal=watched.introduction.problem,
            conflicts=[each.told() for each in conflicts.listed],
            conflicts_in_all=conflicts.in_all,
        )

    def _undone(self, name: str) -> tuple[Ring, Ring]:
        standings = {each.name: each for each in self._changes.standings()}
        if name not in standings:
            raise NoSuchNode(f"no node {name} is known")
        present = Ring(ring_members(standings.values()))
        standings[name] = undone(standings[name], "")
        return present, Ring(ring_members(standings.values()))
