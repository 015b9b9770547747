"""Embedded nodes for real: SeaweedFS, and MinIO where it is on PATH."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from minio import Minio
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from aosd.discovery import DiscoveryContext
from aosd.discovery.embedded import EmbeddedDiscovery
from aosd.model.node import Sighting
from aosd.streams.deadlines import within
from tests.integration.processes import marked
from tests.integration.waiting import until

ROOT = Path(__file__).resolve().parents[2]
READY_S = 90.0
reactor = cast(Any, installed_reactor)


class Provider:
    """An EmbeddedDiscovery, and waiting for what it says."""

    def __init__(self, count: int, folder: Path) -> None:
        context = DiscoveryContext(reactor, cast(ThreadPool, None), folder)
        self.discovery = EmbeddedDiscovery(count, context)
        self.reports: list[Sequence[Sighting]] = []
        self.troubles: list[str] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    async def start(self) -> None:
        first = self.discovery.start(self._report, self._trouble)
        await within(reactor, READY_S, first, lambda: AssertionError("no first round"))
        await self.until(self.all_run)

    def all_run(self) -> bool:
        return all(each.running for each in self.reports[-1])

    async def until(self, wanted: Callable[[], bool]) -> None:
        if wanted():
            return
        come: Deferred[None] = Deferred()
        self._waiting.append((wanted, come))
        await within(reactor, READY_S, come, lambda: AssertionError(self.troubles))

    def client(self, number: int) -> Minio:
        sighting = self.reports[-1][number]
        assert sighting.address is not None and sighting.credentials is not None
        return Minio(
            f"{sighting.address.host}:{sighting.address.port}",
            sighting.credentials.access_key,
            sighting.credentials.secret_key,
            secure=False,
            region="us-east-1",
        )

    def _report(self, sightings: Sequence[Sighting]) -> None:
        self.reports.append(sightings)
        self._check()

    def _trouble(self, trouble: str) -> None:
        self.troubles.append(trouble)
        self._check()

    def _check(self) -> None:
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)


@pytest.fixture(params=["seaweedfs", "minio"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder that belongs to one kind of server."""
    if request.param == "minio" and shutil.which("minio") is None:
        pytest.skip("no minio on PATH")
    data = tmp_path / "data"
    data.mkdir()
    (data / "server").write_text(f"{request.param}\n")
    return data


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """What all processes started in a test have in their environment."""
    monkeypatch.setenv("TESTED_NODES", str(tmp_path))
    yield f"TESTED_NODES={tmp_path}"


def children(mark: str) -> list[int]:
    return [each for each in marked(mark) if each != os.getpid()]


def sockets(pids: list[int]) -> list[Path]:
    """What servers with these command lines leave in /tmp, when nobody removes it."""
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    ports = [port for line in lines for port in re.findall(r"grpc=(\d+)", line)]
    parts = ("master", "volume", "filer", "s3")
    return [Path("/tmp", f"seaweedfs-{part}-grpc-{port}.sock") for part in parts for port in ports]


@pytest_twisted.ensureDeferred
async def test_objects_stay_from_one_run_to_the_next(folder: Path, mark: str) -> None:
    before = set(Path("/tmp").glob("seaweedfs-*.sock"))
    provider = Provider(2, folder)
    try:
        await provider.start()
        assert [(each.name, each.running) for each in provider.reports[0]] == [
            ("embedded-1", False),
            ("embedded-2", False),
        ]
        assert provider.troubles == []
        assert len(children(mark)) == 2
        left = sockets(children(mark))
        for number in (0, 1):
            client = provider.client(number)
            client.make_bucket(bucket_name="object")
            # Whatever the server is built of: more buckets than it would have volumes.
            for extra in range(60 if number == 0 else 1):
                client.make_bucket(bucket_name=f"bucket-{extra}")
                client.put_object(
                    bucket_name=f"bucket-{extra}", object_name="k", data=BytesIO(b"x"), length=1
                )
            body = BytesIO(os.urandom(3_000_000 + number))
            client.put_object(
                bucket_name="object", object_name="k", data=body, length=-1, part_size=5 << 20
            )
    finally:
        await provider.discovery.stop()
    assert children(mark) == []
    assert not [each for each in left if each.exists() and each not in before]
    assert not list(folder.glob("*/tmp"))

    again = Provider(2, folder)
    try:
        await again.start()
        for number in (0, 1):
            sighting = again.reports[-1][number]
            assert sighting.credentials == provider.reports[-1][number].credentials
            assert sighting.address == provider.reports[-1][number].address
            found = again.client(number).stat_object(bucket_name="object", object_name="k")
            assert found.size == 3_000_000 + number
    finally:
        await again.discovery.stop()
    assert children(mark) == []


@pytest_twisted.ensureDeferred
async def test_one_that_dies_is_started_again(folder: Path, mark: str) -> None:
    provider = Provider(1, folder)
    try:
        await provider.start()
        (pid,) = children(mark)
        os.kill(pid, signal.SIGKILL)
        await provider.until(lambda: not provider.all_run())
        await provider.until(lambda: provider.all_run() and provider.troubles[-1] == "")
        assert "SIGKILL" in provider.troubles[0]
        assert children(mark) not in ([], [pid])
        provider.client(0).make_bucket(bucket_name="object")
    finally:
        await provider.discovery.stop()
    assert children(mark) == []


@pytest_twisted.ensureDeferred
async def test_stop_during_the_start_leaves_nothing(folder: Path, mark: str) -> None:
    provider = Provider(2, folder)
    first = provider.discovery.start(provider._report, provider._trouble)
    until(lambda: len(children(mark)) == 2, "both are started")
    await provider.discovery.stop()
    await first
    assert children(mark) == []


# What a daemon is to its nodes, and no more.
PARENT = """
    import sys
    from pathlib import Path
    from twisted.internet import reactor
    from aosd.discovery import DiscoveryContext
    from aosd.discovery.embedded import EmbeddedDiscovery

    discovery = EmbeddedDiscovery(2, DiscoveryContext(reactor, None, Path(sys.argv[1])))

    def report(sightings):
        if all(each.running for each in sightings):
            print("ready", flush=True)

    def start():
        discovery.start(report, lambda trouble: print("trouble", trouble, flush=True))

    reactor.callWhenRunning(start)
    reactor.run()
"""


def test_sigkill_of_the_daemon_leaves_no_node_running(folder: Path, mark: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            assert len(children(mark)) == 3
        finally:
            parent.kill()
    until(lambda: children(mark) == [], "all nodes are gone", 10.0)


def test_the_tether_notices_a_parent_that_is_gone(tmp_path: Path) -> None:
    # As when the daemon is killed between starting a child and the child's first step.
    tether = ROOT / "aosd" / "discovery" / "tether.py"
    witness = tmp_path / "witness"
    ended = subprocess.run(
        [sys.executable, str(tether), "1", "touch", str(witness)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "gone" in ended.stderr
    assert not witness.exists()
