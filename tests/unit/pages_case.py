"""Pages of a listing, one after the other, and how often nodes are asked for them."""

from __future__ import annotations

from typing import Any

from aosd.gateway.list import Listing, list_objects
from aosd.model.objects import Entry
from tests.unit.gateway_case import BUCKET, GatewayTestCase


class PagesTestCase(GatewayTestCase):
    """One copy a key, on three nodes; pages of ten keys."""

    replicas = 1
    keys_in_all = 90

    def setUp(self) -> None:
        super().setUp()
        self.keys = [f"k{number:03d}" for number in range(self.keys_in_all)]
        for key in self.keys:
            self.stored(key, b"x")

    def next_page(self, after: str = "", **more: Any) -> Listing:
        asked = {"limit": 10, "after": after, **more}
        return self.now(list_objects(self.store, BUCKET, **asked))

    def on(self, page: Listing, **more: Any) -> Listing:
        return self.next_page(page.last, **more)

    def entry(self, page: Listing, key: str) -> Entry:
        return next(each for each in page.entries if each.key == key)

    def names(self, page: Listing) -> list[str]:
        return [each.key for each in page.entries]

    def asked(self) -> int:
        """How often nodes were asked for pages since the last time."""
        count = sum(node.requests["list"] for node in self.nodes)
        self.forget_requests()
        return count
