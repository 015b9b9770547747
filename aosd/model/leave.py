"""How far a cluster has come in being left: what its register tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """What leaving is at."""

    NONE = ""
    GATHERING = "gathering"  # one node is getting a copy of everything
    MENDING = "mending"  # waiting until every copy is where it belongs
    STOPPING = "stopping writes"  # no new ones are taken, those under way end
    BACK = "going back"  # it was undone, and a node's weight isn't what it was yet
    CLEANING = "cleaning"  # aosd's own records go; there is no way back
    LEFT = "left"


UNDOABLE = (Phase.GATHERING, Phase.MENDING, Phase.STOPPING)


@dataclass(frozen=True, slots=True)
class Leave:
    """A cluster's leaving.

    `gather` is the node that gets a copy of everything, and `weight` what it had before.
    `nodes` are those that aosd's records are yet to be removed from, once that has begun;
    `known`: all of them have this register, so that each can tell what became of the others.
    """

    phase: Phase = Phase.NONE
    gather: str | None = None
    weight: float | None = None
    nodes: tuple[str, ...] = ()
    known: bool = False

    def value(self) -> dict[str, Any]:
        """As its register has it."""
        return {
            "phase": str(self.phase),
            "gather": self.gather,
            "weight": self.weight,
            "nodes": list(self.nodes),
            "known": self.known,
        }


@dataclass
class Plan:
    """What leaving will do. `refusal` says why it can't begin now, `waits` what it waits for.

    `nodes` are those that aosd's records are removed from, `uploads` (bucket and key, 1,000 at
    most) and `uploads_in_all` the open ones that will be aborted, and `unexplained` counts the
    copies that the last sweep has reported: they stay where they are. `forecast` is what moves
    until every copy is where it belongs, and how long that takes; None: `no_forecast` says why.
    """

    nodes: list[str]
    refusal: str = ""
    waits: list[str] = field(default_factory=list)
    marks: int = 0
    unexplained: int = 0
    uploads: list[str] = field(default_factory=list)
    uploads_in_all: int = 0
    gather: dict[str, Any] | None = None
    forecast: dict[str, Any] | None = None
    no_forecast: str = ""

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "nodes": self.nodes,
            "refusal": self.refusal,
            "waits": self.waits,
            "marks": self.marks,
            "unexplained": self.unexplained,
            "uploads": self.uploads,
            "uploads_in_all": self.uploads_in_all,
            "gather": self.gather,
            "forecast": self.forecast,
            "no_forecast": self.no_forecast,
        }


def read_leave(value: Mapping[str, Any]) -> Leave:
    """What a register's value tells. Raises ValueError for one that is none of ours."""
    try:
        gather, weight = value.get("gather"), value.get("weight")
        return Leave(
            Phase(str(value["phase"])),
            None if gather is None else str(gather),
            None if weight is None else float(weight),
            tuple(str(each) for each in value.get("nodes", ())),
            bool(value.get("known")),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("how far the cluster is left can't be read") from error
