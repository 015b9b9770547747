"""Objects through the S3 door, as botocore's client sees them; the bucket is `object`."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from base64 import b64encode
from typing import Any

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from tests.unit.s3_case import READER, ROOT, WRITER, S3TestCase

B = "object"


def crc32(data: bytes) -> str:
    return b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class ObjectCase(S3TestCase):
    def put(self, key: str = "k", body: bytes = b"hello", **more: Any) -> Any:
        return self.s3.put_object(Bucket=B, Key=key, Body=body, **more)

    def get(self, key: str = "k", **more: Any) -> Any:
        return self.s3.get_object(Bucket=B, Key=key, **more)

    def head(self, key: str = "k", **more: Any) -> Any:
        return self.s3.head_object(Bucket=B, Key=key, **more)

    def signed(
        self, client: Any, verb: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Any:
        """A request with headers that the client itself wouldn't send."""
        request = AWSRequest(verb, f"http://127.0.0.1:3000{path}", headers=headers, data=body)

        class Auth(S3SigV4Auth):
            def payload(self, request: Any) -> str:
                return headers.get("x-amz-content-sha256") or super().payload(request)

        auth = Auth(client._request_signer._credentials, "s3", "us-east-1")
        request.context["payload_signing_enabled"] = True
        auth.add_auth(request)
        return request.prepare()

    def own(self, key: str = "k") -> dict[bytes, bytes]:
        """What of ours lies beside an object on the nodes, but for the stamp."""
        found: list[dict[bytes, bytes]] = []
        for node in self.nodes.values():
            copy = node.buckets[B].get(key)
            if copy is not None:
                found.append(
                    {
                        name: value
                        for name, value in copy.headers
                        if name.startswith(b"x-amz-meta-aos-") and not name.endswith(b"-stamp")
                    }
                )
        self.assertTrue(all(each == found[0] for each in found))
        return found[0]


class ThereAndBackTests(ObjectCase):
    def test_all_that_is_kept(self) -> None:
        put = self.put(
            Metadata={"who": "me"},
            ContentType="a/b",
            ContentEncoding="gzip",
            CacheControl="no-store",
            ContentDisposition="inline",
            ContentLanguage="de",
            Expires="Thu, 01 Jan 2026 00:00:00 GMT",
        )
        self.assertEqual(put["ETag"], '"5d41402abc4b2a76b9719d911017c592"')
        got = self.get()
        self.assertEqual(got["Body"].read(), b"hello")
        for each in (got, self.head()):
            self.assertEqual(each["ETag"], put["ETag"])
            self.assertEqual(each["Metadata"], {"who": "me"})
            self.assertEqual(
                [each[name] for name in ("ContentType", "ContentEncoding", "CacheControl")],
                ["a/b", "gzip", "no-store"],
            )
            self.assertEqual(
                (each["ContentDisposition"], each["ContentLanguage"]), ("inline", "de")
            )
            self.assertEqual((each["AcceptRanges"], each["ContentLength"]), ("bytes", 5))
            self.assertNotIn("StorageClass", each)
            names = each["ResponseMetadata"]["HTTPHeaders"]
            self.assertEqual([each for each in names if "meta-aos" in each], [])

    def test_no_type_is_made_one(self) -> None:
        self.put()
        self.assertEqual(self.head()["ContentType"], "binary/octet-stream")

    def test_aws_chunked_is_no_property_of_an_object(self) -> None:
        self.put("a", ContentEncoding="aws-chunked")
        self.assertNotIn("ContentEncoding", self.head("a"))
        self.put("b", ContentEncoding="aws-chunked,gzip")
        self.assertEqual(self.head("b")["ContentEncoding"], "gzip")

    def test_an_empty_object(self) -> None:
        self.put(body=b"")
        self.assertEqual(self.get()["Body"].read(), b"")
        self.assertEqual(self.head()["ContentLength"], 0)

    def test_what_isnt_there(self) -> None:
        self.assert_refused("NoSuchKey", 404, self.s3.get_object, Bucket=B, Key="none")
        self.assert_refused("404", 404, self.s3.head_object, Bucket=B, Key="none")
        self.assertEqual(
            self.s3.delete_object(Bucket=B, Key="none")["ResponseMetadata"]["HTTPStatusCode"], 204
        )

    def test_deleted(self) -> None:
        self.put()
        self.s3.delete_object(Bucket=B, Key="k")
        self.assert_refused("NoSuchKey", 404, self.s3.get_object, Bucket=B, Key="k")


