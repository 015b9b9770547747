"""Real S3 servers as child processes: a working store where there is no Docker.

They listen on 127.0.0.1 only. S3 asks for credentials, but SeaweedFS's inner ports don't:
whoever has an account on the machine can read what lies there.
"""

from __future__ import annotations

import fcntl
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.children import EmbeddedNode, Prepare, make_is_healthy
from aosd.discovery.servers import HOST, Server, choose_server, launch, remembered_port
from aosd.model.errors import ConfigurationError
from aosd.model.node import Address, Credentials, Sighting
from aosd.ports import IDiscovery, Report, Trouble

MOST_NODES = 32
_TRIM_EVERY_S = 30.0
_NODE_FOLDER = re.compile(r"embedded-([1-9][0-9]*)")


@implementer(IDiscovery)
class EmbeddedDiscovery:
    """Nodes `embedded-1` to `embedded-N`, each in a folder of its own.

    All are reported at once, running or not, so that the ring is whole from the start.
    Raises ConfigurationError when the data folder can't be used as it stands.
    """

    _log = Logger()

    def __init__(
        self,
        count: int,
        context: DiscoveryContext,
        choose: Callable[[str | None], Server] = choose_server,
        prepare: Prepare = launch,
    ) -> None:
        self.name = f"embedded:{count}"
        self._count = count
        self._choose = choose
        self._prepare = prepare
        self._reactor = context.reactor
        self._interval_s = context.interval_s
        self._folder = context.data_dir.absolute()
        self._nodes: list[EmbeddedNode] = []
        self._lock: IO[bytes] | None = None
        self._retry: IDelayedCall | None = None
        self._trim = LoopingCall(self._trim_logs)
        self._trim.clock = context.reactor
        self._report: Report = lambda _: None
        self._trouble: Trouble = lambda _: None
        self._in_trouble = False
        choose(_made_by(self._folder))
        self._check_count()
        _check_unused(self._folder)

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery. The first round ends when each node is ready or has failed."""
        self._report, self._trouble = report, trouble
        try:
            server = self._open()
            self._nodes = [self._node(number, server) for number in range(1, self._count + 1)]
        except (ConfigurationError, OSError) as error:
            self._close()
            self._tell(str(error))
            first: Deferred[None] = Deferred()
            self._retry = self._reactor.callLater(self._interval_s, self._start_again)
            first.callback(None)
            return first
        self._tell_all()
        for node in self._nodes:
            node.start()
        self._trim.start(_TRIM_EVERY_S, now=False).addErrback(
            lambda failure: self._log.failure("trimming logs", failure)
        )
        return DeferredList([node.settled for node in self._nodes]).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._trim.running:
            self._trim.stop()
        stopping = DeferredList([node.stop() for node in self._nodes])
        return stopping.addCallback(lambda _: self._close())

    def _start_again(self) -> None:
        self._retry = None
        self.start(self._report, self._trouble)

    # -- the folder -----------------------------------------------------------------------------

    def _open(self) -> Server:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._folder)
        server = self._choose(_made_by(self._folder))
        (self._folder / "server").write_text(f"{server.kind}\n", encoding="utf-8")
        return server

    def _close(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _check_count(self) -> None:
        """Objects of a node that isn't started would seem to be gone."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        numbers = [
            int(match[1]) for each in folders if (match := _NODE_FOLDER.fullmatch(each.name))
        ]
        if max(numbers, default=0) > self._count:
            raise ConfigurationError(
                f"{self._folder} has {max(numbers)} nodes; with {self._count} their objects "
                f"would be missing: use embedded:{max(numbers)}, or another folder"
            )

    def _node(self, number: int, server: Server) -> EmbeddedNode:
        name = f"embedded-{number}"
        folder = self._folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return EmbeddedNode(
            name,
            folder,
            server,
            _credentials(folder / "credentials"),
            self._reactor,
            make_is_healthy(self._reactor),
            self._tell_all,
            self._prepare,
        )

    def _trim_logs(self) -> None:
        for node in self._nodes:
            node.trim_log()

    # -- telling --------------------------------------------------------------------------------

    def _tell_all(self) -> None:
        self._report([node.sighting for node in self._nodes])
        self._tell("; ".join(node.trouble for node in self._nodes if node.trouble))

    def _tell(self, trouble: str) -> None:
        if trouble or self._in_trouble:
            self._in_trouble = bool(trouble)
            self._trouble(trouble)


@implementer(IDiscovery)
class EmbeddedFolder:
    """The same nodes, as whoever runs them left word of them in the folder; starts nothing."""

    def __init__(self, count: int, context: DiscoveryContext) -> None:
        self.name = f"embedded:{count}"
        self._count = count
        self._folder = context.data_dir.absolute()

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery. There is one round only."""
        try:
            report([self._sighting(number) for number in range(1, self._count + 1)])
        except OSError as error:
            trouble(f"{error.filename or self._folder}: {error.strerror}")
        except ConfigurationError as error:
            trouble(str(error))
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return succeed(None)

    def _sighting(self, number: int) -> Sighting:
        folder = self._folder / f"embedded-{number}"
        credentials = _read_credentials(folder / "credentials")
        port = remembered_port(folder)
        address = None if port is None else Address("http", HOST, port)
        return Sighting(folder.name, address, credentials, seen_as=str(folder))


def _credentials(path: Path) -> Credentials:
    """A node's key pair, made on its first start."""
    if not path.exists():
        # Both in one go: a half-written file would lock us out of the node.
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(f"{secrets.token_hex(8)}\n{secrets.token_hex(20)}\n", encoding="ascii")
        fresh.rename(path)
    return _read_credentials(path)


def _read_credentials(path: Path) -> Credentials:
    try:
        access_key, secret_key = path.read_text(encoding="ascii").split()
    except ValueError as error:
        raise ConfigurationError(f"{path} must hold an access key and a secret key") from error
    return Credentials(access_key, secret_key)


def _made_by(folder: Path) -> str | None:
    """The kind of server that the data folder belongs to; None when it is new."""
    try:
        return (folder / "server").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{folder / 'server'} can't be read: {error}") from error


def _lock(folder: Path) -> IO[bytes]:
    """Held until it is closed, or the process is gone; children don't inherit it."""
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(f"{folder} is in use by another aosd") from error
    return file


def _check_unused(folder: Path) -> None:
    """Fail at once, rather than run without nodes."""
    if (folder / "lock").exists():
        try:
            _lock(folder).close()
        except OSError as error:
            raise ConfigurationError(f"{folder} can't be used: {error.strerror}") from error
