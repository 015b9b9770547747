"""What aosctl shows of what the daemon tells."""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import ShellComplete

from aosd.aosctl import asking, doctor
from aosd.aosctl.call import Call, Failed, TokenUnknown, Unreachable
from aosd.aosctl.main import main
from aosd.model.errors import NoNodes
from tests.unit.aosctl_case import QUIET, AosctlCase, changes, node, nodes

REPAIR: dict[str, Any] = {
    "settled": False,
    "unsettled": ["node n1 is down"],
    "marks": 1,
    "journal": 1_200,
    "alone": True,
    "paused": True,
    "sweep": {
        "running": True,
        "bucket": "b",
        "after": "k",
        "keys": 12_000,
        "missing": 5,
        "made": 4,
        "removed": 0,
        "unmended": 0,
        "seconds": 6.0,
        "reports": [],
    },
    "last_sweep": {
        "keys": 3,
        "seconds": 0.2,
        "bucket": "z",
        "reports": [{"bucket": "b", "key": "k", "node": "n1", "why": "no stamp"}],
    },
}

STAMP, LATER = "0193594b3a7c-0000-1f2e3d4c", "0193594c0000-0000-1f2e3d4c"


class NodesTests(AosctlCase):
    def test_all_is_well(self) -> None:
        told = nodes(node("n1"), node("amazin-object-storage-node-2", weight=2.5, zone="rack1"))
        self.daemon.pages["nodes"] = told
        self.assertEqual(
            self.lines("nodes"),
            [
                "NODE                          STATE  IS A    WEIGHT  ZONE   URL",
                "n1                            up     member       1         http://n1:9000",
                "amazin-object-storage-node-2  up     member     2.5  rack1  "
                "http://amazin-object-storage-node-2:9000",
                "any one node may be taken down now",
            ],
        )
        self.assertEqual(self.document("nodes"), told)

    def test_all_that_can_be_said(self) -> None:
        self.daemon.pages["nodes"] = nodes(
            node("n1", state="down", reason="no connection", coming={"weight": 2.0, "zone": "n1"}),
            node("n2", queued={"act": "weigh", "asked": STAMP, "weight": 0.5, "zone": None}),
            node("n3", adopted=True, coming={"weight": 1.0, "zone": "rack2"}),
            node("n4", membership=None, url=None, queued={"act": "join"}),
            next_may_go=False,
            wait_for=["node n1 is down"],
            unusable=[{"where": "container x", "problem": "it has no credentials"}],
            providers=[
                {"name": "docker", "reported": True, "trouble": "no engine"},
                {"name": "dns:x", "reported": False, "trouble": ""},
                {"name": "static:y", "reported": True, "trouble": ""},
            ],
        )
        lines = self.lines("nodes")
        self.assertEqual(lines[4].split(), ["n4", "up", "stranger", "1"])
        self.assertEqual(
            lines[5:],
            [
                "n1: no connection",
                "n1: to weigh 2",
                "n2: weigh 0.5, when the change before is over",
                "n3: to be in zone rack2",
                "n3: adopted; what it came with is still being sorted out",
                "n4: join, when the change before is over",
                "can't be used: container x: it has no credentials",
                "provider docker: no engine",
                "provider dns:x: nothing heard from it yet",
                "no node may be taken down now: node n1 is down",
            ],
        )

    def test_during_a_change(self) -> None:
        self.daemon.pages.update(nodes=nodes(node("n1"), changing=True), changes=changes())
        self.assertEqual(
            self.lines("nodes")[-2:],
            [
                "copying to where it will belong (n2): 12,000 of 100,000 keys, 1,950 keys/s, "
                "45 seconds left",
                "3,000 copies made (3.0 GiB) in 1 minute 1 second",
            ],
        )

    def test_while_the_cluster_is_being_left(self) -> None:
        for leaving, line in (
            (
                {"phase": "mending", "waits": ["2 marks", "x"], "undoable": True},
                "this cluster is being left (mending: 2 marks): aosctl leave --undo takes it back",
            ),
            ({"phase": "cleaning", "waits": []}, "this cluster is being left (cleaning)"),
            ({"phase": "going back", "waits": []}, "leaving this cluster is being taken back"),
            ({"phase": "left"}, "this cluster was left: the nodes hold plain objects; stop aosd"),
        ):
            self.daemon.pages["nodes"] = nodes(node("n1"), leaving=leaving)
            self.assertEqual(self.lines("nodes")[2:], [line, "any one node may be taken down now"])
        self.daemon.pages["nodes"] = nodes(node("n1"), leaving=None)
        self.assertEqual(self.lines("nodes")[2:], ["any one node may be taken down now"])

    def test_none(self) -> None:
        self.daemon.pages["nodes"] = nodes(next_may_go=False, wait_for=["no nodes found"])
        self.assertEqual(
            self.lines("nodes"), ["no nodes", "no node may be taken down now: no nodes found"]
        )


