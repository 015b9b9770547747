"""What goes wrong with a request to a MemoryNode, and when.

node.script("put", unavailable())            # the next PUT only
node.script("get", breaks(1000), times=None) # every GET, until node.heal()

gate = Deferred()
node.script("list", late(lambda: gate))      # answers once the gate has fired
node.script("list", late(lambda: deferLater(clock, 5, lambda: None)))

node.script("put", lands_late(lambda: gate)) # NodeTimeout at once; stored when the gate fires
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from aosd.model.errors import (
    NodeFull,
    NodeNonsense,
    NodeRefused,
    NodeTimeout,
    NodeUnavailable,
)

Gate = Callable[[], Deferred[Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """At its moment the request waits for `gate`, if any, and then fails with `error`, if any.

    The moment: `after_bytes` of the body (that a PUT or a part sends, or a GET delivers);
    with None, before the request takes effect; with `carried_out`, after that, so that
    only the answer is late or lost. `unreached` says that the request doesn't come to the
    node at all: its body isn't started.

    With `lands` the request takes effect when what that returns has fired, whether or not
    anybody waits for it by then: cancelled, failed with `error` at once, or still waiting
    (without an `error` the answer comes then). What the node refuses at that moment has no
    effect. A gate that fails, or is cancelled, loses the request for good.
    """

    error: Callable[[str], Exception] | None = None
    after_bytes: int | None = None
    carried_out: bool = False
    unreached: bool = False
    gate: Gate | None = None
    lands: Gate | None = None


NO_FAULT = Fault()


def unavailable() -> Fault:
    """No connection."""
    return Fault(lambda node: NodeUnavailable(node, "no connection"), unreached=True)


def timed_out(*, carried_out: bool = False) -> Fault:
    """No answer in time, whether or not the node does what it was asked."""
    return Fault(lambda node: NodeTimeout(node, "didn't answer in time"), carried_out=carried_out)


def full() -> Fault:
    """Refused for lack of space; for writes."""
    return Fault(lambda node: NodeFull(node, "no space left", 507, "XMinioStorageFull"))


def refused(status: int = 500, code: str = "InternalError") -> Fault:
    """An error of the node's own."""
    return Fault(lambda node: NodeRefused(node, f"{code}: scripted", status, code))


def nonsense() -> Fault:
    """An answer that nobody can understand."""
    return Fault(lambda node: NodeNonsense(node, "its answer isn't HTTP"))


def breaks(after_bytes: int) -> Fault:
    """The connection breaks in the middle of the body."""
    return Fault(lambda node: NodeUnavailable(node, "the connection broke"), after_bytes)


def late(gate: Gate, *, carried_out: bool = False) -> Fault:
    """The answer waits for what `gate` returns, and so does the effect if not `carried_out`."""
    return Fault(gate=gate, carried_out=carried_out)


def stalls(after_bytes: int, gate: Gate) -> Fault:
    """The body stands still after so many bytes until what `gate` returns has fired."""
    return Fault(after_bytes=after_bytes, gate=gate)


def lands_late(lands: Gate) -> Fault:
    """No answer in time; the request takes effect when what `lands` returns has fired."""
    return Fault(lambda node: NodeTimeout(node, "didn't answer in time"), lands=lands)


def lost_and_lands_late(lands: Gate) -> Fault:
    """The connection breaks after the request; it takes effect as with `lands_late`."""
    return Fault(lambda node: NodeUnavailable(node, "the connection broke"), lands=lands)


def silent(lands: Gate) -> Fault:
    """No answer before what `lands` returns has fired; takes effect then, wanted or not."""
    return Fault(lands=lands)
