"""What tests on a real Docker Engine share, and tests of the S3 door."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import NAMES
from tests.integration import s3
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.processes import free_port
from tools import docker_images

ROOT = docker_images.ROOT


@pytest.fixture(scope="session")
def s3_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealNode]]:
    """Three nodes for the S3 door's tests, which no test breaks."""
    with running_nodes(tmp_path_factory.mktemp("s3-nodes"), NAMES) as running:
        yield running


@pytest.fixture(scope="session")
def s3_identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of identities that the S3 door reads again when it changes."""
    return s3.identities_file(tmp_path_factory.mktemp("identities") / "identities.toml")


@pytest.fixture(scope="session")
def s3_daemon(
    s3_nodes: list[RealNode],
    s3_identities: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Daemon]:
    """A daemon with a root pair, identities and a domain, over those nodes.

    Its parameter, where a test has one, is a flag that tells the lane.
    """
    folder = tmp_path_factory.mktemp("s3-daemon")
    file = write_nodes_file(folder / "nodes.toml", s3_nodes)
    flags = [f"--identities-file={s3_identities}"]
    if hasattr(request, "param"):
        flags.append(request.param)
    with running_daemon(folder, file, *flags, up=NAMES, environment=s3.ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(s3_daemon: Daemon, request: pytest.FixtureRequest) -> str:
    """A bucket that no other module has, nor the same one with another daemon."""
    module = request.module.__name__.rpartition(".")[2].replace("_", "-")
    name = f"of.{module}.{s3_daemon.port}"
    s3.client(s3_daemon).create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[docker.DockerClient]:
    """A Docker Engine: the one that answers, or one that is started and stopped."""
    with docker_images.engine(tmp_path_factory.mktemp("docker") / "dockerd.log"):
        client = docker.from_env(timeout=60)
        try:
            yield client
        finally:
            client.close()


@pytest.fixture(scope="session")
def node_image(docker_engine: docker.DockerClient) -> str:
    """An image that runs an S3 server as MinIO's does."""
    return docker_images.node_image()


@pytest.fixture(scope="session")
def gateway_image(docker_engine: docker.DockerClient) -> str:
    """The image that the project's Dockerfile makes."""
    return docker_images.gateway_image()


class Compose:
    """The project's own compose file, as a project of its own."""

    project = "aosdtest"

    def __init__(self, node_image: str, gateway_image: str) -> None:
        self.port = free_port()
        self.network = f"{self.project}_store"
        socket = Path("/var/run/docker.sock")
        self._environment = os.environ | {
            "AOSD_IMAGE": gateway_image,
            "AOSD_NODE_IMAGE": node_image,
            "AOSD_PORT": f"127.0.0.1:{self.port}",
            "DOCKER_GID": str(socket.stat().st_gid),
        }

    def run(self, *arguments: str) -> str:
        """Run compose with `arguments`; its output."""
        done = subprocess.run(
            [*docker_images.compose_command(), "-p", self.project, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def compose(node_image: str, gateway_image: str) -> Iterator[Compose]:
    """The gateway and three nodes in containers, taken down with their volumes."""
    project = Compose(node_image, gateway_image)
    project.run("down", "-v", "--remove-orphans")
    project.run("up", "-d", "--no-build")
    try:
        yield project
    finally:
        project.run("down", "-v", "--remove-orphans", "-t", "1")
