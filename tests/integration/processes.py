"""What the kernel tells of processes and their connections, by proc(5)."""

from __future__ import annotations

import re
import socket
from pathlib import Path

_PROC = Path("/proc")
_ESTABLISHED = "01"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
