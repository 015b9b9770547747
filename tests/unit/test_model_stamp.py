"""Stamps: text that sorts as writes came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.stamp import MOST_AHEAD_S, StampClock, is_stamp, stamp_time_s

NOW_S = 1_700_000_000.25


class StampTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now_s = NOW_S
        self.clock = StampClock(lambda: self.now_s, "1f2e3d4c")

    def test_is_fixed_width_ascii(self) -> None:
        stamp = self.clock.next()
        self.assertEqual(stamp, "018bcfe568fa-0001-1f2e3d4c")
        self.assertTrue(is_stamp(stamp))
        for text in (
            "",
            stamp[:-1],
            stamp + "0",
            stamp.upper(),
            stamp + "\n",
            "\u0660" + stamp[1:],
        ):
            self.assertFalse(is_stamp(text), text)

    def test_tells_its_second_rounded_down(self) -> None:
        self.assertEqual(stamp_time_s(self.clock.next()), 1_700_000_000)
        self.now_s += 0.74
        self.assertEqual(stamp_time_s(self.clock.next()), 1_700_000_000)
        self.now_s += 0.01
        self.assertEqual(stamp_time_s(self.clock.next()), 1_700_000_001)

    def test_tells_its_own_from_others(self) -> None:
        stamp = self.clock.next()
        self.assertTrue(self.clock.is_own(stamp))
        self.assertFalse(self.clock.is_own(stamp[:-1] + "d"))

    def test_grows_within_a_millisecond(self) -> None:
        stamps = [self.clock.next() for _ in range(70_000)]
        self.assertEqual(stamps, sorted(set(stamps)))
        # 65,536 a millisecond, and the next one is borrowed.
        self.assertEqual(stamps[-1][:12], "018bcfe568fb")

    def test_never_goes_back_with_the_time_of_day(self) -> None:
        before = self.clock.next()
        self.now_s -= 3600
        after = self.clock.next()
        self.assertGreater(after, before)
        self.assertEqual(stamp_time_s(after), stamp_time_s(before))

    def test_follows_what_it_observes(self) -> None:
        self.now_s += 60
        other = StampClock(lambda: self.now_s, "ffffffff").next()
        self.now_s -= 60
        self.assertTrue(self.clock.observe(other))
        self.assertGreater(self.clock.next(), other)

    def test_an_older_stamp_changes_nothing(self) -> None:
        old = self.clock.next()
        self.now_s += 1
        newest = self.clock.next()
        self.assertTrue(self.clock.observe(old))
        self.assertEqual(self.clock.next()[:12], newest[:12])

    def test_does_not_follow_a_stamp_from_far_ahead(self) -> None:
        for ahead_s, followed in ((MOST_AHEAD_S, True), (MOST_AHEAD_S + 0.001, False)):
            clock = StampClock(lambda: self.now_s, "1f2e3d4c")
            millis = round((self.now_s + ahead_s) * 1000)
            self.assertIs(clock.observe(f"{millis:012x}-0000-00000000"), followed)
            self.assertIs(stamp_time_s(clock.next()) > self.now_s + 60, followed)

    def test_the_last_count_observed_is_passed(self) -> None:
        stamp = "018bcfe568ff-ffff-ffffffff"
        self.assertTrue(self.clock.observe(stamp))
        self.assertEqual(self.clock.next(), "018bcfe56900-0000-1f2e3d4c")

    def test_a_gateway_id_has_its_form(self) -> None:
        for gateway_id in ("", "1f2e3d4", "1F2E3D4C", "1f2e3d4c5"):
            self.assertRaises(ValueError, StampClock, lambda: NOW_S, gateway_id)
