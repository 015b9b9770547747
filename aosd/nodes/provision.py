"""The first contact with a node: what it holds, what it can, its buckets and its marker.

Blocking; to be run in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from aosd.consistency.buckets import names_in
from aosd.consistency.registers import KINDS
from aosd.model.errors import NodeNonsense
from aosd.model.marker import MARKER_KEY, Introduction, read_marker
from aosd.model.names import is_bucket_name
from aosd.model.node import Address, Credentials
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.nodes.asking import Asking
from aosd.nodes.capabilities import PROBES, probe_capabilities

_JSON = {"Content-Type": "application/json"}
_NO_CONDITIONS = ("NotImplemented", "InvalidArgument", "InvalidRequest")


def introduce(
    name: str,
    address: Address,
    credentials: Credentials,
    *,
    probe: bool,
    consented: bool = False,
) -> Introduction:
    """Find out what a node holds, and with `probe` what it can.

    Probing makes the bucket `aos-system` on a blank node, and leaves nothing in it. A node
    that holds the objects of others, or bears the name of another node, is left as it is:
    what it can isn't known then, and stands as if it kept to S3. One that holds objects is
    probed all the same when somebody has `consented` that it joins, and none of its buckets
    stands in the way. Raises NodeError with words for the operator.
    """
    with Asking(name, address, credentials) as asking:
        marker = _marker(asking)
        buckets = _buckets(asking)
        found = Introduction(marker, _holds_objects(asking, buckets))
        if not probe:
            return found
        adopting = consented and marker is None and found.objects
        problem = _unfit(asking, buckets) if adopting else problem_of(asking)
        if problem or not (adopting or _may_be_written(name, found)):
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
        if over is not None and stands == over and not _holds_objects(asking, _buckets(asking)):
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


def _buckets(asking: Asking) -> list[str]:
    """The names of all its buckets."""
    root = asking.answers.xml(asking.ask("GET").data)
    if root.tag != "ListAllMyBucketsResult":
        raise NodeNonsense(asking.name, f"its list of buckets is a {root.tag}")
    return [bucket.findtext("Name") or "" for bucket in root.iterfind("Buckets/Bucket")]


def _holds_objects(asking: Asking, buckets: Iterable[str]) -> bool:
    """Whether any bucket but aosd's own memory holds an object."""
    query = {"list-type": "2", "max-keys": "1", "encoding-type": "url"}
    for name in buckets:
        if name == SYSTEM_BUCKET:
            continue
        # One that is deleted meanwhile holds none.
        answer = asking.ask("GET", name, query=query, well=("NoSuchBucket",))
        if not answer.code and asking.answers.page(answer.data).entries:
            return True
    return False


def _unfit(asking: Asking, buckets: Iterable[str]) -> str:
    """Why a node can't be adopted with the buckets that it has: "" when it can."""
    for name in sorted(buckets):
        if name == SYSTEM_BUCKET:
            if key := _not_ours(asking):
                return f"its bucket {name}, which aosd would keep its memory in, has {key}"
        elif not is_bucket_name(name):
            return f"its bucket {name} has a name that aosd can't serve"
        if problem := problem_of(asking, (name,)):
            return problem
    return ""


def _not_ours(asking: Asking) -> str:
    """A key in `aos-system` that aosd doesn't know; "" when there is none on the first page."""
    query = {"list-type": "2", "encoding-type": "url"}
    page = asking.answers.page(asking.ask("GET", SYSTEM_BUCKET, query=query).data)
    # An introduction that was cut short leaves what comes before the marker.
    for entry in page.entries:
        kind, slash, _ = entry.key.partition("/")
        if not slash or kind not in (*KINDS, PROBES):
            return entry.key
    return ""


def problem_of(asking: Asking, buckets: Iterable[str] = (OBJECT_BUCKET, SYSTEM_BUCKET)) -> str:
    """Why the buckets as they are can't hold copies: "" when they can.

    A version that nobody sees any more would come back with the delete of a newer one; what
    is locked can't be deleted.
    """
    for bucket in buckets:
        for query, path, words in (
            ("versioning", "Status", "versioning"),
            ("object-lock", "ObjectLockEnabled", "object lock"),
        ):
            answer = asking.ask("GET", bucket, query={query: ""}, well=(400, 404, 405, 501))
            told = "" if answer.code else asking.answers.xml(answer.data).findtext(path)
            if told == "Enabled":
                return f"{words} is on in its bucket {bucket}"
            if told == "Suspended":
                return f"{words} was on in its bucket {bucket}: what it kept can't be seen"
    return ""
