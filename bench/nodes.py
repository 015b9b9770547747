"""Real S3 servers on loopback: MinIO where it is on PATH, otherwise SeaweedFS."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException

from aosd.discovery.servers import choose_server, launch
from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials
from bench.processes import BenchError, Process

BUCKET = "object"
"""The bucket behind the plain door."""

_READY_S = 90.0


@dataclass(frozen=True)
class Node:
    """One server; `port` is its S3 port on 127.0.0.1."""

    name: str
    port: int
    credentials: Credentials
    kind: str

    @property
    def client(self) -> Minio:
        """A client that gives up at once: the caller knows how long to try."""
        return Minio(
            f"127.0.0.1:{self.port}",
            access_key=self.credentials.access_key,
            secret_key=self.credentials.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=5.0, retries=False),
        )


def start_nodes(stack: ExitStack, directory: Path, count: int = 3) -> list[Node]:
    """Start `count` nodes that `stack` ends; each answers a signed request by then."""
    try:
        server = choose_server(None)
    except ConfigurationError as error:
        raise BenchError(f"no S3 server: {error}") from error
    started = []
    for number in range(1, count + 1):
        name = f"n{number}"
        home = directory / name
        home.mkdir(parents=True)
        credentials = Credentials(f"bench-{name}", f"secret-of-{name}")
        how = launch(server, home, credentials)
        if server.kind == "seaweedfs":
            _let_anyone_in(home / "identities.json")
        process = Process(
            f"{server.kind} {name}",
            how.command,
            home.with_suffix(".log"),
            how.environment,
            directory=home,
            # SeaweedFS takes half a minute to end by itself, and the data goes anyway.
            stop_s=0,
        )
        node = Node(name, how.port, credentials, server.kind)
        started.append((node, stack.enter_context(process)))
    for node, process in started:
        process.wait_until(partial(_answers, node), _READY_S)
    return [node for node, _ in started]


def _let_anyone_in(identities: Path) -> None:
    """What a bucket policy does on MinIO is done on SeaweedFS by an identity."""
    told = json.loads(identities.read_text())
    told["identities"].append(
        {"name": "anonymous", "actions": [f"Read:{BUCKET}", f"Write:{BUCKET}"]}
    )
    identities.write_text(json.dumps(told))


def _answers(node: Node) -> bool:
    try:
        node.client.list_buckets()
    except (MinioException, urllib3.exceptions.HTTPError):
        return False
    return True


def open_bucket(nodes: Sequence[Node]) -> None:
    """Make the bucket on each node, for anyone to read and write: nginx can't sign."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["*"]},
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
            }
        ],
    }
    for node in nodes:
        _make_bucket(node)
        if node.kind == "minio":
            node.client.set_bucket_policy(bucket_name=BUCKET, policy=json.dumps(policy))


def _make_bucket(node: Node) -> None:
    # SeaweedFS answers before all of it is ready.
    end = time.monotonic() + _READY_S
    while True:
        try:
            if not node.client.bucket_exists(bucket_name=BUCKET):
                node.client.make_bucket(bucket_name=BUCKET)
            return
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            if time.monotonic() > end:
                raise BenchError(f"{node.name} makes no bucket: {error}") from error
            time.sleep(0.1)


def write_nodes_file(path: Path, nodes: Sequence[Node], ports: Sequence[int]) -> Path:
    """Write the file that `--nodes static:` reads, with `ports` in place of the nodes' own."""
    tables = [
        f'[[node]]\nname = "{node.name}"\nurl = "http://127.0.0.1:{port}"\n'
        f'access_key = "{node.credentials.access_key}"\n'
        f'secret_key = "{node.credentials.secret_key}"\n'
        for node, port in zip(nodes, ports, strict=True)
    ]
    path.write_text("\n".join(tables))
    return path
