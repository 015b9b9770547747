"""`aosctl node`: what is asked of the daemon, and what the operator sees of it."""

from __future__ import annotations

from typing import Any
from unittest import mock

from aosd.aosctl.call import Failed, NotReady, Unreachable
from tests.unit.aosctl_case import QUIET, AosctlCase, changes, node, nodes

STANDING = {"state": "draining", "weight": 1.0, "zone": "n2"}
FORECAST: dict[str, Any] = {
    "keys": 100_000,
    "bytes": 100 * 1024**3,
    "moved_keys": 33_000,
    "moved_bytes": 33 * 1024**3,
    "moved_share": 0.165,
    "seconds": 330.0,
    "seconds_are": "assumed",
    "nodes": {
        "n1": {"copies_in": 33_000, "bytes_in": 33 * 1024**3, "copies_out": 0, "seconds": 165.0},
        "n2": {"copies_in": 0, "copies_out": 33_000, "bytes_out": 33 * 1024**3, "seconds": 12.0},
        "n3": {"copies_in": 0, "copies_out": 0, "seconds": 0.0},
    },
    "refusal": "",
    "unlisted": [],
    "conflicts": [],
    "conflicts_in_all": 0,
}


def told(*, queued: bool = False) -> dict[str, Any]:
    return {"node": "n2", "standing": STANDING, "queued": queued, "changes": changes()}


class NodeCase(AosctlCase):
    def terminal(self) -> None:
        """Somebody sits there who can be asked."""
        patched = mock.patch("click.testing._NamedTextIOWrapper.isatty", return_value=True)
        patched.start()
        self.addCleanup(patched.stop)

    def at(self, seconds: float, **pages: Any) -> None:
        """From then on the daemon answers so."""
        self.when[seconds] = lambda: self.daemon.pages.update(pages)


class AskedTests(NodeCase):
    def test_each_act_asks_for_itself(self) -> None:
        for words, page in (
            (("drain", "n2"), "nodes/n2/drain"),
            (("undrain", "n2"), "nodes/n2/undrain"),
            (("undo", "n2"), "nodes/n2/undo"),
            (("weight", "n2", "2.50"), "nodes/n2/weight?to=2.5"),
            (("weight", "n2", "0"), "nodes/n2/weight?to=0"),
            (("zone", "n2", "rack 1"), "nodes/n2/zone?to=rack 1"),
            (("remove", "n2", "--yes"), "nodes/n2/remove"),
            (("remove", "n2", "--yes", "--lose"), "nodes/n2/remove?lose=1"),
            (("adopt", "n2", "-y"), "nodes/n2/adopt"),
        ):
            self.daemon.pages = {page.partition("?")[0]: told()}
            self.daemon.asked = []
            self.run_aosctl("node", *words, "--no-wait")
            self.assertEqual(self.daemon.asked, [f"POST {page}"])

    def test_what_can_be_no_name_is_said_to_be(self) -> None:
        for name in ("a/b", ".", "n 2", "n2?", ""):
            line = self.refused("node", "drain", name, "--no-wait", code=1)
            self.assertIn("no node can be called", line)
        self.assertEqual(self.daemon.asked, [])

    def test_without_waiting(self) -> None:
        self.daemon.pages = {"nodes/n2/drain": told()}
        self.assertEqual(
            self.lines("node", "drain", "n2", "--no-wait"),
            ["n2: draining; aosctl changes shows how far it is"],
        )
        self.assertEqual(self.document("node", "drain", "n2", "--no-wait"), told())

    def test_weights_out_of_bounds(self) -> None:
        for weight in ("0.05", "101", "nan", "inf", "many"):
            self.assertIn("WEIGHT", self.refused("node", "weight", "n2", weight, code=2))
        self.assertIn(
            "100.00001 is none", self.refused("node", "weight", "n2", "100.00001", code=2)
        )
        self.assertEqual(self.daemon.asked, [])

    def test_what_the_daemon_refuses(self) -> None:
        self.daemon.pages = {"nodes/n2/drain": Failed("it would be the last", "ChangeRefused")}
        self.assertEqual(self.refused("node", "drain", "n2", code=1), "it would be the last")
        self.assertEqual(
            self.document("node", "drain", "n2", code=1),
            {"error": "it would be the last", "code": "ChangeRefused"},
        )
        self.daemon.pages = {"nodes/n2/drain": NotReady("not now: the cluster is being founded")}
        self.refused("node", "drain", "n2", code=4)


