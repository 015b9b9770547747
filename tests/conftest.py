"""What integration and fault tests share: real nodes, and a daemon in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file

NAMES = ("n1", "n2", "n3")


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Three real S3 servers that no test breaks."""
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


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An id that no other test has."""
    return md5(request.node.nodeid.encode(), usedforsecurity=False).hexdigest()
