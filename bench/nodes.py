"""Nodes that anyone may read and write, so that nginx can stand in for the daemon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from aosd.model.errors import ConfigurationError
from bench.processes import BenchError
from tests.integration.nodes import BUCKET, RealNode

NAMES = ("n1", "n2", "n3")


def start_nodes(stack: ExitStack, directory: Path, names: Sequence[str] = NAMES) -> list[RealNode]:
    """Start nodes that `stack` ends; each answers, and has the bucket, open to all."""
    try:
        nodes = [RealNode(name, directory / name) for name in names]
    except ConfigurationError as error:
        raise BenchError(f"no S3 server: {error}") from error
    for node in nodes:
        if node.kind == "seaweedfs":
            _let_anyone_in(node.folder / "identities.json")
        stack.callback(node.end)
        node.start()
    for node in nodes:
        node.wait_until_it_answers()
        if node.kind == "minio":
            _open_bucket(node)
    return nodes


def _let_anyone_in(identities: Path) -> None:
    """What a bucket policy does on MinIO is done on SeaweedFS by an identity."""
    told = json.loads(identities.read_text())
    told["identities"].append(
        {"name": "anonymous", "actions": [f"Read:{BUCKET}", f"Write:{BUCKET}"]}
    )
    identities.write_text(json.dumps(told))


def _open_bucket(node: RealNode) -> None:
    """nginx can't sign."""
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
    node.client().set_bucket_policy(bucket_name=BUCKET, policy=json.dumps(policy))


def ports_of(nodes: Sequence[RealNode]) -> list[int]:
    """Where they listen, on 127.0.0.1."""
    return [node.port for node in nodes]
