"""What integration and fault tests share: real nodes, and a daemon in front of them.

Nodes have one gateway at a time, so whoever starts a daemon of its own beside the shared one
takes the other nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file

NAMES = ("n1", "n2", "n3")
UP = dict.fromkeys(NAMES, "up")


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Three real S3 servers that no test breaks; the shared daemon's."""
    with running_nodes(tmp_path_factory.mktemp("nodes"), NAMES) as running:
        yield running


@pytest.fixture(scope="session")
def nodes_file(nodes: list[RealNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static file that names them."""
    return write_nodes_file(tmp_path_factory.mktemp("static") / "nodes.toml", nodes)


@pytest.fixture(scope="session")
def daemon(nodes_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with default settings and three nodes, for tests that leave it as it was."""
    with running_daemon(tmp_path_factory.mktemp("daemon"), nodes_file, up=NAMES) as running:
        yield running


@pytest.fixture(scope="session")
def other_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Three more, a cluster already, for daemons that are started one after the other."""
    folder = tmp_path_factory.mktemp("others")
    with running_nodes(folder, NAMES) as running:
        file = write_nodes_file(folder / "nodes.toml", running)
        with running_daemon(folder / "founder", file, up=NAMES):
            pass
        yield running


@pytest.fixture(scope="session")
def other_file(other_nodes: list[RealNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static file that names those."""
    return write_nodes_file(tmp_path_factory.mktemp("static") / "others.toml", other_nodes)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An id that no other test has."""
    return md5(request.node.nodeid.encode(), usedforsecurity=False).hexdigest()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """When tests run side by side, those of a module share what it sets up, in one process.

    And there is one Docker Engine for all who need one. First of all: xdist reads the groups
    in a hook of its own.
    """
    for item in items:
        needs_docker = "docker_engine" in getattr(item, "fixturenames", ())
        group = "docker" if needs_docker else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
