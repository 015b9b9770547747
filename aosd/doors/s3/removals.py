"""DeleteObjects: up to 1,000 in one request.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from xml.etree.ElementTree import Element

from twisted.internet.defer import CancelledError

from aosd.doors.s3.call import LONG_DOCUMENT_BYTES, Call
from aosd.doors.s3.checksums import with_checked_body
from aosd.doors.s3.errors import S3Error, code_of
from aosd.doors.s3.objects import check_version
from aosd.doors.s3.patience import patiently
from aosd.doors.s3.problems import as_s3
from aosd.doors.s3.xml_in import malformed, text_of
from aosd.doors.s3.xml_out import Markup, document, element, elements
from aosd.gateway.delete import delete
from aosd.model.conditions import UNCONDITIONAL, Conditions
from aosd.model.errors import ClientGone
from aosd.model.names import check_key

_MOST_KEYS = 1000


@dataclass(frozen=True, slots=True)
class _Removal:
    key: str
    version: str
    etag: str


async def delete_objects(call: Call) -> None:
    """DeleteObjects: each key's outcome, or with Quiet only what failed.

    A digest of the body is checked, but need not be there: clients differ in which they send.
    """
    # The document goes as soon as it was read: what follows may take minutes.
    removals, quiet = _removals(
        await with_checked_body(call).document("Delete", LONG_DOCUMENT_BYTES)
    )
    call.store.buckets.check(call.bucket)
    await patiently(call, _result(call, removals, quiet))


async def _result(call: Call, removals: list[_Removal], quiet: bool) -> bytes:
    outcomes: list[Markup | None] = [None] * len(removals)

    async def remove(place: int) -> None:
        outcomes[place] = await _remove(call, removals[place], quiet)

    await call.store.lanes.run(partial(remove, place) for place in range(len(removals)))
    return document("DeleteResult", *outcomes)


async def _remove(call: Call, removal: _Removal, quiet: bool) -> Markup | None:
    try:
        check_key(removal.key)
        check_version(removal.version)
        conditions = Conditions(if_match=removal.etag) if removal.etag else UNCONDITIONAL
        await delete(call.store, call.bucket, removal.key, conditions)
    except (CancelledError, ClientGone):
        raise
    except Exception as error:  # noqa: BLE001 — what goes wrong with one key is that key's alone
        told = as_s3(error, call.request.request_id)
        return element("Error", elements(Key=removal.key, Code=code_of(told), Message=str(told)))
    return None if quiet else element("Deleted", elements(Key=removal.key))


def _removals(root: Element) -> tuple[list[_Removal], bool]:
    """What is to be deleted, and whether to be quiet about it. Raises S3Error MalformedXML."""
    items = root.findall("Object")
    if not 1 <= len(items) <= _MOST_KEYS:
        raise malformed(f"1 to {_MOST_KEYS} keys can be deleted in one request")
    return [_removal(each) for each in items], text_of(root, "Quiet").lower() == "true"


def _removal(item: Element) -> _Removal:
    # White space is part of a key.
    key = item.findtext("Key") or ""
    if not key:
        raise S3Error("MalformedXML", "an Object without a Key")
    return _Removal(key, text_of(item, "VersionId"), text_of(item, "ETag"))
