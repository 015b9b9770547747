"""Who may do what at the S3 door, on real servers: signatures, roles, public buckets, CORS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED

from tests.framing import framed
from tests.integration import s3
from tests.integration.bodies import MIB, body
from tests.integration.daemon import Daemon
from tests.integration.s3 import NOBODY, READER, ROOT, WRITER, body_of, refused
from tests.integration.waiting import until
from tests.integration.wire import Answer

ODD = "a b/+%ü&=?#~*'(!"


@pytest.fixture(scope="module")
def root(s3_daemon: Daemon) -> Any:
    return s3.client(s3_daemon)


@pytest.fixture(scope="module", autouse=True)
def there(root: Any, bucket: str) -> None:
    root.put_object(Bucket=bucket, Key="there", Body=b"0123456789")


# -- signatures and payloads --------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"signed in many ways", body(2 * MIB, 9)])
@pytest.mark.parametrize(
    "payload",
    [
        None,
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ],
)
def test_payloads(
    s3_daemon: Daemon, root: Any, bucket: str, payload: str | None, data: bytes
) -> None:
    path = s3.path_of(bucket, ODD)
    if payload is None or payload == "UNSIGNED-PAYLOAD":
        request = s3.signed("PUT", path, body=data, payload=payload)
        answer = s3.send(s3_daemon.port, request, data)
    else:
        # As minio-go has it: nothing in Content-Encoding says so.
        headers = {"X-Amz-Decoded-Content-Length": str(len(data))}
        request = s3.signed("PUT", path, headers=headers, payload=payload)
        key = None if "UNSIGNED" in payload else request.chunk_key
        pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
        trailers = [] if payload.endswith("TRAILER") else None
        answer = s3.send(s3_daemon.port, request, framed(pieces, key, trailers))
    assert answer.status == 200, answer
    got = root.get_object(Bucket=bucket, Key=ODD)
    assert body_of(got) == data
    root.delete_object(Bucket=bucket, Key=ODD)


@pytest.mark.parametrize("size_bytes", [100, 9 * MIB])
def test_a_chunk_that_was_changed_on_the_way(
    s3_daemon: Daemon, root: Any, bucket: str, size_bytes: int
) -> None:
    data = body(size_bytes, 4)
    headers = {"X-Amz-Decoded-Content-Length": str(len(data))}
    request = s3.signed(
        "PUT",
        s3.path_of(bucket, "changed"),
        headers=headers,
        payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    )
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    sent = bytearray(framed(pieces, request.chunk_key))
    sent[-150] ^= 1  # before the last chunk's signature
    answer = s3.send(s3_daemon.port, request, bytes(sent))
    assert s3.error_of(answer) == (403, "SignatureDoesNotMatch")
    with refused("NoSuchKey", 404):
        root.get_object(Bucket=bucket, Key="changed")
    # Cut short, or another length than was said.
    sent = bytearray(framed(pieces[:-1] or [b"x"], request.chunk_key))
    answer = s3.send(s3_daemon.port, request, bytes(sent))
    assert answer.status == 400, answer
    with refused("NoSuchKey", 404):
        root.get_object(Bucket=bucket, Key="changed")


def test_presigned(s3_daemon: Daemon, root: Any, bucket: str) -> None:
    path, data = s3.path_of(bucket, ODD), b"by a link"
    put = s3.send(s3_daemon.port, s3.presigned("PUT", path), data)
    assert put.status == 200, put
    query = {"response-content-type": "text/x", "response-content-disposition": 'inline; a="ü"'}
    got = s3.send(s3_daemon.port, s3.presigned("GET", path, query))
    assert (got.status, got.body, got.headers["content-type"]) == (200, data, "text/x")
    url = root.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": ODD})
    target = url.split(f":{s3_daemon.port}", 1)[1]
    host = f"127.0.0.1:{s3_daemon.port}"
    assert s3_daemon.ask("GET", target).status == 403  # another Host than was signed
    request = s3.Request("GET", target, {"Host": host}, s3.presigned("GET", "/").chunk_key)
    assert s3.send(s3_daemon.port, request).body == data


def test_presigned_urls_end(s3_daemon: Daemon, bucket: str) -> None:
    path = s3.path_of(bucket, "there")

    def ask(**signing: Any) -> Answer:
        return s3.send(s3_daemon.port, s3.presigned("GET", path, **signing))

    assert ask(ago_s=50, expires_s=600).status == 200
    assert s3.error_of(ask(ago_s=700, expires_s=600)) == (403, "AccessDenied")
    assert ask(ago_s=600_000, expires_s=604_800).status == 200
    assert s3.error_of(ask(expires_s=604_801)) == (400, "AuthorizationQueryParametersError")
    assert s3.error_of(ask(ago_s=-1800))[0] == 403


def test_clocks(s3_daemon: Daemon, bucket: str) -> None:
    path = s3.path_of(bucket, "there")
    for ago_s in (840, -840):
        assert s3.send(s3_daemon.port, s3.signed("GET", path, ago_s=ago_s)).status == 200
    for ago_s in (960, -960):
        answer = s3.send(s3_daemon.port, s3.signed("GET", path, ago_s=ago_s))
        assert s3.error_of(answer) == (403, "RequestTimeTooSkewed")


def test_wrong_signatures(s3_daemon: Daemon, bucket: str) -> None:
    with refused("InvalidAccessKeyId", 403):
        s3.client(s3_daemon, NOBODY).get_object(Bucket=bucket, Key="there")
    wrong = s3.Pair(ROOT.access_key, NOBODY.secret_key)
    with refused("SignatureDoesNotMatch", 403):
        s3.client(s3_daemon, wrong).get_object(Bucket=bucket, Key="there")
    with refused("403", 403):
        s3.client(s3_daemon, wrong).head_object(Bucket=bucket, Key="there")
    request = s3.signed("GET", s3.path_of(bucket, "there"))
    elsewhere = request._replace(target=s3.path_of(bucket, "other"))
    assert s3.error_of(s3.send(s3_daemon.port, elsewhere)) == (403, "SignatureDoesNotMatch")
    for authorization in ("AWS4-HMAC-SHA256 nonsense", "Basic dTpw", "Bearer x"):
        headers = {**request.headers, "Authorization": authorization}
        answer = s3.send(s3_daemon.port, request._replace(headers=headers))
        assert s3.error_of(answer)[0] in (400, 403), authorization


def test_version_2_is_refused_with_the_way_out(s3_daemon: Daemon, bucket: str) -> None:
    old = s3.client(s3_daemon, signature_version="s3")
    with refused("InvalidRequest", 400) as raised:
        old.get_object(Bucket=bucket, Key="there")
    assert "s3v4" in raised.value.response["Error"]["Message"]
    url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "there"})
    assert "Signature=" in url
    answer = s3_daemon.ask("GET", url.split(f":{s3_daemon.port}", 1)[1])
    assert s3.error_of(answer) == (400, "InvalidRequest")
    assert b"s3v4" in answer.body


def test_the_plain_doors_bucket_is_there_too(s3_daemon: Daemon, root: Any) -> None:
    assert s3_daemon.ask("PUT", "/object/both", {}, b"plain").status == 201
    assert body_of(root.get_object(Bucket="object", Key="both")) == b"plain"
    root.put_object(Bucket="object", Key="back", Body=b"s3")
    assert s3_daemon.ask("GET", "/object/back").body == b"s3"
    answer = s3_daemon.ask("GET", "/object/back?X-Amz-Signature=0")
    assert s3.error_of(answer)[0] in (400, 403)
    with refused("BucketAlreadyOwnedByYou", 409):
        root.create_bucket(Bucket="object")


def test_the_bucket_of_aosd_itself(s3_daemon: Daemon, root: Any) -> None:
    with refused("AccessDenied", 403):
        root.get_object(Bucket="aos-system", Key="node.json")
    with refused("AccessDenied", 403):
        root.list_objects_v2(Bucket="aos-system")
    with refused("InvalidBucketName", 400):
        root.copy_object(
            Bucket="object", Key="x", CopySource={"Bucket": "aos-system", "Key": "node.json"}
        )
    names = [each["Name"] for each in root.list_buckets()["Buckets"]]
    assert "aos-system" not in names


# -- virtual hosts ------------------------------------------------------------------------------


def test_virtual_hosts(s3_daemon: Daemon, root: Any, bucket: str) -> None:
    host = f"{bucket}.{s3.DOMAIN}:{s3_daemon.port}"
    port = s3_daemon.port
    put = s3.signed("PUT", "/by%20host", body=b"h", host=host)
    assert s3.send(port, put, b"h").status == 200
    assert body_of(root.get_object(Bucket=bucket, Key="by host")) == b"h"
    listed = s3.send(port, s3.signed("GET", "/", {"list-type": "2"}, host=host))
    assert s3.result_of(listed, "ListBucketResult").findtext("Name") == bucket
    assert s3.send(port, s3.signed("HEAD", "/", host=host)).status == 200
    # `/object/…` and `/-/…` of a bucket's own host are keys like others.
    for path in ("/object/x", "/-/health"):
        assert s3.send(port, s3.signed("PUT", path, body=b"k", host=host), b"k").status == 200
        assert body_of(root.get_object(Bucket=bucket, Key=path[1:])) == b"k"
    own = s3.signed("GET", "/", host=s3.DOMAIN)
    s3.result_of(s3.send(port, own), "ListAllMyBucketsResult")


# -- roles --------------------------------------------------------------------------------------


def test_roles(s3_daemon: Daemon, root: Any, bucket: str) -> None:
    reader, writer = s3.client(s3_daemon, READER), s3.client(s3_daemon, WRITER)
    assert body_of(reader.get_object(Bucket=bucket, Key="there")) == b"0123456789"
    assert "there" in s3.keys_of(reader.list_objects_v2(Bucket=bucket))
    reader.get_object_tagging(Bucket=bucket, Key="there")
    for ask, arguments in (
        ("put_object", {"Key": "r", "Body": b"x"}),
        ("delete_object", {"Key": "there"}),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "there"}]}}),
        ("copy_object", {"Key": "r", "CopySource": {"Bucket": bucket, "Key": "there"}}),
        ("create_multipart_upload", {"Key": "r"}),
        ("put_object_tagging", {"Key": "there", "Tagging": {"TagSet": []}}),
        ("create_bucket", {}),
        ("delete_bucket", {}),
        ("put_bucket_acl", {"ACL": "public-read"}),
    ):
        with refused("AccessDenied", 403):
            getattr(reader, ask)(Bucket=bucket, **arguments)
    with refused("AccessDenied", 403):
        writer.get_object(Bucket=bucket, Key="there")
    with refused("AccessDenied", 403):
        writer.create_bucket(Bucket="others-photos")
    writer.create_bucket(Bucket="writers-photos")
    writer.put_object(Bucket="writers-photos", Key="w", Body=b"x")
    with refused("AccessDenied", 403):
        writer.copy_object(
            Bucket="writers-photos", Key="c", CopySource={"Bucket": bucket, "Key": "there"}
        )
    writer.delete_object(Bucket="writers-photos", Key="w")
    assert [each["Name"] for each in writer.list_buckets()["Buckets"]] == ["writers-photos"]
    with refused("AccessDenied", 403):
        writer.delete_bucket(Bucket="writers-photos")
    root.delete_bucket(Bucket="writers-photos")


@pytest.fixture
def changed_identities(s3_identities: Path) -> Iterator[Path]:
    yield s3_identities
    s3.identities_file(s3_identities)


def test_identities_change_while_it_runs(
    s3_daemon: Daemon, bucket: str, changed_identities: Path
) -> None:
    late = s3.Pair("late-comer", "secret-of-the-late")
    s3c = s3.client(s3_daemon, late)

    def may() -> bool:
        try:
            s3c.head_object(Bucket=bucket, Key="there")
        except s3c.exceptions.ClientError:
            return False
        return True

    assert not may()
    s3.identities_file(changed_identities, s3.identity(late, "admin"))
    until(may, "the new identity may", 30)
    s3c.put_object(Bucket=bucket, Key="late", Body=b"x")
    # A file that can't be used changes nothing.
    changed_identities.write_text("[[identities]]\nnonsense")
    until(lambda: "the identities of before stay" in s3_daemon.log, "the log says why")
    assert may()
    s3.identities_file(changed_identities)
    until(lambda: not may(), "it may no more", 30)
    for secret in (late.secret_key, ROOT.secret_key, READER.secret_key):
        assert secret not in s3_daemon.log


# -- without a signature ------------------------------------------------------------------------


def test_nothing_is_public(s3_daemon: Daemon, bucket: str) -> None:
    stranger = s3.client(s3_daemon, signature_version=UNSIGNED)
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="there")
    with refused("AccessDenied", 403):
        stranger.list_buckets()
    with refused("AccessDenied", 403):
        stranger.put_object(Bucket=bucket, Key="s", Body=b"x")


def test_a_public_bucket(s3_daemon: Daemon, root: Any) -> None:
    stranger = s3.client(s3_daemon, signature_version=UNSIGNED)
    name = "published"
    root.create_bucket(Bucket=name)
    for key in ("open/x", "shut"):
        root.put_object(Bucket=name, Key=key, Body=b"read me")
    with refused("NoSuchBucketPolicy", 404):
        root.get_bucket_policy(Bucket=name)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{name}/open/*"],
            }
        ],
    }
    root.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    assert json.loads(root.get_bucket_policy(Bucket=name)["Policy"]) == policy
    assert body_of(stranger.get_object(Bucket=name, Key="open/x")) == b"read me"
    assert stranger.head_object(Bucket=name, Key="open/x")["ContentLength"] == 7
    for ask in (
        lambda: stranger.get_object(Bucket=name, Key="shut"),
        lambda: stranger.list_objects_v2(Bucket=name),
        lambda: stranger.put_object(Bucket=name, Key="open/y", Body=b"x"),
        lambda: stranger.delete_object(Bucket=name, Key="open/x"),
    ):
        with refused("AccessDenied", 403):
            ask()
    root.delete_bucket_policy(Bucket=name)
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=name, Key="open/x")
    root.put_bucket_acl(Bucket=name, ACL="public-read")
    assert s3.keys_of(stranger.list_objects_v2(Bucket=name)) == ["open/x", "shut"]
    grants = root.get_bucket_acl(Bucket=name)["Grants"]
    assert [each["Permission"] for each in grants] == ["FULL_CONTROL", "READ"]
    root.put_bucket_acl(Bucket=name, ACL="private")
    with refused("AccessDenied", 403):
        stranger.list_objects_v2(Bucket=name)


# -- CORS ---------------------------------------------------------------------------------------


def test_cors(s3_daemon: Daemon, root: Any, bucket: str) -> None:
    origin = {"Origin": "https://www.example.org"}
    asking = {**origin, "Access-Control-Request-Method": "PUT"}
    target = s3.path_of(bucket, "there")
    with refused("NoSuchCORSConfiguration", 404):
        root.get_bucket_cors(Bucket=bucket)
    assert s3_daemon.ask("OPTIONS", target, asking).status == 403
    rule = {
        "AllowedOrigins": ["https://*.example.org"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["etag"],
        "MaxAgeSeconds": 60,
    }
    root.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert root.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    told = s3_daemon.ask(
        "OPTIONS", target, {**asking, "Access-Control-Request-Headers": "x-amz-date"}
    )
    assert told.status == 200
    assert told.headers["access-control-allow-origin"] == origin["Origin"]
    assert told.headers["access-control-max-age"] == "60"
    assert "PUT" in told.headers["access-control-allow-methods"]
    refusing = s3_daemon.ask("OPTIONS", target, {**asking, "Origin": "https://example.com"})
    assert s3.error_of(refusing) == (403, "AccessForbidden")
    got = s3.send(s3_daemon.port, s3.signed("GET", target, headers=origin))
    assert got.headers["access-control-allow-origin"] == origin["Origin"]
    assert got.headers["access-control-expose-headers"] == "etag"
    # Errors say it as well: otherwise a page can't read them.
    denied = s3_daemon.ask("GET", target, origin)
    assert s3.error_of(denied) == (403, "AccessDenied")
    assert denied.headers["access-control-allow-origin"] == origin["Origin"]
    root.delete_bucket_cors(Bucket=bucket)
    got = s3.send(s3_daemon.port, s3.signed("GET", target, headers=origin))
    assert "access-control-allow-origin" not in got.headers
