"""An S3 server in memory, and INode over it: for tests without a socket.

It answers at once, so that `successResultOf` has the result, unless a fault is scripted
(see `aosd.testing.faults`). Bodies flow with real backpressure: a consumer that pauses
stops them. It keeps the contract in `aosd.testing.contract`, as real servers do.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import DigestMismatch, NodeRefused, NoSuchKey
from aosd.model.objects import (
    KEPT_HEADERS,
    OBJECT_BUCKET,
    STAMP_HEADER,
    SYSTEM_BUCKET,
    Entry,
    Headers,
    ObjectHead,
    Page,
    Span,
)
from aosd.model.ranges import ByteRange
from aosd.ports import INode, IReading
from aosd.testing.bodies import PIECE_BYTES
from aosd.testing.faults import NO_FAULT, Fault
from aosd.testing.memory_bodies import Intake, MemoryReading

T = TypeVar("T")

_OURS = b"x-amz-meta-aos-"


@dataclass(frozen=True, slots=True)
class Copy:
    """An object as it lies on the node; `headers` with aosd's own among them."""

    data: bytes
    etag: str
    modified_s: float
    headers: Headers = ()

    @property
    def head(self) -> ObjectHead:
        """What a HEAD tells of it."""
        stamp = dict(self.headers).get(STAMP_HEADER)
        return ObjectHead(
            self.etag,
            len(self.data),
            int(self.modified_s),
            stamp.decode("ascii") if stamp is not None else None,
            tuple(each for each in self.headers if not each[0].startswith(_OURS)),
        )


@dataclass(slots=True)
class _Upload:
    bucket: str
    key: str
    headers: Headers
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


