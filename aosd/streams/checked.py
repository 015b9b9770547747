"""A body whose checksum is looked at before it counts as ended."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.model.errors import AosdError, DigestMismatch
from aosd.ports import IBodySink, IBodySource
from aosd.streams.checksums import Algorithm


@implementer(IBodySource, IBodySink)
class Checked:
    """Passes a body on, and fails with DigestMismatch in place of its end when it is another.

    `claimed` is asked once all bytes came, so that it may answer with what a trailer said;
    what it raises fails the body, too. It answers None where nothing was claimed.
    `checksum` is the body's, once it ended. It owns `source`. See IBodySource.
    """

    def __init__(
        self, source: IBodySource, algorithm: Algorithm, claimed: Callable[[], bytes | None]
    ) -> None:
        self.length: int | None = source.length
        self.checksum: bytes | None = None
        self._source = source
        self._algorithm = algorithm
        self._claimed = claimed
        self._running = algorithm.begin()
        self._sink: IBodySink | None = None

    # -- whoever it flows to ----------------------------------------------------------------------

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        self._sink = sink
        self._source.start(self)

    def pause(self) -> None:
        """See IBodySource."""
        self._source.pause()

    def resume(self) -> None:
        """See IBodySource."""
        self._source.resume()

    def discard(self) -> None:
        """See IBodySource."""
        self._source.discard()

    # -- the source's side ------------------------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""
        self._running.update(data)
        assert self._sink is not None
        self._sink.body_data(data)

    def body_ended(self) -> None:
        """See IBodySink."""
        assert self._sink is not None
        checksum = self._running.digest()
        try:
            claimed = self._claimed()
            if claimed is not None and claimed != checksum:
                raise DigestMismatch(
                    f"the body doesn't have the {self._algorithm.name} that the client says"
                )
        except AosdError:
            self._sink.body_failed(Failure())
            return
        self.checksum = checksum
        self._sink.body_ended()

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink."""
        assert self._sink is not None
        self._sink.body_failed(reason)
