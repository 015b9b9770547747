"""What the S3 door's answers look like where a name can't be written, and tokens that are none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from tests.unit.s3_case import S3TestCase


class UnwritableNamesTests(S3TestCase):
    """XML has no way to write some characters, and a client needs the code all the same."""

    def test_a_client_can_parse_the_error(self) -> None:
        for key in ("a\0b", "\x01", "\uffff"):
            error = self.refused(self.s3.get_object, Bucket="object", Key=key)
            self.assertIn(error, ("XMinioInvalidObjectName", "NoSuchKey"), repr(key))

    def refused(self, ask: Any, **arguments: Any) -> str:
        with self.assertRaises(self.s3.exceptions.ClientError) as raised:
            ask(**arguments)
        return str(raised.exception.response["Error"]["Code"])


class TokenTests(S3TestCase):
    """A continuation token that is damaged mustn't list from somewhere else."""

    def test_what_is_no_token(self) -> None:
        for token in ("%", "a!b=", "YQ", urlsafe_b64encode(b"\xff").decode()):
            with self.assertRaises(self.s3.exceptions.ClientError) as raised:
                self.s3.list_objects_v2(Bucket="object", ContinuationToken=token)
            code = raised.exception.response["Error"]["Code"]
            self.assertEqual(code, "InvalidArgument", token)
