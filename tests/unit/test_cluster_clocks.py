"""A clock that jumps ahead: nothing is taken for old by it that isn't."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.gateway.multipart import complete_upload, create_upload, put_part
from aosd.gateway.requests import Complete, Create, PutPart
from aosd.model.objects import OBJECT_BUCKET
from aosd.testing.bodies import BytesSource
from tests.unit.cluster_case import ClusterTestCase

AHEAD_S = 8 * 86400.0


class JumpsAheadTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begun()
        self.pass_s(60)

    def jumps(self, ahead_s: float) -> None:
        """Our clock does, and the nodes say so."""
        self.ahead_s = ahead_s
        assembly = self.gateway.assembly
        for owner in (assembly.keeper.tending, assembly.journal):
            owner._now = lambda: self.clock.seconds() + self.ahead_s
        for watched in self.gateway.roster.watched.values():
            watched.breaker.clock_ahead_s = -ahead_s

    def test_no_open_upload_is_aborted(self) -> None:
        store = self.gateway.store
        upload_id = self.now(create_upload(store, Create(OBJECT_BUCKET, "k")))
        part = PutPart(OBJECT_BUCKET, "k", upload_id, 1, BytesSource(b"part"))
        etag = self.now(put_part(store, part)).etag
        self.jumps(AHEAD_S)
        self.pass_s(70)
        self.jumps(0.0)
        self.pass_s(70)
        completing = complete_upload(store, Complete(OBJECT_BUCKET, "k", upload_id, ((1, etag),)))
        self.now(completing)
        self.assertEqual(self.read(self.gateway, "k"), b"part")

    def test_no_delete_is_forgotten(self) -> None:
        self.put(self.gateway, "k", b"data")
        self.delete(self.gateway, "k")
        self.pass_s(70)
        self.jumps(AHEAD_S)
        self.pass_s(70)
        self.jumps(0.0)
        self.assertIsNotNone(self.gateway.store.journal.delete_of(OBJECT_BUCKET, "k"))
        looking: Deferred[object] = self.getting(self.gateway, "k")
        self.failureResultOf(looking)
