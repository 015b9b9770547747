"""XML that clients send: by a parser that knows no entities, of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from aosd.doors.s3.errors import S3Error


def parse(data: bytes, root_name: str) -> Element:
    """The root of a document, which must be `root_name`, without namespaces.

    Raises S3Error MalformedXML, for a DTD and for entities too.
    """
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise malformed(f"the body isn't XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != root_name:
        raise malformed(f"the body is a {root.tag[:80]}, and not a {root_name}")
    return root


def malformed(message: str) -> S3Error:
    """The XML isn't what S3 asks for."""
    return S3Error("MalformedXML", message)


def text_of(parent: Element, name: str) -> str:
    """The text of the child `name`, without white space around it; "" without one."""
    return (parent.findtext(name) or "").strip()


def texts_of(parent: Element, name: str) -> Iterator[str]:
    """The texts of all children `name`, without white space around them."""
    for child in parent.iterfind(name):
        yield (child.text or "").strip()
