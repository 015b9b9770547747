"""One embedded node: a server's process, started again whenever it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from aosd.discovery import tether
from aosd.discovery.servers import HOST, Launch, Server, launch
from aosd.model.node import Address, Credentials, Sighting
from aosd.observe.logs import hush
from aosd.streams.deadlines import cancelled, within

_CHECK_EVERY_S = 0.1
_CHECK_TIMEOUT_S = 2.0
_SLOW_START_S = 60.0
_TERMINATE_S = 5.0
"""SeaweedFS waits 15 s for streams between its own parts; what was acknowledged is written."""
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_NOT_FOR_CHILDREN = ("AOSD_", "AWS_", "MINIO_", "WEED_")
_LOG_BYTES = 16 * 1024 * 1024

Prepare = Callable[[Server, Path, Credentials], Launch]
IsHealthy = Callable[[str], Deferred[bool]]
"""Whether a URL answers 200; never fails. Cancelling gives up."""


class _Process(ProcessProtocol):
    """Tells when the process has ended. It says nothing to us: its output is a file."""

    def __init__(self, ended: Callable[[Failure], None]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        """See ProcessProtocol."""
        self._ended(reason)


class EmbeddedNode:
    """A node in `folder`, which exists; calls `changed` for each new sighting or trouble.

    It owns the process, its timers and its checks; `stop` ends them all.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        folder: Path,
        server: Server,
        credentials: Credentials,
        reactor: Any,
        is_healthy: IsHealthy,
        changed: Callable[[], None],
        prepare: Prepare = launch,
    ) -> None:
        self.name = name
        self.trouble = ""
        self.settled: Deferred[None] = Deferred()  # fires once: ready, in trouble or stopped
        self.log_path = folder / "server.log"
        self._folder = folder
        self._server = server
        self._credentials = credentials
        self._reactor = reactor
        self._is_healthy = is_healthy
        self._changed = changed
        self._prepare = prepare
        self._launch: Launch | None = None
        self._process: Any = None
        self._started_s = 0.0
        self._ready = False
        self._stopped: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None  # the next check, start or kill
        self._checking: Deferred[None] | None = None
        self._backoff_s = _FIRST_BACKOFF_S
        self._log_flags = os.O_TRUNC

    @property
    def sighting(self) -> Sighting:
        """What there is to see of it now."""
        address = None
        if self._ready and self._launch is not None:
            address = Address("http", HOST, self._launch.port)
        return Sighting(
            self.name,
            address,
            self._credentials,
            running=self._ready,
            seen_as=f"{self._server.kind} in {self._folder}",
        )

    def start(self) -> None:
        """Start the process, and look until it is ready."""
        self._timer = None
        self._ready = False
        self._started_s = self._reactor.seconds()
        try:
            how = self._launch = self._prepare(self._server, self._folder, self._credentials)
            _remove(how.leftovers)
            self._process = self._spawn(how)
        except OSError as error:
            self._failed(f"can't be started: {error}")
            return
        self._check_soon()

    def stop(self) -> Deferred[None]:
        """SIGTERM, and SIGKILL some seconds later; fires when nothing is left of it."""
        if self._stopped is not None:
            return succeed(None)
        stopped = self._stopped = Deferred()
        self._cease()
        self._settle()
        if self._process is None:
            self._gone()
        else:
            self._signal(signal.SIGTERM)
            self._timer = self._reactor.callLater(_TERMINATE_S, self._kill)
        return stopped

    def trim_log(self) -> None:
        """Empty the server's log when it has become long; it goes on at its beginning."""
        with suppress(OSError):
            if self.log_path.stat().st_size > _LOG_BYTES:
                os.truncate(self.log_path, 0)

    # -- the process ----------------------------------------------------------------------------

    def _spawn(self, how: Launch) -> Any:
        temporary = self._folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        # A file, and not a pipe that somebody has to read. Appended to, so that it can be
        # emptied meanwhile; what an earlier daemon's server said is overwritten.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | self._log_flags
        self._log_flags = 0
        log = os.open(self.log_path, flags, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            return self._reactor.spawnProcess(
                _Process(self._ended),
                sys.executable,
                [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *how.command],
                env=_environment(how, self._folder),
                path=str(self._folder),
                childFDs={0: nothing, 1: log, 2: log},
            )
        finally:
            os.close(log)
            os.close(nothing)

    def _ended(self, reason: Failure) -> None:
        self._process = None
        self._cease()
        if self._stopped is not None:
            self._gone()
            return
        if self._ready and self._reactor.seconds() - self._started_s > _LONGEST_BACKOFF_S:
            self._backoff_s = _FIRST_BACKOFF_S
        self._failed(_how(reason))

    def _failed(self, how: str) -> None:
        self._ready = False
        self.trouble = f"{self.name} {how}; see {self.log_path}"
        self._timer = self._reactor.callLater(self._backoff_s, self.start)
        self._backoff_s = min(self._backoff_s * 2, _LONGEST_BACKOFF_S)
        self._changed()
        self._settle()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(number.name.removeprefix("SIG"))

    def _kill(self) -> None:
        self._timer = None
        self._signal(signal.SIGKILL)

    def _gone(self) -> None:
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        if self._launch is not None:
            _remove(self._launch.leftovers)
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    # -- whether it is ready --------------------------------------------------------------------

    def _check_soon(self) -> None:
        self._timer = self._reactor.callLater(_CHECK_EVERY_S, self._check)

    def _check(self) -> None:
        self._timer = None
        self._checking = Deferred.fromCoroutine(self._check_all())
        self._checking.addErrback(self._check_failed)

    async def _check_all(self) -> None:
        process = self._process
        assert self._launch is not None
        for url in self._launch.health:
            if not await self._is_healthy(url):
                break
        else:
            if self._process is process and self._stopped is None:
                self._ready = True
                self.trouble = ""
                self._changed()
                self._settle()
            return
        if self._process is not process or process is None or self._stopped is not None:
            return
        slow = self._reactor.seconds() - self._started_s > _SLOW_START_S
        if slow and not self.trouble:
            self.trouble = f"{self.name} isn't ready after {_SLOW_START_S:g} s; see {self.log_path}"
            self._changed()
            self._settle()
        self._check_soon()

    def _cease(self) -> None:
        """No more timers and checks."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()

    def _check_failed(self, failure: Failure) -> None:
        if not cancelled(failure):
            self._log.failure("checking node {node}", failure, node=self.name)

    def _settle(self) -> None:
        if not self.settled.called:
            self.settled.callback(None)


class _Rest(Protocol):
    """A body that nobody reads; readBody complains about this kind of transport."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred(self._give_up)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        if not self.over.called:
            self.over.callback(None)

    def _give_up(self, _: object) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def make_is_healthy(reactor: Any) -> IsHealthy:
    """Ask by HTTP, each time on a connection of its own."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    hush(pool)
    agent = Agent(reactor, connectTimeout=_CHECK_TIMEOUT_S, pool=pool)

    async def ask(url: str) -> bool:
        response = await agent.request(b"GET", url.encode("ascii"))
        rest = _Rest()
        response.deliverBody(rest)
        await rest.over
        return bool(response.code == 200)

    def is_healthy(url: str) -> Deferred[bool]:
        asking = Deferred.fromCoroutine(ask(url))
        # Why not doesn't matter: refused, reset, too slow, nonsense.
        return within(reactor, _CHECK_TIMEOUT_S, asking, TimeoutError).addErrback(lambda _: False)

    return is_healthy


def _environment(how: Launch, folder: Path) -> Mapping[str, str]:
    """Ours without our secrets, and without settings of the server that we didn't make."""
    kept = {key: each for key, each in os.environ.items() if not key.startswith(_NOT_FOR_CHILDREN)}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder / "tmp"), **how.environment}


def _remove(paths: tuple[Path, ...]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _how(reason: Failure) -> str:
    code, number = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
    if number is not None:
        return f"was ended by {signal.Signals(number).name}"
    return f"ended with exit code {code}"
