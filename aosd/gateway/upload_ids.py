"""The ids that clients get for their uploads: all that a gateway has to know, sealed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from aosd.consistency.uploads import OpenUpload
from aosd.gateway.store import Store
from aosd.model.errors import NoSuchUpload
from aosd.model.stamp import is_stamp
from aosd.ports import Candidate

_PURPOSE = "upload"


@dataclass(frozen=True, slots=True)
class ClientUpload:
    """What an id says: whose it is, its stamp, and the nodes' ids by node name."""

    bucket: str
    key: str
    stamp: str
    ids: Mapping[str, str]

    def reachable(self, store: Store) -> list[Candidate]:
        """Those of its nodes that are members still, and can be asked now."""
        return [each for each in self.members(store) if each.node is not None]

    def members(self, store: Store) -> list[Candidate]:
        """Those of its nodes that are members still."""
        return [each for each in store.members() if each.name in self.ids]


def sealed_id(store: Store, upload: OpenUpload) -> str:
    """The id of an upload, always the same; its nodes' ids must be known."""
    told = [upload.bucket, upload.key, upload.id, upload.ids]
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return store.seal().seal(zlib.compress(data, 9), _PURPOSE)


def opened_id(store: Store, bucket: str, key: str, upload_id: str) -> ClientUpload:
    """What an id says. Raises NoSuchBucket, and NoSuchUpload for one that isn't of this key.

    Nor is one of a bucket of the same name that was deleted since.
    """
    born = store.buckets.check(bucket).born
    try:
        told = json.loads(zlib.decompress(store.seal().open(upload_id, _PURPOSE)))
        upload = ClientUpload(*told)
    except (ValueError, TypeError, zlib.error) as error:
        raise NoSuchUpload("no upload has this id") from error
    if (upload.bucket, upload.key) != (bucket, key) or not is_stamp(upload.stamp):
        raise NoSuchUpload("the upload of this id is of another key")
    if upload.stamp < born:
        raise NoSuchUpload("the bucket was made after the upload began")
    return upload
