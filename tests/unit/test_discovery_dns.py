"""The dns provider: patterns, SRV names, and lookups that fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names.error import DNSNameError, DNSQueryTimeoutError
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery import DiscoveryContext
from aosd.discovery.dns import DnsDiscovery, expand
from aosd.model.errors import ConfigurationError
from aosd.model.node import Address, Credentials, Sighting

KEYS = Credentials("ring", "tree=potato")


class ExpandTests(SynchronousTestCase):
    def test_ranges(self) -> None:
        for pattern, names in (
            ("a", ["a"]),
            ("a{0...3}b", ["a0b", "a1b", "a2b", "a3b"]),
            ("{7...7}", ["7"]),
            ("{9...11}", ["9", "10", "11"]),
            ("{08...10}", ["08", "09", "10"]),
            ("{001...2}", ["1", "2"]),  # as MinIO has it: the width of the second
            ("{e...11}", ["e", "f", "10", "11"]),
            ("a{1...2}b{3...4}", ["a1b3", "a1b4", "a2b3", "a2b4"]),
        ):
            self.assertEqual(list(expand(pattern)), names)

    def test_what_is_no_range(self) -> None:
        for pattern in ("{1..3}", "{1....3}", "{a-c}", "{}", "{3...1}", "1...3", "{0...99999}"):
            self.assertRaises(ConfigurationError, list, expand(pattern))


class DnsDiscoveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Deferred[Any]]] = []
        self.seen: list[Sequence[Sighting]] = []
        self.troubles: list[str] = []

    def look_up(self, name: str) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.asked.append((name, answer))
        return answer

    def make(self, names: str, credentials: Credentials | None = KEYS) -> DnsDiscovery:
        context = DiscoveryContext(
            self.clock, cast(ThreadPool, None), Path("unused"), credentials, 10.0
        )
        return DnsDiscovery(names, context, self.look_up)

    def start(self, names: str, credentials: Credentials | None = KEYS) -> DnsDiscovery:
        discovery = self.make(names, credentials)
        discovery.start(self.seen.append, self.troubles.append)
        return discovery

    def urls(self) -> dict[str, str]:
        return {each.name: each.address.url for each in self.seen[-1] if each.address}

    def test_the_host_name_is_the_nodes_and_stays_in_the_address(self) -> None:
        self.start("http://Minio-{0...1}.minio:9000, https://n{1...2}")
        self.assertEqual(
            self.urls(),
            {
                "minio-0.minio": "http://minio-0.minio:9000",
                "minio-1.minio": "http://minio-1.minio:9000",
                "n1": "https://n1:443",
                "n2": "https://n2:443",
            },
        )
        self.assertEqual({each.credentials for each in self.seen[0]}, {KEYS})
        self.assertEqual((self.asked, self.troubles), ([], []))

    def test_without_credentials_each_node_has_a_problem(self) -> None:
        self.start("http://n{1...2}:9000", None)
        self.assertEqual([each.name for each in self.seen[0]], ["n1", "n2"])
        for each in self.seen[0]:
            self.assertIn("AOSD_NODE_ACCESS_KEY", each.problem or "")
            self.assertIsNone(each.address)

    def test_names_that_cant_be(self) -> None:
        for names in (
            "",
            " , ",
            "n1:9000",
            "http://n1:9000/data{1...4}",
            "http://n1:{9000...9001}",  # two nodes of one name
            "http://n1,http://n1:9000",
            "http://10.0.0.{1...4}:9000",
            "http://[::1]:9000",
            "http://n{1...2000}",
            "http://n{1...100}{1...100}",
            "_s3",
            "srv+ftp://_s3._tcp.example",
            "srv+http://n1",
        ):
            error = self.assertRaises(ConfigurationError, self.make, names)
            self.assertNotIn("\n", str(error))

    def test_an_srv_name_is_looked_up_each_round(self) -> None:
        self.start("_s3._tcp.example srv+https://_s3s._tcp.example")
        (name, answer), (secure_name, secure_answer) = self.asked
        self.assertEqual((name, secure_name), ("_s3._tcp.example", "_s3s._tcp.example"))
        answer.callback([("N1.example.", 9000), ("n2.example", 9001)])
        secure_answer.callback([("n3.example", 443)])
        self.assertEqual(
            self.urls(),
            {
                "n1.example": "http://n1.example:9000",
                "n2.example": "http://n2.example:9001",
                "n3.example": "https://n3.example:443",
            },
        )
        self.clock.advance(10.0)
        self.asked[2][1].callback([("n2.example", 9001)])
        self.asked[3][1].callback([("n3.example", 443)])
        self.assertEqual(sorted(self.urls()), ["n2.example", "n3.example"])

    def test_a_failed_lookup_is_no_news(self) -> None:
        self.start("_s3._tcp.example,http://n9")
        self.asked[0][1].callback([("n1.example", 9000)])
        for failure in (DNSQueryTimeoutError(1), DNSNameError("x")):
            self.clock.advance(10.0)
            self.asked[-1][1].errback(failure)
            self.assertEqual(sorted(self.urls()), ["n1.example", "n9"])
        self.clock.advance(10.0)
        self.asked[-1][1].callback([])
        self.assertEqual(
            self.troubles,
            [
                "_s3._tcp.example: no answer from the name servers",
                "_s3._tcp.example: no such name",
                "_s3._tcp.example: no records",
            ],
        )
        self.clock.advance(10.0)
        self.asked[-1][1].callback([("n2.example", 9000)])
        self.assertEqual(sorted(self.urls()), ["n2.example", "n9"])
        self.assertEqual(self.troubles[-1], "")

    def test_a_target_that_is_an_address_has_a_problem(self) -> None:
        self.start("_s3._tcp.example")
        self.asked[0][1].callback([("10.0.0.1", 9000)])
        (sighting,) = self.seen[0]
        self.assertIn("name", sighting.problem or "")
        self.assertIsNone(sighting.address)

    def test_one_server_behind_two_names_is_one_sighting(self) -> None:
        self.start("_a._tcp.example,_b._tcp.example,http://n1.example:9000")
        for _, answer in self.asked:
            answer.callback([("n1.example", 9000)])
        self.assertEqual(
            self.seen[0],
            [
                Sighting(
                    "n1.example",
                    Address("http", "n1.example", 9000),
                    KEYS,
                    seen_as="n1.example:9000",
                )
            ],
        )

    def test_stop_gives_up_the_lookup(self) -> None:
        discovery = self.start("_s3._tcp.example")
        self.successResultOf(discovery.stop())
        self.assertEqual((self.seen, self.troubles), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
