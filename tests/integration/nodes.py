"""Real S3 servers for the tests: MinIO where it is on PATH, otherwise SeaweedFS."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import MinioException

from aosd.discovery.servers import choose_server, launch
from aosd.model.node import Credentials
from tests.integration.processes import Process, is_ours, is_stopped
from tests.integration.waiting import until

BUCKET = "object"
"""The bucket behind the plain door."""

KINDS = ["minio", "seaweedfs"] if shutil.which("minio") else ["seaweedfs"]
"""The kinds of server that can be started here."""

_READY_S = 90.0


class RealNode:
    """One server on 127.0.0.1, at the same port and with the same data whenever it runs.

    `kind` is one of KINDS; by default the first.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: dict[str, str] | None = None,
        kind: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.credentials = Credentials(f"key-of-{name}", f"secret=of-{name}")
        server = choose_server(kind)
        self.kind = server.kind
        self.folder = folder
        self._launch = launch(server, folder, self.credentials, is_ours)
        self._environment = environment or {}
        self.port = self._launch.port
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, port: int | None = None) -> Minio:
        """A client of the node itself; it gives up at once."""
        return Minio(
            f"127.0.0.1:{port or self.port}",
            access_key=self.credentials.access_key,
            secret_key=self.credentials.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=10.0, retries=False),
        )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.runs

    @property
    def process(self) -> Process:
        """The process that was started last."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    # -- life -----------------------------------------------------------------------------------

    def start_again(self) -> None:
        """Start it after `kill`; it answers when this returns."""
        self.start()
        self.wait_until_it_answers()

    def start(self) -> None:
        """Start it, without waiting for it to answer."""
        self._process = Process(
            f"{self.kind} {self.name}",
            self._launch.command,
            self.folder / "server.log",
            {**os.environ, **self._launch.environment, **self._environment},
            directory=self.folder,
            # SeaweedFS takes half a minute to end by itself, and must not outlive us.
            stop_s=0,
        )

    def wait_until_it_answers(self) -> None:
        self.process.wait_until(self._answers, _READY_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.end()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and nothing is answered."""
        self.signal(signal.SIGSTOP)
        pid = self.process.pid
        until(lambda: is_stopped(pid), f"node {self.name} stands still")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Whatever state it is in; nothing is left of it but its log.

        A run of all tests writes some 20 GB, and servers take no more when a disk is nearly full.
        """
        if self.runs:
            self.kill()
        for each in self.folder.iterdir():
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)

    # -- what lies on it ------------------------------------------------------------------------

    def stored_keys(self, bucket: str = BUCKET) -> set[str]:
        """The keys of all objects."""
        listed = self.client().list_objects(bucket_name=bucket, recursive=True)
        return {str(each.object_name) for each in listed}

    def put(self, key: str, data: bytes) -> None:
        """Put an object without asking the gateway."""
        self.client().put_object(
            bucket_name=BUCKET, object_name=key, data=BytesIO(data), length=len(data)
        )

    def uploads(self, key: str) -> list[Any]:
        """The open multipart uploads of one key: MinIO lists them by the exact key only."""
        told = self.client()._list_multipart_uploads(bucket_name=BUCKET, prefix=key)
        return list(told.uploads)

    def _answers(self) -> bool:
        try:
            client = self.client()
            # SeaweedFS answers before all of it is ready.
            if not client.bucket_exists(bucket_name=BUCKET):
                client.make_bucket(bucket_name=BUCKET)
        except (MinioException, urllib3.exceptions.HTTPError):
            return False
        return True

    # Others know these by their old names.
    @property
    def _folder(self) -> Path:
        return self.folder

    def _signal(self, number: signal.Signals) -> None:
        self.signal(number)


@contextmanager
def running_nodes(folder: Path, names: Iterable[str]) -> Iterator[list[RealNode]]:
    """Nodes that answer; they end with the context."""
    with ExitStack() as stack:
        nodes = [RealNode(name, folder / name) for name in names]
        for node in nodes:
            stack.callback(node.end)
            node.start()
        for node in nodes:
            node.wait_until_it_answers()
        yield nodes


def write_nodes_file(
    path: Path, nodes: Sequence[RealNode], ports: Sequence[int] | None = None
) -> Path:
    """The file that `static:` reads, with `ports` in place of the nodes' own; at once."""
    tables = [
        f"[[node]]\nname = {json.dumps(node.name)}\n"
        f'url = "http://127.0.0.1:{port}"\n'
        f"access_key = {json.dumps(node.credentials.access_key)}\n"
        f"secret_key = {json.dumps(node.credentials.secret_key)}\n"
        for node, port in zip(nodes, ports or [node.port for node in nodes], strict=True)
    ]
    aside = path.with_suffix(".new")
    aside.write_text("\n".join(tables))
    aside.replace(path)
    return path
