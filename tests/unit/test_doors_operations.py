"""The operations door over nodes in memory, from a request's bytes to those of its answer."""

from __future__ import annotations

from aosd.doors.operations.moments import moment_of
from aosd.model.node import Sighting
from tests.unit.cluster_case import sighting
from tests.unit.door_case import DoorTestCase


class OperationsDoorTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def test_ready_until_it_stops(self) -> None:
        self.assertEqual(self.ask("/-/ready").status, 200)
        self.oversight.stopping = True
        self.assertEqual(self.ask("/-/ready").status, 503)

    def test_nodes_and_what_is_wrong_with_others(self) -> None:
        self.discovery.see(
            sighting("n1"),
            Sighting("bad", problem="no credentials"),
        )
        told = self.ask("/-/nodes").json
        self.assertEqual([each["name"] for each in told["nodes"]], ["n1", "n2", "n3"])
        self.assertEqual([each["state"] for each in told["nodes"]], ["up", "down", "down"])
        self.assertEqual(told["unusable"], [{"where": "bad", "problem": "no credentials"}])
        self.assertNotIn(b"hush", self.ask("/-/nodes").body)

    def test_whether_the_cluster_is_being_left(self) -> None:
        self.assertIsNone(self.ask("/-/nodes").json["leaving"])
        self.now(self.gateway.assembly.leaving.leave())
        leaving = self.ask("/-/changes").json["leaving"]
        self.assertEqual(leaving["phase"], "mending")
        self.assertEqual(self.ask("/-/nodes").json["leaving"], leaving)

    def test_what_a_node_is_to_the_cluster(self) -> None:
        changes = self.gateway.assembly.changes
        quiet = {
            "membership": "member",
            "coming": None,
            "left": False,
            "adopted": False,
            "queued": None,
            "consented": False,
        }

        def told(name: str) -> dict[str, object]:
            (node,) = (each for each in self.ask("/-/nodes").json["nodes"] if each["name"] == name)
            self.assertEqual(node["clock_ahead_s"], 0.0)
            return {each: node[each] for each in quiet}

        self.assertEqual(told("n1"), quiet)
        self.now(changes.weigh("n1", 2.0))
        self.now(changes.drain("n2"))
        self.assertEqual(told("n1"), {**quiet, "coming": {"weight": 2.0, "zone": "n1"}})
        queued = changes.standing("n2")
        assert queued is not None
        assert queued.queued is not None
        waits = {"act": "drain", "asked": queued.queued.asked, "weight": None, "zone": None}
        self.assertEqual(told("n2"), {**quiet, "queued": waits})
        self.now(changes.undo("n1"))
        self.wait(10, lambda: told("n2")["membership"] == "draining")

    def test_one_that_is_away_tells_no_time(self) -> None:
        self.unreach("n3")
        self.pass_s(15)
        self.assertIsNone(self.ask("/-/nodes").json["nodes"][2]["clock_ahead_s"])

    def test_changes(self) -> None:
        changes = self.gateway.assembly.changes
        quiet = {
            "changing": False,
            "phase": "",
            "waiting_for": "",
            "progress": None,
            "queue": [],
            "paused": False,
            "leaving": self.ask("/-/changes").json["leaving"],
        }
        self.assertEqual(self.ask("/-/changes").json, quiet)
        self.now(changes.drain("n1"))
        self.now(changes.weigh("n2", 2.0))
        told = self.ask("/-/changes").json
        self.assertEqual((told["changing"], told["phase"]), (True, "copying"))
        self.assertIsNotNone(told["progress"])
        (waiting,) = told["queue"]
        asked = waiting.pop("asked")
        self.assertEqual(
            waiting,
            {
                "node": "n2",
                "act": "weigh",
                "weight": 2.0,
                "zone": None,
                "asked_at": moment_of(asked),
                "consented": False,
            },
        )

    def test_changes_arent_told_of_before_they_are_known(self) -> None:
        """Whoever waits for the end of one would take it for that."""
        beginning = self.gateway.assembly.beginning
        self.patch(beginning, "ready", False)
        self.patch(beginning, "why", "what the cluster remembers can't be read yet")
        answer = self.ask("/-/changes")
        self.assertEqual(answer.status, 503)
        self.assertIn("can't be read yet", answer.json["error"])
        self.patch(self.gateway.assembly.leaving, "told", lambda: {"phase": "left"})
        self.assertEqual(self.ask("/-/changes").json["leaving"], {"phase": "left"})

    def test_where_a_key_lies(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        told = self.ask("/-/ring?key=a").json
        first = told["order"][0]
        self.assertEqual(first["role"], "primary")
        self.assertIn("a", self.nodes[first["name"]].buckets["object"])
        self.assertEqual(len(self.ask("/-/ring").json["members"]), 3)
        self.assertEqual(self.ask("/-/ring?key=" + "a" * 1025).status, 400)

    def test_metrics_move(self) -> None:
        self.ask("/object/a", "PUT", b"hello")
        text = self.ask("/-/metrics").body.decode()
        for line in (
            'aosd_requests_total{door="plain",status="201",verb="PUT"} 1.0',
            'aosd_received_bytes_total{door="plain"} 5.0',
            'aosd_node_up{node="n1"} 1.0',
            "aosd_ring_members 3.0",
            'aosd_discovery_reports_total{provider="scripted"} 2.0',
        ):
            self.assertIn(line, text)

    def test_pages_that_do_not_exist(self) -> None:
        for path in ("/-", "/-/", "/-/nope", "/-/nodes/", "/-/%ff"):
            self.assertEqual(self.ask(path).status, 404, path)
