"""Who may use the S3 door, and the file that says so."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.s3.identities import Identities, Identity
from aosd.doors.s3.identities_file import LOOK_EVERY_S, IdentitiesFile
from aosd.identity_tables import IdentityTable, Role, parse_tables
from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials

ROOT = Credentials("root", "rootsecret")


def table(access_key: str, role: Role = "readonly", *buckets: str) -> IdentityTable:
    return IdentityTable(
        access_key=access_key,
        secret_key=SecretStr(f"hush-{access_key}"),
        role=role,
        buckets=buckets or ("*",),
    )


def text(*access_keys: str, role: str = "readonly") -> str:
    return "".join(
        f'[[identities]]\naccess_key = "{each}"\nsecret_key = "hush-{each}"\nrole = "{role}"\n'
        for each in access_keys
    )


class IdentityTests(SynchronousTestCase):
    def test_roles(self) -> None:
        for role, allowed in (
            ("readonly", {"read", "list"}),
            ("readwrite", {"read", "list", "write"}),
            ("admin", {"read", "list", "write", "admin"}),
        ):
            identity = Identity("one", role)  # type: ignore[arg-type]
            may = {each for each in ("read", "list", "write", "admin") if identity.may(each, "b")}
            self.assertEqual(may, allowed, role)
            self.assertFalse(Identity("one", role, ("other",)).may("read", "b"))  # type: ignore[arg-type]

    def test_patterns(self) -> None:
        for pattern, yes, no in (
            ("*", "a bc object", ""),
            ("photos-*", "photos- photos-2026 photos-a.b", "photos xphotos-1 photo-1"),
            ("a?c", "abc a.c", "ac abbc abcd"),
            ("*-log", "a-log -log", "a-logs alog"),
            ("a*b*c", "abc aXbYc abbcc", "ab acb abcd"),
            ("a.c", "a.c", "abc"),
            ("", "", "a"),
        ):
            identity = Identity("one", "readonly", (pattern,))
            for bucket in yes.split():
                self.assertTrue(identity.may("read", bucket), (pattern, bucket))
            for bucket in no.split():
                self.assertFalse(identity.may("read", bucket), (pattern, bucket))
        either = Identity("one", "readonly", ("a*", "b"))
        self.assertEqual(
            [b for b in ("a", "ab", "b", "bc") if either.may("list", b)], ["a", "ab", "b"]
        )
        self.assertFalse(Identity("one", "admin", ()).may("read", ""))

    def test_classes_of_characters_are_none(self) -> None:
        identity = Identity("one", "readonly", ("[ab]", "(c|d)"))
        self.assertTrue(identity.may("read", "[ab]"))
        self.assertFalse(any(identity.may("read", each) for each in "abcd"))


class IdentitiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root: Credentials | None = ROOT
        self.identities = Identities(lambda: self.root, [table("one", "readwrite", "a-*")])

    def test_whom_there_are(self) -> None:
        self.assertEqual(self.identities.secret_of("root"), "rootsecret")
        self.assertEqual(self.identities.identity("root"), Identity("root", "admin"))
        self.assertEqual(self.identities.secret_of("one"), "hush-one")
        self.assertEqual(self.identities.identity("one"), Identity("one", "readwrite", ("a-*",)))
        for nobody in ("", "two", "ONE", "root "):
            self.assertIsNone(self.identities.secret_of(nobody))
            self.assertIsNone(self.identities.identity(nobody))

    def test_the_root_pair_may_be_known_later(self) -> None:
        self.root = None
        self.assertIsNone(self.identities.secret_of("root"))
        self.root = Credentials("later", "latersecret")
        self.assertEqual(self.identities.secret_of("later"), "latersecret")
        self.assertEqual(self.identities.identity("later"), Identity("later", "admin"))
        self.assertIsNone(self.identities.identity("root"))

    def test_others_come_and_go(self) -> None:
        self.identities.replace([table("two"), table("three", "admin")])
        self.assertEqual(self.identities.secret_of("two"), "hush-two")
        self.identities.replace([table("three", "readonly")])
        self.assertIsNone(self.identities.secret_of("two"))
        self.assertEqual(self.identities.identity("three"), Identity("three", "readonly"))
        self.assertEqual(self.identities.secret_of("one"), "hush-one")

    def test_an_access_key_is_of_one(self) -> None:
        self.identities.replace([table("two")])
        for twice, tables in (
            ("one", [table("one")]),
            ("root", [table("root")]),
            ("three", [table("three"), table("three")]),
        ):
            error = self.assertRaises(ValueError, self.identities.replace, tables)
            self.assertIn(repr(twice), str(error))
            self.assertNotIn("hush", str(error))
        self.assertEqual(self.identities.secret_of("two"), "hush-two")

    def test_no_repr_tells_secrets(self) -> None:
        self.identities.replace([table("two")])
        shown = repr(vars(self.identities)) + repr(self.identities) + repr(table("two"))
        self.assertIn("two", shown)
        self.assertNotIn("hush", shown)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "identities.toml")
        self.clock = Clock()
        self.identities = Identities(lambda: ROOT)
        self.events: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("aosd."):
            self.events.append(str({k: v for k, v in event.items() if k != "log_source"}))

    def write(self, content: str) -> None:
        """As editors do: another file in its place, so that it differs whatever the time."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content)
        fresh.rename(self.path)

    def follow(self, content: str) -> IdentitiesFile:
        self.write(content)
        file = IdentitiesFile(self.path, self.identities, self.clock)
        file.start()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(file.stop)
        return file

    def known(self) -> list[str]:
        names = ("one", "two", "three")
        return [each for each in names if self.identities.secret_of(each) == f"hush-{each}"]

    def test_read_at_once_and_on_change(self) -> None:
        self.follow(text("one"))
        self.assertEqual(self.known(), ["one"])
        self.write(text("two", "three"))
        self.assertEqual(self.known(), ["one"])
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.known(), ["two", "three"])
        self.write("")
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.known(), [])

    def test_written_in_place(self) -> None:
        self.follow(text("one"))
        self.path.write_text(text("two"))
        os.utime(self.path, ns=(1, 1))
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.known(), ["two"])

    def test_unchanged_it_isnt_read(self) -> None:
        self.follow(text("one"))
        self.clock.pump([LOOK_EVERY_S] * 5)
        self.assertEqual(self.events, [])

    def test_a_broken_one_leaves_things_as_they_are_and_is_told_once(self) -> None:
        self.follow(text("one"))
        for content, said in (
            (text("two") + "[[identities]", "line 5"),
            (text("two", "two"), "'two'"),
            (text("root"), "'root'"),
            (text("two", role="god"), "'god'"),
            (text("two").replace("hush-two", "hush"), "secret_key must be"),
            ("nodes = 1", "nodes: unknown"),
        ):
            self.events.clear()
            self.write(content)
            self.clock.pump([LOOK_EVERY_S] * 3)
            self.assertEqual(self.known(), ["one"])
            self.assertEqual(len(self.events), 1, content)
            self.assertIn(said, self.events[0])
            self.assertNotIn("hush", self.events[0])
        self.write(text("two"))
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.known(), ["two"])

    def test_one_that_is_gone(self) -> None:
        self.follow(text("one"))
        self.path.unlink()
        self.clock.pump([LOOK_EVERY_S] * 3)
        self.assertEqual(self.known(), ["one"])
        self.assertEqual(len(self.events), 1)
        self.assertIn("No such file", self.events[0])
        self.write(text("two"))
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.known(), ["two"])

    def test_at_the_start_it_has_to_be_good(self) -> None:
        error = self.assertRaises(
            ConfigurationError, IdentitiesFile, self.path, self.identities, self.clock
        )
        self.assertIn(f"identities_file: {self.path}: No such file", str(error))
        self.path.write_text(text("one", "one"))
        error = self.assertRaises(
            ConfigurationError, IdentitiesFile, self.path, self.identities, self.clock
        )
        self.assertNotIn("hush", str(error))

    def test_whatever_is_wrong_no_secret_is_told(self) -> None:
        good = text("one")
        for content in (
            good[: good.index("hush") + 6],
            good.replace('"hush-one"', '"hush-one'),
            good.replace('"hush-one"', '["hush-one"]'),
            good.replace('"hush-one"', "{hush-one = 1}"),
            good.replace("hush-one", "hush\\u0009one"),
            good.replace("[[identities]]", "[[identity]]"),
            good.replace("[[identities]]", "[identities]"),
            good.replace("[[identities]]", ""),
        ):
            error = self.assertRaises(ValueError, parse_tables, content.encode())
            self.assertNotIn("hush", str(error))
        self.assertRaises(ValueError, parse_tables, b"\xff")
