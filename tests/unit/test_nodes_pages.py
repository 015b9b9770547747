"""Pages of a node's listing are read alike in the form that MinIO writes and in any other."""

from __future__ import annotations

from urllib.parse import quote_plus

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import NodeNonsense
from aosd.model.objects import Entry, Page
from aosd.nodes import pages
from aosd.nodes.answers import Answers

_ETAG = "9dd4e461268c8034f5c8564e155c67a6"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def contents(key: str, more: str = "", etag: str = f"&#34;{_ETAG}&#34;", size: str = "17") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-27T16:52:22.528Z</LastModified>"
        f"<ETag>{etag}</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass>"
        f"{more}</Contents>"
    )


def written(*listed: str, encoded: bool = True, behind: str = "", truncated: str = "true") -> bytes:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        f'{_DECLARATION}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix><IsTruncated>{truncated}</IsTruncated>"
        f"{''.join(listed)}{behind}{encoding}</ListBucketResult>"
    ).encode()


class PagesTests(SynchronousTestCase):
    """`read` is the page; `is_quick` whether it is read without a tree."""

    def read(self, data: bytes) -> Page:
        return Answers("n1").page(data)

    def is_quick(self, data: bytes) -> bool:
        parted = pages.split(data)
        return parted is not None and pages.entries(parted[1], encoded=True) is not None

    def alike(self, data: bytes) -> Page:
        """The page, which is the same with its elements apart."""
        self.assertTrue(self.is_quick(data))
        apart = data.replace(b"><", b">\n<")
        self.assertFalse(self.is_quick(apart))
        page = self.read(data)
        self.assertEqual(page, self.read(apart))
        return page

    def slowly(self, data: bytes) -> Page:
        """The page, which is in no form that is read quickly."""
        self.assertFalse(self.is_quick(data))
        return self.read(data)

    def test_what_minio_writes(self) -> None:
        keys = ("a b", "a+b", "ü/1", "x%41", "\x01", "\r", "&<>", "z" * 1024)
        page = self.alike(written(*(contents(quote_plus(key)) for key in keys)))
        self.assertEqual(
            page.entries, tuple(Entry(key, f'"{_ETAG}"', 17, 1795798342.528) for key in keys)
        )
        self.assertEqual((page.truncated, page.last), (True, "ü/1"))

    def test_keys_that_are_not_encoded(self) -> None:
        page = self.alike(written(contents("a+b%41"), encoded=False, truncated="false"))
        self.assertEqual([each.key for each in page.entries], ["a+b%41"])
        self.assertFalse(page.truncated)

    def test_common_prefixes_stand_behind(self) -> None:
        behind = "<CommonPrefixes><Prefix>z+1%2F</Prefix></CommonPrefixes>"
        page = self.alike(written(contents("a"), behind=behind))
        self.assertEqual((page.prefixes, page.last), (("z 1/",), "z 1/"))

    def test_a_token_that_xml_cannot_say_is_none(self) -> None:
        for told, token in (("k[minio]", "k[minio]"), ("k\ufffd", "")):
            behind = f"<NextContinuationToken>{told}</NextContinuationToken>"
            self.assertEqual(self.alike(written(contents("a"), behind=behind)).token, token)

    def test_every_millisecond_is_the_same(self) -> None:
        for number in range(1000):
            at = f"{number % 60:02}.{number:03}Z"
            self.alike(written(contents("a").replace("22.528Z", at)))

    def test_a_folder_is_no_object(self) -> None:
        page = self.alike(written(contents("a"), contents("b%2F", etag="&#34;0-0&#34;")))
        self.assertEqual(([each.key for each in page.entries], page.last), (["a"], "b/"))

    def test_no_objects_at_all(self) -> None:
        self.assertEqual(self.slowly(written(truncated="false")), Page(()))

    def test_one_of_another_form_among_many(self) -> None:
        odd = (
            contents("b", "<Owner><ID>x</ID></Owner>"),
            contents("b", etag=_ETAG),
            contents("&#98;"),
            contents("b").replace("22.528Z", "22Z"),
            "<Contents>" + contents("b").removeprefix("<Contents>").replace("><", ">\n<"),
        )
        for each in odd:
            for listed in (
                (contents("a"), each, contents("c")),
                (each, contents("c")),
                (contents("a"), each),
            ):
                page = self.read(written(*listed))
                self.assertEqual(len(page.entries), len(listed), each)
                self.assertIn("b", [entry.key for entry in page.entries])
                self.assertEqual({entry.etag for entry in page.entries}, {f'"{_ETAG}"'})

    def test_metadata_is_read_where_it_stands(self) -> None:
        more = "<UserMetadata><X-Amz-Meta-Aos-Stamp>s1</X-Amz-Meta-Aos-Stamp></UserMetadata>"
        page = self.slowly(written(contents("a", more), contents("b", more)))
        self.assertEqual([each.stamp for each in page.entries], ["s1", "s1"])

    def test_what_a_comment_hides_is_no_object(self) -> None:
        hidden = f"<!--{contents('a')}-->"
        self.assertEqual(self.slowly(written(hidden)).entries, ())
        self.assertEqual(len(self.slowly(written(hidden, contents("b"))).entries), 1)

    def test_what_cannot_be_read(self) -> None:
        whole = written(contents("a"), contents("b"))
        doctype = _DECLARATION.encode() + b'<!DOCTYPE x [<!ENTITY e "e">]>'
        for data in (
            whole[:-5],
            whole[:400],
            written(contents("a", size="")),
            written(contents("a").replace("2026-11-27", "2026-13-27")),
            written(contents("a").replace("<Size>", "<Bize>")),
            whole.replace(b"ListBucketResult", b"ListResult"),
            whole.replace(b"<Key>a", b"<Key>\xff"),
            whole.replace(_DECLARATION.encode(), doctype),
        ):
            with self.assertRaises(NodeNonsense, msg=data):
                self.read(data)
