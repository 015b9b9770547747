"""One body on its way to several nodes: what becomes of it on each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aosd.gateway.sent import Sent
from aosd.model.errors import NodeNonsense
from aosd.ports import Candidate, INode
from aosd.streams.fanout import Branch, Fanout

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
        storing = _drop_when_over(send(candidate.node, branch), fanout, branch, candidate.name)
        sending.append(storing.addCallbacks(*_noted(sent, candidate.name)))
    return sending


def _noted(sent: Sent, name: str) -> tuple[Callable[[str], None], Callable[[Failure], None]]:
    def failed(reason: Failure) -> None:
        error = reason.value
        sent.answered(name, error if isinstance(error, Exception) else CancelledError())

    return lambda etag: sent.answered(name, etag), failed


def _drop_when_over(
    storing: Deferred[str], fanout: Fanout, branch: Branch, node: str
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

    return storing.addCallback(answered).addErrback(failed)
