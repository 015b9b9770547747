"""Repair stands still while somebody wants it to, and sweeps when somebody asks."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from aosd.consistency.registers import Register
from aosd.model.errors import ChangeRefused, NoQuorum
from aosd.model.node import NodeState
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.repair.sweep import Sweep
from aosd.testing.faults import late, refused
from tests.unit.cluster_case import ClusterTestCase, Gateway

KEYS = tuple(f"k{number:03d}" for number in range(200))


class _Paused(ClusterTestCase):
    def pause(self, gateway: Gateway) -> None:
        self.now(gateway.assembly.keeper.pause())

    def resume(self, gateway: Gateway) -> None:
        self.now(gateway.assembly.keeper.resume())

    def sweeps(self, gateway: Gateway) -> bool:
        return gateway.assembly.keeper.sweep is not None

    def swept(self, gateway: Gateway) -> float:
        """How many keys were swept so far."""
        return gateway.metrics.sweep_keys._value.get()


class ChangeTests(_Paused):
    """A node joins, slowly."""

    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun("n1", "n2", "n3", sweep_keys_per_s=20.0)
        for key in KEYS:
            self.put(self.gateway, key, key.encode())
        self.gateway.see(*self.names)
        self.wait(20, lambda: self.gateway.roster.changing and self.sweeps(self.gateway))
        self.pass_s(3)

    def lies_on_n4(self) -> int:
        return len(self.nodes["n4"].buckets[OBJECT_BUCKET])

    def test_it_stands_still_at_once(self) -> None:
        self.assertTrue(0 < self.lies_on_n4() < 80)
        self.pause(self.gateway)
        self.assertFalse(self.sweeps(self.gateway))
        before, swept = self.lies_on_n4(), self.swept(self.gateway)
        self.pass_s(900)
        self.assertEqual((self.lies_on_n4(), self.swept(self.gateway)), (before, swept))
        self.assertTrue(self.gateway.roster.changing)
        self.assertEqual(self.gateway.metrics.registry.get_sample_value("aosd_repair_paused"), 1.0)
        self.assertTrue(self.gateway.assembly.keeper.report()["paused"])
        self.assertTrue(self.gateway.assembly.keeper.progress.told()["paused"])

    def test_whether_it_could_be_paused(self) -> None:
        self.gateway.assembly.keeper.check_pause()
        self.assertFalse(self.gateway.assembly.keeper.paused)
        self.assertTrue(self.sweeps(self.gateway))
        self.gateway.see("n1")
        self.pass_s(60)
        self.assertRaises(NoQuorum, self.gateway.assembly.keeper.check_pause)

    def copying(self) -> Deferred[None]:
        """What is sent to the new node from now on isn't answered before this fires."""
        gate: Deferred[None] = Deferred()
        self.nodes["n4"].script("put", late(lambda: gate), times=None)
        sweep = self.gateway.assembly.keeper.sweep
        assert sweep is not None
        self.wait(10, lambda: sweep.is_mending)
        return gate

    def test_a_copy_on_its_way_ends_first(self) -> None:
        gate, before = self.copying(), self.lies_on_n4()
        self.pause(self.gateway)
        self.pass_s(5)
        self.assertTrue(self.sweeps(self.gateway))
        self.nodes["n4"].heal()
        gate.callback(None)
        self.pass_s(1)
        self.assertFalse(self.sweeps(self.gateway))
        self.assertTrue(before < self.lies_on_n4() <= before + 16)
        self.assertEqual(len(self.gateway.assembly.marks), 0)

    def test_one_that_takes_long_is_given_up(self) -> None:
        gate = self.copying()
        self.pause(self.gateway)
        self.pass_s(8)
        self.assertTrue(self.sweeps(self.gateway))
        self.pass_s(3)
        self.assertFalse(self.sweeps(self.gateway))
        self.assertTrue(len(self.gateway.assembly.marks))  # it may land yet
        self.nodes["n4"].heal()
        gate.callback(None)

    def test_also_when_a_node_tells_of_it_that_knows_more(self) -> None:
        register = Register("repair", "pause", self.gateway.store.stamps.next(), {"paused": True})
        self.gateway.assembly.recall.registers.load({"repair/pause": register.to_bytes()}, "n1")
        self.assertTrue(self.sweeps(self.gateway))
        self.pass_s(1)
        self.assertFalse(self.sweeps(self.gateway))

    def test_clients_are_served_with_both_rings(self) -> None:
        self.pause(self.gateway)
        for key in KEYS:
            self.assertEqual(self.read(self.gateway, key), key.encode())
        self.put(self.gateway, "new", b"v")
        self.delete(self.gateway, "k000")
        rings = [self.gateway.roster.ring, self.gateway.roster.former]
        wanted = {name for ring in rings for name in ring.primaries(OBJECT_BUCKET, "new", 2)}
        holders = {name for name in self.names if "new" in self.nodes[name].buckets[OBJECT_BUCKET]}
        self.assertEqual(holders, wanted)
        self.resume(self.gateway)
        self.wait(120, lambda: not self.gateway.roster.changing)
        self.assertEqual(self.read(self.gateway, "new"), b"v")

    def test_it_goes_on_when_it_may(self) -> None:
        self.pause(self.gateway)
        self.pass_s(300)
        self.resume(self.gateway)
        self.wait(3, lambda: self.sweeps(self.gateway))
        self.wait(60, lambda: not self.gateway.roster.changing)
        self.assertFalse(self.gateway.assembly.keeper.paused)
        self.assertEqual(self.gateway.metrics.registry.get_sample_value("aosd_repair_paused"), 0.0)

    def test_another_run_keeps_to_it(self) -> None:
        self.pause(self.gateway)
        for stopped in (self.stop, self.dies):
            stopped(self.gateway)
            self.gateway = self.begun()
            self.pass_s(1500)
            self.assertTrue(self.gateway.assembly.keeper.paused)
            self.assertTrue(self.gateway.roster.changing)
            self.assertEqual(self.swept(self.gateway), 0)
        self.resume(self.gateway)
        self.wait(120, lambda: not self.gateway.roster.changing)
        self.dies(self.gateway)
        self.gateway = self.begun()
        self.assertFalse(self.gateway.assembly.keeper.paused)

    def test_a_sweep_that_was_cut_short_isnt_waited_for_as_one_in_vain(self) -> None:
        self.pass_s(5)
        self.pause(self.gateway)
        self.resume(self.gateway)
        self.wait(3, lambda: self.sweeps(self.gateway))


