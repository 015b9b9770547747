"""The daemon as a child process: `twistd -n aosd`, as a user would start it."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process, free_ports

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Daemon:
    """A daemon that is ready; its objects are under `url`."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        """Where the plain door's objects are."""
        return f"http://127.0.0.1:{self.port}/object/"


def start_daemon(stack: ExitStack, directory: Path, nodes_file: Path, count: int) -> Daemon:
    """Start the daemon, which `stack` ends; all `count` nodes are up by then."""
    directory.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    twistd = Path(sys.executable).with_name("twistd")
    command = [sys.executable, str(twistd), "-n", f"--pidfile={directory / 'twistd.pid'}"]
    command += ["aosd", "--http", f"tcp:{port}:interface=127.0.0.1"]
    command += ["--nodes", f"static:{nodes_file}", "--access-log", "false"]
    # This tree's aosd, whichever one is installed; nothing of the caller's own settings.
    path = os.pathsep.join(each for each in (str(_ROOT), os.environ.get("PYTHONPATH")) if each)
    environment = {name: "" for name in os.environ if name.startswith("AOSD_")}
    process = stack.enter_context(
        Process("aosd", command, directory / "aosd.log", {**environment, "PYTHONPATH": path})
    )
    process.wait_until(lambda: _nodes_up(port) == count)
    return Daemon(process, port)


def _nodes_up(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/nodes", timeout=5) as answer:
            return sum(node["state"] == "up" for node in json.load(answer)["nodes"])
    except (urllib.error.URLError, OSError):
        return 0
