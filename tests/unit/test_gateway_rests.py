"""Pages of a listing that go on from what nodes told for the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aosd.gateway import rests
from aosd.gateway.list import Listing, list_objects
from aosd.model.errors import NoQuorum
from aosd.testing.faults import timed_out
from aosd.testing.memory_node import MemoryNode
from tests.unit.gateway_case import BUCKET, S1, GatewayTestCase, etag_of
from tests.unit.pages_case import PagesTestCase


class RestsTests(PagesTestCase):
    """What is kept, and for how long."""

    def asked_for(self, page: Listing) -> tuple[list[str], int]:
        """The page that goes on from there, and how often nodes were asked for it."""
        self.asked()
        return self.names(self.on(page)), self.asked()

    def goes_on(self, page: Listing, expected: Sequence[str]) -> None:
        """The next page is this, and nobody was asked for it."""
        self.assertEqual(self.asked_for(page), (list(expected), 0))

    def begins_anew(self, page: Listing, expected: Sequence[str]) -> None:
        names, asked = self.asked_for(page)
        self.assertEqual(names, list(expected))
        self.assertGreaterEqual(asked, len(self.nodes))

    def first(self) -> Listing:
        """The first page, with some more at hand on each node."""
        page = self.next_page(limit=40)
        return self.next_page(page.last, limit=10)

    def test_nodes_are_asked_less_often_than_there_are_pages(self) -> None:
        self.asked()
        page = self.next_page()
        found = self.names(page)
        pages = 1
        while page.more:
            page = self.on(page)
            found += self.names(page)
            pages += 1
        self.assertEqual((found, pages), (self.keys, 9))
        self.assertLess(self.asked(), 5 * len(self.nodes))

    def test_the_same_page_again_is_asked_for_anew(self) -> None:
        page = self.first()
        self.goes_on(page, self.keys[50:60])
        self.begins_anew(page, self.keys[50:60])

    def test_what_was_written_since_is_there(self) -> None:
        page = self.first()
        for key in ("k050-", "k055"):
            self.stored(key, b"new")
        following = self.on(page)
        self.assertEqual(self.names(following), sorted([*self.keys[50:59], "k050-"]))
        for key in ("k050-", "k055"):
            self.assertEqual(self.entry(following, key).etag, etag_of(b"new"))
        self.assertEqual(self.entry(following, "k056").etag, etag_of(b"x"))
        self.assertEqual(self.names(self.on(following))[:2], self.keys[59:61])

    def test_what_was_written_several_pages_ago(self) -> None:
        page = self.first()
        self.stored("k065", b"new")
        self.stored("k065+", b"new")
        page = self.on(page)
        page = self.on(page)
        self.assertEqual(self.names(page), sorted([*self.keys[60:69], "k065+"]))
        self.assertEqual(self.entry(page, "k065").etag, etag_of(b"new"))

    def test_what_was_deleted_since_is_not_there(self) -> None:
        page = self.first()
        self.deleted("k050")
        self.deleted("k052")
        names, asked = self.asked_for(page)
        self.assertEqual(names, [self.keys[51], *self.keys[53:62]])
        self.assertLess(asked, len(self.nodes))

    def test_nothing_is_left_but_what_was_deleted(self) -> None:
        page = self.next_page(self.keys[77])
        self.assertTrue(page.more)
        for key in self.keys[88:]:
            self.deleted(key)
        following = self.on(page)
        self.assertEqual((following.entries, following.more, following.last), ((), False, ""))

    def test_what_is_written_while_nodes_are_asked_is_looked_for_next(self) -> None:
        page = self.first()
        self.stored("k061", b"new")
        page = self.on(page)
        self.stored("k061", b"newer")
        self.assertEqual(self.entry(self.on(page), "k061").etag, etag_of(b"newer"))

    def test_many_changes_ahead_make_it_begin_anew(self) -> None:
        page = self.first()
        for key in self.keys[50:83]:
            self.stored(key, b"new")
        self.begins_anew(page, self.keys[50:60])
        self.assertEqual({each.etag for each in self.on(page).entries}, {etag_of(b"new")})

    def test_changes_of_what_was_told_do_not_matter(self) -> None:
        page = self.first()
        for key in self.keys[:50]:
            self.deleted(key)
        self.goes_on(page, self.keys[50:60])

    def test_changes_elsewhere_do_not_matter(self) -> None:
        page = self.next_page(prefix="k0", limit=40)
        page = self.on(page, prefix="k0")
        for number in range(40):
            self.stored(f"z{number}", b"x")
        self.asked()
        self.assertEqual(self.names(self.on(page, prefix="k0")), self.keys[50:60])
        self.assertEqual(self.asked(), 0)

    def test_it_counts_for_a_while_only(self) -> None:
        page = self.first()
        self.clock.advance(21)
        self.begins_anew(page, self.keys[50:60])

    def test_it_is_for_the_same_prefix_alone(self) -> None:
        page = self.first()
        self.asked()
        self.assertEqual(self.names(self.on(page, prefix="k05")), self.keys[50:60])
        self.assertEqual(self.asked(), len(self.nodes))
        self.assertEqual(self.names(self.on(page, prefix="k06")), self.keys[60:70])

    def test_not_when_a_node_is_away_by_then(self) -> None:
        page = self.first()
        self.down(self.nodes[1])
        self.failureResultOf(self.run_(list_objects(self.store, BUCKET, after=page.last)), NoQuorum)

    def test_not_when_copies_moved_meanwhile(self) -> None:
        page = self.first()
        self.store.writes.moves(BUCKET, "k070")
        self.begins_anew(page, self.keys[50:60])

    def test_not_when_something_became_settled(self) -> None:
        page = self.first()
        self.settle()
        self.begins_anew(page, self.keys[50:60])

    def test_nobody_watches_once_it_is_over(self) -> None:
        writes: Any = self.store.writes
        page = self.next_page()
        self.assertEqual(len(writes._told), 1)
        while page.more:
            page = self.on(page)
        self.assertEqual(len(writes._told), 0)
        for number in range(20):
            self.next_page(self.keys[number])
        self.assertEqual(len(writes._told), 8)
        self.clock.advance(21)
        self.next_page(limit=1000)
        self.assertEqual(len(writes._told), 0)

    def test_so_many_names_together(self) -> None:
        writes: Any = self.store.writes
        self.patch(rests, "_MOST_NAMES", 100)
        for number in range(7):
            # Of each node some more than a third of 21 names are asked for.
            self.next_page(self.keys[number], limit=20)
        self.assertGreater(len(writes._told), 1)
        self.assertLess(len(writes._told), 7)
        self.patch(rests, "_MOST_NAMES", 3)
        page = self.next_page(limit=20)
        self.assertEqual(len(writes._told), 0)
        self.assertEqual(self.names(self.on(page)), self.keys[20:30])

    def test_nobody_watches_when_it_failed(self) -> None:
        writes: Any = self.store.writes
        page = self.next_page()
        self.assertEqual(len(writes._told), 1)
        for node in self.nodes:
            node.script("list", timed_out(), times=None)
        self.failureResultOf(self.run_(list_objects(self.store, BUCKET, after=page.last)))
        self.assertEqual(len(writes._told), 0)


class LastKeyTests(GatewayTestCase):
    """One node."""

    replicas = 1
    count = 1

    def test_what_the_node_said_is_more_was_deleted_since(self) -> None:
        for key in "abcdefghij":
            self.stored(key, b"x")
        # It is asked for three keys, and then for six: d to i.
        found, after, more = [], "", True
        for limit in (2, 3, 4):
            page = self.now(list_objects(self.store, BUCKET, after=after, limit=limit))
            found += [each.key for each in page.entries]
            after, more = page.last, page.more
            if limit == 3:
                self.deleted("j")
        self.assertEqual(("".join(found), more), ("abcdefghi", False))


class UncoveredTests(GatewayTestCase):
    """A node that came with objects hides what lies beneath one of them."""

    replicas = 1

    def lies(self, *held: Sequence[str]) -> None:
        """Such nodes have these keys, each its own."""
        self.use(
            [
                MemoryNode(f"n{number}", now=self.clock.seconds, hides_beneath=True)
                for number, _ in enumerate(held)
            ]
        )
        candidate = self.placement.candidate
        self.placement.candidate = (  # type: ignore[method-assign]
            lambda name: candidate(name)._replace(foreign=True)
        )
        for node, keys in zip(self.nodes, held, strict=True):
            for key in keys:
                self.lay(node, b"x", S1, key)

    def page(self, **asked: Any) -> Listing:
        return self.now(list_objects(self.store, BUCKET, **asked))

    def expect(self, page: Listing, *expected: str) -> None:
        self.assertEqual([each.key for each in page.entries], list(expected))

    def test_beneath_what_is_at_hand(self) -> None:
        self.lies(("a", "a0", "b", "b/1"))
        self.expect(self.page(limit=2), "a", "a0")
        self.deleted("b")
        self.expect(self.page(after="a0"), "b/1")

    def test_beneath_what_was_told_last(self) -> None:
        self.lies(("a", "b", "b/1", "c"))
        self.expect(self.page(limit=2), "a", "b")
        self.deleted("b")
        self.expect(self.page(after="b"), "b/1", "c")

    def test_beneath_what_another_node_has_keys_of(self) -> None:
        self.lies(("b", "b/2"), ("b/1", "c"))
        self.expect(self.page(limit=2), "b", "b/1")
        self.deleted("b")
        self.expect(self.page(after="b/1"), "b/2", "c")

    def test_beneath_what_the_prefix_goes_through(self) -> None:
        self.lies(("b", "b/2"), ("b/1", "b/3"))
        self.expect(self.page(limit=1, prefix="b/"), "b/1")
        self.deleted("b")
        self.expect(self.page(after="b/1", prefix="b/"), "b/2", "b/3")
