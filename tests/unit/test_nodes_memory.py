"""What befalls a MemoryNode beyond single requests: restarts, lost disks, late landings."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aosd.model.errors import (
    NodeError,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
    PreconditionFailed,
)
from aosd.model.objects import SYSTEM_BUCKET
from aosd.ports import IHealth
from aosd.testing.bodies import BytesBody
from aosd.testing.faults import (
    NO_FAULT,
    Fault,
    lands_late,
    lost_and_lands_late,
    refused,
    silent,
    timed_out,
    unavailable,
)
from aosd.testing.memory_node import MemoryNode

BUCKET = "object"


@implementer(IHealth)
class ToldHealth:
    """Remembers what it is told of the control connection."""

    def __init__(self) -> None:
        self.lost: list[bool] = []

    def check(self) -> None:
        pass

    def answered(self, well: bool) -> None:
        pass

    def heard(self) -> None:
        pass

    def failed(self, error: NodeError) -> None:
        pass

    def out_of_space(self) -> None:
        pass

    def watch(self, tripped: Callable[[], None]) -> None:
        pass

    def unwatch(self, tripped: Callable[[], None]) -> None:
        pass

    def time_told(self, ahead_s: float) -> None:
        pass

    def control_lost(self, announced: bool) -> None:
        self.lost.append(announced)

    def confirm(self) -> Deferred[None]:
        return succeed(None)


class LateLandingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = MemoryNode("n1")
        self.gate: Deferred[None] = Deferred()

    def put(self, data: bytes = b"data", bucket: str = BUCKET) -> Deferred[str]:
        return self.node.put(bucket, "a", BytesBody(data), ())

    def holds(self, bucket: str = BUCKET) -> bytes | None:
        copy = self.node.buckets[bucket].get("a")
        return copy.data if copy else None

    def test_a_put_lands_after_its_failure(self) -> None:
        for bucket in (BUCKET, SYSTEM_BUCKET):
            gate: Deferred[None] = Deferred()
            self.node.script("put", lands_late(lambda gate=gate: gate))  # type: ignore[misc]
            self.failureResultOf(self.put(bucket=bucket), NodeTimeout)
            self.assertEqual((self.holds(bucket), self.node.landing), (None, 1))
            gate.callback(None)
            self.assertEqual((self.holds(bucket), self.node.landing), (b"data", 0))

    def test_a_delete_lands_on_what_came_meanwhile(self) -> None:
        self.node.script("delete", lost_and_lands_late(lambda: self.gate))
        self.failureResultOf(self.node.delete(BUCKET, "a"), NodeUnavailable)
        self.successResultOf(self.put(b"newer"))
        self.gate.callback(None)
        self.assertIsNone(self.holds())

    def test_a_complete_lands(self) -> None:
        upload_id = self.successResultOf(self.node.create_upload(BUCKET, "a", ()))
        part = self.node.put_part(BUCKET, "a", upload_id, 1, BytesBody(b"part"))
        etag = self.successResultOf(part)
        self.node.script("complete_upload", lands_late(lambda: self.gate))
        completing = self.node.complete_upload(BUCKET, "a", upload_id, [(1, etag)])
        self.failureResultOf(completing, NodeTimeout)
        self.gate.callback(None)
        self.assertEqual(self.holds(), b"part")

    def test_lands_although_it_was_given_up(self) -> None:
        self.node.script("put", silent(lambda: self.gate))
        putting = self.put()
        self.assertNoResult(putting)
        putting.cancel()
        self.failureResultOf(putting, CancelledError)
        self.gate.callback(None)
        self.assertEqual(self.holds(), b"data")

    def test_is_answered_when_somebody_still_waits(self) -> None:
        self.node.script("put", silent(lambda: self.gate))
        putting = self.put()
        self.gate.callback(None)
        self.successResultOf(putting)
        self.assertEqual(self.holds(), b"data")

    def test_a_landing_that_is_refused_does_nothing(self) -> None:
        self.node.script("put", lands_late(lambda: self.gate))
        self.failureResultOf(self.put(), NodeTimeout)
        self.node.wipe()
        self.gate.callback(None)
        self.assertEqual((self.node.buckets, self.node.landing), ({}, 0))

    def test_a_gate_that_never_fires_loses_it(self) -> None:
        self.node.script("put", silent(lambda: self.gate))
        putting = self.put()
        self.gate.cancel()
        self.failureResultOf(putting, NodeUnavailable)
        self.assertEqual((self.holds(), self.node.landing), (None, 0))

    def test_a_reading_nobody_waits_for_is_dropped(self) -> None:
        self.successResultOf(self.put())
        self.node.script("get", lands_late(lambda: self.gate))
        self.failureResultOf(self.node.get(BUCKET, "a"), NodeTimeout)
        self.gate.callback(None)
        self.assertEqual(self.node.open_readings, 0)

    def test_lands_after_a_restart(self) -> None:
        self.node.script("put", lands_late(lambda: self.gate))
        self.failureResultOf(self.put(), NodeTimeout)
        self.node.restart()
        self.gate.callback(None)
        self.assertEqual(self.holds(), b"data")


class DiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = MemoryNode("n1")
        self.successResultOf(self.node.put(BUCKET, "a", BytesBody(b"first"), ()))
        self.successResultOf(self.node.put(SYSTEM_BUCKET, "node.json", BytesBody(b"{}"), ()))

    def test_falls_back_to_a_snapshot(self) -> None:
        snapshot = self.node.snapshot()
        self.successResultOf(self.node.put(BUCKET, "a", BytesBody(b"second"), ()))
        self.successResultOf(self.node.put(BUCKET, "b", BytesBody(b"new"), ()))
        for _ in range(2):
            self.node.restore(snapshot)
            self.assertEqual(list(self.node.buckets[BUCKET]), ["a"])
            self.assertEqual(self.node.buckets[BUCKET]["a"].data, b"first")
            self.successResultOf(self.node.delete(BUCKET, "a"))  # the snapshot isn't touched

    def test_a_wiped_disk_has_no_marker(self) -> None:
        upload_id = self.successResultOf(self.node.create_upload(BUCKET, "a", ()))
        self.assertEqual(self.successResultOf(self.node.probe()), b"{}")
        self.node.wipe()
        self.assertIsNone(self.successResultOf(self.node.probe()))
        error = self.failureResultOf(self.node.head(BUCKET, "a"), NodeRefused).value
        self.assertEqual(error.code, "NoSuchBucket")
        completing = self.node.complete_upload(BUCKET, "a", upload_id, [])
        self.failureResultOf(completing, NodeRefused)

    def test_versions_and_parts(self) -> None:
        get = self.node.get
        etag = self.successResultOf(self.node.head(BUCKET, "a")).etag
        self.successResultOf(get(BUCKET, "a", etag=etag)).abandon()
        self.failureResultOf(get(BUCKET, "a", etag='"other"'), PreconditionFailed)
        self.assertEqual(self.successResultOf(self.node.head(BUCKET, "a", 1)).size_bytes, 5)
        self.failureResultOf(self.node.head(BUCKET, "a", 2), NodeRefused)


class WeatherTests(SynchronousTestCase):
    def test_befalls_what_nothing_is_scripted_for(self) -> None:
        asked: list[str] = []
        faults: list[Fault] = [unavailable(), NO_FAULT]

        def weather(method: str) -> Fault:
            asked.append(method)
            return faults.pop(0)

        node = MemoryNode("n1", weather=weather)
        node.script("list", refused())
        self.failureResultOf(node.list(BUCKET), NodeRefused)
        self.assertEqual(asked, [])
        self.failureResultOf(node.list(BUCKET), NodeUnavailable)
        self.successResultOf(node.list(BUCKET))
        self.assertEqual(asked, ["list", "list"])


class ControlConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.health = ToldHealth()
        self.node = MemoryNode("n1", health=self.health)

    def test_breaks_at_a_restart_once_it_was_used(self) -> None:
        self.node.restart()
        self.assertEqual(self.health.lost, [])
        self.successResultOf(self.node.probe())
        for _ in range(2):
            self.node.restart()
            self.assertEqual(self.health.lost, [False])
        self.successResultOf(self.node.probe())
        self.node.restart()
        self.assertEqual(self.health.lost, [False, False])

    def test_breaks_with_a_probe_that_is_lost(self) -> None:
        for fault, loses in ((unavailable(), 1), (timed_out(), 1), (refused(), 0)):
            self.successResultOf(self.node.probe())
            self.node.script("probe", fault)
            self.failureResultOf(self.node.probe(), NodeError)
            self.assertEqual(self.health.lost, [False] * loses)
            self.health.lost.clear()

    def test_breaks_with_a_probe_that_is_given_up(self) -> None:
        self.successResultOf(self.node.probe())
        self.node.script("probe", silent(Deferred))
        probing = self.node.probe()
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.assertEqual(self.health.lost, [False])
