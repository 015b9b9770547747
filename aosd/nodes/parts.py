"""The parts that an object was uploaded in, by whatever a server tells of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aosd.model.errors import NodeRefused, PreconditionFailed
from aosd.model.objects import Headers, ObjectHead
from aosd.model.parts import MOST_PARTS, count_of_parts
from aosd.nodes.bodies import drop_body
from aosd.nodes.exchange import Exchange

_A_PAGE = 1000
_NO_SUCH_PART = 416

Head = Callable[[str, str, int | None], Awaitable[ObjectHead]]


async def part_sizes(
    exchange: Exchange, head: Head, bucket: str, key: str, etag: str
) -> tuple[int, ...]:
    """See INode.part_sizes. `head` is the node's own.

    GetObjectAttributes tells a thousand at once, and of an empty part; servers that don't know
    it are asked part by part.
    """
    whole = await head(bucket, key, None)
    if whole.etag != etag:
        raise PreconditionFailed("it has another ETag")
    count = count_of_parts(etag)
    if count is None:
        return (whole.size_bytes,)
    sizes = await _by_attributes(exchange, bucket, key, etag)
    if sizes is None or (len(sizes), sum(sizes)) != (count, whole.size_bytes):
        # Of one that is stored compressed MinIO may tell what it takes on the disk.
        sizes = await _by_heads(head, bucket, key, whole, count)
    return tuple(sizes)


async def _by_attributes(exchange: Exchange, bucket: str, key: str, etag: str) -> list[int] | None:
    """None when the server doesn't know the operation."""
    sizes: list[int] = []
    marker = 0
    while True:
        headers: Headers = (
            (b"x-amz-object-attributes", b"ETag,ObjectParts,ObjectSize"),
            (b"x-amz-max-parts", b"%d" % _A_PAGE),
            (b"x-amz-part-number-marker", b"%d" % marker),
        )
        response = await exchange.ask("GET", bucket, key, query={"attributes": ""}, headers=headers)
        kind = (response.headers.getRawHeaders(b"Content-Type") or [b""])[0]
        if response.code != 200 or b"xml" not in kind:
            drop_body(response, exchange.relay)
            return None
        told = exchange.answers.parts(await exchange.read(response))
        if told is None:
            return None
        if told.etag != etag:
            raise PreconditionFailed("it has another ETag")
        sizes += [size_bytes for number, size_bytes in told.parts if number > marker]
        # Neither server's IsTruncated can be trusted.
        if len(sizes) >= told.total or not told.parts or told.parts[-1][0] <= marker:
            return sizes
        marker = told.parts[-1][0]


async def _by_heads(head: Head, bucket: str, key: str, whole: ObjectHead, count: int) -> list[int]:
    """By `HEAD ?partNumber=N`: MinIO counts by place, SeaweedFS goes by the numbers."""
    sizes: list[int] = []
    for number in range(1, MOST_PARTS + 1):
        if len(sizes) == count or sum(sizes) >= whole.size_bytes:
            break
        try:
            part = await head(bucket, key, number)
        except NodeRefused as error:
            if error.status != _NO_SUCH_PART:
                raise
            continue
        if part.etag != whole.etag:
            raise PreconditionFailed("it has another ETag")
        sizes.append(part.size_bytes)
    # The last one may be empty, which has no range to tell.
    return sizes + [0] * (count - len(sizes))
