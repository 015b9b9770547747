"""What all use cases share, and how they look at a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from aosd.consistency.to_the_end import ToTheEnd
from aosd.consistency.turns import Turns
from aosd.model.errors import (
    ClusterError,
    NodeError,
    NodeFull,
    NodeNonsense,
    NodeTimeout,
    NodeUnavailable,
    NoNodes,
    NoQuorum,
    NoSuchKey,
    UpstreamNonsense,
    UpstreamTimeout,
)
from aosd.model.objects import ObjectHead
from aosd.model.stamp import StampClock
from aosd.ports import INode, IPlacement
from aosd.streams.budget import MemoryBudget

T = TypeVar("T")

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of bodies, in bytes.

    Up to `held_bytes` a body of known length is read whole before it is sent; over
    `single_put_bytes` it goes as parts, of `part_bytes` growing to `part_bytes_max`.
    """

    held_bytes: int = MIB
    single_put_bytes: int = 5 * 1024 * MIB
    part_bytes: int = 8 * MIB
    part_bytes_max: int = 64 * MIB


@dataclass(frozen=True)
class Store:
    """The object store, as use cases see it: where keys belong, turns, stamps, memory."""

    placement: IPlacement
    turns: Turns
    to_the_end: ToTheEnd
    stamps: StampClock
    budget: MemoryBudget
    limits: Limits = Limits()
    replicas: int = 1

    def primaries(self, bucket: str, key: str) -> list[INode]:
        """The nodes that hold the key's copies, all of them up; NoNodes or NoQuorum if not."""
        order = self.placement.order(bucket, key)
        if not order:
            raise NoNodes("no nodes are known yet")
        found: list[INode] = []
        for candidate in order[: self.replicas]:
            if candidate.node is None:
                raise NoQuorum(f"node {candidate.name}, which this key lies on, is away")
            found.append(candidate.node)
        return found

    def others(self, bucket: str, key: str) -> list[INode]:
        """The nodes that are up and no primaries of the key, in its order."""
        order = self.placement.order(bucket, key)
        return [each.node for each in order[self.replicas :] if each.node is not None]

    async def elsewhere(self, bucket: str, key: str) -> tuple[INode, ObjectHead] | None:
        """The newest copy on a node that is no primary, where a ring change left it."""
        heads = await self.ask(self.others(bucket, key), lambda node: node.head(bucket, key))
        newest = None
        for node, head in heads:
            age = (head.stamp or "", head.modified_s)
            if newest is None or age > newest[0]:
                newest = age, node, head
        return newest and newest[1:]

    async def look(self, bucket: str, key: str) -> ObjectHead | None:
        """The head of the key's object; None when there is none."""
        try:
            return await self.primaries(bucket, key)[0].head(bucket, key)
        except NoSuchKey:
            copy = await self.elsewhere(bucket, key)
            return copy and copy[1]

    async def ask(
        self, nodes: Sequence[INode], question: Callable[[INode], Deferred[T]]
    ) -> list[tuple[INode, T]]:
        """Ask all of `nodes` at once: the answers of those that have one.

        NoSuchKey is no answer, and a node that turns out to be away, or too slow, isn't one
        of those that are up. Any other error is raised, after all have answered.
        """

        async def ask(node: INode) -> tuple[INode, T] | None:
            try:
                return node, await question(node)
            except (NoSuchKey, NodeUnavailable, NodeTimeout):
                return None

        answers = await gather([Deferred.fromCoroutine(ask(node)) for node in nodes])
        return [answer for answer in answers if answer is not None]


async def gather(waiting: Sequence[Deferred[T]]) -> list[T]:
    """All results in order, or the first one's error, once all have ended."""
    outcomes = await DeferredList(waiting, consumeErrors=True)
    results: list[T] = []
    for _, outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
        results.append(outcome)
    return results


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn what one node did wrong into what the cluster can't do. Only the gateway does so."""
    try:
        yield
    except NodeError as error:
        raise _cluster_error(error) from error


def _cluster_error(error: NodeError) -> ClusterError:
    match error:
        case NodeTimeout():
            return UpstreamTimeout(str(error))
        case NodeNonsense():
            return UpstreamNonsense(str(error))
        case NodeFull():
            return NoQuorum(f"no space left: {error}", retry_after_s=30)
        case _:
            return NoQuorum(str(error))
