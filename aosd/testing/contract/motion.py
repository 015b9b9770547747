# ruff: noqa: D103 — the name of a case says what it shows
"""Bodies in motion: failed, given up, slow, many at once."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from aosd.model.errors import ClientGone, NodeUnavailable
from aosd.model.ranges import ByteRange
from aosd.testing.bodies import BytesBody, CollectingConsumer
from aosd.testing.contract.subject import MIB, Cases, Subject, raises, some_bytes

MOTION = Cases()


@MOTION.add
async def a_body_that_fails_stores_nothing(subject: Subject) -> None:
    key = subject.key("a")
    await subject.put(key, b"old")
    for error in (ClientGone("the client went away"), NodeUnavailable("another", "it broke")):
        for fails_at in (0, 1, 2 * MIB):
            body = BytesBody(some_bytes(4 * MIB), fails_at=fails_at, fails=error)
            putting = subject.node.put(subject.bucket, key, body, ())
            assert await raises(type(error), putting) is error
            assert await subject.get(key) == b"old"


@MOTION.add
async def a_put_can_be_given_up(subject: Subject) -> None:
    key = subject.key("a")
    await subject.put(key, b"old")
    begun: Deferred[None] = Deferred()
    body = _Endless(begun)
    putting = subject.node.put(subject.bucket, key, body, ())
    await begun
    putting.cancel()
    await raises(CancelledError, putting)
    assert body.stopped
    assert await subject.get(key) == b"old"


class _Endless(BytesBody):
    """Sends some bytes of its mebibyte and then no more."""

    def __init__(self, begun: Deferred[None]) -> None:
        super().__init__(some_bytes(MIB), piece_bytes=1000)
        self._begun = begun

    def _write(self, data: bytes) -> None:
        super()._write(data)
        self.pauseProducing()
        if not self._begun.called:
            self._begun.callback(None)

    def resumeProducing(self) -> None:
        """It doesn't."""


@MOTION.add
async def a_reading_can_be_abandoned(subject: Subject) -> None:
    key, data = subject.key("a"), some_bytes(2 * MIB)
    await subject.put(key, data)
    for wanted in (None, ByteRange(10, 19)):
        for _ in range(3):
            (await subject.node.get(subject.bucket, key, wanted)).abandon()
    assert await subject.get(key) == data


@MOTION.add
async def a_reading_can_be_given_up(subject: Subject) -> None:
    key, data = subject.key("a"), some_bytes(8 * MIB)
    await subject.put(key, data)
    for way in ("cancel", "stop"):
        consumer = CollectingConsumer(pause_after_bytes=MIB)
        delivering = (await subject.node.get(subject.bucket, key)).deliver(consumer)
        await consumer.when_paused()
        if way == "cancel":
            delivering.cancel()
            await raises(CancelledError, delivering)
        else:
            consumer.stop()
            await raises(ClientGone, delivering)
        assert consumer.ended
        assert len(consumer.data) < len(data)
    assert await subject.get(key, ByteRange(0, 9)) == data[:10]


@MOTION.add
async def a_slow_reader_is_waited_for(subject: Subject) -> None:
    key, data = subject.key("a"), some_bytes(8 * MIB)
    await subject.put(key, data)
    consumer = CollectingConsumer(pause_after_bytes=MIB)
    delivering = (await subject.node.get(subject.bucket, key)).deliver(consumer)
    for count in range(7):
        await consumer.when_paused()
        # Another request in the meantime: a paused body holds nothing else up.
        await subject.node.head(subject.bucket, key)
        assert not delivering.called
        if count == 6:
            consumer.pause_after_bytes = None
        consumer.resume()
    await delivering
    assert consumer.data == data
    assert consumer.late_bytes <= 7 * 256 * 1024, consumer.late_bytes


@MOTION.add
async def many_at_once_are_kept_apart(subject: Subject) -> None:
    keys = [subject.key(f"{number:02}") for number in range(24)]
    putting = [Deferred.fromCoroutine(subject.put(key, key.encode() * 1000)) for key in keys]
    assert all(done for done, _ in await DeferredList(putting, consumeErrors=True))
    getting = [Deferred.fromCoroutine(subject.get(key)) for key in keys]
    found = await DeferredList(getting, consumeErrors=True)
    assert [data for _, data in found] == [key.encode() * 1000 for key in keys]
