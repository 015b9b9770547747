"""Forecasts of ring changes: from what nodes list, at no cost to clients."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import NodeUnavailable
from aosd.model.node import Member, NodeState
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.repair.forecast import Forecast, Forecaster, Share
from aosd.repair.mend import Mended
from aosd.repair.rates import Rates
from aosd.repair.walk import Found
from aosd.testing.faults import late, unavailable
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement

NOW_S = 1_700_000_000.0
KEYS = tuple(f"k{number:02d}" for number in range(60))
ALL_WEIGHT = 1e30


class ForecastTests(SynchronousTestCase):
    """Three members and a fourth node; each key on its two primaries, of three bytes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.nodes = {
            name: MemoryNode(name, now=self.clock.seconds) for name in ("n1", "n2", "n3", "n4")
        }
        self.placement = MemoryPlacement(list(self.nodes.values()))
        self.ring = self.placement.ring = ring(n1=1.0, n2=1.0, n3=1.0)
        self.rates = Rates(self.clock, keys_per_s=1000.0, bytes_per_s=math.inf)
        self.found: list[int] = []
        self.buckets = [OBJECT_BUCKET]
        for key in KEYS:
            self.lay_right(key)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def lay(
        self,
        name: str,
        key: str,
        data: bytes = b"vvv",
        modified_s: float = NOW_S - 9999,
        bucket: str = OBJECT_BUCKET,
    ) -> None:
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self.nodes[name].buckets.setdefault(bucket, {})[key] = Copy(data, etag, modified_s)

    def lay_right(self, key: str) -> None:
        for name in self.ring.primaries(OBJECT_BUCKET, key, 2):
            self.lay(name, key)

    def forecaster(self, **more: Any) -> Forecaster:
        made: dict[str, Any] = {
            "placement": self.placement,
            "buckets": lambda: self.buckets,
            "replicas": 2,
            "clock": self.clock,
            "rates": self.rates,
            "keys_per_s": math.inf,
            "found": self.found.append,
        }
        return Forecaster(**(made | more))

    def forecast(self, coming: Ring, **how: Any) -> Forecast:
        work = self.forecaster().forecast(self.ring, coming, **how)
        return self.successResultOf(Deferred.fromCoroutine(work))

    def movers(self, coming: Ring) -> list[str]:
        """The keys that get another primary."""
        return [
            key
            for key in KEYS
            if set(coming.primaries(OBJECT_BUCKET, key, 2))
            - set(self.ring.primaries(OBJECT_BUCKET, key, 2))
        ]

    # -- what it counts -------------------------------------------------------------------------

    def test_a_node_that_joins_gets_its_share(self) -> None:
        coming = ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0)
        movers = self.movers(coming)
        told = self.forecast(coming)
        self.assertEqual((told.keys, told.size_bytes, told.copies), (60, 180, 120))
        self.assertEqual((told.moved_keys, told.moved_bytes), (len(movers), 3 * len(movers)))
        self.assertEqual(told.moved_share, len(movers) / 120)
        joined = told.nodes["n4"]
        self.assertEqual((joined.copies_in, joined.bytes_in), (len(movers), 3 * len(movers)))
        self.assertEqual((joined.copies_out, joined.bytes_out), (0, 0))
        out = [told.nodes[name].copies_out for name in ("n1", "n2", "n3")]
        self.assertEqual(sum(out), len(movers))
        self.assertTrue(all(out))
        self.assertEqual(self.found, [60])

    def test_a_drained_one_gives_all_it_has(self) -> None:
        has = len(self.nodes["n3"].buckets[OBJECT_BUCKET])
        told = self.forecast(ring(n1=1.0, n2=1.0))
        self.assertEqual((told.nodes["n3"].copies_out, told.moved_copies), (has, has))
        self.assertEqual(told.nodes["n1"].copies_in + told.nodes["n2"].copies_in, has)
        self.assertEqual((told.copies_each, told.copies_each_now), (2, 2))

    def test_fewer_nodes_than_copies_are_told_of(self) -> None:
        told = self.forecast(ring(n1=1.0))
        self.assertEqual((told.copies, told.copies_each, told.copies_each_now), (60, 1, 2))
        self.assertEqual(told.told()["copies_each"], 1)

    def test_what_a_dead_one_had_is_made_anew(self) -> None:
        has = len(self.nodes["n3"].buckets[OBJECT_BUCKET])
        self.placement.states["n3"] = NodeState.DOWN
        told = self.forecast(ring(n1=1.0, n2=1.0))
        self.assertEqual(told.unlisted, ("n3",))
        self.assertEqual((told.keys, told.moved_copies), (60, has))
        self.assertEqual(told.nodes["n3"], Share())

    def test_one_that_is_away_keeps_what_is_its_own(self) -> None:
        coming = ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0)
        expected = self.forecast(coming).nodes["n4"].copies_in
        self.placement.states["n3"] = NodeState.DOWN
        told = self.forecast(coming)
        self.assertEqual((told.unlisted, told.moved_copies), (("n3",), expected))
        self.assertEqual(told.nodes["n3"].copies_in, 0)

    def test_one_that_goes_on_the_way_is_told_of(self) -> None:
        self.nodes["n2"].script("list", unavailable(), times=None)
        work = self.forecaster().forecast(self.ring, self.ring)
        made: Deferred[Forecast] = Deferred.fromCoroutine(work)
        self.clock.pump([1.0, 1.0])
        told = self.successResultOf(made)
        self.assertEqual((told.keys, told.unlisted, told.moved_copies), (60, ("n2",), 0))

    def test_what_lies_wrong_by_itself_is_counted_too(self) -> None:
        order = self.ring.order(OBJECT_BUCKET, "k00")
        self.lay(order[2], "k00")  # a stray
        order = self.ring.order(OBJECT_BUCKET, "k01")
        self.lay(order[1], "k01", b"newer", modified_s=NOW_S)  # of which one is older
        order = self.ring.order(OBJECT_BUCKET, "k02")
        del self.nodes[order[1]].buckets[OBJECT_BUCKET]["k02"]  # and one that is missing
        told = self.forecast(self.ring)
        self.assertEqual((told.moved_keys, told.moved_copies, told.moved_bytes), (2, 2, 5 + 3))
        self.assertEqual(sum(share.copies_out for share in told.nodes.values()), 1)
        self.assertEqual(told.size_bytes, 59 * 3 + 5)

    def test_the_clusters_memory_isnt(self) -> None:
        self.lay("n1", "members/n1", bucket=SYSTEM_BUCKET)
        self.buckets.append(SYSTEM_BUCKET)
        self.assertEqual(self.forecast(self.ring).keys, 60)

    def test_to_gather_is_to_have_a_copy_of_everything_on_one(self) -> None:
        coming = ring(n1=ALL_WEIGHT, n2=1.0, n3=1.0)
        lacks = 60 - len(self.nodes["n1"].buckets[OBJECT_BUCKET])
        self.assertGreater(lacks, 0)
        told = self.forecast(coming)
        self.assertEqual((told.nodes["n1"].copies_in, told.nodes["n1"].copies_out), (lacks, 0))

    # -- a node that comes with objects -----------------------------------------------------------

    def test_what_an_adopted_one_holds_belongs_to_all(self) -> None:
        self.lay("n4", "mine", b"12345")
        self.lay("n4", "more", b"1234567", bucket="others")
        self.placement.ring = self.ring
        coming = ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0)
        expected = self.forecast(coming)
        told = self.forecast(coming, adopted=self.nodes["n4"])
        self.assertEqual((told.keys, told.size_bytes), (62, 192))
        anew = 0
        for name in ((OBJECT_BUCKET, "mine"), ("others", "more")):
            # The former ring never had them, and needn't.
            anew += len(set(coming.primaries(*name, 2)) - {"n4"})
        self.assertEqual(told.moved_copies, expected.moved_copies + anew)

    def test_where_both_have_a_key_the_clusters_counts_whenever_it_was_written(self) -> None:
        self.lay("n4", "k00", b"another, and newer", modified_s=NOW_S)
        coming = ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0)
        before = self.forecast(coming)
        told = self.forecast(coming, adopted=self.nodes["n4"])
        self.assertEqual((told.keys, told.size_bytes), (60, 180))
        self.assertEqual(told.moved_copies, before.moved_copies)
        stays = "n4" in coming.primaries(OBJECT_BUCKET, "k00", 2)
        self.assertEqual(told.nodes["n4"].copies_out, 0 if stays else 1)

    def test_who_looks_is_shown_every_key(self) -> None:
        seen: list[tuple[str, str, int]] = []

        async def look(bucket: str, batch: Sequence[Found]) -> None:
            seen.extend((bucket, found.key, len(found.entries)) for found in batch)

        self.forecast(self.ring, look=look)
        self.assertEqual(seen, [(OBJECT_BUCKET, key, 2) for key in KEYS])

    def test_an_adopted_node_that_doesnt_answer_is_an_error(self) -> None:
        self.nodes["n4"].script("list_buckets", unavailable())
        work = self.forecaster().forecast(self.ring, self.ring, adopted=self.nodes["n4"])
        self.failureResultOf(Deferred.fromCoroutine(work), NodeUnavailable)

    # -- how it goes about it ---------------------------------------------------------------------

    def test_it_goes_ten_times_as_fast_as_a_sweep(self) -> None:
        for number in range(1000):
            self.lay("n1", f"z{number:04d}")
            self.lay("n2", f"z{number:04d}")
        made: Deferred[Forecast] = Deferred.fromCoroutine(
            self.forecaster(keys_per_s=10.0).forecast(self.ring, self.ring)
        )
        self.clock.pump([0.5] * 20)
        self.assertNoResult(made)
        self.clock.pump([0.5] * 2)
        self.assertEqual(self.successResultOf(made).keys, 1060)

    def test_one_at_a_time(self) -> None:
        self.nodes["n1"].script("list", late(Deferred))
        forecaster = self.forecaster()
        first, second = (
            Deferred.fromCoroutine(forecaster.forecast(self.ring, self.ring)) for _ in range(2)
        )
        asked = self.nodes["n2"].requests["list"]
        self.assertNoResult(first)
        self.assertNoResult(second)
        self.assertEqual(asked, 1)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.successResultOf(second).keys, 60)
        self.assertEqual(self.found, [60])

    def test_who_waits_may_go_too(self) -> None:
        self.nodes["n1"].script("list", late(Deferred))
        forecaster = self.forecaster()
        first, second = (
            Deferred.fromCoroutine(forecaster.forecast(self.ring, self.ring)) for _ in range(2)
        )
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertNoResult(first)
        first.cancel()
        self.failureResultOf(first, CancelledError)

    # -- how long it would take -------------------------------------------------------------------

    def test_times_are_assumed_as_long_as_nothing_was_copied(self) -> None:
        coming = ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0)
        told = self.forecast(coming)
        self.assertFalse(told.measured)
        moved = told.moved_copies
        self.assertAlmostEqual(told.nodes["n4"].seconds, moved * 0.01)
        self.assertAlmostEqual(told.seconds, 2 * 60 / 1000 + moved * 0.015)

    def test_then_they_are_measured(self) -> None:
        self.rates.began()
        self.rates.mended(Mended(True, True, copied=("n4",), size_bytes=3))
        self.clock.advance(2.0)
        self.rates.keys(1)
        told = self.forecast(ring(n1=1.0, n2=1.0, n3=1.0, n4=1.0))
        self.assertTrue(told.measured)
        self.assertAlmostEqual(told.nodes["n4"].seconds, told.moved_copies * 2.0)

    def test_it_is_told_as_json(self) -> None:
        told = json.loads(json.dumps(self.forecast(ring(n1=1.0, n2=1.0)).told()))
        self.assertEqual(told["seconds_are"], "assumed")
        self.assertEqual((told["refusal"], told["unlisted"], told["conflicts"]), ("", [], []))
        self.assertEqual(told["moved_share"], round(told["moved_copies"] / 120, 4))
        self.assertEqual(
            sorted(told["nodes"]["n3"]),
            ["bytes_in", "bytes_out", "copies_in", "copies_out", "seconds"],
        )


def ring(**weights: float) -> Ring:
    return Ring(Member(name, weight, name) for name, weight in weights.items())
