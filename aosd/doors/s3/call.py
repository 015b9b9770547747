"""One request to the S3 door, as its handlers see it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from aosd.doors.heads import content_md5
from aosd.doors.request import DoorRequest
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.identities import Identity, Needs
from aosd.doors.s3.xml_in import parse
from aosd.gateway.store import Store
from aosd.ports import IBodySource
from aosd.streams.digests import Digests
from aosd.streams.reader import BodyReader, size_of

MIB = 1024 * 1024
LONG_DOCUMENT_BYTES = 4 * MIB
"""For what may name 10,000 parts with checksums, or 1,000 keys of 1,024 bytes."""


@dataclass(frozen=True)
class Call:
    """A request whose signature was checked, and which its sender is allowed to make.

    `who` None: unsigned, and public. `key` and `bucket` are "" where there is none. `body` is
    the decoded one: the framing of signed chunks is off, and what they say was checked.
    `content_sha256` is the digest that the signature covers; None when it covers none.
    """

    request: DoorRequest
    store: Store
    bucket: str
    key: str
    query: Mapping[str, str]
    who: Identity | None
    body: IBodySource
    content_sha256: bytes | None
    region: str

    def header(self, name: bytes) -> str | None:
        """A header's value, several joined by commas, as latin-1; None without one."""
        values = self.request.requestHeaders.getRawHeaders(name)
        return b", ".join(values).decode("latin-1").strip() if values else None

    def may(self, needs: Needs, bucket: str) -> bool:
        """Whether the sender may do that with another bucket too."""
        return self.who is not None and self.who.may(needs, bucket)

    async def read(self, limit_bytes: int = MIB) -> bytes:
        """The whole body, of `limit_bytes` at most, its digests checked.

        Raises S3Error MaxMessageLengthExceeded, and what a body fails with.
        """
        body, budget = self.body, self.store.budget
        if body.length is not None and body.length > limit_bytes:
            raise _too_long(limit_bytes)
        claimed = {
            "Content-MD5": content_md5(self.request),
            "x-amz-content-sha256": self.content_sha256,
        }
        digests = Digests({name: value for name, value in claimed.items() if value})
        held = limit_bytes if body.length is None else body.length
        await budget.acquire(held)
        try:
            reader = BodyReader(body, digests)
            pieces = await reader.read(limit_bytes)
            if size_of(pieces) == limit_bytes and await reader.more():
                raise _too_long(limit_bytes)
            digests.check()
            return b"".join(pieces)
        finally:
            budget.release(held)

    async def document(self, root_name: str, limit_bytes: int = MIB) -> Element:
        """The body as XML. Raises S3Error MalformedXML, and what `read` does."""
        return parse(await self.read(limit_bytes), root_name)

    def write_xml(self, data: bytes, status: int = 200) -> None:
        """Write a whole answer in XML."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"content-type", b"application/xml")
        self.request.setHeader(b"content-length", b"%d" % len(data))
        self.request.write(data)

    def no_content(self, status: int = 204) -> None:
        """An answer without a body."""
        self.request.setResponseCode(status)
        if status != 204:
            self.request.setHeader(b"content-length", b"0")


Handler = Callable[[Call], Coroutine[Any, Any, None]]


def _too_long(limit_bytes: int) -> S3Error:
    return S3Error("MaxMessageLengthExceeded", f"the body can have {limit_bytes} bytes at most")
