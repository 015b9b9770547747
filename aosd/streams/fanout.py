"""One client's body to several nodes at once, at the pace of the slowest."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import NodeNonsense
from aosd.ports import IBodySink, IBodySource
from aosd.streams.digests import Digests
from aosd.streams.splice import SPLICED_FROM_BYTES, ISpliceBody, ISplicer, SourceBroke

_LAST_BYTES = 16 * 1024  # of a body that is spliced: these come in user space, for their turn


@implementer(IBodyProducer)
class Branch:
    """The body as one node gets it. Made by Fanout; owned by the request to the node."""

    def __init__(self, fanout: Fanout, length: int) -> None:
        self.length = length
        self.consumer: IConsumer | None = None
        self.paused = False
        self._fanout = fanout
        self._finished: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer. Errbacks with what the client's body failed with."""
        if self._fanout.aborted is not None:
            return fail(self._fanout.aborted)
        self.consumer = consumer
        self._finished = Deferred(lambda _: self.stopProducing())
        finished = self._finished
        self._fanout.branch_started(self)
        return finished

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.paused = True
        self._fanout.pace_changed()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self.paused = False
        self._fanout.pace_changed()

    def stopProducing(self) -> None:
        """The node wants no more; the other branches go on."""
        self._finished = None
        self._fanout.drop(self)

    def finish(self, reason: Failure | None) -> None:
        """All was written, or the rest won't come (called by the fanout)."""
        finished, self._finished = self._finished, None
        if finished is None:
            return
        if reason is None:
            finished.callback(None)
        else:
            finished.errback(reason)


@implementer(IBodySink)
class Fanout:
    """Copies a body of known length to `count` branches, and holds its last bytes back.

    It flows from when every branch has begun, or was dropped, and as long as none of them
    is paused. `last_in_hand` fires when nothing but the held bytes is left to send; it
    errbacks with what the client's body failed with, or with what the last branch was
    dropped for. Then either `release` or `abort` ends it.
    """

    def __init__(self, source: IBodySource, count: int, digests: Digests) -> None:
        assert source.length is not None
        self.branches = [Branch(self, source.length) for _ in range(count)]
        self.last_in_hand: Deferred[None] = Deferred(self._give_up)
        self._source = source
        self._digests = digests
        self._live = list(self.branches)
        self._held = b""
        self._unread_bytes = source.length
        self._splicing: Deferred[None] | None = None
        self._begun = False
        self._source_paused = False
        self._settled = False
        self.released = False
        self.aborted: Failure | None = None

    # -- the branches' side -------------------------------------------------------------

    def branch_started(self, branch: Branch) -> None:
        """A node is ready for the body."""
        self._begin()

    def pace_changed(self) -> None:
        """A branch was paused or resumed."""
        if not self._begun or self._settled or self._splicing is not None:
            return
        pause = any(branch.paused for branch in self._live)
        if pause != self._source_paused:
            self._source_paused = pause
            if pause:
                self._source.pause()
            else:
                self._source.resume()

    def drop(self, branch: Branch, reason: Failure | None = None) -> None:
        """Go on without `branch`; `reason` is told when it was the last one."""
        if branch in self._live:
            self._live.remove(branch)
            if self._live:
                self._begin()
                self.pace_changed()
            else:
                self._stop_splicing()
        if not self._live and reason is not None:
            # A node that answers early stops its branch first and says why after that.
            self._settle(reason)

    # -- the client's side ----------------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""
        self._digests.update(data)
        self._unread_bytes -= len(data)
        before, self._held = self._held, data
        if before:
            self._write(before)

    def body_ended(self) -> None:
        """See IBodySink."""
        self._settle(None)

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink."""
        self._settle(reason)

    # -- the use case's side --------------------------------------------------------------

    def release(self) -> None:
        """Send the last bytes to every live branch."""
        self.released = True
        held, self._held = self._held, b""
        self._write(held)
        for branch in list(self._live):
            branch.finish(None)

    def abort(self, reason: Failure) -> None:
        """End every branch without its last bytes; no node stores a truncated object."""
        self._held = b""
        self.aborted = reason
        self._stop_splicing()
        self._source.discard()
        live, self._live = self._live, []
        for branch in live:
            branch.finish(reason)

    # -- inside -----------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._begun and all(branch.consumer is not None for branch in self._live):
            self._begun = True
            self._source.start(self)
            self.pace_changed()
            self._splice()

    def _splice(self) -> None:
        """Let the kernel move all but the last bytes, where only one node wants them."""
        if len(self._live) != 1 or self._digests.wanted or self._settled:
            return
        source: ISpliceBody | None = ISpliceBody(self._source, None)
        splicer: ISplicer | None = ISplicer(self._live[0].consumer, None)
        count = self._unread_bytes - _LAST_BYTES
        if source is None or splicer is None or count < SPLICED_FROM_BYTES:
            return
        held, self._held = self._held, b""
        if held:
            self._write(held)
        splicing = splicer.splice_from(source, count)
        if splicing is None:
            return
        self._splicing = splicing
        splicing.addBoth(self._was_spliced, source, count)

    def _was_spliced(self, result: Failure | None, source: ISpliceBody, count: int) -> None:
        self._splicing = None
        self._unread_bytes -= count
        self._source_paused = False
        source.give_back()
        if not isinstance(result, Failure):
            self.pace_changed()
        elif isinstance(result.value, SourceBroke) and result.value.late:
            source.fell_silent()

    def _stop_splicing(self) -> None:
        splicing, self._splicing = self._splicing, None
        if splicing is not None:
            splicing.cancel()

    def _write(self, data: bytes) -> None:
        for branch in list(self._live):
            assert branch.consumer is not None
            branch.consumer.write(data)

    def _settle(self, reason: Failure | None) -> None:
        if self._settled:
            return
        self._settled = True
        if reason is None:
            self.last_in_hand.callback(None)
        else:
            self.last_in_hand.errback(reason)

    def _give_up(self, _: Deferred[None]) -> None:
        self._settled = True


def drop_when_over(
    putting: Deferred[str], fanout: Fanout, branch: Branch, node: str
) -> Deferred[str]:
    """Tell the fanout when a node is done with its branch, for better or worse."""

    def answered(etag: str) -> str:
        if not fanout.released:
            error = NodeNonsense(node, "it took a body before its last byte was sent")
            fanout.drop(branch, Failure(error))
            raise error
        return etag

    def failed(reason: Failure) -> Failure:
        fanout.drop(branch, reason)
        return reason

    return putting.addCallback(answered).addErrback(failed)
