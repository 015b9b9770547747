"""Splicing over real sockets, with a real reactor of each test's own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from aosd.streams.splice import Pipes, SourceBroke, Splice, TargetBroke
from tests.integration.bodies import KIB, MIB, body

_DEADLINE_S = 30.0
_FDS = Path("/proc/self/fd")


class Run:
    """A splice between two connections; the test holds the far ends of them."""

    def __init__(self) -> None:
        self.sender, self.source = _connected()
        self.target, self.receiver = _connected()
        self.pipes = Pipes()
        self.taken = 0
        self.spliced = 0
        self.came = bytearray()
        self.splice: Splice | None = None
        self._threads: list[Thread] = []

    def sends(self, data: bytes, *, then_closes: bool = False) -> None:
        def send() -> None:
            with suppress(OSError):
                self.sender.sendall(data)
            if then_closes:
                self.sender.close()

        self._start(send)

    def receives(self) -> None:
        def receive() -> None:
            with suppress(OSError):
                while data := self.receiver.recv(64 * KIB):
                    self.came += data

        self._start(receive)

    def go(
        self,
        length: int,
        *,
        timeouts_s: tuple[float, float] = (_DEADLINE_S, _DEADLINE_S),
        when: Callable[[Run], object] = lambda run: None,
    ) -> Any:
        """What it ended with; the receiver has it all by then. `when` is asked at each count."""
        reactor = EPollReactor()
        ended: list[Any] = []

        def took(count: int) -> None:
            self.taken += count
            when(self)

        def spliced(count: int) -> None:
            self.spliced += count

        splice = self.splice = Splice(
            reactor,
            self.pipes,
            self.source,
            self.target,
            length,
            taken=took,
            spliced=spliced,
            source_timeout_s=timeouts_s[0],
            target_timeout_s=timeouts_s[1],
        )

        def over(result: Failure | None) -> None:
            ended.append(result.value if isinstance(result, Failure) else result)
            reactor.callLater(0, reactor.stop)

        def begin() -> None:
            splice.done.addBoth(over)
            splice.begin()

        reactor.callWhenRunning(begin)
        reactor.callLater(_DEADLINE_S, reactor.stop)
        reactor.run(installSignalHandlers=False)
        assert ended, "it didn't end"
        assert len(reactor.getDelayedCalls()) == 1, "more than the deadline is left"
        self.source.close()
        self.target.close()
        for thread in self._threads:
            thread.join(_DEADLINE_S)
        return ended[0]

    def close(self) -> None:
        for each in (self.sender, self.source, self.target, self.receiver):
            each.close()
        self.pipes.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work)
        thread.start()
        self._threads.append(thread)


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    one.settimeout(None)
    return one, other


@pytest.fixture
def run() -> Iterator[Run]:
    before = len(list(_FDS.iterdir()))
    run = Run()
    run.source.setblocking(False)
    run.target.setblocking(False)
    yield run
    run.close()
    assert len(list(_FDS.iterdir())) <= before + 8  # the reactor's own


def test_all_bytes_come_and_no_more(run: Run) -> None:
    data = body(8 * MIB)
    run.sends(data + b"of the next message")
    run.receives()
    assert run.go(len(data)) is None
    assert run.came == data
    assert run.taken == run.spliced == len(data)


def test_a_slow_reader_sets_the_pace(run: Run) -> None:
    data = body(32 * MIB)
    run.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    run.sends(data)
    most: list[int] = []

    def look(run: Run) -> None:
        most.append(run.taken - run.spliced)
        if len(most) == 1:
            run.receives()

    assert run.go(len(data), when=look) is None
    assert run.came == data
    assert max(most) <= MIB  # in the pipe


def test_a_source_that_stops_in_the_middle(run: Run) -> None:
    data = body(MIB)
    run.sends(data, then_closes=True)
    run.receives()
    error = run.go(2 * MIB)
    assert isinstance(error, SourceBroke)
    assert not error.late
    assert run.came == data
    assert run.spliced == MIB


def test_a_source_that_falls_silent(run: Run) -> None:
    run.sends(body(MIB))
    run.receives()
    error = run.go(2 * MIB, timeouts_s=(0.2, _DEADLINE_S))
    assert isinstance(error, SourceBroke)
    assert error.late
    assert run.spliced == MIB


def test_a_target_that_takes_nothing(run: Run) -> None:
    run.sends(body(64 * MIB), then_closes=True)
    error = run.go(64 * MIB, timeouts_s=(_DEADLINE_S, 0.2))
    assert isinstance(error, TargetBroke)
    assert error.late
    assert run.spliced < 64 * MIB


def test_a_target_that_leaves(run: Run) -> None:
    run.sends(body(64 * MIB))

    def leave(run: Run) -> None:
        run.receiver.close()

    error = run.go(64 * MIB, when=leave)
    assert isinstance(error, TargetBroke)
    assert not error.late


def test_cancelled_it_lets_go_of_both(run: Run) -> None:
    run.sends(body(64 * MIB))
    run.receives()

    def cancel(run: Run) -> None:
        assert run.splice is not None
        run.splice.done.cancel()

    assert run.go(64 * MIB, when=cancel) is not None
    assert run.taken < 64 * MIB
    assert not _open_pipes(run.pipes)


def test_a_pipe_that_is_empty_is_used_again(run: Run) -> None:
    run.sends(body(MIB))
    run.receives()
    assert run.go(MIB) is None
    assert _open_pipes(run.pipes) == 1


def _open_pipes(pipes: Pipes) -> int:
    return len(pipes._idle)
