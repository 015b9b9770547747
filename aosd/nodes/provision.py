"""The first contact with a node: what it holds, what it can, its buckets and its marker.

Blocking; to be run in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aosd.consistency.buckets import names_in
from aosd.model.errors import NodeNonsense
from aosd.model.marker import MARKER_KEY, Introduction, read_marker
from aosd.model.node import Address, Credentials
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.nodes.asking import Asking
from aosd.nodes.capabilities import probe_capabilities

_JSON = {"Content-Type": "application/json"}
_NO_CONDITIONS = ("NotImplemented", "InvalidArgument", "InvalidRequest")


def introduce(
    name: str, address: Address, credentials: Credentials, *, probe: bool
) -> Introduction:
    """Find out what a node holds, and with `probe` what it can.

    Probing makes the bucket `aos-system` on a blank node, and leaves nothing in it. A node
    that holds the objects of others, or bears the name of another node, is left as it is:
    what it can isn't known then, and stands as if it kept to S3. Raises NodeError with
    words for the operator.
    """
    with Asking(name, address, credentials) as asking:
        marker = _marker(asking)
        found = Introduction(marker, _holds_objects(asking))
        if not probe:
            return found
        problem = problem_of(asking)
        if problem or not _may_be_written(name, found):
            return replace(found, problem=problem)
        asking.make_bucket(SYSTEM_BUCKET)
        return probe_capabilities(asking, found)


def equip(
    name: str,
    address: Address,
    credentials: Credentials,
    marker: bytes,
    over: bytes | None = None,
    records: Mapping[str, bytes] | None = None,
) -> bytes:
    """Make a node's buckets, and its marker where it has none; the marker that it has then.

    With `over`, the marker of a cluster that is given up, that one and what else lies in
    `aos-system` go first, unless the node holds objects by now. `records` are what the
    cluster remembers, and come before the marker: a node that has one can be asked who
    belongs to the cluster. Of two who do so at once one wins, where the node honours
    conditional writes. Raises NodeError.
    """
    with Asking(name, address, credentials) as asking:
        for bucket in (SYSTEM_BUCKET, OBJECT_BUCKET, *names_in(records or {})):
            asking.make_bucket(bucket)
        stands = _marker(asking)
        if over is not None and stands == over and not _holds_objects(asking):
            _empty_memory(asking)
            stands = None
        if stands is None:
            for key, record in (records or {}).items():
                asking.ask("PUT", SYSTEM_BUCKET, key, headers=_JSON, body=record)
            write_marker(asking, marker)
            stands = _marker(asking)
        if stands is None:
            raise NodeNonsense(name, f"its {MARKER_KEY} was written and isn't there")
        return stands


def _may_be_written(name: str, found: Introduction) -> bool:
    if found.marker is None:
        return not found.objects
    try:
        return read_marker(name, found.marker).node == name
    except NodeNonsense:
        return False


def _marker(asking: Asking) -> bytes | None:
    answer = asking.ask("GET", SYSTEM_BUCKET, MARKER_KEY, well=("NoSuchKey", "NoSuchBucket"))
    return None if answer.code else answer.data


def write_marker(asking: Asking, marker: bytes) -> None:
    """Write a node's marker, unless one stands there that came first."""
    answer = asking.ask(
        "PUT",
        SYSTEM_BUCKET,
        MARKER_KEY,
        headers=_JSON | {"If-None-Match": "*"},
        body=marker,
        well=(412, 409, *_NO_CONDITIONS),
    )
    if answer.code in _NO_CONDITIONS:
        asking.ask("PUT", SYSTEM_BUCKET, MARKER_KEY, headers=_JSON, body=marker)


def _empty_memory(asking: Asking) -> None:
    """Remove all records of a node, its marker last: begun and not ended, it begins anew."""
    query = {"list-type": "2", "encoding-type": "url"}
    while True:
        page = asking.answers.page(asking.ask("GET", SYSTEM_BUCKET, query=query).data)
        keys = [entry.key for entry in page.entries if entry.key != MARKER_KEY]
        for key in keys:
            asking.ask("DELETE", SYSTEM_BUCKET, key)
        if not keys:
            asking.ask("DELETE", SYSTEM_BUCKET, MARKER_KEY)
            return


def _holds_objects(asking: Asking) -> bool:
    """Whether any bucket but aosd's own memory holds an object."""
    root = asking.answers.xml(asking.ask("GET").data)
    if root.tag != "ListAllMyBucketsResult":
        raise NodeNonsense(asking.name, f"its list of buckets is a {root.tag}")
    names = [bucket.findtext("Name") or "" for bucket in root.iterfind("Buckets/Bucket")]
    query = {"list-type": "2", "max-keys": "1", "encoding-type": "url"}
    for name in names:
        if name == SYSTEM_BUCKET:
            continue
        # One that is deleted meanwhile holds none.
        answer = asking.ask("GET", name, query=query, well=("NoSuchBucket",))
        if not answer.code and asking.answers.page(answer.data).entries:
            return True
    return False


def problem_of(asking: Asking) -> str:
    """Why the buckets as they are can't hold copies: "" when they can.

    A version that nobody sees any more would come back with the delete of a newer one; what
    is locked can't be deleted.
    """
    for bucket in (OBJECT_BUCKET, SYSTEM_BUCKET):
        for query, path, on, words in (
            ("versioning", "Status", "Enabled", "versioning"),
            ("object-lock", "ObjectLockEnabled", "Enabled", "object lock"),
        ):
            answer = asking.ask("GET", bucket, query={query: ""}, well=(400, 404, 405, 501))
            if not answer.code and asking.answers.xml(answer.data).findtext(path) == on:
                return f"{words} is on in its bucket {bucket}"
    return ""
