"""What integration and fault tests share: real nodes, and a daemon in front of them.

Nodes have one gateway at a time, so whoever starts a daemon of its own beside the shared one
takes the other nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file

NAMES = ("n1", "n2", "n3")
UP = dict.fromkeys(NAMES, "up")
_NEED_DOCKER = ("test_compose.py", "test_discovery_docker.py")
LANES = {"express": "--express=true", "standard": "--express=false"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of modules that ask for it with a daemon of each lane.

    Such a module has the name of the daemon's fixture as BOTH_LANES.
    """
    fixture = getattr(metafunc.module, "BOTH_LANES", None)
    if fixture in metafunc.fixturenames:
        flags = list(LANES.values())
        metafunc.parametrize(fixture, flags, ids=LANES, indirect=True, scope="session")


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
def daemon(
    nodes_file: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Daemon]:
    """A daemon with default settings and three nodes, for tests that leave it as it was.

    Its parameter, where a test has one, is a flag that tells the lane (see LANES).
    """
    flags = [request.param] if hasattr(request, "param") else []
    folder = tmp_path_factory.mktemp("daemon")
    with running_daemon(folder, nodes_file, *flags, up=NAMES) as running:
        yield running


@pytest.fixture(scope="session")
def other_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Three more, a cluster already, for daemons that are started one after the other.

    Such a daemon goes on from what the one before left in doubt, for as long as requests of that
    one may take effect: not all is settled soon.
    """
    yield from _founded_nodes(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def fresh_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """The same, of this module alone: for tests that wait until all is settled."""
    yield from _founded_nodes(tmp_path_factory.mktemp("fresh"))


def _founded_nodes(folder: Path) -> Iterator[list[RealNode]]:
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


class _ByModule(LoadScopeScheduling):
    """Tests of a module share what it sets up; and there is one Docker Engine for all of them."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "docker" if module.endswith(_NEED_DOCKER) else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How tests are dealt out when they run side by side."""
    return _ByModule(config, log)
