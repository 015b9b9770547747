"""What a part of the benchmark runs on: nodes of its own, null nodes before them, a daemon."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.daemon import start_daemon
from bench.load import Payload
from bench.nginx import start_null_nodes
from bench.nodes import ports_of, start_nodes
from bench.rounds import Tell
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode, write_nodes_file


@dataclass(frozen=True)
class Plan:
    """How much is measured. `seconds` is how long a sample of small requests takes."""

    rounds: int
    seconds: float
    keys: int
    payload: Payload
    home: Path
    tell: Tell


@dataclass(frozen=True)
class Stage:
    """A daemon that founded a cluster of its own, which is settled.

    `ports` are those that it asks its nodes at: null nodes', or the nodes' own.
    """

    daemon: Daemon
    nodes: Sequence[RealNode]
    ports: Sequence[int]
    folder: Path


def stage(
    stack: ExitStack,
    plan: Plan,
    *,
    replicas: int = 1,
    express: bool = True,
    logged: bool = False,
    null: bool = True,
    environment: dict[str, str] | None = None,
) -> Stage:
    """Set one up, which `stack` ends, with all that is on its disks."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="stage-", dir=plan.home)))
    nodes = start_nodes(stack, folder / "nodes")
    ports = ports_of(nodes)
    if null:
        ports = start_null_nodes(stack, folder / "null", plan.payload.file.parent, ports)
    file = write_nodes_file(folder / "nodes.toml", nodes, ports)
    daemon = start_daemon(
        stack, folder / "aosd", file, replicas, environment, express=express, logged=logged
    )
    return Stage(daemon, nodes, ports, folder)
