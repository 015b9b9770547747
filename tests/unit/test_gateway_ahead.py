"""Nodes that are asked ahead for a client that reads page after page."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from aosd.consistency import listed
from aosd.consistency.listed import PAGE_KEYS
from aosd.gateway import rests
from aosd.gateway.list import Listing, list_objects
from aosd.model.errors import NodeTimeout, NoQuorum
from aosd.model.objects import Entry
from aosd.testing.faults import late, timed_out
from tests.unit.gateway_case import BUCKET, etag_of
from tests.unit.pages_case import PagesTestCase


class AheadTests(PagesTestCase):
    """Of a node there is a second page's worth at hand, or it is being asked for that."""

    keys_in_all = 240

    def setUp(self) -> None:
        super().setUp()
        self.gates: list[Deferred[None]] = []
        self.given_up = 0
        self.asked()

    def hold(self, *, carried_out: bool = False) -> None:
        """Let all nodes list from now on, and their answers wait."""

        def given_up(_: Deferred[None]) -> None:
            self.given_up += 1

        def gate() -> Deferred[None]:
            self.gates.append(Deferred(given_up))
            return self.gates[-1]

        for node in self.nodes:
            node.heal()
            node.script("list", late(gate, carried_out=carried_out), times=None)

    def let_go(self) -> None:
        """Let them answer again."""
        for node in self.nodes:
            node.heal()
        gates, self.gates = self.gates, []
        for each in gates:
            each.callback(None)

    def time_out(self) -> None:
        """Let all nodes time out from now on."""
        for node in self.nodes:
            node.heal()
            node.script("list", timed_out(), times=None)

    def reading_on(self, after: str) -> Deferred[Listing]:
        return self.run_(list_objects(self.store, BUCKET, after=after, limit=10))

    def third(self, *, carried_out: bool = False) -> Listing:
        """The third page; nodes have been asked ahead, and don't answer."""
        page = self.on(self.next_page())
        self.hold(carried_out=carried_out)
        while not self.gates:
            page = self.on(page)
        return page

    def following(self, page: Listing) -> list[str]:
        first = self.keys.index(page.last) + 1
        return self.keys[first : first + 10]

    def test_not_for_a_single_page(self) -> None:
        self.next_page()
        self.assertEqual(self.asked(), len(self.nodes))
        self.assertEqual(self.store.rests.going_on, set())

    def test_all_nodes_at_once_for_who_reads_on(self) -> None:
        page = self.next_page()
        self.hold()
        following = self.reading_on(page.last)
        self.assertNoResult(following)
        self.assertEqual(len(self.gates), len(self.nodes))
        self.let_go()
        self.assertEqual(self.names(self.successResultOf(following)), self.keys[10:20])

    def test_pages_come_while_nodes_are_asked(self) -> None:
        page = self.third()
        self.assertEqual(self.names(self.on(page)), self.following(page))
        self.assertLessEqual(len(self.gates), len(self.nodes))
        self.let_go()

    def test_who_needs_an_answer_waits_for_it(self) -> None:
        page = self.third()
        found: list[str] = []
        while (waiting := self.reading_on(page.last)).called:
            page = self.successResultOf(waiting)
            found += self.names(page)
        self.assertLessEqual(len(self.gates), len(self.nodes))
        self.let_go()
        page = self.successResultOf(waiting)
        found += self.names(page)
        while page.more:
            page = self.on(page)
            found += self.names(page)
        self.assertEqual(found, self.keys[-len(found) :])

    def test_all_pages_have_all_keys(self) -> None:
        page = self.next_page()
        found = self.names(page)
        while page.more:
            page = self.on(page)
            found += self.names(page)
        self.assertEqual(found, self.keys)
        self.assertEqual(self.store.rests.going_on, set())

    def test_what_fails_before_it_is_needed_is_asked_again(self) -> None:
        page = self.on(self.next_page())
        self.time_out()
        self.asked()
        while not self.asked():
            page = self.on(page)
        self.let_go()
        while page.more:
            following = self.following(page)
            page = self.on(page)
            self.assertEqual(self.names(page), following)

    def test_what_fails_when_it_is_needed_fails_who_needs_it(self) -> None:
        page = self.third()
        while (waiting := self.reading_on(page.last)).called:
            page = self.successResultOf(waiting)
        for each in self.gates:
            if not each.called:  # one is enough, and the others are given up
                each.errback(NodeTimeout("n", "didn't answer in time"))
        self.failureResultOf(waiting, NoQuorum)
        for node in self.nodes:
            node.heal()
        self.assertEqual(self.names(self.on(page)), self.following(page))

    def test_what_is_written_after_nodes_were_asked_ahead_is_there(self) -> None:
        page = self.third(carried_out=True)
        ahead = self.keys.index(page.last) + 30
        self.stored(self.keys[ahead], b"new")
        self.stored(f"{self.keys[ahead]}+", b"new")
        self.deleted(self.keys[ahead + 1])
        self.let_go()
        found: list[Entry] = []
        while page.more:
            page = self.on(page)
            found += page.entries
        expected = [f"{self.keys[ahead]}+", *self.keys[-len(found) :]]
        expected = sorted({*expected, self.keys[-len(found)]} - {self.keys[ahead + 1]})
        self.assertEqual([each.key for each in found], expected)
        new = {each.key for each in found if each.etag == etag_of(b"new")}
        self.assertEqual(new, {self.keys[ahead], f"{self.keys[ahead]}+"})

    def test_given_up_when_it_is_not_used(self) -> None:
        self.third()
        self.assertEqual(len(self.store.rests.going_on), len(self.gates))
        gates = len(self.gates)
        for node in self.nodes:
            node.heal()
        self.clock.advance(21)
        self.next_page("z")
        self.assertEqual(self.given_up, gates)
        self.assertEqual(self.store.rests.going_on, set())

    def test_given_up_when_it_does_not_count_any_more(self) -> None:
        page = self.third()
        self.settle()
        gates = len(self.gates)
        for node in self.nodes:
            node.heal()
        self.assertEqual(self.names(self.on(page)), self.following(page))
        self.assertEqual(self.given_up, gates)

    def test_given_up_when_nobody_waits_for_the_page(self) -> None:
        page = self.third()
        while (waiting := self.reading_on(page.last)).called:
            page = self.successResultOf(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.given_up, len(self.gates))
        self.assertEqual(self.store.rests.going_on, set())

    def test_given_up_in_the_end(self) -> None:
        self.third()
        self.now(self.store.rests.stop())
        self.assertEqual(self.given_up, len(self.gates))
        self.assertEqual(self.store.rests.going_on, set())

    def test_the_end_waits_for_it(self) -> None:
        self.third()
        slow: Deferred[None] = Deferred(lambda _: None)
        slow.addErrback(lambda _: None)
        self.store.rests.going_on.add(slow)
        stopping = self.run_(self.store.rests.stop())
        self.assertNoResult(stopping)
        self.store.rests.going_on.discard(slow)
        slow.callback(None)
        self.successResultOf(stopping)

    def test_by_tokens_unless_that_was_in_vain_within_a_minute(self) -> None:
        self.patch(listed, "_COLD_PAGES", 1)
        self.assertFalse(self.later_is_told(self.third_by_tokens()))
        # Read to the end, it wasn't in vain.
        self.assertFalse(self.later_is_told(self.third_by_tokens()))
        self.third_by_tokens()
        self.clock.advance(21)
        self.next_page("z")
        self.assertTrue(self.later_is_told(self.third_by_tokens()))
        self.clock.advance(61)
        self.assertFalse(self.later_is_told(self.third_by_tokens()))

    def third_by_tokens(self) -> Listing:
        """The third page; nodes were asked by tokens, if they may be."""
        return self.on(self.on(self.next_page()))

    def later_is_told(self, page: Listing) -> bool:
        """Whether the pages that follow tell what comes behind the gateway's back.

        That isn't looked for by name, and those that go on by tokens tell what was there.
        """
        self.lay(self.nodes[0], b"x", None, "later")
        found: list[str] = []
        while page.more:
            page = self.on(page)
            found += self.names(page)
        del self.nodes[0].buckets[BUCKET]["later"]
        return "later" in found

    def test_two_who_read_the_same_side_by_side_do_not_undo_each_other_s(self) -> None:
        pages = [self.next_page()] * 2
        self.hold()
        for _ in range(5):
            following = self.following(pages[0])
            waiting = [self.reading_on(each.last) for each in pages]
            gates, self.gates = self.gates, []
            for each in gates:
                each.callback(None)
            pages = [self.successResultOf(each) for each in waiting]
            self.assertEqual([self.names(each) for each in pages], [following] * 2)
        self.assertEqual(self.given_up, 0)
        self.let_go()

    def test_room_is_shared_with_pages_that_are_being_made(self) -> None:
        prefixes = ("k0", "k1")
        pages = [self.next_page(prefix=each) for each in prefixes]
        self.patch(rests, "_MOST_NAMES", 4 * PAGE_KEYS + 100)
        self.hold()
        waiting = [
            self.run_(list_objects(self.store, BUCKET, prefix=prefix, after=page.last, limit=10))
            for prefix, page in zip(prefixes, pages, strict=True)
        ]
        # Each alone would have had all three nodes asked.
        self.assertEqual(len(self.store.rests.going_on), 5)
        self.let_go()
        for each, first in zip(waiting, (10, 110), strict=True):
            self.assertEqual(self.names(self.successResultOf(each)), self.keys[first : first + 10])
        self.assertEqual(len(self.store.rests._kept), 2)

    def test_only_while_there_is_room(self) -> None:
        page = self.next_page()
        self.patch(rests, "_MOST_NAMES", 2 * PAGE_KEYS + 100)
        self.hold()
        waiting = self.reading_on(page.last)
        self.assertEqual(len(self.store.rests.going_on), 2)
        self.let_go()
        page = self.successResultOf(waiting)
        self.assertEqual(self.names(page), self.keys[10:20])
        while page.more:
            following = self.following(page)
            page = self.on(page)
            self.assertEqual(self.names(page), following)
