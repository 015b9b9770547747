"""What the doctor finds wrong with a cluster, and how it tells of its nodes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.marks import Mark
from aosd.model.check import Check, is_healthy
from aosd.model.node import Sighting
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.ring import partition
from aosd.nodes.space import Space, read_space
from tests.unit.cluster_case import sighting
from tests.unit.door_case import TOKEN, DoorTestCase

GOOD = Check("reachable", True, "it answers")


class CheckTests(SynchronousTestCase):
    def test_what_is_not_known_is_no_reason_to_doubt(self) -> None:
        unknown, warning = Check("space", None, "?"), Check("clock", True, "late", "set it")
        self.assertTrue(is_healthy([GOOD, unknown, warning]))
        self.assertFalse(is_healthy([GOOD, Check("probe", False, "it breaks", "mend it")]))
        self.assertEqual(
            warning.told(), {"what": "clock", "ok": True, "found": "late", "do": "set it"}
        )


class SpaceTests(SynchronousTestCase):
    def drive(self, total: int, available: int, **more: Any) -> dict[str, Any]:
        # As MinIO tells: what is 0 is left out.
        told = {"state": "ok", "totalspace": total, "availspace": available, **more}
        return {name: value for name, value in told.items() if value != 0}

    def read(self, *servers: list[dict[str, Any]]) -> Space | None:
        return read_space({"servers": [{"drives": drives} for drives in servers]})

    def test_one_drive(self) -> None:
        self.assertEqual(self.read([self.drive(100, 30)]), Space(100, 30, 0.3, 1, 0))
        self.assertEqual(self.read([self.drive(100, 0)]), Space(100, 0, 0.0, 1, 0))

    def test_the_fullest_set_counts(self) -> None:
        drives = [
            self.drive(100, 90, pool_index=0, set_index=0),
            self.drive(100, 50, pool_index=0, set_index=1),
            self.drive(100, 2, pool_index=1, set_index=0),
            self.drive(100, 4, pool_index=1, set_index=0),
        ]
        self.assertEqual(self.read(drives[:2], drives[2:]), Space(400, 146, 0.03, 4, 0))

    def test_drives_that_do_not_work(self) -> None:
        broken = {"state": "offline"}
        self.assertEqual(self.read([self.drive(100, 30), broken]), Space(100, 30, 0.3, 2, 1))
        self.assertIsNone(self.read([broken]))

    def test_what_is_none_of_minios(self) -> None:
        odd: Any
        for odd in (
            None,
            [],
            "x",
            {},
            {"servers": None},
            {"servers": [1]},
            {"servers": [{"drives": [{"state": "ok"}]}]},
            {"servers": [{"drives": [self.drive(100, 3, pool_index="x")]}]},
            {"servers": [{"drives": [{"state": "ok", "totalspace": "many"}]}]},
        ):
            self.assertIsNone(read_space(odd), odd)


class DoctorTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def findings(self) -> Any:
        answer = self.ask("/-/doctor", "POST", Authorization=f"Bearer {TOKEN}")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def whats(self) -> list[str]:
        return [each["what"] for each in self.findings()["cluster"]]

    def cluster(self, what: str) -> Any:
        """The check of that name; the only one."""
        (found,) = (each for each in self.findings()["cluster"] if each["what"] == what)
        return found

    def test_all_is_well(self) -> None:
        self.examined = dict.fromkeys(self.names, (GOOD,))
        told = self.findings()
        self.assertIs(told["healthy"], True)
        self.assertEqual([each["name"] for each in told["nodes"]], list(self.names))
        self.assertEqual(told["nodes"][0]["checks"], [GOOD.told()])
        self.assertEqual({each["ok"] for each in told["cluster"]}, {True})
        self.assertEqual([each["do"] for each in told["cluster"] if each["do"]], [])

    def test_one_bad_check_is_enough(self) -> None:
        self.examined = {"n2": (GOOD, Check("probe", False, "it breaks", "mend it"))}
        self.assertIs(self.findings()["healthy"], False)

    def test_who_is_examined_with_what_is_known_of_it(self) -> None:
        asked: list[tuple[Any, ...]] = []
        self.on_examine = asked.append
        self.findings()
        cluster = self.gateway.assembly.admission.cluster
        self.assertTrue(cluster)
        self.assertEqual(
            [(each[0], *each[3:]) for each in asked],
            [(name, cluster, self.marker(name).incarnation, True) for name in self.names],
        )

    def test_one_that_is_no_member(self) -> None:
        self.problems["n4"] = "versioning is on"
        self.nodes["n4"] = self.blank("n4")
        self.gateway.see(*self.names, "n4")
        self.pass_s(1)
        asked: list[tuple[Any, ...]] = []
        self.on_examine = asked.append
        self.findings()
        self.assertEqual(asked[-1][0], "n4")
        self.assertEqual(asked[-1][4:], ("", False))

    def test_one_that_is_not_running_is_not_asked(self) -> None:
        self.discovery.see(sighting("n1"), sighting("n2"), Sighting("n3", running=False))
        asked: list[tuple[Any, ...]] = []
        self.on_examine = asked.append
        told = self.findings()
        self.assertEqual([each[0] for each in asked], ["n1", "n2"])
        (check,) = told["nodes"][2]["checks"]
        self.assertEqual((check["what"], check["ok"]), ("reachable", False))
        self.assertEqual(check["found"], "not running")
        self.assertIn("n3 is down (not running)", self.cluster("members")["found"])
        self.assertIs(told["healthy"], False)

    def test_no_more_than_four_at_once(self) -> None:
        self.discovery.see(*(sighting(f"n{number}") for number in range(1, 4)))
        self.examining = Deferred()
        asked: list[tuple[Any, ...]] = []
        self.on_examine = asked.append
        waiting = []
        for _ in range(2):
            channel, transport = self.connect()
            token = f"Authorization: Bearer {TOKEN}\r\n"
            channel.dataReceived(f"POST /-/doctor HTTP/1.1\r\nHost: h\r\n{token}\r\n".encode())
            waiting.append(transport)
        self.assertEqual(len(asked), 4)
        gate, self.examining = self.examining, None
        gate.callback(None)
        self.assertEqual(len(asked), 6)
        for transport in waiting:
            self.assertIn(b"200 OK", transport.value())

    # -- the cluster ----------------------------------------------------------------------------

    def test_too_few_nodes(self) -> None:
        self.assertEqual(self.cluster("enough nodes")["do"], "")
        self.unreach("n3")
        self.pass_s(15)
        two = self.cluster("enough nodes")
        self.assertIs(two["ok"], True)
        self.assertIn("add a node", two["do"])
        self.unreach("n2")
        self.pass_s(15)
        one = self.cluster("enough nodes")
        self.assertEqual(
            (one["ok"], one["found"]), (False, "nodes that take writes: 1; each write goes to 2")
        )
        self.assertIs(self.cluster("members")["ok"], False)

    def test_one_that_drains_takes_no_writes_for_long(self) -> None:
        self.now(self.gateway.assembly.changes.drain("n1"))
        self.assertIn("add a node", self.cluster("enough nodes")["do"])
        self.assertIs(self.ask("/-/nodes").json["next_may_go"], False)

    def test_a_cluster_that_is_being_left(self) -> None:
        leaving = self.gateway.assembly.leaving
        self.assertEqual([each for each in self.whats() if each == "leaving"], [])
        self.now(leaving.leave())
        self.assertIn("this cluster is being left", self.cluster("leaving")["found"])
        self.wait(120, lambda: bool(leaving.absent))
        asked: list[tuple[Any, ...]] = []
        self.on_examine = asked.append
        self.findings()
        self.assertEqual({each[5] for each in asked}, {False})

    def test_providers_and_what_they_see(self) -> None:
        (provider,) = self.gateway.roster.providers
        provider.trouble = "no answer"
        self.assertIs(self.cluster("providers")["ok"], False)
        provider.trouble = ""
        seen = [sighting(name) for name in self.names]
        self.discovery.see(*seen, Sighting("bad", problem="no credentials"))
        checks = [each for each in self.findings()["cluster"] if each["what"] == "providers"]
        self.assertEqual([each["ok"] for each in checks], [True, True])
        self.assertIn("bad can't be used: no credentials", checks[1]["found"])

    def test_another_gateway(self) -> None:
        self.gateway.assembly.heartbeat.other = "0123"
        self.assertIs(self.cluster("gateways")["ok"], False)
        ready = self.cluster("ready")
        self.assertIs(ready["ok"], False)
        self.assertIn("another gateway (0123)", ready["found"])
        self.gateway.assembly.heartbeat.other = ""

    def test_marks_that_grow_old(self) -> None:
        self.unreach("n3")
        self.pass_s(15)
        number = partition(OBJECT_BUCKET, "k")
        stamp = self.gateway.store.stamps.next()
        mark = Mark(OBJECT_BUCKET, "k", stamp, frozenset({"n3"}), frozenset({"n3"}), written=True)
        self.now(self.gateway.assembly.marks.leave(mark, number))
        young = self.cluster("marks")
        self.assertEqual((young["ok"], young["do"] != ""), (True, True))
        self.clock.advance(3601)
        old = self.cluster("marks")
        self.assertIs(old["ok"], False)
        self.assertIn("the oldest for 1 h 0 min", old["found"])

    def test_the_age_of_the_last_sweep(self) -> None:
        keeper = self.gateway.assembly.keeper
        never = self.cluster("sweep")
        self.assertIs(never["ok"], True)
        keeper.last = {"ended_s": self.clock.seconds() - 7100}
        self.assertEqual(self.cluster("sweep")["do"], "")
        keeper.last = {"ended_s": self.clock.seconds() - 7300}
        self.assertIs(self.cluster("sweep")["ok"], False)
        keeper.last = None

    def test_a_change_of_the_ring(self) -> None:
        self.assertEqual(self.cluster("change")["found"], "no change of the ring is under way")
        changes = self.gateway.assembly.changes
        self.now(changes.weigh("n1", 2.0))
        self.now(changes.weigh("n2", 3.0))
        told = self.cluster("change")
        self.assertEqual(told["found"], "copying: n1; weigh of n2 waits for it")
        self.assertIs(told["ok"], True)
        self.now(changes.rezone("n2", "r1"))
        self.now(changes.drain("n3"))
        told = self.cluster("change")
        self.assertEqual(
            told["found"], "copying: n1; weigh and rezone of n2, drain of n3 wait for it"
        )

    def test_the_versions_that_run(self) -> None:
        self.assertIn("aosd ", self.cluster("versions")["found"])

    def test_it_is_json(self) -> None:
        self.assertTrue(json.dumps(self.findings()))
