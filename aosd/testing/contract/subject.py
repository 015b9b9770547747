"""What a case of the contract is given, and what cases share."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from aosd.model.objects import OBJECT_BUCKET, Headers, Page
from aosd.model.ranges import ByteRange
from aosd.ports import INode
from aosd.testing.bodies import BytesBody, CollectingConsumer

E = TypeVar("E", bound=BaseException)

MIB = 1024 * 1024
STAMP = "0193594b3a7c-0000-1f2e3d4c"


@dataclass(frozen=True, slots=True)
class Traits:
    """In what a server is allowed to differ from S3, because it is known to.

    `sorts`: it lists in the order of UTF-8 bytes. `checks_sha256`: it refuses a body that
    hasn't the SHA-256 of its x-amz-content-sha256. `keeps_folders`: an object whose key
    ends with `/` keeps its bytes. `tells_stamps`: its listings have stamps when asked.
    """

    sorts: bool = True
    checks_sha256: bool = True
    keeps_folders: bool = True
    tells_stamps: bool = False


SEAWEEDFS = Traits(sorts=False, checks_sha256=False, keeps_folders=False)
MINIO = Traits(tells_stamps=True)


@dataclass(frozen=True, slots=True)
class Subject:
    """The node under test. Keys of a case begin with its `name`."""

    node: INode
    name: str
    bucket: str = OBJECT_BUCKET
    traits: Traits = field(default_factory=Traits)

    def key(self, rest: str) -> str:
        """A key of this case."""
        return f"{self.name}-{rest}"

    async def put(self, key: str, data: bytes, headers: Headers = ()) -> str:
        """PUT an object."""
        return await self.node.put(self.bucket, key, BytesBody(data), headers)

    async def get(self, key: str, wanted: ByteRange | None = None) -> bytes:
        """GET an object's bytes."""
        consumer = CollectingConsumer()
        reading = await self.node.get(self.bucket, key, wanted)
        await reading.deliver(consumer)
        assert consumer.ended
        assert len(consumer.data) == reading.span.length
        return bytes(consumer.data)

    async def clear(self) -> None:
        """Delete the case's keys, if an earlier run left some."""
        for key in await self.walk(self.key("")):
            await self.node.delete(self.bucket, key)

    async def walk(self, prefix: str, limit: int = 1000, delimiter: str = "") -> list[str]:
        """All names of a listing, page by page."""
        found: list[str] = []
        after = ""
        while True:
            page = await self.node.list(self.bucket, prefix, after, limit, delimiter)
            found += names_of(page)
            if not page.truncated:
                return found
            assert page.last is not None and page.last != after, "a listing that stands still"
            after = page.last


Case = Callable[[Subject], Awaitable[None]]


class Cases(dict[str, Case]):
    """Cases by name."""

    def add(self, case: Case) -> Case:
        """A decorator: the case's name is its function's, with dashes."""
        self[case.__name__.replace("_", "-")] = case
        return case


async def raises(kind: type[E], waiting: Awaitable[object]) -> E:
    """The error of `kind` that `waiting` has to fail with."""
    try:
        result = await waiting
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was due, and {result!r} came")


def etag_of(data: bytes) -> str:
    """The ETag that S3 defines for an object of one piece."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def etag_of_parts(*parts: bytes) -> str:
    """The ETag that S3 defines for an object of parts."""
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f'{etag_of(digests)[:-1]}-{len(parts)}"'


def numbered(*etags: str) -> list[tuple[int, str]]:
    """What a Complete of parts 1 to len(etags) tells."""
    return list(enumerate(etags, 1))


def names_of(page: Page) -> list[str]:
    """The keys and the prefixes of a page."""
    return [entry.key for entry in page.entries] + list(page.prefixes)


def some_bytes(count: int) -> bytes:
    """Bytes of which no two stretches are alike."""
    return hashlib.shake_128(b"aosd").digest(count)
