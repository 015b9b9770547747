"""The daemon under measurement: `twistd -n aosd`, as a user would start it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.integration.daemon import Daemon


def start_daemon(
    stack: ExitStack,
    directory: Path,
    nodes_file: Path,
    replicas: int = 1,
    environment: Mapping[str, str] | None = None,
    *,
    express: bool = True,
    logged: bool = False,
) -> Daemon:
    """Start the daemon, which `stack` ends; its nodes are up and compared by then."""
    flags = [f"--nodes=static:{nodes_file}", f"--replicas={replicas}"]
    flags += [f"--express={str(express).lower()}", f"--access-log={str(logged).lower()}"]
    daemon = Daemon(directory, flags, environment)
    stack.callback(daemon.process.stop)
    daemon.wait_until_ready()
    daemon.wait_until_settled()
    return daemon
