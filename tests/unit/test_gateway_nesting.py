"""No key is an object and a folder at once, where a node would hide what lies beneath."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.consistency.marks import Mark
from aosd.model.errors import KeyConflict, NodeUnavailable, NoQuorum
from aosd.model.node import NodeState
from aosd.model.ring import partition
from aosd.testing.faults import Fault, lands_late, late
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, LONG, S1, S2, S3, SMALL, WAYS, GatewayTestCase

PARENT = "XMinioParentIsObject"
DIRECTORY = "XMinioObjectExistsAsDirectory"
ABORTED = "OperationAborted"


class NestingTestCase(GatewayTestCase):
    hiding = (True, True, True)

    def setUp(self) -> None:
        super().setUp()
        self.use(
            [
                MemoryNode(
                    f"n{number}", now=self.clock.seconds, piece_bytes=300, hides_beneath=hides
                )
                for number, hides in enumerate(self.hiding, 1)
            ]
        )

    def refused(self, key: str, data: bytes = SMALL, **more: object) -> str:
        failure = self.failureResultOf(self.put(key, data, **more), KeyConflict)  # type: ignore[arg-type]
        assert isinstance(failure.value, KeyConflict)
        self.assertEqual(self.holders(key, data), "")
        return failure.value.code

    def known(self) -> None:
        self.store.folders.completed()


class RefusedTests(NestingTestCase):
    def test_beneath_an_object(self) -> None:
        self.stored("a", SMALL)
        self.assertEqual(self.refused("a/b", b"x"), PARENT)
        self.assertEqual(self.refused("a/b/c", b"x"), PARENT)

    def test_above_an_object(self) -> None:
        self.stored("a/b/c", SMALL)
        self.assertEqual(self.refused("a", b"x"), DIRECTORY)
        self.assertEqual(self.refused("a/b", b"x"), DIRECTORY)

    def test_however_the_body_goes(self) -> None:
        self.stored("a/b", b"x")
        for data, told in WAYS:
            self.assertEqual(self.refused("a", data, told=told), DIRECTORY)

    def test_also_when_all_folders_are_known(self) -> None:
        self.known()
        self.stored("a/b", SMALL)
        self.stored("c", SMALL)
        self.assertEqual(self.refused("a", b"x"), DIRECTORY)
        self.assertEqual(self.refused("c/d", b"x"), PARENT)

    def test_no_more_once_the_other_is_deleted(self) -> None:
        self.stored("a", SMALL)
        self.deleted("a")
        self.stored("a/b", SMALL)
        self.deleted("a/b")
        self.stored("a", SMALL)

    def test_not_while_the_other_is_being_deleted(self) -> None:
        for known in (False, True):
            if known:
                self.known()
            for deleted, key in (("a/b", "a"), ("c", "c/d")):
                self.stored(deleted, SMALL)
                gate: Deferred[None] = Deferred()
                for node in self.nodes:
                    node.script("delete", late(lambda gate=gate: gate))
                deleting = self.delete(deleted)
                self.assertEqual(self.refused(key, b"x"), ABORTED)
                gate.callback(None)
                self.successResultOf(deleting)
                self.stored(key, b"x")
                self.deleted(key)

    def test_not_while_one_that_was_deleted_may_land_yet(self) -> None:
        gate: Deferred[None] = Deferred()
        landing = self.order("a")[0]
        landing.script("put", lands_late(lambda: gate))
        self.stored("a", SMALL)
        self.deleted("a")
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)
        self.stored("a", b"x")
        self.assertEqual(self.refused("a/b", b"x"), PARENT)
        self.deleted("a")
        gate.callback(None)
        self.assertIn("a", landing.buckets[BUCKET])
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)

    def test_a_delete_that_may_land_yet_is_no_hindrance(self) -> None:
        gate: Deferred[None] = Deferred()
        self.stored("a", SMALL)
        self.order("a")[0].script("delete", lands_late(lambda: gate))
        self.deleted("a")
        gate.callback(None)
        self.stored("a/b", b"x")

    def test_above_one_that_moves_while_nodes_are_listed(self) -> None:
        self.unsettle()
        to, _, stray = self.order("a/b")
        self.lay(stray, b"x", S1, "a/b")
        gate: Deferred[None] = Deferred()
        stray.script("list", late(lambda: gate))
        putting = self.put("a", SMALL)
        self.assertNoResult(putting)
        self.lay(to, b"x", S1, "a/b")
        self.store.writes.moves(BUCKET, "a/b")
        del stray.buckets[BUCKET]["a/b"]
        gate.callback(None)
        refused = self.failureResultOf(putting, KeyConflict).value
        assert isinstance(refused, KeyConflict)
        self.assertEqual(refused.code, DIRECTORY)

    def test_others_are_taken(self) -> None:
        for key in ("a", "a-b", "ab/c", "b/a", "b/c"):
            self.stored(key, SMALL)

    def test_an_object_is_overwritten(self) -> None:
        self.stored("a/b", SMALL)
        self.stored("a/b", b"x")
        self.stored("c", SMALL)
        self.stored("c", b"x")


class MarkersTests(NestingTestCase):
    def test_a_marker_lies_beside_what_is_in_its_folder(self) -> None:
        for key in ("a/", "a/b", "c/d", "c/"):
            self.stored(key, b"" if key.endswith("/") else SMALL)

    def test_and_beside_an_object_of_its_name(self) -> None:
        for key in ("a/", "a", "b", "b/"):
            self.stored(key, b"" if key.endswith("/") else SMALL)

    def test_but_makes_folders_of_those_above(self) -> None:
        self.stored("a/b/", b"")
        self.assertEqual(self.refused("a", b"x"), DIRECTORY)
        self.stored("c", SMALL)
        self.assertEqual(self.refused("c/d/", b""), PARENT)


class MixedTests(NestingTestCase):
    """Not all nodes do as MinIO does."""

    hiding = (True, False, False)

    def test_refused_all_the_same(self) -> None:
        self.stored("a", SMALL)
        self.assertEqual(self.refused("a/b", b"x"), PARENT)

    def test_a_marker_and_an_object_of_its_name_are_one_thing(self) -> None:
        self.stored("a", SMALL)
        self.assertEqual(self.refused("a/", b""), PARENT)
        self.stored("b/", b"")
        self.assertEqual(self.refused("b", b"x"), DIRECTORY)


class NothingHiddenTests(NestingTestCase):
    hiding = (False, False, False)

    def test_all_is_taken_and_nobody_asked(self) -> None:
        self.forget_requests()
        for key in ("a", "a/b", "a/b/c"):
            self.stored(key, SMALL)
        asked = {verb for node in self.nodes for verb in node.requests}
        self.assertEqual(asked, {"put"})


class CostTests(NestingTestCase):
    def asked(self) -> dict[str, int]:
        asked: dict[str, int] = {}
        for node in self.nodes:
            for verb, times in node.requests.items():
                asked[verb] = asked.get(verb, 0) + times
        self.forget_requests()
        return asked

    def test_before_all_folders_are_known_a_new_key_costs_a_listing_of_each_node(self) -> None:
        self.stored("a", SMALL)
        self.assertEqual(self.asked(), {"list": 3, "put": 2})
        self.stored("a", b"x")
        self.assertEqual(self.asked(), {"put": 2})

    def test_then_a_key_in_no_folder_costs_nothing(self) -> None:
        self.known()
        self.stored("a", SMALL)
        self.assertEqual(self.asked(), {"put": 2})

    def test_a_folder_is_looked_at_once(self) -> None:
        self.known()
        self.stored("a/b/c", SMALL)
        self.assertEqual(self.asked(), {"head": 2, "put": 2})
        self.stored("a/b/d", SMALL)
        self.assertEqual(self.asked(), {"put": 2})

    def test_a_name_that_may_be_a_folder_is_listed_once(self) -> None:
        self.known()
        self.stored("a/b", SMALL)
        self.deleted("a/b")
        self.asked()
        self.stored("a", SMALL)
        self.assertEqual(self.asked(), {"head": 1, "list": 3, "put": 2})
        self.stored("a", SMALL)
        self.assertEqual(self.asked(), {"put": 2})

    def test_after_a_return_all_is_asked_again(self) -> None:
        self.known()
        self.stored("a/b", SMALL)
        self.asked()
        self.back(self.nodes[0])
        self.settle()
        self.stored("a/c", SMALL)
        self.assertEqual(self.asked(), {"head": 1, "put": 2})


class AtOnceTests(NestingTestCase):
    def at_once(self, first: str, second: str) -> None:
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("put", Fault(gate=lambda: gate))
        for node in self.nodes:
            node.script("list", Fault(gate=lambda: gate))
        writing = self.put(first, SMALL)
        self.assertNoResult(writing)
        self.assertEqual(self.refused(second, b"x"), ABORTED)
        for node in self.nodes:
            node.heal()
        gate.callback(None)
        self.successResultOf(writing)

    def test_beneath_one_that_is_being_written(self) -> None:
        self.at_once("a", "a/b")

    def test_above_one_that_is_being_written(self) -> None:
        self.at_once("a/b", "a")

    def test_a_failed_one_forbids_nothing(self) -> None:
        self.stored("a", SMALL)
        self.refused("a/b", b"x")
        self.deleted("a")
        self.stored("a/b", SMALL)

    def test_beneath_one_that_is_being_deleted(self) -> None:
        self.stored("a", SMALL)
        gate: Deferred[None] = Deferred()
        for node in self.nodes:
            node.script("delete", Fault(gate=lambda: gate))
        deleting = self.delete("a")
        self.assertNoResult(deleting)
        self.assertIn(self.refused("a/b", b"x"), (ABORTED, PARENT))
        gate.callback(None)
        self.successResultOf(deleting)
        self.stored("a/b", SMALL)


class LateTests(NestingTestCase):
    """What failed may take effect yet."""

    def mark(self, key: str, *, written: bool = False) -> None:
        mark = Mark(BUCKET, key, S1, frozenset(["n1"]), frozenset(["n1"]), written)
        self.now(self.store.marks.leave(mark, partition(BUCKET, key)))

    def test_beneath_a_write_that_may_land(self) -> None:
        self.mark("a")
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)

    def test_above_a_write_that_may_land(self) -> None:
        self.mark("a/b")
        self.assertEqual(self.refused("a", b"x"), ABORTED)

    def test_one_that_was_acknowledged_and_deleted(self) -> None:
        self.mark("a", written=True)
        self.now(self.store.journal.deleted(BUCKET, "a", S2))
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)
        self.placement.states["n1"] = NodeState.SUSPECT
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)
        # What it has is compared when it is back.
        self.placement.states["n1"] = NodeState.DOWN
        self.stored("a/b", SMALL)

    def test_a_write_that_nobody_took_but_may(self) -> None:
        for node in self.nodes:
            node.script("put", Fault(unavailable))
        self.failureResultOf(self.put("a", SMALL))
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)


def unavailable(name: str) -> NodeUnavailable:
    return NodeUnavailable(name, "no answer")


class DeadTests(NestingTestCase):
    """What was deleted lies on nodes that weren't there."""

    def dead(self, key: str) -> None:
        self.lay(self.order(key)[0], SMALL, S1, key)
        self.now(self.store.journal.deleted(BUCKET, key, S2))
        self.unsettle()

    def test_beneath_it(self) -> None:
        self.dead("a")
        self.assertEqual(self.refused("a/b", b"x"), ABORTED)

    def test_above_it(self) -> None:
        self.dead("a/b")
        self.assertEqual(self.refused("a", b"x"), ABORTED)

    def test_in_its_place_as_long_as_enough_others_tell_what_lies_beneath(self) -> None:
        self.dead("a")
        self.stored("a", b"x")

    def test_in_its_place_where_it_may_hide_others(self) -> None:
        self.dead("a")
        self.lay(self.order("a")[1], SMALL, S1, "a")
        self.failureResultOf(self.put("a", b"x"), NoQuorum)

    def test_in_its_place_once_it_was_written_again(self) -> None:
        self.dead("a")
        for node in self.order("a")[:2]:
            self.lay(node, SMALL, S3, "a")
        self.stored("a", b"x")

    def test_no_more_once_it_is_gone(self) -> None:
        self.dead("a/b")
        del self.order("a/b")[0].buckets[BUCKET]["a/b"]
        self.stored("a", LONG)
