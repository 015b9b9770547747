"""Objects through the S3 door, on real servers: what is put comes back, whole and in pieces."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.framing import framed
from tests.integration import s3
from tests.integration.bodies import MIB, body
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.s3 import body_of, refused

BOTH_LANES = "s3_daemon"
MANY_FORMS = {"empty": b"", "short": b"hello", "long": body(3 * MIB, 1)}

ODD_KEYS = [
    "a+b c%20d%2Fe?f&g=h#i;j,k:l@m$n!o'p(q)r*s~t",
    "folder/",
    "folder/under/it/",
    "spaces  and\ttabs ",
    " leading",
    "ümläut/日本語/\U0001d11e",
    "e\u0301 and \u00e9",
    "%",
    "+",
    "a/+/%2F/%",
    "quotes\"and'and<angles>&amp;",
    "brackets[1]{2}|^`",
    "-",
    "_",
    "...",
    "a..b",
    ".hidden",
    "\u007f\u0080\u200b\ufeff",
    "/".join(["s" * 255] * 4),  # 1,023 bytes
    "/".join(["s" * 255] * 3) + "/" + "s" * 253 + "/t",  # 1,024 bytes
    "日" * 85,  # 255 bytes in one segment
]


@pytest.fixture(scope="module")
def s3c(s3_daemon: Daemon) -> Any:
    return s3.client(s3_daemon)


@pytest.mark.parametrize("form", MANY_FORMS)
def test_what_is_put_comes_back(s3c: Any, bucket: str, form: str) -> None:
    data = MANY_FORMS[form]
    put = s3c.put_object(Bucket=bucket, Key=form, Body=data)
    etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    assert put["ETag"] == etag
    got = s3c.get_object(Bucket=bucket, Key=form)
    assert (got["ContentLength"], got["ETag"]) == (len(data), etag)
    assert got["ContentType"] == "binary/octet-stream"
    assert body_of(got) == data
    head = s3c.head_object(Bucket=bucket, Key=form)
    assert head["LastModified"] == got["LastModified"]
    assert abs(head["LastModified"] - datetime.now(UTC)) < timedelta(minutes=2)
    listed = s3c.list_objects_v2(Bucket=bucket, Prefix=form)["Contents"][0]
    assert (listed["Key"], listed["ETag"], listed["Size"]) == (form, etag, len(data))


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys(s3c: Any, bucket: str, key: str) -> None:
    assert len(key.encode()) <= 1024
    data = b"" if key.endswith("/") else key.encode()
    s3c.put_object(Bucket=bucket, Key=key, Body=data)
    assert body_of(s3c.get_object(Bucket=bucket, Key=key)) == data
    assert s3c.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(data)
    assert s3.keys_of(s3c.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)) == [key]
    s3c.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert body_of(s3c.get_object(Bucket=bucket, Key="copy")) == data
    deleted = s3c.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert [each["Key"] for each in deleted["Deleted"]] == [key]
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("k" * 1025, "KeyTooLongError"),
        ("a//b", "XMinioInvalidObjectName"),
        ("a/./b", "XMinioInvalidObjectName"),
        ("a/../b", "XMinioInvalidObjectName"),
        ("a\\b", "XMinioInvalidObjectName"),
        ("s" * 256, "XMinioInvalidObjectName"),
        ("a\0b", "XMinioInvalidObjectName"),
    ],
)
def test_keys_that_some_nodes_fold_are_refused(s3c: Any, bucket: str, key: str, code: str) -> None:
    with refused(code, 400):
        s3c.put_object(Bucket=bucket, Key=key, Body=b"x")
    with refused(code, 400):
        s3c.create_multipart_upload(Bucket=bucket, Key=key)
    with refused(code, 400):
        s3c.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": "short"})


def test_a_folder_is_no_object_and_keeps_no_bytes(s3c: Any, bucket: str) -> None:
    """There are nodes that have real folders, and some that drop what is put under their names."""
    for size_bytes in (1, 2 * MIB, 9 * MIB):
        with refused("XMinioInvalidObjectName", 400):
            s3c.put_object(Bucket=bucket, Key="real/", Body=body(size_bytes))
    with refused("XMinioInvalidObjectName", 400):
        s3c.create_multipart_upload(Bucket=bucket, Key="real/")
    s3c.put_object(Bucket=bucket, Key="real/x", Body=b"x")
    with refused("XMinioInvalidObjectName", 400):
        s3c.copy_object(Bucket=bucket, Key="real/", CopySource={"Bucket": bucket, "Key": "real/x"})
    for _ in range(2):
        with refused("404", 404):
            s3c.head_object(Bucket=bucket, Key="real/")
        with refused("NoSuchKey", 404):
            s3c.get_object(Bucket=bucket, Key="real/")
        s3c.delete_object(Bucket=bucket, Key="real/x")
    for arguments in ({}, {"Delimiter": "/"}):
        page = s3c.list_objects_v2(Bucket=bucket, Prefix="real", **arguments)
        assert page["KeyCount"] == 0, page
    # One that was put is there, whatever comes and goes beneath it.
    s3c.put_object(Bucket=bucket, Key="real/", Body=b"")
    s3c.put_object(Bucket=bucket, Key="real/x", Body=b"x")
    assert s3.all_keys(s3c, bucket, Prefix="real/") == ["real/", "real/x"]
    s3c.delete_object(Bucket=bucket, Key="real/x")
    assert s3c.head_object(Bucket=bucket, Key="real/")["ContentLength"] == 0
    s3c.put_object(Bucket=bucket, Key="real/x", Body=b"x")
    s3c.delete_object(Bucket=bucket, Key="real/")
    assert s3.all_keys(s3c, bucket, Prefix="real/") == ["real/x"]
    assert body_of(s3c.get_object(Bucket=bucket, Key="real/x")) == b"x"


def test_what_is_not_there(s3c: Any, bucket: str) -> None:
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key="nothing")
    with refused("404", 404):
        s3c.head_object(Bucket=bucket, Key="nothing")
    s3c.delete_object(Bucket=bucket, Key="nothing")
    for ask in (s3c.get_object, s3c.put_object, s3c.delete_object):
        with refused("NoSuchBucket", 404):
            ask(Bucket="never-made", Key="nothing")


# -- headers that are kept ----------------------------------------------------------------------


def test_headers_and_metadata_come_back(s3c: Any, bucket: str) -> None:
    kept = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, en",
        "ContentDisposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt",
        "CacheControl": "max-age=60, must-revalidate",
    }
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    s3c.put_object(
        Bucket=bucket,
        Key="headers",
        Body=b"x",
        Expires=expires,
        Metadata={"who": "me", "Mixed-Case": "a  b", "empty": "", "mtime": "1700000000.5"},
        StorageClass="STANDARD_IA",
        Tagging="a=1&b=%C3%BC+x",
        **kept,
    )
    for told in (
        s3c.get_object(Bucket=bucket, Key="headers"),
        s3c.head_object(Bucket=bucket, Key="headers"),
    ):
        assert {name: told[name] for name in kept} == kept
        assert told["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert told["Metadata"]["who"] == "me"
        assert told["Metadata"]["mixed-case"] == "a  b"
        assert told["Metadata"]["mtime"] == "1700000000.5"
        assert not any(name.startswith("aos-") for name in told["Metadata"])
        assert told["StorageClass"] == "STANDARD_IA"
    assert s3c.get_object(Bucket=bucket, Key="headers")["TagCount"] == 2


def test_metadata_in_utf_8(s3_daemon: Daemon, bucket: str) -> None:
    """As those clients send it that don't refuse it."""
    path = s3.path_of(bucket, "utf8")
    headers = {"x-amz-meta-name": "grüße 日本"}
    request = s3.signed("PUT", path, headers=headers, body=b"x")
    assert s3.send(s3_daemon.port, request, b"x").status == 200
    answer = s3.send(s3_daemon.port, s3.signed("HEAD", path))
    assert answer.headers["x-amz-meta-name"].encode("latin-1").decode() == "grüße 日本"


