"""Bytes that the kernel moves from one socket to another, by splice(2) through a pipe."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IPullProducer,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

SPLICED_FROM_BYTES = 256 * 1024  # what is shorter costs less in user space

_PIPE_BYTES = 1024 * 1024  # as much as Linux grants to everybody
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)
_MOST_IDLE_PIPES = 16
_AT_ONCE = 4  # pipefuls a turn of the reactor: others want theirs, too


class ISpliceTarget(Interface):
    """What bytes can be spliced into: a consumer that writes to a socket."""

    def target_socket() -> socket.socket | None:
        """The plain socket that what is written ends up in; None when there is none.

        Such as with TLS, or when what is written is put into chunks. It stays its owner's.
        """

    def flushed() -> Deferred[None]:
        """Fires when all that was written before has left user space.

        It doesn't fire at all when the socket breaks before; its owner says so otherwise.
        """

    def spliced(count: int) -> None:
        """So many bytes went into the socket."""


class ISpliceSource(Interface):
    """What bytes can be spliced out of: a body that comes by a socket."""

    def source_socket() -> socket.socket | None:
        """The plain socket that the body comes by, unframed; None when there is none."""

    def take_over() -> list[bytes]:
        """Leave the socket to who calls; returns what of the body had been read from it."""

    def taken(count: int) -> None:
        """So many bytes of the body were read from the socket."""

    def give_back() -> None:
        """The socket is read by its owner again: whatever is left of the body comes that way."""

    def drop() -> None:
        """Nobody wants the rest, nor the connection that it comes by."""


class ISpliceBody(ISpliceSource):
    """A client's body that can be spliced away, all but its last bytes."""

    idle_timeout_s: float = Attribute("How long a client may send nothing.")

    def fell_silent() -> None:
        """It sent nothing for so long."""


class ISplicer(Interface):
    """A consumer of a body that can have the next bytes of it spliced."""

    def splice_from(source: ISpliceBody, count: int) -> Deferred[None] | None:
        """Move `count` bytes of the body, which aren't its last; None when that can't be.

        Fires when they are on their way, or errbacks with SourceBroke or TargetBroke; in
        any case the rest comes by `write`. Nothing is to be written meanwhile. The consumer
        sees to a broken target by itself. Cancelling stops at once.
        """


@implementer(IPullProducer)
class Flush:
    """Calls `flushed` when a transport has written all that it was given.

    It is the transport's producer meanwhile: a pull producer is asked for more whenever
    nothing is left. There must be none before, and there is none when it calls. `lost` is
    called in place of it when the connection is lost.
    """

    def __init__(
        self, transport: Any, flushed: Callable[[], object], lost: Callable[[], object]
    ) -> None:
        self._transport = transport
        self._flushed = flushed
        self._lost = lost
        self._registering = True

    def begin(self) -> None:
        """Begin to wait."""
        self._transport.registerProducer(self, False)
        self._transport.startWriting()

    def resumeProducing(self) -> None:
        """See IPullProducer: at first it is asked because it has come."""
        if self._registering:
            self._registering = False
        else:
            self._transport.unregisterProducer()
            self._flushed()

    def stopProducing(self) -> None:
        """See IProducer."""
        self._lost()


