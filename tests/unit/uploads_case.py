"""What the tests of clients' uploads share: uploads in a client's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from aosd.gateway.multipart import (
    abort_upload,
    complete_upload,
    create_upload,
    list_parts,
    list_uploads,
    put_part,
)
from aosd.gateway.requests import (
    Complete,
    Create,
    PartWritten,
    PutPart,
    UploadsPage,
    Written,
)
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.bodies import BytesSource
from aosd.testing.contract.subject import etag_of_parts
from tests.unit.gateway_case import BUCKET, KEY, LIMITS, GatewayTestCase

LEAST_BYTES = 40
SHORT, LONG_PART = b"p" * LEAST_BYTES, b"q" * 5_000  # held whole, and flowing


class UploadsTestCase(GatewayTestCase):
    """`count` nodes, all settled; an upload of `KEY` is on `a`, `b` and `c` with R = 2."""

    limits = replace(LIMITS, least_part_bytes=LEAST_BYTES)
    budget_bytes = 12_000
    runs = 1
    bucket = BUCKET

    def creating(self, key: str = KEY, **more: Any) -> Deferred[str]:
        return self.run_(create_upload(self.store, Create(self.bucket, key, **more)))

    def created(self, key: str = KEY, **more: Any) -> str:
        return self.successResultOf(self.creating(key, **more))

    def putting(
        self,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        key: str = KEY,
        told: bool = True,
        fails: Exception | None = None,
        fails_at: int = 0,
        **more: Any,
    ) -> Deferred[PartWritten]:
        self.source = BytesSource(data, told=told, piece_bytes=300, fails=fails, fails_at=fails_at)
        request = PutPart(self.bucket, key, upload_id, number, self.source, **more)
        return self.run_(put_part(self.store, request))

    def part(self, upload_id: str, number: int, data: bytes, **more: Any) -> tuple[int, str]:
        written = self.successResultOf(self.putting(upload_id, number, data, **more))
        self.assertEqual(written.size_bytes, len(data))
        return number, written.etag

    def completing(
        self, upload_id: str, parts: list[tuple[int, str]], *, key: str = KEY, **more: Any
    ) -> Deferred[Written]:
        request = Complete(self.bucket, key, upload_id, tuple(parts), **more)
        return self.run_(complete_upload(self.store, request))

    def completed(self, upload_id: str, parts: list[tuple[int, str]], **more: Any) -> Written:
        return self.successResultOf(self.completing(upload_id, parts, **more))

    def aborting(self, upload_id: str, key: str = KEY) -> Deferred[None]:
        return self.run_(abort_upload(self.store, self.bucket, key, upload_id))

    def parts_of(self, upload_id: str, after: int = 0, limit: int = 1000) -> list[int]:
        page = self.now(list_parts(self.store, self.bucket, KEY, upload_id, after, limit))
        return [each.number for each in page.parts]

    def uploads(self, **more: Any) -> UploadsPage:
        return self.now(list_uploads(self.store, self.bucket, **more))

    def refused(self, waiting: Deferred[Any], code: str) -> None:
        error: Any = self.failureResultOf(waiting).value
        self.assertEqual(error.code, code, error)

    # -- what befalls the gateway -----------------------------------------------------------------

    def restart(self) -> None:
        """Another gateway over the same nodes, that has read what they remember."""
        states, newest = self.placement.states, self.store.stamps.reading
        self.runs += 1
        self.use(self.nodes, gateway_id=f"{self.runs:08x}")
        self.store.stamps.observe(newest)
        self.placement.states = states
        for node in self.nodes:
            if states.get(node.name) is None:
                records = {name: copy.data for name, copy in node.buckets[SYSTEM_BUCKET].items()}
                self.store.uploads.load(records)
                self.now(self.store.journal.load(records))
                self.store.marks.load(records)

    def open_on(self) -> str:
        """The nodes that have an upload open, as letters, in the order of KEY."""
        return "".join(
            letter for letter, node in zip("abcde", self.order(KEY), strict=False) if node.uploads
        )

    def etag(self, *parts: bytes) -> str:
        return etag_of_parts(*parts)