class StandardThereAndBackTests(ThereAndBackTests):
    express = False


class RangeTests(ObjectCase):
    def test_ranges_of_get_and_of_head(self) -> None:
        self.put(body=b"0123456789")
        for asked, data, told in (
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
        ):
            got = self.get(Range=asked)
            self.assertEqual((got["Body"].read(), got["ContentRange"]), (data, told))
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], 206)
            head = self.head(Range=asked)
            self.assertEqual(head["ContentLength"], len(data))
            self.assertEqual(head["ResponseMetadata"]["HTTPStatusCode"], 206)
            self.assertEqual(head["ResponseMetadata"]["HTTPHeaders"]["content-range"], told)
        self.assert_refused(
            "InvalidRange", 416, self.s3.get_object, Bucket=B, Key="k", Range="bytes=10-"
        )
        self.assert_refused("416", 416, self.s3.head_object, Bucket=B, Key="k", Range="bytes=10-")

    def test_parts_of_what_has_one(self) -> None:
        self.put(body=b"0123456789")
        got = self.get(PartNumber=1)
        self.assertEqual(got["Body"].read(), b"0123456789")
        self.assertNotIn("PartsCount", got)
        self.assert_refused(
            "InvalidPartNumber", 416, self.s3.get_object, Bucket=B, Key="k", PartNumber=2
        )
        self.assert_refused(
            "InvalidArgument", 400, self.s3.get_object, Bucket=B, Key="k", PartNumber=10_001
        )
        self.assert_refused(
            "InvalidRequest",
            400,
            self.s3.get_object,
            Bucket=B,
            Key="k",
            PartNumber=1,
            Range="bytes=0-1",
        )


class StandardRangeTests(RangeTests):
    express = False


class ConditionTests(ObjectCase):
    def test_of_reads(self) -> None:
        etag = self.put()["ETag"]
        self.assertEqual(self.get(IfMatch=etag)["Body"].read(), b"hello")
        self.assert_refused(
            "PreconditionFailed", 412, self.s3.get_object, Bucket=B, Key="k", IfMatch='"x"'
        )
        self.assert_refused("304", 304, self.s3.get_object, Bucket=B, Key="k", IfNoneMatch=etag)
        self.assert_refused("304", 304, self.s3.head_object, Bucket=B, Key="k", IfNoneMatch=etag)

    def test_of_writes(self) -> None:
        refused, put = self.assert_refused, self.s3.put_object
        refused("NoSuchKey", 404, put, Bucket=B, Key="k", Body=b"a", IfMatch='"x"')
        etag = self.put(IfNoneMatch="*")["ETag"]
        refused("PreconditionFailed", 412, put, Bucket=B, Key="k", Body=b"a", IfNoneMatch="*")
        refused("PreconditionFailed", 412, put, Bucket=B, Key="k", Body=b"a", IfMatch='"x"')
        refused("NotImplemented", 501, put, Bucket=B, Key="k", Body=b"a", IfNoneMatch=etag)
        self.put(body=b"other", IfMatch=etag)
        self.assertEqual(self.get()["Body"].read(), b"other")


class StandardConditionTests(ConditionTests):
    express = False


