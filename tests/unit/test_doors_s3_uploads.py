"""Multipart uploads through the S3 door, as botocore's client sees them."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any

from aosd.streams.checksums import ALGORITHMS
from tests.unit.s3_case import S3TestCase

B = "object"
MIB = 1024 * 1024


def crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def b64(data: bytes) -> str:
    return b64encode(data).decode()


class UploadCase(S3TestCase):
    def setUp(self) -> None:
        super().setUp()
        # The smallest part that isn't the last, on S3 and on its nodes.
        self.first = b"a" * 5 * MIB
        self.last = b"b" * 100

    def begin_upload(self, key: str = "k", **more: Any) -> str:
        upload_id: str = self.s3.create_multipart_upload(Bucket=B, Key=key, **more)["UploadId"]
        return upload_id

    def part(self, upload_id: str, number: int, body: bytes, key: str = "k", **more: Any) -> Any:
        return self.s3.upload_part(
            Bucket=B, Key=key, UploadId=upload_id, PartNumber=number, Body=body, **more
        )

    def complete(self, upload_id: str, parts: Any, key: str = "k", **more: Any) -> Any:
        return self.s3.complete_multipart_upload(
            Bucket=B, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **more
        )

    def refuse_complete(
        self, code: str, status: int, upload_id: str, parts: Any, **more: Any
    ) -> None:
        self.assert_refused(
            code,
            status,
            self.s3.complete_multipart_upload,
            Bucket=B,
            Key="k",
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            **more,
        )

    def two_parts(self, upload_id: str) -> list[dict[str, Any]]:
        """Both parts, uploaded with CRC32s, as Complete names them."""
        parts = []
        for number, body in ((1, self.first), (2, self.last)):
            told = self.part(upload_id, number, body, ChecksumAlgorithm="CRC32")
            self.assertEqual(told["ChecksumCRC32"], b64(crc(body)))
            parts.append(
                {
                    "PartNumber": number,
                    "ETag": told["ETag"],
                    "ChecksumCRC32": told["ChecksumCRC32"],
                }
            )
        return parts


class WholeUploadTests(UploadCase):
    def test_there_and_back(self) -> None:
        upload_id = self.begin_upload(
            Metadata={"who": "me"}, ContentType="a/b", Tagging="t=1", StorageClass="GLACIER"
        )
        parts = self.two_parts(upload_id)
        told = self.complete(upload_id, parts)
        self.assertRegex(told["ETag"], r'^"[0-9a-f]{32}-2"$')
        self.assertEqual((told["Bucket"], told["Key"]), (B, "k"))
        self.assertEqual(told["Location"], f"http://127.0.0.1:3000/{B}/k")
        composite = b64(crc(crc(self.first) + crc(self.last)))
        self.assertEqual(
            (told["ChecksumCRC32"], told["ChecksumType"]), (f"{composite}-2", "COMPOSITE")
        )
        got = self.s3.get_object(Bucket=B, Key="k")
        self.assertEqual(got["Body"].read(), self.first + self.last)
        self.assertEqual(
            (got["Metadata"], got["ContentType"], got["TagCount"], got["StorageClass"]),
            ({"who": "me"}, "a/b", 1, "GLACIER"),
        )
        head = self.s3.head_object(Bucket=B, Key="k", PartNumber=2)
        self.assertEqual((head["PartsCount"], head["ContentLength"]), (2, 100))
        part = self.s3.get_object(Bucket=B, Key="k", PartNumber=2)
        self.assertEqual(part["Body"].read(), self.last)
        self.assertEqual(part["PartsCount"], 2)
        attributes = self.s3.get_object_attributes(
            Bucket=B, Key="k", ObjectAttributes=["ObjectParts", "ETag"]
        )
        self.assertEqual(attributes["ObjectParts"]["TotalPartsCount"], 2)
        self.assertEqual(attributes["ETag"], told["ETag"].strip('"'))

    def test_how_checksums_are_made_is_repeated(self) -> None:
        told = self.s3.create_multipart_upload(Bucket=B, Key="k", ChecksumAlgorithm="CRC64NVME")
        self.assertEqual(
            (told["ChecksumAlgorithm"], told["ChecksumType"]), ("CRC64NVME", "FULL_OBJECT")
        )
        for algorithm, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
            self.assert_refused(
                "InvalidRequest",
                400,
                self.s3.create_multipart_upload,
                Bucket=B,
                Key="k",
                ChecksumAlgorithm=algorithm,
                ChecksumType=kind,
            )

    def test_a_checksum_of_it_all(self) -> None:
        parts = self.two_parts(upload_id := self.begin_upload())
        whole = b64(crc(self.first + self.last))
        composite = b64(crc(crc(self.first) + crc(self.last)))
        for wrong in (b64(b"none"), f"{composite}-3"):
            self.refuse_complete("BadDigest", 400, upload_id, parts, ChecksumCRC32=wrong)
        self.refuse_complete("InvalidRequest", 400, upload_id, parts, ChecksumCRC32="AA")
        self.refuse_complete(
            "BadDigest",
            400,
            upload_id,
            parts,
            ChecksumCRC32=composite,
            ChecksumType="FULL_OBJECT",
        )
        told = self.complete(upload_id, parts, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT")
        self.assertEqual((told["ChecksumCRC32"], told["ChecksumType"]), (whole, "FULL_OBJECT"))
        # With and without the number of parts, and not saying which kind it is.
        for claimed in (composite, f"{composite}-2", whole):
            parts = self.two_parts(upload_id := self.begin_upload())
            self.complete(upload_id, parts, ChecksumCRC32=claimed)

    def test_a_checksum_that_nothing_can_be_compared_with(self) -> None:
        parts = self.two_parts(upload_id := self.begin_upload())
        bare = [{name: each[name] for name in ("PartNumber", "ETag")} for each in parts]
        told = self.complete(upload_id, bare, ChecksumCRC32=b64(b"none"))
        self.assertNotIn("ChecksumCRC32", told)

    def test_what_names_no_upload(self) -> None:
        for call, more in (
            (self.s3.upload_part, {"PartNumber": 1, "Body": b"x"}),
            (self.s3.abort_multipart_upload, {}),
            (self.s3.list_parts, {}),
        ):
            self.assert_refused(
                "NoSuchUpload", 404, call, Bucket=B, Key="k", UploadId="none", **more
            )

    def test_completes_that_can_not_be(self) -> None:
        parts = self.two_parts(upload_id := self.begin_upload())
        self.refuse_complete("MalformedXML", 400, upload_id, [])
        self.refuse_complete("InvalidPartOrder", 400, upload_id, parts[::-1])
        self.refuse_complete("InvalidPartOrder", 400, upload_id, [parts[0], parts[0]])
        self.refuse_complete("InvalidPart", 400, upload_id, [parts[0] | {"PartNumber": 3}])
        self.refuse_complete("InvalidRequest", 400, upload_id, parts, MpuObjectSize=7)
        self.refuse_complete("NoSuchKey", 404, upload_id, parts, IfMatch='"x"')
        self.complete(upload_id, parts, IfNoneMatch="*", MpuObjectSize=5 * MIB + 100)

    def test_a_part_that_isnt_what_its_checksum_says(self) -> None:
        upload_id = self.begin_upload()
        for number, body in ((1, self.first), (2, self.last)):
            self.assert_refused(
                "BadDigest",
                400,
                self.s3.upload_part,
                Bucket=B,
                Key="k",
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
                ChecksumCRC32=b64(b"none"),
            )
        self.assertNotIn("Parts", self.s3.list_parts(Bucket=B, Key="k", UploadId=upload_id))

    def test_numbers_that_can_not_be(self) -> None:
        upload_id = self.begin_upload()
        for number in (0, 10_001):
            self.assert_refused(
                "InvalidArgument",
                400,
                self.s3.upload_part,
                Bucket=B,
                Key="k",
                UploadId=upload_id,
                PartNumber=number,
                Body=b"x",
            )

    def test_an_answer_that_takes_long_begins_with_spaces(self) -> None:
        parts = self.two_parts(upload_id := self.begin_upload())
        release = self.hold("complete_upload")
        self.clock.callLater(40, release)
        told = self.complete(upload_id, parts)
        self.assertIn("ETag", told)

    def hold(self, verb: str) -> Any:
        """Let nodes answer `verb` only when what is returned is called."""
        from twisted.internet.defer import Deferred

        from aosd.testing.faults import late

        gates: list[Deferred[None]] = []

        def gate() -> Deferred[None]:
            gates.append(Deferred())
            return gates[-1]

        for node in self.nodes.values():
            node.script(verb, late(gate))

        def release() -> None:
            for each in gates:
                each.callback(None)

        return release


class ListingTests(UploadCase):
    def test_parts(self) -> None:
        upload_id = self.begin_upload("a b")
        for number in (3, 1, 7):
            self.part(upload_id, number, b"x" * number, "a b")
        page = self.s3.list_parts(Bucket=B, Key="a b", UploadId=upload_id, MaxParts=2)
        self.assertEqual([each["PartNumber"] for each in page["Parts"]], [1, 3])
        self.assertEqual([each["Size"] for each in page["Parts"]], [1, 3])
        self.assertEqual(
            (page["Key"], page["IsTruncated"], page["NextPartNumberMarker"], page["MaxParts"]),
            ("a b", True, 3, 2),
        )
        rest = self.s3.list_parts(
            Bucket=B, Key="a b", UploadId=upload_id, PartNumberMarker=page["NextPartNumberMarker"]
        )
        self.assertEqual([each["PartNumber"] for each in rest["Parts"]], [7])
        self.assertFalse(rest["IsTruncated"])

    def test_uploads(self) -> None:
        ids = {key: self.begin_upload(key) for key in ("a/1", "a/2", "b", "c d")}
        page = self.s3.list_multipart_uploads(Bucket=B, Delimiter="/", MaxUploads=2)
        self.assertEqual([each["Prefix"] for each in page["CommonPrefixes"]], ["a/"])
        self.assertEqual(
            [(each["Key"], each["UploadId"]) for each in page["Uploads"]], [("b", ids["b"])]
        )
        self.assertTrue(page["IsTruncated"])
        rest = self.s3.list_multipart_uploads(
            Bucket=B,
            Delimiter="/",
            KeyMarker=page["NextKeyMarker"],
            UploadIdMarker=page["NextUploadIdMarker"],
            EncodingType="url",
        )
        self.assertEqual([each["Key"] for each in rest["Uploads"]], ["c%20d"])
        inside = self.s3.list_multipart_uploads(Bucket=B, Prefix="a/")
        self.assertEqual([each["Key"] for each in inside["Uploads"]], ["a/1", "a/2"])
        self.s3.abort_multipart_upload(Bucket=B, Key="b", UploadId=ids["b"])
        left = self.s3.list_multipart_uploads(Bucket=B)
        self.assertEqual([each["Key"] for each in left["Uploads"]], ["a/1", "a/2", "c d"])


class PartCopyTests(UploadCase):
    def test_of_an_object_and_of_a_range(self) -> None:
        self.s3.put_object(Bucket=B, Key="s", Body=b"0123456789")
        upload_id = self.begin_upload()
        parts = [{"PartNumber": 1, "ETag": self.part(upload_id, 1, self.first)["ETag"]}]
        told = self.s3.upload_part_copy(
            Bucket=B,
            Key="k",
            UploadId=upload_id,
            PartNumber=2,
            CopySource={"Bucket": B, "Key": "s"},
            CopySourceRange="bytes=2-4",
        )
        parts.append({"PartNumber": 2, "ETag": told["CopyPartResult"]["ETag"]})
        self.complete(upload_id, parts)
        got = self.s3.get_object(Bucket=B, Key="k", Range="bytes=-5")
        self.assertEqual(got["Body"].read(), b"aa234")

    def test_ranges_that_can_not_be(self) -> None:
        self.s3.put_object(Bucket=B, Key="s", Body=b"0123456789")
        upload_id = self.begin_upload()
        for asked, code, status in (
            ("bytes=2-", "InvalidArgument", 400),
            ("bytes=4-2", "InvalidArgument", 400),
            ("bytes=5-10", "InvalidRange", 416),
        ):
            self.assert_refused(
                code,
                status,
                self.s3.upload_part_copy,
                Bucket=B,
                Key="k",
                UploadId=upload_id,
                PartNumber=1,
                CopySource=f"{B}/s",
                CopySourceRange=asked,
            )


class AlgorithmTests(UploadCase):
    def test_a_full_crc64(self) -> None:
        algorithm = ALGORITHMS["CRC64NVME"]
        upload_id = self.begin_upload(ChecksumAlgorithm="CRC64NVME")
        parts = []
        for number, body in ((1, self.first), (2, self.last)):
            told = self.part(upload_id, number, body, ChecksumAlgorithm="CRC64NVME")
            parts.append(
                {
                    "PartNumber": number,
                    "ETag": told["ETag"],
                    "ChecksumCRC64NVME": told["ChecksumCRC64NVME"],
                }
            )
        whole = b64(algorithm.of(self.first + self.last))
        told = self.complete(upload_id, parts, ChecksumCRC64NVME=whole)
        self.assertEqual((told["ChecksumCRC64NVME"], told["ChecksumType"]), (whole, "FULL_OBJECT"))
        # Repeated, since the answer may have been lost: nobody knows the parts any more.
        again = self.complete(upload_id, parts, ChecksumCRC64NVME=whole)
        self.assertEqual(again["ETag"], told["ETag"])
