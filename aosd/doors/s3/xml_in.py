"""XML that clients send: by a parser that knows no entities, of bounded length and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from aosd.doors.s3.errors import S3Error

MOST_ELEMENTS = 100_000
"""With their attributes counted; a Complete of 10,000 parts with two checksums each has 50,001."""

_DEEPEST = 32
_PIECE_BYTES = 16 * 1024
_LONGEST_TAG_BYTES = 64 * 1024


class _Bounded(TreeBuilder):
    """Raises when a document has more in it, or is deeper, than any that S3 takes.

    Elements take forty times the room of the bytes that they are written with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left = MOST_ELEMENTS
        self._depth = 0

    def start(self, tag: str, attrs: dict[Any, Any], /) -> Element:
        """An element begins."""
        self._left -= 1 + len(attrs)
        self._depth += 1
        if self._left < 0 or self._depth > _DEEPEST:
            raise malformed("the body has too many elements, or they are nested too deeply")
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: str, /) -> Element:
        """An element ends."""
        self._depth -= 1
        return super().end(tag)


def parse(data: bytes, root_name: str) -> Element:
    """The root of a document, which must be `root_name`, without namespaces.

    Raises S3Error MalformedXML, for a DTD and for entities too.
    """
    _check_tags(data)
    parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
    view = memoryview(data)
    try:
        # In pieces: what a handler raises ends the parsing only at the end of one.
        for first in range(0, len(data), _PIECE_BYTES):
            parser.feed(view[first : first + _PIECE_BYTES])
        root: Element = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise malformed(f"the body isn't XML: {error}") from error
    if root.tag != root_name:
        raise malformed(f"the body is a {root.tag[:80]}, and not a {root_name}")
    return root


def _check_tags(data: bytes) -> None:
    """Raise S3Error for a tag, or a text, that is too long: it would be read over and over."""
    first = 0
    while len(data) - first > _LONGEST_TAG_BYTES:
        last = data.rfind(b">", first, first + _LONGEST_TAG_BYTES)
        if last < 0:
            raise malformed("a tag or a text in the body is too long")
        first = last + 1


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
