"""XML that the S3 door answers with."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
# XML 1.0 has no way to write these; S3 sends references that lenient parsers take.
_UNWRITABLE = re.compile("[\x00-\x1f\ufffe\uffff]")
_SPECIAL = re.compile('[&<>"\x00-\x1f\ufffe\uffff]')
_ENTITIES = {'"': "&quot;"}
_SAFE = re.compile(r"[A-Za-z0-9_.~/-]*", re.ASCII)


class Markup(str):
    """Text that is XML already."""

    __slots__ = ()


def element(name: str, *content: str | int | None) -> Markup:
    """An element with its children (Markup) and text, one after the other; None is nothing."""
    if not content:
        return Markup(f"<{name}/>")
    inner = "".join(_written(each) for each in content if each is not None)
    return Markup(f"<{name}>{inner}</{name}>")


def elements(**texts: str | int | None) -> Markup:
    """Elements with a text each; those that are None are left out."""
    found = (element(name, text) for name, text in texts.items() if text is not None)
    return Markup("".join(found))


def document(name: str, *content: str | int | None, namespace: bool = True) -> bytes:
    """A whole document."""
    inner = "".join(_written(each) for each in content if each is not None)
    attribute = f' xmlns="{NAMESPACE}"' if namespace else ""
    return f"{DECLARATION}<{name}{attribute}>{inner}</{name}>".encode("utf-8", "surrogatepass")


def iso_date(seconds: float) -> str:
    """Seconds since 1970 as S3 writes them in XML, to the millisecond."""
    second, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{_iso_second(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=4096)
def _iso_second(seconds: int) -> str:
    """Without a fraction: many objects of a page were written in one second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:19]


def url_encoded(text: str) -> str:
    """Text as `encoding-type=url` has it: a space is `%20`, which every client decodes."""
    if _SAFE.fullmatch(text) is not None:
        return text
    return quote(text.encode("utf-8", "surrogatepass"), safe="/")


def writable(text: str) -> str:
    """Text with U+FFFD for what XML has no way to write: every parser takes it."""
    return _UNWRITABLE.sub("\ufffd", text)


def escaped(text: str) -> str:
    """Text as XML has it."""
    if _SPECIAL.search(text) is None:
        return text
    found = escape(text, _ENTITIES)
    if _UNWRITABLE.search(found):
        found = _UNWRITABLE.sub(lambda each: f"&#x{ord(each[0]):X};", found)
    return found


def _written(text: str | int) -> str:
    if isinstance(text, Markup):
        return text
    return str(text) if isinstance(text, int) else escaped(text)