class ChangesTests(AosctlCase):
    def test_nothing(self) -> None:
        self.daemon.pages["changes"] = QUIET
        self.assertEqual(self.lines("changes"), ["nothing is changing"])
        self.assertEqual(self.document("changes"), QUIET)

    def test_a_queue_that_is_paused(self) -> None:
        queue = [
            {"node": "n1", "act": "weigh", "weight": 0.5, "asked_at": "2026-11-26T20:00:00.123Z"},
            {"node": "n2", "act": "rezone", "zone": "rack1", "asked_at": "2026-11-26 20:00:01"},
            {
                "node": "n4",
                "act": "rezone",
                "weight": 2,
                "zone": "r",
                "asked_at": "2026-11-26 20:00:02",
            },
            {"node": "n3", "act": "join", "weight": None, "asked": "", "asked_at": None},
            {"node": "n5", "act": "join", "asked": "", "asked_at": None, "consented": True},
        ]
        self.daemon.pages["changes"] = {
            **changes(rate_keys_per_s=None, seconds_left=None, of_keys=None, keys=1, removed=7),
            "queue": queue,
            "paused": True,
        }
        self.assertEqual(
            self.lines("changes"),
            [
                "paused: copying to where it will belong (n2): 1 key",
                "3,000 copies made (3.0 GiB), 7 removed in 1 minute 1 second",
                "repair is paused, and every change with it: aosctl repair start goes on",
                "WAITS  TO                    ASKED",
                "n1     weigh 0.5             2026-11-26 20:00:00 UTC",
                "n2     rezone rack1          2026-11-26 20:00:01 UTC",
                "n4     weigh 2 and rezone r  2026-11-26 20:00:02 UTC",
                "n3     join                  by discovery",
                "n5     adopt                 by an operator",
            ],
        )

    def test_what_keeps_it_from_being_over(self) -> None:
        told = {**changes(keys=0), "waiting_for": "an upload is open on n2"}
        self.daemon.pages["changes"] = told
        self.assertEqual(
            self.lines("changes")[0],
            "copying to where it will belong (n2): an upload is open on n2",
        )

    def test_waiting(self) -> None:
        self.daemon.pages["changes"] = [
            changes(),
            {**QUIET, "queue": [{"node": "n3", "act": "join"}]},
            {**QUIET, "leaving": {"phase": "mending"}},
            {**QUIET, "leaving": {"phase": "left"}},
        ]
        result = self.run_aosctl("changes", "--wait")
        self.assertEqual(result.stdout, "leaving, left\n")
        self.assertEqual(
            result.stderr.splitlines()[1:],
            ["waiting for its turn", "leaving, mending"],
        )
        self.assertEqual(self.now_s, 3)


