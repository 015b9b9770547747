"""The static provider: what its file may say, and what becomes of edits."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery import DiscoveryContext
from aosd.discovery.static import StaticDiscovery, parse
from aosd.model.node import Address, Credentials, Sighting

GOOD = """\
[[node]]
name = "n1"
url = "http://127.0.0.1:9000"
access_key = "ring"
secret_key = "tree=potato"
weight = 1.5
zone = "rack-1"

[[node]]
name = "n2"
url = "https://n2.example"
access_key = "ring"
secret_key = "tree=potato"
"""


class ParseTests(SynchronousTestCase):
    def test_all_that_a_node_may_have(self) -> None:
        first, second = parse(GOOD.encode(), "nodes.toml")
        self.assertEqual(
            first,
            Sighting(
                "n1",
                Address("http", "127.0.0.1", 9000),
                Credentials("ring", "tree=potato"),
                1.5,
                "rack-1",
                seen_as="nodes.toml",
            ),
        )
        self.assertEqual(second.address, Address("https", "n2.example", 443))
        self.assertEqual((second.weight, second.zone), (1.0, None))

    def refused(self, old: str, new: str, *said: str) -> None:
        self.assertIn(old, GOOD)
        error = self.assertRaises(ValueError, parse, GOOD.replace(old, new).encode(), "x")
        for words in said:
            self.assertIn(words, str(error))
        self.assertNotIn("\n", str(error))
        self.assertNotIn("potato", str(error))

    def test_mistakes_are_named_with_their_line(self) -> None:
        self.refused('"n2"', '"n1"', "line 10", "'n1'")
        self.refused('"n2"', '"-n2"', "line 10", "name", "'-n2'")
        self.refused("weight = 1.5", "weight = 0.09", "line 6", "weight", "0.1 to 100", "0.09")
        self.refused("weight = 1.5", "weight = 101", "line 6", "weight")
        self.refused("weight = 1.5", "weight = nan", "line 6", "weight")
        self.refused("weight = 1.5", 'weight = "1"', "line 6", "weight")
        self.refused("weight = 1.5", "wait = 1.5", "line 6", "wait", "unknown", "weight")
        self.refused('zone = "rack-1"', 'zone = ""', "line 7", "zone")
        self.refused('zone = "rack-1"', 'zone = "a\\tb"', "line 7", "zone")
        self.refused('name = "n2"\n', "", "line 9", "name", "missing")
        self.refused('zone = "rack-1"', 'zone "rack-1"', "line 7")
        self.refused('secret_key = "tree=potato"\nweight', "secret_key = 7\nweight", "line 5")
        self.refused('secret_key = "tree=potato"\nweight', 'secret_key = ""\nweight', "line 5")
        self.refused('[[node]]\nname = "n1"', '[[nodes]]\nname = "n1"', "line 1", "nodes")

    def test_urls(self) -> None:
        for bad in (
            "127.0.0.1:9000",
            "ftp://n1",
            "http://",
            "http://n1:0",
            "http://n1:65536",
            "http://n1:x",
            "http://n1/data",
            "http://n1?x",
            "http://n1 n2",
            "http://user:potato@n1",
        ):
            self.refused("http://127.0.0.1:9000", bad, "line 3", "url", "http://host:9000")
        for good, host in (("http://[::1]:9000/", "::1"), ("http://N1.Example:9000", "n1.example")):
            sighting = parse(GOOD.replace("http://127.0.0.1:9000", good).encode(), "x")[0]
            self.assertEqual(sighting.address, Address("http", host, 9000))

    def test_an_emptied_file_is_a_mistake(self) -> None:
        # Otherwise a half-finished edit would take all nodes away.
        self.assertIn("no [[node]]", str(self.assertRaises(ValueError, parse, b"", "x")))

    def test_bytes_that_are_no_text(self) -> None:
        self.assertIn("line 2", str(self.assertRaises(ValueError, parse, b"#\n# \xff", "x")))


class Reactor(Clock):
    """A clock whose threads' answers come when they are let."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:  # noqa: N802
        call(*args)


class Threads:
    def callInThreadWithCallback(  # noqa: N802
        self, on_result: Callable[[bool, Any], None], call: Callable[..., Any], *args: Any
    ) -> None:
        try:
            result = call(*args)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)


class StaticDiscoveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "nodes.toml"
        self.reactor = Reactor()
        self.reports: list[list[str]] = []
        self.troubles: list[str] = []
        context = DiscoveryContext(self.reactor, cast(ThreadPool, Threads()), Path("unused"))
        self.discovery = StaticDiscovery(str(self.path), context)

    def report(self, sightings: Sequence[Sighting]) -> None:
        self.reports.append([each.name for each in sightings])

    def start(self) -> None:
        self.successResultOf(self.discovery.start(self.report, self.troubles.append))

    def test_reports_once_and_again_when_the_file_changed(self) -> None:
        self.path.write_text(GOOD)
        self.start()
        self.reactor.pump([1.0] * 5)
        self.assertEqual(self.reports, [["n1", "n2"]])
        self.path.write_text(GOOD.replace('"n2"', '"n3"') + "#")
        self.reactor.advance(1.0)
        self.assertEqual(self.reports[1:], [["n1", "n3"]])
        self.assertEqual(self.troubles, [])

    def test_a_file_put_in_its_place_is_seen_though_size_and_time_are_the_same(self) -> None:
        self.path.write_text(GOOD)
        before = self.path.stat()
        self.start()
        new = self.path.with_suffix(".new")
        new.write_text(GOOD.replace('"n2"', '"n3"'))
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        new.rename(self.path)
        self.reactor.advance(1.0)
        self.assertEqual(self.reports[1:], [["n1", "n3"]])

    def test_a_broken_edit_is_told_once_and_changes_nothing(self) -> None:
        self.path.write_text(GOOD)
        self.start()
        self.path.write_text(GOOD.replace("1.5", "0"))
        self.reactor.pump([1.0] * 5)
        (trouble,) = self.troubles
        self.assertIn(f"{self.path.absolute()}, line 6: ", trouble)
        self.assertEqual(len(self.reports), 1)
        self.path.write_text(GOOD)
        self.reactor.advance(1.0)
        self.assertEqual(self.troubles[1:], [""])
        self.assertEqual(len(self.reports), 2)

    def test_a_missing_file_is_trouble_until_it_comes(self) -> None:
        self.start()
        self.reactor.pump([1.0] * 5)
        self.assertEqual(self.troubles, [f"{self.path.absolute()}: No such file or directory"])
        self.assertEqual(self.reports, [])
        self.path.write_text(GOOD)
        self.reactor.advance(1.0)
        self.assertEqual(self.troubles[1:], [""])
        self.assertEqual(self.reports, [["n1", "n2"]])

    def test_a_file_that_went_and_came_back_is_read_again(self) -> None:
        self.path.write_text(GOOD)
        self.start()
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        self.reactor.advance(1.0)
        away.rename(self.path)
        self.reactor.advance(1.0)
        self.assertEqual(self.troubles[1:], [""])
        self.assertEqual(len(self.reports), 2)

    def test_stop_leaves_no_timer(self) -> None:
        self.path.write_text(GOOD)
        self.start()
        self.successResultOf(self.discovery.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