class ChecksumTests(ObjectCase):
    def test_verified_kept_and_answered_when_asked_for(self) -> None:
        for name in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
            put = self.put(body=b"x" * 3000, ChecksumAlgorithm=name)
            value = put[f"Checksum{name}"]
            self.assertEqual(put["ChecksumType"], "FULL_OBJECT")
            self.assertEqual(
                self.own(), {f"x-amz-meta-aos-checksum-{name.lower()}".encode(): value.encode()}
            )
            head = self.head(ChecksumMode="ENABLED")
            self.assertEqual(
                (head[f"Checksum{name}"], head["ChecksumType"]), (value, "FULL_OBJECT")
            )
            got = self.get(ChecksumMode="ENABLED")
            self.assertEqual((got["Body"].read(), got[f"Checksum{name}"]), (b"x" * 3000, value))
            # A whole object's checksum on a part makes botocore fail.
            part = self.get(ChecksumMode="ENABLED", Range="bytes=0-9")
            self.assertEqual(part["Body"].read(), b"x" * 10)
            self.assertNotIn(f"Checksum{name}", part)
        plain = self.client_without_checksums()
        told = plain.get_object(Bucket=B, Key="k")["ResponseMetadata"]["HTTPHeaders"]
        self.assertEqual([each for each in told if "checksum" in each], [])

    def client_without_checksums(self) -> Any:
        return self.client(
            ROOT,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

    def test_a_wrong_one_leaves_nothing(self) -> None:
        for body in (b"hello", b"x" * 5000):
            self.assert_refused(
                "BadDigest",
                400,
                self.s3.put_object,
                Bucket=B,
                Key="k",
                Body=body,
                ChecksumCRC32=crc32(b"other"),
            )
        self.assert_refused("NoSuchKey", 404, self.s3.get_object, Bucket=B, Key="k")

    def test_those_that_can_not_be(self) -> None:
        put = self.s3.put_object
        for more in (
            {"ChecksumCRC32": "AAAA"},
            {"ChecksumCRC32": "no base64"},
            {"ChecksumCRC32": crc32(b"hello"), "ChecksumAlgorithm": "SHA1"},
        ):
            self.assert_refused(
                "InvalidRequest", 400, put, Bucket=B, Key="k", Body=b"hello", **more
            )

    def test_content_md5(self) -> None:
        plain = self.client_without_checksums()
        md5 = b64encode(hashlib.md5(b"hello", usedforsecurity=False).digest()).decode()
        plain.put_object(Bucket=B, Key="k", Body=b"hello", ContentMD5=md5)
        self.assert_refused(
            "BadDigest", 400, plain.put_object, Bucket=B, Key="k", Body=b"hellp", ContentMD5=md5
        )
        self.assert_refused(
            "InvalidDigest", 400, plain.put_object, Bucket=B, Key="k", Body=b"hello", ContentMD5="x"
        )

    def put_with_trailer(self, body: bytes, trailer: str) -> Any:
        """What botocore does over TLS with bodies that are streams."""
        chunks = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
        if trailer:
            chunks += b"x-amz-checksum-crc32:" + trailer.encode() + b"\r\n"
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": str(len(body)),
            "content-encoding": "aws-chunked",
        }
        return self.send(self.signed(self.s3, "PUT", f"/{B}/k", chunks + b"\r\n", headers))

    def test_in_a_trailer(self) -> None:
        for body in (b"hello", b"y" * 20_000):
            answer = self.put_with_trailer(body, crc32(body))
            self.assertEqual(answer.status_code, 200, answer.content)
            self.assertEqual(answer.headers["x-amz-checksum-crc32"], crc32(body))
            self.assertEqual(self.get()["Body"].read(), body)
            self.assertEqual(self.own(), {b"x-amz-meta-aos-checksum-crc32": crc32(body).encode()})
            self.assertNotIn("ContentEncoding", self.head())

    def test_a_wrong_trailer_leaves_what_was_there(self) -> None:
        self.put(body=b"before")
        for trailer, code in ((crc32(b"other"), b"BadDigest"), ("", b"MalformedTrailerError")):
            answer = self.put_with_trailer(b"hello", trailer)
            self.assertEqual(answer.status_code, 400)
            self.assertIn(b"<Code>" + code + b"</Code>", answer.content)
        self.assertEqual(self.get()["Body"].read(), b"before")

    def test_the_trailer_of_a_long_body_is_verified_and_not_kept(self) -> None:
        body = bytes(9 * 1024 * 1024)
        answer = self.put_with_trailer(body, crc32(body))
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(answer.headers["x-amz-checksum-crc32"], crc32(body))
        self.assertEqual(self.own(), {})
        self.assertEqual(self.put_with_trailer(body, crc32(b"other")).status_code, 400)

    def test_of_a_signature(self) -> None:
        plain = self.client_without_checksums()
        request = self.signed(plain, "PUT", f"/{B}/k", b"hello", {})
        request.body = b"hellp"
        answer = self.send(request)
        self.assertEqual(answer.status_code, 400)
        self.assertIn(b"<Code>XAmzContentSHA256Mismatch</Code>", answer.content)


