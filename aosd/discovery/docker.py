"""Nodes that run as containers: looked for in rounds, and whenever the engine says so."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException, NotFound
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.containers import is_node, sighting
from aosd.discovery.rounds import Rounds
from aosd.model.errors import AosdError
from aosd.model.node import Sighting
from aosd.ports import IDiscovery, Report, Trouble

_TIMEOUT_S = 10
_LISTEN_AGAIN_S = 1.0
_LISTEN_AGAIN_MAX_S = 15.0
_ID = re.compile(r"[0-9a-f]{64}")
_EVENTS = ["create", "start", "die", "destroy", "pause", "unpause", "rename", "connect"]
_EVENTS += ["disconnect"]


class EngineUnreachable(AosdError):
    """Docker can't be asked: no news, not an empty cluster."""


@implementer(IDiscovery)
class DockerDiscovery:
    """See IDiscovery. Whatever blocks runs in threads.

    Rounds run in the daemon's pool; the event stream, which blocks for as long as nothing
    happens, in one of its own.
    """

    name = "docker"
    _log = Logger()

    def __init__(self, context: DiscoveryContext) -> None:
        self._context = context
        self._reactor = context.reactor
        self._rounds = Rounds(self._look, context.reactor, context.interval_s)
        self._listener = ThreadPool(1, 1, "aosd-docker-events")
        self._listening: Deferred[None] | None = None
        self._stream: Any = None
        self._again: Any = None
        self._again_s = _LISTEN_AGAIN_S
        self._stopping = False

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        self._listener.start()
        self._listen()
        return self._rounds.start(report, trouble)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self._again is not None:
            self._again.cancel()
        self._close_stream()
        await self._rounds.stop()
        if self._listening is not None:
            await self._listening
        self._listener.stop()

    # -- rounds ---------------------------------------------------------------------------------

    async def _look(self) -> Sequence[Sighting]:
        found: Sequence[Sighting] = await deferToThreadPool(
            self._reactor, self._context.threads, look
        )
        return found

    # -- the event stream -----------------------------------------------------------------------

    def _listen(self) -> None:
        self._again = None
        self._listening = deferToThreadPool(self._reactor, self._listener, self._follow)
        self._listening.addBoth(self._stream_ended)

    def _stream_ended(self, result: object) -> None:
        self._listening = None
        self._stream = None
        if self._stopping:
            return
        # The engine is gone, or restarted: the rounds find out which. Listen again.
        self._again = self._reactor.callLater(self._again_s, self._listen)
        self._again_s = min(self._again_s * 2, _LISTEN_AGAIN_MAX_S)

    def _follow(self) -> None:
        """In the listener's thread: tell of each event until the stream ends."""
        client = docker.from_env(timeout=_TIMEOUT_S)
        try:
            stream = client.events(decode=True, filters={"event": _EVENTS})
            self._reactor.callFromThread(self._follows, stream)
            for _ in stream:
                self._reactor.callFromThread(self._rounds.hurry)
        except (DockerException, requests.RequestException, OSError, ValueError, AttributeError):
            # ValueError and AttributeError are what reading a closed stream raises.
            return
        finally:
            client.close()

    def _follows(self, stream: Any) -> None:
        self._stream = stream
        self._again_s = _LISTEN_AGAIN_S
        if self._stopping:
            self._close_stream()
        else:
            # What happened before the stream was open was told to nobody.
            self._rounds.hurry()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except (DockerException, OSError) as error:
                self._log.info("closing the event stream: {error}", error=error)


def look() -> list[Sighting]:
    """One round, in a thread: all containers that are meant to be nodes.

    One bad container spoils nothing but itself. Raises EngineUnreachable.
    """
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
        try:
            return _look(client.api)
        finally:
            client.close()
    except (DockerException, requests.RequestException, OSError) as error:
        raise EngineUnreachable(f"Docker can't be reached: {error}") from error


def _look(api: Any) -> list[Sighting]:
    own_networks = _own_networks(api)
    found: list[Sighting] = []
    for listed in api.containers(all=True):
        names = [str(name).lstrip("/") for name in listed.get("Names") or [""]]
        if not any(is_node(name, listed.get("Labels") or {}) for name in names):
            continue
        try:
            # Never its image: that may be gone while the container runs.
            inspected = api.inspect_container(listed["Id"])
        except NotFound:
            continue  # removed meanwhile
        try:
            found.append(sighting(inspected, own_networks))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found.append(
                Sighting(
                    names[0],
                    running=False,
                    problem=f"its description can't be read: {error!r}",
                    seen_as=f"container {names[0]}",
                )
            )
    return found


def _own_networks(api: Any) -> frozenset[str] | None:
    """The networks of the container that we run in; None on the host.

    A container's id is found in the mounts that Docker gives it and is its host name by
    default; the engine has to know it, or it is some other engine's.
    """
    if not Path("/.dockerenv").exists():
        return None
    candidates = [socket.gethostname()]
    for path in ("/proc/self/mountinfo", "/proc/self/cgroup"):
        try:
            candidates += _ID.findall(Path(path).read_text())
        except OSError:
            continue
    for candidate in dict.fromkeys(candidates):
        try:
            inspected = api.inspect_container(candidate)
        except NotFound:
            continue
        networks = (inspected.get("NetworkSettings") or {}).get("Networks") or {}
        if "host" in networks:
            return None
        return frozenset(
            network["NetworkID"] for network in networks.values() if network.get("NetworkID")
        )
    return None
