"""What is listed of clients' uploads."""

from __future__ import annotations

from aosd.gateway.multipart import list_parts, list_uploads
from aosd.model.errors import NoQuorum, NoSuchUpload
from aosd.model.objects import PartsPage
from aosd.testing.faults import refused, unavailable
from tests.unit.gateway_case import BUCKET, KEY, NOW_S
from tests.unit.uploads_case import LONG_PART, SHORT, UploadsTestCase


class PartsTests(UploadsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.uploads_may_stay = True

    def page(self, upload_id: str, after: int = 0, limit: int = 1000) -> PartsPage:  # type: ignore[override]
        return self.now(list_parts(self.store, BUCKET, KEY, upload_id, after, limit))

    def test_all_that_some_node_has(self) -> None:
        upload_id = self.created()
        for number, node in ((7, self.a), (2, self.b), (9, self.a)):
            node.script("put_part", unavailable())
            _, etag = self.part(upload_id, number, SHORT * number)
            (part,) = (each for each in self.page(upload_id).parts if each.number == number)
            self.assertEqual((part.etag, part.size_bytes), (etag, len(SHORT) * number))
            self.assertEqual(part.modified_s, NOW_S)
            if node is self.b:
                self.part(upload_id, 7, SHORT * 7)
        self.assertEqual(self.parts_of(upload_id), [2, 7, 9])
        self.assertEqual(self.parts_of(upload_id, 2), [7, 9])
        page = self.page(upload_id, 1, 2)
        self.assertEqual(([each.number for each in page.parts], page.truncated), ([2, 7], True))
        page = self.page(upload_id, 2, 2)
        self.assertEqual(([each.number for each in page.parts], page.truncated), ([7, 9], False))

    def test_what_most_nodes_have_of_one_number(self) -> None:
        upload_id = self.created()
        self.part(upload_id, 1, LONG_PART)
        self.clock.advance(1)
        self.b.script("put_part", refused())
        _, etag = self.part(upload_id, 1, SHORT)
        (part,) = self.page(upload_id).parts
        self.assertEqual(part.etag, etag)

    def test_pages_of_nodes_that_have_different_parts(self) -> None:
        upload_id = self.created()
        for node, numbers in ((self.a, (1, 2, 9)), (self.b, (5, 6, 7)), (self.c, ())):
            (node_id,) = node.uploads
            for number in numbers:
                node.disk.put_part(BUCKET, KEY, node_id, number, SHORT)
        found, after = [], 0
        while True:
            page = self.page(upload_id, after, 2)
            found += [each.number for each in page.parts]
            if not page.truncated:
                break
            after = found[-1]
        self.assertEqual(found, [1, 2, 5, 6, 7, 9])

    def test_nobody_knows_it_or_may_know_it(self) -> None:
        upload_id = self.created()
        self.a.uploads.clear()
        self.b.uploads.clear()
        self.down(self.c)
        self.failureResultOf(self.run_(self.listing_of(upload_id)), NoQuorum)
        self.settle()
        self.assertEqual(self.parts_of(upload_id), [])
        self.c.script("list_parts", refused())
        self.failureResultOf(self.run_(self.listing_of(upload_id)), NoQuorum)
        self.c.uploads.clear()
        self.failureResultOf(self.run_(self.listing_of(upload_id)), NoSuchUpload)
        self.successResultOf(self.aborting(upload_id))
        self.failureResultOf(self.aborting(upload_id), NoSuchUpload)
        self.failureResultOf(self.run_(self.listing_of(upload_id)), NoSuchUpload)

    async def listing_of(self, upload_id: str) -> PartsPage:
        return await list_parts(self.store, BUCKET, KEY, upload_id)


class UploadsListedTests(UploadsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.uploads_may_stay = True

    def begin(self, *keys: str) -> dict[str, str]:
        begun = {}
        for key in keys:
            begun[key] = self.created(key)
            self.clock.advance(1)
        return begun

    def walk(self, limit: int, **more: str) -> list[str]:
        """All that is listed, page by page."""
        found: list[str] = []
        key_marker = id_marker = ""
        while True:
            page = self.uploads(limit=limit, key_marker=key_marker, id_marker=id_marker, **more)
            names = [*(each.key for each in page.uploads), *page.prefixes]
            self.assertLessEqual(len(names), limit)
            found += sorted(names)
            if not page.more:
                return found
            self.assertEqual(len(names), limit)
            key_marker, id_marker = page.last_key, page.last_id

    def test_those_that_are_open_with_ids_that_work(self) -> None:
        for restarts in (False, True):
            begun = self.begin("b", "a", "é", "a-b")
            if restarts:
                self.restart()
            page = self.uploads()
            self.assertEqual([each.key for each in page.uploads], ["a", "a-b", "b", "é"])
            for each in page.uploads:
                self.assertEqual(each.upload_id, begun[each.key])
            self.assertFalse(page.more)
            self.successResultOf(self.aborting(page.uploads[0].upload_id, "a"))
            _, etag = self.part(page.uploads[2].upload_id, 1, SHORT, key="b")
            self.completed(page.uploads[2].upload_id, [(1, etag)], key="b")
            self.assertEqual([each.key for each in self.uploads().uploads], ["a-b", "é"])
            self.assertEqual([each.key for each in self.uploads(prefix="a").uploads], ["a-b"])
            for each in self.uploads().uploads:
                self.successResultOf(self.aborting(each.upload_id, each.key))
        self.assertEqual(self.open_on(), "")

    def test_when_each_began(self) -> None:
        self.begin("a", "b")
        times = [each.began_s for each in self.uploads().uploads]
        self.assertEqual(times, [NOW_S, NOW_S + 1])

    def test_pages(self) -> None:
        for _ in range(3):
            self.begin("a/b", "a/c", "d", "e/f/g", "h")
        for limit in (1, 2, 4, 1000):
            whole = [each for each in ("a/b", "a/c", "d", "e/f/g", "h") for _ in range(3)]
            self.assertEqual(self.walk(limit), whole)
            level = ["a/", *["d"] * 3, "e/", *["h"] * 3]
            self.assertEqual(self.walk(limit, delimiter="/"), level)
            self.assertEqual(self.walk(limit, prefix="e/", delimiter="/"), ["e/f/"])
            self.assertEqual(self.walk(limit, prefix="x"), [])
        later = [each.key for each in self.uploads(key_marker="d").uploads]
        self.assertEqual(later, ["e/f/g"] * 3 + ["h"] * 3)
        wrong = list_uploads(self.store, BUCKET, key_marker="d", id_marker="x")
        self.refused(self.run_(wrong), "InvalidArgument")

    def test_plain_writes_and_what_no_client_was_told_of_arent_there(self) -> None:
        stamp = self.store.stamps.next()
        self.now(self.store.uploads.begin(stamp, BUCKET, KEY, ["n1"]))
        self.now(
            self.store.uploads.begin(self.store.stamps.next(), BUCKET, KEY, ["n1"], client=True)
        )
        self.assertEqual(self.uploads().uploads, ())
        self.restart()
        self.assertEqual(self.uploads().uploads, ())

    def begin_own(self) -> None:
        """On all nodes, for KEY, and for no client."""
        own = self.store.stamps.next()
        self.now(self.store.uploads.begin(own, BUCKET, KEY, [each.name for each in self.nodes]))
        for node in self.nodes:
            self.now(self.store.uploads.create(own, node, ()))

    def test_what_a_run_before_began_for_itself_ends_when_nothing_of_it_can_land(self) -> None:
        """A client's upload of the same key goes on."""
        nodes = {node.name: node for node in self.nodes}
        begun = self.begin(KEY)
        self.begin_own()
        for _ in range(2):
            self.now(self.store.uploads.tend(nodes, 0.0, runs_are_over=True))
        self.assertEqual(len(self.a.uploads), 2)  # it is this run's
        self.restart()
        own = self.store.stamps.next()
        self.now(self.store.uploads.begin(own, BUCKET, "own", nodes))
        for over in (False, True, True):
            self.assertEqual(len(self.store.uploads.all()), 3)
            self.now(self.store.uploads.tend(nodes, 0.0, runs_are_over=over))
        self.now(self.store.uploads.tend(nodes, 0.0, runs_are_over=True))
        self.assertEqual(len(self.store.uploads.all()), 2)
        for node in self.nodes:
            self.assertEqual(len(node.uploads), 1)
        self.part(begun[KEY], 1, SHORT)

    def test_old_ones_are_aborted_and_young_ones_let_be(self) -> None:
        nodes = {node.name: node for node in self.nodes}
        begun = self.begin(KEY)
        self.begin_own()
        self.clock.advance(2)
        young = self.begin(KEY)
        self.restart()
        for _ in range(2):
            self.now(self.store.uploads.tend(nodes, NOW_S))
        self.assertEqual(len(self.a.uploads), 3)
        for _ in range(2):
            self.now(self.store.uploads.tend(nodes, NOW_S + 2.0))
        for node in self.nodes:
            self.assertEqual(len(node.uploads), 1)
        self.failureResultOf(self.putting(begun[KEY], 1, SHORT), NoSuchUpload)
        self.assertEqual([each.upload_id for each in self.uploads().uploads], [young[KEY]])
        self.part(young[KEY], 1, SHORT)
