"""One node's long answer to a client, moved by the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.model.errors import ClientGone
from aosd.streams.relaying import Relaying
from aosd.streams.splice import (
    SPLICED_FROM_BYTES,
    ISpliceSource,
    ISpliceTarget,
    NoDescriptors,
    Pipes,
    SourceBroke,
    Splice,
    splices,
)


def splice_target(consumer: IConsumer, length: int) -> ISpliceTarget | None:
    """`consumer` as what a body of `length` bytes can be spliced into; None when it can't."""
    if length < SPLICED_FROM_BYTES or not splices():
        return None
    target: ISpliceTarget | None = ISpliceTarget(consumer, None)
    return None if target is None or target.target_socket() is None else target


@implementer(IPushProducer)
class SpliceRelay(Relaying):
    """Does what Relay does for `source` and `target`. See Relaying.

    `target` is what `consumer` is when bytes are spliced into it. What had been read already
    is written first. Where the process has too many files open for it, `otherwise` is to relay
    so many bytes to the consumer in user space; it fires, fails and is cancelled as this is.
    """

    def __init__(
        self,
        consumer: IConsumer,
        source: ISpliceSource,
        target: ISpliceTarget,
        length: int,
        reactor: Any,
        pipes: Pipes,
        idle_timeout_s: float,
        stall_timeout_s: float,
        broken: Callable[[str, bool], Exception],
        heard: Callable[[], None],
        otherwise: Callable[[int], Deferred[None]],
    ) -> None:
        super().__init__(consumer, reactor, stall_timeout_s, broken, heard)
        self._otherwise = otherwise
        self._source = source
        self._target = target
        self._left = length  # to be read
        self._reactor = reactor
        self._pipes = pipes
        self._timeouts_s = (idle_timeout_s, stall_timeout_s)
        self._going: Deferred[Any] | None = None

    def begin(self) -> None:
        """Let the body flow."""
        self._stall.start()
        self._register(self)
        if self._settled:
            return
        for data in self._source.take_over():
            self._left -= len(data)
            self._consumer.write(data)
        flushing = self._going = self._target.flushed()
        flushing.addCallbacks(self._flow, lambda _: None)

    # -- the client's side ------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """See IPushProducer: nothing to do, its socket takes what it takes."""

    def resumeProducing(self) -> None:
        """See IPushProducer."""

    # -- inside -----------------------------------------------------------------------------

    def _flow(self, _: None) -> None:
        if self._settled:
            return
        self._stall.stop()
        source, target = self._source.source_socket(), self._target.target_socket()
        if target is None:
            self.stopProducing()
            return
        if source is None:
            self._node_broke(f"it stopped {self._left} bytes before the end")
            return
        idle_s, stall_s = self._timeouts_s
        splice = Splice(
            self._reactor,
            self._pipes,
            source,
            target,
            self._left,
            taken=self._took,
            spliced=self._target.spliced,
            source_timeout_s=idle_s,
            target_timeout_s=stall_s,
        )
        self._going = splice.done
        splice.done.addCallbacks(self._all_moved, self._splice_broke)
        splice.begin()

    def _took(self, count: int) -> None:
        self._left -= count
        self._source.taken(count)
        self._heard()

    def _all_moved(self, _: None) -> None:
        if not self._settled:
            self._settle()
            self._source.give_back()
            self.done.callback(None)

    def _splice_broke(self, failure: Failure) -> None:
        if self._settled:
            return  # cancelled by ourselves
        error = failure.value
        if isinstance(error, NoDescriptors):
            self._relay_instead()
        elif isinstance(error, SourceBroke):
            self._node_broke(str(error), error.late)
        else:
            self._fail(ClientGone(f"the client: {error}"))

    def _relay_instead(self) -> None:
        self._registered = False
        self._consumer.unregisterProducer()
        relaying = self._going = self._otherwise(self._left)
        relaying.addBoth(self._was_relayed)

    def _was_relayed(self, result: Failure | None) -> None:
        if not self._settled:
            self._settle()
            self.done.callback(result)  # a failure, too

    def _drop(self) -> None:
        going, self._going = self._going, None
        if going is not None:
            going.cancel()
        self._source.drop()
