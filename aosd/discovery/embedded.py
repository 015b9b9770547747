"""Real S3 servers as child processes: a working store where there is no Docker."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.servers import Server, choose_server, launch
from aosd.model.errors import ConfigurationError
from aosd.model.node import Address, Credentials, Sighting
from aosd.ports import IDiscovery, Report, Trouble

_KNOCK_EVERY_S = 0.1
_START_S = 60.0
_TERMINATE_S = 10.0
_RESTART_S = 1.0
_RESTART_MAX_S = 30.0


class _Knock(Factory):
    """Makes connections that nobody logs."""

    noisy = False


class _Child(ProcessProtocol):
    """Tells when the process has ended."""

    def __init__(self, ended: Callable[[Failure], None]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        """See ProcessProtocol."""
        self._ended(reason)


class EmbeddedNode:
    """One server: started, knocked at until it answers, started again when it dies."""

    _log = Logger()

    def __init__(
        self,
        name: str,
        folder: Path,
        server: Server,
        reactor: Any,
        changed: Callable[[], None],
        trouble: Callable[[str], None],
    ) -> None:
        self.name = name
        self.ready: Deferred[None] = Deferred()
        self._folder = folder
        self._server = server
        self._reactor = reactor
        self._changed = changed
        self._trouble = trouble
        self._process: Any = None
        self._port = 0
        self._answers = False
        self._stopping: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._knocking: Deferred[Any] | None = None
        self._restart_s = _RESTART_S
        self._started_s = 0.0
        folder.mkdir(exist_ok=True)
        self._credentials = _credentials(folder / "credentials")

    @property
    def sighting(self) -> Sighting:
        """What there is to see of it now."""
        address = Address("http", "127.0.0.1", self._port) if self._answers else None
        return Sighting(
            self.name,
            address,
            self._credentials,
            running=self._answers,
            seen_as=f"{self._server.kind} in {self._folder}",
        )

    def start(self) -> None:
        """Start the process; `ready` fires when it answers for the first time."""
        self._timer = None
        how = launch(self._server, self._folder, self._credentials)
        self._port = how.port
        self._started_s = self._reactor.seconds()
        # What the server says is for a person to look at; it starts afresh each time.
        log_path = self._folder / "server.log"
        with log_path.open("wb") as log, Path(os.devnull).open("rb") as nothing:
            self._process = self._reactor.spawnProcess(
                _Child(self._ended),
                sys.executable,
                [sys.executable, "-m", "aosd.discovery.tether", str(os.getpid()), *how.command],
                env={**_inherited(), **how.environment},
                path=str(self._folder),
                childFDs={0: nothing.fileno(), 1: log.fileno(), 2: log.fileno()},
            )
        self._knock()

    def stop(self) -> Deferred[None]:
        """SIGTERM, and SIGKILL after 10 s; fires when the process is gone."""
        over: Deferred[None] = Deferred()
        self._stopping = over
        self._cancel_timer()
        if self._knocking is not None:
            self._knocking.cancel()
        if self._process is None:
            over.callback(None)
        else:
            self._signal(signal.SIGTERM)
            self._timer = self._reactor.callLater(_TERMINATE_S, self._signal, signal.SIGKILL)
        return over

    def _knock(self) -> None:
        self._timer = None
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port, timeout=1)
        knocking = self._knocking = endpoint.connect(_Knock.forProtocol(Protocol))
        knocking.addCallbacks(self._answered, self._silent)

    def _answered(self, protocol: Protocol) -> None:
        self._knocking = None
        assert protocol.transport is not None
        protocol.transport.loseConnection()
        if self._stopping is None and self._process is not None:
            self._answers = True
            self._restart_s = _RESTART_S
            self._changed()
            self._be_ready()

    def _silent(self, _: Failure) -> None:
        self._knocking = None
        if self._stopping is not None or self._process is None:
            return
        if self._reactor.seconds() - self._started_s > _START_S:
            self._trouble(f"{self.name} doesn't answer after {_START_S:g} s")
            self._be_ready()
            self._signal(signal.SIGKILL)
            return
        self._timer = self._reactor.callLater(_KNOCK_EVERY_S, self._knock)

    def _ended(self, reason: Failure) -> None:
        self._process = None
        self._answers = False
        self._cancel_timer()
        if self._stopping is not None:
            self._stopping.callback(None)
            return
        self._trouble(f"{self.name} ended ({reason.getErrorMessage()}); starting it again")
        self._be_ready()
        self._changed()
        self._timer = self._reactor.callLater(self._restart_s, self.start)
        self._restart_s = min(self._restart_s * 2, _RESTART_MAX_S)

    def _be_ready(self) -> None:
        if not self.ready.called:
            self.ready.callback(None)

    def _signal(self, number: int) -> None:
        self._timer = None
        if self._process is not None:
            self._process.signalProcess(signal.Signals(number).name[3:])

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


@implementer(IDiscovery)
class EmbeddedDiscovery:
    """See IDiscovery. Nodes `embedded-1` to `embedded-N`, each in a folder of its own."""

    def __init__(self, count: int, context: DiscoveryContext) -> None:
        self.name = f"embedded:{count}"
        self._count = count
        self._context = context
        self._nodes: list[EmbeddedNode] = []
        self._lock: IO[bytes] | None = None

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery. All nodes are reported at once, as not running yet."""
        return Deferred.fromCoroutine(self._start(report, trouble))

    async def _start(self, report: Report, trouble: Trouble) -> None:
        folder = self._context.data_dir.absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder / "lock")
            server = _remembered(folder / "server")
        except (ConfigurationError, OSError) as error:
            trouble(str(error))
            return

        def changed() -> None:
            if all(node.sighting.running for node in self._nodes):
                trouble("")
            report([node.sighting for node in self._nodes])

        self._nodes = [
            EmbeddedNode(
                f"embedded-{number}",
                folder / f"embedded-{number}",
                server,
                self._context.reactor,
                changed,
                trouble,
            )
            for number in range(1, self._count + 1)
        ]
        report([node.sighting for node in self._nodes])
        for node in self._nodes:
            node.start()
        await DeferredList([node.ready for node in self._nodes])

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""

        def unlock(_: object) -> None:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.close()

        return DeferredList([node.stop() for node in self._nodes]).addCallback(unlock)


def _credentials(path: Path) -> Credentials:
    """A node's key pair, made on its first start."""
    if not path.exists():
        # Both in one go: a half-written file would lock us out of the node.
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(f"{secrets.token_hex(8)}\n{secrets.token_hex(20)}\n")
        fresh.rename(path)
    access_key, secret_key = path.read_text().split()
    return Credentials(access_key, secret_key)


def _remembered(path: Path) -> Server:
    """The server that the data folder belongs to, from now on if it is new."""
    server = choose_server(path.read_text().strip() if path.exists() else None)
    path.write_text(f"{server.kind}\n")
    return server


def _lock(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(f"{path.parent} is in use by another aosd") from error
    return file


def _inherited() -> dict[str, str]:
    """Our environment without what would be a setting of the server's, or a secret of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MINIO_", "WEED_", "AOSD_"))
    }
