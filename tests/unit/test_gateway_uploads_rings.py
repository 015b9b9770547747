"""Uploads that begin while another ring comes to count."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.model.node import Member
from aosd.model.ring import Ring
from aosd.testing.faults import late
from tests.unit.gateway_case import BUCKET, KEY
from tests.unit.uploads_case import UploadsTestCase


class ChangingRingTests(UploadsTestCase):
    """Of five nodes the first three of the key's order begin it, and two of these are to go."""

    count = 5

    def test_it_begins_on_those_that_are_wanted_now(self) -> None:
        self.uploads_may_stay = True
        answer: Deferred[None] = Deferred()
        self.c.script("create_upload", late(lambda: answer))
        creating = self.creating()
        left = (self.c, self.d, self.e)
        self.placement.former = self.placement.ring
        self.placement.ring = Ring(Member(each.name, 1.0, each.name) for each in left)
        answer.callback(None)
        self.successResultOf(creating)
        began = {node.name for node in self.nodes if node.uploads}
        for order in self.store.orders(BUCKET, KEY):
            first = {each.name for each in order[: 2 * self.replicas]}
            self.assertGreaterEqual(len(first & began), self.replicas)
