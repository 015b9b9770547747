"""What is told of a key, and the words for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.marks import Mark
from aosd.doors.operations.moments import moment, moment_of, span
from aosd.doors.operations.verdict import Facts, verdict
from aosd.model.objects import OBJECT_BUCKET, ObjectHead
from aosd.model.ring import partition
from aosd.model.versions import Newest, newest, version_of
from aosd.testing.faults import late
from aosd.testing.memory_node import Copy
from tests.unit.door_case import DoorTestCase

OLD, MIDDLE, NEW = (f"018bcfe568{each}0-0000-00000001" for each in "012")
ETAG = '"5d41402abc4b2a76b9719d911017c592"'


class MomentTests(SynchronousTestCase):
    def test_stamps(self) -> None:
        self.assertEqual(moment_of("018bcfe56800-0000-00000001"), "2023-11-14T22:13:20.000Z")
        self.assertEqual(moment_of("018bcfe569f4-0007-ffffffff"), "2023-11-14T22:13:20.500Z")
        self.assertEqual(moment_of("-0006553f100-abc"), "2023-11-14T22:13:20.000Z")
        for none in ("", None, "x", "-zzz", "-", "018bcfe56800"):
            self.assertIsNone(moment_of(none))
        self.assertIsNone(moment(1e15))
        self.assertIsNone(moment_of("ffffffffffff-0000-00000001"))

    def test_spans(self) -> None:
        for seconds, words in (
            (-1, "0 s"),
            (0.9, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_061, "1 d 1 h"),
        ):
            self.assertEqual(span(seconds), words)


class VerdictTests(SynchronousTestCase):
    def head(self, stamp: str | None, etag: str = ETAG, size: int = 5) -> ObjectHead:
        return ObjectHead(etag, size, 1_700_000_000, stamp)

    def of(
        self, heads: dict[str, ObjectHead | None], deleted: str | None = None, **more: Any
    ) -> str:
        restamped = more.get("restamped", {})
        versions = {
            name: head and version_of(head, lambda stamp: restamped.get(stamp, stamp))
            for name, head in heads.items()
        }
        known: dict[str, Any] = {
            "primaries": ["n1", "n2"],
            "heads": heads,
            "unknown": [],
            "found": newest(versions, deleted),
            "deleted": deleted,
            "restamped": {},
            **more,
        }
        return verdict(Facts(**known))

    def test_all_is_well(self) -> None:
        head = self.head(NEW)
        self.assertEqual(
            self.of({"n1": head, "n2": head, "n3": None}),
            "The version written at 2023-11-14T22:13:20.032Z counts: it is the only one, and no "
            "delete of it is on record. It lies on nodes n1 and n2. Nothing is to be done.",
        )

    def test_nothing_there(self) -> None:
        none = dict.fromkeys(("n1", "n2", "n3"))
        self.assertIn("There is no such object", self.of(none))
        self.assertIn("was deleted at 2023-11-14T22:13:20.000Z. No node", self.of(none, OLD))
        said = self.of({"n1": None}, unknown=["n2", "n3"])
        self.assertIn("nodes n2 and n3 gave no answer, and may have one", said)
        self.assertNotIn("Nothing is to be done", said)

    def test_a_copy_older_than_the_delete(self) -> None:
        said = self.of({"n1": None, "n2": self.head(OLD)}, MIDDLE, why="the ring is changing")
        self.assertIn("It was deleted at 2023-11-14T22:13:20.016Z.", said)
        self.assertIn("left on node n2 is older, and counts no more", said)
        self.assertIn("The copy on node n2 will be removed.", said)

    def test_a_delete_older_than_the_copy(self) -> None:
        head = self.head(NEW)
        said = self.of({"n1": head, "n2": head}, OLD)
        self.assertIn("the delete on record, of 2023-11-14T22:13:20.000Z, is older", said)

    def test_copies_that_lack_and_lag(self) -> None:
        said = self.of(
            {"n1": self.head(NEW), "n2": self.head(OLD), "n3": self.head(MIDDLE)},
            why="node n4 is down",
        )
        self.assertIn("20.032Z counts: it has the newest stamp", said)
        self.assertIn("It lies on node n1.", said)
        self.assertIn("belongs on node n2 too, and will be copied there", said)
        self.assertIn("copy on node n3 will be removed, once all the others are there", said)
        self.assertIn("The next sweep does it (node n4 is down).", said)

    def test_when(self) -> None:
        heads = {"n1": self.head(NEW), "n2": None}
        self.assertIn("within seconds", self.of(heads, why="a mark", marked=True))
        self.assertIn("Repair is paused", self.of(heads, why="x", paused=True))
        self.assertNotIn("Nothing is to be done", self.of(heads))

    def test_nothing_is_removed_while_the_ring_changes(self) -> None:
        head = self.head(NEW)
        said = self.of({"n1": head, "n2": head, "n3": head}, changing=True, why="the ring")
        self.assertIn("node n3 stays until the ring's change is over.", said)
        self.assertNotIn("removed", said)
        self.assertNotIn("The next sweep does it", said)

    def test_a_node_that_the_coming_ring_does_not_have(self) -> None:
        head = self.head(NEW)
        changing: dict[str, Any] = {
            "primaries": ["n1", "n2", "n3"],
            "leaving": {"n3"},
            "changing": True,
            "why": "the ring is changing",
        }
        said = self.of(dict.fromkeys(("n1", "n2", "n3"), head), **changing)
        self.assertIn("The copy on node n3 stays until the ring's change is over.", said)
        self.assertNotIn("Nothing is to be done", said)
        said = self.of({"n1": head, "n2": head, "n3": None}, **changing)
        self.assertIn("belongs on node n3 too", said)
        foreign = self.head(None)
        said = self.of({"n1": foreign, "n2": foreign, "n3": None}, **changing)
        self.assertIn("Nothing is to be done", said)

    def test_a_copy_that_nothing_explains(self) -> None:
        head = self.head(NEW)
        said = self.of({"n1": head, "n2": head, "n3": head})
        self.assertIn("Nothing explains the copy on node n3: it is kept", said)
        self.assertNotIn("removed", said)

    def test_a_node_that_is_emptied(self) -> None:
        head = self.head(NEW)
        said = self.of({"n1": head, "n2": None, "n3": head}, emptied={"n3"}, why="n3 drains")
        self.assertIn("It will be moved off node n3.", said)
        self.assertIn("belongs on node n2 too", said)
        self.assertNotIn("Nothing explains", said)

    def test_what_aosd_did_not_write(self) -> None:
        said = self.of({"n1": self.head(None), "n2": None})
        self.assertIn("aosd didn't write it: it counts as of its Last-Modified", said)
        self.assertIn("2023-11-14T22:13:20.000Z", said)
        stray = self.of({"n1": self.head(NEW), "n2": self.head(NEW), "n3": self.head(None)})
        self.assertIn("didn't write what node n3 has, where it doesn't belong: it is kept", stray)
        stray = self.of(
            {"n1": self.head(NEW), "n2": self.head(NEW), "n3": self.head(None)},
            foreign={"n3"},
            why="a sweep is due",
        )
        self.assertIn("The copy on node n3 will be removed", stray)
        self.assertNotIn("it is kept", stray)

    def test_one_stamp_and_two_etags(self) -> None:
        said = self.of({"n1": self.head(NEW), "n2": self.head(NEW, '"0"')})
        self.assertIn("the greater ETag counts", said)

    def test_two_sizes(self) -> None:
        said = self.of({"n1": self.head(NEW), "n2": self.head(NEW, size=6)})
        self.assertIn("two sizes: one is damaged", said)
        self.assertNotIn("removed", said)

    def test_a_restamped_one(self) -> None:
        head = self.head(OLD)
        said = self.of({"n1": head, "n2": head}, MIDDLE, restamped={OLD: NEW})
        self.assertIn("are stamped 2023-11-14T22:13:20.000Z", said)
        self.assertIn("written at 2023-11-14T22:13:20.032Z counts", said)

    def test_a_turn_and_a_bucket(self) -> None:
        said = self.of({}, turn_taken=True, bucket_gone="There is no bucket b.")
        self.assertTrue(said.startswith("There is no bucket b. A write or delete of it takes"))

    def test_every_node_is_in_one_place(self) -> None:
        self.assertEqual(newest({}, None), Newest(None))


class ExplainTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def explain(self, key: str = "k", bucket: str = "") -> Any:
        more = f"&bucket={bucket}" if bucket else ""
        answer = self.ask(f"/-/explain?key={key}{more}")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def test_all_that_the_ring_tells_and_more(self) -> None:
        self.ask("/object/k", "PUT", b"hello")
        told, placed = self.explain(), self.ask("/-/ring?key=k").json
        for name, value in placed.items():
            if name != "copies":
                self.assertEqual(told[name], value, name)
        first, second, third = (each["name"] for each in told["order"])
        copy = told["copies"][first]
        self.assertEqual(told["copies"], {first: copy, second: copy, third: None})
        self.assertEqual((copy["etag"], copy["size"], copy["is"]), (ETAG, 5, "newest"))
        self.assertEqual(copy["counts_as"], copy["stamp"])
        self.assertEqual(copy["at"], moment_of(copy["stamp"]))
        self.assertIs(copy["belongs"], True)
        self.assertEqual(
            told["version"],
            {
                "stamp": copy["stamp"],
                "at": copy["at"],
                "etag": ETAG,
                "size": 5,
                "holders": sorted((first, second), key=[first, second].index),
            },
        )
        self.assertEqual((told["replicas"], told["former_order"], told["strays"]), (2, None, []))
        self.assertEqual((told["unknown"], told["marks"]), ([], []))
        self.assertEqual(told["turn"], {"taken": False, "waiting": 0})
        self.assertTrue(told["verdict"].endswith("Nothing is to be done."))

    def test_a_delete(self) -> None:
        self.ask("/object/k", "PUT", b"hello")
        self.ask("/object/k", "DELETE")
        told = self.explain()
        self.assertEqual(told["journal"]["deleted"], told["deleted"])
        self.assertEqual(told["deleted_at"], moment_of(told["deleted"]))
        self.assertIsNone(told["journal"]["bucket_deleted"])
        self.assertIsNone(told["version"])
        self.assertIn(f"It was deleted at {told['deleted_at']}.", told["verdict"])

    def test_nodes_that_give_no_answer(self) -> None:
        self.ask("/object/k", "PUT", b"hello")
        away = self.explain()["order"][0]["name"]
        self.unreach(away)
        told = self.explain()
        self.assertEqual(told["unknown"], [away])
        self.assertIn("error", told["copies"][away])
        self.assertIn(f"node {away} gave no answer, and may have a newer one", told["verdict"])
        self.pass_s(15)
        self.assertEqual(self.explain()["copies"][away], {"error": "it can't be asked now"})

    def test_copies_of_before(self) -> None:
        self.ask("/object/k", "PUT", b"hello")
        order = [each["name"] for each in self.explain()["order"]]
        lagging = self.nodes[order[1]].buckets[OBJECT_BUCKET]
        before = lagging["k"]
        self.ask("/object/k", "PUT", b"newer")
        self.nodes[order[2]].buckets[OBJECT_BUCKET]["k"] = lagging["k"]
        lagging["k"] = before
        told = self.explain()
        self.assertEqual(
            [told["copies"][name]["is"] for name in order], ["newest", "older", "newest"]
        )
        self.assertEqual([told["copies"][name]["belongs"] for name in order], [True, True, False])

    def test_what_is_on_record(self) -> None:
        assembly, number = self.gateway.assembly, partition(OBJECT_BUCKET, "k")
        self.now(assembly.journal.restamped(OBJECT_BUCKET, "k", OLD, NEW))
        everywhere = Mark("", "", OLD, frozenset({"n3"}), frozenset(), written=False)
        mark = Mark(OBJECT_BUCKET, "k", NEW, frozenset({"n2", "n1"}), frozenset({"n2"}), True)
        self.unreach(*self.names)  # so that they stay
        told = self.explain()
        self.assertEqual(told["journal"]["restamped"], [{"was": OLD, "counts_as": NEW}])
        for each in (mark, everywhere):
            self.failureResultOf(Deferred.fromCoroutine(assembly.marks.leave(each, number)))
        of_key, of_all = self.explain()["marks"]
        self.assertEqual((of_key["nodes"], of_key["silent"]), (["n1", "n2"], ["n2"]))
        self.assertEqual((of_key["stamp"], of_key["at"]), (NEW, moment_of(NEW)))
        self.assertEqual([of_key["whole_partition"], of_all["whole_partition"]], [False, True])

    def test_a_write_under_way(self) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes.values():
            node.script("put", late(lambda: gate))
        channel, _ = self.connect()
        request = b"PUT /object/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
        channel.dataReceived(request)
        waiting, _ = self.connect()
        waiting.dataReceived(request)
        told = self.explain()
        self.assertEqual(told["turn"], {"taken": True, "waiting": 1})
        self.assertIn("takes effect just now", told["verdict"])
        gate.callback(None)
        self.assertIs(self.explain()["turn"]["taken"], False)

    def test_objects_that_aosd_did_not_write(self) -> None:
        first = self.explain()["order"][0]["name"]
        there = self.nodes[first].buckets[OBJECT_BUCKET]
        there["k"] = Copy(b"hello", ETAG, self.clock.seconds())
        told = self.explain()
        copy = told["copies"][first]
        self.assertEqual((copy["stamp"], copy["at"]), (None, None))
        self.assertTrue(copy["counts_as"].startswith("-"))
        self.assertEqual(copy["counts_at"], moment(int(self.clock.seconds())))
        del there["k"]

    def test_while_the_ring_changes(self) -> None:
        self.ask("/object/k", "PUT", b"hello")
        order = self.explain()["order"]
        first = order[0]["name"]
        self.now(self.gateway.assembly.changes.drain(first))
        told = self.explain()
        self.assertEqual(told["former_order"], order)
        self.assertEqual(told["former"], [each["name"] for each in order])
        self.assertNotIn(first, [each["name"] for each in told["order"]])
        self.assertIn("the ring is changing", told["why"])
        self.assertIn("will be copied there", told["verdict"])
        self.wait(60, lambda: self.gateway.assembly.changes.phase() == "emptying")
        told = self.explain()
        self.assertEqual((told["former_order"], told["strays"]), (None, [first]))

    def test_buckets(self) -> None:
        told = self.explain(bucket="nothere")
        self.assertTrue(told["verdict"].startswith("There is no bucket nothere."))
        self.assertEqual(told["unknown"], [])

    def test_what_can_not_be_explained(self) -> None:
        for query, code in (
            ("", "InvalidArgument"),
            ("?key=", "InvalidArgument"),
            ("?bucket=object", "InvalidArgument"),
            ("?key=a&bucket=", "InvalidBucketName"),
            ("?key=a&bucket=aos-system", "InvalidBucketName"),
            ("?key=a&bucket=A", "InvalidBucketName"),
            ("?key=%ff", "InvalidArgument"),
            ("?key=a//b", "XMinioInvalidObjectName"),
            ("?key=" + "a" * 1025, "KeyTooLongError"),
            ("?key=a&other=1", "InvalidArgument"),
        ):
            answer = self.ask(f"/-/explain{query}")
            self.assertEqual((answer.status, answer.json["code"]), (400, code), query)


class ExplainBeforeReadyTests(DoorTestCase):
    def test_nothing_is_known_yet(self) -> None:
        answer = self.ask("/-/explain?key=a")
        self.assertEqual(answer.status, 503)
        self.clock.advance(2)