class StandardChecksumTests(ChecksumTests):
    express = False


class MetadataTests(ObjectCase):
    def test_storage_class(self) -> None:
        self.put(StorageClass="REDUCED_REDUNDANCY")
        self.assertEqual(self.head()["StorageClass"], "REDUCED_REDUNDANCY")
        self.put(StorageClass="STANDARD")
        self.assertNotIn("StorageClass", self.head())
        self.assert_refused(
            "InvalidStorageClass",
            400,
            self.s3.put_object,
            Bucket=B,
            Key="k",
            Body=b"",
            StorageClass="FLOPPY",
        )

    def test_acls_that_are_taken(self) -> None:
        for acl in ("private", "public-read", "bucket-owner-full-control"):
            self.put(ACL=acl)
        for acl, code, status in (
            ("public-read-write", "NotImplemented", 501),
            ("everyone", "InvalidArgument", 400),
        ):
            self.assert_refused(
                code, status, self.s3.put_object, Bucket=B, Key="k", Body=b"", ACL=acl
            )

    def test_what_would_silently_not_happen_is_refused(self) -> None:
        for more in (
            {"ServerSideEncryption": "AES256"},
            {"WebsiteRedirectLocation": "/elsewhere"},
            {"ObjectLockLegalHoldStatus": "ON"},
            {"GrantRead": "id=x"},
        ):
            self.assert_refused(
                "NotImplemented", 501, self.s3.put_object, Bucket=B, Key="k", Body=b"", **more
            )

    def test_too_much(self) -> None:
        self.assert_refused(
            "MetadataTooLarge",
            400,
            self.s3.put_object,
            Bucket=B,
            Key="k",
            Body=b"",
            Metadata={"a": "x" * 2040},
        )

    def test_words_of_other_languages(self) -> None:
        request = {"x-amz-meta-name": "Grüße 世界 9.41\u202fAM"}
        answer = self.send(self.signed(self.s3, "PUT", f"/{B}/k", b"x", request))
        self.assertEqual(answer.status_code, 200, answer.content)
        told = self.head()["Metadata"]["name"]
        self.assertEqual(told.encode("latin-1").decode(), "Grüße 世界 9.41\u202fAM")

    def test_overrides(self) -> None:
        self.put()
        got = self.get(
            ResponseContentType="text/x",
            ResponseCacheControl="no-cache",
            ResponseContentDisposition='attachment; filename="ü\u202f"',
        )
        self.assertEqual((got["ContentType"], got["CacheControl"]), ("text/x", "no-cache"))
        self.assert_refused(
            "InvalidArgument",
            400,
            self.s3.get_object,
            Bucket=B,
            Key="k",
            ResponseContentType="a\r\nb: c",
        )

    def test_overrides_are_for_those_who_sign(self) -> None:
        # Unsigned requests to `object` are the plain door's.
        self.s3.create_bucket(Bucket="shown")
        self.s3.put_object(Bucket="shown", Key="k", Body=b"hello")
        self.s3.put_bucket_policy(
            Bucket="shown",
            Policy=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "s3:GetObject",
                            "Resource": "arn:aws:s3:::shown/*",
                        }
                    ],
                }
            ),
        )
        anybody = self.client(None)
        self.assertEqual(anybody.get_object(Bucket="shown", Key="k")["Body"].read(), b"hello")
        self.assert_refused(
            "InvalidRequest",
            400,
            anybody.get_object,
            Bucket="shown",
            Key="k",
            ResponseContentType="text/html",
        )


