"""Uploads in parts through the S3 door, on real servers."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration import s3
from tests.integration.bodies import MIB, body
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.s3 import body_of, refused

LEAST = 5 * MIB  # that a part may have, but the last


@pytest.fixture(scope="module")
def s3c(s3_daemon: Daemon) -> Any:
    return s3.client(s3_daemon)


def etag_of(parts: Sequence[bytes]) -> str:
    digests = b"".join(hashlib.md5(each, usedforsecurity=False).digest() for each in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def begin(s3c: Any, bucket: str, key: str, **arguments: Any) -> str:
    told = s3c.create_multipart_upload(Bucket=bucket, Key=key, **arguments)
    return str(told["UploadId"])


class Upload:
    """One upload; what was sent of it by part number."""

    def __init__(self, s3c: Any, bucket: str, key: str, **arguments: Any) -> None:
        self.s3c = s3c
        self.id = begin(s3c, bucket, key, **arguments)
        self.where = {"Bucket": bucket, "Key": key, "UploadId": self.id}
        self.etags: dict[int, str] = {}

    def put(self, number: int, data: bytes, **arguments: Any) -> None:
        told = self.s3c.upload_part(**self.where, PartNumber=number, Body=data, **arguments)
        self.etags[number] = told["ETag"]

    def complete(self, numbers: Sequence[int] | None = None, **arguments: Any) -> Any:
        listed = [
            {"PartNumber": each, "ETag": self.etags[each]}
            for each in (sorted(self.etags) if numbers is None else numbers)
        ]
        return self.s3c.complete_multipart_upload(
            **self.where, MultipartUpload={"Parts": listed}, **arguments
        )


def test_parts_side_by_side_and_in_any_order(
    s3c: Any, bucket: str, s3_nodes: list[RealNode]
) -> None:
    key = "parts/side by side"
    parts = {number: body(LEAST + number, number) for number in range(1, 20)}
    parts[20] = b"the last one is short"
    upload = Upload(s3c, bucket, key, Metadata={"m": "1"}, ContentType="text/x", Tagging="t=1")
    order = list(parts)
    random.Random(1).shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(upload.put, each, parts[each]) for each in order]:
            done.result()
    listed = s3c.list_parts(**upload.where)
    assert [each["PartNumber"] for each in listed["Parts"]] == list(parts)
    assert [each["Size"] for each in listed["Parts"]] == [len(each) for each in parts.values()]
    page = s3c.list_parts(**upload.where, MaxParts=7, PartNumberMarker=3)
    assert [each["PartNumber"] for each in page["Parts"]] == list(range(4, 11))
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 10)
    etag = etag_of(list(parts.values()))
    told = upload.complete()
    assert (told["ETag"], told["Bucket"], told["Key"]) == (etag, bucket, key)
    # Who didn't get the answer asks again.
    assert upload.complete()["ETag"] == etag
    got = s3c.get_object(Bucket=bucket, Key=key)
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (etag, {"m": "1"}, "text/x")
    assert got["TagCount"] == 1
    assert (
        hashlib.sha256(body_of(got)).digest() == hashlib.sha256(b"".join(parts.values())).digest()
    )
    for number in (1, 7, 20):
        one = s3c.get_object(Bucket=bucket, Key=key, PartNumber=number)
        assert (one["PartsCount"], body_of(one)) == (20, parts[number])
        head = s3c.head_object(Bucket=bucket, Key=key, PartNumber=number)
        assert (head["PartsCount"], head["ContentLength"]) == (20, len(parts[number]))
    with refused("InvalidPartNumber", 416):
        s3c.get_object(Bucket=bucket, Key=key, PartNumber=21)
    first = LEAST - 10
    across = s3c.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{first + 99}")
    assert body_of(across) == (parts[1] + parts[2])[first : first + 100]
    told = s3c.get_object_attributes(
        Bucket=bucket, Key=key, ObjectAttributes=["ETag", "ObjectParts", "ObjectSize"]
    )
    assert told["ObjectParts"]["TotalPartsCount"] == 20
    assert len(s3.holders(s3_nodes, bucket, key)) == 2
    with refused("NoSuchUpload", 404):
        s3c.upload_part(**upload.where, PartNumber=1, Body=b"too late")
    copies_of_it(s3c, bucket, key, etag, parts)


def copies_of_it(s3c: Any, bucket: str, key: str, etag: str, parts: dict[int, bytes]) -> None:
    """Other tags leave ETag and parts as they are; a copy is one part, as S3 has it."""
    whole = b"".join(parts.values())
    source = {"Bucket": bucket, "Key": key}
    tags = {"TagSet": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]}
    s3c.put_object_tagging(Bucket=bucket, Key=key, Tagging=tags)
    tagged = s3c.get_object(Bucket=bucket, Key=key, PartNumber=20)
    assert (tagged["ETag"], tagged["PartsCount"], tagged["TagCount"]) == (etag, 20, 2)
    assert body_of(tagged) == parts[20]
    replacing = {"MetadataDirective": "REPLACE", "Metadata": {"n": "2"}}
    for name in ("copy of parts", key):
        s3c.copy_object(Bucket=bucket, Key=name, CopySource=source, **replacing)
        got = s3c.get_object(Bucket=bucket, Key=name)
        assert (got["Metadata"], got["TagCount"]) == ({"n": "2"}, 2)
        assert got["ETag"] == f'"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}"'
        assert body_of(got) == whole


def test_complete_takes_what_it_names(s3c: Any, bucket: str) -> None:
    upload = Upload(s3c, bucket, "named")
    for number in (1, 3, 9000):
        upload.put(number, body(LEAST, number))
    upload.put(3, body(LEAST, 33))  # again, and this one counts
    with refused("InvalidPartOrder", 400):
        upload.complete([3, 1])
    with refused("InvalidPart", 400):
        s3c.complete_multipart_upload(
            **upload.where,
            MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": upload.etags[1]}]},
        )
    with refused("InvalidPart", 400):
        s3c.complete_multipart_upload(
            **upload.where,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]},
        )
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key="named")
    told = upload.complete([1, 3])
    parts = [body(LEAST, 1), body(LEAST, 33)]
    assert told["ETag"] == etag_of(parts)
    assert body_of(s3c.get_object(Bucket=bucket, Key="named")) == b"".join(parts)


def test_parts_that_are_too_small(s3c: Any, bucket: str) -> None:
    upload = Upload(s3c, bucket, "small")
    upload.put(1, b"small")
    upload.put(2, b"last")
    with refused("EntityTooSmall", 400):
        upload.complete()
    # It can be mended.
    upload.put(1, body(LEAST, 1))
    upload.complete()
    assert s3c.head_object(Bucket=bucket, Key="small")["ContentLength"] == LEAST + 4


@pytest.mark.parametrize("data", [b"", b"one small part"])
def test_a_single_part(s3c: Any, bucket: str, data: bytes) -> None:
    upload = Upload(s3c, bucket, "single")
    upload.put(1, data)
    assert upload.complete()["ETag"] == etag_of([data])
    assert body_of(s3c.get_object(Bucket=bucket, Key="single")) == data


def test_abort_and_what_is_listed(s3c: Any, bucket: str) -> None:
    one, other = Upload(s3c, bucket, "open/a b"), Upload(s3c, bucket, "open/ü")
    one.put(1, b"x")
    listed = s3c.list_multipart_uploads(Bucket=bucket, Prefix="open/")
    assert [(each["Key"], each["UploadId"]) for each in listed["Uploads"]] == [
        ("open/a b", one.id),
        ("open/ü", other.id),
    ]
    page = s3c.list_multipart_uploads(Bucket=bucket, Prefix="open/", MaxUploads=1)
    assert page["IsTruncated"]
    rest = s3c.list_multipart_uploads(
        Bucket=bucket,
        Prefix="open/",
        KeyMarker=page["NextKeyMarker"],
        UploadIdMarker=page["NextUploadIdMarker"],
    )
    assert [each["UploadId"] for each in rest["Uploads"]] == [other.id]
    folders = s3c.list_multipart_uploads(Bucket=bucket, Delimiter="/", Prefix="op")
    assert [each["Prefix"] for each in folders["CommonPrefixes"]] == ["open/"]
    s3c.abort_multipart_upload(**one.where)
    with refused("NoSuchUpload", 404):
        one.put(2, b"x")
    with refused("NoSuchUpload", 404):
        s3c.list_parts(**one.where)
    with refused("NoSuchUpload", 404):
        one.complete()
    s3c.abort_multipart_upload(**other.where)
    assert "Uploads" not in s3c.list_multipart_uploads(Bucket=bucket, Prefix="open/")


def test_an_id_is_its_keys_alone(s3c: Any, bucket: str) -> None:
    upload = Upload(s3c, bucket, "mine")
    upload.put(1, b"x")
    for where in (
        {**upload.where, "Key": "others"},
        {**upload.where, "UploadId": upload.id[:-1] + ("A" if upload.id[-1] != "A" else "B")},
        {**upload.where, "UploadId": "nothing"},
    ):
        with refused("NoSuchUpload", 404):
            s3c.upload_part(**where, PartNumber=1, Body=b"x")
        with refused("NoSuchUpload", 404):
            s3c.list_parts(**where)
    s3c.abort_multipart_upload(**upload.where)


def test_copied_parts(s3c: Any, bucket: str) -> None:
    data = body(2 * LEAST, 4)
    etag = s3c.put_object(Bucket=bucket, Key="part source", Body=data)["ETag"]
    source = {"Bucket": bucket, "Key": "part source"}
    upload = Upload(s3c, bucket, "of copied parts")
    for number, wanted in ((1, None), (2, f"bytes=10-{LEAST + 9}")):
        asked = {} if wanted is None else {"CopySourceRange": wanted}
        told = s3c.upload_part_copy(
            **upload.where, PartNumber=number, CopySource=source, CopySourceIfMatch=etag, **asked
        )
        upload.etags[number] = told["CopyPartResult"]["ETag"]
    upload.put(3, b"end")
    with refused("PreconditionFailed", 412):
        s3c.upload_part_copy(
            **upload.where, PartNumber=4, CopySource=source, CopySourceIfMatch='"other"'
        )
    with refused("NoSuchKey", 404):
        s3c.upload_part_copy(
            **upload.where, PartNumber=4, CopySource={"Bucket": bucket, "Key": "none"}
        )
    with refused("InvalidRange", 416):
        s3c.upload_part_copy(
            **upload.where,
            PartNumber=4,
            CopySource=source,
            CopySourceRange=f"bytes=0-{2 * LEAST}",
        )
    parts = [data, data[10 : LEAST + 10], b"end"]
    assert upload.complete()["ETag"] == etag_of(parts)
    assert body_of(s3c.get_object(Bucket=bucket, Key="of copied parts")) == b"".join(parts)


def test_checksums_of_parts(s3c: Any, bucket: str) -> None:
    parts = [body(LEAST, 1), b"end"]
    crcs = [base64.b64encode(zlib.crc32(each).to_bytes(4)).decode() for each in parts]
    upload = Upload(s3c, bucket, "checked parts", ChecksumAlgorithm="CRC32")
    with refused("BadDigest", 400):
        upload.put(1, parts[0], ChecksumCRC32=crcs[1])
    listed = []
    for number, (data, crc) in enumerate(zip(parts, crcs, strict=True), 1):
        told = s3c.upload_part(
            **upload.where, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32"
        )
        assert told["ChecksumCRC32"] == crc
        listed.append({"PartNumber": number, "ETag": told["ETag"], "ChecksumCRC32": crc})
    composite = zlib.crc32(b"".join(base64.b64decode(each) for each in crcs)).to_bytes(4)
    with refused("BadDigest", 400):
        s3c.complete_multipart_upload(
            **upload.where, MultipartUpload={"Parts": listed}, ChecksumCRC32=crcs[0]
        )
    told = s3c.complete_multipart_upload(
        **upload.where,
        MultipartUpload={"Parts": listed},
        ChecksumCRC32=base64.b64encode(composite).decode(),
    )
    assert told["ChecksumCRC32"] == f"{base64.b64encode(composite).decode()}-2"


def test_conditions_of_complete(s3c: Any, bucket: str) -> None:
    first = Upload(s3c, bucket, "conditional")
    first.put(1, b"first")
    second = Upload(s3c, bucket, "conditional")
    second.put(1, b"second")
    etag = first.complete(IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed", 412):
        second.complete(IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        second.complete(IfMatch='"other"')
    with refused("InvalidRequest", 400):
        second.complete(MpuObjectSize=5)
    assert body_of(s3c.get_object(Bucket=bucket, Key="conditional")) == b"first"
    second.complete(IfMatch=etag, MpuObjectSize=6)
    assert body_of(s3c.get_object(Bucket=bucket, Key="conditional")) == b"second"


def test_a_complete_that_is_sent_several_times_at_once(s3c: Any, bucket: str) -> None:
    upload = Upload(s3c, bucket, "at once")
    upload.put(1, b"once")
    with ThreadPoolExecutor(6) as pool:
        told = [each.result() for each in [pool.submit(upload.complete) for _ in range(6)]]
    assert {each["ETag"] for each in told} == {etag_of([b"once"])}
    assert body_of(s3c.get_object(Bucket=bucket, Key="at once")) == b"once"


def test_what_was_completed_last_counts(s3c: Any, bucket: str) -> None:
    """However long ago it was begun, and whatever was written or deleted since."""
    upload = Upload(s3c, bucket, "late")
    upload.put(1, b"of the upload")
    s3c.put_object(Bucket=bucket, Key="late", Body=b"written since")
    upload.complete()
    assert body_of(s3c.get_object(Bucket=bucket, Key="late")) == b"of the upload"
    upload = Upload(s3c, bucket, "late")
    upload.put(1, b"again")
    # Hadoop's committers do that between Create and Complete.
    s3c.delete_object(Bucket=bucket, Key="late")
    upload.complete()
    assert body_of(s3c.get_object(Bucket=bucket, Key="late")) == b"again"
    assert s3.keys_of(s3c.list_objects_v2(Bucket=bucket, Prefix="late")) == ["late"]
    s3c.delete_object(Bucket=bucket, Key="late")
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key="late")


def test_an_upload_of_a_bucket_that_is_gone(s3c: Any) -> None:
    s3c.create_bucket(Bucket="short-lived")
    upload = Upload(s3c, "short-lived", "k")
    upload.put(1, b"x")
    s3c.delete_bucket(Bucket="short-lived")
    with refused("NoSuchBucket", 404):
        upload.complete()
    s3c.create_bucket(Bucket="short-lived")
    with refused("NoSuchUpload", 404):
        upload.complete()
    assert s3.all_keys(s3c, "short-lived") == []
    s3c.delete_bucket(Bucket="short-lived")
