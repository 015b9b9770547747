"""What a node's client is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aosd.model.node import Address, Credentials
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a node may take, in seconds; never one for all.

    `first_byte_s` of an answer to a request without a body; `stall_s` without taking or
    giving a byte; `answer_s` after a body's last byte; `complete_s` for a Complete;
    `client_stall_s` that a client may take nothing of a download.
    """

    first_byte_s: float = 30.0
    stall_s: float = 10.0
    answer_s: float = 30.0
    complete_s: float = 300.0
    client_stall_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What both lanes' clients of a node have in common.

    `now` gives seconds since 1970 (signatures need the time of day; `reactor` measures). At most
    `connections` idle ones are kept. At most `most_waiting` requests wait for an answer to begin
    (None: as many as come).
    """

    name: str
    address: Address
    credentials: Credentials
    reactor: Any
    now: Callable[[], float]
    health: IHealth
    metrics: Metrics
    deadlines: Deadlines = Deadlines()
    connect_timeout_s: float = 1.5
    connections: int = 64
    most_waiting: int | None = None
