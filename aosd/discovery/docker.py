"""Nodes that are containers of a Docker engine.

The only module that knows the docker package. Its client blocks, so it is used in threads:
the rounds' in the daemon's pool, the event stream's in one of its own. The low-level API is
used throughout, because the package's own container objects ask for the image too, and an
image that was removed would spoil the round for all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.containers import (
    Vantage,
    is_news,
    is_node,
    is_own,
    own_ids,
    sight,
    unreadable,
    vantage_in,
    vantage_outside,
)
from aosd.discovery.rounds import RoundFailed, Rounds, Seen
from aosd.model.node import Sighting
from aosd.ports import IDiscovery, Report, Trouble

_ANSWER_S = 10
"""How long the engine may take for an answer; what a stop may have to wait for at worst."""
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 10.0
_FILTERS = {
    "type": ["container", "network"],
    "event": [
        *("create", "start", "restart", "die", "stop", "destroy"),
        *("pause", "unpause", "rename", "connect", "disconnect"),
    ],
}
_FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def connect() -> Any:
    """A client of the engine that the environment names. Blocking; raises _FAILURES."""
    return _Client(version="auto", timeout=_ANSWER_S, **kwargs_from_env())


class _Client(docker.APIClient):  # type: ignore[misc,unused-ignore]
    """The package's client with a deadline on every wait.

    The package waits for events without end, so that an engine that hangs, or a connection
    that died silently, would hold the thread for ever.
    """

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """See requests.Session."""
        kwargs["timeout"] = _ANSWER_S
        return super().send(*args, **kwargs)


@implementer(IDiscovery)
class DockerDiscovery:
    """A round each interval, and one within a fraction of a second of an event."""

    name = "docker"
    _log = Logger()

    def __init__(self, context: DiscoveryContext, engine: Engine, events: EngineEvents) -> None:
        self._context = context
        self._engine = engine
        self._events = events
        # The thread that waits for events would take a slot of the shared pool for good.
        self._own_thread = ThreadPool(1, 1, "aosd-docker-events")
        self._following: Deferred[None] | None = None
        self._rounds = Rounds(context.reactor, context.interval_s, self._look)

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        reactor = self._context.reactor
        first = self._rounds.start(report, trouble)
        self._own_thread.start()
        self._following = deferToThreadPool(
            reactor,
            self._own_thread,
            self._events.follow,
            lambda: reactor.callFromThread(self._rounds.trigger),
        )
        self._following.addErrback(lambda failure: self._log.failure("docker events", failure))
        return first

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._events.close()
        await self._rounds.stop()
        if self._following is not None:
            await self._following
            self._own_thread.stop()
        self._engine.close()

    async def _look(self) -> Seen:
        return Seen(
            await deferToThreadPool(self._context.reactor, self._context.threads, self._engine.look)
        )


class Engine:
    """Looks at all containers. Blocking; used by one thread at a time."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._client: Any = None

    def look(self) -> list[Sighting]:
        """All nodes of the engine. RoundFailed when it can't be asked."""
        try:
            if self._client is None:
                self._client = self._connect()
            vantage = _vantage(self._client)
            listed = self._client.containers(all=True)
            sightings = [_sighting(self._client, each, vantage) for each in listed if is_node(each)]
        except _FAILURES as error:
            self.close()
            raise RoundFailed(_reason(error)) from error
        return [each for each in sightings if each is not None]

    def close(self) -> None:
        """Close its connections; the next look opens them anew."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


class EngineEvents:
    """Follows the engine's events in a thread of their own, for as long as it isn't closed."""

    _log = Logger()

    def __init__(self, connect: Callable[[], Any], first_backoff_s: float = _FIRST_BACKOFF_S):
        self._connect = connect
        self._first_backoff_s = first_backoff_s
        self._closed = Event()
        self._lock = Lock()
        self._stream: Any = None

    def follow(self, happened: Callable[[], object]) -> None:
        """Blocking; calls `happened`, in this thread, whenever something may have changed.

        That is after an event, when the stream was opened (nobody listened before), and
        when it ended or couldn't be opened (the engine may be gone). Returns after `close`.
        """
        backoff_s = self._first_backoff_s
        while not self._closed.is_set():
            try:
                opened = self._listen(happened)
            except Exception as error:  # noqa: BLE001 - rounds go on; so must their trigger
                opened = False
                if not isinstance(error, _FAILURES) and not self._closed.is_set():
                    self._log.failure("listening to the engine's events")
            if opened:
                backoff_s = self._first_backoff_s
            happened()
            self._closed.wait(backoff_s)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)

    def close(self) -> None:
        """Make `follow` return; from any thread."""
        self._closed.set()
        with self._lock:
            if self._stream is not None:
                _end(self._stream)

    def _listen(self, happened: Callable[[], object]) -> bool:
        """Whether the stream was open until it ended."""
        client = self._connect()
        try:
            while not self._closed.is_set():
                stream = client.events(decode=True, filters=_FILTERS)
                with self._lock:
                    # Closed while the stream was opened: `close` didn't see it.
                    if self._closed.is_set():
                        _end(stream)
                        break
                    self._stream = stream
                try:
                    happened()
                    for event in stream:
                        if is_news(event):
                            happened()
                    break
                except urllib3.exceptions.ReadTimeoutError:
                    continue  # nothing happened for a while, or nobody is there: ask again
                finally:
                    with self._lock:
                        self._stream = None
                    _end(stream)
        finally:
            client.close()
        return True


def _end(stream: Any) -> None:
    """Shut the stream's socket down, which wakes the thread that reads it."""
    # Over ssh it can't be; then the deadline ends it. AttributeError: it ended by itself.
    with suppress(DockerException, OSError, AttributeError, ValueError):
        stream.close()


def _sighting(client: Any, listed: Mapping[str, Any], vantage: Vantage) -> Sighting | None:
    try:
        return sight(client.inspect_container(listed["Id"]), vantage)
    except NotFound:
        return None  # removed since it was listed
    except APIError as error:
        return unreadable(listed, str(error.explanation or error))


def _vantage(client: Any) -> Vantage:
    """Asked each round: the gateway's container may be put on another network."""
    outside = vantage_outside(os.environ.get("DOCKER_HOST"))
    hostname = socket.gethostname()
    for found in own_ids(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"), hostname):
        with suppress(NotFound):
            inspected = client.inspect_container(found)
            if is_own(inspected, found, hostname):
                return vantage_in(inspected, outside)
    return outside


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _reason(error: BaseException) -> str:
    """One line. The package wraps the system's error three times over."""
    where = os.environ.get("DOCKER_HOST") or "its default socket"
    cause: BaseException | None = error
    found: OSError | None = None
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, OSError) and cause.strerror:
            found = cause
        inner = next((each for each in cause.args if isinstance(each, BaseException)), None)
        cause = inner or cause.__cause__ or cause.__context__
    if isinstance(error, APIError):
        return f"the Docker engine refused: {str(error.explanation or error).splitlines()[0]}"
    said = found.strerror if found is not None else (str(error).splitlines() or [""])[0]
    return f"the Docker engine can't be reached at {where}: {said}"