class WaitingTests(NodeCase):
    def test_a_drain_to_its_end(self) -> None:
        self.daemon.pages = {
            "nodes/n2/drain": told(queued=True),
            "nodes": nodes(node("n1"), node("n2", queued={"act": "drain"})),
            "changes": changes(),
        }
        self.at(3, nodes=nodes(node("n1"), node("n2", membership="draining")))
        self.at(5, changes=changes("emptying"))
        self.at(30, nodes=nodes(node("n1"), node("n2", membership="drained")), changes=QUIET)
        result = self.run_aosctl("node", "drain", "n2")
        self.assertEqual(result.stdout, "n2: drained: it holds nothing\n")
        how_far = "12,000 of 100,000 keys, 1,950 keys/s, 45 seconds left"
        self.assertEqual(
            result.stderr.splitlines(),
            [
                "n2: waits until the change under way is over",
                f"copying to where it will belong (n2): {how_far}",
                f"moving what is left (n2): {how_far}",
                f"moving what is left (n2): {how_far}",
                f"moving what is left (n2): {how_far}",
            ],
        )
        self.assertEqual(self.now_s, 30)

    def test_json_is_one_document(self) -> None:
        self.daemon.pages = {
            "nodes/n2/drain": told(queued=True),
            "nodes": nodes(node("n2", membership="drained")),
            "changes": QUIET,
        }
        document = self.document("node", "drain", "n2")
        self.assertEqual(document, {**told(), "changes": QUIET})

    def test_one_that_was_taken_back(self) -> None:
        for words, now in (
            (("drain", "n2"), node("n2")),
            (("weight", "n2", "0"), node("n2")),
            (("weight", "n2", "2"), node("n2")),
            (("zone", "n2", "r1"), node("n2")),
            (("undrain", "n2"), node("n2", membership="drained")),
            (("remove", "n2", "--yes"), node("n2")),
        ):
            self.daemon.pages = {
                f"nodes/n2/{words[0]}": told(),
                "nodes": nodes(now),
                "changes": QUIET,
            }
            result = self.run_aosctl("node", *words, code=1)
            self.assertEqual(result.stdout, "")
            self.assertIn("was taken back", result.stderr)

    def test_what_each_ends_with(self) -> None:
        for words, now in (
            (("undrain", "n2"), node("n2")),
            (("undo", "n2"), node("n2")),
            (("undo", "n2"), node("n2", membership="drained")),
            (("weight", "n2", "2"), node("n2", weight=2.0)),
            (("weight", "n2", "0"), node("n2", membership="drained")),
            (("zone", "n2", "r1"), node("n2", zone="r1")),
            (("adopt", "n2", "-y"), node("n2")),
            (("remove", "n2", "-y"), node("n2", membership="removed")),
            (("remove", "n2", "-y"), node("n1")),
        ):
            self.daemon.pages = {
                f"nodes/n2/{words[0]}": told(),
                "nodes": nodes(now),
                "changes": QUIET,
            }
            self.now_s = 0.0
            self.run_aosctl("node", *words)
            self.assertEqual(self.now_s, 0.0)

    def test_what_an_undoing_comes_to(self) -> None:
        for now, words in (
            (node("n2"), "as it was before"),
            (
                node("n2", membership="drained"),
                "taken back: it is drained, and what it held lies on others",
            ),
            (node("n2", membership="removed"), "taken back: it isn't taken in"),
            (node("n2", membership=None, reason="adopt it"), "taken back: it isn't taken in"),
        ):
            self.daemon.pages = {"nodes/n2/undo": told(), "nodes": nodes(now), "changes": QUIET}
            self.now_s = 0.0
            self.assertEqual(self.lines("node", "undo", "n2"), [f"n2: {words}"])
            self.assertEqual(self.now_s, 0.0)

    def test_what_isnt_over_yet(self) -> None:
        for act, now in (
            ("adopt", nodes()),
            ("adopt", nodes(node("n2", membership=None))),
            ("adopt", nodes(node("n2", membership="joining"))),
            ("adopt", nodes(node("n2", adopted=True))),
            ("undo", nodes(node("n2", coming={"weight": 1.0, "zone": "n2"}))),
            ("remove", nodes(node("n2", membership="removing"))),
        ):
            self.daemon.pages = {f"nodes/n2/{act}": told(), "nodes": now, "changes": QUIET}
            over = "removed" if act == "remove" else "member"
            self.now_s = 0.0
            self.at(7, nodes=nodes(node("n2", membership=over)))
            self.run_aosctl("node", act, "n2", "--yes")
            self.assertEqual(self.now_s, 7)

    def test_why_a_node_isnt_taken_in(self) -> None:
        strange = node("n2", membership=None, reason="versioning is on")
        self.daemon.pages = {
            "nodes/n2/adopt": told(),
            "nodes": nodes(strange),
            "changes": QUIET,
        }
        self.at(2, changes=changes())
        self.at(4, nodes=nodes(node("n2", membership="removed")), changes=QUIET)
        self.at(6, nodes=nodes(node("n2")))
        shown = self.run_aosctl("node", "adopt", "n2", "--yes").stderr.splitlines()
        self.assertEqual(
            [each.partition(" (")[0] for each in shown],
            [
                "n2: versioning is on",
                "copying to where it will belong",
                "n2 is being looked at",
            ],
        )

    def test_an_adoption_that_nobody_knows_of_any_more(self) -> None:
        waits = node("n2", membership=None, consented=True, reason="it waits for the change of n1")
        self.daemon.pages = {"nodes/n2/adopt": told(), "nodes": nodes(waits), "changes": changes()}
        self.at(3, nodes=nodes(node("n2", membership=None, consented=False, reason="not reached")))
        foreign = node("n2", membership=None, consented=False, reason="it has objects: adopt it")
        self.at(9, nodes=nodes(foreign))
        shown = self.run_aosctl("node", "adopt", "n2", "--yes", code=1).stderr.splitlines()
        self.assertIn("aosctl node adopt n2 asks for it once more", shown[-1])
        self.assertEqual(self.now_s, 9)

    def test_a_daemon_that_is_started_again(self) -> None:
        self.daemon.pages = {
            "nodes/n2/drain": told(),
            "nodes": nodes(node("n2", membership="drained")),
            "changes": Unreachable("no daemon answers"),
        }
        self.at(119, changes=NotReady("it isn't ready"))
        self.at(119.5, changes=QUIET)
        result = self.run_aosctl("node", "drain", "n2")
        self.assertEqual(
            result.stderr.splitlines(),
            [
                "trying again: no daemon answers",
                "trying again: it isn't ready",
            ],
        )

    def test_one_that_stays_away(self) -> None:
        self.daemon.pages = {
            "nodes/n2/drain": told(),
            "changes": Unreachable("no daemon answers"),
        }
        result = self.run_aosctl("node", "drain", "n2", code=3)
        self.assertEqual(result.stderr.splitlines()[-1], "aosctl: no daemon answers")
        self.assertEqual(self.now_s, 120)

    def test_an_operator_who_goes(self) -> None:
        self.daemon.pages = {
            "nodes/n2/drain": told(),
            "nodes": nodes(node("n2", membership="draining")),
            "changes": [changes(), KeyboardInterrupt()],
        }
        result = self.run_aosctl("node", "drain", "n2", code=130)
        self.assertEqual(
            result.stderr.splitlines()[-1],
            "aosctl: the drain of n2 goes on: aosctl changes shows how far it is, "
            "aosctl node undo n2 takes it back",
        )
        self.daemon.pages["changes"] = KeyboardInterrupt()
        found = self.document("node", "drain", "n2", code=130)
        self.assertEqual(found["code"], "Interrupted")


