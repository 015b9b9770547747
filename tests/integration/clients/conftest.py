"""What the matrix shares: nodes, one daemon with two endpoints, and the table."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.integration.clients.certificates import Authority
from tests.integration.clients.client import Client
from tests.integration.clients.matrix import Column, Matrix
from tests.integration.clients.mounted import FUSE, S3fs
from tests.integration.clients.place import (
    ADDRESS,
    BIG_BYTES,
    DOMAIN,
    INSTALLED,
    MIB,
    Place,
    Reference,
)
from tests.integration.daemon import running_daemon
from tests.integration.nodes import running_nodes, write_nodes_file
from tests.integration.processes import free_port

PAGE = "CLIENTS_PAGE"
"""The variable that names the file where the table is wanted; `make clients` sets it."""

_SERVERS = {"minio": "MinIO", "seaweedfs": "SeaweedFS"}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The daemon that the whole matrix is run against."""
    assert (INSTALLED / "made-from").exists(), "install the clients first: tools/clients.sh"
    folder = tmp_path_factory.mktemp("clients")
    authority = Authority(folder / "tls", [ADDRESS], ["localhost", DOMAIN, f"*.{DOMAIN}"])
    access_key, secret_key = "matrix", secrets.token_urlsafe(30)
    tls_port = free_port()
    with running_nodes(folder / "nodes", NAMES) as nodes:
        nodes_file = write_nodes_file(folder / "nodes.toml", nodes)
        with running_daemon(
            folder / "daemon",
            nodes_file,
            f"--http=ssl:{tls_port}:interface={ADDRESS}"
            f":privateKey={authority.key}:certKey={authority.certificate}",
            f"--s3-domain={DOMAIN}",
            up=NAMES,
            environment={"AOSD_ACCESS_KEY": access_key, "AOSD_SECRET_KEY": secret_key},
        ) as daemon:
            yield Place(
                {"http": daemon.port, "https": tls_port},
                access_key,
                secret_key,
                authority.ca,
                _SERVERS[nodes[0].kind],
            )
            assert secret_key not in daemon.log


@pytest.fixture(scope="session")
def reference(place: Place) -> Reference:
    return Reference(place)


@pytest.fixture(scope="session")
def matrix(place: Place) -> Iterator[Matrix]:
    """The table; written when all is over, where somebody wants it."""
    table = Matrix()
    yield table
    wanted = os.environ.get(PAGE)
    if wanted:
        Path(wanted).write_text(table.page(place.server), encoding="utf-8")


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 100 MiB that no part of it repeats."""
    file = tmp_path_factory.mktemp("big") / "big.bin"
    with file.open("wb") as target:
        for _ in range(BIG_BYTES // MIB):
            target.write(os.urandom(MIB))
    return file


@pytest.fixture(scope="module")
def client(
    request: pytest.FixtureRequest,
    place: Place,
    reference: Reference,
    matrix: Matrix,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Client]:
    """One client at one endpoint; its bucket is made and removed by itself if it can."""
    kind, scheme = request.param
    if issubclass(kind, S3fs) and not FUSE.exists():
        pytest.skip(f"there is no {FUSE}")
    bucket = f"matrix-{secrets.token_hex(6)}"
    client: Client = kind(place, scheme, bucket, tmp_path_factory.mktemp("client"))
    try:
        matrix.row(client.name, client.version(), client.lacks, client.notes)
        if Column.BUCKETS in client.lacks:
            reference.make_bucket(bucket)
        else:
            client.make_bucket()
        client.begin()
        yield client
    finally:
        client.end()
        if reference.has_bucket(bucket):
            reference.empty(bucket)
