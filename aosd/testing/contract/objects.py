# ruff: noqa: D103 — the name of a case says what it shows
"""Objects: what is put comes back as it was, whole and by ranges."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable

from aosd.model.errors import (
    DigestMismatch,
    NodeRefused,
    NoSuchKey,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from aosd.model.objects import (
    LARGEST_METADATA_BYTES,
    OWN_METADATA,
    STAMP_HEADER,
    SYSTEM_BUCKET,
    Span,
)
from aosd.model.ranges import ByteRange
from aosd.testing.bodies import BytesBody, CollectingConsumer
from aosd.testing.contract.subject import STAMP, Cases, Subject, etag_of, raises, some_bytes

OBJECTS = Cases()


@OBJECTS.add
async def an_object_comes_back_and_goes(subject: Subject) -> None:
    node, key, data = subject.node, subject.key("a"), some_bytes(100_000)
    assert await subject.put(key, data) == etag_of(data)
    head = await node.head(subject.bucket, key)
    assert (head.etag, head.size_bytes, head.stamp) == (etag_of(data), len(data), None)
    assert head.modified_s > 1_600_000_000
    reading = await node.get(subject.bucket, key)
    assert reading.head.etag == head.etag and reading.head.size_bytes == len(data)
    assert reading.span == Span(0, len(data))
    reading.abandon()
    assert await subject.get(key) == data
    await node.delete(subject.bucket, key)
    await raises(NoSuchKey, node.head(subject.bucket, key))
    await raises(NoSuchKey, node.get(subject.bucket, key))
    await node.delete(subject.bucket, key)


@OBJECTS.add
async def an_empty_object_is_an_object(subject: Subject) -> None:
    key = subject.key("a")
    assert await subject.put(key, b"") == etag_of(b"")
    assert (await subject.node.head(subject.bucket, key)).size_bytes == 0
    assert await subject.get(key) == b""
    error = await raises(
        RangeNotSatisfiable, subject.node.get(subject.bucket, key, ByteRange(0, 0))
    )
    assert error.size_bytes == 0


_SPACED = (
    b"  a  b   c  ",
    b"\ta\tb\t\tc\t",
    b" \t a \t b",
    "\u00a0a\u00a0b\u00a0".encode(),
    " \u00a0 a \u00a0 b \u00a0 ".encode(),
    "a\u2003\u3000b\u0085c\u2028d".encode(),
    "\u3000".encode(),
    "a\u200b\ufeffb \u180e".encode(),  # no white space to anybody
)


@OBJECTS.add
async def a_newer_object_replaces_an_older_one(subject: Subject) -> None:
    key = subject.key("a")
    await subject.put(key, b"first", ((b"x-amz-meta-which", b"first"),))
    await subject.put(key, b"second", ((b"content-type", b"text/plain"),))
    head = await subject.node.head(subject.bucket, key)
    assert head.headers == ((b"content-type", b"text/plain"),)
    assert await subject.get(key) == b"second"


@OBJECTS.add
async def what_is_not_there_is_told(subject: Subject) -> None:
    node, key = subject.node, subject.key("never")
    await raises(NoSuchKey, node.head(subject.bucket, key))
    await raises(NoSuchKey, node.get(subject.bucket, key))
    await raises(NoSuchKey, node.get(subject.bucket, key, ByteRange(5, 9)))


@OBJECTS.add
async def a_missing_bucket_is_no_missing_object(subject: Subject) -> None:
    node, bucket = subject.node, "no-bucket-of-this-name"
    requests: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: node.put(bucket, "a", BytesBody(b"data"), ()),
        lambda: node.get(bucket, "a"),
        lambda: node.list(bucket),
    )
    for request in requests:
        error = await raises(NodeRefused, request())
        assert (error.status, error.code) == (404, "NoSuchBucket"), (error.status, error.code)


@OBJECTS.add
async def metadata_comes_back_untouched(subject: Subject) -> None:
    key = subject.key("a")
    headers = (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-language", b"de, en"),
        (b"content-disposition", b'attachment; filename="a b.txt"'),
        (b"cache-control", b"no-cache, max-age=0"),
        (b"expires", b"Thu, 01 Dec 2044 16:00:00 GMT"),
        (b"x-amz-meta-who", b"Some One  with two blanks"),
        (b"x-amz-meta-with-dashes", b"a,b;c=d"),
    )
    stamped = (*headers, (STAMP_HEADER, STAMP.encode()))
    await subject.put(key, b"data", stamped)
    reading = await subject.node.get(subject.bucket, key)
    reading.abandon()
    for head in (await subject.node.head(subject.bucket, key), reading.head):
        assert head.stamp == STAMP
        assert sorted(head.headers) == sorted(headers), head.headers


@OBJECTS.add
async def white_space_of_any_kind_in_metadata_is_signed_as_nodes_read_it(subject: Subject) -> None:
    for number, value in enumerate(_SPACED):
        key = subject.key(f"{number}")
        metadata = ((b"x-amz-meta-a", value), (b"x-amz-meta-b", b"end"))
        await subject.put(key, b"data", ((b"content-type", b"a/b"), *metadata))
        head = await subject.node.head(subject.bucket, key)
        # What is before and behind a value on the wire is no part of it; doors never give it.
        kept = dict(head.headers)[b"x-amz-meta-a"].strip(b" \t")
        assert kept == value.strip(b" \t"), (value, head.headers)


@OBJECTS.add
async def aosds_own_metadata_is_kept_apart(subject: Subject) -> None:
    key = subject.key("a")
    own = (
        (OWN_METADATA + b"checksum-sha256", b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (OWN_METADATA + b"tags", b"a%20b=c%26d&e=%C3%A9"),
        (OWN_METADATA + b"words", "Größe ☃".encode()),
    )
    headers = ((b"content-type", b"text/plain"), (b"x-amz-meta-aosta", "é".encode()))
    await subject.put(key, b"data", (*headers, *own, (STAMP_HEADER, STAMP.encode())))
    reading = await subject.node.get(subject.bucket, key)
    reading.abandon()
    for head in (await subject.node.head(subject.bucket, key), reading.head):
        assert head.stamp == STAMP
        assert sorted(head.own) == sorted(own), head.own
        assert sorted(head.headers) == sorted(headers), head.headers


@OBJECTS.add
async def two_kibibytes_of_metadata_are_kept(subject: Subject) -> None:
    # Names count whole, aosd's own as well.
    key, stamp = subject.key("a"), (STAMP_HEADER, STAMP.encode())
    names = [b"x-amz-meta-%02d" % number for number in range(20)]
    left = LARGEST_METADATA_BYTES - sum(map(len, (*names, *stamp)))
    each, more = divmod(left, len(names))
    values = [b"x" * (each + more), *[b"x" * each] * (len(names) - 1)]
    headers = ((b"content-type", b"a/b"), *zip(names, values, strict=True))
    await subject.put(key, b"data", (*headers, stamp))
    assert sorted((await subject.node.head(subject.bucket, key)).headers) == sorted(headers)


@OBJECTS.add
async def what_is_stored_compressed_stays_so(subject: Subject) -> None:
    key, data = subject.key("a"), gzip.compress(b"some words " * 1000)
    headers = ((b"content-encoding", b"gzip"), (b"content-type", b"text/plain"))
    await subject.put(key, data, headers)
    head = await subject.node.head(subject.bucket, key)
    assert sorted(head.headers) == sorted(headers), head.headers
    assert head.size_bytes == len(data)
    assert await subject.get(key) == data
    assert await subject.get(key, ByteRange(1, 9)) == data[1:10]


ODD_KEYS = (
    "with space",
    "two  spaces",
    "plus+plus",
    "per%cent",
    "%2F",
    "a%2Fb",
    "a/b",
    "a/c/d",
    "folder-like/",
    "ümlaut-☃-𝄞",
    "tilde~",
    "'quoted\"",
    "&amp;<tag>",
    "a=b&c=d?e#f;g:h@i,j$k!l*m(n)o[p]q{r}s|t^u`v",
    "..three-dots...",
    "-dash",
    "Case",
    "case",
    "long-" + "x" * 195,
    "/".join(["y" * 200] * 3),
)


@OBJECTS.add
async def odd_keys_are_kept_apart(subject: Subject) -> None:
    await subject.clear()
    keys = [subject.key(rest) for rest in ODD_KEYS]
    for key in keys:
        await subject.put(key, key.encode())
    for key in keys:
        if subject.traits.keeps_folders or not key.endswith("/"):
            assert await subject.get(key) == key.encode(), key
    assert sorted(await subject.walk(subject.key(""))) == sorted(keys)
    for key in keys:
        await subject.node.delete(subject.bucket, key)
    for key in keys:
        await raises(NoSuchKey, subject.node.head(subject.bucket, key))


@OBJECTS.add
async def ranges_give_their_bytes(subject: Subject) -> None:
    key, data = subject.key("a"), some_bytes(1000)
    await subject.put(key, data)
    for wanted, first, end in (
        (ByteRange(0, 0), 0, 1),
        (ByteRange(0, 999), 0, 1000),
        (ByteRange(10, 19), 10, 20),
        (ByteRange(999, 999), 999, 1000),
        (ByteRange(990, 5000), 990, 1000),
        (ByteRange(500), 500, 1000),
        (ByteRange(0), 0, 1000),
        (ByteRange(None, suffix=1), 999, 1000),
        (ByteRange(None, suffix=1000), 0, 1000),
        (ByteRange(None, suffix=5000), 0, 1000),
    ):
        reading = await subject.node.get(subject.bucket, key, wanted)
        assert reading.span == Span(first, end - first), wanted
        assert reading.head.size_bytes == 1000, wanted
        consumer = CollectingConsumer()
        await reading.deliver(consumer)
        assert consumer.data == data[first:end], wanted


@OBJECTS.add
async def one_version_is_given_or_none(subject: Subject) -> None:
    node, key, data = subject.node, subject.key("a"), some_bytes(1000)
    old = await subject.put(key, data)
    reading = await node.get(subject.bucket, key, etag=old)
    consumer = CollectingConsumer()
    await reading.deliver(consumer)
    assert (reading.head.etag, bytes(consumer.data)) == (old, data)
    reading = await node.get(subject.bucket, key, ByteRange(990), old)
    assert reading.span == Span(990, 10)
    reading.abandon()
    new = await subject.put(key, b"newer")
    wanted: ByteRange | None
    for wanted in (None, ByteRange(1), ByteRange(990), ByteRange(5000)):
        await raises(PreconditionFailed, node.get(subject.bucket, key, wanted, old))
    error = await raises(RangeNotSatisfiable, node.get(subject.bucket, key, ByteRange(990), new))
    assert error.size_bytes == 5
    await node.delete(subject.bucket, key)
    for wanted in (None, ByteRange(1)):
        await raises(NoSuchKey, node.get(subject.bucket, key, wanted, new))


@OBJECTS.add
async def an_object_in_one_piece_has_one_part(subject: Subject) -> None:
    node, key = subject.node, subject.key("a")
    etag = await subject.put(key, some_bytes(1000), ((b"x-amz-meta-who", b"Someone"),))
    head = await node.head(subject.bucket, key, 1)
    assert (head.etag, head.size_bytes) == (etag, 1000)
    assert head.headers == (await node.head(subject.bucket, key)).headers
    await node.delete(subject.bucket, key)
    await raises(NoSuchKey, node.head(subject.bucket, key, 1))


@OBJECTS.add
async def ranges_outside_are_refused(subject: Subject) -> None:
    key = subject.key("a")
    await subject.put(key, some_bytes(1000))
    for wanted in (ByteRange(1000), ByteRange(1000, 1001), ByteRange(None, suffix=0)):
        error = await raises(RangeNotSatisfiable, subject.node.get(subject.bucket, key, wanted))
        assert error.size_bytes == 1000, wanted


@OBJECTS.add
async def a_wrong_md5_is_refused(subject: Subject) -> None:
    key = subject.key("a")
    for data, told, kept in ((b"old", b"old", b"old"), (b"new", b"nex", b"old")):
        md5 = b64encode(hashlib.md5(told, usedforsecurity=False).digest())
        putting = subject.put(key, data, ((b"content-md5", md5),))
        if data == told:
            await putting
        else:
            await raises(DigestMismatch, putting)
        assert await subject.get(key) == kept


@OBJECTS.add
async def a_wrong_sha256_is_refused(subject: Subject) -> None:
    key = subject.key("a")
    right, wrong = (hashlib.sha256(each).hexdigest().encode() for each in (b"old", b"other"))
    await subject.put(key, b"old", ((b"x-amz-content-sha256", right),))
    if subject.traits.checks_sha256:
        putting = subject.put(key, b"new", ((b"x-amz-content-sha256", wrong),))
        await raises(DigestMismatch, putting)
    assert await subject.get(key) == b"old"


@OBJECTS.add
async def a_probe_reads_the_marker(subject: Subject) -> None:
    node, marker = subject.node, b'{"node": "n1"}'
    await node.put(SYSTEM_BUCKET, "node.json", BytesBody(marker), ())
    assert await node.probe() == marker
    await node.delete(SYSTEM_BUCKET, "node.json")
    assert await node.probe() is None


@OBJECTS.add
async def closing_leaves_the_node_usable(subject: Subject) -> None:
    key = subject.key("a")
    await subject.put(key, b"data")
    await subject.node.close()
    assert await subject.get(key) == b"data"
