"""What doors ask of the use cases, and what they get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from aosd.model.conditions import UNCONDITIONAL, Conditions
from aosd.model.objects import Headers, ObjectHead, Span
from aosd.model.ranges import ByteRange
from aosd.ports import IBodySource, IReading


class Put(NamedTuple):
    """A PUT of an object.

    `headers` are those to keep (KEPT_HEADERS and x-amz-meta-*), in lower case.
    `content_md5` and `content_sha256` are the digests claimed, raw (16 and 32 bytes);
    `checksums` are x-amz-checksum-* headers, passed on for the node to check. `own` is
    aosd's own metadata, to be kept beside the stamp. `late`, asked once the whole body came
    and was found right, gives what of that couldn't be known before (a trailer's checksum):
    it is kept where a body is held whole, so those of up to `Limits.late_bytes` are.
    `over` says of what is there whether this may take its place: it was made from that. If not,
    or if nothing is there, it is Overtaken.
    """

    bucket: str
    key: str
    body: IBodySource
    headers: Headers = ()
    conditions: Conditions = UNCONDITIONAL
    content_md5: bytes | None = None
    content_sha256: bytes | None = None
    checksums: Headers = ()
    own: Headers = ()
    late: Callable[[], Headers] | None = None
    over: Callable[[ObjectHead], bool] | None = None


class Written(NamedTuple):
    """A write that took effect; `etag` quoted, `modified_s` its Last-Modified."""

    etag: str
    size_bytes: int
    modified_s: int = 0


class Get(NamedTuple):
    """A GET or HEAD; `if_range` is that header's raw value.

    `part` (from 1) asks for one part of an object that was uploaded in parts, by its place; not
    together with `wanted`. `newest`: compare all copies, even where they are known to agree.
    """

    bucket: str
    key: str
    conditions: Conditions = UNCONDITIONAL
    wanted: ByteRange | None = None
    if_range: str | None = None
    newest: bool = False
    part: int | None = None


class Found(NamedTuple):
    """An object that a read found.

    `modified_s` is its Last-Modified as clients see it: the stamp's time. `reading` is
    None for a HEAD; otherwise the door has to deliver or abandon it. `partial` says that
    the reading's span answers a range or a part. Where a part was asked for, also by a HEAD,
    `span` is it, and `parts` how many there are (None: the object was put in one piece).
    """

    head: ObjectHead
    modified_s: int
    reading: IReading | None = None
    partial: bool = False
    span: Span | None = None
    parts: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of an object to the same key or another one.

    `source_conditions` are on the source, `conditions` on what is there at the target.
    `headers` None: the source's (COPY), otherwise those to keep instead (REPLACE), as Put has
    them. `own` is aosd's own metadata to be kept instead of the source's of the same name; an
    empty value leaves it out. `newest`: as Get has it, of the source.
    """

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    source_conditions: Conditions = UNCONDITIONAL
    headers: Headers | None = None
    own: Headers = ()
    conditions: Conditions = UNCONDITIONAL
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """The beginning of a multipart upload; `headers` and `own` as in Put."""

    bucket: str
    key: str
    headers: Headers = ()
    own: Headers = ()


@dataclass(frozen=True, slots=True)
class PutPart:
    """A part of a multipart upload, `number` 1 to 10,000; digests as in Put.

    `checksums` aren't passed on: nodes weren't told of any when the upload began. Who has to
    compare them does so as the body comes.
    """

    bucket: str
    key: str
    upload_id: str
    number: int
    body: IBodySource
    content_md5: bytes | None = None
    content_sha256: bytes | None = None
    checksums: Headers = ()


@dataclass(frozen=True, slots=True)
class CopyPart:
    """A part that is (a range of) an object that is there already."""

    bucket: str
    key: str
    upload_id: str
    number: int
    source_bucket: str
    source_key: str
    source_conditions: Conditions = UNCONDITIONAL
    wanted: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class PartWritten:
    """A part that was taken; `etag` quoted."""

    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Complete:
    """The end of a multipart upload: the parts that become the object, (number, ETag) each.

    ETags may lack their quotes. `size_bytes` is what the client says that the object has.
    """

    bucket: str
    key: str
    upload_id: str
    parts: tuple[tuple[int, str], ...]
    conditions: Conditions = UNCONDITIONAL
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """An open upload in a listing; `began_s` in whole seconds since 1970."""

    key: str
    upload_id: str
    began_s: int


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """A page of a bucket's open uploads, by key (UTF-8 bytes) and then by when they began.

    When there is `more`, the next page begins after `last_key` and `last_id` ("" when a common
    prefix is what came last).
    """

    uploads: tuple[ListedUpload, ...]
    prefixes: tuple[str, ...] = ()
    more: bool = False
    last_key: str = ""
    last_id: str = ""