def test_metadata_of_ours_is_refused(s3c: Any, bucket: str) -> None:
    with refused("InvalidArgument", 400):
        s3c.put_object(Bucket=bucket, Key="ours", Body=b"x", Metadata={"aos-stamp": "1"})
    with refused("MetadataTooLarge", 400):
        s3c.put_object(Bucket=bucket, Key="ours", Body=b"x", Metadata={"a": "b" * 3000})
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key="ours")


# -- ranges, parts, conditions ------------------------------------------------------------------


def test_ranges(s3c: Any, bucket: str) -> None:
    data = MANY_FORMS["long"]
    s3c.put_object(Bucket=bucket, Key="ranges", Body=data)
    size = len(data)
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=5-", 5, size - 1),
        ("bytes=-7", size - 7, size - 1),
        (f"bytes=100-{2 * size}", 100, size - 1),
        (f"bytes=-{2 * size}", 0, size - 1),
        (f"bytes={MIB}-{2 * MIB}", MIB, 2 * MIB),
    ):
        got = s3c.get_object(Bucket=bucket, Key="ranges", Range=asked)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, asked
        assert got["ContentRange"] == f"bytes {first}-{last}/{size}"
        assert body_of(got) == data[first : last + 1]
        head = s3c.head_object(Bucket=bucket, Key="ranges", Range=asked)
        assert head["ContentLength"] == last + 1 - first
    for asked in (f"bytes={size}-", "bytes=-0"):
        with refused("InvalidRange", 416) as raised:
            s3c.get_object(Bucket=bucket, Key="ranges", Range=asked)
        headers = raised.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["content-range"] == f"bytes */{size}"
    one = s3c.get_object(Bucket=bucket, Key="ranges", PartNumber=1)
    assert one["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert body_of(one) == data
    for number in (2, 10000):
        with refused("InvalidPartNumber", 416):
            s3c.get_object(Bucket=bucket, Key="ranges", PartNumber=number)


def test_conditions_of_reads(s3c: Any, bucket: str) -> None:
    etag = s3c.put_object(Bucket=bucket, Key="read", Body=b"x")["ETag"]
    modified = s3c.head_object(Bucket=bucket, Key="read")["LastModified"]
    earlier = modified - timedelta(hours=1)
    for ask, failed in ((s3c.get_object, "PreconditionFailed"), (s3c.head_object, "412")):

        def well(ask: Any = ask, **conditions: Any) -> None:
            assert ask(Bucket=bucket, Key="read", **conditions)["ETag"] == etag

        well(IfMatch=etag)
        well(IfMatch="*")
        well(IfMatch=etag.strip('"'))
        well(IfNoneMatch='"other"')
        well(IfModifiedSince=earlier)
        well(IfUnmodifiedSince=modified)
        well(IfMatch=etag, IfUnmodifiedSince=earlier)
        with refused(failed, 412):
            ask(Bucket=bucket, Key="read", IfMatch='"other"')
        with refused(failed, 412):
            ask(Bucket=bucket, Key="read", IfUnmodifiedSince=earlier)
        for conditions in ({"IfNoneMatch": etag}, {"IfModifiedSince": modified}):
            with refused("304", 304):
                ask(Bucket=bucket, Key="read", **conditions)
        with refused("304", 304):
            ask(Bucket=bucket, Key="read", IfNoneMatch=etag, IfModifiedSince=earlier)


def test_conditions_of_writes(s3c: Any, bucket: str) -> None:
    key = "written"
    first = s3c.put_object(Bucket=bucket, Key=key, Body=b"1", IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed", 412):
        s3c.put_object(Bucket=bucket, Key=key, Body=b"2", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3c.put_object(Bucket=bucket, Key=key, Body=b"2", IfMatch='"other"')
    second = s3c.put_object(Bucket=bucket, Key=key, Body=b"2", IfMatch=first)["ETag"]
    with refused("PreconditionFailed", 412):
        s3c.put_object(Bucket=bucket, Key=key, Body=body(2 * MIB), IfMatch=first)
    with refused("NoSuchKey", 404):
        s3c.put_object(Bucket=bucket, Key="never", Body=b"2", IfMatch=first)
    with refused("PreconditionFailed", 412):
        s3c.delete_object(Bucket=bucket, Key=key, IfMatch=first)
    assert body_of(s3c.get_object(Bucket=bucket, Key=key)) == b"2"
    s3c.delete_object(Bucket=bucket, Key=key, IfMatch=second)
    s3c.put_object(Bucket=bucket, Key=key, Body=b"3", IfNoneMatch="*")


@pytest.mark.parametrize("size_bytes", [5, 2 * MIB])
def test_of_those_who_race_to_create_one_succeeds(s3c: Any, bucket: str, size_bytes: int) -> None:
    key = f"race{size_bytes}"

    def create(number: int) -> str:
        try:
            s3c.put_object(Bucket=bucket, Key=key, Body=body(size_bytes, number), IfNoneMatch="*")
        except s3c.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return "created"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(create, range(8)))
    winner = outcomes.index("created")
    assert sorted(outcomes) == ["PreconditionFailed"] * 7 + ["created"]
    assert body_of(s3c.get_object(Bucket=bucket, Key=key)) == body(size_bytes, winner)


def test_headers_of_the_answer_can_be_asked_for(s3c: Any, bucket: str) -> None:
    s3c.put_object(Bucket=bucket, Key="override", Body=b"x", ContentType="a/b")
    got = s3c.get_object(
        Bucket=bucket,
        Key="override",
        ResponseContentType="text/html",
        ResponseContentDisposition='attachment; filename="ü.txt"',
        ResponseContentEncoding="identity",
        ResponseContentLanguage="fr",
        ResponseCacheControl="no-store",
        ResponseExpires=datetime(2031, 1, 1, tzinfo=UTC),
    )
    assert got["ContentType"] == "text/html"
    assert got["ContentLanguage"] == "fr"
    assert got["CacheControl"] == "no-store"
    assert got["ContentDisposition"].startswith("attachment")
    assert s3c.head_object(Bucket=bucket, Key="override")["ContentType"] == "a/b"


# -- checksums ----------------------------------------------------------------------------------


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4)).decode()