class RepairTests(AosctlCase):
    def test_status(self) -> None:
        self.daemon.pages["repair"] = REPAIR
        self.assertEqual(
            self.lines("repair", "status"),
            [
                "paused: no sweep is begun; aosctl repair start goes on",
                "not settled: node n1 is down",
                "1 key marked as in doubt; 1,200 deletes remembered",
                "sweep: 12,000 keys compared, 5 copies missing, 4 made, now at b/k, in 6 seconds",
                "last sweep: 3 keys compared, in less than a second",
                "kept on n1: b/k: no stamp",
            ],
        )
        self.assertEqual(self.document("repair", "status"), REPAIR)

    def test_start_and_pause(self) -> None:
        settled = {"settled": True, "unsettled": [], "marks": 0, "journal": 0, "sweep": None}
        for act in ("start", "pause"):
            self.daemon.pages = {f"repair/{act}": settled}
            self.daemon.asked = []
            self.assertEqual(
                self.lines("repair", act),
                [
                    "settled: every copy is where it belongs, for all that is known",
                    "0 keys marked as in doubt; 0 deletes remembered",
                    "no sweep runs",
                ],
            )
            self.assertEqual(self.daemon.asked, [f"POST repair/{act}"])

    def test_what_a_pause_would_hold_back(self) -> None:
        queue = [
            {"node": "n1", "act": "weigh", "weight": 0.5},
            {"node": "n3", "act": "drain"},
        ]
        told = {"sweep": REPAIR["sweep"], "changes": {**changes(), "queue": queue}}
        self.daemon.pages["repair/pause"] = told
        last = (
            "no sweep would begin until aosctl repair start; marked keys would be mended all "
            "the same"
        )
        self.assertEqual(
            self.lines("repair", "pause", "--dry-run"),
            [
                "the sweep that runs would end: 12,000 keys compared, 5 copies missing, 4 made, "
                "now at b/k, in 6 seconds",
                "would stand still: copying to where it will belong (n2): 12,000 of 100,000 keys, "
                "1,950 keys/s, 45 seconds left",
                "would wait: weigh 0.5 of n1 and drain of n3",
                last,
            ],
        )
        self.assertEqual(self.daemon.asked, ["POST repair/pause?dry_run=1"])
        self.assertEqual(self.document("repair", "pause", "--dry-run"), told)
        self.daemon.pages["repair/pause"] = {"sweep": None, "changes": QUIET}
        self.assertEqual(
            self.lines("repair", "pause", "--dry-run"),
            ["no sweep runs, no change is under way, and none waits", last],
        )
        for phase, lines in (
            ("mending", ["would stand still: leaving, mending: 2 marks", last]),
            ("left", ["no sweep runs, no change is under way, and none waits", last]),
        ):
            leaving = {"phase": phase, "waits": ["2 marks"]}
            self.daemon.pages["repair/pause"] = {"changes": {**QUIET, "leaving": leaving}}
            self.assertEqual(self.lines("repair", "pause", "--dry-run"), lines)

    def test_a_pause_of_what_is_paused(self) -> None:
        told = {"sweep": None, "changes": {**changes(keys=0), "paused": True}}
        self.daemon.pages["repair/pause"] = told
        self.assertEqual(
            self.lines("repair", "pause", "--dry-run"),
            [
                "it is paused already: nothing would be otherwise",
                "stands still: copying to where it will belong (n2): 0 of 100,000 keys, "
                "1,950 keys/s, 45 seconds left",
            ],
        )

    def test_what_a_sweep_would_find(self) -> None:
        told = {
            "keys": 1_000,
            "bytes": 1024**2,
            "moved_keys": 2,
            "moved_bytes": 2048,
            "moved_share": 0.001,
            "seconds": 5.0,
            "seconds_are": "measured",
            "nodes": {"n1": {"copies_in": 2, "bytes_in": 2048, "seconds": 0.5}},
            "unlisted": ["n2"],
        }
        self.daemon.pages["repair/start"] = told
        self.assertEqual(
            self.lines("repair", "start", "--dry-run"),
            [
                "1,000 keys in all, 1.0 MiB",
                "2 keys would move, 2.0 KiB: 0.1% of all copies",
                "it takes about 5 seconds",
                "n2 couldn't be listed: what it alone holds isn't in this",
                "NODE  IN    BYTES   TIME",
                "n1     2  2.0 KiB  < 1 s",
            ],
        )
        self.assertEqual(self.daemon.asked, ["POST repair/start?dry_run=1"])
        self.assertIsNone(self.daemon.timeouts["repair/start"])
        self.assertEqual(self.document("repair", "start", "--dry-run"), told)


