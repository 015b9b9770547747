"""Leaving a cluster: its phases, a kill in each of them, and what is left."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from aosd.cluster.leaving import LEFT
from aosd.gateway.multipart import create_upload
from aosd.gateway.put import put
from aosd.gateway.requests import Create, Put
from aosd.model.errors import ChangeRefused, NodeUnavailable, NoNodes, NoQuorum
from aosd.model.leave import Phase, Plan
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.ports import IBodySink, IBodySource
from aosd.repair import rates
from aosd.testing.bodies import BytesSource
from aosd.testing.faults import refused, timed_out
from aosd.testing.memory_node import Copy
from tests.unit.cluster_case import ClusterTestCase, Gateway

KEYS = [f"k{number}" for number in range(12)]
COPY_S, REMOVAL_S = 5.0, 2.0


@implementer(IBodySource)
class Slow:
    """A client's body that comes when the test lets it."""

    length = 2_000_000

    def start(self, sink: IBodySink) -> None:
        self.sink = sink

    def pause(self) -> None:
        """Never fast."""

    def resume(self) -> None:
        """Never fast."""

    def discard(self) -> None:
        """Nothing comes by itself."""

    def half(self) -> None:
        self.sink.body_data(b"l" * (self.length // 2))


class LeavingCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        # What nothing has measured: such that a single one isn't rounded away.
        self.patch(rates, "_COPY_S", COPY_S)
        self.patch(rates, "_REMOVAL_S", REMOVAL_S)
        self.first = self.begun()
        for key in KEYS:
            self.put(self.first, key, key.encode())

    def leave(self, gateway: Gateway, gather: str | None = None) -> None:
        self.now(gateway.assembly.leaving.leave(gather))

    def plan(self, gateway: Gateway, gather: str | None = None) -> Plan:
        made: Deferred[Plan] = Deferred.fromCoroutine(gateway.assembly.leaving.plan(gather))
        self.clock.pump([0.05] * 20)
        return self.successResultOf(made)

    def forecast(self, gateway: Gateway, gather: str | None = None) -> dict[str, Any]:
        plan = self.plan(gateway, gather)
        assert plan.forecast is not None
        self.assertEqual((plan.no_forecast, plan.told()["forecast"]), ("", plan.forecast))
        return plan.forecast

    def phase(self, gateway: Gateway) -> Phase:
        return gateway.assembly.leaving.phase

    def wait_for(self, gateway: Gateway, phase: Phase, limit_s: float = 60.0) -> None:
        self.wait(limit_s, lambda: self.phase(gateway) is phase)

    def waits(self, gateway: Gateway) -> str:
        told = gateway.assembly.leaving.told()
        assert told is not None
        return "; ".join(told["waits"])

    def assert_plain(self, replicas: int = 2) -> None:
        """Every object is on so many nodes, and nothing else is on any."""
        held: list[str] = []
        for node in self.nodes.values():
            self.assertEqual(list(node.buckets), [OBJECT_BUCKET])
            self.assertEqual(node.uploads, {})
            for key, copy in node.buckets[OBJECT_BUCKET].items():
                self.assertEqual(copy.data, key.encode())
                held.append(key)
        self.assertEqual(sorted(held), sorted(KEYS * replicas))

    def assert_founds_nothing(self) -> None:
        before = {name: node.snapshot() for name, node in self.nodes.items()}
        later = self.begin(*self.names)
        self.pass_s(120)
        self.assertFalse(later.ready)
        self.assertEqual({name: node.snapshot() for name, node in self.nodes.items()}, before)
        self.stop(later)


class LeavingTests(LeavingCase):
    def test_plain_objects_are_left(self) -> None:
        self.leave(self.first)
        self.wait_for(self.first, Phase.LEFT)
        self.assert_plain()
        self.assertEqual(self.first.assembly.ready(), (False, LEFT))
        self.pass_s(120)
        self.assert_plain()
        self.assertIn("plain objects", self.first.why("n1"))
        # It would be waited for, and for nothing.
        adopting = Deferred.fromCoroutine(self.first.assembly.changes.adopt("n1"))
        self.assertIn(LEFT, str(self.failureResultOf(adopting, ChangeRefused).value))
        self.failureResultOf(self.getting(self.first, "k1"), NoNodes)
        told = self.first.assembly.leaving.told()
        assert told is not None
        self.assertEqual(
            (told["phase"], told["nodes"], told["cleaned"]), ("left", [], list(self.names))
        )
        asked = {name: self.written(name) for name in self.names}
        self.stop(self.first)
        self.assertEqual({name: self.written(name) for name in self.names}, asked)
        self.assert_plain()
        self.assert_founds_nothing()

    def written(self, name: str) -> tuple[int, int]:
        requests = self.nodes[name].requests
        return requests["put"], requests["delete"]

    def test_the_plan_of_another_leave_is_refused_as_that_is(self) -> None:
        self.now(self.first.assembly.keeper.pause())
        self.leave(self.first)
        leaving = self.first.assembly.leaving
        self.failureResultOf(Deferred.fromCoroutine(leaving.leave("n1")), ChangeRefused)
        self.assertIn("being left already", self.plan(self.first, "n1").refusal)
        self.assertEqual(self.plan(self.first).refusal, "")

    def test_the_plan_changes_nothing(self) -> None:
        self.now(create_upload(self.first.store, Create(OBJECT_BUCKET, "big")))
        plan = self.plan(self.first)
        self.assertEqual((plan.nodes, plan.refusal, plan.waits), (list(self.names), "", []))
        self.assertEqual((plan.uploads, plan.uploads_in_all), (["object/big"], 1))
        self.pass_s(10)
        self.assertIs(self.phase(self.first), Phase.NONE)
        self.assertIsNone(self.first.assembly.leaving.told())
        self.assertEqual(len(self.nodes["n1"].uploads), 1)

    def test_where_all_lies_right_nothing_moves(self) -> None:
        told = self.forecast(self.first)
        self.assertEqual((told["keys"], told["bytes"]), (len(KEYS), len("".join(KEYS))))
        self.assertEqual((told["copies"], told["copies_each"]), (2 * len(KEYS), 2))
        self.assertEqual((told["moved_copies"], told["moved_bytes"]), (0, 0))
        for share in told["nodes"].values():
            self.assertEqual(set(share.values()), {0})

    def test_the_plan_tells_what_mending_has_to_make_and_to_remove(self) -> None:
        holder = self.primaries(self.first, "k1")[0]
        lost = self.nodes[holder].buckets[OBJECT_BUCKET].pop("k1")
        (other,) = set(self.names) - set(self.primaries(self.first, "k10"))
        self.nodes[other].buckets[OBJECT_BUCKET]["k10"] = Copy(b"k10", '"e"', 1.0)
        told = self.forecast(self.first)
        self.assertEqual((told["keys"], told["moved_keys"]), (len(KEYS), 1))
        self.assertEqual((told["moved_copies"], told["moved_bytes"]), (1, len(lost.data)))
        shares = told["nodes"]
        self.assertEqual((shares[holder]["copies_in"], shares[holder]["bytes_in"]), (1, 2))
        self.assertEqual((shares[other]["copies_out"], shares[other]["bytes_out"]), (1, 3))
        took = {name: share["seconds"] for name, share in shares.items() if share["seconds"]}
        self.assertEqual(took, {holder: COPY_S, other: REMOVAL_S})
        self.assertAlmostEqual(told["seconds"], COPY_S + REMOVAL_S, delta=0.5)

    def test_a_forecast_that_cant_be_made(self) -> None:
        async def fails(present: Ring, coming: Ring) -> Any:
            raise NoNodes("no listings")

        self.first.assembly.leaving._forecast = fails
        plan = self.plan(self.first, "n1")
        self.assertEqual((plan.refusal, plan.forecast), ("", None))
        told = plan.told()
        self.assertEqual((told["forecast"], told["no_forecast"]), (None, "no listings"))
        # To leave, none is needed.
        self.first.assembly.leaving._space = lambda address, credentials: succeed(10**9)
        self.leave(self.first, "n1")
        self.assertIs(self.phase(self.first), Phase.GATHERING)

    def test_open_uploads_are_aborted(self) -> None:
        self.now(create_upload(self.first.store, Create(OBJECT_BUCKET, "big")))
        self.leave(self.first)
        self.wait_for(self.first, Phase.LEFT)
        self.assert_plain()

    def test_an_upload_on_a_node_that_is_no_member_any_more_stands_in_nobodys_way(self) -> None:
        uploads = self.first.store.uploads
        self.now(uploads.begin(self.first.store.stamps.next(), OBJECT_BUCKET, "big", ["n9"]))
        self.leave(self.first)
        self.wait_for(self.first, Phase.LEFT)
        self.assert_plain()

    def test_not_while_a_node_is_away(self) -> None:
        self.unreach("n3")
        self.pass_s(15)
        plan = self.plan(self.first)
        self.assertIn("n3 is away: wait, or remove", plan.refusal)
        self.assertEqual((plan.forecast, plan.no_forecast), (None, plan.refusal))
        leaving = Deferred.fromCoroutine(self.first.assembly.leaving.leave())
        self.assertIn("n3", str(self.failureResultOf(leaving, ChangeRefused).value))
        self.assertIs(self.phase(self.first), Phase.NONE)

    def test_one_that_goes_meanwhile_is_waited_for(self) -> None:
        self.leave(self.first)
        self.unreach("n3")
        self.pass_s(30)
        self.assertIs(self.phase(self.first), Phase.MENDING)
        self.assertIn("n3", self.waits(self.first))
        self.put(self.first, "k1", b"k1")
        self.reachable("n3")
        self.wait_for(self.first, Phase.LEFT, 120)
        self.assert_plain()

    def test_what_a_pause_of_repair_keeps_from_ending_is_told(self) -> None:
        self.now(self.first.assembly.keeper.pause())
        self.unreach("n3")
        self.pass_s(15)
        self.reachable("n3")
        self.wait(60, lambda: self.first.roster.watched["n3"].candidate.node is not None)
        self.leave(self.first)
        self.pass_s(30)
        self.assertIn("repair is paused: start it; node n3 is returning", self.waits(self.first))
        self.now(self.first.assembly.keeper.resume())
        self.wait_for(self.first, Phase.LEFT)

    def test_marks_are_mended_first(self) -> None:
        holder = self.primaries(self.first, "k1")[0]
        self.nodes[holder].script("put", timed_out(carried_out=True))
        self.put(self.first, "k1", b"k1")
        self.leave(self.first)
        self.pass_s(60)
        self.assertIs(self.phase(self.first), Phase.MENDING)
        self.assertIn("mark", self.waits(self.first))
        self.wait_for(self.first, Phase.LEFT, 2000)
        self.assert_plain()

    def test_a_write_under_way_ends_and_none_begins(self) -> None:
        source = Slow()
        writing = Deferred.fromCoroutine(put(self.first.store, Put(OBJECT_BUCKET, "long", source)))
        source.half()
        self.leave(self.first)
        self.wait_for(self.first, Phase.STOPPING)
        self.pass_s(30)
        self.assertIs(self.phase(self.first), Phase.STOPPING)
        self.assertIn("1 writes are under way", self.waits(self.first))
        self.assertEqual(self.read(self.first, "k1"), b"k1")
        refusing = Deferred.fromCoroutine(
            put(self.first.store, Put(OBJECT_BUCKET, "new", BytesSource(b"v")))
        )
        self.failureResultOf(refusing, NoQuorum)
        source.half()
        source.sink.body_ended()
        self.successResultOf(writing)
        self.wait_for(self.first, Phase.LEFT)
        held = [name for name in self.names if "long" in self.nodes[name].buckets[OBJECT_BUCKET]]
        self.assertEqual(len(held), 2)

    def test_it_is_undone_until_cleaning_begins(self) -> None:
        for phase in (Phase.MENDING, Phase.STOPPING):
            self.leave(self.first)
            self.wait_for(self.first, phase)
            told = self.first.assembly.leaving.undoing()
            self.assertEqual((told["leaving"]["phase"], told["refusal"]), (phase, ""))
            self.assertIs(self.phase(self.first), phase)
            self.now(self.first.assembly.leaving.cancel())
            self.assertIs(self.phase(self.first), Phase.NONE)
            self.put(self.first, "k1", b"k1")
        self.assertEqual(self.first.assembly.ready(), (True, ""))
        self.pass_s(60)
        self.assertIs(self.phase(self.first), Phase.NONE)
        self.cleaning = self.broken
        self.leave(self.first)
        self.wait_for(self.first, Phase.CLEANING)
        undoing = Deferred.fromCoroutine(self.first.assembly.leaving.cancel())
        refused = str(self.failureResultOf(undoing, ChangeRefused).value)
        self.assertIn("being removed", refused)
        self.assertEqual(self.first.assembly.leaving.undoing()["refusal"], refused)

    def test_what_undoing_would_take_back(self) -> None:
        leaving = self.first.assembly.leaving
        undoing = Deferred.fromCoroutine(leaving.cancel())
        refused = str(self.failureResultOf(undoing, ChangeRefused).value)
        self.assertEqual(
            leaving.undoing(),
            {"leaving": None, "weight": None, "refusal": "the cluster isn't being left"},
        )
        self.assertEqual(refused, "the cluster isn't being left")
        self.leave(self.first, "n1")
        told = leaving.undoing()
        self.assertEqual((told["weight"], told["refusal"]), (1.0, ""))
        self.assertEqual((told["leaving"], leaving.phase), (leaving.told(), Phase.GATHERING))
        self.first.see("n1")
        self.pass_s(60)
        self.assertRaises(NoQuorum, leaving.undoing)

    def test_a_node_that_cant_be_cleaned_is_cleaned_later(self) -> None:
        self.cleaning = self.broken
        self.leave(self.first)
        self.wait_for(self.first, Phase.CLEANING)
        self.pass_s(10)
        self.assertEqual(self.cleaned, ["n1", "n3"])
        self.assertIn("n2", self.waits(self.first))
        self.cleaning = lambda name, half: None
        self.wait_for(self.first, Phase.LEFT)
        self.assert_plain()

    def test_no_node_is_cleaned_before_all_know(self) -> None:
        self.leave(self.first)
        self.wait_for(self.first, Phase.STOPPING)
        self.nodes["n3"].script("put", refused(), times=None)
        self.pass_s(20)
        self.assertIs(self.phase(self.first), Phase.CLEANING)
        self.assertEqual(self.cleaned, [])
        self.reachable("n3")
        self.wait_for(self.first, Phase.LEFT, 2000)
        self.assert_plain()

    def broken(self, name: str, half: bool) -> None:
        if name == "n2" and half:
            raise NodeUnavailable(name, "it went")


class KilledTests(LeavingCase):
    def test_it_goes_on_from_before_cleaning(self) -> None:
        for phase in (Phase.MENDING, Phase.STOPPING):
            gateway = self.running[0]
            if phase is Phase.MENDING:
                self.leave(gateway)
                self.unreach("n3")
            self.wait_for(gateway, phase, 3000)
            self.dies(gateway)
            self.reachable("n3")
            second = self.restarted()
            self.assertIs(self.phase(second), phase)
        self.wait_for(second, Phase.LEFT, 3000)
        self.assert_plain()
        self.stop(second)
        self.assert_founds_nothing()

    def restarted(self) -> Gateway:
        gateway = self.begin(*self.names)
        self.wait(60, lambda: gateway.assembly.beginning.ready)
        return gateway

    def test_half_way_through_the_nodes(self) -> None:
        for cut in self.names:
            with self.subTest(cut):
                self.kill_at(cut)
                for name in self.names:
                    self.nodes[name].wipe()
                self.cleaned.clear()
                self.first = self.begun()
                for key in KEYS:
                    self.put(self.first, key, key.encode())

    def kill_at(self, cut: str) -> None:
        def die(name: str, half: bool) -> None:
            if name == cut and half:
                raise NodeUnavailable(name, "killed")

        self.cleaning = die
        self.leave(self.first)
        self.wait(60, lambda: self.cleaned == [each for each in self.names if each != cut])
        self.dies(self.first)
        self.assertEqual(self.marker(cut).left, True)
        self.cleaning = lambda name, half: None
        # Those that are clean aren't required.
        second = self.begin(cut)
        self.wait(60, lambda: cut in self.cleaned)
        self.pass_s(5)
        self.assertFalse(second.ready)
        self.assert_plain()
        self.stop(second)
        self.assert_founds_nothing()

    def test_before_the_first_node_was_touched(self) -> None:
        self.cleaning = self.killed
        self.leave(self.first)
        self.wait_for(self.first, Phase.CLEANING)
        self.pass_s(1)
        self.dies(self.first)
        self.assertEqual([self.marker(name).left for name in self.names], [False] * 3)
        self.cleaning = lambda name, half: None
        second = self.begin("n2")
        self.wait(60, lambda: self.cleaned == ["n2"])
        second.see(*self.names)
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()

    def test_no_run_begins_when_all_are_there_yet(self) -> None:
        self.cleaning = self.killed
        self.leave(self.first)
        self.wait_for(self.first, Phase.CLEANING)
        self.pass_s(1)
        self.dies(self.first)
        before = self.record(self.nodes["n1"], "runs/last")
        second = self.begin(*self.names)
        self.pass_s(30)
        self.assertFalse(second.assembly.beginning.ready)
        self.assertEqual(self.record(self.nodes["n1"], "runs/last"), before)

    def test_a_stop_leaves_no_note(self) -> None:
        self.leave(self.first)
        self.wait_for(self.first, Phase.CLEANING)
        self.stop(self.first)
        self.assertEqual((self.cleaned, self.noted()), ([], []))
        second = self.begin(*self.names)
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()

    def test_before_all_nodes_knew(self) -> None:
        self.leave(self.first)
        self.wait_for(self.first, Phase.STOPPING)
        self.nodes["n3"].script("put", refused(), times=None)
        self.wait_for(self.first, Phase.CLEANING)
        self.pass_s(1)
        self.dies(self.first)
        self.assertNotIn("cleaning", str(self.record(self.nodes["n3"], "leave/cluster")))
        self.unreach("n3")
        second = self.begin(*self.names)
        self.pass_s(60)
        self.assertEqual(self.cleaned, [])
        self.assertFalse(second.ready)
        self.assertIn("n3 is away", self.waits(second))
        self.reachable("n3")
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()

    def test_a_node_that_is_away_at_the_restart_is_cleaned_when_it_is_back(self) -> None:
        self.cleaning = lambda name, half: self.killed(name, half) if self.cleaned else None
        self.leave(self.first)
        self.wait(60, lambda: self.cleaned == ["n1"])
        self.dies(self.first)
        self.assertEqual([self.marker(name).left for name in ("n2", "n3")], [False, False])
        self.cleaning = lambda name, half: None
        self.unreach("n3")
        second = self.begin(*self.names)
        self.wait(60, lambda: self.cleaned == ["n1", "n2"])
        self.pass_s(30)
        self.assertFalse(second.ready)
        self.assertIs(self.phase(second), Phase.CLEANING)
        self.assertIn("n3", self.waits(second))
        self.assertNotIn(SYSTEM_BUCKET, self.nodes["n1"].buckets)
        self.reachable("n3")
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()
        self.stop(second)
        self.assert_founds_nothing()

    def test_what_the_first_contact_made_on_a_clean_node_goes_too(self) -> None:
        self.cleaning = lambda name, half: self.killed(name, half) if self.cleaned else None
        self.leave(self.first)
        self.wait(60, lambda: self.cleaned == ["n1"])
        self.dies(self.first)
        self.nodes["n1"].buckets[SYSTEM_BUCKET] = {}
        self.cleaning = lambda name, half: None
        second = self.begin(*self.names)
        self.wait_for(second, Phase.LEFT)
        self.assert_plain()

    def killed(self, name: str, half: bool) -> None:
        raise NodeUnavailable(name, "the run was killed")
