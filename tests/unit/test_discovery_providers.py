"""From `--nodes` to providers, by Twisted's plugins."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aosd.discovery import DiscoveryContext, plugins
from aosd.discovery.providers import make_provider
from aosd.model.errors import ConfigurationError
from aosd.ports import IDiscovery, IDiscoveryPlugin


class MakeProviderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.context = DiscoveryContext(Clock(), cast(ThreadPool, None), Path("unused"))

    def test_each_scheme(self) -> None:
        for words in ("docker", "static:/etc/nodes.toml", "dns:http://n{1...2}:9000"):
            provider = make_provider(words, self.context)
            self.assertEqual(provider.name, words)
            verifyObject(IDiscovery, provider)

    def test_the_plugins_keep_their_promise(self) -> None:
        for plugin in (plugins.docker, plugins.static, plugins.dns, plugins.embedded):
            verifyObject(IDiscoveryPlugin, plugin)
            self.assertIn(plugin.scheme, plugin.usage)

    def test_an_unknown_scheme_lists_the_known_ones(self) -> None:
        for words in ("", "consul:x", ":x"):
            said = str(self.assertRaises(ConfigurationError, make_provider, words, self.context))
            self.assertNotIn("\n", said)
            for scheme in ("docker", "static", "dns", "embedded"):
                self.assertIn(scheme, said)

    def test_a_bad_argument_is_named_with_what_would_be_right(self) -> None:
        for words, right in (
            ("docker:x", "DOCKER_HOST"),
            ("static", "static:/"),
            ("dns", "http://"),
            ("embedded:0", "embedded:3"),
            ("embedded:many", "embedded:3"),
            ("embedded:33", "32"),
            ("embedded:٣", "embedded:3"),
        ):
            said = str(self.assertRaises(ConfigurationError, make_provider, words, self.context))
            self.assertIn(repr(words), said)
            self.assertIn(right, said)
            self.assertNotIn("\n", said)