class ExplainTests(AosctlCase):
    def told(self, **more: Any) -> dict[str, Any]:
        def place(name: str, role: str, state: str = "up") -> dict[str, Any]:
            return {"name": name, "role": role, "zone": name, "state": state}

        def copy(stamp: str | None, found: str, counts: str, **also: Any) -> dict[str, Any]:
            told = {"stamp": stamp, "at": stamp and "2026-11-26T20:00:00.730Z", "size": 2048}
            return {**told, "counts_as": counts, "is": found, "belongs": True, **also}

        return {
            "bucket": "photos",
            "key": "2026/film",
            "ring": "r",
            "partition": 17,
            "why": "node n2 is down",
            "version": {
                "stamp": STAMP,
                "at": "2026-11-26T20:00:00.730Z",
                "etag": "e",
                "size": 2048,
                "holders": ["n1", "n4"],
            },
            "order": [
                place("n1", "primary"),
                place("n2", "primary", "down"),
                place("n3", "handoff"),
                place("n5", "none"),
            ],
            "copies": {
                "n1": copy(STAMP, "newest", STAMP),
                "n2": {"error": "it can't be asked now"},
                "n3": None,
                "n4": copy(
                    None, "older", STAMP, belongs=False, size=1024, counts_at="2025-01-01T00:00:00Z"
                ),
            },
            "former_order": [place("n4", "primary"), place("n1", "primary"), place("n5", "none")],
            "strays": ["n4"],
            "deleted_at": "2026-11-26 19:00:00",
            "journal": {
                "deleted": STAMP,
                "bucket_deleted": None,
                "restamped": [{"was": STAMP, "counts_as": LATER}],
            },
            "marks": [
                {
                    "at": "2026-11-26 20:01:00",
                    "nodes": ["n1", "n2"],
                    "silent": ["n2"],
                    "whole_partition": False,
                }
            ],
            "turn": {"taken": True, "waiting": 1},
            "verdict": "The newest copy counts.",
            **more,
        }

    def test_the_page(self) -> None:
        self.daemon.pages["explain"] = self.told()
        self.assertEqual(
            self.lines("explain", "photos/2026/film"),
            [
                "photos/2026/film",
                "2.0 KiB, written 2026-11-26 20:00:00 UTC, on n1 and n4",
                f"ETag e, stamp {STAMP}",
                "",
                "Order, of partition 17 of ring r",
                "NODE  ROLE         STATE  COPY     WRITTEN                     SIZE",
                "n1    primary      up     newest   2026-11-26 20:00:00 UTC  2.0 KiB",
                "n2    primary      down   unknown",
                "n3    handoff      up     none",
                "n5                 up",
                "n4    was primary  up     older    2025-01-01 00:00:00 UTC  1.0 KiB",
                f"n1: stamp {STAMP}",
                "n2: it can't be asked now",
                f"n4: no stamp, aosd didn't write it, counts as {STAMP}; it doesn't belong there",
                "before the change under way it belonged on n4 and n1",
                "asked for every key, until they are sorted out: n4",
                "",
                "On record",
                f"deleted 2026-11-26 19:00:00 UTC, stamp {STAMP}",
                f"what is stamped {STAMP} counts as {LATER}",
                "marked 2026-11-26 20:01:00 UTC: the key may differ on n1 and n2; no answer came "
                "from n2",
                "a change of it takes effect just now; 1 other waits",
                "its partition isn't settled: node n2 is down",
                "",
                "Verdict",
                "The newest copy counts.",
            ],
        )
        self.assertEqual(self.daemon.asked, ["GET explain?bucket=photos&key=2026/film"])

    def test_a_size_that_all_have_stands_above_the_table(self) -> None:
        told = self.told()
        told["copies"]["n4"]["size"] = 2048
        self.daemon.pages["explain"] = told
        self.assertIn(
            "n1    primary      up     newest   2026-11-26 20:00:00 UTC",
            self.lines("explain", "photos/2026/film"),
        )

    def test_nothing_there(self) -> None:
        self.daemon.pages["explain"] = self.told(
            version=None, copies={}, journal={}, marks=[], turn={}, why="", former_order=None
        )
        lines = self.lines("explain", "s3://photos/2026/film")
        self.assertEqual(lines[1], "no version counts: there is no such object")
        self.assertIn("no delete, no mark", lines)
        self.assertIn("its partition is settled", lines)

    def test_what_is_no_key(self) -> None:
        for path in ("photos", "photos/", "/key", ""):
            self.assertIn("is no BUCKET/KEY", self.refused("explain", path, code=2))


