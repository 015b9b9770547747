"""What operators do to nodes and to the cluster, by POST."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from aosd.consistency.to_the_end import ToTheEnd
from aosd.doors.operations.powers import IChanges, IForecasts, ILeaving, IRepair
from aosd.doors.operations.queries import number_of, switch_of, word_of
from aosd.gateway.store import cluster_errors
from aosd.model.errors import BadRequest
from aosd.model.standing import Standing

ACCEPTED, DONE = 202, 200

_DRY_RUN = "dry_run"
_WEIGHT = "a weight from 0.1 to 100, or 0: draining"


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: its status, and what it tells."""

    status: int
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """An act on a node: what does it, and what a forecast has to know of it."""

    work: Callable[[], Coroutine[Any, Any, Standing | None]]
    more: Mapping[str, Any] = field(default_factory=dict)


class Acts:
    """Carries out what was asked for.

    What changes something goes on to its end when its client leaves: half of it would be
    neither what was nor what was asked for. `told` gives what `/-/changes` tells.
    """

    _log = Logger()

    def __init__(
        self,
        changes: IChanges,
        forecasts: IForecasts,
        repair: IRepair,
        leaving: ILeaving,
        to_the_end: ToTheEnd,
        told: Callable[[], dict[str, Any]],
    ) -> None:
        self._changes = changes
        self._forecasts = forecasts
        self._repair = repair
        self._leaving = leaving
        self._to_the_end = to_the_end
        self._told = told

    @staticmethod
    def parameters(act: str) -> tuple[str, ...]:
        """The names of parameters that an act on a node takes."""
        of_its_own = {"weight": ("to",), "zone": ("to",), "remove": ("lose",)}
        return (*of_its_own.get(act, ()), _DRY_RUN)

    async def on_node(self, name: str, act: str, query: Mapping[str, str]) -> Told:
        """Do it, or with `dry_run=1` tell what it would move.

        Raises BadRequest, NoSuchNode, ChangeRefused, or a ClusterError.
        """
        asked = self._asked(name, act, query)
        if switch_of(query, _DRY_RUN):
            with cluster_errors():
                found = await self._forecasts(act, name, **asked.more)
            return Told(DONE, found.told())
        with cluster_errors():
            standing = await self._to_the_end.run(asked.work())
        self._log.info("asked to {act} node {node}", act=act, node=name, query=dict(query))
        return Told(
            ACCEPTED,
            {
                "node": name,
                "standing": None if standing is None else standing.value(),
                "queued": standing is not None and standing.queued is not None,
                "changes": self._told(),
            },
        )

    async def start_repair(self, query: Mapping[str, str]) -> Told | None:
        """Go on with what was paused, and begin a sweep. Raises a ClusterError.

        With `dry_run=1` tell what it would find instead; what is paused stays so.
        """
        if switch_of(query, _DRY_RUN):
            with cluster_errors():
                return Told(DONE, (await self._forecasts.of_sweep()).told())
        await self._to_the_end.run(self._repair.resume())
        self._repair.start_sweep()
        self._log.info("asked to start repair")
        return None

    async def pause_repair(self, query: Mapping[str, str]) -> Told | None:
        """No sweeps until it is started; with `dry_run=1` tell what would stand still.

        Raises a ClusterError.
        """
        if switch_of(query, _DRY_RUN):
            self._repair.check_pause()
            return Told(DONE, {"sweep": self._repair.report()["sweep"], "changes": self._told()})
        await self._to_the_end.run(self._repair.pause())
        self._log.info("asked to pause repair")
        return None

    async def leave(self, query: Mapping[str, str]) -> Told:
        """Begin to leave, or with `dry_run=1` tell what that would do. Raises as `on_node`."""
        gather = query.get("gather")
        if gather is not None:
            word_of(query, "gather", "the name of a node")
        with cluster_errors():
            if switch_of(query, _DRY_RUN):
                return Told(DONE, (await self._leaving.plan(gather)).told())
            await self._to_the_end.run(self._leaving.leave(gather))
        self._log.info("asked to leave", gather=gather)
        return self._how_far(ACCEPTED)

    async def stay(self, query: Mapping[str, str]) -> Told:
        """Leave no more, or with `dry_run=1` tell what that would take back.

        Raises ChangeRefused when there is no way back, or a ClusterError.
        """
        if switch_of(query, _DRY_RUN):
            return Told(DONE, self._leaving.undoing())
        with cluster_errors():
            await self._to_the_end.run(self._leaving.cancel())
        self._log.info("asked to leave no more")
        return self._how_far(ACCEPTED)

    # -- inside -----------------------------------------------------------------------------------

    def _how_far(self, status: int) -> Told:
        return Told(status, {"leaving": self._leaving.told(), "changes": self._told()})

    def _asked(self, name: str, act: str, query: Mapping[str, str]) -> _Asked:
        changes = self._changes
        match act:
            case "drain":
                return _Asked(lambda: changes.drain(name))
            case "undrain":
                return _Asked(lambda: changes.undrain(name))
            case "weight":
                weight = number_of(query, "to", _WEIGHT)
                return _Asked(lambda: changes.weigh(name, weight), {"weight": weight})
            case "zone":
                zone = word_of(query, "to", "the name of a zone")
                return _Asked(lambda: changes.rezone(name, zone), {"zone": zone})
            case "remove":
                lose = switch_of(query, "lose")
                return _Asked(lambda: changes.remove(name, lose=lose), {"lose": lose})
            case "adopt":
                return _Asked(lambda: changes.adopt(name))
            case "undo":
                return _Asked(lambda: changes.undo(name))
        raise BadRequest(f"{act!r} can't be asked of a node")
