"""INode to a simulated node, as one run of a gateway has it: what is lost, late and broken.

It behaves as the real client does towards its breaker: a request isn't sent while that is
open, a new connection carries none before it was confirmed, and each failure is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import NodeError, NodeRefused, NodeTimeout, NodeUnavailable
from aosd.model.objects import Headers, ObjectHead, Page, PartsPage, Span
from aosd.model.ranges import ByteRange
from aosd.ports import IHealth, INode, IReading
from aosd.testing.memory_disk import Copy, MemoryDisk
from aosd.testing.simulation.clocks import MortalClock
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.reading import BrittleReading
from aosd.testing.simulation.requests import Request
from aosd.testing.simulation.weather import Fate

COMPLETE_S = 300.0
_CONTROL_S = 0.002


@implementer(INode)
class Line:
    """See INode. Owned by a gateway's run; `clock` is that run's, and dies with it."""

    def __init__(self, name: str, node: SimulatedNode, clock: MortalClock, health: IHealth) -> None:
        self.name = name
        self.sorts = True
        self.node = node
        self.clock = clock
        self.health = health
        self.closed = False
        self.requests: dict[Request, None] = {}
        self.readings: dict[BrittleReading, None] = {}
        self._idle = 0
        self._epoch = node.epoch
        self._control_epoch = 0  # 0: no control connection is open
        self._probes: dict[Deferred[bytes | None], None] = {}
        self._announced = False
        node.lines.append(self)

    # -- connections ------------------------------------------------------------------------------

    def take_connection(self) -> bool:
        """Whether an idle one can be used; it may turn out to be broken."""
        if self._idle:
            self._idle -= 1
            return True
        return False

    def give_back(self, epoch: int) -> None:
        """A connection can be used again."""
        if epoch == self.node.epoch:
            self._epoch = epoch
            self._idle += 1

    @property
    def pool_epoch(self) -> int:
        """Which process the idle connections go to."""
        return self._epoch

    def broke(self) -> None:
        """The node's process ended, and the network says so."""
        self._idle = 0
        for request in list(self.requests):
            request.broke()
        for reading in list(self.readings):
            reading.broke(NodeUnavailable(self.name, "the connection broke"))
        if self._control_epoch:
            delay_s = self.node.chance.random() * 0.05
            self.clock.callLater(delay_s, self._control_broke, self._control_epoch)

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way."""
        return bool(self.requests or self.readings or self._probes)

    def forget_connections(self) -> None:
        """Idle connections turned out to be broken."""
        self._idle = 0

    def announce_close(self) -> None:
        """The next probe is answered with `Connection: close`; the process goes on."""
        self._announced = True

    # -- the control connection -------------------------------------------------------------------

    def probe(self) -> Deferred[bytes | None]:
        """See INode."""
        waiting: Deferred[bytes | None] = Deferred(self._probe_given_up)
        if self.clock.dead:
            return waiting
        self._probes[waiting] = None
        self.clock.callLater(self.node.chance.random() * _CONTROL_S, self._probe_arrives, waiting)
        return waiting

    def _probe_arrives(self, waiting: Deferred[bytes | None]) -> None:
        node = self.node
        if waiting not in self._probes:
            return
        if self._control_epoch and self._control_epoch != node.epoch:
            # A process that doesn't know the connection answers with a reset.
            self._control_broke(self._control_epoch)
            return
        if not node.running:
            if node.frozen or not self._refuses():
                return  # nobody says anything: the probe's own deadline ends it
            self._probe_ends(waiting, NodeUnavailable(self.name, "connection refused"))
            return
        node.when_awake(lambda: self._probe_is_answered(waiting, node.epoch))

    def _refuses(self) -> bool:
        """Whether a host whose node doesn't run says so (it doesn't when it lost power)."""
        return not self._control_epoch

    def _probe_is_answered(self, waiting: Deferred[bytes | None], epoch: int) -> None:
        if waiting not in self._probes:
            return
        try:
            self.node.check_signature(self.clock.now())
        except NodeRefused as error:
            self._probe_ends(waiting, error)
            return
        marker = self.node.marker
        date_s = int(self.node.now())

        def arrive() -> None:
            if waiting not in self._probes:
                return
            self._control_epoch = epoch
            self.health.heard()
            self.health.time_told(date_s + 0.5 - self.clock.now())
            announced, self._announced = self._announced, False
            self._probe_ends(waiting, marker)
            if announced:
                self._control_epoch = 0
                self.health.control_lost(True)

        self.clock.callLater(self.node.chance.random() * _CONTROL_S, arrive)

    def _probe_ends(
        self, waiting: Deferred[bytes | None], outcome: bytes | NodeError | None
    ) -> None:
        del self._probes[waiting]
        if isinstance(outcome, NodeError):
            self.health.failed(outcome)
            waiting.errback(outcome)
        else:
            waiting.callback(outcome)

    def _probe_given_up(self, waiting: Deferred[bytes | None]) -> None:
        self._probes.pop(waiting, None)
        if self._control_epoch:
            # Giving up an answer closes the connection that it would come over.
            self._control_epoch = 0
            if not self.closed:
                self.health.control_lost(False)

    def _control_broke(self, epoch: int) -> None:
        if self.closed or self._control_epoch != epoch:
            return
        self._control_epoch = 0
        probes, self._probes = list(self._probes), {}
        self.health.control_lost(False)
        for waiting in probes:
            waiting.errback(NodeUnavailable(self.name, "the control connection broke"))

    # -- INode ------------------------------------------------------------------------------------

    def head(self, bucket: str, key: str, part: int | None = None) -> Deferred[ObjectHead]:
        """See INode."""
        return self._ask("head", bucket, key, lambda disk: disk.head(bucket, key, part))

    def part_sizes(self, bucket: str, key: str, etag: str) -> Deferred[Sequence[int]]:
        """See INode."""
        return self._ask("head", bucket, key, lambda disk: disk.part_sizes(bucket, key, etag))

    def get(
        self, bucket: str, key: str, wanted: ByteRange | None = None, etag: str | None = None
    ) -> Deferred[IReading]:
        """See INode."""
        asked = self._ask("get", bucket, key, lambda disk: disk.get(bucket, key, wanted, etag))
        return asked.addCallback(self._brittle)

    def _brittle(self, outcome: tuple[tuple[Copy, Span], Fate, int]) -> IReading:
        (copy, span), fate, epoch = outcome
        return BrittleReading(self, copy, span, fate, epoch)

    def put(self, bucket: str, key: str, body: IBodyProducer, headers: Headers) -> Deferred[str]:
        """See INode."""
        return self._send(
            "put", bucket, key, body, lambda disk, data: disk.put(bucket, key, data, headers)
        )

    def delete(self, bucket: str, key: str) -> Deferred[None]:
        """See INode."""
        return self._ask("delete", bucket, key, lambda disk: disk.delete(bucket, key))

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
        """See INode."""
        return self._ask(
            "list",
            bucket,
            prefix,
            lambda disk: disk.page(bucket, prefix, after, limit, delimiter, stamps, token),
        )

    def create_upload(self, bucket: str, key: str, headers: Headers) -> Deferred[str]:
        """See INode."""
        return self._ask(
            "create_upload", bucket, key, lambda disk: disk.create_upload(bucket, key, headers)
        )

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> Deferred[str]:
        """See INode."""
        return self._send(
            "put_part",
            bucket,
            key,
            body,
            lambda disk, data: disk.put_part(bucket, key, upload_id, number, data),
        )

    def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Deferred[str]:
        """See INode."""
        told = tuple(parts)
        return self._ask(
            "complete_upload",
            bucket,
            key,
            lambda disk: disk.complete_upload(bucket, key, upload_id, told),
            answer_s=COMPLETE_S,
        )

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> Deferred[None]:
        """See INode."""
        return self._ask("abort_upload", bucket, key, lambda disk: disk.abort_upload(upload_id))

    def list_parts(
        self, bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
    ) -> Deferred[PartsPage]:
        """See INode."""
        return self._ask(
            "list_parts",
            bucket,
            key,
            lambda disk: disk.list_parts(bucket, key, upload_id, after, limit),
        )

    def list_uploads(self, bucket: str, key: str) -> Deferred[Sequence[str]]:
        """See INode."""
        return self._ask("list_uploads", bucket, key, lambda disk: disk.list_uploads(bucket, key))

    def create_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return self._ask("create_bucket", bucket, "", lambda disk: disk.create_bucket(bucket))

    def delete_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return self._ask("delete_bucket", bucket, "", lambda disk: disk.delete_bucket(bucket))

    def list_buckets(self) -> Deferred[Sequence[str]]:
        """See INode."""
        return self._ask("list_buckets", "", "", lambda disk: sorted(disk.buckets))

    def close(self) -> Deferred[None]:
        """See INode."""
        self.closed = True
        self._idle = 0
        self._control_epoch = 0
        if self in self.node.lines and not self.requests and not self.readings:
            self.node.lines.remove(self)
        return succeed(None)

    # -- inside -----------------------------------------------------------------------------------

    def _ask(
        self,
        verb: str,
        bucket: str,
        key: str,
        act: Callable[[MemoryDisk], Any],
        answer_s: float | None = None,
    ) -> Deferred[Any]:
        return self._begin(
            Request(self, verb, bucket, key, lambda disk, _: act(disk), None, answer_s)
        )

    def _send(
        self,
        verb: str,
        bucket: str,
        key: str,
        body: IBodyProducer,
        act: Callable[[MemoryDisk, bytes], str],
    ) -> Deferred[str]:
        return self._begin(Request(self, verb, bucket, key, act, body, None))

    def _begin(self, request: Request) -> Deferred[Any]:
        if self.clock.dead:
            return Deferred()
        try:
            self.health.check()
        except NodeUnavailable as error:
            return fail(error)
        request.start()
        return request.answer


def timed_out(name: str, seconds: float) -> NodeTimeout:
    """What a request fails with that got no answer."""
    return NodeTimeout(name, f"didn't answer within {seconds:g} s")
