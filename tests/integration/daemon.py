"""The daemon as users start it: `twistd -n aosd …` in a process of its own."""

from __future__ import annotations

import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.processes import (
    Process,
    clean_environment,
    connections,
    free_port,
    marked,
)
from tests.integration.waiting import until
from tests.integration.wire import Answer, ask

ROOT = Path(__file__).resolve().parents[2]
TWISTD = Path(sys.executable).with_name("twistd")

_START_S = 30.0
_STOP_S = 45.0


class Daemon:
    """One daemon; `folder` is where it runs, logs and keeps temporary files.

    It listens on `port` of 127.0.0.1, unless `listens` is False: then somebody else says
    where.
    """

    def __init__(
        self,
        folder: Path,
        flags: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        listens: bool = True,
        twistd_flags: Sequence[str] = ("-n", "--pidfile="),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_path = folder / "output.log"
        self.temp = folder / "temp"
        self.temp.mkdir(exist_ok=True)
        self.port = free_port()
        self.mark = f"TESTED_DAEMON={secrets.token_hex(8)}"
        command = [sys.executable, str(TWISTD), *twistd_flags, "aosd", *flags]
        if listens:
            command.append(f"--http=tcp:{self.port}:interface=127.0.0.1")
        name, _, value = self.mark.partition("=")
        ours = clean_environment(**{"TMPDIR": str(self.temp), name: value})
        self.process = Process(
            "aosd", command, self.log_path, {**ours, **(environment or {})}, directory=folder
        )
        self.pid = self.process.pid
        self._terminated = False

    # -- life -----------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        until(lambda: self._status("/-/ready") == 200, "the daemon is ready", _START_S)

    def wait_until_settled(self, deadline_s: float = 60.0) -> None:
        """Wait until its copies are known to lie where they belong."""
        told: dict[str, Any] = {}

        def is_settled() -> bool:
            told.update(self.repair())
            return bool(told["settled"])

        try:
            until(is_settled, "all is settled", deadline_s)
        except AssertionError as error:
            error.add_note(f"{told}\n{self.process.log_tail()}")
            raise

    def wait_until_it_lives(self) -> None:
        until(lambda: self._status("/-/health") == 200, "the daemon lives", _START_S)

    def wait_for_states(self, states: Mapping[str, str], deadline_s: float = 60.0) -> None:
        """Wait until /-/nodes tells these states of these nodes, and of no others."""
        until(lambda: self.states() == states, f"nodes are {states}", deadline_s)

    def wait_for_states_once_alive(self, states: Mapping[str, str]) -> None:
        """The same, right after the start of one that has no nodes that it could serve from."""
        self.wait_until_it_lives()
        self.wait_for_states(states)

    def wait_until_up(self, *names: str) -> None:
        """Wait until it is ready, and these are its nodes and up."""
        self.wait_until_it_lives()
        self.wait_until_ready()
        self.wait_for_states(dict.fromkeys(names, "up"))

    def terminate(self) -> None:
        """SIGTERM, once: twistd would complain of a second one when it is about to end."""
        if not self._terminated:
            self._terminated = True
            self.process.send_signal(signal.SIGTERM)

    def wait(self, deadline_s: float = _STOP_S) -> int:
        """The exit code, once it is over."""
        return self.process.wait(deadline_s)

    def stop(self, expected: Sequence[str] = ()) -> None:
        """SIGTERM, and check that nothing is left: the usual end of a test.

        No traceback may be in its log but for those that have one of `expected` in them.
        """
        if self.process.runs:
            self.terminate()
        try:
            self.expect_clean_exit()
        finally:
            self.kill()
        self.expect_nothing_left()
        events = re.split(r"^(?=\d{4}-\d\d-\d\dT)", self.log, flags=re.MULTILINE)
        tracebacks = [event for event in events if "Traceback" in event]
        unexpected = [each for each in tracebacks if not any(known in each for known in expected)]
        assert not unexpected, "".join(unexpected)

    def expect_clean_exit(self) -> None:
        """It ended by itself: after a signal and its work twistd gives itself that signal."""
        assert self.wait() in (0, -signal.SIGTERM), self.log
        assert "Server Shut Down." in self.log

    def kill(self) -> None:
        """Whatever state it is in."""
        self.process.end()

    def expect_nothing_left(self) -> None:
        """No process and no temporary file."""
        assert marked(self.mark) == []
        assert list(self.temp.iterdir()) == []

    # -- what it tells --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the plain door's objects are."""
        return f"http://127.0.0.1:{self.port}/object/"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def ask(
        self,
        verb: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 15.0,
    ) -> Answer:
        """One request on a connection of its own."""
        return ask(self.port, verb, target, headers, body, timeout_s)

    def nodes(self) -> dict[str, Any]:
        """What /-/nodes tells."""
        told: dict[str, Any] = self.ask("GET", "/-/nodes").json
        return told

    def repair(self) -> dict[str, Any]:
        """What /-/repair tells."""
        told: dict[str, Any] = self.ask("GET", "/-/repair").json
        return told

    def states(self) -> dict[str, str]:
        """The nodes' states by name."""
        return {each["name"]: each["state"] for each in self.nodes()["nodes"]}

    def order(self, key: str) -> list[str]:
        """The names of all nodes in a key's order: its primaries first."""
        told = self.ask("GET", f"/-/ring?key={key}").json
        return [each["name"] for each in told["order"]]

    def primary(self, key: str) -> str:
        """The name of a key's first node."""
        return self.order(key)[0]

    def key_on(self, node: str, prefix: str) -> str:
        """A key that begins with `prefix` and has `node` as its first."""
        for number in range(1000):
            key = f"{prefix}{number}"
            if self.primary(key) == node:
                return key
        raise AssertionError(f"no key lies on {node}")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 when there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        total = 0.0
        for line in self.ask("GET", "/-/metrics").body.decode().splitlines():
            sample, _, value = line.rpartition(" ")
            found, _, told = sample.partition("{")
            if found == name and all(each in told for each in wanted):
                total += float(value)
        return total

    def connections_to(self, port: int) -> int:
        """Its established connections to a port of 127.0.0.1."""
        return connections(self.pid, port)

    def _status(self, target: str) -> int:
        assert self.process.poll() is None, self.log
        try:
            return self.ask("GET", target).status
        except OSError:
            return 0


@contextmanager
def running_daemon(
    folder: Path,
    nodes_file: Path,
    *flags: str,
    up: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    expected: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon with the nodes of a file, ready when those in `up` are up; it ends well.

    `expected`: see Daemon.stop.
    """
    daemon = Daemon(folder, [f"--nodes=static:{nodes_file}", *flags], environment)
    try:
        daemon.wait_until_it_lives()
        if up:
            daemon.wait_until_ready()
            daemon.wait_for_states(dict.fromkeys(up, "up"))
        yield daemon
        daemon.stop(expected)
    finally:
        daemon.kill()