class DoctorTests(AosctlCase):
    def check(self, what: str, ok: bool | None, found: str, do: str = "") -> dict[str, Any]:
        return {"what": what, "ok": ok, "found": found, "do": do}

    def test_healthy(self) -> None:
        told = {
            "healthy": True,
            "nodes": [{"name": "n1", "checks": [self.check("reachable", True, "it answers")]}],
            "cluster": [self.check("ready", True, "it is")],
        }
        self.daemon.pages["doctor"] = told
        self.assertEqual(
            self.lines("doctor"),
            [
                "NODE     CHECK      IS  FOUND",
                "n1       reachable  ok  it answers",
                "cluster  ready      ok  it is",
                "",
                "healthy",
            ],
        )
        self.assertEqual(self.document("doctor"), told)

    def test_what_is_to_be_done(self) -> None:
        checks = [
            self.check("reachable", True, "it answers"),
            self.check("clock", True, "2 s off", "use NTP"),
            self.check("probe", False, "full", "give it space"),
            self.check("space", None, "not known", "give it space"),
        ]
        told = {"healthy": False, "nodes": [{"name": "n1", "checks": checks}], "cluster": []}
        self.daemon.pages["doctor"] = told
        self.assertEqual(
            self.lines("doctor", code=4),
            [
                "NODE  CHECK      IS       FOUND",
                "n1    reachable  ok       it answers",
                "      clock      look     2 s off",
                "      probe      bad      full",
                "      space      unknown  not known",
                "",
                "What to do",
                "n1: use NTP",
                "n1: give it space",
                "",
                "not healthy",
            ],
        )
        self.assertEqual(self.document("doctor", code=4), told)

    def test_without_a_daemon(self) -> None:
        self.daemon.pages["doctor"] = Unreachable("no daemon answers at x")
        found = [{"name": "n1", "checks": [self.check("reachable", True, "it answers")]}]
        self.patch(doctor, "examine_nodes", lambda _: (found, ["docker: no engine"]))
        result = self.run_aosctl("doctor", code=4)
        self.assertEqual(
            result.stderr.splitlines(), ["no daemon answers at x", "looking from here:"]
        )
        self.assertIn("cluster: start it", result.stdout)
        told = self.document("doctor", code=4)
        self.assertEqual(told["nodes"], found)
        self.assertEqual([each["what"] for each in told["cluster"]], ["daemon", "discovery"])

    def test_without_nodes_either(self) -> None:
        self.daemon.pages["doctor"] = TokenUnknown("the operator's token isn't known")

        def none(_: object) -> Any:
            raise NoNodes("none")

        self.patch(doctor, "examine_nodes", none)
        told = self.document("doctor", code=4)
        self.assertEqual(told["nodes"], [])
        self.assertEqual(told["cluster"][1]["found"], "none")

    def test_of_a_daemon_elsewhere_this_hosts_nodes_arent_looked_at(self) -> None:
        self.patch(os, "environ", {})
        self.daemon.pages["doctor"] = Unreachable("no daemon answers at x")
        told = self.document("doctor", "--url", "there:3000", code=4)
        self.assertEqual(told["nodes"], [])
        self.assertIn("--nodes or AOSD_NODES says it", told["cluster"][1]["found"])
        self.patch(asking, "run", lambda _: asking.Heard({"n1": []}, {}, []))
        for words in (("--url", "there:3000", "--nodes", "dns:n1"), ("--url", "127.0.0.1:1")):
            told = self.document("doctor", *words, code=4)
            self.assertEqual([each["name"] for each in told["nodes"]], ["n1"])

    def test_a_wrong_token_is_no_finding(self) -> None:
        self.daemon.pages["doctor"] = Failed("another token", "Unauthorized")
        self.assertEqual(self.refused("doctor", code=1), "another token")


