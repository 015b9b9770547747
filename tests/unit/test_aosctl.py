"""The operator's commands, without nodes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aosd.aosctl.credentials import CredentialsOptions, Told, newest_pair, shown
from aosd.aosctl.main import Aosctl
from aosd.aosctl.nodes import View
from aosd.consistency.registers import Register, read_register
from aosd.discovery import DiscoveryContext
from aosd.discovery.providers import context_of, make_provider
from aosd.model.errors import ConfigurationError, NoNodes
from aosd.model.node import Address, Credentials, Sighting
from aosd.settings import Settings, load_settings
from aosd.testing.discovery import ScriptedDiscovery

PAIR = Credentials("AOSD1", "hush'hush")


def told(cluster: str, number: int = 0, secret: str = "") -> Told:
    if not secret:
        return Told(cluster, None)
    value = {"access_key": "AOSD1", "secret_key": secret}
    stamp = f"0193594b3a7c-{number:04x}-1f2e3d4c"
    return Told(cluster, Register("keys", "cluster", stamp, value))


class NewestTests(SynchronousTestCase):
    def secret(self, *answers: Told) -> str:
        return newest_pair(answers).secret_key

    def test_the_newest_stamp_counts(self) -> None:
        answers = [told("c", 1, "old"), told("c", 3, "newest"), told("c", 2, "newer"), told("c")]
        self.assertEqual(self.secret(*answers), "newest")
        self.assertEqual(self.secret(*reversed(answers)), "newest")

    def test_nodes_of_another_cluster_dont_count(self) -> None:
        self.assertEqual(
            self.secret(told("c", 1, "ours"), told("d", 2, "theirs"), told("c"), told("")), "ours"
        )

    def test_no_pair(self) -> None:
        for answers, said in (
            ([told(""), told("")], "of no cluster yet"),
            ([told("c"), told("c")], "no keys yet"),
            ([told("c", 1, "one"), told("d", 2, "two")], "two clusters"),
            ([Told("c", Register("keys", "cluster", "", {"access_key": 1}))], "no keys yet"),
        ):
            error = self.assertRaises(NoNodes, newest_pair, answers)
            self.assertIn(said, str(error))

    def test_what_is_no_register(self) -> None:
        for data in (b"", b"[]", b"{}", b'{"stamp": 1, "value": 7}', b"\xff"):
            self.assertRaises(ValueError, read_register, "keys", "cluster", data)


class FormTests(SynchronousTestCase):
    def test_for_people(self) -> None:
        self.assertEqual(shown(PAIR, "lines"), "access key: AOSD1\nsecret key: hush'hush\n")

    def test_json(self) -> None:
        self.assertEqual(
            json.loads(shown(PAIR, "json")), {"access_key": "AOSD1", "secret_key": "hush'hush"}
        )

    def test_for_a_shell(self) -> None:
        self.assertEqual(
            shown(PAIR, "env"),
            "export AWS_ACCESS_KEY_ID=AOSD1\nexport AWS_SECRET_ACCESS_KEY='hush'\"'\"'hush'\n",
        )


class OptionsTests(SynchronousTestCase):
    def refused(self, *words: str) -> str:
        line = self.assertRaises(SystemExit, Aosctl().parseOptions, list(words)).code
        assert isinstance(line, str)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith("aosctl: "), line)
        return line

    def test_refusals(self) -> None:
        for words, said in (
            ((), "a command is missing"),
            (("credits",), "credits"),
            (("--x",), "option --x not recognized"),
            (("credentials", "--jsn"), "--jsn is no option; aosctl"),
            (("credentials", "--zzzz"), "aosctl credentials --help lists them all"),
            (("credentials", "--json", "--env"), "exclude each other"),
            (("credentials", "x"), "'x' is no option"),
            (("credentials", "--replicas=0"), "--replicas is '0'"),
            (("credentials", "--access-key=abc"), "must be given together"),
        ):
            self.assertIn(said, self.refused(*words))

    def test_the_pair_of_the_settings_asks_nobody(self) -> None:
        options = CredentialsOptions({"AOSD_ACCESS_KEY": "abc", "AOSD_SECRET_KEY": "hushhush"})
        options.parseOptions(["--json"])
        written: list[str] = []
        running = Deferred.fromCoroutine(options.run(None, written.append))
        self.successResultOf(running)
        self.assertEqual(
            [json.loads(each) for each in written],
            [{"access_key": "abc", "secret_key": "hushhush"}],
        )

    def test_the_version(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(self.assertRaises(SystemExit, Aosctl().opt_version).code, 0)
        self.assertRegex(out.getvalue(), r"\Aaosctl [0-9.]+\n\Z")


class ViewTests(SynchronousTestCase):
    """One look of one provider."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen = Sighting("n1", Address("http", "127.0.0.1", 9000), Credentials("a", "b"))

    def look(self, provider: Any) -> View:
        view = View(provider)
        self.looking = Deferred.fromCoroutine(view.look(self.clock))
        return view

    def test_what_it_sees(self) -> None:
        view = self.look(ScriptedDiscovery("scripted", [self.seen]))
        self.successResultOf(self.looking)
        self.assertEqual((view.sightings, view.troubles), ((self.seen,), []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_takes_too_long(self) -> None:
        provider = ScriptedDiscovery("scripted", [self.seen])
        provider.start = lambda *_: Deferred()  # type: ignore[method-assign]
        view = self.look(provider)
        self.assertNoResult(self.looking)
        self.clock.advance(20)
        self.successResultOf(self.looking)
        self.assertEqual(view.troubles, ["scripted: no answer within 20 s"])

    def test_one_that_is_in_trouble(self) -> None:
        provider = ScriptedDiscovery("scripted", [])

        def start(report: Any, trouble: Any) -> Deferred[None]:
            trouble("no engine")
            trouble("")
            return succeed(None)

        provider.start = start  # type: ignore[method-assign]
        self.assertEqual(self.look(provider).troubles, ["scripted: no engine"])

    def test_one_that_fails(self) -> None:
        provider = ScriptedDiscovery("scripted", [])
        provider.start = lambda *_: fail(ValueError("defect"))  # type: ignore[method-assign]
        self.look(provider)
        self.failureResultOf(self.looking, ValueError)


class EmbeddedFolderTests(SynchronousTestCase):
    """Nodes that a daemon runs, found by its data folder."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.sightings: list[Sighting] = []
        self.troubles: list[str] = []

    def node(self, number: int, port: object = None) -> None:
        folder = self.folder / f"embedded-{number}"
        folder.mkdir()
        (folder / "credentials").write_text(f"key{number}\nhush{number}\n")
        if port is not None:
            (folder / "ports.json").write_text(json.dumps({"s3": port, "console": 1}))

    def look(self, count: int = 2) -> list[Sighting]:
        context = DiscoveryContext(Clock(), cast(ThreadPool, None), self.folder, only_look=True)
        provider = make_provider(f"embedded:{count}", context)
        self.assertEqual(provider.name, f"embedded:{count}")
        self.sightings, self.troubles = [], []
        before = sorted(self.folder.rglob("*"))
        self.successResultOf(provider.start(self.sightings.extend, self.troubles.append))
        self.successResultOf(provider.stop())
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        return self.sightings

    def test_where_they_are(self) -> None:
        self.node(1, 9001)
        self.node(2)
        one, two = self.look()
        self.assertEqual((one.name, two.name), ("embedded-1", "embedded-2"))
        self.assertEqual(one.address, Address("http", "127.0.0.1", 9001))
        self.assertEqual(one.credentials, Credentials("key1", "hush1"))
        self.assertIsNone(two.address)
        self.assertEqual(self.troubles, [])

    def test_a_daemon_that_runs_is_in_nobodys_way(self) -> None:
        self.node(1, 9001)
        self.node(2, 9002)
        (self.folder / "lock").touch()
        self.assertEqual(len(self.look()), 2)

    def test_nothing_there(self) -> None:
        self.assertEqual(self.look(), [])
        self.assertEqual(len(self.troubles), 1)
        self.assertIn("No such file or directory", self.troubles[0])

    def test_what_cant_be_read(self) -> None:
        self.node(1, "x")
        self.node(2, 9002)
        self.assertEqual([each.address is None for each in self.look()], [True, False])
        (self.folder / "embedded-1" / "credentials").write_text("hush")
        self.assertEqual(self.look(), [])
        self.assertIn("must hold an access key", self.troubles[0])
        self.assertNotIn("hush", self.troubles[0])

    def test_the_number_is_checked(self) -> None:
        self.assertRaises(ConfigurationError, self.look, 33)


class ContextTests(SynchronousTestCase):
    def test_credentials_for_nodes(self) -> None:
        threads = cast(ThreadPool, None)
        context = context_of(Settings(), Clock(), threads)
        self.assertEqual((context.credentials, context.only_look), (None, False))
        flags = {"node_access_key": "key", "node_secret_key": "hush", "data": "/d"}
        context = context_of(load_settings(flags, {}).settings, Clock(), threads, only_look=True)
        self.assertEqual(context.credentials, Credentials("key", "hush"))
        self.assertEqual((context.only_look, context.data_dir), (True, Path("/d")))
