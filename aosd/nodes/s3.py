"""A node over its S3 API: INode by treq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from xml.sax.saxutils import escape

from twisted.internet.defer import Deferred, DeferredList
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aosd.model.errors import (
    BucketNotEmpty,
    NodeNonsense,
    NodeRefused,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.listing import nearest_before, only
from aosd.model.marker import MARKER_KEY
from aosd.model.objects import SYSTEM_BUCKET, Headers, ObjectHead, Page, PartsPage, Span
from aosd.model.ranges import ByteRange
from aosd.nodes.bodies import ResponseReading, drop_body
from aosd.nodes.connections import ControlConnection
from aosd.nodes.exchange import Exchange
from aosd.nodes.http import client_over, make_client
from aosd.nodes.over_treq import TreqExchange
from aosd.nodes.parts import part_sizes
from aosd.nodes.response import Response
from aosd.nodes.wiring import Wiring
from aosd.ports import INode, IReading
from aosd.streams.bodies import HeldBody

_THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


@implementer(INode)
class S3Node:
    """See INode. One instance an address: a node that comes back elsewhere gets a new one."""

    def __init__(self, wiring: Wiring) -> None:
        self.name = wiring.name
        self.sorts = True
        self.address = wiring.address
        self._health = wiring.health
        self._now = wiring.now
        self._complete_s = wiring.deadlines.complete_s
        wiring.metrics.spliced_bytes.labels(wiring.name)  # 0 where nothing is
        self._connection = ControlConnection(
            wiring.reactor, wiring.connect_timeout_s, wiring.health.control_lost
        )
        self._control: Exchange = TreqExchange(
            replace(wiring, most_waiting=None), client_over(self._connection.agent)
        )
        self._exchange, self._close_pool = self._lane(wiring)

    def _lane(self, wiring: Wiring) -> tuple[Exchange, Callable[[], Deferred[None]]]:
        """What requests go by, all but probes, and what closes its idle connections."""
        client, pool = make_client(
            wiring.reactor,
            connect_timeout_s=wiring.connect_timeout_s,
            connections=wiring.connections,
            confirm=wiring.health.confirm,
        )
        return TreqExchange(wiring, client), pool.closeCachedConnections

    # -- objects ------------------------------------------------------------------------------

    def head(self, bucket: str, key: str, part: int | None = None) -> Deferred[ObjectHead]:
        """See INode."""
        return Deferred.fromCoroutine(self._head(bucket, key, part))

    async def _head(self, bucket: str, key: str, part: int | None = None) -> ObjectHead:
        query = {} if part is None else {"partNumber": str(part)}
        response = await self._exchange.ask("HEAD", bucket, key, query=query)
        # A part is a range to servers: they answer 206.
        await self._succeed(response, 200, *([206] if part else []))
        told = response.headers.getRawHeaders(b"Content-Length")
        if not told or not told[0].isdigit():
            raise NodeNonsense(self.name, "its answer to HEAD has no Content-Length")
        return self._object_head(response, int(told[0]))

    def part_sizes(self, bucket: str, key: str, etag: str) -> Deferred[Sequence[int]]:
        """See INode."""
        return Deferred.fromCoroutine(part_sizes(self._exchange, self._head, bucket, key, etag))

    async def get(
        self,
        bucket: str,
        key: str,
        wanted: ByteRange | None = None,
        etag: str | None = None,
    ) -> IReading:
        """See INode."""
        headers: Headers = ((b"range", wanted.header),) if wanted else ()
        if etag is not None:
            headers = (*headers, (b"if-match", etag.encode("latin-1")))
        response = await self._exchange.ask("GET", bucket, key, headers=headers)
        if response.code == 412 and etag is not None:
            self._drop(response)
            raise PreconditionFailed("it has another ETag")
        if response.code == 416 and wanted is not None:
            self._drop(response)
            # Nodes differ in how they tell the size with a 416; all tell it on HEAD.
            raise RangeNotSatisfiable((await self._head(bucket, key)).size_bytes)
        if response.code not in (200, 206):
            raise await self._exchange.refuse(response)
        length = response.length
        try:
            if not isinstance(length, int):
                raise NodeNonsense(self.name, "its answer to GET has no Content-Length")
            if response.code == 206:
                span, size_bytes = self._content_range(response, length)
            else:
                span, size_bytes = Span(0, length), length
            head = self._object_head(response, size_bytes)
            if etag is not None and head.etag != etag:
                raise PreconditionFailed("it has another ETag")
            if wanted is not None and wanted.resolve(size_bytes) != span:
                raise NodeNonsense(self.name, "it answered with another range")
        except Exception:
            self._drop(response)
            raise
        return self._reading(response, head, span)

    def _object_head(self, response: Response, size_bytes: int) -> ObjectHead:
        return self._exchange.answers.object_head(response, size_bytes)

    def _reading(self, response: Response, head: ObjectHead, span: Span) -> IReading:
        return ResponseReading(response, head, span, self._exchange.relay)

    def put(self, bucket: str, key: str, body: IBodyProducer, headers: Headers) -> Deferred[str]:
        """See INode."""
        return Deferred.fromCoroutine(self._put(bucket, key, body, headers))

    async def _put(self, bucket: str, key: str, body: IBodyProducer, headers: Headers) -> str:
        return await self._stored(
            await self._exchange.ask("PUT", bucket, key, headers=headers, body=body)
        )

    def delete(self, bucket: str, key: str) -> Deferred[None]:
        """See INode."""
        return Deferred.fromCoroutine(self._delete(bucket, key, {}))

    async def _delete(self, bucket: str, key: str, query: dict[str, str]) -> None:
        response = await self._exchange.ask("DELETE", bucket, key, query=query)
        if response.code in (200, 204):
            self._drop(response)
            return
        error = await self._exchange.refuse(response)
        gone = isinstance(error, NoSuchKey) or (
            isinstance(error, NodeRefused) and error.code in ("NoSuchUpload", "NoSuchBucket")
        )
        if not gone:
            raise error

    def list(
        self,
        bucket: str,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        stamps: bool = False,
        token: str = "",
    ) -> Deferred[Page]:
        """See INode."""
        asked = {"prefix": prefix, "start-after": after, "delimiter": delimiter}
        folder, slash, name = prefix.rpartition("/")
        dotted = name in (".", "..")
        if dotted:
            # Keys may begin so, but MinIO refuses such a prefix: the folder from there on.
            asked |= {"prefix": folder + slash, "start-after": after or nearest_before(prefix)}
        elif token:
            asked |= {"start-after": "", "continuation-token": token}
        query = {name: value for name, value in asked.items() if value}
        # Keys may have characters that XML can't.
        query |= {"list-type": "2", "max-keys": str(limit), "encoding-type": "url"}
        if stamps:
            query["metadata"] = "true"  # MinIO's own; others ignore it
        return Deferred.fromCoroutine(self._list(bucket, query, prefix if dotted else ""))

    async def _list(self, bucket: str, query: dict[str, str], wanted: str) -> Page:
        response = await self._exchange.ask("GET", bucket, query=query)
        page = self._exchange.answers.page(await self._read(response))
        return only(page, wanted) if wanted else page

    # -- multipart uploads --------------------------------------------------------------------

    def create_upload(self, bucket: str, key: str, headers: Headers) -> Deferred[str]:
        """See INode."""
        return Deferred.fromCoroutine(self._create_upload(bucket, key, headers))

    async def _create_upload(self, bucket: str, key: str, headers: Headers) -> str:
        # Not repeated: the first one may have been carried out, and nobody would abort it.
        response = await self._exchange.ask(
            "POST", bucket, key, query={"uploads": ""}, headers=headers, repeat=False
        )
        answers = self._exchange.answers
        return answers.text(answers.xml(await self._read(response)), "UploadId")

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> Deferred[str]:
        """See INode."""
        return Deferred.fromCoroutine(self._put_part(bucket, key, upload_id, number, body))

    async def _put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> str:
        query = {"partNumber": str(number), "uploadId": upload_id}
        return await self._stored(
            await self._exchange.ask("PUT", bucket, key, query=query, body=body)
        )

    def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Deferred[str]:
        """See INode."""
        return Deferred.fromCoroutine(self._complete_upload(bucket, key, upload_id, parts))

    async def _complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> str:
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in parts
        )
        data = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        # Not repeated: MinIO answers a repeated Complete with NoSuchUpload.
        response = await self._exchange.ask(
            "POST",
            bucket,
            key,
            query={"uploadId": upload_id},
            headers=((b"content-type", b"application/xml"),),
            body=HeldBody([data]),
            answer_s=self._complete_s,
            repeat=False,
        )
        answers = self._exchange.answers
        root = answers.xml(await self._read(response))
        if root.tag == "Error":
            # A Complete that takes long begins with 200 and may still fail (S3 does so too).
            code = root.findtext("Code") or "InternalError"
            raise NodeRefused(self.name, f"{code}: {root.findtext('Message')}", 200, code)
        etag = answers.text(root, "ETag")
        return etag if etag.startswith('"') else f'"{etag}"'

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> Deferred[None]:
        """See INode."""
        return Deferred.fromCoroutine(self._delete(bucket, key, {"uploadId": upload_id}))

    def list_parts(
        self, bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
    ) -> Deferred[PartsPage]:
        """See INode."""
        query = {"uploadId": upload_id, "max-parts": str(limit), "part-number-marker": str(after)}
        return Deferred.fromCoroutine(self._list_parts(bucket, key, query))

    async def _list_parts(self, bucket: str, key: str, query: dict[str, str]) -> PartsPage:
        response = await self._exchange.ask("GET", bucket, key, query=query)
        try:
            return self._exchange.answers.listed_parts(await self._read(response))
        except NodeRefused as error:
            if error.code in (NoSuchUpload.code, NoSuchBucket.code):
                raise NoSuchUpload("no such upload") from error
            raise

    def list_uploads(self, bucket: str, key: str) -> Deferred[Sequence[str]]:
        """See INode."""
        return Deferred.fromCoroutine(self._list_uploads(bucket, key))

    async def _list_uploads(self, bucket: str, key: str) -> Sequence[str]:
        # MinIO tells only of uploads whose key is the prefix, others of all that start with it.
        query = {"uploads": "", "prefix": key, "encoding-type": "url"}
        response = await self._exchange.ask("GET", bucket, query=query)
        return self._exchange.answers.upload_ids(await self._read(response))

    # -- buckets --------------------------------------------------------------------------------

    def create_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return Deferred.fromCoroutine(self._create_bucket(bucket))

    async def _create_bucket(self, bucket: str) -> None:
        response = await self._exchange.ask("PUT", bucket)
        if response.code in (200, 204):
            self._drop(response)
            return
        error = await self._exchange.refuse(response)
        if not (isinstance(error, NodeRefused) and error.code in _THERE_ALREADY):
            raise error

    def delete_bucket(self, bucket: str) -> Deferred[None]:
        """See INode."""
        return Deferred.fromCoroutine(self._delete_bucket(bucket))

    async def _delete_bucket(self, bucket: str) -> None:
        try:
            await self._delete(bucket, "", {})
        except NodeRefused as error:
            if error.code == "BucketNotEmpty":
                raise BucketNotEmpty(f"{bucket} isn't empty on node {self.name}") from error
            raise

    def list_buckets(self) -> Deferred[Sequence[str]]:
        """See INode."""
        return Deferred.fromCoroutine(self._list_buckets())

    async def _list_buckets(self) -> Sequence[str]:
        response = await self._exchange.ask("GET", "")
        return self._exchange.answers.bucket_names(await self._read(response))

    # -- the node itself ------------------------------------------------------------------------

    def probe(self) -> Deferred[bytes | None]:
        """See INode."""
        return Deferred.fromCoroutine(self._connection.use(self._probe))

    async def _probe(self) -> bytes | None:
        response = await self._control.ask(
            "GET", SYSTEM_BUCKET, MARKER_KEY, repeat=False, guarded=False
        )
        if (told_s := self._control.answers.date_s(response)) is not None:
            self._health.time_told(told_s + 0.5 - self._now())
        if response.code == 200:
            return await self._control.read(response)
        error = await self._control.refuse(response)
        missing = isinstance(error, NoSuchKey) or (
            isinstance(error, NodeRefused) and error.code == "NoSuchBucket"
        )
        if missing:
            return None
        raise error

    def close(self) -> Deferred[None]:
        """See INode."""
        closing = DeferredList([self._close_pool(), self._connection.close()])
        return closing.addCallback(lambda _: None)

    # -- inside ---------------------------------------------------------------------------------

    async def _succeed(self, response: Response, *statuses: int) -> Response:
        if response.code not in statuses:
            raise await self._exchange.refuse(response)
        return response

    async def _read(self, response: Response) -> bytes:
        return await self._exchange.read(await self._succeed(response, 200))

    async def _stored(self, response: Response) -> str:
        await self._succeed(response, 200)
        self._drop(response)
        return self._exchange.answers.etag(response)

    def _drop(self, response: Response) -> None:
        drop_body(response, self._exchange.relay)

    def _content_range(self, response: Response, length: int) -> tuple[Span, int]:
        value = (response.headers.getRawHeaders(b"Content-Range") or [b""])[0]
        try:
            unit, _, rest = value.partition(b" ")
            span, _, size = rest.partition(b"/")
            first, _, last = span.partition(b"-")
            found = Span(int(first), int(last) - int(first) + 1)
            if unit != b"bytes" or found.length != length:
                raise ValueError(value)
            return found, int(size)
        except ValueError as error:
            raise NodeNonsense(self.name, "its Content-Range can't be read") from error
