"""The operator's commands, without nodes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import click
from click.testing import CliRunner
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aosd.aosctl.asking import View, run
from aosd.aosctl.call import Call
from aosd.aosctl.keys import Told, newest_pair, newest_token
from aosd.aosctl.main import COMMANDS, EXIT_CODES, main
from aosd.consistency.registers import Register, read_register
from aosd.discovery import DiscoveryContext
from aosd.discovery.providers import context_of, make_provider
from aosd.model.errors import ConfigurationError, NoNodes
from aosd.model.node import Address, Credentials, Sighting
from aosd.settings import Settings
from aosd.settings_sources import load_settings
from aosd.testing.discovery import ScriptedDiscovery
from tests.unit.aosctl_case import QUIET, AosctlCase, ScriptedDaemon, node, nodes

ROOT = Path(__file__).parents[2]


def told(cluster: str, number: int = 0, secret: str = "") -> Told:
    if not secret:
        return Told(cluster, None)
    value = {"access_key": "AOSD1", "secret_key": secret, "token": f"token of {secret}"}
    stamp = f"0193594b3a7c-{number:04x}-1f2e3d4c"
    return Told(cluster, Register("keys", "cluster", stamp, value))


class NewestTests(SynchronousTestCase):
    def secret(self, *answers: Told) -> str:
        secret = newest_pair(answers).secret_key
        self.assertEqual(newest_token(answers), f"token of {secret}")
        return secret

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
            for newest in (newest_pair, newest_token):
                error = self.assertRaises(NoNodes, newest, answers)
                self.assertIn(said, str(error))

    def test_what_is_no_register(self) -> None:
        for data in (b"", b"[]", b"{}", b'{"stamp": 1, "value": 7}', b"\xff"):
            self.assertRaises(ValueError, read_register, "keys", "cluster", data)


class FormTests(AosctlCase):
    PAIR = ("--access-key=AOSD1", "--secret-key=hush'hush")

    def test_for_people(self) -> None:
        written = self.run_aosctl("credentials", *self.PAIR).stdout
        self.assertEqual(written, "access key: AOSD1\nsecret key: hush'hush\n")

    def test_json(self) -> None:
        self.assertEqual(
            self.document("credentials", *self.PAIR),
            {"access_key": "AOSD1", "secret_key": "hush'hush"},
        )

    def test_for_a_shell(self) -> None:
        self.assertEqual(
            self.run_aosctl("credentials", "--env", *self.PAIR).stdout,
            "export AWS_ACCESS_KEY_ID=AOSD1\nexport AWS_SECRET_ACCESS_KEY='hush'\"'\"'hush'\n",
        )

    def test_the_environment(self) -> None:
        self.patch(os, "environ", {"AOSD_ACCESS_KEY": "other", "AOSD_SECRET_KEY": "hush-hush"})
        self.assertEqual(self.document("credentials")["access_key"], "other")
        # A flag beats it, before the command too.
        told = self.document(*self.PAIR, "credentials")
        self.assertEqual(told["access_key"], "AOSD1")


class UsageTests(AosctlCase):
    def test_refusals(self) -> None:
        for words, said in (
            (("credits",), "credits"),
            (("--x",), "--x"),
            (("node", "drian", "n1"), "drian"),
            (("node", "drain"), "NAME"),
            (("node", "drain", "n1", "n2"), "n2"),
            (("credentials", "--jsn"), "--jsn"),
            (("credentials", "--zzzz"), "aosctl credentials --help tells more"),
            (("credentials", "--json", "--env"), "exclude each other"),
            (("credentials", "x"), "x"),
            (("credentials", "--replicas=0"), "--replicas is '0'"),
            (("credentials", "--access-key=abc"), "must be given together"),
            (("credentials", "--nodes=tea:3"), "no such provider"),
        ):
            self.assertIn(said, self.run_aosctl(*words, code=2).stderr.splitlines()[-1])

    def test_one_line(self) -> None:
        self.refused("credits", code=2)
        self.refused("node", "drain", code=2)
        self.refused("nodes", "--replicas", code=2)

    def test_help(self) -> None:
        for words, code in ((("--help",), 0), ((), 2)):
            text = self.run_aosctl(*words, code=code).output
            for name in COMMANDS:
                self.assertIn(f"\n  {name} ", text)
            for number, meaning in EXIT_CODES.items():
                self.assertRegex(text, rf"\n +{number} +{meaning}\n")
        self.assertNotIn("--replicas", self.run_aosctl("nodes", "--help").output)

    def test_every_command_has_help(self) -> None:
        self.assertEqual(main.list_commands(click.Context(main)), list(COMMANDS))
        for name in COMMANDS:
            text = self.run_aosctl(name, "--help").stdout
            self.assertTrue(text.startswith(f"Usage: aosctl {name} "), text)
            self.assertIn("--json", text)

    def test_the_version(self) -> None:
        self.assertRegex(self.run_aosctl("--version").stdout, r"\Aaosctl [0-9.]+\n\Z")

    def test_interrupted(self) -> None:
        self.daemon.pages["nodes"] = KeyboardInterrupt()
        self.assertIn("aosctl: interrupted", self.run_aosctl("nodes", code=130).stderr)


class PlacesTests(AosctlCase):
    """What all commands take, before their names and after."""

    def call_of(self, *words: str) -> Call:
        seen: list[Call] = []

        def reach(call: Call) -> ScriptedDaemon:
            seen.append(call)
            return self.daemon

        self.daemon.pages["nodes"] = nodes(node("n1"))
        self.daemon.pages["nodes/n1/undo"] = {"queued": False}
        self.daemon.pages["changes"] = QUIET
        CliRunner().invoke(main, list(words), obj=Call(reach=reach))
        return seen[0]

    def test_before_and_after(self) -> None:
        for words in (
            ("--url", "u", "--token=t", "--json", "node", "undo", "n1"),
            ("node", "--url", "u", "undo", "n1", "--json", "--token", "t"),
            ("node", "undo", "--json", "--url=u", "--token=t", "n1"),
            ("--url=other", "--json", "--token=t", "node", "undo", "--url=u", "n1"),
        ):
            call = self.call_of(*words)
            self.assertEqual((call.url, call.token, call.json), ("u", "t", True))

    def test_not_given(self) -> None:
        call = self.call_of("nodes")
        self.assertEqual((call.url, call.token, call.json, call.flags), ("", "", False, {}))

    def test_the_daemons_flags(self) -> None:
        flags = {"nodes": ["docker", "embedded:3"], "operations": "tcp:3001", "data": "/d"}
        words = ("--nodes=docker", "--nodes", "embedded:3", "--operations=tcp:3001", "--data=/d")
        self.assertEqual(self.call_of(*words, "nodes").flags, flags)
        self.assertEqual(self.call_of("nodes", *words).flags, flags)


class RunTests(SynchronousTestCase):
    """A reactor for one question."""

    def test_signals_go_to_whom_they_went_before(self) -> None:
        reading, writing = socket.socketpair()
        self.addCleanup(reading.close)
        self.addCleanup(writing.close)
        writing.setblocking(False)
        before = signal.set_wakeup_fd(writing.fileno())
        self.addCleanup(signal.set_wakeup_fd, before)
        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGCHLD)]

        async def work(_: Any) -> str:
            return "done"

        self.assertEqual(run(work), "done")
        after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGCHLD)]
        self.assertEqual(after, handlers)
        self.assertEqual(signal.set_wakeup_fd(-1), writing.fileno())


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


class PageTests(SynchronousTestCase):
    """docs/aosctl.md tells all that there is."""

    def setUp(self) -> None:
        self.page = (ROOT / "docs/aosctl.md").read_text(encoding="utf-8")

    def test_every_command_and_option(self) -> None:
        self.look_at(main, "aosctl")

    def look_at(self, command: click.Command, path: str) -> None:
        context = click.Context(command)
        for each in command.params:
            if isinstance(each, click.Option) and not each.hidden and each.name != "version":
                self.assertIn(f"`{each.opts[0]}", self.page, path)
        if not isinstance(command, click.Group):
            above, _, name = path.rpartition(" ")
            self.assertRegex(self.page, rf"(?m)^### {above}\b.* {name}\b")
            self.assertRegex(self.page, rf"(?m)^(\$ |eval \"\$\()?{path}( |$|\)|\")")
            return
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            self.look_at(inner, f"{path} {name}")

    def test_every_exit_code(self) -> None:
        for code, words in EXIT_CODES.items():
            self.assertIn(f"| {code} | {words} |", self.page)