class DryRunTests(NodeCase):
    def test_what_it_would_take(self) -> None:
        self.daemon.pages = {"nodes/n2/drain": FORECAST}
        self.assertEqual(
            self.lines("node", "drain", "n2", "--dry-run"),
            [
                "100,000 keys in all, 100.0 GiB",
                "33,000 keys would move, 33.0 GiB: 16.5% of all copies",
                "it takes about 5 minutes 30 seconds, as a guess: nothing was copied yet to "
                "measure it by",
                "NODE      IN     BYTES     OUT     BYTES        TIME",
                "n1    33,000  33.0 GiB                    2 min 45 s",
                "n2                      33,000  33.0 GiB        12 s",
            ],
        )
        self.assertEqual(self.daemon.posted(), ["nodes/n2/drain?dry_run=1"])
        # It goes through all listings, and takes as long as they are.
        self.assertIsNone(self.daemon.timeouts["nodes/n2/drain"])

    def test_every_act_can_be_tried(self) -> None:
        for words, page in (
            (("weight", "n2", "2"), "nodes/n2/weight?to=2&dry_run=1"),
            (("remove", "n2", "--lose"), "nodes/n2/remove?lose=1&dry_run=1"),
            (("adopt", "n2"), "nodes/n2/adopt?dry_run=1"),
            (("zone", "n2", "r"), "nodes/n2/zone?to=r&dry_run=1"),
            (("undo", "n2"), "nodes/n2/undo?dry_run=1"),
        ):
            self.daemon.pages = {page.partition("?")[0]: FORECAST}
            self.daemon.asked = []
            self.assertEqual(self.document("node", *words, "--dry-run"), FORECAST)
            self.assertEqual(self.daemon.asked, [f"POST {page}"])

    def test_fewer_copies(self) -> None:
        self.daemon.pages = {"nodes/n2/drain": {**FORECAST, "copies_each": 1, "copies_each_now": 2}}
        lines = self.lines("node", "drain", "n2", "--dry-run")
        self.assertIn("too few nodes would be left: 1 copy of each key instead of 2", lines)

    def test_nothing_to_move(self) -> None:
        self.daemon.pages = {"nodes/n2/undo": {"keys": 1, "bytes": 12, "unlisted": ["n3"]}}
        self.assertEqual(
            self.lines("node", "undo", "n2", "--dry-run"),
            [
                "1 key in all, 12 bytes",
                "nothing would move",
                "n3 couldn't be listed: what it alone holds isn't in this",
            ],
        )

    def test_one_that_would_be_refused(self) -> None:
        forecast = {**FORECAST, "refusal": "n2 has the last copy of object/a"}
        self.daemon.pages = {"nodes/n2/remove": forecast}
        result = self.run_aosctl("node", "remove", "n2", "--dry-run", code=1)
        self.assertIn("100,000 keys in all", result.stdout)
        self.assertEqual(
            result.stderr, "aosctl: it would be refused: n2 has the last copy of object/a\n"
        )
        self.assertEqual(self.document("node", "remove", "n2", "--dry-run", code=1), forecast)

    def test_conflicts(self) -> None:
        conflicts = [
            {"bucket": "b", "key": f"k{n:02}", "wins": "cluster", "loses": "n2", "why": "newer"}
            for n in range(25)
        ]
        forecast = {**FORECAST, "conflicts": conflicts, "conflicts_in_all": 1_234}
        self.daemon.pages = {"nodes/n2/adopt": forecast}
        lines = self.lines("node", "adopt", "n2", "--dry-run")
        at = lines.index("1,234 keys are there twice with different bytes; one of the two is lost:")
        self.assertEqual(lines[at + 1].split(), ["KEY", "WINS", "LOSES", "WHY"])
        self.assertEqual(lines[at + 2].split(), ["b/k00", "cluster", "n2", "newer"])
        self.assertEqual(lines[at + 21].split()[0], "b/k19")
        self.assertEqual(lines[at + 22 :], ["and 1,214 more: --dry-run --json lists the first 25"])

    def test_a_few_conflicts(self) -> None:
        one = {"bucket": "b", "key": "k", "wins": "n2", "loses": "cluster", "why": "it is later"}
        for count, last in (
            (1, "b/k  n2    cluster  it is later"),
            (21, "and 1 more: --dry-run --json lists them"),
        ):
            forecast = {**FORECAST, "conflicts": [one] * count, "conflicts_in_all": count}
            self.daemon.pages = {"nodes/n2/adopt": forecast}
            self.assertEqual(self.lines("node", "adopt", "n2", "--dry-run")[-1], last)

    def test_what_loses_nothing_isnt_said_to(self) -> None:
        kept = {"bucket": "b", "key": "a//b", "wins": "", "loses": "", "why": "it is left there"}
        lost = {"bucket": "b", "key": "k", "wins": "n2", "loses": "cluster", "why": "it is later"}
        for conflicts, head in (
            ([kept], "1 key needs a look; nothing is lost:"),
            ([kept, lost], "2 keys need a look; what LOSES names is lost:"),
        ):
            told = {**FORECAST, "conflicts": conflicts, "conflicts_in_all": len(conflicts)}
            self.daemon.pages = {"nodes/n2/adopt": told}
            lines = self.lines("node", "adopt", "n2", "--dry-run")
            at = lines.index(head)
            self.assertEqual(lines[at + 2].split(maxsplit=1), ["b/a//b", "it is left there"])

    def test_a_key_is_one_line_and_tells_a_terminal_nothing(self) -> None:
        key = "a\nb\x1b]0;c\x9b2J\u202e"
        one = {"bucket": "b", "key": key, "wins": "n2", "loses": "cluster", "why": "it is later"}
        told = {**FORECAST, "conflicts": [one], "conflicts_in_all": 1}
        self.daemon.pages = {"nodes/n2/adopt": told}
        shown = self.lines("node", "adopt", "n2", "--dry-run")[-1]
        self.assertEqual(shown, r"b/a\nb\x1b]0;c\x9b2J\u202e  n2    cluster  it is later")
        self.assertEqual(self.document("node", "adopt", "n2", "--dry-run"), told)
        self.daemon.pages = {"nodes/n2/remove": Failed(f"the last copy of b/{key}")}
        line = self.refused("node", "remove", "n2", "--yes", code=1)
        self.assertEqual(line, r"the last copy of b/a b\x1b]0;c\x9b2J\u202e")


