"""Real S3 servers for the contract: started by the project's own embedded provider."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.embedded import EmbeddedDiscovery
from aosd.model.errors import NodeError
from aosd.model.node import Address, Credentials, Sighting
from aosd.nodes.provision import provision
from aosd.nodes.s3 import S3Node
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth

READY_S = 60.0


def on_path(kind: str) -> bool:
    return kind != "minio" or shutil.which("minio") is not None


@implementer(IHealth)
class AlwaysWell:
    """A breaker that never opens; remembers what it was told."""

    def __init__(self) -> None:
        self.failures: list[object] = []
        self.answers = 0

    def check(self) -> None:
        pass

    def heard(self) -> None:
        """See IHealth."""

    def answered(self, well: bool) -> None:
        self.answers += 1
        if not well:
            self.failures.append("an answer that speaks against the node")

    def failed(self, error: NodeError) -> None:
        self.failures.append(error)

    def out_of_space(self) -> None:
        pass

    def watch(self, tripped: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class Server:
    """One server of `kind` (`seaweedfs` or `minio`), its data in `folder`."""

    def __init__(self, kind: str, folder: Path, reactor: Any) -> None:
        # The embedded provider goes on with the server that made the data.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server").write_text(f"{kind}\n")
        self.kind = kind
        self.address: Address | None = None
        self.credentials: Credentials | None = None
        self._reactor = reactor
        self._threads = ThreadPool(minthreads=0, maxthreads=2)
        self._threads.start()
        self._discovery = EmbeddedDiscovery(1, DiscoveryContext(reactor, self._threads, folder))
        self._troubles: list[str] = []

    @property
    def name(self) -> str:
        return "embedded-1"

    async def start(self) -> None:
        """Returns when it answers signed requests and has its buckets."""
        await self._discovery.start(self._report, self._troubles.append)
        assert self.address is not None and self.credentials is not None, self._troubles
        deadline_s = self._reactor.seconds() + READY_S
        while True:
            try:
                await deferToThreadPool(
                    self._reactor,
                    self._threads,
                    provision,
                    self.name,
                    self.address,
                    self.credentials,
                )
                return
            except NodeError:
                # SeaweedFS answers some seconds before all of it is ready.
                if self._reactor.seconds() > deadline_s:
                    raise
            await deferLater(self._reactor, 0.1)

    async def stop(self) -> None:
        await self._discovery.stop()
        self._threads.stop()

    def node(self, health: AlwaysWell) -> S3Node:
        assert self.address is not None and self.credentials is not None
        return S3Node(
            self.name,
            self.address,
            self.credentials,
            reactor=self._reactor,
            now=self._reactor.seconds,
            health=health,
            metrics=Metrics(),
        )

    def _report(self, sightings: Sequence[Sighting]) -> None:
        (sighting,) = sightings
        if sighting.address is not None:
            self.address, self.credentials = sighting.address, sighting.credentials
