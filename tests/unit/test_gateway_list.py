"""Listings: pages of what all nodes hold, without what is dead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from aosd.gateway.list import Listing, list_objects
from aosd.model.errors import NoNodes, NoQuorum
from aosd.model.node import NodeState
from aosd.model.objects import Page
from aosd.model.ring import Ring
from aosd.testing.faults import late, timed_out, unavailable
from aosd.testing.memory_node import Copy, MemoryNode
from tests.unit.gateway_case import BUCKET, KEY, S2, SMALL, GatewayTestCase


class FolderKeeper(MemoryNode):
    """A node with an empty folder."""

    def list(
        self,
        bucket: str,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        stamps: bool = False,
        token: str = "",
    ) -> Deferred[Page]:
        def with_a_folder(page: Page) -> Page:
            if prefix or not delimiter or after >= "a":
                return page
            return replace(page, prefixes=("a/", *page.prefixes))

        listing = super().list(bucket, prefix, after, limit, delimiter, stamps, token)
        return listing.addCallback(with_a_folder)


class ListTests(GatewayTestCase):
    """One copy a key."""

    replicas = 1

    def fill(self, count: int) -> list[str]:
        keys = [f"k{number:04d}" for number in range(count)]
        for key in keys:
            self.stored(key, b"x")
        return keys

    def test_pages_over_all_nodes_give_each_key_once_in_order(self) -> None:
        keys = self.fill(57)
        for limit in (1, 7, 57, 1000):
            found: list[str] = []
            more = True
            while more:
                page = self.page(limit=limit, after=found[-1] if found else "")
                self.assertLessEqual(len(page.entries), limit)
                found += [entry.key for entry in page.entries]
                more = page.more
            self.assertEqual(found, keys)

    def test_prefix_and_after(self) -> None:
        keys = self.fill(30)
        self.assertEqual([each.key for each in self.page(prefix="k001").entries], keys[10:20])
        self.assertEqual(
            [each.key for each in self.page(prefix="k00", after="k0027").entries], keys[28:]
        )

    def test_a_key_on_two_nodes_is_listed_once(self) -> None:
        self.stored("k", SMALL)
        primary, second, _ = self.order("k")
        second.buckets[BUCKET]["k"] = primary.buckets[BUCKET]["k"]
        self.assertEqual([entry.key for entry in self.page().entries], ["k"])

    def test_what_is_no_id_is_left_out_and_not_counted(self) -> None:
        keys = self.fill(5)
        node = self.nodes[0]
        copy = next(iter(self.order("k0000")[0].buckets[BUCKET].values()))
        for odd in ("a/b", "a/c", "a-b", "k0001/x", "k0002.txt", "é", "x" * 33):
            node.buckets[BUCKET][odd] = copy
        page = self.page(limit=5)
        self.assertEqual([entry.key for entry in page.entries], keys)
        self.assertFalse(page.more)

    def test_a_node_that_lists_in_tree_order(self) -> None:
        self.use([MemoryNode(node.name, tree_order=True) for node in self.nodes])
        keys = self.fill(12)
        copy = self.order(keys[0])[0].buckets[BUCKET][keys[0]]
        for node in self.nodes:
            for odd in ("k0003/a", "k0003-a", "k0007/b/c", "a/b"):
                node.buckets[BUCKET][odd] = copy
        found: list[str] = []
        more = True
        while more:
            page = self.page(limit=2, after=found[-1] if found else "")
            found += [entry.key for entry in page.entries]
            more = page.more
        self.assertEqual(found, keys)

    def test_not_while_a_node_is_away(self) -> None:
        self.down(self.nodes[1])
        self.failureResultOf(self.listing(), NoQuorum)

    def test_not_when_a_node_fails(self) -> None:
        self.nodes[1].script("list", timed_out())
        self.failureResultOf(self.listing(), NoQuorum)


class AnyKeysTests(GatewayTestCase):
    """Keys of any kind, one copy each, on nodes of which one lists as a tree."""

    replicas = 1

    def fill(self, *keys: str) -> None:
        for number, key in enumerate(keys):
            self.lay(self.nodes[number % self.count], b"x", S2, key)

    def every(self, **asked: Any) -> Listing:
        return self.now(list_objects(self.store, BUCKET, **asked))

    def names(self, **asked: Any) -> list[str]:
        page = self.every(**asked)
        return sorted([*(each.key for each in page.entries), *page.prefixes])

    def asked(self) -> list[int]:
        return [node.requests["list"] for node in self.nodes]

    def test_groups_and_where_a_page_begins(self) -> None:
        self.fill("a", "p/x", "p/y", "p-", "q", "r//s")
        self.assertEqual(self.names(delimiter="/"), ["a", "p-", "p/", "q", "r/"])
        self.assertEqual(self.names(delimiter="/", after="p/"), ["q", "r/"])
        self.assertEqual(self.names(delimiter="/", after="p/x"), ["p/", "q", "r/"])
        self.assertEqual(self.names(delimiter="/", after="p/y"), ["q", "r/"])
        self.assertEqual(self.names(delimiter="/", prefix="p/", after="p/x"), ["p/y"])
        self.assertEqual(self.names(delimiter="/", prefix="r/"), ["r//"])
        self.assertEqual(self.names(prefix="p", after="a"), ["p-", "p/x", "p/y"])
        self.assertEqual(self.names(prefix="p", after="q"), [])

    def test_pages_tell_where_they_end(self) -> None:
        self.fill("a", "p/x", "p/y", "q")
        page = self.every(delimiter="/", limit=2)
        self.assertEqual((page.prefixes, page.more, page.last), (("p/",), True, "p/"))
        page = self.every(delimiter="/", limit=2, after=page.last)
        self.assertEqual((page.prefixes, page.more, page.last), ((), False, ""))
        self.assertEqual(self.every(limit=0), Listing((), (), False, ""))

    def test_a_page_of_many_keys_is_a_request_a_node(self) -> None:
        self.fill(*(f"{number:05}" for number in range(4000)))
        page = self.every()
        self.assertEqual((len(page.entries), page.more, page.last), (1000, True, "00999"))
        self.assertEqual(self.asked(), [1, 1, 1])
        self.assertEqual(len(self.every(after="00999/x").entries), 1000)

    def test_also_where_every_node_has_all_keys(self) -> None:
        keys = [f"{number:05}" for number in range(2000)]
        for node in self.nodes:
            node.buckets[BUCKET] = {key: Copy(b"", '"e"', 5.0) for key in keys}
        self.use(self.nodes, replicas=3)
        self.assertEqual(self.every().last, "00999")
        self.assertEqual(self.asked(), [1, 1, 1])
        self.assertEqual(self.every(after="00999").more, False)

    def test_what_is_beneath_a_common_prefix_isnt_read_through(self) -> None:
        for delimiter in "/-":
            for node in self.nodes:
                node.buckets[BUCKET].clear()
            self.fill(*(f"p{delimiter}{number:04}" for number in range(5000)), "q", "o")
            self.forget_requests()
            self.assertEqual(self.names(delimiter=delimiter)[:2], ["o", f"p{delimiter}"])
            self.assertLessEqual(max(self.asked()), 3)

    def test_a_folder_that_a_node_kept_when_all_in_it_was_deleted(self) -> None:
        """It tells of it as a common prefix, though it stands for no key."""
        self.use([FolderKeeper(node.name, tree_order=True) for node in self.nodes])
        self.fill("b/1", "c")
        self.assertEqual(self.names(delimiter="/"), ["b/", "c"])
        self.assertEqual(self.names(), ["b/1", "c"])

    def test_one_that_turns_out_not_to_sort(self) -> None:
        self.use([MemoryNode(node.name, tree_order=True) for node in self.nodes])
        keys = ["a-b", "a.b", "a/b", "a0", "b"]
        for node in self.nodes:
            node.sorts = True
            for key in keys:
                self.lay(node, b"x", S2, key)
        self.assertEqual(self.names(), keys)
        self.assertEqual([node.sorts for node in self.nodes], [False] * 3)

    def test_an_end_that_is_none(self) -> None:
        """More names than a page has stand before the folder in which it begins."""
        self.use([MemoryNode(node.name, counts_passed=True) for node in self.nodes])
        self.fill(*(f"a-{number:03}" for number in range(300)), "a/1", "a/2", "b/1", "c")
        self.assertEqual(self.names(after="a/1", limit=10), ["a/2", "b/1", "c"])
        self.assertEqual(self.names(after="a/1", delimiter="/", limit=10), ["a/", "b/", "c"])
        self.assertEqual(self.names(after="a/1", delimiter="1", limit=10), ["a/2", "b/1", "c"])

    def test_what_no_node_is_asked_for(self) -> None:
        self.fill("a", "a/.b", "b")
        self.forget_requests()
        for prefix in ("a//", "/", "../", "a/./", "a\0"):
            self.assertEqual(self.names(prefix=prefix), [])
        self.assertEqual(self.asked(), [0, 0, 0])
        for after in ("a//", "a/.", "a\0"):
            self.assertEqual(self.names(after=after), ["b"] if after == "a//" else ["a/.b", "b"])
        self.assertEqual(self.names(prefix="a/.", delimiter="."), ["a/.b"])

    def test_no_node_is_asked_for_a_folder_of_dots(self) -> None:
        self.use([MemoryNode(node.name, tree_order=True) for node in self.nodes])
        asked: list[str] = []
        for node in self.nodes:
            listing = node.list

            def list_(bucket: str, prefix: str = "", *more: Any, _: Any = listing) -> Any:
                asked.append(prefix)
                return _(bucket, prefix, *more)

            node.list = list_  # type: ignore[method-assign]
        self.fill("..a", ".-b", "d/.-b", "d/..a", "d/e")
        for after, left in (("..a", 3), (".-b", 4), ("d/.-b", 2), ("d/..a", 1)):
            self.assertEqual(len(self.names(after=after)), left, after)
        self.assertEqual([each for each in asked if "./" in each], [])

    def test_gaps_before_an_end_that_is_none(self) -> None:
        self.use([MemoryNode(node.name, counts_passed=True) for node in self.nodes])
        for key in (*(f"a-{number}" for number in range(5)), "a/1", "a/2", "a/3", "b", "c"):
            for node in self.nodes:
                self.lay(node, b"x", S2, key)
        for limit in range(1, 12):
            page = self.names(after="a/1", limit=limit)
            self.assertEqual(page, ["a/2", "a/3", "b", "c"][:limit])

    def test_a_page_that_ends_nowhere(self) -> None:
        self.fill("a")
        for delimiter in ("", "/"):
            self.nodes[0].list = lambda *asked: succeed(Page((), truncated=True))  # type: ignore
            failure = self.failureResultOf(
                self.run_(list_objects(self.store, BUCKET, delimiter=delimiter)), NoQuorum
            )
            self.assertIn(self.nodes[0].name, str(failure.value))


class DeadBeneathTests(GatewayTestCase):
    """Two copies a key; one of the nodes was away while all beneath a prefix was deleted."""

    def setUp(self) -> None:
        super().setUp()
        for key in ("p/1", "p/2", "q/1"):
            self.stored(key, SMALL)
        self.away = self.order("p/1")[0]
        self.down(self.away)
        self.deleted("p/1")
        self.back(self.away)

    def prefixes(self, delimiter: str = "/") -> tuple[str, ...]:
        return self.now(list_objects(self.store, BUCKET, delimiter=delimiter)).prefixes

    def test_a_living_key_is_enough(self) -> None:
        self.assertEqual(self.prefixes(), ("p/", "q/"))

    def test_what_is_dead_makes_no_common_prefix(self) -> None:
        self.deleted("p/2")
        self.assertEqual(self.prefixes(), ("q/",))
        self.assertEqual(self.prefixes("1"), ("q/1",))

    def test_where_nothing_was_deleted_nobody_looks(self) -> None:
        self.forget_requests()
        self.now(list_objects(self.store, BUCKET, prefix="q", delimiter="/"))
        for node in self.nodes:
            self.assertEqual(dict(node.requests), {"list": 1})

    def test_nor_where_it_is_settled(self) -> None:
        self.settle()
        self.away.buckets[BUCKET].pop("p/1", None)
        self.forget_requests()
        self.assertEqual(self.prefixes(), ("p/", "q/"))
        for node in self.nodes:
            self.assertEqual(dict(node.requests), {"list": 1})


class CopiesTests(GatewayTestCase):
    """Two copies a key on five nodes: all but one of them have to answer."""

    count = 5

    def setUp(self) -> None:
        super().setUp()
        self.keys = [f"k{number}" for number in range(9)]
        for key in self.keys:
            self.stored(key, SMALL)

    def test_each_key_once(self) -> None:
        self.assertEqual(self.listed(), self.keys)
        self.assertEqual(self.page().entries[0].size_bytes, len(SMALL))

    def test_one_may_be_away(self) -> None:
        for state in (NodeState.DOWN, NodeState.SUSPECT):
            for node in self.nodes:
                self.state(node, state)
                self.assertEqual(self.listed(), self.keys)
                self.placement.states.clear()
        for node in self.nodes:
            node.script("list", timed_out())
            self.assertEqual(self.listed(), self.keys)

    def test_but_not_two(self) -> None:
        self.down(*self.nodes[:2])
        self.failureResultOf(self.listing(), NoQuorum)

    def test_nor_one_that_returns_beside_it(self) -> None:
        self.back(self.nodes[0])
        self.assertEqual(self.listed(), self.keys)
        self.down(self.nodes[1])
        self.failureResultOf(self.listing(), NoQuorum)

    def test_what_nobody_watched_counts_while_all_answer(self) -> None:
        for node in self.nodes:
            self.store.settledness.unwatched(node.name, 0.0)
        self.assertEqual(self.listed(), self.keys)
        self.nodes[3].script("list", unavailable())
        self.failureResultOf(self.listing(), NoQuorum)

    def test_no_nodes(self) -> None:
        self.placement.ring = Ring(())
        self.failureResultOf(self.listing(), NoNodes)

    def test_what_was_deleted_while_its_nodes_were_away_isnt_listed(self) -> None:
        for node in self.nodes:
            self.down(node)
            for key in self.keys:
                self.deleted(key)
            self.back(node)
            self.assertEqual(self.listed(), [])
            self.settle()
            node.buckets[BUCKET].clear()
            for key in self.keys:
                self.stored(key, SMALL)
        self.assertEqual(self.listed(), self.keys)

    def test_where_it_is_settled_a_rewritten_key_costs_no_second_look(self) -> None:
        self.deleted(KEY)
        self.stored(KEY, SMALL)
        self.forget_requests()
        self.assertEqual(self.listed(), [KEY, *self.keys])
        for node in self.nodes:
            self.assertEqual(dict(node.requests), {"list": 1})

    def test_dead_ones_dont_count_towards_the_limit(self) -> None:
        self.down(self.nodes[0])
        for key in self.keys[:5]:
            self.deleted(key)
        self.back(self.nodes[0])
        page = self.page(limit=4)
        self.assertEqual([entry.key for entry in page.entries], self.keys[5:])
        self.assertFalse(page.more)

    def test_one_that_cant_be_known_is_an_error(self) -> None:
        """A copy older than its delete on one node, and the others don't answer any more."""
        self.down(self.a)
        self.lay(self.a, SMALL, "0189594b3a7c-0001-0000000a")
        self.deleted(KEY)
        self.back(self.a)
        for node in (self.b, self.c):
            node.script("head", unavailable())
        self.failureResultOf(self.listing(), NoQuorum)


class MendedMeanwhileTests(GatewayTestCase):
    """What is deleted lies on a node that was away, and is removed while a page is looked at."""

    def test_what_was_dead_when_it_was_listed_isnt_shown(self) -> None:
        node = self.nodes[0]
        keys = [f"q{each}" for each in range(40) if node in self.order(f"q{each}")[:2]][:2]
        for key in keys:
            self.stored(key, SMALL)
        self.down(node)
        for key in keys:
            self.deleted(key)
        self.back(node)
        gate: Deferred[None] = Deferred()
        node.script("list", late(lambda: gate, carried_out=True))
        listing = self.listing(prefix="q")
        self.assertNoResult(listing)
        for key in keys:
            del node.buckets[BUCKET][key]
        self.settle()
        gate.callback(None)
        self.assertEqual(self.successResultOf(listing).entries, ())
