"""What repair does where nodes hide: it finds all folders, and removes the dead beneath a copy."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from aosd.model.errors import NodeRefused
from aosd.repair.beneath import Beneath
from aosd.repair.mend import Mender
from aosd.repair.survey import Survey
from aosd.testing.faults import refused
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, KEY, S1, S2, S3, SMALL, GatewayTestCase

DEAD = f"{KEY}/b"


class HidingTestCase(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.use(
            [
                MemoryNode(f"n{number}", now=self.clock.seconds, hides_beneath=True)
                for number in range(1, 4)
            ]
        )
        store = self.store
        self.mender = Mender(
            placement=store.placement,
            replicas=2,
            copier=store.copying,
            turns=store.turns,
            writes=store.writes,
            journal=store.journal,
            marks=store.marks,
            stamps=store.stamps,
            settled=store.settledness,
        )
        self.beneath = Beneath(self.placement, store.folders, self.mender)
        store.copying.clear_beneath = self.beneath.clear


class BeneathTests(HidingTestCase):
    def dead(self, node: MemoryNode) -> None:
        self.lay(node, SMALL, S1, DEAD)
        self.now(self.store.journal.deleted(BUCKET, DEAD, S2))
        self.unsettle()

    def mend(self) -> Any:
        return self.now(self.mender.mend(BUCKET, KEY))

    def test_what_was_deleted_beneath_goes_before_the_copy_comes(self) -> None:
        self.lay(self.a, SMALL, S3)
        self.dead(self.b)
        self.assertEqual(self.mend().copied, (self.b.name,))
        self.assertEqual(self.holders(), "ab")
        self.assertNotIn(DEAD, self.b.buckets[BUCKET])

    def test_no_copy_comes_while_it_cant_be_removed(self) -> None:
        self.lay(self.a, SMALL, S3)
        self.dead(self.b)
        self.b.script("delete", refused(), None)
        mended = self.mend()
        self.assertEqual((mended.copied, mended.agreed), ((), False))
        self.assertEqual(self.holders(), "a")
        self.assertEqual(self.letters(self.marks()[0].nodes), "b")

    def test_what_wasnt_deleted_stays(self) -> None:
        self.lay(self.a, SMALL, S3)
        self.lay(self.b, SMALL, S1, DEAD)
        self.unsettle()
        self.assertEqual(self.mend().copied, (self.b.name,))
        self.assertIn(DEAD, self.b.buckets[BUCKET])

    def clear(self, key: str) -> Deferred[None]:
        self.forget_requests()
        return self.run_(self.beneath.clear(self.b, BUCKET, key))

    def test_nobody_is_asked_where_nothing_lies_beneath(self) -> None:
        self.store.folders.completed()
        self.successResultOf(self.clear(KEY))
        self.assertEqual(self.requests(), {})

    def test_nor_for_a_marker(self) -> None:
        self.successResultOf(self.clear(f"{KEY}/"))
        self.assertEqual(self.requests(), {})

    def test_nor_on_a_node_that_hides_nothing(self) -> None:
        self.placement.hides[self.b.name] = False
        self.successResultOf(self.clear(KEY))
        self.assertEqual(self.requests(), {})

    def test_a_node_that_cant_list_gets_no_copy(self) -> None:
        self.b.script("list", refused())
        self.failureResultOf(self.clear(KEY), NodeRefused)


class SurveyTests(HidingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.survey = Survey(self.placement, self.store.settledness, self.store.folders, self.clock)
        self.survey.start()

    def swept(self, *, whole: bool = True) -> bool:
        self.survey.began()
        self.survey.ended(whole=whole)
        return self.store.folders.complete

    def test_wanted_half_a_minute_after_the_start(self) -> None:
        self.clock.advance(29)
        self.assertFalse(self.survey.wanted())
        self.clock.advance(1)
        self.assertTrue(self.survey.wanted())

    def test_one_that_saw_all_is_the_last(self) -> None:
        self.clock.advance(30)
        self.assertTrue(self.swept())
        self.clock.advance(3600)
        self.assertFalse(self.survey.wanted())

    def test_one_that_began_too_early_doesnt_count(self) -> None:
        self.clock.advance(29)
        self.assertFalse(self.swept())

    def test_one_that_missed_something_is_tried_again_later_and_later(self) -> None:
        self.clock.advance(30)
        for wait_s in (60, 120, 240):
            self.assertFalse(self.swept(whole=False))
            self.clock.advance(wait_s - 1)
            self.assertFalse(self.survey.wanted())
            self.clock.advance(1)
            self.assertTrue(self.survey.wanted())

    def test_not_while_a_member_is_away(self) -> None:
        self.clock.advance(30)
        self.down(self.a)
        self.assertFalse(self.survey.wanted())

    def test_not_where_nothing_is_hidden(self) -> None:
        self.clock.advance(30)
        self.placement.hides = dict.fromkeys(self.placement.hides, False)
        self.assertFalse(self.survey.wanted())

    def test_but_where_one_is_unknown(self) -> None:
        self.clock.advance(30)
        self.placement.hides = dict.fromkeys(self.placement.hides, False)
        self.placement.hides[self.a.name] = None
        self.assertTrue(self.survey.wanted())

    def test_not_before_all_has_landed(self) -> None:
        self.clock.advance(30)
        late_s = self.clock.seconds() + 600
        self.store.settledness.unwatched(self.a.name, late_s)
        self.assertFalse(self.survey.wanted())
        self.settle()
        self.assertFalse(self.swept())
        self.clock.advance(600)
        self.assertTrue(self.survey.wanted())
        self.survey.began()
        self.settle()
        self.survey.ended(whole=True)
        self.assertTrue(self.store.folders.complete)
