"""Three nodes that may be broken, and a gateway that keeps two copies of everything on them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.waiting import until
from tests.integration.wire import Wire

LATE_WRITE_WINDOW_S = 2.0

# What takes 20 minutes for users takes seconds here.
FLAGS = (
    f"--late-write-window-s={LATE_WRITE_WINDOW_S:g}",
    "--node-down-after-s=3",
    "--probe-interval-s=0.5",
    "--access-log=false",
)

# SeaweedFS takes a minute to come back after SIGKILL, and its copies follow then.
QUIET_S = 150.0
TERMINATED_S = 10.0


class Durable:
    """The nodes by name, all in one static file, and the gateway of the moment."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        flags: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.nodes = {name: RealNode(name, folder / name) for name in names}
        self.file = folder / "nodes.toml"
        self.daemons: list[Daemon] = []
        self._flags = flags
        self._environment = environment or {}

    # -- life -------------------------------------------------------------------------------------

    @property
    def daemon(self) -> Daemon:
        """The gateway that was started last."""
        return self.daemons[-1]

    def port(self) -> int:
        return self.daemon.port

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_until_it_answers()
        self.write_file()
        self.start_gateway()
        self.daemon.wait_until_ready()
        self.wait_until_quiet()

    def start_gateway(self, environment: Mapping[str, str] | None = None) -> Daemon:
        """One more; it may take a while to be ready."""
        folder = self.folder / f"daemon{len(self.daemons)}"
        daemon = Daemon(
            folder,
            [f"--nodes=static:{self.file}", *self._flags],
            {**self._environment, **(environment or {})},
        )
        self.daemons.append(daemon)
        daemon.wait_until_it_lives()
        return daemon

    def write_file(self, *more: RealNode) -> None:
        write_nodes_file(self.file, [*self.nodes.values(), *more])

    def add(self, name: str) -> RealNode:
        """One more empty node, which answers, in the file."""
        node = self.nodes[name] = RealNode(name, self.folder / name)
        node.start_again()
        self.write_file()
        return node

    def empty(self, name: str) -> None:
        """Take a killed node's disk, and put an empty one in its place."""
        node = self.nodes[name]
        assert not node.runs
        for data in ("data", "master"):
            folder = node._folder / data
            if folder.exists():
                shutil.rmtree(folder)
                folder.mkdir()

    def terminate(self, name: str) -> None:
        """SIGTERM, as who restarts a node does; SIGKILL when that takes too long."""
        node = self.nodes[name]
        node._signal(signal.SIGTERM)
        end_s = time.monotonic() + TERMINATED_S
        until(lambda: not node.runs or time.monotonic() > end_s, f"{name} ends", 2 * TERMINATED_S)
        if node.runs:
            node.kill()

    def end(self) -> None:
        """Whatever state all of it is in."""
        for daemon in self.daemons:
            daemon.kill()
        for node in self.nodes.values():
            node.end()

    def mend(self) -> None:
        """What a failed test left behind: no thread, but perhaps a node that stands still."""
        for node in self.nodes.values():
            if node.runs:
                node.thaw()
            else:
                node.start_again()
        if self.daemon.process.poll() is not None:
            self.start_gateway()
        self.wait_until_quiet()

    # -- what it tells ----------------------------------------------------------------------------

    def state(self, name: str) -> str:
        return self.daemon.states()[name]

    def wait_until_quiet(self, deadline_s: float = QUIET_S) -> None:
        """All nodes are up, no mark is left, and each partition is settled."""
        until(self._is_quiet, "all is up and settled", deadline_s)

    def _is_quiet(self) -> bool:
        try:
            nodes, repair = self.daemon.nodes(), self.repair()
        except OSError:
            return False
        states = {each["name"]: each["state"] for each in nodes["nodes"] if each["member"]}
        return (
            states == dict.fromkeys(self.nodes, "up")
            and repair["settled"] is True
            and repair["marks"] == 0
        )

    def why_not_quiet(self) -> str:
        """For a failure's message."""
        return f"{self.daemon.nodes()}\n{self.repair()}"

    def repair(self) -> dict[str, Any]:
        told: dict[str, Any] = self.daemon.ask("GET", "/-/repair").json
        return told

    def ring(self, key: str) -> dict[str, Any]:
        """What /-/ring tells of a key."""
        told: dict[str, Any] = self.daemon.ask("GET", f"/-/ring?key={key}&bucket=object").json
        return told

    def roles(self, key: str, role: str) -> list[str]:
        """The nodes that are `primary` or `handoff` of a key, in its order."""
        return [each["name"] for each in self.ring(key)["order"] if each["role"] == role]

    def key_with_primary(self, name: str, prefix: str, *, first: bool = False) -> str:
        """A key that begins with `prefix` and has the node among its primaries, or first."""
        for number in range(1000):
            key = f"{prefix}{number}"
            primaries = self.roles(key, "primary")
            if name in (primaries[:1] if first else primaries):
                return key
        raise AssertionError(f"no key has the primary {name}")

    def holders(self, key: str) -> dict[str, str]:
        """The nodes that hold a key, by /-/ring, and the ETags of its copies."""
        copies = self.ring(key)["copies"]
        return {name: each["etag"] for name, each in copies.items() if each and "etag" in each}

    def requests_to(self, name: str, verb: str) -> float:
        return self.daemon.metric("aosd_node_requests_total", node=name, verb=verb)

    def node_that_serves(self, ask: Callable[[], object]) -> str:
        """Which node alone gets a GET more than before by `ask()`."""
        more: list[str] = []
        for _ in range(9):
            before = {name: self.requests_to(name, "GET") for name in self.nodes}
            ask()
            after = {name: self.requests_to(name, "GET") for name in self.nodes}
            more = [name for name in self.nodes if after[name] > before[name]]
            if len(more) == 1:
                return more[0]
            # The gateway asks all of them by itself, now and then.
        raise AssertionError(more)


@contextmanager
def running_durable(
    folder: Path,
    names: Sequence[str],
    *flags: str,
    replicas: int = 2,
    expected: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Durable]:
    """Nodes and a gateway, ready and settled; the last gateway has to end well.

    `expected`: see Daemon.stop. `environment` is each gateway's.
    """
    durable = Durable(folder, names, [f"--replicas={replicas}", *FLAGS, *flags], environment)
    with ExitStack() as stack:
        stack.callback(durable.end)
        durable.start()
        yield durable
        durable.daemon.stop(expected)


class Download:
    """A GET whose client reads slowly: it has the head, and most of the body is to come."""

    def __init__(self, port: int, key: str) -> None:
        # A small window, so that little lies in buffers on the way.
        self.wire = Wire(port, 60.0, receive_buffer_bytes=64 * 1024)
        self.wire.send_request("GET", f"/object/{key}")
        self.raw_head = self.wire.read_head()

    def read(self, size_bytes: int) -> bytes:
        """The whole body."""
        with self.wire:
            return self.wire.read_body(self.raw_head, size_bytes)