class StandardMetadataTests(MetadataTests):
    express = False


class TagTests(ObjectCase):
    def tags(self, key: str = "k") -> dict[str, str]:
        found = self.s3.get_object_tagging(Bucket=B, Key=key)["TagSet"]
        return {each["Key"]: each["Value"] for each in found}

    def test_with_the_object(self) -> None:
        self.put(Tagging="a=1&b%20c=d%2Fe&f=")
        self.assertEqual(self.tags(), {"a": "1", "b c": "d/e", "f": ""})
        self.assertEqual(self.head()["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"], "3")
        self.assertEqual(self.get()["TagCount"], 3)

    def test_those_that_can_not_be(self) -> None:
        for tagging in (
            "&".join(f"k{number}=v" for number in range(11)),
            "a=1&a=2",
            "k" * 129 + "=v",
            "k=" + "v" * 257,
            "=v",
            "aws:x=1",
            "a=%24",
        ):
            self.assert_refused(
                "InvalidTag", 400, self.s3.put_object, Bucket=B, Key="k", Body=b"", Tagging=tagging
            )

    def test_changed_afterwards(self) -> None:
        etag = self.put(Tagging="a=1", Metadata={"who": "me"}, ChecksumAlgorithm="SHA1")["ETag"]
        tags = {"TagSet": [{"Key": "x", "Value": " ü "}, {"Key": "y", "Value": ""}]}
        self.s3.put_object_tagging(Bucket=B, Key="k", Tagging=tags)
        self.assertEqual(self.tags(), {"x": " ü ", "y": ""})
        head = self.head(ChecksumMode="ENABLED")
        self.assertEqual((head["ETag"], head["Metadata"]), (etag, {"who": "me"}))
        self.assertIn("ChecksumSHA1", head)
        self.s3.delete_object_tagging(Bucket=B, Key="k")
        self.assertEqual(self.tags(), {})
        self.assertNotIn("TagCount", self.get())
        self.assert_refused("NoSuchKey", 404, self.s3.get_object_tagging, Bucket=B, Key="none")
        self.assert_refused(
            "NoSuchKey", 404, self.s3.put_object_tagging, Bucket=B, Key="none", Tagging=tags
        )


class AttributeTests(ObjectCase):
    def test_those_that_are_asked_for(self) -> None:
        self.put(ChecksumAlgorithm="CRC32", StorageClass="STANDARD_IA")
        told = self.s3.get_object_attributes(
            Bucket=B,
            Key="k",
            ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"],
        )
        self.assertEqual(told["ETag"], "5d41402abc4b2a76b9719d911017c592")
        self.assertEqual(
            told["Checksum"], {"ChecksumCRC32": crc32(b"hello"), "ChecksumType": "FULL_OBJECT"}
        )
        self.assertNotIn("ObjectParts", told)
        self.assertEqual((told["StorageClass"], told["ObjectSize"]), ("STANDARD_IA", 5))
        self.assertIn("LastModified", told)
        few = self.s3.get_object_attributes(Bucket=B, Key="k", ObjectAttributes=["ObjectSize"])
        self.assertNotIn("ETag", few)
        self.assert_refused(
            "InvalidArgument",
            400,
            self.s3.get_object_attributes,
            Bucket=B,
            Key="k",
            ObjectAttributes=["Weight"],
        )


