"""Bucket, key and query of a request."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.targets import bucket_of_host, parse_target
from aosd.model.errors import BadRequest
from aosd.model.names import check_bucket_name, check_key

DOMAIN = "s3.example.org"


class TargetTests(SynchronousTestCase):
    def target(self, uri: bytes, host: bytes = b"127.0.0.1:3000") -> tuple[str, str]:
        found = parse_target(uri, host, DOMAIN)
        return found.bucket, found.key

    def test_path_style(self) -> None:
        for uri, bucket, key in (
            (b"/", "", ""),
            (b"/b", "b", ""),
            (b"/b/", "b", ""),
            (b"/b/k", "b", "k"),
            (b"/b/k/", "b", "k/"),
            (b"/b//k", "b", "/k"),
            (b"/b/a%2Fb", "b", "a/b"),
            (b"/b/a+b%20c%25", "b", "a+b c%"),
            (b"/b/%C3%A4", "b", "ä"),
            (b"/b/\xc3\xa4", "b", "ä"),
        ):
            self.assertEqual(self.target(uri), (bucket, key), uri)

    def test_virtual_host_style(self) -> None:
        for host in (b"photos.s3.example.org", b"Photos.S3.example.org:3000"):
            self.assertEqual(self.target(b"/a/b", host), ("photos", "a/b"))
            self.assertEqual(self.target(b"/", host), ("photos", ""))
        self.assertEqual(self.target(b"/", b"a.b.s3.example.org"), ("a.b", ""))
        self.assertEqual(self.target(b"/b/k", b"s3.example.org"), ("b", "k"))
        self.assertEqual(self.target(b"/b/k", b"s3.example.org:3000"), ("b", "k"))
        self.assertEqual(self.target(b"/b/k", b"xs3.example.org"), ("b", "k"))
        self.assertIsNone(bucket_of_host(b"photos.s3.example.org", None))
        self.assertIsNone(bucket_of_host(b"photos.s3.example.org.evil.com", DOMAIN))

    def test_a_query(self) -> None:
        found = parse_target(b"/b?uploads&prefix=a%2Bb+c&x=1&x=2&&=3", b"h", None)
        self.assertEqual(found.query, {"uploads": "", "prefix": "a+b c", "x": "1"})

    def test_what_is_no_text(self) -> None:
        for uri in (b"/b/%ff", b"/b?prefix=%ff", b"/%ff"):
            with self.assertRaises(S3Error) as caught:
                parse_target(uri, b"h", None)
            self.assertEqual(caught.exception.code, "InvalidURI")


class NameTests(SynchronousTestCase):
    def test_bucket_names(self) -> None:
        for name in ("abc", "a.b-c", "0" * 63, "object", "1.2.3"):
            check_bucket_name(name)
        bad = (
            *("ab", "0" * 64, "Abc", "a_b", "a..b", "-ab", "ab-", ".ab", "192.168.5.4", "", "-"),
            *("xn--abc", "abc-s3alias", "aos-system", "minio", "ä" * 5, "abc\n"),
        )
        for name in bad:
            with self.assertRaises(BadRequest, msg=name) as caught:
                check_bucket_name(name)
            self.assertEqual(caught.exception.code, "InvalidBucketName")

    def test_keys(self) -> None:
        for key in (
            "a",
            "a/",
            "a/b",
            "ä" * 100,
            "a b+%",
            "..a",
            "a/.b",
            "\x01",
            "/".join(["a" * 255] * 4),
        ):
            check_key(key)
        for key, code in (
            ("", "InvalidArgument"),
            ("\ud800", "InvalidArgument"),
            ("a/" * 512 + "a", "KeyTooLongError"),
            ("/a", "XMinioInvalidObjectName"),
            ("/", "XMinioInvalidObjectName"),
            ("a//b", "XMinioInvalidObjectName"),
            ("a//", "XMinioInvalidObjectName"),
            ("a/../b", "XMinioInvalidObjectName"),
            ("./a", "XMinioInvalidObjectName"),
            ("a\\b", "XMinioInvalidObjectName"),
            ("a\0", "XMinioInvalidObjectName"),
            ("a" * 256, "XMinioInvalidObjectName"),
            ("ä" * 128, "XMinioInvalidObjectName"),
        ):
            with self.assertRaises(BadRequest, msg=key) as caught:
                check_key(key)
            self.assertEqual(caught.exception.code, code, key)
