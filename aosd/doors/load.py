"""How much may go on at once: what is beyond it is told to slow down, and queues nowhere."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.doors.answers import write_error
from aosd.doors.request import DoorRequest
from aosd.doors.s3.problems import write_problem
from aosd.model.errors import SlowDown
from aosd.ports import IBodySink

_UNBOUNDED = "operations"  # its door: who looks after the daemon has to get in
_SHORT_BODY_BYTES = 64 * 1024


class Load:
    """Bounds the requests that are under way: `max_requests`, and `most_of_one` of one address.

    One is under way from when its head is in until its answer is written and its client has
    room for it, so that a client that reads slowly counts as long as it reads. `refused` is
    told the door of each that was refused. The operations door's aren't counted.
    """

    def __init__(
        self,
        max_requests: int,
        most_of_one: int,
        refused: Callable[[str], object] = lambda door: None,
    ) -> None:
        self.max_requests = max_requests
        self._most_of_one = most_of_one
        self._refused = refused
        self._under_way: dict[DoorRequest, str] = {}
        self._by_address: dict[str, int] = {}

    @property
    def under_way(self) -> int:
        """How many there are."""
        return len(self._under_way)

    def enter(self, request: DoorRequest) -> bool:
        """Whether a request may be served; then it has to `leave`. If not: `refuse` it."""
        if request.door == _UNBOUNDED:
            return True
        address = getattr(request.getClientAddress(), "host", "")
        count = self._by_address.get(address, 0)
        if len(self._under_way) >= self.max_requests or count >= self._most_of_one:
            self._refused(request.door)
            return False
        self._under_way[request] = address
        self._by_address[address] = count + 1
        return True

    def leave(self, request: DoorRequest) -> None:
        """It is over. Nothing happens if it never entered."""
        address = self._under_way.pop(request, None)
        if address is None:
            return
        count = self._by_address[address] - 1
        if count:
            self._by_address[address] = count
        else:
            del self._by_address[address]


def refuse(request: DoorRequest) -> None:
    """Answer that it is too much, in the form of the request's door.

    A short body is let in first, so that its connection can carry another request; with a
    longer one, one of unknown length, or one that its client waits to be asked for, the
    connection is closed.
    """
    body = request.body
    length = body.length
    is_short = isinstance(length, int) and length <= _SHORT_BODY_BYTES
    if body.ended or not is_short or request.requestHeaders.hasHeader(b"expect"):
        _answer(request)
    else:
        body.start(_Nowhere(request))


def _answer(request: DoorRequest) -> None:
    error = SlowDown("too many requests are under way; reduce your request rate")
    if request.door == "s3":
        write_problem(request, None, error)
    else:
        write_error(request, error)
    request.finish()


@implementer(IBodySink)
class _Nowhere:
    """Takes a body for nothing; then the request is answered."""

    def __init__(self, request: DoorRequest) -> None:
        self._request = request

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""

    def body_ended(self) -> None:
        """See IBodySink."""
        _answer(self._request)

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink: it is silent, or gone."""
        self._request.abort()
