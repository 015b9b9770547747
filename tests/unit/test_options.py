from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.options import Options
from aosd.settings import Settings, flag_of, from_flags


class OptionsTests(SynchronousTestCase):
    def parse(self, *words: str, **environment: str) -> Options:
        options = Options(environment)
        options.parseOptions(list(words))
        return options

    def refused(self, *words: str) -> str:
        """The one line that would go to standard error; exit code 1 goes with it."""
        line = self.assertRaises(SystemExit, self.parse, *words).code
        assert isinstance(line, str)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith("aosd: "), line)
        return line.removeprefix("aosd: ")

    def test_nothing_said(self) -> None:
        options = self.parse()
        self.assertEqual(options.settings, Settings())
        self.assertIs(options["settings"], options.settings)
        self.assertEqual(options.unknown_environment, ())

    def test_every_setting_is_a_flag(self) -> None:
        text = Options({}).getUsage(width=200)
        for name in from_flags():
            self.assertIn(f"{flag_of(name)}=", text)
            self.assertIn(f"{Settings.model_fields[name].description}", text)
        self.assertNotIn("--identities=", text)

    def test_flags(self) -> None:
        settings = self.parse(
            "--log-format=json", "--client-idle-timeout-s", "7.5", "--access-log", "false"
        ).settings
        self.assertEqual(settings.log_format, "json")
        self.assertEqual(settings.client_idle_timeout_s, 7.5)
        self.assertIs(settings.access_log, False)

    def test_a_repeated_flag_adds_or_the_last_one_counts(self) -> None:
        words = ["--http", "tcp:1", "--http=tcp:2", "--nodes", "dns:a", "--nodes", "docker"]
        settings = self.parse(
            *words, "--log-format=json", "--log-format=text", AOSD_HTTP="tcp:9"
        ).settings
        self.assertEqual(settings.http, ("tcp:1", "tcp:2"))
        self.assertEqual(settings.nodes, ("dns:a", "docker"))
        self.assertEqual(settings.log_format, "text")

    def test_the_environment(self) -> None:
        options = self.parse("--log-format=text", AOSD_LOG_FORMAT="json", AOSD_DATA="/d", AOSD_X="")
        self.assertEqual(options.settings.log_format, "text")
        self.assertEqual(str(options.settings.data), "/d")
        self.assertEqual(options.unknown_environment, ("AOSD_X",))

    def test_two_parsers_share_nothing(self) -> None:
        self.parse("--http=tcp:1")
        self.assertEqual(self.parse("--http=tcp:2").settings.http, ("tcp:2",))

    def test_refusals(self) -> None:
        for words, said in [
            ("--log-format=xml", "--log-format is 'xml', but must be text or json"),
            ("--logformat=x", "--logformat is no option: --log-format may be meant"),
            ("--zzzz", "--zzzz is no option; twistd aosd --help lists them all"),
            ("--http", "--http requires argument"),
            ("tcp:80", "'tcp:80' is no option"),
            ("-z", "-z is no option"),
            ("--node=x", "--node not a unique prefix"),
        ]:
            self.assertIn(said, self.refused(words))
