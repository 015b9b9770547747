"""XML from clients: what is read of it, and that no document takes more than it should."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.xml_in import parse

MIB = 1024 * 1024


class XmlTests(SynchronousTestCase):
    def assert_malformed(self, data: bytes) -> None:
        with self.assertRaises(S3Error) as caught:
            parse(data, "Delete")
        self.assertEqual(caught.exception.code, "MalformedXML")

    def test_namespaces_are_left_out(self) -> None:
        for attribute in (b"", b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', b' xmlns="x"'):
            root = parse(
                b"<Delete%b><Object><Key> a </Key></Object></Delete>" % attribute, "Delete"
            )
            self.assertEqual([each.text for each in root.iterfind("Object/Key")], [" a "])

    def test_what_isnt_a_document(self) -> None:
        for data in (
            b"",
            b"<Delete>",
            b"<Other/>",
            b"<Delete>&a;</Delete>",
            b'<!DOCTYPE a [<!ENTITY a "b">]><Delete>&a;</Delete>',
            b'<?xml version="1.0" encoding="rot13"?><Delete/>',
            b'<?xml version="1.0" encoding="none"?><Delete/>',
        ):
            self.assert_malformed(data)

    def test_ten_thousand_parts_with_two_checksums_each(self) -> None:
        part = b"<Part><ETag>a</ETag><PartNumber>1</PartNumber><A>b</A><C>d</C></Part>"
        root = parse(b"<C>" + 10_000 * part + b"</C>", "C")
        self.assertEqual(len(root), 10_000)

    def test_little_is_allocated_for_what_is_too_much(self) -> None:
        for piece in (b"<a/>", b'<a b=""/>', b"<a>", b"<a>b</a>c", b'<a b="" c=""', b"a"):
            data = b"<Delete>" + piece * (4 * MIB // len(piece))
            tracemalloc.start()
            self.assert_malformed(data)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(most, 24 * MIB, piece)