class RemovalTests(ObjectCase):
    def remove(self, *keys: str, **more: Any) -> Any:
        objects = [{"Key": key} for key in keys]
        return self.s3.delete_objects(Bucket=B, Delete={"Objects": objects} | more)

    def test_many_at_once(self) -> None:
        keys = [f"k {number}&<" for number in range(40)]
        for key in keys[:20]:
            self.put(key)
        told = self.remove(*keys)
        self.assertEqual([each["Key"] for each in told["Deleted"]], keys)
        self.assertNotIn("Errors", told)
        self.assert_refused("NoSuchKey", 404, self.s3.get_object, Bucket=B, Key=keys[0])

    def test_quietly(self) -> None:
        self.put()
        told = self.remove("k", "a/../b", Quiet=True)
        self.assertNotIn("Deleted", told)
        self.assertEqual(
            [(each["Key"], each["Code"]) for each in told["Errors"]],
            [("a/../b", "XMinioInvalidObjectName")],
        )

    def test_too_many_or_none(self) -> None:
        self.assert_refused(
            "MalformedXML",
            400,
            self.s3.delete_objects,
            Bucket=B,
            Delete={"Objects": [{"Key": str(number)} for number in range(1001)]},
        )

    def test_a_body_that_isnt_what_its_checksum_says(self) -> None:
        self.put()
        body = b"<Delete><Object><Key>k</Key></Object></Delete>"
        for headers, code in (
            ({"x-amz-checksum-crc32": crc32(b"other")}, b"BadDigest"),
            ({"content-md5": "AAAA"}, b"InvalidDigest"),
        ):
            answer = self.send(self.signed(self.s3, "POST", f"/{B}?delete", body, headers))
            self.assertEqual(answer.status_code, 400)
            self.assertIn(b"<Code>" + code + b"</Code>", answer.content)
        self.get()
        # Clients differ in which digest they send: none will do.
        answer = self.send(self.signed(self.s3, "POST", f"/{B}?delete", body, {}))
        self.assertEqual(answer.status_code, 200)
        self.assertIn(b"<Deleted><Key>k</Key></Deleted>", answer.content)

    def test_who_may_only_read(self) -> None:
        self.put()
        reader = self.client(READER)
        self.assert_refused(
            "AccessDenied",
            403,
            reader.delete_objects,
            Bucket=B,
            Delete={"Objects": [{"Key": "k"}]},
        )
        self.assertEqual(reader.get_object(Bucket=B, Key="k")["Body"].read(), b"hello")


class CopyTests(ObjectCase):
    def copy(self, key: str, source: Any, **more: Any) -> Any:
        return self.s3.copy_object(Bucket=B, Key=key, CopySource=source, **more)

    def test_with_all_that_is_kept(self) -> None:
        self.put(
            "a b+c/ü",
            Metadata={"who": "me"},
            ContentType="a/b",
            Tagging="t=1",
            StorageClass="GLACIER",
        )
        told = self.copy("copy", {"Bucket": B, "Key": "a b+c/ü"})
        self.assertEqual(told["CopyObjectResult"]["ETag"], '"5d41402abc4b2a76b9719d911017c592"')
        head = self.head("copy", ChecksumMode="ENABLED")
        self.assertEqual((head["Metadata"], head["ContentType"]), ({"who": "me"}, "a/b"))
        self.assertEqual(self.get("copy")["TagCount"], 1)
        self.assertEqual(head["ChecksumCRC32"], crc32(b"hello"))
        # As S3 has it: the request's class, and STANDARD without one.
        self.assertNotIn("StorageClass", head)

    def test_with_what_the_request_says(self) -> None:
        self.put("a", Metadata={"who": "me"}, Tagging="t=1")
        self.copy(
            "b",
            f"/{B}/a?versionId=null",
            MetadataDirective="REPLACE",
            Metadata={"x": "y"},
            TaggingDirective="REPLACE",
            Tagging="u=2&v=3",
            StorageClass="GLACIER",
        )
        head = self.head("b")
        self.assertEqual((head["Metadata"], head["StorageClass"]), ({"x": "y"}, "GLACIER"))
        self.assertEqual(self.get("b")["TagCount"], 2)

    def test_onto_itself(self) -> None:
        self.put("a", Metadata={"who": "me"})
        source = {"Bucket": B, "Key": "a"}
        self.assert_refused(
            "InvalidRequest", 400, self.s3.copy_object, Bucket=B, Key="a", CopySource=source
        )
        self.copy("a", source, MetadataDirective="REPLACE", Metadata={"x": "y"})
        self.assertEqual(self.head("a")["Metadata"], {"x": "y"})

    def test_sources_that_can_not_be(self) -> None:
        copy, refused = self.s3.copy_object, self.assert_refused
        refused("NoSuchKey", 404, copy, Bucket=B, Key="k", CopySource=f"{B}/none")
        refused("InvalidArgument", 400, copy, Bucket=B, Key="k", CopySource=B)
        refused("NoSuchVersion", 404, copy, Bucket=B, Key="k", CopySource=f"{B}/a?versionId=3")
        refused("InvalidBucketName", 400, copy, Bucket=B, Key="k", CopySource="aos-system/x")
        refused("NoSuchBucket", 404, copy, Bucket=B, Key="k", CopySource="elsewhere/x")

    def test_conditions_of_the_source(self) -> None:
        etag = self.put("a")["ETag"]
        self.copy("b", f"{B}/a", CopySourceIfMatch=etag)
        for more in ({"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": etag}):
            self.assert_refused(
                "PreconditionFailed",
                412,
                self.s3.copy_object,
                Bucket=B,
                Key="b",
                CopySource=f"{B}/a",
                **more,
            )

    def test_who_may_not_read_the_source(self) -> None:
        self.put("a")
        writer = self.client(WRITER)
        self.assert_refused(
            "AccessDenied",
            403,
            writer.copy_object,
            Bucket="photos-1",
            Key="k",
            CopySource=f"{B}/a",
        )