class PauseTests(_Paused):
    def test_marked_keys_are_mended_all_the_same(self) -> None:
        gateway = self.begun()
        self.pass_s(60)
        self.pause(gateway)
        name = self.primaries(gateway)[0]
        self.nodes[name].script("put", refused())
        self.put(gateway, "k", b"v")
        self.wait(10, lambda: "k" in self.nodes[name].buckets[OBJECT_BUCKET])
        self.wait(60, lambda: not len(gateway.assembly.marks))

    def test_a_node_that_is_back_counts_afterwards(self) -> None:
        gateway = self.begun()
        self.put(gateway, "k", b"v")
        self.pass_s(60)
        self.pause(gateway)
        self.nodes["n2"].restart()
        self.pass_s(300)
        self.assertEqual(gateway.state("n2"), NodeState.RETURNING)
        self.assertEqual(self.read(gateway, "k"), b"v")
        self.resume(gateway)
        self.wait(10, lambda: gateway.state("n2") is NodeState.UP)

    def test_what_cant_be_remembered_isnt_so(self) -> None:
        gateway = self.begun()
        for name in self.names[:2]:
            self.nodes[name].script("put", refused())
        pausing = Deferred.fromCoroutine(gateway.assembly.keeper.pause())
        self.failureResultOf(pausing, NoQuorum)
        self.assertFalse(gateway.assembly.keeper.paused)
        self.pause(gateway)
        self.assertTrue(gateway.assembly.keeper.paused)
        for name in self.names:
            record = self.record(self.nodes[name], "repair/pause")
            assert record is not None
            self.assertEqual(json.loads(record)["value"], {"paused": True})

    def test_a_record_of_a_later_version_is_no_trouble(self) -> None:
        gateway = self.begun()
        self.pause(gateway)
        self.stop(gateway)
        for name in self.names:
            there = self.nodes[name].buckets[SYSTEM_BUCKET]
            there["unheard-of/pause"] = there["repair/pause"]
            there["repair/else"] = there["repair/pause"]
        gateway = self.begun()
        self.assertTrue(gateway.assembly.keeper.paused)
        self.assertEqual(len(gateway.assembly.recall.registers.all("repair")), 2)


