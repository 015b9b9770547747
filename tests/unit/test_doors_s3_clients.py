"""What S3 clients were seen to send that trips servers."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from twisted.logger import LogEvent, globalLogPublisher

from aosd.doors.s3 import table
from aosd.model.node import Credentials
from aosd.observe.access import AccessLog
from aosd.observe.logs import json_line
from tests.unit.s3_case import DOMAIN, ENDPOINT, ROOT, S3TestCase

B = "object"


class ClientCase(S3TestCase):
    def asked(
        self, verb: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, Any, bytes]:
        """A signed request of the root's as it is given; without a length where it has no body."""
        request: Any = AWSRequest(verb, f"http://127.0.0.1:3000{target}", headers or {}, body)
        request.context["payload_signing_enabled"] = True
        credentials = self.s3._request_signer._credentials
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        prepared = request.prepare()
        if not body:
            prepared.headers.pop("Content-Length", None)
        answer = self.send(prepared)
        return answer.status_code, answer.headers, answer.content


class BucketTests(ClientCase):
    def test_made_without_a_body_or_a_length_with_a_slash_or_none(self) -> None:
        empty = (
            b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b"</CreateBucketConfiguration>"
        )
        unlocked = {"x-amz-bucket-object-lock-enabled": "false"}
        for number, (slash, headers, body) in enumerate(
            (("", {}, b""), ("/", {}, b""), ("/", unlocked, b""), ("", unlocked, empty))
        ):
            target = f"/made-{number}{slash}"
            status, told, _ = self.asked("PUT", target, headers, body)
            self.assertEqual((status, told["location"]), (200, f"/made-{number}"))
            # Some do it before every upload, and know this code.
            status, _, answer = self.asked("PUT", target, headers, body)
            self.assertEqual(status, 409)
            self.assertIn(b"<Code>BucketAlreadyOwnedByYou</Code>", answer)
            self.assertEqual(self.asked("DELETE", target)[0], 204)


class QueryTests(ClientCase):
    def test_an_empty_value_is_none(self) -> None:
        for query in ("uploads", "uploads="):
            status, _, answer = self.asked("POST", f"/{B}/k?{query}")
            self.assertEqual(status, 200)
            self.assertIn(b"</UploadId></InitiateMultipartUploadResult>", answer)
        body = b"<Delete><Object><Key>k</Key></Object></Delete>"
        for query in ("delete", "delete="):
            self.assertEqual(self.asked("POST", f"/{B}?{query}", {}, body)[0], 200)

    def test_what_nobody_knows_is_ignored(self) -> None:
        for target in (f"/{B}?Version=2006-03-01", f"/{B}/?x-id=ListObjects"):
            status, _, answer = self.asked("GET", target)
            self.assertEqual(status, 200)
            self.assertIn(b"<ListBucketResult ", answer)


class ProbeTests(ClientCase):
    """What clients ask of what isn't there: answered in S3's words, and never as our failure."""

    def answers(self, state: table.State, **names: str) -> list[tuple[table.Operation, int, str]]:
        """Each operation of this state, asked for; its status and its code, "" for none."""
        found = []
        paths = {table.SERVICE: "/", table.BUCKET: "/{bucket}", table.OBJECT: "/{bucket}/{key}"}
        for each in table.OPERATIONS:
            if each.state is state:
                target = paths[each.level].format(**names) + "?" + "&".join(each.query)
                body = b"<x/>" if each.verb in ("PUT", "POST") else b""
                status, headers, answer = self.asked(each.verb, target, {}, body)
                if answer:
                    self.assertEqual(headers["content-type"], "application/xml", each.name)
                code = answer.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
                found.append((each, status, code))
        return found

    def test_what_is_not_configured(self) -> None:
        self.s3.put_object(Bucket=B, Key="k", Body=b"x")
        for each, status, code in self.answers(table.State.UNCONFIGURED, bucket=B, key="k"):
            if each.verb == "DELETE":
                self.assertEqual((status, code), (204, ""), each.name)
            elif status == 404:
                self.assertRegex(code, "^NoSuch|NotFound(Error)?$", each.name)
            else:
                self.assertEqual((status, code), (200, ""), each.name)

    def test_of_a_bucket_that_is_not_there(self) -> None:
        for each, *told in self.answers(table.State.UNCONFIGURED, bucket="nobodys", key="k"):
            self.assertEqual(told, [404, "NoSuchBucket"], each.name)

    def test_what_is_not_implemented(self) -> None:
        for each, *told in self.answers(table.State.NOT_IMPLEMENTED, bucket=B, key="k"):
            self.assertEqual(told, [501, "NotImplemented"], each.name)


class ObjectTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.etag = self.s3.put_object(Bucket=B, Key="k", Body=b"hello", ContentType="a/b")["ETag"]

    def test_a_head_has_the_headers_that_were_asked_for(self) -> None:
        status, told, _ = self.asked(
            "HEAD", f"/{B}/k?response-content-type=text%2Fx&response-cache-control=no-store"
        )
        self.assertEqual(status, 200)
        self.assertEqual((told["content-type"], told["cache-control"]), ("text/x", "no-store"))
        self.assertEqual(self.asked("HEAD", f"/{B}/k")[1]["content-type"], "a/b")

    def test_no_part_has_the_checksum_of_the_whole(self) -> None:
        for get in (self.s3.get_object, self.s3.head_object):
            whole = get(Bucket=B, Key="k", ChecksumMode="ENABLED")
            self.assertIn("ChecksumCRC32", whole)
            for asked in ({"Range": "bytes=0-"}, {"PartNumber": 1}):
                part = get(Bucket=B, Key="k", ChecksumMode="ENABLED", **asked)
                self.assertEqual(part["ResponseMetadata"]["HTTPStatusCode"], 206)
                self.assertNotIn("ChecksumCRC32", part, asked)

    def test_an_acl_that_means_nothing_is_taken(self) -> None:
        public = {"x-amz-acl": "public-read"}
        copied = {**public, "x-amz-copy-source": f"{B}/k"}
        self.assertEqual(self.asked("PUT", f"/{B}/a", public, b"x")[0], 200)
        self.assertEqual(self.asked("PUT", f"/{B}/b", copied)[0], 200)
        self.assertEqual(self.asked("POST", f"/{B}/c?uploads", public)[0], 200)
        acl = self.s3.get_object_acl(Bucket=B, Key="a")
        self.assertEqual([each["Permission"] for each in acl["Grants"]], ["FULL_CONTROL"])

    def test_a_tag_is_the_same_wherever_it_is_told(self) -> None:
        told = self.s3.copy_object(Bucket=B, Key="c", CopySource=f"{B}/k")
        found = [self.etag, told["CopyObjectResult"]["ETag"]]
        found += [
            get(Bucket=B, Key="c")["ETag"] for get in (self.s3.get_object, self.s3.head_object)
        ]
        for ask, items in (
            (self.s3.list_objects, "Contents"),
            (self.s3.list_objects_v2, "Contents"),
            (self.s3.list_object_versions, "Versions"),
        ):
            found += [each["ETag"] for each in ask(Bucket=B)[items]]
        status, headers, _ = self.asked("GET", f"/{B}/c", {"If-None-Match": self.etag})
        self.assertEqual(status, 304)
        found.append(headers["etag"])
        self.assertEqual(set(found), {'"5d41402abc4b2a76b9719d911017c592"'})

    def test_conditions_of_what_a_copy_replaces(self) -> None:
        other = self.s3.put_object(Bucket=B, Key="there", Body=b"other")["ETag"]
        copy, refused = self.s3.copy_object, self.assert_refused
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": self.etag}):
            refused(
                "PreconditionFailed",
                412,
                copy,
                Bucket=B,
                Key="there",
                CopySource=f"{B}/k",
                **condition,
            )
        refused("NoSuchKey", 404, copy, Bucket=B, Key="new", CopySource=f"{B}/k", IfMatch=other)
        self.assertEqual(self.s3.head_object(Bucket=B, Key="there")["ETag"], other)
        copy(Bucket=B, Key="there", CopySource=f"{B}/k", IfMatch=other)
        copy(Bucket=B, Key="new", CopySource=f"{B}/k", IfNoneMatch="*")
        for key in ("there", "new"):
            self.assertEqual(self.s3.head_object(Bucket=B, Key=key)["ETag"], self.etag)

    def test_sources_in_any_spelling(self) -> None:
        self.s3.put_object(Bucket=B, Key="a b+ü", Body=b"x")
        for source in (f"/{B}/a%20b%2B%C3%BC", f"{B}/a%20b%2B%C3%BC", f"%2F{B}%2Fa+b%2B%C3%BC"):
            status, _, answer = self.asked("PUT", f"/{B}/c", {"x-amz-copy-source": source})
            self.assertEqual(status, 200, answer)
            self.assertIn(b"<CopyObjectResult ", answer)

    def test_many_are_deleted_by_whatever_digest_of_them(self) -> None:
        for algorithm in ("CRC32", "CRC64NVME", "SHA256"):
            self.s3.put_object(Bucket=B, Key="gone", Body=b"x")
            self.s3.delete_objects(
                Bucket=B, Delete={"Objects": [{"Key": "gone"}]}, ChecksumAlgorithm=algorithm
            )
            self.assert_refused("404", 404, self.s3.head_object, Bucket=B, Key="gone")

    def test_of_many_each_may_have_a_condition(self) -> None:
        asked = [{"Key": "k", "ETag": '"other"'}, {"Key": "none", "ETag": self.etag}]
        told = self.s3.delete_objects(Bucket=B, Delete={"Objects": asked})
        self.assertEqual(
            [(each["Key"], each["Code"]) for each in told["Errors"]],
            [("k", "PreconditionFailed"), ("none", "NoSuchKey")],
        )
        asked = [{"Key": "k", "ETag": self.etag, "VersionId": "null"}]
        told = self.s3.delete_objects(Bucket=B, Delete={"Objects": asked})
        self.assertEqual([each["Key"] for each in told["Deleted"]], ["k"])
        self.assert_refused("404", 404, self.s3.head_object, Bucket=B, Key="k")