class SureTests(NodeCase):
    def test_nobody_to_ask(self) -> None:
        for act in ("remove", "adopt"):
            line = self.refused("node", act, "n2", code=2)
            self.assertIn("--yes does it, --dry-run shows", line)
            found = self.document("node", act, "n2", code=2)
            self.assertIn("--yes does it", found["error"])
            self.assertEqual(found["code"], "WronglyCalled")
        self.assertEqual(self.daemon.asked, [])

    def test_no(self) -> None:
        self.terminal()
        self.daemon.pages = {"nodes/n2/remove": FORECAST}
        for said in ("n\n", "\n"):
            result = self.run_aosctl("node", "remove", "n2", input=said, code=1)
            self.assertEqual(result.stdout, "")
            self.assertIn("100,000 keys in all", result.stderr)
            self.assertIn("n2 is taken out for good", result.stderr)
            self.assertIn("nothing was changed", result.stderr)
        self.assertEqual(self.daemon.posted(), ["nodes/n2/remove?dry_run=1"] * 2)

    def test_yes(self) -> None:
        self.terminal()
        self.daemon.pages = {"nodes/n2/remove": [FORECAST, told()]}
        result = self.run_aosctl("node", "remove", "n2", "--no-wait", input="y\n")
        self.assertIn("n2: being removed", result.stdout)
        self.assertEqual(self.daemon.posted(), ["nodes/n2/remove?dry_run=1", "nodes/n2/remove"])

    def test_nobody_is_asked_of_what_would_be_refused(self) -> None:
        self.terminal()
        self.daemon.pages = {"nodes/n2/adopt": {**FORECAST, "refusal": "it is no stranger"}}
        result = self.run_aosctl("node", "adopt", "n2", input="y\n", code=1)
        self.assertNotIn("Do it?", result.output)
        self.assertEqual(self.daemon.posted(), ["nodes/n2/adopt?dry_run=1"])

    def test_what_is_harmless_asks_nothing(self) -> None:
        self.terminal()
        self.daemon.pages = {"nodes/n2/drain": told()}
        self.run_aosctl("node", "drain", "n2", "--no-wait", input="")
        self.assertEqual(self.daemon.posted(), ["nodes/n2/drain"])