class SourceBroke(Exception):
    """The socket that was read from ended before all had come (`late`: it fell silent)."""

    def __init__(self, why: str, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class NoDescriptors(SourceBroke):
    """The process has too many files open: nothing was read, and it can go another way."""


class TargetBroke(Exception):
    """The socket that was written to took no more (`late`: for too long)."""

    def __init__(self, why: str, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class Pipe:
    """A pipe that neither end blocks on."""

    __slots__ = ("into", "out_of")

    def __init__(self) -> None:
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if _SET_PIPE_SIZE is not None:
            try:
                fcntl.fcntl(self.into, _SET_PIPE_SIZE, _PIPE_BYTES)
            except OSError:
                return  # not as large as that: an administrator, or the many others, forbid it

    def close(self) -> None:
        """Close both ends; what was in it is gone."""
        os.close(self.out_of)
        os.close(self.into)


class Pipes:
    """Keeps some pipes for the next one: to make a large one takes longer than to fill it.

    `spliced` is told how many bytes went through, each time that something has.
    """

    def __init__(self, spliced: Callable[[int], object] = lambda count: None) -> None:
        self.spliced = spliced
        self._idle: list[Pipe] = []
        self._closed = False

    def take(self) -> Pipe:
        """A pipe with nothing in it. Raises OSError when the process has too many files open."""
        return self._idle.pop() if self._idle else Pipe()

    def give(self, pipe: Pipe, empty: bool) -> None:
        """Take a pipe back."""
        if empty and not self._closed and len(self._idle) < _MOST_IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close those that nobody uses, and the others when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for pipe in idle:
            pipe.close()


def splices() -> bool:
    """Whether this system has splice(2)."""
    return hasattr(os, "splice")


class Splice:
    """Moves `length` bytes from one socket to another.

    `done` fires when all are in the target; it errbacks with NoDescriptors before it has begun,
    and with SourceBroke or TargetBroke, also when nothing came for `source_timeout_s` or nothing
    could be written for `target_timeout_s`, each counted only while it is waited for. Bytes that
    were taken and can't be written any more are lost. Cancelling stops at once.

    Both sockets stay their owners': it works on duplicates, which are closed by the time that
    `done` fires. The kernel's buffers set the pace. `taken` and `spliced` are called with each
    count of bytes; both may cancel it.
    """

    def __init__(
        self,
        reactor: Any,
        pipes: Pipes,
        source: socket.socket,
        target: socket.socket,
        length: int,
        *,
        taken: Callable[[int], object],
        spliced: Callable[[int], object],
        source_timeout_s: float,
        target_timeout_s: float,
    ) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._end())
        self._reactor = reactor
        self._pipes = pipes
        self._sockets = (source, target)
        self._left = length  # to be read
        self._held = 0  # in the pipe
        self._taken = taken
        self._spliced = spliced
        self._through = 0
        self._timeouts_s = (source_timeout_s, target_timeout_s)
        self._pipe: Pipe | None = None
        self._reader: _End | None = None
        self._writer: _End | None = None
        self._waits_to_write = False
        self._moved_s = 0.0
        self._timer: IDelayedCall | None = None
        self._settled = False

    def begin(self) -> None:
        """Let them flow; `done` may fire before this returns."""
        source, target = self._sockets
        try:
            self._pipe = self._pipes.take()
            self._reader = _End(os.dup(source.fileno()), self._go_on, self._reading_broke)
            self._writer = _End(os.dup(target.fileno()), self._go_on, self._writing_broke)
        except OSError as error:
            self._fail(NoDescriptors(f"no pipe: {error}"))
            return
        self._moved_s = self._reactor.seconds()
        self._watch(min(self._timeouts_s))
        self._reactor.addReader(self._reader)
        self._go_on()

    # -- inside ---------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Move what can be moved now; with something in the pipe nothing else is read."""
        for _ in range(_AT_ONCE):
            if not self._held and not self._settled and not self._read():
                return
            if self._held and not self._settled and not self._write():
                return
            if self._settled:
                return
            if not self._left and not self._held:
                self._end()
                self.done.callback(None)
                return

    def _read(self) -> bool:
        """Whether something came."""
        assert self._pipe is not None and self._reader is not None
        self._wait(to_write=False)
        try:
            count = os.splice(
                self._reader.fileno(),
                self._pipe.into,
                min(self._left, _PIPE_BYTES),
                flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK,
            )
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(SourceBroke(str(error)))
            return False
        if not count:
            self._fail(SourceBroke(f"it stopped {self._left} bytes before the end"))
            return False
        self._left -= count
        self._held = count
        self._moved_s = self._reactor.seconds()
        self._taken(count)
        return True

    def _write(self) -> bool:
        """Whether the pipe is empty now."""
        assert self._pipe is not None and self._writer is not None
        while self._held and not self._settled:
            try:
                count = os.splice(
                    self._pipe.out_of,
                    self._writer.fileno(),
                    self._held,
                    flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK,
                )
            except BlockingIOError:
                self._wait(to_write=True)
                return False
            except OSError as error:
                self._fail(TargetBroke(str(error)))
                return False
            self._held -= count
            self._through += count
            self._moved_s = self._reactor.seconds()
            self._spliced(count)
        return True

    def _wait(self, *, to_write: bool) -> None:
        if to_write == self._waits_to_write:
            return
        self._waits_to_write = to_write
        if to_write:
            self._reactor.removeReader(self._reader)
            self._reactor.addWriter(self._writer)
        else:
            self._reactor.removeWriter(self._writer)
            self._reactor.addReader(self._reader)

    def _watch(self, delay_s: float) -> None:
        self._timer = self._reactor.callLater(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        left_s = self._moved_s + self._timeouts_s[self._waits_to_write] - self._reactor.seconds()
        if left_s > 0:
            # Never longer than either timeout: which of them counts may change before.
            self._watch(min(left_s, *self._timeouts_s))
        elif self._waits_to_write:
            self._fail(TargetBroke("it takes no more bytes", late=True))
        else:
            self._fail(SourceBroke("it stopped sending", late=True))

    def _reading_broke(self, why: str) -> None:
        self._fail(SourceBroke(why))

    def _writing_broke(self, why: str) -> None:
        self._fail(TargetBroke(why))

    def _fail(self, error: Exception) -> None:
        if not self._settled:
            self._end()
            self.done.errback(Failure(error))

    def _end(self) -> None:
        self._settled = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for end in (self._reader, self._writer):
            if end is not None:
                self._reactor.removeReader(end)
                self._reactor.removeWriter(end)
                end.close()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._pipes.spliced(self._through)
            self._pipes.give(pipe, empty=not self._held)


@implementer(IReadDescriptor, IWriteDescriptor)
class _End:
    """A duplicate of a socket's descriptor, for the reactor to look at."""

    def __init__(self, fd: int, ready: Callable[[], None], broke: Callable[[str], None]) -> None:
        self._fd = fd
        self._ready = ready
        self._broke = broke

    def fileno(self) -> int:
        """See IFileDescriptor."""
        return self._fd

    def doRead(self) -> None:
        """See IReadDescriptor."""
        self._ready()

    def doWrite(self) -> None:
        """See IWriteDescriptor."""
        self._ready()

    def connectionLost(self, reason: Failure) -> None:
        """See IFileDescriptor: the reactor saw an error on it."""
        self._broke(reason.getErrorMessage())

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "splice"

    def close(self) -> None:
        """Close the duplicate."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
