"""Embedded nodes without their processes: choices, files, restarts, stopping."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery import DiscoveryContext
from aosd.discovery.children import EmbeddedNode
from aosd.discovery.embedded import EmbeddedDiscovery
from aosd.discovery.servers import Server, choose_server, free_ports, launch
from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials, Sighting

KEYS = Credentials("ring", "tree=potato")


def folder_for(case: SynchronousTestCase) -> Path:
    """A folder that goes with the test; mktemp leaves its own behind under pytest."""
    folder = TemporaryDirectory()
    case.addCleanup(folder.cleanup)
    return Path(folder.name)


class Transport:
    """A process as its owner sees it."""

    def __init__(self, protocol: Any, executable: str, arguments: Any, **options: Any) -> None:
        self.protocol = protocol
        self.arguments: list[str] = arguments
        self.environment: dict[str, str] = options["env"]
        self.folder: str = options["path"]
        self.signals: list[str] = []
        self.over = False

    def signalProcess(self, name: str) -> None:  # noqa: N802
        if self.over:
            raise ProcessExitedAlready
        self.signals.append(name)

    def end(self, error: Exception | None = None) -> None:
        self.over = True
        self.protocol.processEnded(Failure(error or ProcessDone(0)))


class Reactor(Clock):
    """A clock that starts no processes, but says so."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Transport] = []
        self.failure: OSError | None = None

    def spawnProcess(self, *arguments: Any, **options: Any) -> Transport:  # noqa: N802
        if self.failure is not None:
            raise self.failure
        self.started.append(Transport(*arguments, **options))
        return self.started[-1]


def is_free(_: int) -> bool:
    """Every port is."""
    return True


PREPARE = partial(launch, is_free=is_free)


class Programs(SynchronousTestCase):
    """Folders with the programs that the test puts there."""

    def setUp(self) -> None:
        base = folder_for(self)
        self.on_path, self.scripts = base / "bin", base / "scripts"
        for folder in (self.on_path, self.scripts):
            folder.mkdir(parents=True)
        self.choose = partial(choose_server, path=str(self.on_path), scripts=str(self.scripts))

    def install(self, path: Path) -> str:
        path.touch(mode=0o755)
        return str(path)


class ChooseServerTests(Programs):
    def test_minio_first_and_weed_from_where_the_package_puts_it(self) -> None:
        weed = self.install(self.scripts / "weed")
        self.assertEqual(self.choose(None), Server("seaweedfs", weed))
        minio = self.install(self.on_path / "minio")
        self.assertEqual(self.choose(None), Server("minio", minio))

    def test_the_data_decides(self) -> None:
        self.install(self.on_path / "minio")
        self.install(self.on_path / "weed")
        self.assertEqual(self.choose("minio").kind, "minio")
        self.assertEqual(self.choose("seaweedfs").kind, "seaweedfs")

    def test_nothing_there(self) -> None:
        for kind in (None, "seaweedfs"):
            error = self.assertRaises(ConfigurationError, self.choose, kind)
            self.assertIn("pip install 'aosd[embedded]'", str(error))

    def test_the_other_one_is_never_started_on_the_data(self) -> None:
        minio = self.on_path / "minio"
        self.install(minio)
        error = self.assertRaises(ConfigurationError, self.choose, "seaweedfs")
        self.assertIn("SeaweedFS", str(error))
        minio.unlink()
        self.install(self.scripts / "weed")
        self.assertIn("MinIO", str(self.assertRaises(ConfigurationError, self.choose, "minio")))
        self.assertIn("'x'", str(self.assertRaises(ConfigurationError, self.choose, "x")))


class LaunchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder_for(self)

    def test_minio(self) -> None:
        how = PREPARE(Server("minio", "/bin/minio"), self.folder, KEYS)
        self.assertEqual(how.command[:3], ("/bin/minio", "server", "data"))
        self.assertIn(f"--address=127.0.0.1:{how.port}", how.command)
        self.assertEqual(how.environment["MINIO_ROOT_PASSWORD"], "tree=potato")
        self.assertEqual(how.environment["MINIO_UPDATE"], "off")

    def test_seaweedfs(self) -> None:
        how = PREPARE(Server("seaweedfs", "/bin/weed"), self.folder, KEYS)
        ports = [each.split("=")[1] for each in how.command if ".port" in each]
        opened = [each for each in ports if each != "0"]
        self.assertEqual(len(opened), 8)
        self.assertEqual(len(set(opened)), 8)
        for option in (
            "-master.telemetry=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",
            f"-s3.port={how.port}",
        ):
            self.assertIn(option, how.command)
        self.assertEqual(how.environment, {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"})
        identities = self.folder / "identities.json"
        self.assertEqual(identities.stat().st_mode & 0o777, 0o600)
        (identity,) = json.loads(identities.read_text())["identities"]
        self.assertEqual(
            identity["credentials"], [{"accessKey": "ring", "secretKey": "tree=potato"}]
        )

    def test_secrets_are_in_no_command_line(self) -> None:
        for kind in ("minio", "seaweedfs"):
            folder = self.folder / kind
            folder.mkdir()
            self.assertNotIn("potato", str(PREPARE(Server(kind, kind), folder, KEYS).command))

    def test_ports_are_kept(self) -> None:
        for kind in ("minio", "seaweedfs"):
            server = Server(kind, kind)
            self.assertEqual(launch(server, self.folder, KEYS), launch(server, self.folder, KEYS))

    def test_what_was_remembered_badly_is_forgotten(self) -> None:
        for content in ("", "[]", '{"s3": "x", "console": 1}', '{"s3": 99999999, "console": 1}'):
            (self.folder / "ports.json").write_text(content)
            self.assertGreater(PREPARE(Server("minio", "minio"), self.folder, KEYS).port, 1023)

    def test_no_port_is_given_twice(self) -> None:
        given = [port for _ in range(300) for port in free_ports(10, lambda _: True)]
        self.assertEqual(len(set(given)), len(given))

    def test_free_ports_differ(self) -> None:
        self.assertEqual(len(set(free_ports(50, is_free))), 50)


class NodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.folder = folder_for(self)
        self.healthy = False
        self.asked: list[str] = []
        self.changes: list[tuple[bool, str]] = []
        self.node = EmbeddedNode(
            "embedded-1",
            self.folder,
            Server("seaweedfs", "/bin/weed"),
            KEYS,
            cast(Any, self.reactor),
            self.is_healthy,
            lambda: self.changes.append((self.node.sighting.running, self.node.trouble)),
            PREPARE,
        )

    def is_healthy(self, url: str) -> Deferred[bool]:
        self.asked.append(url)
        return succeed(self.healthy)

    @property
    def process(self) -> Transport:
        return self.reactor.started[-1]

    def be_ready(self) -> None:
        self.healthy = True
        self.reactor.advance(0.2)
        self.assertTrue(self.node.sighting.running)

    def test_no_secrets_in_its_environment_and_a_tether(self) -> None:
        secrets = {"AOSD_NODE_SECRET_KEY": "x", "AWS_SECRET_ACCESS_KEY": "x", "WEED_X": "x"}
        self.patch(os, "environ", {"PATH": "/bin", **secrets})
        self.node.start()
        self.assertEqual(
            sorted(self.process.environment),
            ["HOME", "PATH", "TMPDIR", "WEED_MASTER_VOLUME_GROWTH_COPY_1"],
        )
        self.assertIn(str(os.getpid()), self.process.arguments)
        self.assertEqual(self.process.folder, str(self.folder))

    def test_runs_only_once_all_of_it_is_healthy(self) -> None:
        self.node.start()
        self.reactor.pump([0.1] * 10)
        self.assertEqual(self.node.sighting.address, None)
        self.assertNoResult(self.node.settled)
        self.be_ready()
        address = self.node.sighting.address
        self.assertEqual(
            (address and address.host, self.node.sighting.credentials), ("127.0.0.1", KEYS)
        )
        self.assertEqual(len(set(self.asked)), 4)
        self.successResultOf(self.node.settled)
        self.assertEqual(self.changes, [(True, "")])

    def test_one_that_ends_is_started_again_with_back_off(self) -> None:
        self.node.start()
        self.be_ready()
        self.healthy = False
        for wait_s in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
            self.process.end(ProcessTerminated(1))
            self.assertFalse(self.node.sighting.running)
            self.assertIn("embedded-1 ended with exit code 1", self.node.trouble)
            count = len(self.reactor.started)
            self.reactor.advance(wait_s - 0.01)
            self.assertEqual(len(self.reactor.started), count)
            self.reactor.advance(0.02)
            self.assertEqual(len(self.reactor.started), count + 1)
        self.be_ready()
        self.assertEqual(self.changes[-1], (True, ""))

    def test_back_off_begins_anew_after_a_healthy_while(self) -> None:
        self.node.start()
        self.be_ready()
        for _ in range(3):
            self.reactor.advance(3600.0)
            self.process.end(ProcessTerminated(signal=signal.SIGKILL))
            self.assertIn("SIGKILL", self.node.trouble)
            count = len(self.reactor.started)
            self.reactor.advance(0.5)
            self.assertEqual(len(self.reactor.started), count + 1)
            self.reactor.advance(0.2)

    def test_one_that_cant_be_started_is_tried_again(self) -> None:
        self.reactor.failure = OSError(11, "too many processes")
        self.node.start()
        self.assertIn("too many processes", self.node.trouble)
        self.successResultOf(self.node.settled)
        self.reactor.failure = None
        self.reactor.advance(0.5)
        self.be_ready()

    def test_a_slow_one_is_trouble_until_it_is_ready(self) -> None:
        self.node.start()
        self.reactor.pump([1.0] * 70)
        self.assertIn("isn't ready", self.node.trouble)
        self.assertEqual(len(self.changes), 1)
        self.be_ready()
        self.assertEqual(self.node.trouble, "")

    def test_stop(self) -> None:
        self.node.start()
        self.be_ready()
        stopping = self.node.stop()
        self.assertEqual(self.process.signals, ["TERM"])
        self.reactor.advance(4.9)
        self.assertEqual(self.process.signals, ["TERM"])
        self.reactor.advance(0.2)
        self.assertEqual(self.process.signals, ["TERM", "KILL"])
        self.assertNoResult(stopping)
        self.process.end(ProcessTerminated(signal=signal.SIGKILL))
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.changes, [(True, "")])
        self.assertFalse((self.folder / "tmp").exists())

    def test_stop_while_it_waits_to_be_started_again(self) -> None:
        self.node.start()
        self.process.end(ProcessTerminated(1))
        self.successResultOf(self.node.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_during_a_check(self) -> None:
        pending: Deferred[bool] = Deferred()
        self.node._is_healthy = lambda _: pending
        self.node.start()
        self.reactor.advance(0.2)
        stopping = self.node.stop()
        self.assertTrue(pending.called)
        self.process.end()
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.changes, [])

    def test_a_long_log_is_emptied(self) -> None:
        self.node.start()
        self.node.log_path.write_bytes(b"kept")
        self.node.trim_log()
        self.assertEqual(self.node.log_path.stat().st_size, 4)
        os.truncate(self.node.log_path, 17 * 1024 * 1024)
        self.node.trim_log()
        self.assertEqual(self.node.log_path.stat().st_size, 0)


class DiscoveryTests(Programs):
    def setUp(self) -> None:
        super().setUp()
        self.install(self.scripts / "weed")
        self.reactor = Reactor()
        self.data = folder_for(self) / "deep" / "data"
        self.seen: list[Sequence[Sighting]] = []
        self.troubles: list[str] = []

    def make(self, count: int = 3) -> EmbeddedDiscovery:
        context = DiscoveryContext(self.reactor, cast(ThreadPool, None), self.data)
        return EmbeddedDiscovery(count, context, self.choose, PREPARE)

    def start(self, count: int = 3) -> EmbeddedDiscovery:
        discovery = self.make(count)
        self.first = discovery.start(self.seen.append, self.troubles.append)
        self.addCleanup(self.stop, discovery)
        return discovery

    def stop(self, discovery: EmbeddedDiscovery) -> None:
        stopping = discovery.stop()
        for process in self.reactor.started:
            if not process.over:
                process.end()
        self.successResultOf(stopping)

    def test_making_it_starts_nothing(self) -> None:
        self.make()
        self.assertFalse(self.data.exists())

    def test_all_nodes_are_in_the_first_report(self) -> None:
        self.start()
        self.assertEqual(
            [(each.name, each.running, each.problem) for each in self.seen[0]],
            [(f"embedded-{number}", False, None) for number in (1, 2, 3)],
        )
        self.assertEqual(len({each.credentials for each in self.seen[0]}), 3)

    def test_credentials_and_server_are_remembered(self) -> None:
        self.stop(self.start())
        self.install(self.on_path / "minio")
        self.start()
        credentials = [
            [each.credentials for each in seen] for seen in (self.seen[0], self.seen[-1])
        ]
        self.assertEqual(*credentials)
        self.assertIn("seaweedfs", self.seen[-1][0].seen_as)
        mode = (self.data / "embedded-1" / "credentials").stat().st_mode
        self.assertEqual(mode & 0o777, 0o600)

    def test_the_wrong_server_ends_the_start(self) -> None:
        self.stop(self.start())
        (self.scripts / "weed").unlink()
        self.install(self.on_path / "minio")
        self.assertRaises(ConfigurationError, self.make)

    def test_one_daemon_a_folder(self) -> None:
        first = self.start()
        error = self.assertRaises(ConfigurationError, self.make)
        self.assertIn("in use by another aosd", str(error))
        self.stop(first)
        self.make()

    def test_a_folder_that_is_taken_between_making_and_starting(self) -> None:
        second = self.make()
        first = self.start()
        seen: list[Any] = []
        troubles: list[str] = []
        self.successResultOf(second.start(seen.append, troubles.append))
        self.assertEqual(seen, [])
        self.assertIn("in use by another aosd", troubles[0])
        self.stop(first)
        self.reactor.advance(10.0)
        self.assertEqual((len(seen), troubles[-1]), (1, ""))
        self.stop(second)

    def test_stop_while_it_waits_for_the_folder(self) -> None:
        second = self.make()
        self.start()
        second.start(self.seen.append, self.troubles.append)
        self.stop(second)
        retries = [each for each in self.reactor.getDelayedCalls() if each.time >= 10.0]
        self.assertEqual(len(retries), 1)  # the first one's logs

    def test_fewer_nodes_than_hold_data_end_the_start(self) -> None:
        self.stop(self.start(3))
        error = self.assertRaises(ConfigurationError, self.make, 2)
        self.assertIn("embedded:3", str(error))
        self.make(4)

    def test_one_nodes_trouble_is_told_with_all_nodes(self) -> None:
        self.start()
        self.reactor.started[1].end(ProcessTerminated(7))
        self.assertEqual(len(self.seen[-1]), 3)
        self.assertIn("embedded-2 ended with exit code 7", self.troubles[-1])

    def test_nothing_is_told_once_it_stops(self) -> None:
        discovery = self.start()
        count = len(self.seen)
        self.stop(discovery)
        self.successResultOf(self.first)
        self.assertEqual((len(self.seen), self.troubles), (count, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
