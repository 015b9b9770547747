"""Each command in docs/operations.md is run, in the order of the page, by a shell as one has it."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.load import Load
from tests.integration.nodes import KINDS
from tests.integration.operations_page import elsewhere, walk_throughs
from tests.integration.processes import clean_environment
from tests.integration.wire import ask

pytestmark = pytest.mark.timeout(900)

# One that waits until all is settled, on slow nodes.
BLOCK_S = 240.0
_TAIL_LINES = 60

_MINIO_BY_SEAWEEDFS = '''\
"""As much of `minio server FOLDER --address HOST:PORT` as the page needs, by SeaweedFS."""

import json, os, signal, subprocess, sys
from pathlib import Path
from aosd.discovery.servers import choose_server, launch
from aosd.model.node import Credentials

_, _, folder, _, address = sys.argv
folder = Path(folder)
folder.mkdir(exist_ok=True)
pair = Credentials(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
launch(choose_server("seaweedfs"), folder, pair)
known = json.loads((folder / "ports.json").read_text())
known["s3"] = int(address.rpartition(":")[2])
(folder / "ports.json").write_text(json.dumps(known))
how = launch(choose_server("seaweedfs"), folder, pair)
guard = ["setpriv", "--pdeathsig", "KILL", "--"]
server = subprocess.Popen(
    [*guard, *how.command], cwd=folder, env={**os.environ, **how.environment}
)
# It takes half a minute to end by itself.
signal.signal(signal.SIGTERM, lambda *_: server.kill())
sys.exit(server.wait())
'''


class Shell:
    """One `sh` that is fed block after block; what it starts ends with it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._told: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            ["sh"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, block: str) -> str:
        """What a block prints. Fails unless each of its commands succeeds, in good time."""
        mark = f"-- block {len(self._told)} is over --"
        assert self._process.stdin is not None
        self._process.stdin.write(f"set -eu\n{block}\nset +eu\necho '{mark}'\n")
        self._process.stdin.flush()
        printed: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=BLOCK_S)
            except queue.Empty:
                line = ""
            self._told.append(line)
            if line.strip() == mark:
                return "".join(printed)
            printed.append(line)
            assert line, f"it ended, or hangs:\n{block}\n{''.join(self._told[-_TAIL_LINES:])}"

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


def ten_free_ports() -> int:
    """The first of ten that follow one another, and are free; it ends with a 0.

    They lie above those that the kernel gives to connections, and other tests to servers.
    """
    for first in range(61_000, 65_000, 10):
        try:
            for port in range(first, first + 10):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no ten free ports")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Shell, int]]:
    """A shell, and the first of its ten ports: the gateway's."""
    first = ten_free_ports()
    programs = tmp_path / "programs"
    programs.mkdir()
    guard = "exec setpriv --pdeathsig KILL --"
    twistd = Path(sys.executable).with_name("twistd")
    write_program(programs / "twistd", f"{guard} {sys.executable} {twistd}")
    write_program(
        programs / "aosctl",
        f"exec {sys.executable} -c 'from aosd.aosctl.main import main; main()'",
    )
    if KINDS[0] != "minio":
        (programs / "minio.py").write_text(_MINIO_BY_SEAWEEDFS)
        write_program(programs / "minio", f"exec {sys.executable} {programs / 'minio.py'}")
    environment = clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        MINIO_BROWSER="off",
        MINIO_UPDATE="off",
        MINIO_CALLHOME_ENABLE="off",
        # Twenty minutes, for users.
        AOSD_LATE_WRITE_WINDOW_S="1",
    )
    shell = Shell(tmp_path, environment)
    try:
        yield shell, first
    finally:
        shell.end()


def write_program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\n{command} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_each_command_of_the_page(store: tuple[Shell, int]) -> None:
    shell, first = store

    def here(block: str) -> str:
        """With the ports that are free here."""
        block = block.replace(":3000", f":{first}")
        return re.sub(r"\b900(?=\d|\$)", str(first // 10), block)

    parts = walk_throughs()
    *growing, leaving = parts
    assert (growing[1], leaving) == ("From one node to five", "Leaving")
    for heading in growing[:2]:
        for block in parts[heading]:
            shell.run(here(block))
    # The rest of the page speaks of a store as it is now.
    for block in elsewhere():
        shell.run(here(block))
    with Load(lambda: first, "pages", keys=20, workers=2) as load:
        for heading in growing[2:]:
            for block in parts[heading]:
                shell.run(here(block))
                load.wait_for(10)
    load.expect_no_failures()
    load.read_back()
    told = [shell.run(here(block)) for block in parts[leaving]]
    assert 'name = "n1"' in told[-1]
    assert ask(first, "GET", "/-/ready").status == 503
