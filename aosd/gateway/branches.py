"""One body on its way to several nodes: what becomes of it on each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aosd.gateway.sent import Sent
from aosd.ports import Candidate, INode
from aosd.streams.fanout import Branch, Fanout, drop_when_over

Send = Callable[[INode, Branch], "Deferred[str]"]
"""Asks a node to store a branch; fires with the ETag."""


def send_branches(
    fanout: Fanout, nodes: Sequence[Candidate], send: Send, sent: Sent
) -> list[Deferred[None]]:
    """Send a branch of `fanout` to each of `nodes`, all of which can be asked.

    Who fails is dropped, and the others go on. What is returned fires, one for each, when its
    outcome is in `sent`, and never fails.
    """
    sending = []
    for candidate, branch in zip(nodes, fanout.branches, strict=True):
        assert candidate.node is not None
        storing = drop_when_over(send(candidate.node, branch), fanout, branch, candidate.name)
        sending.append(storing.addCallbacks(*_noted(sent, candidate.name)))
    return sending


def _noted(sent: Sent, name: str) -> tuple[Callable[[str], None], Callable[[Failure], None]]:
    def failed(reason: Failure) -> None:
        error = reason.value
        sent.answered(name, error if isinstance(error, Exception) else CancelledError())

    return lambda etag: sent.answered(name, etag), failed
