"""The daemon's memory while much more flows through it than it may hold."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.load import MIB, get_large, put_large
from bench.processes import program
from tests.conftest import NAMES
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import running_nodes, write_nodes_file
from tests.integration.processes import peak_rss_bytes, reset_peak, rss_bytes

GROWTH_BOUND_BYTES = 64 * MIB
LONG_BYTES = 1024 * MIB
WARM_BYTES = 64 * MIB
READERS = 64
READER_BYTES_A_SECOND = 2 * MIB


@dataclass(frozen=True)
class Warmed:
    """A daemon that has served everything once, and its memory then."""

    daemon: Daemon
    rss_bytes: int
    directory: Path

    def body(self, size_bytes: int) -> Path:
        """A file of that length; it takes no room on the disk."""
        path = self.directory / f"body-{size_bytes}"
        with path.open("wb") as file:
            file.truncate(size_bytes)
        return path

    def expect_bounded(self, what: str) -> None:
        now_bytes = rss_bytes(self.daemon.pid)
        growth_bytes = peak_rss_bytes(self.daemon.pid) - self.rss_bytes
        # For docs/performance.md; `pytest -s` shows it.
        print(  # noqa: T201
            f"{what}: RSS {self.rss_bytes / MIB:.1f} MiB, grew by {growth_bytes / MIB:.1f} MiB "
            f"at the most, is {now_bytes / MIB:.1f} MiB now"
        )
        assert growth_bytes < GROWTH_BOUND_BYTES


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warmed]:
    directory = tmp_path_factory.mktemp("memory")
    with ExitStack() as stack:
        # pytest keeps its directories for some runs; this one would keep gigabytes.
        stack.callback(shutil.rmtree, directory / "nodes")
        nodes = stack.enter_context(running_nodes(directory / "nodes", NAMES))
        file = write_nodes_file(directory / "nodes.toml", nodes)
        running = running_daemon(directory / "aosd", file, "--access-log=false", up=NAMES)
        daemon = stack.enter_context(running)
        warm = Warmed(daemon, 0, directory)
        put_large(f"{daemon.url}warm", warm.body(WARM_BYTES), None)
        put_large(f"{daemon.url}warmchunked", warm.body(WARM_BYTES), None, chunked=True)
        get_large(f"{daemon.url}warm", WARM_BYTES, None)
        yield Warmed(daemon, rss_bytes(daemon.pid), directory)


@pytest.fixture(autouse=True)
def peak_from_here(warmed: Warmed) -> None:
    reset_peak(warmed.daemon.pid)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_long_put_and_get_grow_the_daemon_little(warmed: Warmed, chunked: bool) -> None:
    url = f"{warmed.daemon.url}long{int(chunked)}"
    put_large(url, warmed.body(LONG_BYTES), None, chunked=chunked)
    warmed.expect_bounded(f"1 GiB PUT {'chunked' if chunked else 'with length'}")
    reset_peak(warmed.daemon.pid)
    get_large(url, LONG_BYTES, None)
    warmed.expect_bounded("1 GiB GET")


def test_slow_readers_grow_the_daemon_little(warmed: Warmed) -> None:
    # All at once, each slower than the nodes: what piles up anywhere is 4 GiB in the end.
    command = [program("curl", "curl"), "-sS", "--parallel", "--parallel-immediate"]
    command += ["--parallel-max", str(READERS), "--limit-rate", str(READER_BYTES_A_SECOND)]
    command += ["-m", "300", "-w", "%{http_code} %{size_download}\n"]
    for _ in range(READERS):
        command += ["-o", "/dev/null", f"{warmed.daemon.url}warm"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=310)
    assert done.stdout.splitlines() == [f"200 {WARM_BYTES}"] * READERS
    warmed.expect_bounded(f"{READERS} slow readers of 64 MiB")
