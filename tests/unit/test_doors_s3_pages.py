"""What the S3 door's listings tell, element by element, as they stand in its answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from defusedxml.ElementTree import fromstring

from tests.unit.s3_case import S3TestCase

B = "object"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# Whatever an encoding could forget: a space, signs of queries and of XML, another alphabet.
ODD = "a b+c%d&<ü>"
ENCODED = "a%20b%2Bc%25d%26%3C%C3%BC%3E"


class PageCase(S3TestCase):
    def page(self, root_name: str, key: str = "", **query: str) -> Element:
        """The document that a signed GET gets, without its namespace."""
        text = urlencode({name.replace("_", "-"): each for name, each in query.items()})
        path = f"/{B}/{quote(key)}" if key else f"/{B}"
        request: Any = AWSRequest("GET", f"http://127.0.0.1:3000{path}?{text}")
        credentials = self.s3._request_signer._credentials
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        answer = self.send(request.prepare())
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(answer.headers["content-type"], "application/xml")
        root: Element = fromstring(answer.content)
        self.assertEqual(root.tag, f"{{{NAMESPACE}}}{root_name}")
        for each in root.iter():
            each.tag = each.tag.rpartition("}")[2]
        return root

    def put(self, *keys: str) -> None:
        for key in keys:
            self.s3.put_object(Bucket=B, Key=key, Body=b"x")

    def assert_told(self, root: Element, **texts: str | None) -> None:
        self.assertEqual({name: root.findtext(name) for name in texts}, texts)


class EncodingTests(PageCase):
    """With encoding-type=url all that may have odd characters is encoded, and nothing else."""

    def setUp(self) -> None:
        super().setUp()
        self.put(*(f"{ODD}/{name}" for name in ("1", "2", f"3|{ODD}", "4")))
        self.query = {
            "prefix": f"{ODD}/",
            "delimiter": "|",
            "max_keys": "2",
            "encoding_type": "url",
        }
        self.echo = {
            "Name": B,
            "Prefix": f"{ENCODED}/",
            "Delimiter": "%7C",
            "MaxKeys": "2",
            "EncodingType": "url",
            "IsTruncated": "true",
        }

    def assert_names(self, root: Element, items: str) -> None:
        self.assertEqual(root.findtext(f"{items}/Key"), f"{ENCODED}/2")
        self.assertEqual(root.findtext("CommonPrefixes/Prefix"), f"{ENCODED}/3%7C")

    def test_version_1(self) -> None:
        root = self.page("ListBucketResult", marker=f"{ODD}/1", **self.query)
        self.assert_told(
            root, **self.echo, Marker=f"{ENCODED}/1", NextMarker=f"{ENCODED}/3%7C", KeyCount=None
        )
        self.assert_names(root, "Contents")

    def test_version_2(self) -> None:
        root = self.page("ListBucketResult", list_type="2", start_after=f"{ODD}/1", **self.query)
        self.assert_told(root, **self.echo, StartAfter=f"{ENCODED}/1", Marker=None)
        self.assert_names(root, "Contents")
        token = root.findtext("NextContinuationToken")
        assert token is not None
        query = self.query | {"list_type": "2", "continuation_token": token}
        root = self.page("ListBucketResult", **query)
        # It is the client's to give back as it came: no encoding of ours is on it.
        self.assert_told(root, ContinuationToken=token, IsTruncated="false", KeyCount="1")
        self.assertEqual(root.findtext("Contents/Key"), f"{ENCODED}/4")

    def test_versions(self) -> None:
        query = self.query | {"versions": "", "key_marker": f"{ODD}/1"}
        root = self.page("ListVersionsResult", **query, version_id_marker="null")
        self.assert_told(
            root,
            **self.echo,
            KeyMarker=f"{ENCODED}/1",
            VersionIdMarker="null",
            NextKeyMarker=f"{ENCODED}/3%7C",
        )
        self.assert_names(root, "Version")

    def test_uploads(self) -> None:
        names = [f"{ODD}/{name}" for name in ("1", "2", f"3|{ODD}", "4")]
        ids = [self.s3.create_multipart_upload(Bucket=B, Key=key)["UploadId"] for key in names]
        del self.query["max_keys"], self.echo["MaxKeys"], self.echo["Name"]
        query = self.query | {"uploads": "", "key_marker": names[0], "max_uploads": "2"}
        root = self.page("ListMultipartUploadsResult", **query, upload_id_marker=ids[0])
        self.assert_told(
            root,
            **self.echo,
            Bucket=B,
            KeyMarker=f"{ENCODED}/1",
            UploadIdMarker=ids[0],
            NextKeyMarker=f"{ENCODED}/3%7C",
            MaxUploads="2",
        )
        self.assert_names(root, "Upload")
        parts = self.page("ListPartsResult", names[0], uploadId=ids[0], encoding_type="url")
        self.assert_told(parts, Bucket=B, Key=f"{ENCODED}/1", UploadId=ids[0])

    def test_without_it_names_stand_as_they_are(self) -> None:
        del self.query["encoding_type"]
        root = self.page("ListBucketResult", marker=f"{ODD}/1", **self.query)
        self.assert_told(
            root,
            Prefix=f"{ODD}/",
            Delimiter="|",
            Marker=f"{ODD}/1",
            NextMarker=f"{ODD}/3|",
            EncodingType=None,
        )
        self.assertEqual(root.findtext("Contents/Key"), f"{ODD}/2")


class CountTests(PageCase):
    def test_keys_and_common_prefixes_are_counted(self) -> None:
        self.put("a", "b/1", "b/2", "c/1")
        for query, count in (({}, "4"), ({"delimiter": "/"}, "3"), ({"max_keys": "0"}, "0")):
            root = self.page("ListBucketResult", list_type="2", **query)
            self.assert_told(root, KeyCount=count, IsTruncated="false")

    def test_more_than_a_page_can_have_is_a_page(self) -> None:
        for query in ({"list_type": "2"}, {}, {"versions": ""}):
            name = "ListVersionsResult" if "versions" in query else "ListBucketResult"
            root = self.page(name, max_keys="5000", **query)
            self.assert_told(root, MaxKeys="1000")


class OwnerTests(PageCase):
    def test_version_2_tells_it_when_asked(self) -> None:
        self.put("k")
        for asked, told in ((None, False), ("false", False), ("true", True)):
            query = {} if asked is None else {"fetch_owner": asked}
            root = self.page("ListBucketResult", list_type="2", **query)
            self.assertEqual(root.find("Contents/Owner/ID") is not None, told, query)
        self.assertIsNotNone(self.page("ListBucketResult").find("Contents/Owner/ID"))
        self.assertIsNotNone(self.page("ListVersionsResult", versions="").find("Version/Owner/ID"))


class VersionTests(PageCase):
    def test_pages_of_versions(self) -> None:
        keys = [f"k{number}" for number in range(5)]
        self.put(*keys)
        found: list[str] = []
        query = {"versions": "", "max_keys": "2"}
        for more in ("true", "true", "false"):
            root = self.page("ListVersionsResult", **query)
            self.assert_told(root, IsTruncated=more)
            found += [each.text or "" for each in root.iterfind("Version/Key")]
            query |= {
                "key_marker": root.findtext("NextKeyMarker", ""),
                "version_id_marker": root.findtext("NextVersionIdMarker", ""),
            }
        self.assertEqual(found, keys)
        etag = self.s3.head_object(Bucket=B, Key="k4")["ETag"]
        last = root.find("Version")
        assert last is not None
        self.assert_told(last, VersionId="null", IsLatest="true", ETag=etag)


class TokenTests(PageCase):
    def test_an_empty_one_is_none(self) -> None:
        self.put("a", "b", "c")
        root = self.page("ListBucketResult", list_type="2", continuation_token="", start_after="a")
        self.assertEqual([each.text for each in root.iterfind("Contents/Key")], ["b", "c"])
