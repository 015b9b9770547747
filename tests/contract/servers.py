"""Real S3 servers for the contract: started by the project's own embedded provider."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.embedded import EmbeddedDiscovery
from aosd.model.errors import NodeError
from aosd.model.marker import Marker
from aosd.model.node import Address, Credentials, Sighting
from aosd.nodes.provision import equip
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Deadlines, Wiring
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth
from tests.integration.processes import is_stopped

T = TypeVar("T")

READY_S = 60.0


def on_path(kind: str) -> bool:
    return kind != "minio" or shutil.which("minio") is not None


@implementer(IHealth)
class AlwaysWell:
    """A breaker that opens only when it is tripped; remembers what it was told.

    `confirming` is what a new connection waits for: nothing, unless a test sets it.
    """

    def __init__(self) -> None:
        self.failures: list[object] = []
        self.answers = 0
        self.losses: list[bool] = []
        self.confirmed = 0
        self.confirming: Callable[[], Deferred[None]] = lambda: succeed(None)
        self._watches: dict[Callable[[], None], None] = {}
        self._told: list[Deferred[None]] = []

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

    def watch(self, tripped: Callable[[], None]) -> None:
        self._watches[tripped] = None

    def unwatch(self, tripped: Callable[[], None]) -> None:
        self._watches.pop(tripped, None)

    def trip(self) -> None:
        watches, self._watches = self._watches, {}
        for tripped in watches:
            tripped()

    def time_told(self, ahead_s: float) -> None:
        pass

    def control_lost(self, announced: bool) -> None:
        self.losses.append(announced)
        told, self._told = self._told, []
        for each in told:
            each.callback(None)

    def next_loss(self) -> Deferred[None]:
        """Fires when the control connection breaks the next time."""
        told: Deferred[None] = Deferred()
        self._told.append(told)
        return told

    def confirm(self) -> Deferred[None]:
        self.confirmed += 1
        return self.confirming()


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
        await self.answers()

    async def answers(self) -> None:
        """Returns when it answers signed requests, after a start or a restart."""
        assert self.address is not None and self.credentials is not None, self._troubles
        deadline_s = self._reactor.seconds() + READY_S
        while True:
            try:
                await deferToThreadPool(
                    self._reactor,
                    self._threads,
                    equip,
                    self.name,
                    self.address,
                    self.credentials,
                    Marker("c", self.name, "i").to_bytes(),
                )
                return
            except NodeError:
                # SeaweedFS answers some seconds before all of it is ready.
                if self._reactor.seconds() > deadline_s:
                    raise
            await deferLater(self._reactor, 0.1)

    async def call(self, do: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function that blocks returns, given how to reach the server."""
        assert self.address is not None and self.credentials is not None
        how = (self.name, self.address, self.credentials)
        calling = deferToThreadPool(self._reactor, self._threads, do, *how, *arguments, **options)
        result: T = await calling
        return result

    def signal(self, number: signal.Signals) -> None:
        """What befalls the process; it is started again when it ends."""
        os.kill(self._pid, number)

    async def stand_still(self) -> None:
        """SIGSTOP; returns when all its threads have stopped."""
        self.signal(signal.SIGSTOP)
        while not is_stopped(self._pid):
            await deferLater(self._reactor, 0.01)

    @property
    def _pid(self) -> int:
        (node,) = self._discovery._nodes
        pid = node._process.pid
        assert isinstance(pid, int)
        return pid

    async def stop(self) -> None:
        await self._discovery.stop()
        self._threads.stop()

    def node(
        self,
        health: AlwaysWell,
        deadlines: Deadlines | None = None,
        client: type[S3Node] = S3Node,
    ) -> S3Node:
        assert self.address is not None and self.credentials is not None
        return client(
            Wiring(
                self.name,
                self.address,
                self.credentials,
                reactor=self._reactor,
                now=self._reactor.seconds,
                health=health,
                metrics=Metrics(),
                deadlines=deadlines or Deadlines(),
            )
        )

    def _report(self, sightings: Sequence[Sighting]) -> None:
        (sighting,) = sightings
        if sighting.address is not None:
            self.address, self.credentials = sighting.address, sighting.credentials
