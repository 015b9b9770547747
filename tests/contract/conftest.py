"""One server of each kind for the whole run."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred

# Before its modules are imported, so that a case that fails shows its values.
pytest.register_assert_rewrite("aosd.testing.contract")

from aosd.nodes.express.node import ExpressNode  # noqa: E402
from aosd.nodes.s3 import S3Node  # noqa: E402
from aosd.ports import INode  # noqa: E402
from aosd.testing.contract.subject import MINIO, SEAWEEDFS, Traits  # noqa: E402
from aosd.testing.memory_node import MemoryNode  # noqa: E402
from tests.contract.servers import AlwaysWell, Server, on_path  # noqa: E402

T = TypeVar("T")

MIB = 1024 * 1024


@dataclass
class Candidate:
    """A node under the contract, and what its server is known for."""

    node: INode
    traits: Traits
    health: AlwaysWell


def wait_for(waiting: Coroutine[Any, Any, T] | Deferred[T]) -> T:
    """An asynchronous fixture can't last longer than a test."""
    result: T = pytest_twisted.blockon(ensureDeferred(waiting))
    return result


@pytest.fixture(
    scope="session",
    params=[
        "memory",
        "memory-as-a-tree",
        "seaweedfs",
        "seaweedfs-express",
        "minio",
        "minio-express",
    ],
)
def candidate(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Candidate]:
    from twisted.internet import reactor

    kind = request.param.removesuffix("-express")
    health = AlwaysWell()
    if kind == "memory":
        yield Candidate(
            MemoryNode("memory", least_part_bytes=5 * MIB, tells_stamps=True), MINIO, health
        )
        return
    if kind == "memory-as-a-tree":
        node = MemoryNode("memory", least_part_bytes=5 * MIB, tree_order=True, checks_sha256=False)
        yield Candidate(node, SEAWEEDFS, health)
        return
    if not on_path(kind):
        pytest.skip(f"no {kind} on PATH")
    server = Server(kind, tmp_path_factory.mktemp(kind), reactor)
    try:
        wait_for(server.start())
        real = server.node(health, client=ExpressNode if kind != request.param else S3Node)
        yield Candidate(real, SEAWEEDFS if kind == "seaweedfs" else MINIO, health)
        wait_for(real.close())
    finally:
        wait_for(server.stop())


@pytest.fixture(scope="module", params=["seaweedfs", "minio"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of each kind, for all tests of a module."""
    from twisted.internet import reactor

    if not on_path(request.param):
        pytest.skip(f"no {request.param} on PATH")
    server = Server(request.param, tmp_path_factory.mktemp(request.param), reactor)
    try:
        wait_for(server.start())
        yield server
    finally:
        wait_for(server.stop())
