"""Child processes of tests and benchmarks, and what the kernel tells of them by proc(5)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from aosd.discovery import servers

_PROC = Path("/proc")
_ESTABLISHED = "01"
_LOG_TAIL_BYTES = 2000
_LOOK_EVERY_S = 0.05


def heed_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class NotStartedError(AssertionError):
    """A child that should serve by now doesn't; its text has the end of its log."""


class Process(subprocess.Popen[bytes]):
    """One child; it doesn't outlive us, also when we are killed.

    Its output goes to the file `log`, after what is in it; it runs in `directory` (default:
    ours), with just this `environment` (default: ours). `stop` gives it `stop_s` to end by
    itself before it is killed.
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
        self.log = log
        self._stop_s = stop_s
        last = "TERM" if stop_s else "KILL"
        guard = ["setpriv", "--pdeathsig", last, "--"] if shutil.which("setpriv") else []
        with log.open("ab") as output:
            super().__init__(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=environment,
                preexec_fn=heed_interrupts,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def runs(self) -> bool:
        return self.poll() is None

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that doesn't help in time."""
        if self.runs and self._stop_s:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.wait(self._stop_s)
        self.end()

    def end(self) -> None:
        """SIGKILL, unless it is over."""
        if self.runs:
            self.kill()
        self.wait()

    def wait_until(self, ready: Callable[[], bool], deadline_s: float = 60.0) -> None:
        """Wait until `ready()`; NotStartedError when that never comes."""
        end_s = time.monotonic() + deadline_s
        while not ready():
            if not self.runs or time.monotonic() > end_s:
                raise NotStartedError(f"{self.name} didn't start:\n{self.log_tail()}")
            time.sleep(_LOOK_EVERY_S)

    def log_tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used so far, in user and kernel mode."""
        # What clock_getcpuclockid(3) returns: a clock in nanoseconds, where /proc has ticks.
        return time.clock_gettime((~self.pid << 3) | 2)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without the caller's own settings of aosd, and with `more`.

    This tree's aosd is the one that is imported, whichever one is installed. LANE=standard in
    the caller's turns the express lane off, where a test doesn't say itself which one it is for.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AOSD_")}
    if kept.pop("LANE", None) == "standard":
        kept["AOSD_EXPRESS"] = "false"
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(each for each in (root, os.environ.get("PYTHONPATH")) if each)
    return {**kept, "PYTHONPATH": path, **more}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different; none is given twice."""
    return servers.free_ports(count, is_ours)


def is_ours(port: int) -> bool:
    """Whether a server of these tests could listen on this port of 127.0.0.1.

    Of tests that run side by side each process has its own: a server takes seconds to open its
    ports, and another process would take them meanwhile.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    return port % int(workers) == int(worker) and servers.is_free_here(port)


def listens(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return _status_bytes(pid, "VmRSS")


def peak_rss_bytes(pid: int) -> int:
    """The most resident memory that a process ever had, or had since `reset_peak`."""
    return _status_bytes(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Count the peak of resident memory from now on."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def connections(pid: int, port: int) -> int:
    """How many established connections a process has to a port of 127.0.0.1."""
    sockets = set()
    for descriptor in (_PROC / str(pid) / "fd").iterdir():
        try:
            found = re.fullmatch(r"socket:\[(\d+)]", str(descriptor.readlink()))
        except FileNotFoundError:
            continue
        if found:
            sockets.add(found[1])
    remote = f"0100007F:{port:04X}"
    rows = (_PROC / str(pid) / "net/tcp").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    return sum(row[2] == remote and row[3] == _ESTABLISHED and row[9] in sockets for row in fields)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended but wasn't waited for is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def is_stopped(pid: int) -> bool:
    """Whether all threads of a process have been stopped by a signal."""
    stats = [(task / "stat").read_text() for task in (_PROC / str(pid) / "task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def marked(mark: str) -> list[int]:
    """The processes that have `mark` in their environment, zombies left out."""
    found = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _status_bytes(pid: int, field: str) -> int:
    status = (_PROC / str(pid) / "status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, f"process {pid} is over"
    return int(found[1]) * 1024


def unread_bytes(port: int) -> int:
    """How much lies unread in connections to a port of 127.0.0.1 (proc(5), /proc/net/tcp)."""
    waiting = 0
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues, *_ = line.split()
        if int(remote.rpartition(":")[2], 16) == port:
            waiting += int(queues.rpartition(":")[2], 16)
    return waiting