class LeaveTests(AosctlCase):
    def test_to_its_end(self) -> None:
        self.daemon.pages = {
            "leave": {"leaving": {"phase": "gathering"}, "changes": changes()},
            "changes": [
                {**changes(), "leaving": {"phase": "gathering"}},
                {**QUIET, "leaving": {"phase": "cleaning"}},
                {**QUIET, "leaving": {"phase": "left"}},
            ],
        }
        result = self.run_aosctl("leave", "--gather", "n1", "--yes")
        self.assertEqual(result.stdout, "left: the nodes hold plain objects, and nothing of aosd\n")
        self.assertEqual(self.daemon.posted(), ["leave?gather=n1"])
        self.assertEqual(
            [each.partition(":")[0] for each in result.stderr.splitlines()],
            ["leaving, gathering", "leaving, cleaning"],
        )

    def test_json(self) -> None:
        left = {**QUIET, "leaving": {"phase": "left"}}
        self.daemon.pages = {"leave": {"leaving": {"phase": "mending"}}, "changes": left}
        self.assertEqual(
            self.document("leave", "-y"), {"leaving": {"phase": "left"}, "changes": left}
        )

    def test_one_that_was_taken_back(self) -> None:
        for leaving in (None, {"phase": "going back"}):
            self.daemon.pages = {
                "leave": {"leaving": {"phase": "mending"}},
                "changes": {**QUIET, "leaving": leaving},
            }
            self.assertIn("taken back", self.run_aosctl("leave", "--yes", code=1).stderr)

    def test_taking_it_back(self) -> None:
        self.daemon.pages = {
            "leave/undo": {"leaving": {"phase": "going back"}, "changes": QUIET},
            "changes": [{**QUIET, "leaving": {"phase": "going back"}}, QUIET],
        }
        self.assertEqual(self.lines("leave", "--undo"), ["as before: this cluster isn't left"])
        self.assertEqual(self.daemon.posted(), ["leave/undo"])
        self.assertEqual(self.now_s, 1)
        error = self.refused("leave", "--undo", "--gather=n1", code=2)
        self.assertIn("--undo doesn't go with --gather", error)

    def test_what_would_be_taken_back(self) -> None:
        told: dict[str, Any] = {
            "leaving": {"phase": "gathering", "gather": "n1"},
            "weight": 2.0,
            "refusal": "",
        }
        self.daemon.pages["leave/undo"] = told
        self.assertEqual(
            self.lines("leave", "--undo", "--dry-run"),
            [
                "would be taken back: leaving, gathering",
                "n1 would weigh 2 again, and what it got above that be removed from it by sweeps",
            ],
        )
        self.assertEqual(self.daemon.asked, ["POST leave/undo?dry_run=1"])
        self.assertEqual(self.document("leave", "--undo", "--dry-run"), told)
        told = {"leaving": {"phase": "stopping writes", "gather": None}, "refusal": ""}
        self.daemon.pages["leave/undo"] = told
        self.assertEqual(
            self.lines("leave", "--undo", "--dry-run"),
            [
                "would be taken back: leaving, stopping writes",
                "writes would be taken again; uploads that were aborted stay so",
            ],
        )
        told = {"leaving": None, "weight": None, "refusal": "the cluster isn't being left"}
        self.daemon.pages["leave/undo"] = told
        self.assertEqual(
            self.refused("leave", "--undo", "--dry-run", code=1),
            "it would be refused: the cluster isn't being left",
        )
        self.assertEqual(self.document("leave", "--undo", "--dry-run", code=1), told)

    def test_what_it_waits_for(self) -> None:
        self.daemon.pages = {
            "leave": {},
            "changes": [
                {**QUIET, "leaving": {"phase": "mending", "waits": ["2 marks", "n1 is down"]}},
                {**QUIET, "leaving": {"phase": "left", "waits": []}},
            ],
        }
        shown = self.run_aosctl("leave", "-y").stderr.splitlines()
        self.assertEqual(shown, ["leaving, mending: 2 marks"])
        leaving = {"phase": "gathering", "waits": ["the ring is changing"]}
        self.daemon.pages["changes"] = [
            {**changes(keys=0), "waiting_for": "n1 is down", "leaving": leaving},
            {**QUIET, "leaving": {"phase": "left"}},
        ]
        shown = self.run_aosctl("leave", "-y").stderr.splitlines()
        self.assertEqual(shown, ["leaving, gathering: n1 is down"])

    def test_what_it_would_do(self) -> None:
        plan: dict[str, Any] = {
            "nodes": ["n1", "n2"],
            "refusal": "",
            "waits": ["2 marks"],
            "marks": 2,
            "uploads": ["b/\x1b[2J", *(f"b/u{n}" for n in range(1, 30))],
            "uploads_in_all": 1_500,
            "gather": {
                "node": "n1",
                "keys": 100_000,
                "bytes": 1024**3,
                "lacking_keys": 33_000,
                "lacking_bytes": 300 * 1024**2,
                "space_bytes": 5 * 1024**3,
            },
        }
        self.daemon.pages["leave"] = plan
        uploads = ", ".join([r"b/\x1b[2J", *(f"b/u{n}" for n in range(1, 20))])
        self.assertEqual(
            self.lines("leave", "--gather=n1", "--dry-run"),
            [
                "n1 would get a copy of 33,000 keys (300.0 MiB) that it lacks, of 100,000; it has "
                "space for 5.0 GiB",
                "waits until this is over: 2 marks",
                f"1,500 open uploads would be aborted: {uploads} and more",
                "aos-system would be removed from n1 and n2",
            ],
        )
        self.assertEqual(self.daemon.asked, ["POST leave?gather=n1&dry_run=1"])
        self.assertEqual(self.document("leave", "--dry-run"), plan)
        self.daemon.pages["leave"] = {**plan, "refusal": "node n2 is away"}
        self.assertIn(
            "refused: node n2 is away", self.run_aosctl("leave", "--dry-run", code=1).stderr
        )

    def test_what_it_takes(self) -> None:
        share = {"copies_in": 0, "bytes_in": 0, "copies_out": 0, "bytes_out": 0, "seconds": 0.0}
        forecast: dict[str, Any] = {
            "keys": 100_000,
            "bytes": 1024**3,
            "moved_keys": 2_000,
            "moved_bytes": 20 * 1024**2,
            "moved_share": 0.01,
            "seconds": 90.0,
            "seconds_are": "measured",
            "nodes": {
                "n1": {**share, "copies_in": 2_000, "bytes_in": 20 * 1024**2, "seconds": 60.0},
                "n2": {**share, "copies_out": 300, "bytes_out": 1024, "seconds": 3.0},
                "n3": share,
            },
        }
        plan = {"nodes": ["n1", "n2", "n3"], "refusal": "", "forecast": forecast, "no_forecast": ""}
        self.daemon.pages["leave"] = plan
        in_all = "100,000 keys in all, 1.0 GiB"
        removed = "aos-system would be removed from n1, n2 and n3"
        self.assertEqual(
            self.lines("leave", "--dry-run"),
            [
                in_all,
                "2,000 keys would move, 20.0 MiB: 1.0% of all copies",
                "it takes about 1 minute 30 seconds",
                "NODE     IN     BYTES  OUT    BYTES   TIME",
                "n1    2,000  20.0 MiB                1 min",
                "n2                     300  1.0 KiB    3 s",
                removed,
            ],
        )
        nodes_then = {"n2": forecast["nodes"]["n2"]}
        left_over = {**forecast, "moved_keys": 0, "seconds": 33.0, "nodes": nodes_then}
        self.daemon.pages["leave"] = {**plan, "forecast": left_over}
        self.assertEqual(
            self.lines("leave", "--dry-run")[:3],
            [in_all, "300 copies would be removed", "it takes about 33 seconds"],
        )
        nothing = {**forecast, "moved_keys": 0, "nodes": {"n3": share}}
        self.daemon.pages["leave"] = {**plan, "forecast": nothing}
        self.assertEqual(self.lines("leave", "--dry-run"), [in_all, "nothing would move", removed])

    def test_what_it_takes_isnt_known(self) -> None:
        plan = {"nodes": ["n1"], "refusal": "", "forecast": None, "no_forecast": "no node is up"}
        self.daemon.pages["leave"] = plan
        unknown = "how long it takes isn't known: no node is up"
        removed = "aos-system would be removed from n1"
        self.assertEqual(self.lines("leave", "--dry-run"), [unknown, removed])
        why = "node n2 is away"
        self.daemon.pages["leave"] = {**plan, "refusal": why, "no_forecast": why}
        shown = self.run_aosctl("leave", "--dry-run", code=1)
        self.assertEqual(shown.stdout.splitlines(), [removed])
        self.assertIn(f"refused: {why}", shown.stderr)

    def test_nobody_to_ask(self) -> None:
        self.assertIn("--yes does it", self.refused("leave", code=2))
        self.assertEqual(self.daemon.asked, [])


