# ruff: noqa: D103 — the name of a case says what it shows
"""Multipart uploads."""

from __future__ import annotations

from aosd.model.errors import NodeRefused, NoSuchKey, NoSuchUpload, PreconditionFailed
from aosd.model.objects import OWN_METADATA, STAMP_HEADER
from aosd.model.ranges import ByteRange
from aosd.testing.bodies import BytesBody
from aosd.testing.contract.subject import (
    MIB,
    STAMP,
    Cases,
    Subject,
    etag_of,
    etag_of_parts,
    numbered,
    raises,
    some_bytes,
)

UPLOADS = Cases()


@UPLOADS.add
async def parts_become_an_object(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    headers = ((b"content-type", b"video/mp4"), (b"x-amz-meta-who", b"Someone"))
    upload_id = await node.create_upload(bucket, key, (*headers, (STAMP_HEADER, STAMP.encode())))
    data = some_bytes(5 * MIB + 1000)
    parts = data[: 5 * MIB], data[5 * MIB :]
    etags = []
    for number, part in enumerate(parts, 1):
        etags.append(await node.put_part(bucket, key, upload_id, number, BytesBody(part)))
    assert etags == [etag_of(part) for part in parts]
    await raises(NoSuchKey, node.head(bucket, key))
    etag = await node.complete_upload(bucket, key, upload_id, numbered(*etags))
    assert etag == etag_of_parts(*parts)
    head = await node.head(bucket, key)
    assert (head.etag, head.size_bytes, head.stamp) == (etag, len(data), STAMP)
    assert sorted(head.headers) == sorted(headers), head.headers
    assert await subject.get(key) == data
    around = ByteRange(5 * MIB - 10, 5 * MIB + 9)
    assert await subject.get(key, around) == data[5 * MIB - 10 : 5 * MIB + 10]
    page = await node.list(bucket, key)
    assert [(entry.key, entry.etag) for entry in page.entries] == [(key, etag)]
    await node.delete(bucket, key)


@UPLOADS.add
async def parts_are_remembered(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    own = ((OWN_METADATA + b"tags", b"a=b"),)
    headers = ((b"content-type", b"video/mp4"), *own, (STAMP_HEADER, STAMP.encode()))
    upload_id = await node.create_upload(bucket, key, headers)
    data = some_bytes(10 * MIB + 1007)
    sizes = (5 * MIB, 5 * MIB + 7, 1000)
    etags, first = [], 0
    for number, size_bytes in enumerate(sizes, 1):
        part = BytesBody(data[first : first + size_bytes])
        etags.append(await node.put_part(bucket, key, upload_id, number, part))
        first += size_bytes
    etag = await node.complete_upload(bucket, key, upload_id, numbered(*etags))
    whole = await node.head(bucket, key)
    assert (whole.headers, whole.own) == (headers[:1], own)
    assert tuple(await node.part_sizes(bucket, key, etag)) == sizes
    await raises(PreconditionFailed, node.part_sizes(bucket, key, etag_of(b"other")))
    for number, size_bytes in enumerate(sizes, 1):
        head = await node.head(bucket, key, number)
        assert head.size_bytes == size_bytes, number
        assert (head.etag, head.stamp, head.headers) == (etag, STAMP, whole.headers)
    error = await raises(NodeRefused, node.head(bucket, key, 4))
    assert 400 <= error.status < 500, error.status
    assert await subject.get(key, ByteRange(5 * MIB, 10 * MIB + 6)) == data[5 * MIB : 10 * MIB + 7]
    await node.delete(bucket, key)


@UPLOADS.add
async def an_empty_part_is_remembered(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    for parts in ((b"",), (some_bytes(5 * MIB), b"")):
        upload_id = await node.create_upload(bucket, key, ())
        etags = [
            await node.put_part(bucket, key, upload_id, number, BytesBody(part))
            for number, part in enumerate(parts, 1)
        ]
        etag = await node.complete_upload(bucket, key, upload_id, numbered(*etags))
        assert tuple(await node.part_sizes(bucket, key, etag)) == tuple(map(len, parts))
    await node.delete(bucket, key)
    await raises(NoSuchKey, node.part_sizes(bucket, key, etag))


@UPLOADS.add
async def one_piece_is_a_single_part(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    for data in (b"", b"data"):
        etag = await subject.put(key, data)
        assert tuple(await node.part_sizes(bucket, key, etag)) == (len(data),)
    await node.delete(bucket, key)


@UPLOADS.add
async def a_part_can_be_sent_again(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    upload_id = await node.create_upload(bucket, key, ())
    await node.put_part(bucket, key, upload_id, 1, BytesBody(b"first"))
    etag = await node.put_part(bucket, key, upload_id, 1, BytesBody(b"second"))
    assert await node.complete_upload(bucket, key, upload_id, numbered(etag)) == etag_of_parts(
        b"second"
    )
    assert await subject.get(key) == b"second"


@UPLOADS.add
async def an_aborted_upload_leaves_nothing(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    await subject.put(key, b"old")
    upload_id = await node.create_upload(bucket, key, ())
    etag = await node.put_part(bucket, key, upload_id, 1, BytesBody(b"new"))
    await node.abort_upload(bucket, key, upload_id)
    await node.abort_upload(bucket, key, upload_id)
    await raises(NodeRefused, node.complete_upload(bucket, key, upload_id, numbered(etag)))
    assert await subject.get(key) == b"old"


@UPLOADS.add
async def an_upload_of_other_parts_is_refused(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    await subject.put(key, b"old")
    upload_id = await node.create_upload(bucket, key, ())
    await node.put_part(bucket, key, upload_id, 1, BytesBody(b"new"))
    refused = node.complete_upload(bucket, key, upload_id, numbered(etag_of(b"other")))
    await raises(NodeRefused, refused)
    assert await subject.get(key) == b"old"
    await node.abort_upload(bucket, key, upload_id)


@UPLOADS.add
async def open_uploads_are_told_by_key(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a b+c/d%2Fé")
    assert list(await node.list_uploads(bucket, key)) == []
    mine = [await node.create_upload(bucket, key, ()) for _ in range(3)]
    other = await node.create_upload(bucket, f"{key}e", ())
    assert sorted(await node.list_uploads(bucket, key)) == sorted(mine)
    etag = await node.put_part(bucket, key, mine[0], 1, BytesBody(b"first"))
    await node.complete_upload(bucket, key, mine[0], numbered(etag))
    await node.abort_upload(bucket, key, mine[1])
    assert list(await node.list_uploads(bucket, key)) == [mine[2]]
    await node.abort_upload(bucket, key, mine[2])
    assert list(await node.list_uploads(bucket, key)) == []
    await node.abort_upload(bucket, f"{key}e", other)
    await node.delete(bucket, key)


@UPLOADS.add
async def parts_are_listed(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a b+c/%2Fé")
    upload_id = await node.create_upload(bucket, key, ())
    page = await node.list_parts(bucket, key, upload_id)
    assert (page.parts, page.truncated) == ((), False)
    for number in (10, 2, 9999, 3):
        await node.put_part(bucket, key, upload_id, number, BytesBody(b"first"))
    await node.put_part(bucket, key, upload_id, 10, BytesBody(b"once more"))
    page = await node.list_parts(bucket, key, upload_id)
    wanted = [
        (2, etag_of(b"first"), 5),
        (3, etag_of(b"first"), 5),
        (10, etag_of(b"once more"), 9),
        (9999, etag_of(b"first"), 5),
    ]
    found = [(each.number, each.etag, each.size_bytes) for each in page.parts]
    # SeaweedFS lists what a part was before, too.
    assert [each for each in found if each != (10, etag_of(b"first"), 5)] == wanted
    assert [each for each, *_ in found] == sorted(each for each, *_ in found)
    assert not page.truncated
    assert all(each.modified_s > 1_600_000_000 for each in page.parts)
    page = await node.list_parts(bucket, key, upload_id, 0, 2)
    assert ([each.number for each in page.parts], page.truncated) == ([2, 3], True)
    await node.abort_upload(bucket, key, upload_id)


@UPLOADS.add
async def parts_are_listed_page_by_page(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    upload_id = await node.create_upload(bucket, key, ())
    for number in (10, 2, 9999, 3):
        await node.put_part(bucket, key, upload_id, number, BytesBody(b"first"))
    page = await node.list_parts(bucket, key, upload_id, 0, 3)
    assert ([each.number for each in page.parts], page.truncated) == ([2, 3, 10], True)
    page = await node.list_parts(bucket, key, upload_id, 3, 2)
    assert ([each.number for each in page.parts], page.truncated) == ([10, 9999], False)
    await node.abort_upload(bucket, key, upload_id)


@UPLOADS.add
async def parts_of_no_open_upload_arent_listed(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    aborted = await node.create_upload(bucket, key, ())
    await node.abort_upload(bucket, key, aborted)
    await raises(NoSuchUpload, node.list_parts(bucket, key, aborted))
    completed = await node.create_upload(bucket, key, ())
    etag = await node.put_part(bucket, key, completed, 1, BytesBody(b"all"))
    await node.complete_upload(bucket, key, completed, numbered(etag))
    await raises(NoSuchUpload, node.list_parts(bucket, key, completed))
    await node.delete(bucket, key)


@UPLOADS.add
async def a_part_of_no_open_upload_is_refused(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    upload_id = await node.create_upload(bucket, key, ())
    await node.abort_upload(bucket, key, upload_id)
    putting = node.put_part(bucket, key, upload_id, 1, BytesBody(b"late"))
    assert (await raises(NodeRefused, putting)).code == "NoSuchUpload"


@UPLOADS.add
async def some_of_the_parts_become_an_object(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    upload_id = await node.create_upload(bucket, key, ())
    data = some_bytes(10 * MIB + 107)
    parts = {7: data[: 5 * MIB + 7], 9: data[5 * MIB + 7 : -100], 9000: data[-100:]}
    etags = {}
    for number in (9000, 7, 9):
        part = BytesBody(parts[number])
        etags[number] = await node.put_part(bucket, key, upload_id, number, part)
    await node.put_part(bucket, key, upload_id, 8, BytesBody(b"not wanted"))
    etag = await node.complete_upload(bucket, key, upload_id, sorted(etags.items()))
    assert etag == etag_of_parts(*parts.values())
    assert await subject.get(key) == data
    sizes = [len(each) for each in parts.values()]
    assert list(await node.part_sizes(bucket, key, etag)) == sizes
    await node.delete(bucket, key)


@UPLOADS.add
async def an_empty_part_can_be_the_last(subject: Subject) -> None:
    node, bucket, key = subject.node, subject.bucket, subject.key("a")
    upload_id = await node.create_upload(bucket, key, ())
    etag = await node.put_part(bucket, key, upload_id, 1, BytesBody(b""))
    assert etag == etag_of(b"")
    assert await node.complete_upload(bucket, key, upload_id, numbered(etag)) == etag_of_parts(b"")
    assert await subject.get(key) == b""
    await node.delete(bucket, key)
