"""How a node keeps to S3, found out with objects that are gone again afterwards. Blocking."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import replace

from aosd.model.errors import NodeError
from aosd.model.marker import Introduction
from aosd.model.objects import SYSTEM_BUCKET
from aosd.nodes.asking import Asking

PROBES = "probe"
_PREFIX = f"{PROBES}/"
_PART_BYTES = 5 * 1024 * 1024
_LEFT_BEHIND_S = 3600.0
_DATA = b"what aosd finds out about a node with"


def probe_capabilities(asking: Asking, found: Introduction) -> Introduction:
    """`found`, with all that the node's bucket `aos-system` tells when it is tried out."""
    _remove_left_behind(asking)
    probe = _Probe(asking, f"{_PREFIX}{secrets.token_hex(8)}/")
    try:
        if problem := probe.wrong_etags():
            return replace(found, problem=problem)
        sorted_listing, hides_beneath = probe.listing()
        return replace(
            found,
            checks_sha256=probe.checks_sha256(),
            conditional_put=probe.conditional_put(),
            sorted_listing=sorted_listing,
            hides_beneath=hides_beneath,
        )
    finally:
        probe.clean_up()


class _Probe:
    """Objects under `prefix`; remembers what it made."""

    def __init__(self, asking: Asking, prefix: str) -> None:
        self._asking = asking
        self._prefix = prefix
        self._made: list[str] = []

    def wrong_etags(self) -> str:
        """Why its ETags can't be compared with other nodes'; "" when they can."""
        key = self._key("etag")
        if self._put(key) != _md5(_DATA):
            return "its ETags aren't the MD5 of what is stored: encryption or the like is on"
        if self._upload(key, [bytes(_PART_BYTES), _DATA]) != _etag_of_parts():
            return "the ETags of its multipart uploads aren't those that S3 defines"
        return ""

    def checks_sha256(self) -> bool:
        """Whether it refuses a body that hasn't the SHA-256 which its request claims."""
        other = hashlib.sha256(b"something else").hexdigest()
        answer = self._asking.ask(
            "PUT", SYSTEM_BUCKET, self._key("sha256"), body=_DATA, sha256=other, well=(400,)
        )
        return answer.status == 400

    def conditional_put(self) -> bool:
        """Whether If-None-Match keeps an object from being replaced, and no other."""
        statuses = [
            self._asking.ask(
                "PUT",
                SYSTEM_BUCKET,
                self._key("condition"),
                headers={"If-None-Match": "*"},
                body=body,
                well=(400, 412, 501),
            ).status
            for body in (_DATA, b"newer")
        ]
        return statuses == [200, 412]

    def listing(self) -> tuple[bool, bool]:
        """Whether it lists in the order of bytes, and hides keys beneath another key."""
        keys = [self._key(rest) for rest in ("list/a-b", "list/a/b", "list/c", "list/c/d")]
        for key in keys[:3]:
            self._put(key)
        refused = self._asking.ask(
            "PUT", SYSTEM_BUCKET, keys[3], body=_DATA, well=(400, 403, 409)
        ).code
        listed = self._list(self._prefix + "list/")
        expected = [key for key in keys if key in listed]
        return listed == expected, bool(refused) or keys[3] not in listed

    def clean_up(self) -> None:
        """Remove what it made, beneath first; what can't be removed now is found later."""
        for key in sorted(self._made, reverse=True):
            with suppress(NodeError):
                self._asking.ask("DELETE", SYSTEM_BUCKET, key, well=(404,))

    def _key(self, rest: str) -> str:
        key = self._prefix + rest
        if key not in self._made:
            self._made.append(key)
        return key

    def _put(self, key: str) -> str:
        return self._asking.ask("PUT", SYSTEM_BUCKET, key, body=_DATA).etag

    def _upload(self, key: str, parts: list[bytes]) -> str:
        asking = self._asking
        answers = asking.answers
        begun = asking.ask("POST", SYSTEM_BUCKET, key, query={"uploads": ""}, body=b"").data
        upload = {"uploadId": answers.text(answers.xml(begun), "UploadId")}
        try:
            told = ""
            for number, part in enumerate(parts, 1):
                query = upload | {"partNumber": str(number)}
                etag = asking.ask("PUT", SYSTEM_BUCKET, key, query=query, body=part).etag
                told += f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
            body = f"<CompleteMultipartUpload>{told}</CompleteMultipartUpload>".encode()
            done = asking.ask("POST", SYSTEM_BUCKET, key, query=upload, body=body).data
        except NodeError:
            with suppress(NodeError):
                asking.ask("DELETE", SYSTEM_BUCKET, key, query=upload)
            raise
        return (answers.xml(done).findtext("ETag") or "").strip('"')

    def _list(self, prefix: str) -> list[str]:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        data = self._asking.ask("GET", SYSTEM_BUCKET, query=query).data
        return [entry.key for entry in self._asking.answers.page(data).entries]


def _remove_left_behind(asking: Asking) -> None:
    """Earlier probes that were cut off: a gateway that died, a connection that broke."""
    query = {"list-type": "2", "prefix": _PREFIX, "encoding-type": "url"}
    page = asking.answers.page(asking.ask("GET", SYSTEM_BUCKET, query=query).data)
    for entry in page.entries:
        if entry.modified_s < time.time() - _LEFT_BEHIND_S:
            asking.ask("DELETE", SYSTEM_BUCKET, entry.key, well=(404,))


def _etag_of_parts() -> str:
    digests = bytes.fromhex(_md5(bytes(_PART_BYTES)) + _md5(_DATA))
    return f"{_md5(digests)}-2"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
