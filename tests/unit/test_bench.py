"""How the benchmark judges, keeps and shows what it measured."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from twisted.trial.unittest import SynchronousTestCase

from bench import history, page
from bench.chart import chart
from bench.flame import flame_graph
from bench.goals import Goal, judge
from bench.history import Run
from bench.load import Sample
from bench.report import verdict
from bench.rounds import Figure, Row, best, measure

RATES = Goal("rates", "figure", target="ours", against="theirs", must=0.5, goal=0.75)
TIMES = Goal("times", "figure", "ours", "theirs", of="p99_ms", must=3, goal=2, less=True)
GROWTH = Goal("growth", "figure", "ours", None, unit="MiB", must=64, less=True)
PLACE = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"


def row(ours: list[float], theirs: list[float], name: str = "figure") -> Row:
    def samples(rates: list[float]) -> list[Sample]:
        return [Sample(rate=each, cpu=1.0, p99_ms=each) for each in rates]

    return Row(name, "requests/s", "µs", {"ours": samples(ours), "theirs": samples(theirs)})


def run(when: str, *rows: Row) -> Run:
    return Run(when, "abc", {"cores": "2"}, 7, rows)


class GoalsTests(SynchronousTestCase):
    def test_a_ratio_is_the_median_of_the_rounds_ratios(self) -> None:
        # The medians are 20 and 20; the rounds' ratios are 10, 1 and 0.2.
        (judged,) = judge([row([100, 20, 1], [10, 20, 5])], [RATES])
        self.assertEqual((judged.value, judged.own, judged.others), (1.0, 20, 10))

    def test_more_and_less_are_told_apart(self) -> None:
        told = [
            [verdict(each) for each in judge([row([ours], [10 / 3])], [RATES, TIMES])]
            for ours in (1, 5, 9)
        ]
        self.assertEqual(told[0], ["**missed**", "met, and the goal"])
        self.assertEqual(told[1], ["met, and the goal", "met, and the goal"])
        self.assertEqual(told[2], ["met, and the goal", "met"])

    def test_a_value_on_its_own_is_compared_with_the_bound(self) -> None:
        told = [judge([row([grown], [1])], [GROWTH])[0].meets_must for grown in (64, 65)]
        self.assertEqual(told, [True, False])

    def test_what_was_not_measured_is_not_judged(self) -> None:
        self.assertEqual(judge([row([1], [1], "another")], [RATES]), [])


class RoundsTests(SynchronousTestCase):
    def test_targets_take_turns_and_each_begins_a_round(self) -> None:
        asked: list[str] = []

        def ask(name: str) -> Sample:
            asked.append(name)
            return Sample(rate=float(len(asked)), cpu=None)

        figure = Figure("f", "", "", {name: lambda name=name: ask(name) for name in "abc"})
        (told,) = measure([figure], 2, lambda _: None)
        self.assertEqual("".join(asked), "abc" + "abc" + "bca")
        self.assertEqual([each.rate for each in told.samples["a"]], [4.0, 9.0])

    def test_the_best_is_best_by_its_median(self) -> None:
        rates = {"steady": [5.0, 5.0, 5.0], "lucky": [1.0, 99.0, 1.0]}
        asks = {name: lambda left=left: Sample(left.pop(), None) for name, left in rates.items()}
        self.assertEqual(best(asks, 3), "steady")


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_a_run_is_read_as_it_was_saved(self) -> None:
        kept = run("2026-01-02T03:04:05Z", row([1, 2], [3, 4]))
        kept.save(self.folder)
        self.assertEqual([each.as_json() for each in history.read(self.folder)], [kept.as_json()])

    def test_the_newest_of_each_figure_counts(self) -> None:
        from bench.goals import AOSD, GET_SMALL, NGINX, PUT_SMALL, STANDARD

        def figure(name: str, rate: float) -> Row:
            targets = {AOSD: rate, NGINX: 10.0, STANDARD: 1.0}
            return Row(name, "", "", {who: [Sample(each, None)] for who, each in targets.items()})

        old = run("2026-01-01T00:00:00Z", figure(GET_SMALL, 1), figure(PUT_SMALL, 2))
        new = run("2026-01-02T00:00:00Z", figure(GET_SMALL, 3))
        for each in (new, old):
            each.save(self.folder)
        found = history.newest(history.read(self.folder))
        values = {judged.goal.name: (judged.value, its.when) for judged, its in found}
        self.assertEqual(values["1 KiB GET, nginx"], (0.3, new.when))
        self.assertEqual(values["1 KiB PUT, nginx"], (0.2, old.when))
        told = history.compared(judge(new.rows), history.newest([old]))
        self.assertIn("| 1 KiB GET, nginx | 0.1 | 0.3 | +200 % | 2026-01-01T00:00:00Z abc |", told)

    def test_the_page_keeps_all_but_what_was_measured(self) -> None:
        path = self.folder / "performance.md"
        path.write_text(PLACE)
        page.write([run("2026-01-01T00:00:00Z", row([1], [2]))], path)
        text = path.read_text()
        self.assertTrue(text.startswith(f"before\n{page.BEGIN}\n"))
        self.assertTrue(text.endswith(f"{page.END}\nafter\n"))
        self.assertIn("| figure | ours | 1 requests/s |", text)
        self.assertNotIn("old", text)

    def test_a_page_without_a_place_is_left_alone(self) -> None:
        path = self.folder / "performance.md"
        path.write_text("nothing")
        self.assertRaises(ValueError, page.write, [], path)
        self.assertEqual(path.read_text(), "nothing")


class ChartTests(SynchronousTestCase):
    def test_better_is_to_the_right_of_must_whichever_way_it_counts(self) -> None:
        drawn = chart(judge([row([1.0], [2.0])], [RATES, TIMES, GROWTH]))
        circles = [
            float(each.get("cx", "0"))
            for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}circle")
        ]
        # 0.5 of at least 0.5 is just met; 0.5 of at most 3 and 1 of 64 are far beyond it.
        self.assertEqual(len(circles), 3)
        self.assertLess(circles[0], circles[1])
        self.assertEqual(circles[1], circles[2])


class FlameTests(SynchronousTestCase):
    def test_frames_are_as_wide_as_their_samples_and_stand_on_their_callers(self) -> None:
        drawn = flame_graph(["a;b 3", "a;c;d 1", "e 4"], "title", least_part=0.2)
        names = {}
        for group in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}g"):
            title, rect = list(group)[:2]
            names[title.text] = [float(rect.get(each, "0")) for each in ("x", "width")]
        # c and d are too narrow to be shown, and leave their place empty.
        self.assertEqual(names, {"a 50.0%": [0, 500], "b 37.5%": [0, 375], "e 50.0%": [500, 500]})
