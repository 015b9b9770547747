"""Parts of an object that was uploaded in parts, counted by their place: part 2 is the second."""

from __future__ import annotations

from dataclasses import dataclass

from aosd.gateway.store import Store
from aosd.model.errors import (
    BadRequest,
    NodeError,
    NodeNonsense,
    NoSuchKey,
    Overtaken,
    PreconditionFailed,
)
from aosd.model.objects import ObjectHead, Span
from aosd.model.parts import count_of_parts


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of one part, and how many parts there are: None where it is in one piece."""

    span: Span
    count: int | None


async def sizes_of_parts(store: Store, bucket: str, key: str, head: ObjectHead) -> tuple[int, ...]:
    """The sizes in bytes of all parts of the version with this head; its own, of a single piece.

    Any copy with its ETag can tell: that is made of the parts. Raises Overtaken when there is
    none any more, and NodeError.
    """
    count = count_of_parts(head.etag)
    if count is None:
        return (head.size_bytes,)
    failure: NodeError | None = None
    for candidate in store.preferred(store.could_hold(bucket, key)):
        assert candidate.node is not None
        try:
            sizes = tuple(await candidate.node.part_sizes(bucket, key, head.etag))
        except (NoSuchKey, PreconditionFailed):
            continue
        except NodeError as error:
            failure = error
            continue
        if (len(sizes), sum(sizes)) == (count, head.size_bytes):
            return sizes
        failure = NodeNonsense(candidate.name, "it can't tell an object's parts")
    raise failure or Overtaken("the object is changing")


async def part_of(store: Store, bucket: str, key: str, head: ObjectHead, number: int) -> Part:
    """Part `number` (from 1) of the version with this head.

    Raises BadRequest (InvalidPartNumber) when it has no such part, and what sizes_of_parts does.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    sizes = await sizes_of_parts(store, bucket, key, head)
    if not 1 <= number <= len(sizes):
        raise BadRequest(f"it has no part {number}, but {len(sizes)}", "InvalidPartNumber")
    span = Span(sum(sizes[: number - 1]), sizes[number - 1])
    return Part(span, count_of_parts(head.etag))
