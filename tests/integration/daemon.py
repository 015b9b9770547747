"""The daemon as users start it: `twistd -n aosd …` in a process of its own."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.processes import connections, free_port, marked
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
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**clean_environment(self.temp, self.mark), **(environment or {})},
            )
        self.pid = self.process.pid

    # -- life -----------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        until(lambda: self._status("/-/ready") == 200, "the daemon is ready", _START_S)

    def wait_until_it_lives(self) -> None:
        until(lambda: self._status("/-/health") == 200, "the daemon lives", _START_S)

    def wait_for_states(self, states: Mapping[str, str], deadline_s: float = 20.0) -> None:
        """Wait until /-/nodes tells these states of these nodes, and of no others."""
        until(lambda: self.states() == states, f"nodes are {states}", deadline_s)

    def wait_for_states_once_alive(self, states: Mapping[str, str]) -> None:
        """The same, right after the start."""
        self.wait_until_it_lives()
        self.wait_for_states(states)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, deadline_s: float = _STOP_S) -> int:
        """The exit code, once it is over."""
        return self.process.wait(deadline_s)

    def stop(self, expected: Sequence[str] = ()) -> None:
        """SIGTERM, and check that nothing is left: the usual end of a test.

        No traceback may be in its log but for those that have one of `expected` in them.
        """
        if self.process.poll() is None:
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
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def expect_nothing_left(self) -> None:
        """No process and no temporary file."""
        assert marked(self.mark) == []
        assert list(self.temp.iterdir()) == []

    # -- what it tells --------------------------------------------------------------------------

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

    def states(self) -> dict[str, str]:
        """The nodes' states by name."""
        return {each["name"]: each["state"] for each in self.nodes()["nodes"]}

    def primary(self, key: str) -> str:
        """The name of the node that a key lies on."""
        told = self.ask("GET", f"/-/ring?key={key}").json
        return str(told["order"][0]["name"])

    def key_on(self, node: str, prefix: str) -> str:
        """A key that begins with `prefix` and lies on `node`."""
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


def clean_environment(temp: Path, mark: str) -> dict[str, str]:
    """This tree's aosd, whichever one is installed; none of the caller's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AOSD_")}
    path = os.pathsep.join(each for each in (str(ROOT), os.environ.get("PYTHONPATH")) if each)
    name, _, value = mark.partition("=")
    return {**kept, "PYTHONPATH": path, "TMPDIR": str(temp), name: value}


@contextmanager
def running_daemon(
    folder: Path,
    nodes_file: Path,
    *flags: str,
    up: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    expected: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon with the nodes of a file, of which those in `up` are up; it ends well.

    `expected`: see Daemon.stop.
    """
    daemon = Daemon(folder, [f"--nodes=static:{nodes_file}", *flags], environment)
    try:
        daemon.wait_until_it_lives()
        if up:
            daemon.wait_for_states(dict.fromkeys(up, "up"))
        yield daemon
        daemon.stop(expected)
    finally:
        daemon.kill()
