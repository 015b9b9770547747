"""Child processes of a benchmark: started, watched and ended by their own pid."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

_LOG_TAIL_BYTES = 2000

_PORTS = range(10_000, 32_000)


class BenchError(Exception):
    """Something that a figure needs is missing or went wrong; its text is for the reader."""


class Process:
    """One child; a context manager that ends it. Its output goes to the file `log`.

    It runs in `directory` (default: ours), and gets `stop_s` to end by itself before it is
    killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        directory: Path | None = None,
        stop_s: float = 20.0,
    ) -> None:
        self.name = name
        self._stop_s = stop_s
        self._log = log
        # A child must not outlive us, also when we are killed.
        last = "TERM" if stop_s else "KILL"
        guard = ["setpriv", "--pdeathsig", last, "--"] if shutil.which("setpriv") else []
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._child.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that doesn't help in time."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            self._child.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def wait_until(self, ready: Callable[[], bool], deadline_s: float = 60.0) -> None:
        """Wait until `ready()`; BenchError with the end of its log if that never comes."""
        end = time.monotonic() + deadline_s
        while not ready():
            if self._child.poll() is not None or time.monotonic() > end:
                raise BenchError(f"{self.name} didn't start:\n{self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self) -> str:
        """The end of what it wrote."""
        return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used so far, in user and kernel mode."""
        # What clock_getcpuclockid(3) returns: a clock in nanoseconds, where /proc has ticks.
        return time.clock_gettime((~self.pid << 3) | 2)

    @property
    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._status_bytes("VmRSS")

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory since it began, or since `reset_peak`."""
        return self._status_bytes("VmHWM")

    def reset_peak(self) -> None:
        """Count the peak of resident memory from now on (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status_bytes(self, field: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        if found is None:
            raise BenchError(f"{self.name} has no {field}: it has ended:\n{self.log_tail()}")
        return int(found[1]) * 1024


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different.

    They lie below those that the kernel gives to outgoing connections: the load itself
    would take one of these before the server that it is meant for.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise BenchError(f"no {count} free ports between {_PORTS[0]} and {_PORTS[-1]}")


def listens(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str, package: str) -> str:
    """Where a program is; BenchError that names its Debian package when it is nowhere."""
    # Debian puts servers where an ordinary user's PATH doesn't look.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise BenchError(f"{name} is missing: apt-get install {package}")
    return path
