"""Buckets: made, found, deleted; nodes that were away bring none back."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed

from aosd.consistency.buckets import CLOSED, DELETED, LIVE, Bucket, names_in
from aosd.consistency.presence import Presence
from aosd.gateway.buckets import (
    buckets,
    create_bucket,
    delete_bucket,
    set_bucket_setting,
    take_up,
)
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.requests import Found, Get, Put, Written
from aosd.model.conditions import Conditions
from aosd.model.errors import (
    BadRequest,
    BucketExists,
    BucketNotEmpty,
    KeyConflict,
    NodeFull,
    NoNodes,
    NoQuorum,
    NoSuchBucket,
    NoSuchKey,
    TooLarge,
)
from aosd.model.objects import SYSTEM_BUCKET, Page
from aosd.repair.mend import Mender
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import NO_FAULT, full, lands_late, late, refused, stalls, timed_out
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import FLOWING, LONG, SMALL, GatewayTestCase, etag_of

NAME = "photos"
MINUTE_S, LATE_S = 60.0, 1200.0


class BucketTestCase(GatewayTestCase):
    def create(self, name: str = NAME) -> Deferred[None]:
        return self.run_(create_bucket(self.store, name))

    def created(self, name: str = NAME) -> None:
        self.successResultOf(self.create(name))

    def remove(self, name: str = NAME) -> Deferred[None]:
        return self.run_(delete_bucket(self.store, name))

    def removed(self, name: str = NAME) -> None:
        self.successResultOf(self.remove(name))

    def write(self, key: str, data: bytes = SMALL, *, told: bool = True) -> Deferred[Written]:
        source = BytesSource(data, told=told, piece_bytes=300)
        return self.run_(put(self.store, Put(NAME, key, source)))

    def written(self, key: str, data: bytes = SMALL) -> None:
        self.successResultOf(self.write(key, data))

    def found(self, key: str) -> Deferred[Found]:
        return self.run_(head(self.store, Get(NAME, key)))

    def unlinked(self, key: str) -> None:
        self.now(delete(self.store, NAME, key))

    def keys(self) -> list[str]:
        listing = self.now(list_objects(self.store, NAME, wanted=lambda _: True))
        return [entry.key for entry in listing.entries]

    def names(self) -> list[str]:
        return [each.name for each in buckets(self.store)]

    def state_of(self, name: str = NAME) -> str:
        found = self.store.buckets.get(name)
        return "" if found is None else found.state

    def on(self, name: str = NAME) -> str:
        """Which nodes have the bucket, as letters."""
        nodes = zip("abcde", (self.a, self.b, self.c), strict=False)
        return "".join(letter for letter, node in nodes if name in node.buckets)

    def presence(self) -> Presence:
        return Presence(self.store.buckets, self.store.turns)

    def levelled(self, node: MemoryNode) -> Presence:
        """As a node is before it counts."""
        presence = self.presence()
        self.now(self.store.buckets.registers.give(node))
        self.now(presence.level(node))
        return presence

    def afresh(self) -> None:
        """Another run over the same nodes, which remembers what they do."""
        self.use(self.nodes)
        for node in self.nodes:
            there = node.buckets[SYSTEM_BUCKET]
            records = {key: copy.data for key, copy in there.items()}
            self.store.buckets.registers.load(records)
            self.now(self.store.journal.load(records))
            self.store.uploads.load(records)
        self.store.stamps.observe(self.store.buckets.registers.newest)

    def fails(self, work: Coroutine[Any, Any, Any], *kinds: type[Exception]) -> Exception:
        error = self.failureResultOf(self.run_(work), *kinds).value
        assert isinstance(error, Exception)
        return error


class CreateTests(BucketTestCase):
    def test_on_all_nodes_and_remembered(self) -> None:
        self.assertEqual(self.names(), ["object"])
        self.created()
        self.assertEqual((self.on(), self.names()), ("abc", ["object", NAME]))
        self.assertEqual(len(self.remembered(f"buckets/{NAME}")[f"buckets/{NAME}"]), 3)
        self.assertEqual(buckets(self.store)[1].created_s, int(self.clock.seconds()))
        self.written("a/b")
        self.assertEqual(self.keys(), ["a/b"])
        self.successResultOf(self.found("a/b"))
        self.afresh()
        self.assertEqual(self.names(), ["object", NAME])

    def test_what_is_there_and_what_cant_be(self) -> None:
        self.created()
        for name in (NAME, "object"):
            self.failureResultOf(self.create(name), BucketExists)
        for name in ("aos-system", "minio", "Photos", "a"):
            self.failureResultOf(self.create(name), BadRequest)

    def test_two_at_once(self) -> None:
        gate: Deferred[None] = Deferred()
        self.a.script("create_bucket", late(lambda: gate))
        first, second = self.create(), self.create()
        self.assertNoResult(first)
        self.assertNoResult(second)
        gate.callback(None)
        self.successResultOf(first)
        self.failureResultOf(second, BucketExists)

    def test_a_node_that_is_down_gets_it_when_it_returns(self) -> None:
        self.down(self.c)
        self.created()
        self.assertEqual(self.on(), "ab")
        self.back(self.c)
        self.levelled(self.c)
        self.assertEqual(self.on(), "abc")

    def test_too_few_nodes(self) -> None:
        self.a.script("create_bucket", refused())
        self.down(self.b)
        self.failureResultOf(self.create(), NoQuorum)
        self.assertEqual((self.names(), self.state_of()), (["object"], ""))
        self.failureResultOf(self.write("a"), NoSuchBucket)
        self.created()
        self.assertEqual(self.on(), "ac")

    def test_a_register_on_too_few_nodes(self) -> None:
        for node in (self.a, self.b):
            node.script("put", full())
        self.failureResultOf(self.create(), NoQuorum)
        self.assertEqual(self.names(), ["object"])
        self.failureResultOf(self.write("a"), NoSuchBucket)
        self.created()
        self.assertEqual((self.names(), self.on()), (["object", NAME], "abc"))

    def test_nothing_is_known_yet(self) -> None:
        self.use(self.nodes, absent=lambda: "not yet")
        self.store.buckets._absent = self.store.absent
        for work in (
            create_bucket(self.store, NAME),
            delete_bucket(self.store, NAME),
            set_bucket_setting(self.store, NAME, "cors", {}),
            get(self.store, Get(NAME, "a")),
            delete(self.store, NAME, "a"),
            put(self.store, Put(NAME, "a", BytesSource(SMALL))),
            list_objects(self.store, NAME, wanted=lambda _: True),
        ):
            self.fails(work, NoNodes)
        self.assertRaises(NoNodes, buckets, self.store)

    def test_joining_nodes_get_those_that_there_are(self) -> None:
        self.created()
        self.created("gone")
        self.removed("gone")
        self.now(set_bucket_setting(self.store, "object", "cors", []))
        self.assertEqual(names_in(self.store.buckets.registers.records()), [NAME])


class MissingTests(BucketTestCase):
    def test_no_bucket_no_object(self) -> None:
        for work in (
            get(self.store, Get(NAME, "a")),
            head(self.store, Get(NAME, "a")),
            delete(self.store, NAME, "a"),
            put(self.store, Put(NAME, "a", BytesSource(SMALL))),
            list_objects(self.store, NAME, wanted=lambda _: True),
            delete_bucket(self.store, NAME),
            set_bucket_setting(self.store, NAME, "cors", {}),
        ):
            self.fails(work, NoSuchBucket)
        self.assertEqual(self.on(), "")

    def test_a_node_without_it_holds_no_copy(self) -> None:
        for node in self.nodes[:2]:
            node.script("create_bucket", NO_FAULT)
        self.nodes[2].script("create_bucket", refused())
        self.created()
        self.failureResultOf(self.found("a"), NoSuchKey)
        self.assertEqual(self.keys(), [])
        self.unsettle()
        self.failureResultOf(self.found("a"), NoSuchKey)
        self.failureResultOf(self.run_(get(self.store, Get(NAME, "a"))), NoSuchKey)

    def test_writes_make_it_where_it_is_missing(self) -> None:
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            self.created()
            for node in self.nodes:
                del node.buckets[NAME]
                self.store.buckets.lacking.add((NAME, node.name))
            self.successResultOf(self.write("k", data, told=told))
            self.assertEqual(len([n for n in self.nodes if n.buckets.get(NAME)]), 2)
            self.unlinked("k")
            self.removed()
            self.store.marks._known.clear()

    def test_also_where_nobody_knows_that_it_is_missing(self) -> None:
        # A run before made it, or the node lost its disk and isn't swept yet.
        for data, told in ((SMALL, True), (FLOWING, True), (LONG, False)):
            for happens in (self.afresh, lambda: self.back(*self.nodes)):
                self.created()
                self.written("k", FLOWING)
                self.unlinked("k")
                happens()
                for node in self.nodes:
                    del node.buckets[NAME]
                self.successResultOf(self.write("k", data, told=told))
                self.unlinked("k")
                self.settle()
                self.removed()
                self.store.marks._known.clear()

    def test_once_it_was_asked_for_only(self) -> None:
        self.created()
        self.written("k", FLOWING)
        self.forget_requests()
        self.written("k", FLOWING)
        self.assertEqual({verb for node in self.nodes for verb in node.requests}, {"put"})

    def test_and_copies_do(self) -> None:
        self.created()
        self.written("k", FLOWING)
        holders = [node for node in self.nodes if node.buckets[NAME]]
        del holders[1].buckets[NAME]
        self.unsettle()
        store = self.store
        mender = Mender(
            placement=store.placement,
            replicas=2,
            copier=store.copying,
            turns=store.turns,
            writes=store.writes,
            journal=store.journal,
            marks=store.marks,
            stamps=store.stamps,
            settled=store.settledness,
        )
        self.assertEqual(self.now(mender.mend(NAME, "k")).copied, (holders[1].name,))
        self.assertEqual(holders[1].buckets[NAME]["k"].data, FLOWING)


class DeleteTests(BucketTestCase):
    def test_an_empty_one(self) -> None:
        self.created()
        self.written("a")
        self.unlinked("a")
        self.removed()
        self.assertEqual((self.on(), self.names(), self.state_of()), ("", ["object"], DELETED))
        self.failureResultOf(self.remove(), NoSuchBucket)
        self.failureResultOf(self.write("a"), NoSuchBucket)
        self.created()
        self.assertEqual(self.on(), "abc")
        self.written("a")
        self.successResultOf(self.found("a"))

    def test_the_plain_doors_stays(self) -> None:
        error = self.failureResultOf(self.remove("object"), BadRequest).value
        self.assertEqual(error.code, "AccessDenied")
        self.failureResultOf(self.remove("aos-system"), NoSuchBucket)

    def test_a_full_one_stays(self) -> None:
        self.created()
        self.written("a/b")
        for node in self.nodes:
            node.disk.refuses_full_buckets = False
        self.forget_requests()
        self.failureResultOf(self.remove(), BucketNotEmpty)
        self.assertEqual((self.on(), self.state_of()), ("abc", LIVE))
        self.assertEqual(sum(node.requests["put"] for node in self.nodes), 0)  # never closed
        self.successResultOf(self.found("a/b"))

    def test_whatever_listings_say(self) -> None:
        self.created()
        self.written("a")
        for node in self.nodes:
            node.disk.refuses_full_buckets = False
            node.list = lambda *_, **__: succeed(Page(()))  # type: ignore[method-assign]
        self.failureResultOf(self.remove(), BucketNotEmpty)
        self.successResultOf(self.found("a"))

    def test_what_a_node_refuses_is_taken_back(self) -> None:
        self.created()
        self.lay(self.a, SMALL, None)
        self.a.buckets[NAME]["x"] = self.a.buckets["object"].pop("k")
        for node in self.nodes:
            node.list = lambda *_, **__: succeed(Page(()))  # type: ignore[method-assign]
        self.failureResultOf(self.remove(), BucketNotEmpty)
        self.assertEqual((self.on(), self.state_of()), ("abc", LIVE))
        self.written("a")

    def test_dead_leftovers_go(self) -> None:
        self.created()
        self.written("a")
        holder = next(node for node in self.nodes if node.buckets[NAME])
        copy = holder.buckets[NAME]["a"]
        self.unlinked("a")
        holder.buckets[NAME]["a"] = copy
        self.unsettle()
        self.removed()
        self.assertEqual(self.on(), "")

    def test_too_few_nodes_answer(self) -> None:
        self.created()
        for node in (self.a, self.b):
            node.script("list", timed_out(), times=None)
        self.failureResultOf(self.remove(), NoQuorum)
        self.assertEqual((self.on(), self.state_of()), ("abc", LIVE))
        for node in (self.a, self.b):
            node.heal()
        self.down(self.c)
        self.removed()
        self.assertEqual((self.on(), self.state_of()), ("c", DELETED))

    def test_a_write_that_has_its_turn(self) -> None:
        self.created()
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("head", NO_FAULT)  # the early look
            node.script("head", late(lambda: gate))
        source = BytesSource(SMALL)
        unless = Conditions(if_none_match="*")
        writing = self.run_(put(self.store, Put(NAME, "a", source, conditions=unless)))
        self.assertNoResult(writing)
        for node in self.nodes:
            node.heal()
        removing = self.remove()
        self.assertNoResult(removing)
        self.assertEqual(self.state_of(), CLOSED)
        self.failureResultOf(self.write("b"), KeyConflict)
        gate.callback(None)
        self.successResultOf(writing)
        self.failureResultOf(removing, BucketNotEmpty)
        self.assertEqual(self.state_of(), LIVE)
        self.written("b")

    def test_a_write_whose_body_flows(self) -> None:
        for again in (False, True):
            for data, told in ((FLOWING, True), (LONG, False)):
                self.created()
                gate: Deferred[None] = Deferred()
                for node in self.nodes:
                    node.script("put", stalls(1000, lambda gate=gate: gate))
                    node.script("put_part", NO_FAULT)
                    node.script("put_part", late(lambda gate=gate: gate))
                writing = self.write("a", data, told=told)
                self.assertNoResult(writing)
                for node in self.nodes:
                    node.heal()
                self.removed()
                if again:
                    self.clock.advance(1)
                    self.created()
                gate.callback(None)
                self.failureResultOf(writing, NoSuchBucket, NoQuorum)
                for node in self.nodes:
                    self.assertEqual(node.buckets.get(NAME, {}), {})
                if again:
                    self.removed()
                self.store.marks._known.clear()

    def test_open_uploads_are_aborted(self) -> None:
        self.created()
        self.now(self.store.uploads.begin(self.store.stamps.next(), NAME, "u", ["n1", "n2"]))
        (upload,) = self.store.uploads._open
        for node in self.nodes[:2]:
            self.now(self.store.uploads.create(upload, node, ()))
        self.removed()
        self.assertEqual(self.remembered("uploads/"), {})

    def test_of_runs_before_too(self) -> None:
        self.created()
        stamp = self.store.stamps.next()
        self.now(self.store.uploads.begin(stamp, NAME, "u", ["n1", "n2"]))
        for node in self.nodes[:2]:
            self.now(self.store.uploads.create(stamp, node, ()))
        self.afresh()
        self.removed()
        for node in self.nodes:
            self.assertEqual(node.uploads, {})


class AwayTests(BucketTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.created()
        self.written("k")
        self.away = next(node for node in self.nodes if node.buckets[NAME])
        self.down(self.away)
        self.unlinked("k")
        # As after a week: only the bucket's own delete is on record.
        self.removed()
        self.store.ledger.forget_before("f")
        self.assertIn("k", self.away.buckets[NAME])

    def test_an_old_copy_stays_dead(self) -> None:
        self.created()
        self.back(self.away)
        self.failureResultOf(self.found("k"), NoSuchKey)
        self.assertEqual(self.keys(), [])
        self.levelled(self.away)
        self.failureResultOf(self.found("k"), NoSuchKey)
        self.written("k", FLOWING)
        self.assertEqual(self.successResultOf(self.found("k")).head.etag, etag_of(FLOWING))

    def test_in_another_run_too(self) -> None:
        self.created()
        self.afresh()
        self.store.ledger.forget_before("f")
        self.back(self.away)
        self.failureResultOf(self.found("k"), NoSuchKey)

    def test_the_bucket_goes_once_it_is_empty(self) -> None:
        self.away.disk.refuses_full_buckets = False
        self.back(self.away)
        presence = self.levelled(self.away)
        self.assertEqual(list(self.away.buckets[NAME]), ["k"])
        self.assertEqual(presence.swept(), ["object", NAME])
        del self.away.buckets[NAME]["k"]  # a sweep does so
        self.now(presence.level(self.away))
        self.assertNotIn(NAME, self.away.buckets)
        self.assertEqual(presence.swept(), ["object"])

    def test_an_old_copy_holds_up_no_delete(self) -> None:
        self.created()
        self.back(self.away)
        self.levelled(self.away)
        self.removed()
        self.assertEqual((self.on(), self.state_of()), ("", DELETED))


class PresenceTests(BucketTestCase):
    def test_buckets_of_nobody_are_left_alone(self) -> None:
        self.a.buckets["theirs"] = {}
        presence = self.levelled(self.a)
        self.assertIn("theirs", self.a.buckets)
        self.assertEqual(presence.swept(), ["object"])

    def test_no_space_for_one(self) -> None:
        self.created()
        self.created("gone")
        self.removed("gone")
        self.a.buckets["gone"] = {}
        del self.a.buckets[NAME]
        self.a.script("create_bucket", full())
        self.fails(self.presence().level(self.a), NodeFull)
        self.assertNotIn("gone", self.a.buckets)

    def test_one_made_again_meanwhile_stays(self) -> None:
        self.created()
        self.removed()
        self.a.buckets[NAME] = {}
        gate: Deferred[None] = Deferred()
        self.b.script("create_bucket", late(lambda: gate))
        creating = self.create()
        levelling = self.run_(self.presence().level(self.a))
        self.assertNoResult(levelling)
        gate.callback(None)
        self.successResultOf(creating)
        self.successResultOf(levelling)
        self.assertEqual(self.on(), "abc")


class CutShortTests(BucketTestCase):
    def closed(self) -> None:
        """As a crash leaves it that came after closing."""
        bucket = self.store.buckets.get(NAME)
        assert bucket is not None
        self.now(self.store.buckets.set(Bucket(NAME, CLOSED, bucket.born, bucket.settings)))
        self.afresh()

    def test_an_empty_one_is_deleted(self) -> None:
        self.created()
        self.closed()
        self.failureResultOf(self.write("a"), KeyConflict)
        self.now(take_up(self.store))
        self.assertEqual((self.on(), self.state_of()), ("", DELETED))

    def test_a_full_one_is_taken_back(self) -> None:
        self.created()
        self.written("a")
        self.closed()
        self.successResultOf(self.found("a"))  # it can be read all the time
        del self.a.buckets[NAME]  # the crash came when it was going already
        self.now(take_up(self.store))
        self.assertEqual((self.on(), self.state_of()), ("abc", LIVE))
        self.written("b")

    def test_who_asks_for_it_ends_it(self) -> None:
        self.created()
        self.closed()
        self.removed()
        self.assertEqual(self.state_of(), DELETED)
        self.created()
        self.closed()
        self.created()
        self.assertEqual(self.state_of(), LIVE)
        self.written("a")
        self.closed()
        self.failureResultOf(self.create(), BucketExists)
        self.assertEqual(self.state_of(), LIVE)

    def test_too_few_nodes_to_end_it(self) -> None:
        self.created()
        self.closed()
        self.down(self.a, self.b)
        self.now(take_up(self.store))
        self.assertEqual(self.state_of(), CLOSED)
        self.settle()
        self.now(take_up(self.store))
        self.assertEqual(self.state_of(), DELETED)

    def test_the_last_record_on_too_few_nodes(self) -> None:
        self.created()
        for node in (self.a, self.b):
            node.script("put", NO_FAULT)  # closing
            node.script("put", refused())
        self.failureResultOf(self.remove(), NoQuorum)
        self.assertEqual(self.state_of(), CLOSED)
        self.now(self.store.buckets.registers.tend())
        self.now(take_up(self.store))
        self.assertEqual(self.state_of(), DELETED)

    def test_a_node_that_may_remove_it_late(self) -> None:
        self.created()
        gate: Deferred[None] = Deferred()
        self.a.script("delete_bucket", lands_late(lambda: gate))
        self.removed()
        self.failureResultOf(self.create(), KeyConflict)
        gate.callback(None)
        self.clock.advance(LATE_S)
        self.created()
        self.assertEqual(self.on(), "abc")


class SettingTests(BucketTestCase):
    def settings(self, name: str = NAME) -> dict[str, Any]:
        return dict(self.store.buckets.check(name).settings)

    def test_set_changed_and_unset(self) -> None:
        self.created()
        born = self.store.buckets.check(NAME).born
        self.now(set_bucket_setting(self.store, NAME, "cors", [{"a": "b"}]))
        self.now(set_bucket_setting(self.store, NAME, "policy", "text"))
        self.afresh()
        self.assertEqual(self.settings(), {"cors": [{"a": "b"}], "policy": "text"})
        self.now(set_bucket_setting(self.store, NAME, "cors", None))
        self.assertEqual(self.settings(), {"policy": "text"})
        self.assertEqual(self.store.buckets.check(NAME).born, born)
        self.now(set_bucket_setting(self.store, "object", "cors", [1]))
        self.assertEqual(self.settings("object"), {"cors": [1]})

    def test_they_have_a_bound_and_go_with_the_bucket(self) -> None:
        self.created()
        self.now(set_bucket_setting(self.store, NAME, "cors", "c" * 40_000))
        self.fails(set_bucket_setting(self.store, NAME, "policy", "p" * 30_000), TooLarge)
        self.assertEqual(set(self.settings()), {"cors"})
        self.removed()
        self.created()
        self.assertEqual(self.settings(), {})