class CompletionTests(AosctlCase):
    def test_scripts(self) -> None:
        for shell, word in (("zsh", "compdef"), ("fish", "complete --no-files")):
            self.assertIn(word, self.run_aosctl("completion", shell).stdout)
        self.assertIn("tcsh", self.refused("completion", "tcsh", code=2))

    def complete(self, *words: str) -> list[str]:
        call = Call(reach=lambda _: self.daemon)
        *before, incomplete = words
        completing = ShellComplete(main, {"obj": call}, "aosctl", "_AOSCTL_COMPLETE")
        return [each.value for each in completing.get_completions(list(before), incomplete)]

    def test_names_of_nodes(self) -> None:
        self.daemon.pages["nodes"] = nodes(node("n1"), node("n2"), node("x"))
        self.assertEqual(self.complete("node", "drain", "n"), ["n1", "n2"])
        self.assertEqual(self.complete("leave", "--gather", ""), ["n1", "n2", "x"])
        self.assertEqual(self.daemon.timeouts, {"nodes": 1.0})

    def test_silence_on_failure(self) -> None:
        for answer in (Unreachable("no"), OSError(), {"nodes": None}, "text"):
            self.daemon.pages["nodes"] = answer
            self.assertEqual(self.complete("node", "drain", ""), [])

    def test_commands(self) -> None:
        self.assertEqual(self.complete("no"), ["nodes", "node"])
        self.assertEqual(self.complete("node", "un"), ["undo", "undrain"])