@implementer(INode)
class MemoryNode:
    """See INode. `buckets` may be looked into and changed at will: {bucket: {key: Copy}}.

    `now` gives seconds since 1970, for Last-Modified. `least_part_bytes` is what all parts
    but the last must have (real servers: 5 MiB). With `tree_order` it lists as SeaweedFS
    does, a folder at a time; with `hides_beneath` as MinIO does, no key beneath another
    one; without `checks_sha256` it ignores x-amz-content-sha256, as SeaweedFS does.

    `requests` counts what it was asked, by method name; `open_readings` are answered GETs
    whose body is neither delivered nor abandoned, `uploads` open multipart uploads by id:
    both empty at the end of a test.
    """

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], float] = lambda: 1_700_000_000.0,
        buckets: Iterable[str] = (OBJECT_BUCKET, SYSTEM_BUCKET),
        piece_bytes: int = PIECE_BYTES,
        least_part_bytes: int = 0,
        tree_order: bool = False,
        hides_beneath: bool = False,
        checks_sha256: bool = True,
    ) -> None:
        self.name = name
        self.buckets: dict[str, dict[str, Copy]] = {bucket: {} for bucket in buckets}
        self.requests: Counter[str] = Counter()
        self.open_readings = 0
        self.uploads: dict[str, _Upload] = {}
        self.closed = False
        self._now = now
        self._piece_bytes = piece_bytes
        self._least_part_bytes = least_part_bytes
        self._tree_order = tree_order
        self._hides_beneath = hides_beneath
        self._checks_sha256 = checks_sha256
        self._faults: dict[str, deque[Fault]] = {}
        self._lasting: dict[str, Fault] = {}
        self._uploads_made = 0

    # -- the script -----------------------------------------------------------------------------

    def script(self, method: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next `times` requests of `method` (`put`, `get`, …) meet `fault`; None: all.

        `method` may be `*` for any. Faults of one method are met in order, before those of
        `*`, and lasting ones last.
        """
        if times is None:
            self._lasting[method] = fault
        else:
            self._faults.setdefault(method, deque()).extend([fault] * times)

    def heal(self) -> None:
        """Forget all faults that weren't met yet."""
        self._faults.clear()
        self._lasting.clear()

    def _meet(self, method: str) -> Fault:
        self.requests[method] += 1
        for name in (method, "*"):
            if self._faults.get(name):
                return self._faults[name].popleft()
        return self._lasting.get(method) or self._lasting.get("*") or NO_FAULT

    # -- objects --------------------------------------------------------------------------------

    def head(self, bucket: str, key: str) -> Deferred[ObjectHead]:
        """See INode."""
        return self._answer("head", lambda: self._copy(bucket, key).head)

    def get(self, bucket: str, key: str, wanted: ByteRange | None = None) -> Deferred[IReading]:
        """See INode."""
        fault = self._meet("get")
        in_the_body = fault.after_bytes is not None

        def read() -> IReading:
            copy = self._copy(bucket, key)
            size_bytes = len(copy.data)
            span = Span(0, size_bytes) if wanted is None else wanted.resolve(size_bytes)
            self.open_readings += 1
            return MemoryReading(
                copy.head,
                span,
                copy.data[span.first : span.first + span.length],
                self._piece_bytes,
                fault.after_bytes,
                lambda: Deferred.fromCoroutine(self._strike(fault)),
                self._reading_ended,
            )

        return Deferred.fromCoroutine(self._act(NO_FAULT if in_the_body else fault, read))

    def put(self, bucket: str, key: str, body: IBodyProducer, headers: Headers) -> Deferred[str]:
        """See INode."""

        def store(data: bytes) -> str:
            there = self._bucket(bucket)
            self._check_digests(data, headers)
            there[key] = Copy(data, _quoted(_md5(data)), self._now(), _kept(headers))
            return there[key].etag

        return Deferred.fromCoroutine(self._take(self._meet("put"), body, store))

    def delete(self, bucket: str, key: str) -> Deferred[None]:
        """See INode."""

        def remove() -> None:
            self._bucket(bucket).pop(key, None)

        return self._answer("delete", remove)

    def list(
        self, bucket: str, prefix: str = "", after: str = "", limit: int = 1000, delimiter: str = ""
    ) -> Deferred[Page]:
        """See INode."""
        return self._answer("list", lambda: self._page(bucket, prefix, after, limit, delimiter))

    # -- multipart uploads ----------------------------------------------------------------------

    def create_upload(self, bucket: str, key: str, headers: Headers) -> Deferred[str]:
        """See INode."""

        def create() -> str:
            self._bucket(bucket)
            self._uploads_made += 1
            upload_id = f"upload-{self._uploads_made}"
            self.uploads[upload_id] = _Upload(bucket, key, _kept(headers))
            return upload_id

        return self._answer("create_upload", create)

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> Deferred[str]:
        """See INode."""

        def store(data: bytes) -> str:
            etag = _quoted(_md5(data))
            self._upload(bucket, key, upload_id).parts[number] = (etag, data)
            return etag

        return Deferred.fromCoroutine(self._take(self._meet("put_part"), body, store))

    def complete_upload(
        self, bucket: str, key: str, upload_id: str, etags: Sequence[str]
    ) -> Deferred[str]:
        """See INode."""

        def complete() -> str:
            upload = self._upload(bucket, key, upload_id)
            pieces: list[bytes] = []
            for number, etag in enumerate(etags, 1):
                told, data = upload.parts.get(number, ("", b""))
                if told != etag:
                    raise NodeRefused(self.name, f"no part {number}", 400, "InvalidPart")
                if number < len(etags) and len(data) < self._least_part_bytes:
                    raise NodeRefused(self.name, f"part {number}", 400, "EntityTooSmall")
                pieces.append(data)
            if not pieces:
                raise NodeRefused(self.name, "no parts", 400, "MalformedXML")
            digests = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
            etag = _quoted(f"{_md5(digests)}-{len(etags)}")
            copy = Copy(b"".join(pieces), etag, self._now(), upload.headers)
            self._bucket(bucket)[key] = copy
            del self.uploads[upload_id]
            return etag

        return self._answer("complete_upload", complete)

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> Deferred[None]:
        """See INode."""

        def abort() -> None:
            self.uploads.pop(upload_id, None)

        return self._answer("abort_upload", abort)

    # -- the node itself ------------------------------------------------------------------------

    def probe(self) -> Deferred[bytes | None]:
        """See INode."""

        def read() -> bytes | None:
            marker = self.buckets.get(SYSTEM_BUCKET, {}).get("node.json")
            return marker.data if marker is not None else None

        return self._answer("probe", read)

    def close(self) -> Deferred[None]:
        """See INode."""
        self.closed = True
        return succeed(None)

    # -- inside ---------------------------------------------------------------------------------

    def _answer(self, method: str, act: Callable[[], T]) -> Deferred[T]:
        return Deferred.fromCoroutine(self._act(self._meet(method), act))

    async def _act(self, fault: Fault, act: Callable[[], T]) -> T:
        if fault.carried_out:
            result = act()
            await self._strike(fault)
            return result
        await self._strike(fault)
        return act()

    async def _strike(self, fault: Fault) -> None:
        if fault.gate is not None:
            await fault.gate()
        if fault.error is not None:
            raise fault.error(self.name)

    async def _take(self, fault: Fault, body: IBodyProducer, store: Callable[[bytes], T]) -> T:
        """Read a body and store it."""
        if fault.unreached:
            await self._strike(fault)
        strike_at = fault.after_bytes
        if strike_at is None and fault.error is not None and not fault.carried_out:
            # A node that refuses does so before it has read the body.
            strike_at = 0
        intake = Intake(
            self.name, body, strike_at, lambda: Deferred.fromCoroutine(self._strike(fault))
        )
        data = await intake.start()
        return await self._act(fault if strike_at is None else NO_FAULT, lambda: store(data))

    def _bucket(self, bucket: str) -> dict[str, Copy]:
        there = self.buckets.get(bucket)
        if there is None:
            raise NodeRefused(self.name, "no such bucket", 404, "NoSuchBucket")
        return there

    def _copy(self, bucket: str, key: str) -> Copy:
        copy = self._bucket(bucket).get(key)
        if copy is None:
            raise NoSuchKey("no such object")
        return copy

    def _upload(self, bucket: str, key: str, upload_id: str) -> _Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise NodeRefused(self.name, "no such upload", 404, "NoSuchUpload")
        return upload

    def _check_digests(self, data: bytes, headers: Headers) -> None:
        claimed = dict(headers)
        md5 = b64encode(hashlib.md5(data, usedforsecurity=False).digest())
        if claimed.get(b"content-md5", md5) != md5:
            raise DigestMismatch("the body doesn't have the digest that Content-MD5 says")
        sha256 = hashlib.sha256(data).hexdigest().encode("ascii")
        if self._checks_sha256 and claimed.get(b"x-amz-content-sha256", sha256) != sha256:
            raise DigestMismatch("the body doesn't have the SHA-256 that the client says")

    def _reading_ended(self) -> None:
        self.open_readings -= 1

    def _page(self, bucket: str, prefix: str, after: str, limit: int, delimiter: str) -> Page:
        there = self._bucket(bucket)
        names: dict[str, Copy | None] = {}
        for key in there:
            if not key.startswith(prefix) or (self._hides_beneath and _beneath(key, there)):
                continue
            folder, found, _ = key[len(prefix) :].partition(delimiter or "\0")
            if delimiter and found:
                names[prefix + folder + delimiter] = None
            else:
                names[key] = there[key]
        ordered = sorted(
            (name for name in names if self._order(name) > self._order(after)), key=self._order
        )
        page = ordered[:limit]
        return Page(
            tuple(
                Entry(name, copy.etag, len(copy.data), copy.modified_s)
                for name in page
                if (copy := names[name]) is not None
            ),
            tuple(name for name in page if names[name] is None),
            truncated=len(ordered) > limit,
            last=max(page, key=_utf8) if page else None,
        )

    def _order(self, name: str) -> tuple[bytes, ...]:
        if self._tree_order:
            return tuple(_utf8(segment) for segment in name.split("/"))
        return (_utf8(name),)


def _kept(headers: Headers) -> Headers:
    """What is stored of a request's headers."""
    return tuple(
        (name, value)
        for name, value in headers
        if name in KEPT_HEADERS or name.startswith(b"x-amz-meta-")
    )


def _beneath(key: str, there: Iterable[str]) -> bool:
    """Whether a folder that the key lies in is itself a key."""
    segments = key.split("/")
    return any("/".join(segments[:count]) in there for count in range(1, len(segments)))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
