"""Signature V4, against the published examples and whatever else comes to a door."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.credentials import Credentials
from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.s3 import canonical
from aosd.doors.s3.claims import Headers, seconds_of
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import PayloadKind
from aosd.doors.s3.signature import Authentic, authenticate
from tests.signers import (
    ACCESS_KEY,
    HOST,
    SECRET,
    Signed,
    in_header,
    presigned,
    secret_of,
    signature_of,
)

EMPTY = hashlib.sha256(b"").hexdigest()
MAY_2013 = "20130524T000000Z"
BUCKET = "examplebucket.s3.amazonaws.com"


def verify(signed: Signed) -> Authentic | None:
    return authenticate(signed.verb, signed.uri, signed.headers, secret_of, signed.now_s)


def replaced(headers: Headers, name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    kept = [each for each in headers if each[0] != name]
    return kept if value is None else [*kept, (name, value)]


class PublishedExampleTests(SynchronousTestCase):
    """The examples of the S3 documentation; botocore has to give each the same signature."""

    def check(self, verb: str, target: str, headers: dict[str, str], signature: str) -> Authentic:
        headers = {"Host": BUCKET, "x-amz-date": MAY_2013, **headers}
        signer = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1")
        url = f"http://{BUCKET}{target}"
        self.assertEqual(signature, signature_of(signer, verb, url, headers, MAY_2013))
        names = ";".join(sorted(name.lower() for name in headers))
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
            f"SignedHeaders={names},Signature={signature}"
        )
        seen = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        found = authenticate(verb.encode(), target.encode(), seen, secret_of, seconds_of(MAY_2013))
        assert found is not None
        self.assertEqual((found.access_key, found.presigned), (ACCESS_KEY, False))
        return found

    def test_get_object(self) -> None:
        found = self.check(
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        )
        self.assertEqual(found.payload, (PayloadKind.SHA256, bytes.fromhex(EMPTY)))
        self.assertIsNone(found.chunks)

    def test_put_object(self) -> None:
        digest = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
        self.check(
            "PUT",
            "/test%24file.text",
            {
                "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": digest,
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        )

    def test_get_bucket_lifecycle(self) -> None:
        self.check(
            "GET",
            "/?lifecycle",
            {"x-amz-content-sha256": EMPTY},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        )

    def test_list_objects(self) -> None:
        self.check(
            "GET",
            "/?max-keys=2&prefix=J",
            {"x-amz-content-sha256": EMPTY},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        )

    def test_presigned(self) -> None:
        signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        target = (
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            f"&X-Amz-Date={MAY_2013}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        )
        signer = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1")
        url = f"http://{BUCKET}{target}"
        self.assertEqual(signature, signature_of(signer, "GET", url, {"Host": BUCKET}, MAY_2013))
        uri = f"{target}&X-Amz-Signature={signature}".encode()
        headers = [(b"host", BUCKET.encode())]
        signed_s = seconds_of(MAY_2013)
        for now_s in (signed_s - 900, signed_s, signed_s + 86400):
            found = authenticate(b"GET", uri, headers, secret_of, now_s)
            assert found is not None
            self.assertEqual(found.payload, (PayloadKind.UNSIGNED, None))
            self.assertTrue(found.presigned)
        for now_s, message in (
            (signed_s - 901, "Request is not yet valid"),
            (signed_s + 86401, "Request has expired"),
        ):
            with self.assertRaises(S3Error) as caught:
                authenticate(b"GET", uri, headers, secret_of, now_s)
            self.assertEqual(
                (caught.exception.code, str(caught.exception)), ("AccessDenied", message)
            )

    def test_seed_of_chunks(self) -> None:
        found = self.check(
            "PUT",
            "/examplebucket/chunkObject.txt",
            {
                "Host": "s3.amazonaws.com",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": "66560",
                "Content-Length": "66824",
            },
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        )
        self.assertEqual(found.payload.kind, PayloadKind.SIGNED_CHUNKS)
        assert found.chunks is not None
        self.assertEqual(found.chunks.timestamp, MAY_2013)
        self.assertEqual(found.chunks.scope, "20130524/us-east-1/s3/aws4_request")
        self.assertNotIn(found.chunks.key.hex(), repr(found))
        self.assertNotIn(repr(found.chunks.key), repr(found))

    def test_seed_of_chunks_with_trailers(self) -> None:
        found = self.check(
            "PUT",
            "/examplebucket/chunkObject.txt",
            {
                "Host": "s3.amazonaws.com",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": "66560",
                "x-amz-trailer": "x-amz-checksum-crc32c",
            },
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        )
        self.assertEqual(found.payload.kind, PayloadKind.SIGNED_CHUNKS_TRAILER)
        self.assertIsNotNone(found.chunks)


class GenericSuiteTests(SynchronousTestCase):
    """Cases of the generic test suite of Signature V4 where S3 has no rule of its own."""

    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    timestamp = "20150830T123600Z"

    def check(
        self,
        verb: str,
        target: str,
        signature: str | None,
        *more: tuple[str, str],
    ) -> None:
        """`signature` None: the one that botocore gives."""
        headers = [("Host", "example.amazonaws.com"), *more, ("X-Amz-Date", self.timestamp)]
        signer = SigV4Auth(Credentials("AKIDEXAMPLE", self.secret), "service", "us-east-1")
        told = signature_of(
            signer, verb, f"https://example.amazonaws.com{target}", dict(headers), self.timestamp
        )
        self.assertEqual(signature or told, told)
        seen = [(name.lower().encode(), value.encode()) for name, value in headers]
        names = sorted({name for name, _ in seen})
        path, _, query = target.encode().partition(b"?")
        [(path, query)] = canonical.spellings(path, canonical.split_query(query))
        [lines] = canonical.canonical_headers(seen, names)
        request = canonical.canonical_request(
            verb.encode(),
            path,
            query,
            lines,
            names,
            EMPTY.encode(),
        )
        key = canonical.signing_key(self.secret, "20150830", "us-east-1", "service")
        scope = canonical.scope_of("20150830", "us-east-1", "service")
        self.assertEqual(told, canonical.signature(key, self.timestamp, scope, request))

    def test_get_vanilla(self) -> None:
        self.check("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")

    def test_get_vanilla_with_a_query(self) -> None:
        self.check(
            "GET",
            "/?Param1=value1&Param2=value2",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        )

    def test_get_vanilla_with_an_empty_query_key(self) -> None:
        self.check(
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        )

    def test_post_vanilla(self) -> None:
        self.check("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")

    def test_header_values_are_trimmed(self) -> None:
        self.check(
            "GET",
            "/",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ("My-Header1", " value1"),
            ("My-Header2", ' "a   b   c"'),
        )

    def test_unreserved_characters(self) -> None:
        self.check(
            "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", None
        )
        self.check("GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ=-._~0123456789a", None)

    def test_order_of_names_and_of_values(self) -> None:
        self.check("GET", "/?Param2=value2&Param1=value1&Param1=Value0&Param1-=x", None)

    def test_several_values_of_a_header(self) -> None:
        lines = canonical.canonical_headers(
            [(b"my-header1", b"value4"), (b"x", b"y"), (b"my-header1", b" value1  ")],
            [b"my-header1"],
        )
        self.assertEqual(lines, (b"my-header1:value4,value1\n",))

    def test_white_space_beyond_ascii_is_folded_or_not(self) -> None:
        found = canonical.canonical_headers(
            [(b"a", b" b\xc2\xa0\xff "), (b"c", b"d")], [b"a", b"c"]
        )
        self.assertEqual(found, (b"a:b\xc2\xa0\xff\nc:d\n", b"a:b \xff\nc:d\n"))
        self.assertEqual(
            canonical.canonical_headers([(b"a", b"\xc3\xbc")], [b"a"]), (b"a:\xc3\xbc\n",)
        )


class SpellingTests(SynchronousTestCase):
    """What is signed of a path and a query, however they were spelt."""

    def spelt(self, path: bytes, query: bytes = b"") -> list[tuple[bytes, bytes]]:
        return list(canonical.spellings(path, canonical.split_query(query)))

    def test_a_canonical_spelling_is_the_only_one(self) -> None:
        for path in (b"/", b"/a/b%20c", b"/a//b/./../c", b"/%C3%A9%2B%25", b"/~-._"):
            self.assertEqual(self.spelt(path), [(path, b"")])

    def test_other_spellings_come_second(self) -> None:
        self.assertEqual(self.spelt(b"/a+b"), [(b"/a%2Bb", b""), (b"/a+b", b"")])
        self.assertEqual(self.spelt(b"/%c3%a9"), [(b"/%C3%A9", b""), (b"/%c3%a9", b"")])
        self.assertEqual(self.spelt(b"/a%2Fb"), [(b"/a/b", b""), (b"/a%2Fb", b"")])
        self.assertEqual(self.spelt(b"/\xc3\xa9")[0], (b"/%C3%A9", b""))
        self.assertEqual(self.spelt(b""), [(b"/", b"")])

    def test_queries(self) -> None:
        self.assertEqual(
            self.spelt(b"/", b"b&a=1&a-=2&a=0&&b=/"),
            [(b"/", b"a=0&a=1&a-=2&b=&b=%2F"), (b"/", b"a=0&a=1&a-=2&b=&b=/")],
        )
        # A plus is a space: what is signed says what is meant.
        self.assertEqual(self.spelt(b"/", b"p=a+b")[0], (b"/", b"p=a%20b"))
        self.assertEqual(self.spelt(b"/", b"p=a%2Bb"), [(b"/", b"p=a%2Bb")])
        self.assertEqual(self.spelt(b"/", b"p=a=b")[0], (b"/", b"p=a%3Db"))

    def test_both_are_accepted(self) -> None:
        for signed, sent in (("/b/a%20b", b"/b/a%20b"), ("/b/%28x%29", b"/b/(x)")):
            request = in_header("GET", signed)
            self.assertIsNotNone(verify(request._replace(uri=sent)))
        # Signed as it was sent, though that isn't how S3 would spell it.
        for uri in ("/b/a+b", "/b/%e2%82%ac", "/b/(x)?prefix=(/)", "/b?prefix=a+b&x"):
            self.assertIsNotNone(verify(in_header("GET", uri)), uri)

    def test_a_plus_in_a_path_is_no_space(self) -> None:
        request = in_header("GET", "/b/a%20b")
        with self.assertRaises(S3Error):
            verify(request._replace(uri=b"/b/a+b"))


class RefusalTests(SynchronousTestCase):
    """What isn't accepted, and what it is answered."""

    def setUp(self) -> None:
        self.signed = in_header("PUT", "/b/key", {"x-amz-meta-who": "me"}, b"data")
        self.presigned = presigned("GET", "/b/key")

    def refuses(self, signed: Signed, code: str, message: str = "") -> None:
        with self.assertRaises(S3Error) as caught:
            verify(signed)
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        self.assertIn(message, str(caught.exception))

    def with_authorization(self, *changes: tuple[bytes, bytes]) -> Signed:
        value = dict(self.signed.headers)[b"authorization"]
        for old, new in changes:
            self.assertIn(old, value)
            value = value.replace(old, new)
        headers = replaced(self.signed.headers, b"authorization", value)
        return self.signed._replace(headers=headers)

    def with_query(self, old: bytes, new: bytes) -> Signed:
        self.assertIn(old, self.presigned.uri)
        return self.presigned._replace(uri=self.presigned.uri.replace(old, new))

    def with_header(self, name: bytes, value: bytes | None) -> Signed:
        return self.signed._replace(headers=replaced(self.signed.headers, name, value))

    def test_no_signature(self) -> None:
        headers = [(b"host", HOST.encode())]
        self.assertIsNone(authenticate(b"GET", b"/b/k?x-id=1&X-Amz-Date=1", headers, secret_of, 0))

    def test_accepted_as_they_are(self) -> None:
        for signed in (self.signed, self.presigned):
            found = verify(signed)
            assert found is not None
            self.assertEqual(found.access_key, ACCESS_KEY)

    def test_wrong(self) -> None:
        code = "SignatureDoesNotMatch"
        self.refuses(self.signed._replace(verb=b"GET"), code)
        self.refuses(self.signed._replace(uri=b"/b/kex"), code)
        self.refuses(self.signed._replace(uri=b"/b/key?acl"), code)
        self.refuses(self.with_header(b"x-amz-meta-who", b"you"), code)
        self.refuses(self.with_header(b"x-amz-meta-who", None), code, "did not arrive")
        self.refuses(self.with_header(b"host", b"s3.example.org"), code)
        self.refuses(self.with_header(b"x-amz-content-sha256", EMPTY.encode()), code)
        self.refuses(self.with_header(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"), code)
        self.refuses(self.with_authorization((b"us-east-1", b"us-east-2")), code)
        self.refuses(self.presigned._replace(verb=b"PUT"), code)
        self.refuses(self.with_query(b"Expires=3600", b"Expires=3601"), code)
        self.refuses(self.presigned._replace(uri=self.presigned.uri + b"&acl"), code)

    def test_a_wrong_secret(self) -> None:
        with self.assertRaises(S3Error) as caught:
            authenticate(*self.signed[:3], lambda _: "another", self.signed.now_s)
        self.assertEqual(caught.exception.code, "SignatureDoesNotMatch")

    def test_an_unknown_key(self) -> None:
        access_key = ACCESS_KEY.encode()
        self.refuses(self.with_authorization((access_key, b"nobody")), "InvalidAccessKeyId")
        self.refuses(self.with_query(access_key, b"nobody"), "InvalidAccessKeyId")

    def test_regions_and_slashes(self) -> None:
        for region in ("", "eu-central-1", "garage", "r" * 64):
            self.assertIsNotNone(verify(in_header("GET", "/", region=region)))
            self.assertIsNotNone(verify(presigned("GET", "/", region=region)))
        self.refuses(in_header("GET", "/", region="r" * 65), "AuthorizationHeaderMalformed")
        self.refuses(
            self.with_authorization((ACCESS_KEY.encode(), b"with/slash")), "InvalidAccessKeyId"
        )

    def test_spaces_or_none_after_commas(self) -> None:
        self.assertIsNotNone(verify(self.with_authorization((b", ", b","))))
        self.assertIsNotNone(verify(self.with_authorization((b", ", b"  ,\t"))))

    def test_malformed_headers(self) -> None:
        for old, new in (
            (b"Signature=", b"Sig="),
            (b", Signature=", b", Signature=0"),
            (b", Signature=", b", Signature=,Signature="),
            (b"SignedHeaders=host;", b"SignedHeaders=Host;"),
            (b"SignedHeaders=host;", b"SignedHeaders=host;host;"),
            (b"SignedHeaders=host;", b"SignedHeaders=;"),
            (b"SignedHeaders=host;", b"SignedHeaders host;"),
            (b"/s3/", b"/sqs/"),
            (b"aws4_request", b"aws5_request"),
            (b"/20260102/", b"/20260103/"),
            (b"/us-east-1", b""),
            (ACCESS_KEY.encode(), b""),
            (ACCESS_KEY.encode(), b"\xff"),
        ):
            self.refuses(self.with_authorization((old, new)), "AuthorizationHeaderMalformed")
        for value in (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA256 Credential=x"):
            self.refuses(self.with_header(b"authorization", value), "AuthorizationHeaderMalformed")

    def test_malformed_queries(self) -> None:
        for old, new in (
            (b"X-Amz-Expires=3600&", b""),
            (b"X-Amz-Signature", b"X-Amz-Sig"),
            (b"X-Amz-Expires=3600", b"X-Amz-Expires=1h"),
            (b"X-Amz-Expires=3600", b"X-Amz-Expires=0"),
            (b"X-Amz-Expires=3600", b"X-Amz-Expires=-1"),
            (b"X-Amz-Expires=3600", b"X-Amz-Expires=604801"),
            (b"X-Amz-Expires=3600", b"X-Amz-Expires=3600&X-Amz-Expires=3600"),
            (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
            (b"X-Amz-Date=20260102T", b"X-Amz-Date=20260102"),
            (b"X-Amz-Date=20260102T", b"X-Amz-Date=20260103T"),
            (b"%2Fs3%2F", b"%2Fiam%2F"),
            (b"%2Faws4_request", b"%2F"),
            (b"X-Amz-Signature=", b"X-Amz-Signature=z"),
            (b"SignedHeaders=host", b"SignedHeaders=%FF"),
        ):
            self.refuses(self.with_query(old, new), "AuthorizationQueryParametersError")

    def test_the_longest_expiry(self) -> None:
        self.assertIsNotNone(verify(presigned("GET", "/b/k", expires_s=604800)))

    def test_skew(self) -> None:
        for off_s in (-900, 900):
            signed = self.signed._replace(now_s=self.signed.now_s + off_s)
            self.assertIsNotNone(verify(signed))
        for off_s in (-901, 901):
            signed = self.signed._replace(now_s=self.signed.now_s + off_s)
            self.refuses(signed, "RequestTimeTooSkewed")

    def test_when_a_presigned_url_is_good(self) -> None:
        # From 15 minutes before it was signed, for clocks differ, until it expires.
        for off_s in (-900, 0, 3600):
            self.assertIsNotNone(
                verify(self.presigned._replace(now_s=self.presigned.now_s + off_s))
            )
        for off_s, message in ((-901, "not yet valid"), (3601, "expired")):
            other = self.presigned._replace(now_s=self.presigned.now_s + off_s)
            self.refuses(other, "AccessDenied", message)

    def test_dates(self) -> None:
        for value in (None, b"", b"yesterday", b"20261302T030405Z"):
            code = (
                "AccessDenied" if value != b"20261302T030405Z" else "AuthorizationHeaderMalformed"
            )
            self.refuses(self.with_header(b"x-amz-date", value), code)
        for value in (b"99999999999999 Jan 2026 03:04:05", b"2 Jan 99999 03:04:05"):
            headers = replaced(self.signed.headers, b"x-amz-date", value)
            self.refuses(self.signed._replace(headers=headers), "AccessDenied", "a valid Date")
        never = in_header("GET", "/", timestamp="20260102T030405Z")
        headers = replaced(never.headers, b"x-amz-date", b"20260102T256999Z")
        self.refuses(never._replace(headers=headers), "AccessDenied", "no such date")

    def test_a_date_header_alone(self) -> None:
        signed = in_header("GET", "/", {"Date": "is set by botocore"})
        self.assertNotIn(b"x-amz-date", dict(signed.headers))
        self.assertEqual(dict(signed.headers)[b"date"], b"Fri, 02 Jan 2026 03:04:05 -0000")
        self.assertIsNotNone(verify(signed))
        headers = replaced(signed.headers, b"date", b"Fri, 02 Jan 2026 03:04:06 -0000")
        self.refuses(signed._replace(headers=headers), "SignatureDoesNotMatch")

    def test_headers_that_have_to_be_signed(self) -> None:
        copied = (b"x-amz-copy-source", b"/other/secret")
        for signed in (self.signed, self.presigned):
            more = signed._replace(headers=[*signed.headers, copied])
            self.refuses(more, "AccessDenied", "not signed: x-amz-copy-source")
            odd = signed._replace(headers=[*signed.headers, (b"x-amz-\xff", b"")])
            self.refuses(odd, "AccessDenied", "not signed")
            free = signed._replace(headers=[*signed.headers, (b"range", b"bytes=0-1")])
            self.assertIsNotNone(verify(free))
        self.refuses(
            self.with_authorization((b"SignedHeaders=host;", b"SignedHeaders=")),
            "AccessDenied",
            "not signed: host",
        )
        self.refuses(self.with_query(b"Headers=host", b"Headers=range"), "AccessDenied", "host")

    def test_the_digest(self) -> None:
        self.refuses(self.with_header(b"x-amz-content-sha256", None), "InvalidRequest", "Missing")
        for value in (b"", b"EMPTY", b"0" * 63, b"STREAMING-PAYLOAD"):
            self.refuses(self.with_header(b"x-amz-content-sha256", value), "InvalidArgument")
        for end in (b"PAYLOAD", b"PAYLOAD-TRAILER"):
            value = b"STREAMING-AWS4-ECDSA-P256-SHA256-" + end
            self.refuses(self.with_header(b"x-amz-content-sha256", value), "NotImplemented")

    def test_the_digest_of_a_presigned_request(self) -> None:
        digest = hashlib.sha256(b"data").hexdigest()
        for signed in (
            presigned("PUT", "/b/k", {"X-Amz-Content-SHA256": digest}),
            presigned("PUT", "/b/k", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}),
        ):
            found = verify(signed)
            assert found is not None
            told = dict(signed.headers)[b"x-amz-content-sha256"]
            self.assertEqual(found.payload.kind is PayloadKind.SHA256, told == digest.encode())
        plain = presigned("PUT", "/b/k?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
        self.assertIsNotNone(verify(plain))
        with_header = [*plain.headers, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")]
        self.assertIsNotNone(verify(plain._replace(headers=with_header)))
        with_digest = [*plain.headers, (b"x-amz-content-sha256", digest.encode())]
        self.refuses(plain._replace(headers=with_digest), "AccessDenied")

    def test_kinds_of_payloads(self) -> None:
        unsigned = SimpleNamespace(s3={"payload_signing_enabled": False})
        trailer = {"request_algorithm": {"in": "trailer"}}
        for kind, signed in (
            (PayloadKind.SHA256, self.signed),
            (PayloadKind.UNSIGNED, in_header("PUT", "/b/k", client_config=unsigned)),
            (PayloadKind.UNSIGNED_CHUNKS_TRAILER, in_header("PUT", "/b/k", checksum=trailer)),
        ):
            found = verify(signed)
            assert found is not None
            self.assertEqual((found.payload.kind, found.chunks), (kind, None))

    def test_version_2(self) -> None:
        for value in (b"AWS AKID:c2ln", b"AWS x"):
            self.refuses(self.with_header(b"authorization", value), "InvalidRequest", "s3v4")
        uri = b"/b/k?AWSAccessKeyId=AKID&Signature=c2ln&Expires=1800000000"
        self.refuses(
            self.presigned._replace(uri=uri), "InvalidRequest", "Please use AWS4-HMAC-SHA256"
        )

    def test_version_4a(self) -> None:
        self.refuses(
            self.with_authorization((b"HMAC-SHA256", b"ECDSA-P256-SHA256")), "InvalidRequest", "4A"
        )
        self.refuses(self.with_query(b"HMAC-SHA256", b"ECDSA-P256-SHA256"), "InvalidRequest", "4A")

    def test_other_schemes(self) -> None:
        for value in (b"Basic dTpw", b"Bearer x", b""):
            self.refuses(self.with_header(b"authorization", value), "InvalidArgument")

    def test_two_at_once(self) -> None:
        both = self.presigned._replace(headers=self.signed.headers)
        self.refuses(both, "InvalidArgument", "Only one auth mechanism")
        twice = [*self.signed.headers, (b"authorization", b"AWS4-HMAC-SHA256 x")]
        self.refuses(self.signed._replace(headers=twice), "InvalidArgument")
        uri = self.presigned.uri + b"&AWSAccessKeyId=x"
        self.refuses(self.presigned._replace(uri=uri), "InvalidArgument")

    def test_session_tokens(self) -> None:
        self.refuses(
            self.with_header(b"x-amz-security-token", b"t"), "InvalidToken", "AWS_SESSION_TOKEN"
        )
        uri = self.presigned.uri + b"&X-Amz-Security-Token=t"
        self.refuses(self.presigned._replace(uri=uri), "InvalidToken")

    def test_names_in_another_spelling_are_the_same(self) -> None:
        # Whoever hides a name doesn't get around what it asks for.
        uri = self.presigned.uri + b"&X%2DAmz-Expires=604800"
        self.refuses(self.presigned._replace(uri=uri), "AuthorizationQueryParametersError")
        self.refuses(
            self.presigned._replace(uri=b"/b/k?X%2DAmz-Signature=0"),
            "AuthorizationQueryParametersError",
        )


class SigningKeyTests(SynchronousTestCase):
    def test_keys_are_kept_within_bounds(self) -> None:
        canonical.signing_key.cache_clear()
        for number in range(1000):
            canonical.signing_key(SECRET, "20260102", f"region-{number}")
        info = canonical.signing_key.cache_info()
        self.assertEqual((info.currsize, info.misses), (256, 1000))
        canonical.signing_key(SECRET, "20260102", "region-999")
        self.assertEqual(canonical.signing_key.cache_info().hits, 1)

    def test_the_documented_key(self) -> None:
        key = canonical.signing_key(
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam"
        )
        self.assertEqual(
            key.hex(), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
        )
