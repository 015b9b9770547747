"""What is said of buckets: checked like any body, and nothing taken that isn't done."""

from __future__ import annotations

from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from aosd.model.node import Credentials
from tests.unit.s3_case import ROOT, WRITER, S3TestCase

B = "object"
POLICY = (
    b'{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",'
    b' "Resource": "arn:aws:s3:::object/*"}}'
)
CORS = (
    b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>"
    b"<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
)
WRONG = {"x-amz-checksum-crc32": "AAAAAA=="}


class ConfiguringTests(S3TestCase):
    def asked(
        self, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The answer to a PUT of the root's, in raw: the client checks and adds too much."""
        url = f"http://127.0.0.1:3000{path}"
        request: Any = AWSRequest("PUT", url, headers=headers or {}, data=body)
        S3SigV4Auth(self.credentials(ROOT), "s3", "us-east-1").add_auth(request)
        answer = self.send(request.prepare())
        return answer.status_code, answer.content

    def credentials(self, who: Credentials) -> Any:
        return self.client(who)._request_signer._credentials

    def test_a_wrong_checksum_is_refused(self) -> None:
        for path, body in (
            (f"/{B}?policy", POLICY),
            (f"/{B}?cors", CORS),
            (f"/{B}?acl", b"<AccessControlPolicy/>"),
            ("/photos-1", b"<CreateBucketConfiguration/>"),
        ):
            status, answer = self.asked(path, body, WRONG)
            self.assertEqual(status, 400, path)
            self.assertIn(b"<Code>BadDigest</Code>", answer)
        self.assert_refused("NoSuchBucketPolicy", 404, self.s3.get_bucket_policy, Bucket=B)
        self.assertIn(self.asked(f"/{B}?policy", POLICY)[0], (200, 204))

    def test_grants_are_refused(self) -> None:
        grant = {"x-amz-grant-read": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}
        for path in (f"/{B}?acl", "/photos-1"):
            status, answer = self.asked(path, b"", grant)
            self.assertEqual(status, 501, path)
            self.assertIn(b"<Code>NotImplemented</Code>", answer)
        self.assert_refused("404", 404, self.s3.head_bucket, Bucket="photos-1")

    def test_who_may_not_configure_makes_no_public_bucket(self) -> None:
        create = self.client(WRITER).create_bucket
        self.assert_refused("AccessDenied", 403, create, Bucket="photos-1", ACL="public-read")
        create(Bucket="photos-1", ACL="private")
        self.s3.create_bucket(Bucket="photos-2", ACL="public-read")
        self.client(None).list_objects_v2(Bucket="photos-2")

    def test_a_key_that_nearly_fits_a_policy_is_denied_at_once(self) -> None:
        self.s3.create_bucket(Bucket="photos-1")
        resource = b"photos-1/" + b"*a" * 40 + b"*b"
        self.asked("/photos-1?policy", POLICY.replace(b"object/*", resource))
        get = self.client(None).get_object
        self.assert_refused("AccessDenied", 403, get, Bucket="photos-1", Key="a" * 250)