class StreamTests(ObjectCase):
    def test_a_body_that_is_a_stream(self) -> None:
        self.s3.put_object(Bucket=B, Key="k", Body=io.BytesIO(b"z" * 10_000))
        self.assertEqual(self.get()["Body"].read(), b"z" * 10_000)


class PresignedTests(ObjectCase):
    def presigned(self, verb: str, path: str, body: bytes = b"") -> int:
        """Ask for a path with a query, signed in the query; the status."""
        request = AWSRequest(verb, f"http://127.0.0.1:3000{path}")
        S3SigV4QueryAuth(
            self.s3._request_signer._credentials, "s3", "us-east-1", expires=60
        ).add_auth(request)
        prepared = request.prepare()
        prepared.body = body
        prepared.headers["Content-Length"] = str(len(body))
        return int(self.send(prepared).status_code)

    def test_what_stands_in_the_query_counts_as_headers(self) -> None:
        query = "x-amz-meta-who=m%C3%A4&x-amz-tagging=a%3Db&x-amz-storage-class=GLACIER"
        self.assertEqual(self.presigned("PUT", f"/{B}/k?{query}", b"hello"), 200)
        told = self.head()
        self.assertEqual(told["StorageClass"], "GLACIER")
        self.assertEqual(self.own()[b"x-amz-meta-aos-tags"], b"a=b")
        for node in self.nodes.values():
            for copy in node.buckets[B].values():
                self.assertIn((b"x-amz-meta-who", "mä".encode()), copy.headers)

    def test_a_copy_too(self) -> None:
        self.put("a")
        self.assertEqual(self.presigned("PUT", f"/{B}/b?x-amz-copy-source=%2F{B}%2Fa"), 200)
        self.assertEqual(self.get("b")["Body"].read(), b"hello")

    def test_but_not_the_checksum_of_no_body(self) -> None:
        query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
        self.assertEqual(self.presigned("PUT", f"/{B}/k?{query}", b"hello"), 200)

    def test_what_is_refused_in_a_header_is_refused_there(self) -> None:
        query = "x-amz-server-side-encryption=AES256"
        self.assertEqual(self.presigned("PUT", f"/{B}/k?{query}", b"hello"), 501)

    def test_what_can_be_no_header_is_refused(self) -> None:
        for query in (
            "x-amz-meta-a%20b=1",
            "x-amz-meta-a%0D%0Ax-amz-meta-b:=1",
            "x-amz-meta-%E9%9B%AA=1",
            "x-amz-meta-a=1%0D%0Ax-amz-meta-b:%202",
            "x-amz-storage-class=GLACIER%00",
        ):
            self.assertEqual(self.presigned("PUT", f"/{B}/k?{query}", b"hello"), 400, query)
        self.assert_refused("NoSuchKey", 404, self.s3.get_object, Bucket=B, Key="k")


class StandardPresignedTests(PresignedTests):
    express = False
