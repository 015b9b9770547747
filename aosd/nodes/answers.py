"""Reading what nodes answer: heads, listings, errors. The only place that parses their XML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from aosd.model.errors import NodeNonsense
from aosd.model.objects import (
    STAMP_HEADER,
    Entry,
    ObjectHead,
    Page,
    Part,
    PartsPage,
)
from aosd.nodes import pages
from aosd.nodes.heads import FOLDERS_END, head_of, quoted
from aosd.nodes.http import STORED_ENCODING
from aosd.nodes.response import Response

_STAMP = STAMP_HEADER.decode()
_FOLDERS_LISTED = '""'


class PartsTold(NamedTuple):
    """A page of an object's parts: (number, size in bytes) of each, and how many it has in all."""

    etag: str
    total: int
    parts: tuple[tuple[int, int], ...]


class Answers:
    """Understands the answers of the node named `node`; NodeNonsense for what it can't."""

    def __init__(self, node: str) -> None:
        self._node = node

    def object_head(self, response: Response, size_bytes: int) -> ObjectHead:
        """The head of an object from a GET's or HEAD's answer. Raises NoSuchKey for a folder."""
        headers = {
            name.lower(): b",".join(values) for name, values in response.headers.getAllRawHeaders()
        }
        stored = headers.pop(STORED_ENCODING, None)
        if stored is not None:
            headers[b"content-encoding"] = stored
        return head_of(self._node, headers, size_bytes)

    def etag(self, response: Response) -> str:
        """The quoted ETag of an answer."""
        values = response.headers.getRawHeaders(b"ETag")
        if not values:
            raise NodeNonsense(self._node, "its answer has no ETag")
        return quoted(values[0].decode("latin-1"))

    def xml(self, data: bytes) -> Element:
        """The root of an XML answer, without namespaces."""
        try:
            root: Element = fromstring(data, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise NodeNonsense(self._node, f"its answer isn't XML: {error}") from error
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def text(self, root: Element, name: str) -> str:
        """The text of the child `name`, which must be there."""
        text = root.findtext(name)
        if not text:
            raise NodeNonsense(self._node, f"its {root.tag} has no {name}")
        return text

    def page(self, data: bytes) -> Page:
        """A page of ListObjectsV2 (asked for with encoding-type=url, which a node may ignore)."""
        if (parted := pages.split(data)) is not None:
            root = self._listing(parted[0])
            found = pages.entries(parted[1], encoded=_is_encoded(root))
            # There may be objects of another form before those, or behind.
            if found is not None and root.find("Contents") is None:
                return _page(root, found)
        root = self._listing(data)
        encoded = _is_encoded(root)
        try:
            listed = [
                Entry(
                    key=_name_of(item, "Key", encoded),
                    etag=quoted(item.findtext("ETag") or ""),
                    size_bytes=int(item.findtext("Size") or ""),
                    modified_s=datetime.fromisoformat(
                        item.findtext("LastModified") or ""
                    ).timestamp(),
                    stamp=_stamp(item),
                )
                for item in root.iterfind("Contents")
            ]
        except ValueError as error:
            raise NodeNonsense(self._node, f"its listing can't be read: {error}") from error
        return _page(root, listed)

    def _listing(self, data: bytes) -> Element:
        root = self.xml(data)
        if root.tag != "ListBucketResult":
            # Any other page would be a listing of nothing.
            raise NodeNonsense(self._node, f"its listing is a {root.tag}")
        return root

    def parts(self, data: bytes) -> PartsTold | None:
        """What a page of GetObjectAttributes tells of an object's parts.

        None when it is something else: who doesn't know the operation answers with the object.
        """
        try:
            root = self.xml(data)
            if not root.tag.lower().startswith("getobjectattributes"):
                return None
            etag, found = quoted(self.text(root, "ETag")), root.find("ObjectParts")
            if found is None:
                # SeaweedFS, of an object that was put in one piece.
                return PartsTold(etag, 1, ((1, int(self.text(root, "ObjectSize"))),))
            return PartsTold(
                etag,
                int(self.text(found, "PartsCount")),
                tuple(
                    (int(self.text(each, "PartNumber")), int(self.text(each, "Size")))
                    for each in found.iterfind("Part")
                ),
            )
        except (NodeNonsense, ValueError):
            return None

    def upload_ids(self, data: bytes) -> list[str]:
        """The ids in a page of ListMultipartUploads, of the key that was asked for as prefix."""
        root = self.xml(data)
        if root.tag != "ListMultipartUploadsResult":
            raise NodeNonsense(self._node, f"its listing of uploads is a {root.tag}")
        # SeaweedFS says that names are encoded, and they aren't; but all are written alike.
        key = root.findtext("Prefix")
        return [
            self.text(item, "UploadId")
            for item in root.iterfind("Upload")
            if item.findtext("Key") == key
        ]

    def bucket_names(self, data: bytes) -> list[str]:
        """The names in an answer to ListBuckets."""
        root = self.xml(data)
        if root.tag != "ListAllMyBucketsResult":
            raise NodeNonsense(self._node, f"its list of buckets is a {root.tag}")
        return [self.text(item, "Name") for item in root.iterfind("Buckets/Bucket")]

    def listed_parts(self, data: bytes) -> PartsPage:
        """A page of ListParts."""
        root = self.xml(data)
        if root.tag != "ListPartsResult":
            raise NodeNonsense(self._node, f"its listing of parts is a {root.tag}")
        try:
            parts = tuple(
                Part(
                    number=int(item.findtext("PartNumber") or ""),
                    etag=quoted(item.findtext("ETag") or ""),
                    size_bytes=int(item.findtext("Size") or ""),
                    modified_s=datetime.fromisoformat(
                        item.findtext("LastModified") or ""
                    ).timestamp(),
                )
                for item in root.iterfind("Part")
            )
        except ValueError as error:
            raise NodeNonsense(self._node, f"its listing can't be read: {error}") from error
        return PartsPage(parts, truncated=root.findtext("IsTruncated") == "true")

    def error(self, data: bytes, status: int) -> tuple[str, str]:
        """The code and the message of an error answer; made up from the status without one."""
        if data:
            try:
                root = self.xml(data)
            except NodeNonsense:
                return f"HTTP{status}", f"answered {status}"
            code = root.findtext("Code") or f"HTTP{status}"
            return code, root.findtext("Message") or f"answered {status}"
        return f"HTTP{status}", f"answered {status}"

    def date_s(self, response: Response) -> float | None:
        """When the node says it answered, in whole seconds since 1970; None if it doesn't."""
        values = response.headers.getRawHeaders(b"Date")
        try:
            return parsedate_to_datetime((values or [b""])[0].decode("latin-1")).timestamp()
        except ValueError:
            return None


def _is_encoded(root: Element) -> bool:
    return root.findtext("EncodingType") == "url"


def _name_of(item: Element, tag: str, encoded: bool) -> str:
    text = item.findtext(tag) or ""
    # MinIO writes `+` for a space.
    return unquote_plus(text) if encoded else text


def _page(root: Element, listed: Sequence[Entry]) -> Page:
    encoded = _is_encoded(root)
    prefixes = tuple(_name_of(each, "Prefix", encoded) for each in root.iterfind("CommonPrefixes"))
    # Folders count for where the next page begins. Text sorts as UTF-8 does.
    names = [entry.key for entry in listed] + list(prefixes)
    token = root.findtext("NextContinuationToken") or ""
    if "\ufffd" in token:
        token = ""  # it stands for what XML can't say: the node would go on from elsewhere
    return Page(
        tuple(each for each in listed if not _is_folder(each)),
        prefixes,
        truncated=root.findtext("IsTruncated") == "true",
        last=max(names) if names else None,
        token=token,
    )


def _is_folder(entry: Entry) -> bool:
    return entry.key.endswith("/") and (
        entry.etag == _FOLDERS_LISTED or entry.etag.endswith(FOLDERS_END)
    )


def _stamp(item: Element) -> str | None:
    """The stamp of a listed object, where its metadata is listed with it."""
    metadata = item.find("UserMetadata")
    if metadata is None:
        return None
    for each in metadata:
        if each.tag.lower() == _STAMP:
            return each.text or ""
    return ""
