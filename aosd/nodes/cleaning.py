"""Taking aosd away from a node: what is left on it are plain objects in plain buckets.

Blocking; to be run in a thread.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import md5
from xml.sax.saxutils import escape

from aosd.model.errors import NodeNonsense, NodeRefused
from aosd.model.marker import MARKER_KEY, Marker, read_marker
from aosd.model.node import Address, Credentials
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.nodes.asking import Asking

_BUCKETS = "buckets/"
_NONE = ("NoSuchBucket", "NoSuchKey")
_NO_BATCHES = ("NotImplemented", "MethodNotAllowed", 405, 501)
_TRIES = 5


def clean(
    name: str,
    address: Address,
    credentials: Credentials,
    cluster: str = "",
    buckets: bool = False,
) -> None:
    """Remove the bucket `aos-system` from a node, and all that is in it.

    With `buckets` those of the cluster that list no object go before: the node is as it was
    before it joined. Otherwise they stay, as the objects do.

    It may be called again, whenever it ended: the marker is the last thing to go, and says
    from the beginning that the rest is going. A node that bears another name, or belongs to
    another cluster than `cluster` ("": whichever), is left as it is. Raises NodeError.
    """
    with Asking(name, address, credentials) as asking:
        if (marker := _marker(asking)) is not None:
            if marker.node != name or (cluster and marker.cluster not in ("", cluster)):
                raise NodeNonsense(name, f"it is node {marker.node} of cluster {marker.cluster}")
            if buckets:
                _remove_empty_buckets(asking)
            asking.ask("PUT", SYSTEM_BUCKET, MARKER_KEY, body=replace(marker, left=True).to_bytes())
        _abort_uploads(asking)
        for _ in range(_TRIES):
            _remove_all(asking)
            if _remove_bucket(asking, SYSTEM_BUCKET):
                return
        raise NodeNonsense(name, f"its bucket {SYSTEM_BUCKET} is never empty")


def _marker(asking: Asking) -> Marker | None:
    answer = asking.ask("GET", SYSTEM_BUCKET, MARKER_KEY, well=_NONE)
    return None if answer.code else read_marker(asking.name, answer.data)


def _remove_empty_buckets(asking: Asking) -> None:
    records, after = [], ""
    while page := _keys(asking, SYSTEM_BUCKET, _BUCKETS, after):
        records += page
        after = page[-1]
    for bucket in (OBJECT_BUCKET, *(each.removeprefix(_BUCKETS) for each in records)):
        _remove_bucket(asking, bucket)


def _remove_bucket(asking: Asking, bucket: str) -> bool:
    """Whether it is gone; not if it lists a key: some servers remove full ones as readily."""
    if _keys(asking, bucket):
        return False
    answer = asking.ask("DELETE", bucket, well=("NoSuchBucket", "BucketNotEmpty"))
    return answer.code != "BucketNotEmpty"


def _remove_all(asking: Asking) -> None:
    """All records, the marker last."""
    while keys := _keys(asking, SYSTEM_BUCKET):
        _remove(asking, [key for key in keys if key != MARKER_KEY] or keys)


def _remove(asking: Asking, keys: Sequence[str]) -> None:
    objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    body = f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()
    digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    answer = asking.ask(
        "POST",
        SYSTEM_BUCKET,
        query={"delete": ""},
        headers={"Content-MD5": digest, "Content-Type": "application/xml"},
        body=body,
        well=_NO_BATCHES,
    )
    if answer.code:
        for key in keys:
            asking.ask("DELETE", SYSTEM_BUCKET, key)
        return
    error = asking.answers.xml(answer.data).find("Error")
    if error is not None:
        code = error.findtext("Code") or ""
        words = f"{error.findtext('Key')} isn't removed: {code}: {error.findtext('Message')}"
        raise NodeRefused(asking.name, words, answer.status, code)


def _abort_uploads(asking: Asking) -> None:
    """Those that the node lists; it forgets others by itself."""
    answer = asking.ask("GET", SYSTEM_BUCKET, query={"uploads": ""}, well=_NONE)
    if answer.code:
        return
    for upload in asking.answers.xml(answer.data).iterfind("Upload"):
        key, upload_id = (asking.answers.text(upload, each) for each in ("Key", "UploadId"))
        asking.ask(
            "DELETE", SYSTEM_BUCKET, key, query={"uploadId": upload_id}, well=("NoSuchUpload",)
        )


def _keys(asking: Asking, bucket: str, prefix: str = "", after: str = "") -> list[str]:
    """A page of the bucket's keys; none also when there is no such bucket."""
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "start-after": after}
    query = {name: value for name, value in query.items() if value}
    answer = asking.ask("GET", bucket, query=query, well=_NONE)
    return [] if answer.code else [each.key for each in asking.answers.page(answer.data).entries]