class AskedTests(_Paused):
    """Sweeps that somebody asked for."""

    def test_a_whole_one_is_run(self) -> None:
        gateway = self.begun()
        for key in KEYS[:30]:
            self.put(gateway, key, b"v")
        self.pass_s(60)
        self.assertEqual(self.swept(gateway), 0)
        gateway.assembly.keeper.start_sweep()
        self.wait(3, lambda: gateway.assembly.keeper.last is not None)
        self.pass_s(60)
        self.assertEqual(self.swept(gateway), 30)  # and only one

    def test_not_while_it_is_paused(self) -> None:
        gateway = self.begun()
        self.put(gateway, "k", b"v")
        self.pause(gateway)
        self.assertRaises(ChangeRefused, gateway.assembly.keeper.start_sweep)
        self.resume(gateway)
        self.pass_s(60)
        self.assertEqual(self.swept(gateway), 0)

    def by_the_calendar(self) -> tuple[Gateway, Sweep]:
        """One half-way through, the second one of its run."""
        gateway = self.begun(sweep_interval_s=60.0, sweep_keys_per_s=10.0)
        for key in KEYS:
            self.put(gateway, key, b"v")
        gateway.assembly.keeper.start_sweep()
        self.wait(40, lambda: gateway.assembly.keeper.last is not None)
        self.pass_s(30)
        self.assertFalse(self.sweeps(gateway))
        self.wait(60, lambda: self.sweeps(gateway))
        self.pass_s(10)
        calendar = gateway.assembly.keeper.sweep
        assert calendar is not None
        self.assertTrue(50 <= calendar.so_far.keys <= 150)
        return gateway, calendar

    def test_one_by_the_calendar_is_gone_on_with_after_a_pause(self) -> None:
        gateway, calendar = self.by_the_calendar()
        self.pause(gateway)
        self.pass_s(30)
        self.resume(gateway)
        self.pass_s(1)
        rest = gateway.assembly.keeper.sweep
        assert rest is not None
        self.wait(60, lambda: gateway.assembly.keeper.sweep is not rest)
        self.assertEqual(calendar.so_far.keys + rest.so_far.keys, len(KEYS))
        self.assertEqual(gateway.assembly.keeper.calendar.keys, len(KEYS))

    def test_another_run_goes_on_with_it(self) -> None:
        gateway, calendar = self.by_the_calendar()
        self.stop(gateway)
        gateway = self.begun(sweep_interval_s=3600.0, sweep_keys_per_s=10.0)
        self.wait(5, lambda: self.sweeps(gateway))
        self.wait(60, lambda: not self.sweeps(gateway))
        self.assertEqual(calendar.so_far.keys + self.swept(gateway), len(KEYS))
        self.stop(gateway)
        # The next one is due an hour after the last one that is noted, and not sooner.
        self.clock.advance(1800)
        gateway = self.begun(sweep_interval_s=3600.0, sweep_keys_per_s=10.0)
        self.pass_s(1500)
        self.assertEqual(self.swept(gateway), 0)
        self.wait(310, lambda: self.sweeps(gateway))

    def test_one_by_the_calendar_makes_way_and_isnt_gone_on_with(self) -> None:
        gateway, calendar = self.by_the_calendar()
        gateway.assembly.keeper.start_sweep()
        self.pass_s(1)
        asked = gateway.assembly.keeper.sweep
        assert asked is not None
        self.assertIsNot(asked, calendar)
        self.wait(60, lambda: gateway.assembly.keeper.sweep is not asked)
        self.assertEqual(asked.so_far.keys, len(KEYS))

    def test_one_that_is_asked_for_during_another_comes_after_it(self) -> None:
        gateway = self.begun(sweep_keys_per_s=20.0)
        for key in KEYS:
            self.put(gateway, key, b"v")
        self.nodes["n2"].restart()
        self.wait(20, lambda: self.sweeps(gateway))
        self.pass_s(3)
        first = gateway.assembly.keeper.sweep
        assert first is not None
        gateway.assembly.keeper.start_sweep()
        self.wait(60, lambda: gateway.assembly.keeper.sweep is not first)
        self.assertEqual(first.so_far.keys, len(KEYS))
        self.wait(5, lambda: self.sweeps(gateway))
        self.wait(60, lambda: not self.sweeps(gateway))
        self.assertEqual(self.swept(gateway), 2 * len(KEYS))