class StandardObjectTests(ObjectTests):
    express = False


class LogTests(ClientCase):
    def test_no_secret_and_no_signature_is_logged(self) -> None:
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            lines.append(json_line(event))
            lines.append(repr({n: each for n, each in event.items() if n != "log_source"}))

        self.standard.observer = AccessLog(self.clock, self.gateway.metrics, written=True)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        wrong = Credentials(ROOT.access_key, "another-secret")
        self.s3.put_object(Bucket=B, Key="k", Body=b"x")
        get = self.client(wrong).get_object
        self.assert_refused("SignatureDoesNotMatch", 403, get, Bucket=B, Key="k")
        url = self.client(ROOT, signature_version="s3v4").generate_presigned_url(
            "get_object", {"Bucket": B, "Key": "k"}
        )
        target, signature = url.removeprefix(ENDPOINT), url.rpartition("=")[2]
        self.assertRegex(signature, "^[0-9a-f]{64}$")
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n".encode()
        self.assertEqual(self.exchange(request)[0], 200)
        # What nobody foresaw is logged with all that is known of it.
        self.door._store = None  # type: ignore[assignment]
        self.assertEqual(self.exchange(request)[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        logged = "\n".join(lines)
        self.assertIn(f"GET /{B}/k 200", logged)
        self.assertIn("Traceback", logged)
        for secret in (ROOT.secret_key, wrong.secret_key, signature):
            self.assertNotIn(secret, logged)


class StandardLogTests(LogTests):
    express = False


class HostTests(ClientCase):
    def test_a_preflight_at_the_plain_doors_bucket(self) -> None:
        """It is never signed, and means a request that will be."""
        rule = {"AllowedOrigins": ["https://example.org"], "AllowedMethods": ["PUT"]}
        self.s3.put_bucket_cors(Bucket=B, CORSConfiguration={"CORSRules": [rule]})
        asking = "Origin: https://example.org\r\nAccess-Control-Request-Method: PUT\r\n"
        for host, path in (("127.0.0.1:3000", f"/{B}/k"), (f"{B}.{DOMAIN}:3000", "/k")):
            data = f"OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\n{asking}\r\n".encode()
            status, headers, _ = self.exchange(data)
            self.assertEqual(status, 200, host)
            self.assertEqual(headers["access-control-allow-origin"], "https://example.org")
        # Without what makes it one it is the plain door's, which has no such verb.
        data = f"OPTIONS /{B}/k HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n".encode()
        self.assertEqual(self.exchange(data)[0], 405)


class ChecksumTests(ClientCase):
    def test_a_complete_in_any_words(self) -> None:
        """Its checksum of checksums without the number of parts, and entities for quotes."""
        upload_id = self.s3.create_multipart_upload(Bucket=B, Key="m")["UploadId"]
        part = self.s3.upload_part(
            Bucket=B,
            Key="m",
            UploadId=upload_id,
            PartNumber=1,
            Body=b"x",
            ChecksumAlgorithm="SHA256",
        )
        whole = b64encode(hashlib.sha256(hashlib.sha256(b"x").digest()).digest()).decode()
        etag = part["ETag"].replace('"', "&quot;")
        body = (
            f"<CompleteMultipartUpload><Part><ETag>{etag}</ETag><PartNumber>1</PartNumber>"
            f"<ChecksumSHA256>{part['ChecksumSHA256']}</ChecksumSHA256></Part>"
            "</CompleteMultipartUpload>"
        ).encode()
        headers = {"x-amz-checksum-sha256": whole}
        status, _, answer = self.asked("POST", f"/{B}/m?uploadId={upload_id}", headers, body)
        self.assertEqual(status, 200, answer)
        self.assertIn(f"<ChecksumSHA256>{whole}-1</ChecksumSHA256>".encode(), answer)
        self.assertIn(b"-1&quot;</ETag>", answer)
