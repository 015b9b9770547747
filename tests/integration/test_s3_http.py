"""The S3 door's HTTP, on real servers: errors, connections, and what is odd but allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.framing import framed
from tests.integration import s3
from tests.integration.bodies import MIB, body, pieces
from tests.integration.daemon import Daemon
from tests.integration.s3 import body_of, signed
from tests.integration.wire import Wire, chunk

BOTH_LANES = "s3_daemon"
CONTINUE = b"HTTP/1.1 100 Continue"


@pytest.fixture(scope="module")
def s3c(s3_daemon: Daemon) -> Any:
    return s3.client(s3_daemon)


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
@pytest.mark.parametrize("data", [b"", b"asked for", body(2 * MIB, 1)], ids=["0", "9", "2 MiB"])
def test_a_body_is_asked_for(
    s3_daemon: Daemon, s3c: Any, bucket: str, expect: str, data: bytes
) -> None:
    request = signed("PUT", s3.path_of(bucket, "asked"), headers={"Expect": expect}, body=data)
    with Wire(s3_daemon.port, 30) as wire:
        wire.send(request.head(len(data)))
        if data:
            assert wire.read_head() == CONTINUE
            wire.send(data)
        answer = wire.answer("PUT")
        if answer.status == 100:  # allowed also where no body follows
            answer = wire.answer("PUT")
        assert answer.status == 200, answer
        assert s3.send_on(wire, signed("HEAD", s3.path_of(bucket, "asked"))).status == 200
    assert body_of(s3c.get_object(Bucket=bucket, Key="asked")) == data


@pytest.mark.parametrize(
    ("key", "headers", "status", "code"),
    [
        ("a//b", {}, 400, "XMinioInvalidObjectName"),
        ("there", {"If-None-Match": "*"}, 412, "PreconditionFailed"),
        ("there", {"x-amz-meta-aos-x": "1"}, 400, "InvalidArgument"),
        ("there", {"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"),
        ("there", {"x-amz-storage-class": "NONE_SUCH"}, 400, "InvalidStorageClass"),
        ("there", {"x-amz-acl": "none-such"}, 400, "InvalidArgument"),
        ("there", {"Content-MD5": "short"}, 400, "InvalidDigest"),
        ("there", {"x-amz-checksum-crc32": "AAAA"}, 400, "InvalidRequest"),
    ],
)
def test_refusals_come_without_the_body(
    s3_daemon: Daemon,
    s3c: Any,
    bucket: str,
    key: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    s3c.put_object(Bucket=bucket, Key="there", Body=b"x")
    asked = {"Expect": "100-continue", **headers}
    request = signed("PUT", s3.path_of(bucket, key), headers=asked, payload="UNSIGNED-PAYLOAD")
    with Wire(s3_daemon.port) as wire:
        wire.send(request.head(10))
        assert s3.error_of(wire.answer("PUT")) == (status, code)


def test_a_connection_lives_on_after_errors(s3_daemon: Daemon, s3c: Any, bucket: str) -> None:
    s3c.put_object(Bucket=bucket, Key="kept", Body=b"0123456789")
    kept, none = s3.path_of(bucket, "kept"), s3.path_of(bucket, "none")
    short, long = b"a body", body(3 * MIB, 2)
    with Wire(s3_daemon.port, 30) as wire:

        def ask(status: int, request: s3.Request, data: bytes | None = None) -> Any:
            answer = s3.send_on(wire, request, data)
            assert answer.status == status, answer
            assert "connection" not in answer.headers, answer
            assert answer.headers["x-amz-request-id"]
            return answer

        ask(404, signed("GET", none))
        head = ask(404, signed("HEAD", none))
        assert (head.body, head.headers["content-length"]) == (b"", "0")
        ask(200, signed("GET", kept))
        ask(206, signed("GET", kept, headers={"Range": "bytes=1-2"}))
        ask(416, signed("GET", kept, headers={"Range": "bytes=20-"}))
        etag = s3c.head_object(Bucket=bucket, Key="kept")["ETag"]
        same = ask(304, signed("GET", kept, headers={"If-None-Match": etag}))
        assert same.headers["etag"] == etag
        ask(412, signed("GET", kept, headers={"If-Match": '"x"'}))
        ask(404, signed("GET", "/no-such-bucket/x"))
        ask(403, signed("GET", kept, pair=s3.NOBODY))
        ask(200, signed("PUT", kept, body=long), long)
        ask(200, signed("PUT", kept, body=b""), b"")
        wrong = signed("PUT", kept, headers={"Content-MD5": "A" * 22 + "=="}, body=short)
        ask(400, wrong, short)
        ask(400, signed("POST", f"/{bucket}", {"delete": ""}, body=b"<x/>"), b"<x/>")
        ask(204, signed("DELETE", kept))
        ask(405, signed("PATCH", kept))
        ask(200, signed("GET", "/"))


def test_pipelined(s3_daemon: Daemon, bucket: str) -> None:
    path, data = s3.path_of(bucket, "pipelined"), b"one after the other"
    requests = [
        signed("PUT", path, body=data).head(len(data)) + data,
        signed("GET", path).head(),
        signed("HEAD", path).head(),
        signed("GET", s3.path_of(bucket, "none")).head(),
        signed("DELETE", path).head(),
        signed("GET", path).head(),
    ]
    with Wire(s3_daemon.port, 30) as wire:
        wire.send(b"".join(requests))
        answers = [wire.answer(v) for v in ("PUT", "GET", "HEAD", "GET", "DELETE", "GET")]
    assert [each.status for each in answers] == [200, 200, 200, 404, 204, 404]
    assert answers[1].body == data


@pytest.mark.parametrize("size_bytes", [0, 10, 9 * MIB])
def test_chunked(s3_daemon: Daemon, s3c: Any, bucket: str, size_bytes: int) -> None:
    """HTTP's own chunks: plain, and with aws-chunked framing within, as boto3 sends over TLS."""
    data = body(size_bytes, 3)
    chunked = {"Transfer-Encoding": "chunked"}
    path = s3.path_of(bucket, "chunked")
    plain = signed("PUT", path, headers=chunked, payload="UNSIGNED-PAYLOAD")
    headers = {**chunked, "X-Amz-Decoded-Content-Length": str(size_bytes)}
    within = signed("PUT", path, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    # 70 bytes a chunk of HTTP would be hard on everybody; 7,001 fits no other boundary.
    framings = [plain, data], [within, framed(list(pieces(data)), None, [])]
    for request, sent in framings:
        with Wire(s3_daemon.port, 60) as wire:
            wire.send(request.head())
            for piece in pieces(bytes(sent), 7001 if size_bytes < MIB else 99_999):
                wire.send(chunk(piece))
            wire.send(b"0\r\n\r\n")
            answer = wire.answer("PUT")
            assert answer.status == 200, answer
            assert s3.send_on(wire, signed("HEAD", path)).status == 200
        assert body_of(s3c.get_object(Bucket=bucket, Key="chunked")) == data


def test_lengths(s3_daemon: Daemon, bucket: str) -> None:
    path = s3.path_of(bucket, "lengths")
    # Nothing tells where it ends.
    answer = s3.send(s3_daemon.port, signed("PUT", path))
    assert s3.error_of(answer) == (411, "MissingContentLength")
    # POST and copies have none and need none.
    s3.send(s3_daemon.port, signed("PUT", path, body=b"x"), b"x")
    copying = {"x-amz-copy-source": f"{bucket}/lengths"}
    copied = s3.send(s3_daemon.port, signed("PUT", s3.path_of(bucket, "copied"), headers=copying))
    s3.result_of(copied, "CopyObjectResult")
    begun = s3.send(s3_daemon.port, signed("POST", path, {"uploads": ""}))
    upload = s3.result_of(begun, "InitiateMultipartUploadResult").findtext("UploadId")
    aborted = s3.send(s3_daemon.port, signed("DELETE", path, {"uploadId": str(upload)}))
    assert aborted.status == 204


def test_a_client_that_leaves_stores_nothing(s3_daemon: Daemon, s3c: Any, bucket: str) -> None:
    data = body(2 * MIB, 8)
    request = signed("PUT", s3.path_of(bucket, "left"), body=data)
    with Wire(s3_daemon.port) as wire:
        wire.send(request.head(len(data)) + data[:-1])
        wire.vanish()
    with pytest.raises(s3c.exceptions.ClientError):
        s3c.head_object(Bucket=bucket, Key="left")


@pytest.mark.parametrize(
    ("verb", "path", "query", "data", "told"),
    [
        ("GET", "/no-such-bucket", {}, None, (404, "NoSuchBucket")),
        ("GET", "/A_bad_Name", {}, None, (400, "InvalidBucketName")),
        ("GET", "/{}/%ff", {}, None, (400, "InvalidURI")),
        ("GET", "/{}/nothing", {}, None, (404, "NoSuchKey")),
        ("GET", "/{}/nothing", {"versionId": "x1"}, None, (404, "NoSuchVersion")),
        ("GET", "/{}/nothing", {"partNumber": "0"}, None, (400, "InvalidArgument")),
        ("GET", "/{}/nothing", {"uploadId": "none"}, None, (404, "NoSuchUpload")),
        ("PUT", "/{}/nothing", {"uploadId": "none", "partNumber": "1"}, b"", (404, "NoSuchUpload")),
        (
            "PUT",
            "/{}/nothing",
            {"uploadId": "none", "partNumber": "10001"},
            b"",
            (400, "InvalidArgument"),
        ),
        ("DELETE", "/{}/nothing", {"uploadId": "none"}, None, (404, "NoSuchUpload")),
        ("POST", "/{}/nothing", {"uploadId": "none"}, b"<x", (400, "MalformedXML")),
        ("POST", "/{}/nothing", {"restore": ""}, b"", (501, "NotImplemented")),
        ("POST", "/{}", {"delete": ""}, b"<Delete></Delete>", (400, "MalformedXML")),
        ("POST", "/{}", {}, b"", (405, "MethodNotAllowed")),
        ("GET", "/{}", {"list-type": "3"}, None, (400, "InvalidArgument")),
        ("GET", "/{}", {"max-keys": "-1"}, None, (400, "InvalidArgument")),
        ("GET", "/{}", {"max-keys": "x"}, None, (400, "InvalidArgument")),
        ("GET", "/{}", {"encoding-type": "x"}, None, (400, "InvalidArgument")),
        (
            "GET",
            "/{}",
            {"list-type": "2", "continuation-token": "%"},
            None,
            (400, "InvalidArgument"),
        ),
        ("GET", "/{}", {"lifecycle": ""}, None, (404, "NoSuchLifecycleConfiguration")),
        ("GET", "/{}", {"website": ""}, None, (404, "NoSuchWebsiteConfiguration")),
        ("GET", "/{}", {"object-lock": ""}, None, (404, "ObjectLockConfigurationNotFoundError")),
        ("PUT", "/{}", {"lifecycle": ""}, b"<x/>", (501, "NotImplemented")),
        ("PUT", "/{}", {"versioning": ""}, b"<x/>", (501, "NotImplemented")),
        ("PUT", "/{}", {"policy": ""}, b"no json", (400, "MalformedPolicy")),
        ("PUT", "/{}", {"cors": ""}, b"<!DOCTYPE x><x/>", (400, "MalformedXML")),
    ],
)
def test_errors(
    s3_daemon: Daemon,
    bucket: str,
    verb: str,
    path: str,
    query: dict[str, str],
    data: bytes | None,
    told: tuple[int, str],
) -> None:
    request = signed(verb, path.format(bucket), query, body=data or b"")
    assert s3.error_of(s3.send(s3_daemon.port, request, data)) == told


def test_nothing_is_made_of_entities(s3_daemon: Daemon, bucket: str) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete>&b;</Delete>'
    answer = s3.send(s3_daemon.port, signed("POST", f"/{bucket}", {"delete": ""}, body=bomb), bomb)
    assert s3.error_of(answer) == (400, "MalformedXML")
    long = b"<Delete>" + b" " * (4 * MIB) + b"</Delete>"
    answer = s3.send(s3_daemon.port, signed("POST", f"/{bucket}", {"delete": ""}, body=long), long)
    assert s3.error_of(answer) == (400, "MaxMessageLengthExceeded")


@pytest.mark.parametrize("path", ["/{}", "/{}/"])
def test_with_and_without_a_slash(s3_daemon: Daemon, bucket: str, path: str) -> None:
    port, target = s3_daemon.port, path.format(bucket)
    assert s3.send(port, signed("HEAD", target)).headers["x-amz-bucket-region"] == "us-east-1"
    s3.result_of(s3.send(port, signed("GET", target)), "ListBucketResult")
    odd = {"x-id": "ListObjectsV2", "list-type": "2", "Version": "2006-03-01"}
    s3.result_of(s3.send(port, signed("GET", target, odd)), "ListBucketResult")
    location = s3.send(port, signed("GET", target, {"location": ""}))
    assert s3.result_of(location, "LocationConstraint").text is None
    versioning = s3.send(port, signed("GET", target, {"versioning": ""}))
    assert len(s3.result_of(versioning, "VersioningConfiguration")) == 0
    again = s3.send(port, signed("PUT", target), None)
    assert s3.error_of(again) == (409, "BucketAlreadyOwnedByYou")


def test_names_of_headers(s3_daemon: Daemon, bucket: str) -> None:
    path = s3.path_of(bucket, "names")
    put = signed("PUT", path, headers={"X-Amz-Meta-WHO": "Me"}, body=b"x")
    assert s3.send(s3_daemon.port, put, b"x").status == 200
    answer = s3.send(s3_daemon.port, signed("GET", path))  # which refuses upper case
    assert answer.headers["x-amz-meta-who"] == "Me"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["server"] == "aosd"
