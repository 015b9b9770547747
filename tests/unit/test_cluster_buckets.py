"""Buckets while nodes join, leave and return, and gateways end: kept by the whole gateway."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from aosd.consistency.buckets import CLOSED, DELETED, LIVE
from aosd.gateway.buckets import create_bucket, delete_bucket
from aosd.gateway.delete import delete
from aosd.gateway.get import head
from aosd.gateway.put import put
from aosd.gateway.requests import Get, Put
from aosd.model.errors import KeyConflict, NoNodes, NoSuchBucket, NoSuchKey
from aosd.model.node import NodeState
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import refused
from tests.unit.cluster_case import ClusterTestCase, Gateway

NAME = "photos"
KEYS = tuple(f"k{number}" for number in range(12))


class BucketsTestCase(ClusterTestCase):
    """Three founders, a bucket with objects, and a fourth node."""

    count = 4
    founders = ("n1", "n2", "n3")

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun(*self.founders)

    def filled(self) -> None:
        self.now(create_bucket(self.gateway.store, NAME))
        for key in KEYS:
            self.write(key)

    def write(self, key: str) -> None:
        source = BytesSource(key.encode())
        self.now(put(self.gateway.store, Put(NAME, key, source)))

    def emptied(self) -> None:
        for key in KEYS:
            self.now(delete(self.gateway.store, NAME, key))

    def kept(self, gateway: Gateway) -> bool:
        """Whether each key lies on its primaries, and nowhere else."""
        for key in KEYS:
            wanted = {each.name for each in gateway.store.primaries(NAME, key)}
            if wanted != {name for name in self.names if self.has(name, key)}:
                return False
        return True

    def has(self, name: str, key: str) -> bool:
        return key in self.nodes[name].buckets.get(NAME, {})

    def on(self) -> list[str]:
        return [name for name in self.names if NAME in self.nodes[name].buckets]

    def goes(self, name: str) -> None:
        self.unreach(name)
        self.wait(60, lambda: self.gateway.state(name) is NodeState.DOWN)

    def returns(self, name: str) -> None:
        self.reachable(name)
        self.wait(120, lambda: self.gateway.state(name) is NodeState.UP)

    def state_of(self) -> str:
        found = self.gateway.store.buckets.get(NAME)
        return "" if found is None else found.state


class NodesTests(BucketsTestCase):
    def test_one_that_was_away_has_it_before_it_counts(self) -> None:
        self.goes("n3")
        self.filled()
        self.assertEqual(self.on(), ["n1", "n2"])
        self.returns("n3")
        self.assertEqual(self.on(), ["n1", "n2", "n3"])
        self.wait(120, lambda: self.kept(self.gateway))

    def test_one_that_joins(self) -> None:
        self.filled()
        self.gateway.see(*self.names)
        self.wait(10, lambda: "n4" in self.gateway.roster.ring.members)
        self.wait(60, lambda: self.on() == list(self.names))
        self.wait(300, lambda: not self.gateway.roster.changing and self.kept(self.gateway))

    def test_one_with_an_empty_disk(self) -> None:
        self.filled()
        self.goes("n2")
        self.nodes["n2"].wipe()
        self.returns("n2")
        self.wait(300, lambda: self.on() == list(self.founders) and self.kept(self.gateway))

    def test_one_that_didnt_make_it_does_so_soon(self) -> None:
        self.nodes["n1"].script("create_bucket", refused())
        self.now(create_bucket(self.gateway.store, NAME))
        self.assertEqual(self.on(), ["n2", "n3"])
        self.wait(70, lambda: self.on() == list(self.founders))

    def test_one_that_was_away_brings_no_bucket_back(self) -> None:
        self.filled()
        self.goes("n3")
        self.emptied()
        self.now(delete_bucket(self.gateway.store, NAME))
        self.assertTrue(self.nodes["n3"].buckets[NAME])
        self.nodes["n3"].disk.refuses_full_buckets = False
        self.returns("n3")
        self.wait(120, lambda: not self.on())
        with self.assertRaises(NoSuchBucket):
            self.gateway.store.buckets.check(NAME)

    def test_nor_an_object_into_the_next_one_of_its_name(self) -> None:
        self.filled()
        self.goes("n3")
        self.emptied()
        self.now(delete_bucket(self.gateway.store, NAME))
        # As when the journal has forgotten what it knew.
        self.gateway.store.ledger.forget_before("f")
        self.now(create_bucket(self.gateway.store, NAME))
        self.write(KEYS[0])
        self.returns("n3")
        self.wait(300, lambda: not any(self.has("n3", key) for key in KEYS[1:]))
        for key in KEYS[1:]:
            looking = Deferred.fromCoroutine(head(self.gateway.store, Get(NAME, key)))
            self.failureResultOf(looking, NoSuchKey)
        self.assertTrue(self.now(head(self.gateway.store, Get(NAME, KEYS[0]))))


class AdoptedTests(BucketsTestCase):
    """A bucket that a node brings along."""

    def adopt(self) -> Deferred[None]:
        assembly = self.gateway.assembly
        nodes = [each.node for each in self.gateway.roster.members() if each.node is not None]
        return Deferred.fromCoroutine(
            assembly.presence.adopt(NAME, self.gateway.store.stamps.next, nodes)
        )

    def test_one_that_there_never_was(self) -> None:
        self.successResultOf(self.adopt())
        self.assertEqual(self.state_of(), LIVE)
        self.wait(70, lambda: self.on() == list(self.founders))
        self.filled_again()

    def filled_again(self) -> None:
        for key in KEYS:
            self.write(key)
        self.wait(300, lambda: self.kept(self.gateway))

    def test_one_that_there_is_stays_as_it_is(self) -> None:
        self.filled()
        before = self.gateway.store.buckets.get(NAME)
        self.successResultOf(self.adopt())
        self.assertEqual(self.gateway.store.buckets.get(NAME), before)

    def test_one_that_was_deleted_is_there_again_and_nothing_in_it_is_dead(self) -> None:
        for made_again in (False, True):
            self.filled()
            self.emptied()
            self.now(delete_bucket(self.gateway.store, NAME))
            if made_again:
                self.now(create_bucket(self.gateway.store, NAME))
            self.successResultOf(self.adopt())
            found = self.gateway.store.buckets.check(NAME)
            self.assertEqual((found.state, found.died), (LIVE, ""))
            self.now(delete_bucket(self.gateway.store, NAME))

    def test_not_while_a_member_is_away_that_may_have_what_was_in_it(self) -> None:
        self.filled()
        self.goes("n3")
        self.emptied()
        self.now(delete_bucket(self.gateway.store, NAME))
        self.failureResultOf(self.adopt(), KeyConflict)
        self.assertEqual(self.state_of(), DELETED)
        self.returns("n3")
        self.wait(300, lambda: not self.on())
        self.pass_s(5)
        self.successResultOf(self.adopt())
        self.assertEqual(self.state_of(), LIVE)
        for key in KEYS:
            looking = Deferred.fromCoroutine(head(self.gateway.store, Get(NAME, key)))
            self.failureResultOf(looking, NoSuchKey)

    def test_not_while_it_lies_on_a_member(self) -> None:
        self.filled()
        self.emptied()
        self.now(delete_bucket(self.gateway.store, NAME))
        self.nodes["n2"].buckets[NAME] = {}
        self.failureResultOf(self.adopt(), KeyConflict)
        self.wait(70, lambda: not self.on())
        self.successResultOf(self.adopt())

    def test_not_while_it_is_being_deleted(self) -> None:
        self.filled()
        found = self.gateway.store.buckets.check(NAME)
        self.now(self.gateway.store.buckets.set(replace(found, state=CLOSED)))
        self.failureResultOf(self.adopt(), KeyConflict)


class RunsTests(BucketsTestCase):
    def test_the_next_run_knows_them(self) -> None:
        self.filled()
        self.stop(self.gateway)
        self.unreach(*self.founders)
        self.gateway = self.begin(*self.founders)
        writing = Deferred.fromCoroutine(
            put(self.gateway.store, Put(NAME, "k", BytesSource(b"data")))
        )
        self.failureResultOf(writing, NoNodes)  # and not that there is no such bucket
        self.reachable(*self.founders)
        self.wait(60, lambda: self.gateway.ready)
        self.write("k")

    def test_a_delete_that_a_crash_cut_short(self) -> None:
        for full in (True, False):
            self.filled()
            if not full:
                self.emptied()
            found = self.gateway.store.buckets.check(NAME)
            self.now(self.gateway.store.buckets.set(replace(found, state=CLOSED)))
            self.dies(self.gateway)
            self.gateway = self.begun(*self.founders)
            # One that lives again may not be removed late by whom the run before had asked.
            self.wait(
                1300 if full else 10,
                lambda: self.state_of() == (LIVE if full else DELETED),  # noqa: B023
            )
            if full:
                self.assertEqual(self.on(), list(self.founders))
                self.emptied()
                self.now(delete_bucket(self.gateway.store, NAME))
            self.assertEqual(self.on(), [])