def of_hash(name: str) -> Callable[[bytes], str]:
    return lambda data: base64.b64encode(hashlib.new(name, data).digest()).decode()


def table_crc(width: int, reflected: int) -> Callable[[bytes], str]:
    """A reflected CRC with all bits set at the beginning and inverted at the end."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (reflected if value & 1 else 0)
        table.append(value)

    def checksum(data: bytes) -> str:
        ones = (1 << width) - 1
        value = ones
        for byte in data:
            value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
        return base64.b64encode((value ^ ones).to_bytes(width // 8)).decode()

    return checksum


# Each by code that isn't the daemon's.
CHECKSUMS: dict[str, Callable[[bytes], str]] = {
    "CRC32": crc32,
    "CRC32C": table_crc(32, 0x82F63B78),
    "CRC64NVME": table_crc(64, 0x9A6C9329AC4BC9B5),
    "SHA1": of_hash("sha1"),
    "SHA256": of_hash("sha256"),
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksums_in_headers(s3c: Any, bucket: str, name: str) -> None:
    field, key, data = f"Checksum{name}", f"sum{name}", b"checked" * 100
    right, wrong = CHECKSUMS[name](data), CHECKSUMS[name](b"other")
    with refused("BadDigest", 400):
        s3c.put_object(Bucket=bucket, Key=key, Body=data, **{field: wrong})
    with refused("BadDigest", 400):
        s3c.put_object(Bucket=bucket, Key=key, Body=body(2 * MIB), **{field: wrong})
    with refused("NoSuchKey", 404):
        s3c.get_object(Bucket=bucket, Key=key)
    put = s3c.put_object(Bucket=bucket, Key=key, Body=data, **{field: right})
    assert put[field] == right
    got = s3c.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert (got[field], got["ChecksumType"]) == (right, "FULL_OBJECT")
    assert body_of(got) == data
    head = s3c.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head[field] == right
    part = s3c.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", Range="bytes=0-3")
    assert field not in part
    told = s3c.get_object_attributes(
        Bucket=bucket, Key=key, ObjectAttributes=["Checksum", "ETag", "ObjectSize", "StorageClass"]
    )
    assert told["Checksum"][field] == right
    assert (told["ObjectSize"], told["ETag"]) == (len(data), put["ETag"].strip('"'))
    s3c.copy_object(Bucket=bucket, Key=f"{key}copy", CopySource={"Bucket": bucket, "Key": key})
    copied = s3c.head_object(Bucket=bucket, Key=f"{key}copy", ChecksumMode="ENABLED")
    assert copied[field] == right


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksums_in_trailers(
    s3_daemon: Daemon, s3c: Any, bucket: str, name: str, signs: bool, long: bool
) -> None:
    # CRCs in Python are slow.
    data = bytes(9 * MIB) if long and name in ("CRC32", "SHA1", "SHA256") else b"trailed" * 999
    key = f"trail-{name}-{signs}-{long}"
    header = f"x-amz-checksum-{name.lower()}"
    for checksum, status in ((CHECKSUMS[name](b"other"), 400), (CHECKSUMS[name](data), 200)):
        answer = put_framed(s3_daemon, bucket, key, data, (header, checksum), signs=signs)
        assert answer.status == status, answer
        if status == 400:
            assert s3.error_of(answer) == (400, "BadDigest")
            with refused("NoSuchKey", 404):
                s3c.get_object(Bucket=bucket, Key=key)
        else:
            assert answer.headers[header] == checksum
    got = s3c.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert body_of(got) == data
    assert "ContentEncoding" not in got
    if len(data) <= 8 * MIB:
        assert got[f"Checksum{name}"] == checksum


def put_framed(
    daemon: Daemon, bucket: str, key: str, data: bytes, trailer: tuple[str, str], *, signs: bool
) -> Any:
    """A PUT in aws-chunked framing with a trailer."""
    kind = "AWS4-HMAC-SHA256-PAYLOAD" if signs else "UNSIGNED-PAYLOAD"
    payload = f"STREAMING-{kind}-TRAILER"
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(data)),
        "X-Amz-Trailer": trailer[0],
    }
    request = s3.signed("PUT", s3.path_of(bucket, key), headers=headers, payload=payload)
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    sent = framed(pieces, request.chunk_key if signs else None, [trailer])
    return s3.send(daemon.port, request, sent)


def test_md5_and_sha256_are_compared(s3_daemon: Daemon, s3c: Any, bucket: str) -> None:
    for data in (b"compared", body(2 * MIB, 3)):
        wrong = base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
        with refused("BadDigest", 400):
            s3c.put_object(Bucket=bucket, Key="compared", Body=data, ContentMD5=wrong)
        with refused("InvalidDigest", 400):
            s3c.put_object(Bucket=bucket, Key="compared", Body=data, ContentMD5="abc")
        # Signed is another body than the one that comes.
        request = s3.signed("PUT", s3.path_of(bucket, "compared"), body=data)
        changed = data[:-1] + bytes([data[-1] ^ 1])
        answer = s3.send(s3_daemon.port, request, changed)
        assert s3.error_of(answer) == (400, "XAmzContentSHA256Mismatch")
        with refused("NoSuchKey", 404):
            s3c.get_object(Bucket=bucket, Key="compared")


# -- copies -------------------------------------------------------------------------------------


def test_copies(s3c: Any, bucket: str, s3_nodes: list[RealNode]) -> None:
    source = {"Bucket": bucket, "Key": "source of copies"}
    data = body(2 * MIB, 5)
    etag = s3c.put_object(
        Bucket=bucket,
        Key=source["Key"],
        Body=data,
        Metadata={"a": "1"},
        ContentType="text/a",
        CacheControl="no-cache",
        Tagging="t=1",
    )["ETag"]
    for number in range(4):
        key = f"copied{number}"
        told = s3c.copy_object(Bucket=bucket, Key=key, CopySource=source)["CopyObjectResult"]
        assert told["ETag"] == etag
        got = s3c.get_object(Bucket=bucket, Key=key)
        assert (got["Metadata"], got["ContentType"]) == ({"a": "1"}, "text/a")
        assert (got["CacheControl"], got["TagCount"]) == ("no-cache", 1)
        assert body_of(got) == data
        assert len(s3.holders(s3_nodes, bucket, key)) == 2
    s3c.copy_object(
        Bucket=bucket,
        Key="replaced",
        CopySource=source,
        MetadataDirective="REPLACE",
        TaggingDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/b",
        Tagging="u=2",
    )
    got = s3c.get_object(Bucket=bucket, Key="replaced")
    assert (got["Metadata"], got["ContentType"]) == ({"b": "2"}, "text/b")
    assert "CacheControl" not in got
    tags = s3c.get_object_tagging(Bucket=bucket, Key="replaced")["TagSet"]
    assert tags == [{"Key": "u", "Value": "2"}]
    # Onto itself, as s3fs does it to change metadata; nothing to change is refused.
    s3c.copy_object(
        Bucket=bucket,
        Key=source["Key"],
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"c": "3"},
    )
    got = s3c.get_object(Bucket=bucket, Key=source["Key"])
    assert (got["Metadata"], got["ETag"], body_of(got)) == ({"c": "3"}, etag, data)
    with refused("InvalidRequest", 400):
        s3c.copy_object(Bucket=bucket, Key=source["Key"], CopySource=source)


def test_conditions_of_copies(s3c: Any, bucket: str) -> None:
    source = {"Bucket": bucket, "Key": "conditional source"}
    etag = s3c.put_object(Bucket=bucket, Key=source["Key"], Body=b"x")["ETag"]
    modified = s3c.head_object(Bucket=bucket, Key=source["Key"])["LastModified"]
    earlier = modified - timedelta(hours=1)
    s3c.copy_object(Bucket=bucket, Key="cc", CopySource=source, CopySourceIfMatch=etag)
    for conditions in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfUnmodifiedSince": earlier},
        {"CopySourceIfModifiedSince": modified},
        {"IfNoneMatch": "*"},
        {"IfMatch": '"other"'},
    ):
        with refused("PreconditionFailed", 412):
            s3c.copy_object(Bucket=bucket, Key="cc", CopySource=source, **conditions)
    s3c.copy_object(Bucket=bucket, Key="cc", CopySource=source, IfMatch=etag)
    with refused("NoSuchKey", 404):
        s3c.copy_object(Bucket=bucket, Key="cc", CopySource={"Bucket": bucket, "Key": "none"})
    with refused("NoSuchBucket", 404):
        s3c.copy_object(Bucket=bucket, Key="cc", CopySource={"Bucket": "no-such", "Key": "x"})
    with refused("NoSuchBucket", 404):
        s3c.copy_object(Bucket="no-such", Key="cc", CopySource=source)


# -- tags, many deletes ---------------------------------------------------------------------------


def test_tags(s3c: Any, bucket: str) -> None:
    data = body(MIB + 1, 6)
    put = s3c.put_object(Bucket=bucket, Key="tagged", Body=data, Metadata={"m": "1"})
    assert s3c.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == []
    tags = [{"Key": "a b", "Value": "ü/=+"}, {"Key": "c", "Value": ""}]
    s3c.put_object_tagging(Bucket=bucket, Key="tagged", Tagging={"TagSet": tags})
    assert s3c.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == tags
    got = s3c.get_object(Bucket=bucket, Key="tagged")
    assert (got["ETag"], got["Metadata"], got["TagCount"]) == (put["ETag"], {"m": "1"}, 2)
    assert body_of(got) == data
    s3c.delete_object_tagging(Bucket=bucket, Key="tagged")
    assert s3c.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == []
    with refused("InvalidTag", 400):
        s3c.put_object_tagging(
            Bucket=bucket,
            Key="tagged",
            Tagging={"TagSet": [{"Key": str(each), "Value": ""} for each in range(11)]},
        )
    with refused("NoSuchKey", 404):
        s3c.get_object_tagging(Bucket=bucket, Key="not tagged")


def test_a_thousand_are_deleted_at_once(s3c: Any, bucket: str) -> None:
    keys = [f"many/{each:04}" for each in range(40)]
    for key in keys:
        s3c.put_object(Bucket=bucket, Key=key, Body=b"x")
    asked = [{"Key": key} for key in keys]
    asked += [{"Key": f"many/absent{each}"} for each in range(958)]
    asked += [{"Key": "many//folded"}, {"Key": "many/versioned", "VersionId": "abc"}]
    told = s3c.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    assert len(told["Deleted"]) == 998
    assert {each["Key"]: each["Code"] for each in told["Errors"]} == {
        "many//folded": "XMinioInvalidObjectName",
        "many/versioned": "NoSuchVersion",
    }
    assert s3.all_keys(s3c, bucket, Prefix="many/") == []
    quiet = s3c.delete_objects(Bucket=bucket, Delete={"Objects": asked[:1], "Quiet": True})
    assert "Deleted" not in quiet
    with refused("MalformedXML", 400):
        s3c.delete_objects(Bucket=bucket, Delete={"Objects": [*asked, {"Key": "one too many"}]})
