from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials
from aosd.settings import (
    OWN_REQUESTS,
    Settings,
    default_of,
    flag_of,
    from_flags,
    is_repeatable,
    is_secret,
    kind_of,
    variable_of,
)
from aosd.settings_kinds import MIB
from aosd.settings_sources import COMPOSE_NAMES, load_settings
from tools.settings_reference import reference

ROOT = Path(__file__).parent.parent.parent


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self._numbers = itertools.count()

    def file(self, content: str | bytes) -> str:
        path = Path(self._folder.name, f"{next(self._numbers)}.toml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def load(self, flags: dict[str, Any] | None = None, **environment: str) -> Settings:
        return load_settings(flags or {}, environment).settings

    def refused(self, flags: dict[str, Any] | None = None, **environment: str) -> str:
        error = self.assertRaises(ConfigurationError, load_settings, flags or {}, environment)
        self.assertNotIn("\n", str(error))
        return str(error)

    # -- where settings come from ---------------------------------------------------------------

    def test_defaults(self) -> None:
        settings = self.load()
        self.assertEqual(settings, Settings())
        self.assertEqual(settings.http, ("tcp:3000",))
        self.assertEqual(settings.nodes, ("docker",))
        self.assertIsNone(settings.operations)
        self.assertEqual(settings.body_memory_bytes, 256 * MIB)

    def test_flag_beats_environment_beats_file_beats_default(self) -> None:
        config = self.file("turn_timeout_s = 1\nprobe_interval_s = 2\nconnect_timeout_s = 3\n")
        settings = self.load(
            {"config": config, "turn_timeout_s": "11"},
            AOSD_TURN_TIMEOUT_S="21",
            AOSD_PROBE_INTERVAL_S="22",
        )
        self.assertEqual(settings.turn_timeout_s, 11)
        self.assertEqual(settings.probe_interval_s, 22)
        self.assertEqual(settings.connect_timeout_s, 3)
        self.assertEqual(settings.probe_timeout_s, Settings().probe_timeout_s)

    def test_a_list_replaces_and_does_not_add(self) -> None:
        config = self.file('http = ["tcp:1"]\nnodes = ["dns:a", "dns:b"]\n')
        settings = self.load({"config": config}, AOSD_HTTP=" tcp:2  tcp:3\n")
        self.assertEqual(settings.http, ("tcp:2", "tcp:3"))
        self.assertEqual(settings.nodes, ("dns:a", "dns:b"))

    def test_the_file_may_be_named_by_the_environment(self) -> None:
        self.assertEqual(self.load(AOSD_CONFIG=self.file("log_format = 'json'")).log_format, "json")

    def test_an_empty_variable_is_absent(self) -> None:
        self.assertEqual(self.load(AOSD_OPERATIONS="", AOSD_HTTP="", AOSD_DATA=""), Settings())

    def test_every_setting_can_come_from_the_environment(self) -> None:
        values = {name: default_of(name) for name in from_flags()}
        values |= {
            "operations": "tcp:3001",
            "access_log": "false",
            "access_key": "root",
            "secret_key": "hushhush",
            "identities_file": "/etc/aosd/identities.toml",
            "s3_domain": "s3.example.org",
            "node_access_key": "key",
            "node_secret_key": "hush",
            "config": self.file(""),
        }
        settings = self.load(None, **{variable_of(name): value for name, value in values.items()})
        self.assertEqual(settings.operations, "tcp:3001")
        self.assertIs(settings.access_log, False)
        assert settings.node_secret_key is not None
        self.assertEqual(settings.node_secret_key.get_secret_value(), "hush")
        self.assertEqual(settings.part_bytes, Settings().part_bytes)

    def test_settings_are_frozen(self) -> None:
        with self.assertRaises(ValidationError):
            Settings().http = ("tcp:1",)  # type: ignore[misc]

    # -- names that are no settings -------------------------------------------------------------

    def test_an_unknown_name_in_the_file(self) -> None:
        config = self.file("log_fromat = 'json'")
        said = self.refused({"config": config})
        self.assertIn(f"log_fromat in {config} is no setting: log_format may be meant", said)

    def test_the_file_names_no_other_file(self) -> None:
        self.assertIn(
            "config in", self.refused({"config": self.file(f"config = '{self.file('')}'")})
        )

    def test_unknown_variables_are_told(self) -> None:
        loaded = load_settings({}, {"AOSD_HTP": "x", "AOSD_A": "", "AOSDX": "", "HTTP": "y"})
        self.assertEqual(loaded.unknown_environment, ("AOSD_A", "AOSD_HTP"))

    def test_variables_of_the_compose_file_are_known(self) -> None:
        text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
        named = set(re.findall(r"\$\{(AOSD_\w+)", text))
        self.assertTrue(named)
        self.assertEqual(named, set(COMPOSE_NAMES))
        self.assertEqual(load_settings({}, dict.fromkeys(named, "x")).unknown_environment, ())

    # -- values that can't be -------------------------------------------------------------------

    def test_each_refusal_names_the_setting_as_it_was_written(self) -> None:
        config = self.file("complete_timeout_s = 'long'")
        for said, start in [
            (self.refused({"http": ["x:1"]}), "--http is 'x:1', but must be a Twisted server"),
            (
                self.refused(AOSD_CONNECT_TIMEOUT_S="soon"),
                "AOSD_CONNECT_TIMEOUT_S is 'soon', but must be a number of seconds",
            ),
            (
                self.refused({"config": config}),
                f"complete_timeout_s in {config} is 'long', but must be a number of seconds",
            ),
        ]:
            self.assertEqual(said[: len(start)], start)

    def test_bad_values(self) -> None:
        for name, value in [
            ("http", []),
            ("http", ["tcp:3000", ""]),
            ("http", ["tcp:65536"]),
            ("http", ["tcp:port=70000"]),
            ("http", ["tcp:x"]),
            ("http", ["ssl:1:privateKey=/nowhere.pem"]),
            ("http", "tcp:3000"),
            ("operations", "carrier pigeon"),
            ("nodes", []),
            ("nodes", ["docker", ":x"]),
            ("log_format", "xml"),
            ("plain_door", "ajar"),
            ("access_log", "perhaps"),
            ("connect_timeout_s", "0"),
            ("connect_timeout_s", "-1"),
            ("connect_timeout_s", "nan"),
            ("connect_timeout_s", "inf"),
            ("connect_timeout_s", "86401"),
            ("shutdown_grace_s", "-0.1"),
            ("breaker_failures", "0"),
            ("breaker_failures", "1.5"),
            ("node_connections", "0"),
            ("body_memory_bytes", "256MiB"),
            ("part_bytes", str(5 * MIB - 1)),
            ("single_put_bytes", str(5 * MIB - 1)),
            ("node_access_key", ""),
            ("access_key", ""),
            ("access_key", "ab"),
            ("access_key", "a b c"),
            ("access_key", "a/b/c"),
            ("access_key", "abc=d"),
            ("access_key", "abc,d"),
            ("access_key", "äbcde"),
            ("access_key", "a" * 129),
            ("s3_domain", ""),
            ("s3_domain", "10.0.0.1"),
            ("s3_domain", "a..b"),
            ("s3_domain", "-a.example"),
            ("s3_domain", "s3.example:3000"),
            ("s3_domain", ".".join(["a" * 63] * 3)),
        ]:
            said = self.refused({name: value})
            self.assertIn(f"{flag_of(name)} is ", said)
            self.assertIn(", but must be ", said)

    def test_values_at_their_bounds(self) -> None:
        settings = self.load(
            {
                "http": ["tcp:0", "tcp:65535:interface=127.0.0.1", "unix:/run/x.sock"],
                "shutdown_grace_s": "0",
                "part_bytes": str(5 * MIB),
                "breaker_failures": "1",
                "nodes": ["embedded:3", "static:/a b.toml", "dns:http://m-{0...3}:9000"],
            }
        )
        self.assertEqual(settings.shutdown_grace_s, 0)
        self.assertEqual(len(settings.http), 3)
        self.assertEqual(settings.nodes[1], "static:/a b.toml")

    def test_settings_that_contradict_each_other(self) -> None:
        for name, value, said in [
            ("part_bytes", str(65 * MIB), "--part-bytes-max is 67108864, but must be at least"),
            ("part_bytes_max", str(7 * MIB), "--part-bytes-max is '7340032', but must be at least"),
            ("breaker_backoff_s", "31", "--breaker-backoff-max-s is 5, but must be at least"),
            ("replay_bytes", str(257 * MIB), "at most body_memory_bytes, which is 268435456"),
            ("part_bytes_max", str(257 * MIB), "at most body_memory_bytes, which is 268435456"),
            ("node_access_key", "key", "--node-secret-key is not set, but must be given"),
            ("access_key", "root", "--secret-key is not set, but must be given together with"),
        ]:
            self.assertIn(said, self.refused({name: value}))

    def test_an_operators_token(self) -> None:
        token = "0123456789abcd-!"
        settings = self.load({"operator_token": token})
        assert settings.operator_token is not None
        self.assertEqual(settings.operator_token.get_secret_value(), token)
        self.assertNotIn(token, f"{settings} {settings!r}")
        self.assertIsNone(self.load({}).operator_token)
        for wrong in (
            "0123456789abcd-",
            f"{token} {token}",
            f"{token}\n",
            "\u00fc" * 16,
            "x" * 513,
        ):
            said = self.refused({"operator_token": wrong})
            self.assertIn("is a secret not shown here, but must be 16 to 512 characters", said)

    def test_a_secret_is_never_shown(self) -> None:
        self.assertIn(
            "AOSD_NODE_SECRET_KEY is a secret not shown here, but must be given together",
            self.refused(AOSD_NODE_SECRET_KEY="hushhush"),
        )
        settings = self.load({"node_access_key": "key", "node_secret_key": "hushhush"})
        self.assertNotIn("hushhush", repr(settings) + str(settings) + settings.model_dump_json())
        config = self.file("node_secret_key = ['hushhush']")
        self.assertNotIn("hushhush", self.refused({"config": config, "node_access_key": "key"}))

    def test_a_long_value_is_cut_and_line_ends_are_shown_as_such(self) -> None:
        self.assertLess(len(self.refused({"log_format": "x" * 10_000})), 300)
        self.assertIn(r"'a\nb'", self.refused({"log_format": "a\nb"}))

    def test_a_file_that_cannot_be_read(self) -> None:
        self.assertIn("No such file", self.refused({"config": "/nowhere/aosd.toml"}))
        self.assertIn("--config is '/'", self.refused({"config": "/"}))
        self.assertIn("at line 2", self.refused({"config": self.file("\nhttp = ]")}))
        self.assertIn("AOSD_CONFIG is", self.refused(AOSD_CONFIG=self.file(b"\xff\xfe")))

    # -- who may use the S3 door ----------------------------------------------------------------

    def test_the_root_pair(self) -> None:
        self.assertIsNone(Settings().root_pair)
        settings = self.load({"access_key": "!-+.<>~"}, AOSD_SECRET_KEY="hush hush")
        self.assertEqual(settings.root_pair, Credentials("!-+.<>~", "hush hush"))
        self.assertNotIn("hush hush", repr(settings.root_pair) + repr(settings))
        for secret in ("", "hushhus", "hush\thush", "hush\nhush", "hush\0hush"):
            said = self.refused({"access_key": "root", "secret_key": secret})
            self.assertIn("--secret-key is a secret not shown here, but must be 8", said)
        self.assertIn(
            "AOSD_SECRET_KEY is a secret not shown here, but must be given together",
            self.refused(AOSD_SECRET_KEY="hushhush"),
        )

    def test_one_gets_in_where_there_is_room_for_one_only(self) -> None:
        shares = [self.load({"max_requests": most}).most_requests_of_one for most in (1, 2, 4)]
        self.assertEqual(shares, [1, 1, 3])
        self.assertEqual(self.load().most_requests_of_one, 768)

    def test_the_daemons_own_work_finds_room_at_a_node(self) -> None:
        wait = [self.load({"max_requests": most}).most_waiting_for_one for most in (1, 128, 132)]
        self.assertEqual(wait, [OWN_REQUESTS, OWN_REQUESTS, 99])
        self.assertEqual(self.load().most_waiting_for_one, 768)

    def test_a_domain_is_folded(self) -> None:
        for domain in ("localhost", "S3.Example.org", "a" * 63 + ".1.example"):
            self.assertEqual(self.load({"s3_domain": domain}).s3_domain, domain.lower())

    def test_identities_are_tables_of_the_file(self) -> None:
        config = self.file(
            '[[identities]]\naccess_key = "one"\nsecret_key = "hushhush1"\nrole = "admin"\n'
            '[[identities]]\naccess_key = "two"\nsecret_key = "hushhush2"\nrole = "readonly"\n'
            'buckets = ["a-*", "b?"]\n'
        )
        settings = self.load({"config": config})
        self.assertEqual([each.access_key for each in settings.identities], ["one", "two"])
        self.assertEqual([each.buckets for each in settings.identities], [("*",), ("a-*", "b?")])
        shown = repr(settings) + str(settings) + settings.model_dump_json()
        self.assertNotIn("hushhush", shown)
        loaded = load_settings({}, {"AOSD_IDENTITIES": "x"})
        self.assertEqual(loaded.unknown_environment, ("AOSD_IDENTITIES",))

    def test_identities_that_cant_be(self) -> None:
        good = 'access_key = "one"\nsecret_key = "hushhush"\nrole = "admin"\n'
        table = f"[[identities]]\n{good}"
        for content, said in [
            (table + "buckets = []", "number 1: buckets must be a list of buckets' names"),
            (table + 'buckets = ["A"]', "number 1: buckets is 'A', but must be a list of"),
            (table.replace("admin", "god"), "role is 'god', but must be admin, readwrite or"),
            (table.replace('"one"', '"o e"'), "access_key is 'o e', but must be 3 to 128"),
            (table.replace("hushhush", "hush"), "number 1: secret_key must be 8 printable"),
            (table.replace('"hushhush"', "12345678"), "number 1: secret_key must be 8 printable"),
            (table.replace("secret_key", "secret"), "number 1: secret_key is missing"),
            (table + 'bucket = "a"', "number 1: bucket is unknown; there are access_key, "),
            (table + table.replace("hushhush", "hushhash"), "and one is there twice"),
            (f"access_key = 'one'\nsecret_key = 'hushhush'\n{table}", "and one is there twice"),
            ("identities = 7", "identities must be tables"),
            ("identities = ['hushhush']", "identities must be tables"),
            (f"[identities]\n{good}", "identities must be tables"),
        ]:
            config = self.file(content)
            message = self.refused({"config": config})
            self.assertIn(said, message)
            self.assertIn(f"identities in {config}", message)
            for secret in ("hush", "1234"):
                self.assertNotIn(secret, message)

    # -- what the reference is made of ------------------------------------------------------------

    def test_every_setting_is_described_in_one_sentence(self) -> None:
        for name, field in Settings.model_fields.items():
            self.assertRegex(field.description or "", r"^[A-Z][^.]*\.$", name)
            self.assertTrue(kind_of(name), name)

    def test_kinds(self) -> None:
        repeatable = [name for name in Settings.model_fields if is_repeatable(name)]
        self.assertEqual(repeatable, ["http", "nodes", "adopt"])
        secret = [name for name in Settings.model_fields if is_secret(name)]
        self.assertEqual(secret, ["secret_key", "operator_token", "identities", "node_secret_key"])
        self.assertEqual(default_of("data"), "./aosd-data")
        self.assertEqual(default_of("access_log"), "true")

    def test_the_reference_names_every_setting(self) -> None:
        page = reference()
        for name in Settings.model_fields:
            self.assertIn(f"| **{name}**<br>", page)
        for name in from_flags():
            self.assertIn(f"`{flag_of(name)}`<br>`{variable_of(name)}`", page)
